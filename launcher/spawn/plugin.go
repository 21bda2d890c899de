package spawn

import (
	"context"
	"net"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"bulkhead/launcher/hull"
)

// handshake is what go-plugin and hull.Serve agree on.
var handshake = plugin.HandshakeConfig{
	ProtocolVersion:  hull.ProtocolVersion,
	MagicCookieKey:   hull.CookieVar,
	MagicCookieValue: hull.Cookie,
}

// dial gives a connection to a service's control. Go-plugin starts the service, shakes
// hands with it and finds it again; on a connection of its own it would open streams at
// once for what our services do not have, a broker and the standard output.
func dial(address net.Addr) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:control", // a name that only the dialer gets
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // of a socket that only we can reach
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, address.Network(), address.String())
		}))
}
