// Command bulkhead-gofer brokers the files of one container: below its attach
// points, and nowhere else, it walks, opens and changes what the sentry asks
// for. It makes no socket, runs no program, and sees neither guest memory nor
// packets.
//
// Boot order: take over the descriptors that the launcher gave; serve control;
// at the Boot call mount the attach points at /0, /1, ... of an empty root, enter
// it, drop power, install the filter; then serve the sentry on its data channel
// until either of them ends.
package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	goferv1 "bulkhead/proto/gofer/v1"
	"bulkhead/proto/rpc"
	"bulkhead/services/gofer/server"
)

// posture: root's identity, and of its power what it takes to do to files what
// the guest's users may do to them. Which of them may is the sentry's to decide.
var posture = hull.Posture{
	UID: 0, GID: 0,
	Caps: jail.CapsOf(
		unix.CAP_CHOWN,           // chown
		unix.CAP_DAC_OVERRIDE,    // files of all users
		unix.CAP_DAC_READ_SEARCH, // files of all users
		unix.CAP_FOWNER,          // chmod, utimes, sticky directories
		unix.CAP_FSETID,          // set-user-ID bits stay
		unix.CAP_SETFCAP,         // security.capability
	),
	Filter: filter,
}

func main() {
	fds, err := hull.Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gofer:", err)
		os.Exit(1)
	}
	hull.EndWith(fds.Take(hull.FDLifeline))
	hold = fds.Take(hull.FDHold)
	hull.Serve(rpc.Methods{"/control.v1.GoferService/Boot": rpc.Unary((&control{fds: fds}).Boot)})
}

// hold is never used: the sentry ends when it closes, with this process.
var hold *os.File

// control answers the launcher.
type control struct {
	fds hull.Descriptors
}

// Boot attaches, seals the process, and starts to serve.
func (c *control) Boot(_ context.Context, q *goferv1.BootRequest) (*goferv1.BootResponse, error) {
	channel := c.fds.Take(hull.FDSentry)
	if channel == nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "boot gofer: it has no data channel, or was booted before")
	}
	log := hull.Logger(c.fds.Take(hull.FDLog), q.Debug)
	c.fds.Close()
	roots, err := attach(q.Attaches)
	if err != nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "%v", err)
	}
	if err := hull.Seal(posture); err != nil {
		return nil, rpc.Errorf(rpc.Internal, "seal gofer: %v", err)
	}
	log.Info("sealed", "calls", filter.Calls(), "attaches", len(q.Attaches))
	go func() {
		err := server.Serve(channel, roots)
		log.Info("ended", "error", err)
		os.Exit(0)
	}()
	hull.Slim()
	return &goferv1.BootResponse{Attaches: q.Attaches}, nil
}
