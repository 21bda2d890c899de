package spawn

import (
	"context"
	"sync"

	controlv1 "bulkhead/proto/control/v1"
	goferv1 "bulkhead/proto/gofer/v1"
	netdv1 "bulkhead/proto/netd/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Boot boots and seals the three services. The gofer's attach points come back
// as it found them. On an error the sandbox is good for nothing but Kill.
func (s *Sandbox) Boot(ctx context.Context, sentry *sentryv1.BootRequest, gofer *goferv1.BootRequest, netd *netdv1.BootRequest) ([]*goferv1.Attach, error) {
	if s.spare != nil {
		s.spare.boot = netd
	}
	var attaches []*goferv1.Attach
	errs := make([]error, 3)
	var all sync.WaitGroup
	all.Go(func() {
		_, err := controlv1.NewSentryServiceClient(s.Sentry.Conn).Boot(ctx, sentry)
		errs[0] = s.Sentry.Failed(err)
	})
	all.Go(func() {
		answer, err := controlv1.NewGoferServiceClient(s.Gofer.Conn).Boot(ctx, gofer)
		attaches, errs[1] = answer.GetAttaches(), s.Gofer.Failed(err)
	})
	all.Go(func() {
		_, err := controlv1.NewNetdServiceClient(s.Netd.Conn).Boot(ctx, netd)
		errs[2] = s.Netd.Failed(err)
	})
	all.Wait()
	return attaches, first(errs)
}

// Control is the sentry's.
func (s *Sandbox) Control() controlv1.SentryServiceClient {
	return controlv1.NewSentryServiceClient(s.Sentry.Conn)
}
