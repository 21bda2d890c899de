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

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/server"
	"bulkhead/services/netd/stack"
)

// posture: no identity, no capability.
var posture = hull.Posture{UID: jail.Nobody, GID: jail.Nobody, Filter: filter}

func main() {
	fds, err := hull.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "netd:", err)
		os.Exit(1)
	}
	c := &control{fds: fds}
	hull.EndWith(fds.Take(hull.FDLifeline), c.farewell)
	hull.Serve(func(s *grpc.Server) { netdv1.RegisterControlServiceServer(s, c) })
}

// control answers the launcher.
type control struct {
	netdv1.UnimplementedControlServiceServer
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
		return nil, status.Error(codes.FailedPrecondition, "boot netd: it has no data channel, or was booted before")
	}
	log := hull.Logger(c.fds.Take(hull.FDLog), q.Debug)
	loop := server.NewLoop()
	out, err := outsideOf(q, c.fds, loop, log)
	c.fds.Close()
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "boot netd: "+err.Error())
	}
	program := hull.ProgramText()
	if err := jail.EnterEmptyRoot(); err != nil {
		return nil, status.Error(codes.Internal, "empty netd's root: "+err.Error())
	}
	if err := hull.Seal(posture); err != nil {
		return nil, status.Error(codes.Internal, "seal netd: "+err.Error())
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
		return nil, status.Error(codes.Internal, "join netd to the outside: "+err.Error())
	}
	c.booted.Store(true)
	hull.Slim(program)
	return &netdv1.BootResponse{}, nil
}
