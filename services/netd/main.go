// Command bulkhead-netd is the network of one sandbox: a TCP/IP stack that
// answers the sentry's socket calls. It opens no file, makes no socket, and sees
// neither guest memory nor files.
//
// Boot order: take over the descriptors that the launcher gave; serve control;
// at the Boot call leave the file system, drop power, install the filter; then
// serve the sentry on its data channel until either of them ends.
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/proto/rpc"
	"bulkhead/services/netd/server"
	"bulkhead/services/netd/stack"
)

// posture: an identity that nobody else has, so that no other sandbox's processes
// count with this one or may send it signals, and no capability.
func posture() hull.Posture {
	return hull.Posture{UID: jail.Private(), GID: jail.Private(), Filter: filter}
}

func main() {
	fds, err := hull.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "netd:", err)
		os.Exit(1)
	}
	c := &control{fds: fds}
	hull.EndWith(fds.Take(hull.FDLifeline), c.farewell)
	hull.Serve(rpc.Methods{"/control.v1.NetdService/Boot": rpc.Unary((c).Boot)})
}

// control answers the launcher.
type control struct {
	fds    hull.Descriptors
	booted atomic.Bool
}

// farewell lets a stack that serves end by itself, which it does when its data
// channel has ended.
func (c *control) farewell() {
	if c.booted.Load() {
		time.Sleep(server.FarewellTime + server.FarewellTime/4)
	}
}

// Boot seals the process and starts the stack.
func (c *control) Boot(_ context.Context, q *netdv1.BootRequest) (*netdv1.BootResponse, error) {
	channel := c.fds.Take(hull.FDSentry)
	if channel == nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "boot netd: it has no data channel, or was booted before")
	}
	log := hull.Logger(c.fds.Take(hull.FDLog), q.Debug)
	loop := server.NewLoop()
	out, err := outsideOf(q, c.fds, loop, log)
	c.fds.Close()
	if err != nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "boot netd: %v", err)
	}
	own := posture() // which reads /proc
	if err := jail.EnterEmptyRoot(); err != nil {
		return nil, rpc.Errorf(rpc.Internal, "empty netd's root: %v", err)
	}
	hull.Punctual() // its timers are the network's
	if err := hull.Seal(own); err != nil {
		return nil, rpc.Errorf(rpc.Internal, "seal netd: %v", err)
	}
	log.Info("sealed", "calls", filter.Calls())
	options := []server.Option{server.On(loop)}
	if q.LoopbackThroughNetd {
		options = append(options, server.LoopbackThroughNetd)
	}
	ready := make(chan error, 1)
	go func() {
		err := server.Serve(channel, func(s *stack.Stack) error {
			err := out.join(s)
			ready <- err
			return err
		}, log, options...)
		log.Info("ended", "error", err)
		os.Exit(0)
	}()
	if err := <-ready; err != nil {
		return nil, rpc.Errorf(rpc.Internal, "join netd to the outside: %v", err)
	}
	c.booted.Store(true)
	hull.Slim()
	return &netdv1.BootResponse{}, nil
}
