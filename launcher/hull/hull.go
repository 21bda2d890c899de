// Package hull is what the three services have in common: how they are started,
// which descriptors they hold, how they are commanded, and when they end.
//
// A service is a go-plugin program. The launcher starts it with no environment
// but the handshake's and Descriptors', and with its descriptors in order from 3
// on. It serves gRPC on a UNIX socket in the sandbox's private directory. When
// its lifeline ends, it ends: whoever holds the other end answers for it.
package hull

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"bulkhead/launcher/jail"
)

// Handshake tells a service that it was started by a launcher of its own kind.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "BULKHEAD_COOKIE",
	MagicCookieValue: "hull-1",
}

// The names of a service's descriptors.
const (
	FDState    = "state"    // directory for the control socket
	FDLifeline = "lifeline" // pipe whose end ends the service
	FDSentry   = "sentry"   // gofer, netd: data channel to the sentry
	FDGofer    = "gofer"    // sentry: data channel to the first gofer
	FDNetd     = "netd"     // sentry: data channel to netd
	FDDonate   = "donate"   // sentry: listener for donations
	FDCapture  = "capture"  // netd: where it traces its interfaces
	FDRefused  = "refused"  // netd: log of what its egress policy refused
	FDLog      = "log"      // debug log
	FDStrace   = "strace"   // sentry: system-call log
	FDPeer     = "peer"     // sentry: lifeline that its gofer holds
	FDHold     = "hold"     // sentry, gofer: held open; its end tells others that we ended
)

// FDLink is the name of the descriptor of netd's nth interface, from 0 on.
func FDLink(n int) string { return "link" + strconv.Itoa(n) }

// DescriptorsVar is the environment variable that names the descriptors from 3
// on: "state,lifeline,sentry".
const DescriptorsVar = "BULKHEAD_FDS"

// Descriptors are those that the launcher gave to this process, by name.
type Descriptors map[string]*os.File

// Inherited takes the process's descriptors over and marks them close-on-exec.
func Inherited() (Descriptors, error) {
	names := os.Getenv(DescriptorsVar)
	if err := os.Unsetenv(DescriptorsVar); err != nil {
		return nil, fmt.Errorf("unset %s: %w", DescriptorsVar, err)
	}
	if names == "" {
		return nil, fmt.Errorf("%s is not set: this program is started by sandbox-launch or bulkhead", DescriptorsVar)
	}
	if err := jail.CloseOnExecFrom(3); err != nil {
		return nil, err
	}
	all := Descriptors{}
	for i, name := range strings.Split(names, ",") {
		all[name] = os.NewFile(uintptr(3+i), name)
	}
	return all, nil
}

// Take removes a descriptor that the caller owns from now on; nil if the
// launcher gave none.
func (d Descriptors) Take(name string) *os.File {
	f := d[name]
	delete(d, name)
	return f
}

// Close closes what nobody took.
func (d Descriptors) Close() {
	for name, f := range d {
		f.Close()
		delete(d, name)
	}
}

// Released is what a launcher writes to a lifeline that no longer counts: the
// service is to outlive it.
const Released = 'r'

// EndWith ends the process when the other end of the lifeline is gone, once the
// functions of before have returned.
func EndWith(lifeline *os.File, before ...func()) {
	if lifeline == nil {
		return
	}
	go func() {
		defer lifeline.Close()
		var b [1]byte
		if n, _ := lifeline.Read(b[:]); n == 1 && b[0] == Released {
			return
		}
		for _, f := range before {
			f()
		}
		os.Exit(0)
	}()
}

// Serve serves the control service that register adds, until the process ends.
func Serve(register func(*grpc.Server)) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         plugin.PluginSet{PluginName: &serverPlugin{register: register}},
		Logger:          hclog.NewNullLogger(),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.UnaryInterceptor(endOnShutdown))...)
		},
	})
	os.Exit(0)
}

// endOnShutdown answers go-plugin's request to stop. Its own way of stopping
// removes the socket, which a sealed process cannot do.
func endOnShutdown(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if strings.HasSuffix(info.FullMethod, "GRPCController/Shutdown") {
		os.Exit(0)
	}
	return next(ctx, request)
}

// PluginName is the name of the one plugin that a service has.
const PluginName = "control"

type serverPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	register func(*grpc.Server)
}

func (p *serverPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	p.register(s)
	return nil
}

func (p *serverPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("a service does not command itself")
}

// ClientPlugin is the launcher's side: it dispenses the *grpc.ClientConn.
type ClientPlugin struct {
	plugin.NetRPCUnsupportedPlugin
}

func (ClientPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return fmt.Errorf("the launcher does not serve")
}

func (ClientPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// FDList formats names for DescriptorsVar.
func FDList(names []string) string {
	return DescriptorsVar + "=" + strings.Join(names, ",")
}

// FDPath is the path by which a process reaches directory descriptor fd of its own.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
