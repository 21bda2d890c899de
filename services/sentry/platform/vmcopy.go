package platform

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// processVM calls process_vm_readv(2) or process_vm_writev(2), by the number of a thread:
// ESRCH, if it has ended. The calls are
// short and never wait for anything but a page, so they do not tell Go's
// scheduler.
func processVM(call uintptr, pid int, addr uint64, buf []byte) (int, error) {
	local := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	// The remote address is a number of another address space, not a pointer.
	remote := struct{ base, len uint64 }{addr, uint64(len(buf))}
	var n uintptr
	var errno unix.Errno
	if len(buf) <= 1<<16 {
		n, _, errno = unix.RawSyscall6(call, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	} else {
		n, _, errno = unix.Syscall6(call, uintptr(pid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	}
	if errno == unix.EPERM {
		errno = unix.EFAULT // the process is on its way out
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
