// Package linux holds the kernel's ABI as a guest on x86-64 sees it: error
// numbers, constants and structures in kernel order with explicit padding.
//
// Handlers, file systems and the loader speak these types, so that a reader
// can hold a line against the man page. The package has no behaviour beyond
// encoding and imports nothing of ours.
package linux

import "golang.org/x/sys/unix"

// Errno is an error number of errno(3). It is the host's own type, so that an
// error from a host call can be passed on to the guest as it is.
type Errno = unix.Errno

// Error numbers that never leave the kernel: they say how an interrupted call
// is taken up again once signals have been delivered (signal(7), "Interruption
// of system calls and library functions by signal handlers").
const (
	// ERESTARTSYS restarts the call if the handler has SA_RESTART or none ran,
	// and is EINTR otherwise.
	ERESTARTSYS = Errno(512)
	// ERESTARTNOINTR always restarts the call.
	ERESTARTNOINTR = Errno(513)
	// ERESTARTNOHAND restarts the call only if no handler ran.
	ERESTARTNOHAND = Errno(514)
	// ERESTART_RESTARTBLOCK is ERESTARTNOHAND for a call with a relative
	// timeout: it goes on with what is left of it, by restart_syscall(2).
	ERESTART_RESTARTBLOCK = Errno(516)
)
