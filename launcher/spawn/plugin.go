package spawn

import (
	"context"
	"errors"
	"net"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"bulkhead/launcher/hull"
	"bulkhead/proto/rpc"
)

// handshake is what go-plugin and hull.Serve agree on.
var handshake = plugin.HandshakeConfig{
	ProtocolVersion:  hull.ProtocolVersion,
	MagicCookieKey:   hull.CookieVar,
	MagicCookieValue: hull.Cookie,
}

// conn makes calls of a service's control. Go-plugin starts the service, shakes hands with
// it and finds it again; its own connection would be grpc-go's, with streams for what our
// services do not have, and take longer to set up than all the calls of a short run.
type conn struct{ address net.Addr }

// Invoke makes a call, on a connection of its own. Its error is a gRPC status: Unavailable
// if the service does not answer.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	request, err := proto.Marshal(args.(proto.Message))
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	var dialer net.Dialer
	s, err := dialer.DialContext(ctx, c.address.Network(), c.address.String())
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	answer, err := rpc.Call(ctx, s, method, request)
	var failed *rpc.Error
	if errors.As(err, &failed) {
		return status.Error(codes.Code(failed.Code), failed.Message)
	}
	return proto.Unmarshal(answer, reply.(proto.Message))
}

// NewStream fails: all calls are unary.
func (conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "there are no streams")
}
