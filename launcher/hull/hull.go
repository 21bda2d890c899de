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
	"maps"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"bulkhead/launcher/jail"
	"bulkhead/proto/rpc"
	_ "bulkhead/proto/stack" // initialises first, in every program of ours, after proto/heap
)

// Go-plugin's handshake: docs/internals.md there. A service proves by the cookie's
// variable that a launcher started it, and says on standard output where it serves.
const (
	ProtocolVersion = 1
	CookieVar       = "BULKHEAD_COOKIE"
	Cookie          = "hull-1"
	coreProtocol    = 1
	socketDirVar    = "PLUGIN_UNIX_SOCKET_DIR"
	socketName      = "control"
)

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
func FDLink(n int) string { return linkName + strconv.Itoa(n) }

// IsLink says whether a name is one of those.
func IsLink(name string) bool { return strings.HasPrefix(name, linkName) }

const linkName = "link"

// DescriptorsVar is the environment variable that names the descriptors from 3
// on: "state,lifeline,sentry".
const DescriptorsVar = "BULKHEAD_FDS"

// Descriptors are those that the launcher gave to this process, by name.
type Descriptors map[string]*os.File

// Inherited takes the process's descriptors over and marks them close-on-exec. The
// launcher's terminal is not among them: it is given up.
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
	if err := leaveTerminal(); err != nil {
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

// Serve serves control's methods as a go-plugin program does, until the process ends.
// It is not go-plugin's own Serve, which initialises more than a service needs: proto/rpc.
func Serve(methods rpc.Methods) {
	if os.Getenv(CookieVar) != Cookie {
		fmt.Fprintln(os.Stderr, "this program is started by sandbox-launch or bulkhead")
		os.Exit(1)
	}
	path := os.Getenv(socketDirVar) + "/" + socketName
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve control:", err)
		os.Exit(1)
	}
	methods = maps.Clone(methods)
	methods["/plugin.GRPCController/Shutdown"] = func(context.Context, []byte) ([]byte, error) {
		os.Exit(0)
		return nil, nil
	}
	methods["/grpc.health.v1.Health/Check"] = func(context.Context, []byte) ([]byte, error) {
		return []byte{1 << 3, 1}, nil // HealthCheckResponse{Status: SERVING}
	}
	signal.Ignore(os.Interrupt) // a terminal's, which is for the launcher
	fmt.Printf("%d|%d|unix|%s|grpc|\n", coreProtocol, ProtocolVersion, path)
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "serve control:", err)
			os.Exit(1)
		}
		go methods.ServeConn(c)
	}
}

// FDList formats names for DescriptorsVar.
func FDList(names []string) string {
	return DescriptorsVar + "=" + strings.Join(names, ",")
}

// FDPath is the path by which a process reaches directory descriptor fd of its own.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
