package spawn

import (
	"context"

	controlv1 "bulkhead/proto/control/v1"
	goferv1 "bulkhead/proto/gofer/v1"
	netdv1 "bulkhead/proto/netd/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Boots are what the services are booted with.
type Boots struct {
	Sentry *sentryv1.BootRequest
	Gofer  *goferv1.BootRequest
	Netd   *netdv1.BootRequest
}

// boot boots and seals the service name, which runs. attaches is set by the gofer's.
func (s *Sandbox) boot(ctx context.Context, service *Service, b Boots, attaches *[]*goferv1.Attach) error {
	var err error
	switch service.Name {
	case "sentry":
		_, err = controlv1.NewSentryServiceClient(service.Conn).Boot(ctx, b.Sentry)
	case "gofer":
		var answer *goferv1.BootResponse
		answer, err = controlv1.NewGoferServiceClient(service.Conn).Boot(ctx, b.Gofer)
		*attaches = answer.GetAttaches()
	case "netd":
		_, err = controlv1.NewNetdServiceClient(service.Conn).Boot(ctx, b.Netd)
	}
	return service.Failed(err)
}

// Control is the sentry's.
func (s *Sandbox) Control() controlv1.SentryServiceClient {
	return controlv1.NewSentryServiceClient(s.Sentry.Conn)
}
