package spawn

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"bulkhead/launcher/hull"
)

// handshake is what go-plugin and hull.Serve agree on.
var handshake = plugin.HandshakeConfig{
	ProtocolVersion:  hull.ProtocolVersion,
	MagicCookieKey:   hull.CookieVar,
	MagicCookieValue: hull.Cookie,
}

// pluginName is the name of the one plugin that a service has.
const pluginName = "control"

// control is that plugin: it dispenses the *grpc.ClientConn.
type control struct {
	plugin.NetRPCUnsupportedPlugin
}

func (control) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the launcher does not serve")
}

func (control) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
