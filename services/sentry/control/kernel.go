// Package control is how launchers command the sentry: the gRPC service of
// proto/sentry/v1, the descriptors that come with its requests, and the keepers
// that stand for guest processes on the host.
//
// It boots in this order: the kernel makes what it can only make with power, the
// process is sealed, and only then is a container created.
package control

import (
	"context"
	"fmt"
	"os"

	sentryv1 "bulkhead/proto/sentry/v1"
)

// Descriptors are what the kernel was given at its start. Each may be nil.
type Descriptors struct {
	// Gofer and Netd are the data channels.
	Gofer, Netd *os.File
	// Log takes the debug log, Strace the log of system calls.
	Log, Strace *os.File
}

// Kernel is what control commands. Ids and pids are the guest's; pid 0 is the
// container's first process. Errors reach the launcher's user as they are, and
// so read "object: cause" or "step: object: cause".
//
// Descriptors that are passed belong to the kernel, also when it fails. Keepers
// are no business of the kernel: control Waits for their processes.
type Kernel interface {
	// Boot comes first, before the process is sealed. When it returns, nothing of
	// the kernel may be starting processes.
	Boot(cfg *sentryv1.BootRequest, fds Descriptors) error
	// Sealed is called once the process is sealed.
	Sealed()
	// Create loads the container's program. stdio are standard input, output and
	// error; if console is not nil it is all three and the controlling terminal.
	// A program that cannot be run is a *ProgramError.
	Create(spec *sentryv1.ContainerSpec, stdio []*os.File, console *os.File) error
	Start(id string) error
	// Exec runs a program; its errors are those of Create.
	Exec(id string, p *sentryv1.ProcessSpec, stdio []*os.File, console *os.File) (pid int32, err error)
	// Signal sends sig to pid, or to all processes of the container. With
	// foreground set it goes to the foreground process group of pid's terminal.
	Signal(id string, pid, sig int32, all, foreground bool) error
	// Wait gives the status of a process that has ended or ends, of Create or
	// Exec; it does not consume it. It ends early with ctx.
	Wait(ctx context.Context, id string, pid int32) (*sentryv1.ExitStatus, error)
	State(id string) (*sentryv1.ContainerState, error)
	// Delete forgets a stopped container and its processes' statuses.
	Delete(id string) error
	Resize(id string, pid int32, rows, columns uint32) error
	// Reconnect takes another netd, at the other end of a data channel.
	Reconnect(netd *os.File) error
}

// ProgramError says why a program cannot be run.
type ProgramError struct {
	Program string
	// NotFound tells a program that is not there (127) from one that cannot be
	// executed (126).
	NotFound bool
	Cause    error
}

func (e *ProgramError) Error() string { return fmt.Sprintf("run %s: %v", e.Program, e.Cause) }
func (e *ProgramError) Unwrap() error { return e.Cause }

// NotFoundError says that there is no such container or process.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return e.What + ": there is none" }
