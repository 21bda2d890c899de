package main

import (
	"os"
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// runChild runs "progs name args" with the same streams and gives its exit
// status, or 128 plus the signal that ended it.
func (t *T) runChild(name string, args ...string) int {
	c := t.command(name, args...)
	return exitCode(c.Run())
}

// startChild starts a child whose standard input the caller closes to end it.
func (t *T) startChild(name string, args ...string) *exec.Cmd {
	c := t.command(name, args...)
	c.Stdin = nil
	return c
}

func (t *T) command(name string, args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", append([]string{name}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	e, ok := err.(*exec.ExitError)
	if !ok {
		return -1
	}
	ws := e.Sys().(interface {
		Signaled() bool
		ExitStatus() int
	})
	if ws.Signaled() {
		return 128 + int(e.Sys().(interface{ Signal() unix.Signal }).Signal())
	}
	return ws.ExitStatus()
}

// sigaction is the kernel's struct sigaction on x86-64.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// ignore sets SIG_IGN behind the Go runtime's back.
func ignore(sig unix.Signal) {
	sa := sigaction{handler: 1}
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&sa)), 0, 8, 0, 0)
}

// blockAll blocks a signal in every thread that is made later: call it first.
func block(sig unix.Signal) {
	runtime.LockOSThread()
	set := uint64(1) << (sig - 1)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
}

func rawSigaction(sig unix.Signal, sa *sigaction) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(sa)), 0, 8, 0, 0)
	return errnoErr(e)
}
