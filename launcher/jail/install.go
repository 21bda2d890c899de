package jail

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Install puts the filter on every thread of the process, for good, and sets
// no_new_privs with it. A later filter can only narrow it.
//
// A call that the filter does not let through raises SIGSYS in its thread. Go's
// runtime cannot be told to survive that: it writes "SIGSYS: bad system call"
// and the registers to standard error and ends the process. Forbidden finds the
// call in that text.
func (f Filter) Install() error {
	raw, err := f.Program()
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}

	// Both must happen on one thread. TSYNC takes no_new_privs to the others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	thread, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	if errno != 0 {
		return fmt.Errorf("install filter: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("install filter: thread %d has another filter", thread)
	}
	return nil
}
