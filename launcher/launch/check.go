// Package launch brings a sandbox up and a container into it: the steps that the
// commands share.
package launch

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
)

// Oldest kernel that has all that a sandbox needs.
const oldestMajor, oldestMinor = 5, 15

// needCaps are those that this process needs to make a sandbox.
var needCaps = jail.CapsOf(unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_SYS_PTRACE,
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER)

// Check tells what the host or the caller lacks, before anything is begun.
func Check() error {
	if err := checkKernel(); err != nil {
		return fmt.Errorf("check kernel: %w", err)
	}
	if missing, err := jail.Missing(needCaps); err != nil {
		return fmt.Errorf("check privilege: %w", err)
	} else if os.Geteuid() != 0 || missing != 0 {
		return fmt.Errorf("check privilege: user %d lacks %s: run as root, for instance with sudo", os.Geteuid(), missing)
	}
	return nil
}

func checkKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("read its version: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err == nil && (major < oldestMajor || major == oldestMajor && minor < oldestMinor) {
		return fmt.Errorf("Linux %s is too old: %d.%d or newer is needed", release, oldestMajor, oldestMinor)
	}
	notify := uint32(unix.SECCOMP_RET_USER_NOTIF)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&notify))); errno != 0 {
		return fmt.Errorf("no seccomp user notification (%w): a kernel with CONFIG_SECCOMP_FILTER is needed", errno)
	}
	fd, err := unix.MemfdCreate("check", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("no memfd_create (%w): a kernel with CONFIG_MEMFD_CREATE is needed", err)
	}
	unix.Close(fd)
	fd, err = unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("no pidfd_open (%w): if this is a container, allow the call", err)
	}
	unix.Close(fd)
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return fmt.Errorf("no /proc (%w): mount it", err)
	}
	return nil
}
