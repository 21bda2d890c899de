package jail

import (
	"errors"
	"fmt"
	"math/bits"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Nobody is the user and group that a service without an identity runs as.
const Nobody = 65534

// Caps is a set of capabilities, 1 << CAP_: capabilities(7).
type Caps uint64

// CapsOf is the set of the given CAP_ numbers.
func CapsOf(caps ...int) Caps {
	var set Caps
	for _, c := range caps {
		set |= 1 << c
	}
	return set
}

// Become makes uid and gid the only identity of every thread and keep its only
// capabilities, permitted and effective. The bounding, inheritable and ambient
// sets are emptied, so that no execve could give any back. What is so already is
// not done again: each step stops every thread for about 0.1 ms.
func Become(uid, gid int, keep Caps) error {
	if groups, err := unix.Getgroups(); err != nil || len(groups) != 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("drop supplementary groups: %w", err)
		}
	}
	if err := DropBounding(allThreads); err != nil {
		return err
	}
	if keep != 0 && uid != 0 {
		if err := allThreads(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
			return fmt.Errorf("keep capabilities: %w", err)
		}
	}
	if unix.Getgid() != gid || unix.Getegid() != gid {
		if err := syscall.Setresgid(gid, gid, gid); err != nil {
			return fmt.Errorf("set group %d: %w", gid, err)
		}
	}
	if unix.Getuid() != uid || unix.Geteuid() != uid {
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return fmt.Errorf("set user %d: %w", uid, err)
		}
	}
	return setCaps(keep) // and with the inheritable set the ambient one
}

// A caller is how a system call is made: on this thread, or on all.
type caller func(call, a, b, c uintptr) error

func allThreads(call, a, b, c uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(call, a, b, c)
	if errno == syscall.ENOTSUP {
		return errors.New("the program links cgo and cannot be sealed; build it with CGO_ENABLED=0")
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// ThisThread makes a system call on the calling thread only.
func ThisThread(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// DropBounding empties the capability bounding set.
func DropBounding(call caller) error {
	for c := range uintptr(64) {
		set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			return nil // past the last one that the kernel knows
		}
		if set == 0 {
			continue
		}
		if err := call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	return nil
}

// Bequeath lets a program that the calling thread, which must be root's, starts
// as root have the capabilities of heir, as far as the thread has them itself,
// and never any other: its bounding and ambient sets are empty from birth. It
// spoils the thread for other work.
func Bequeath(heir Caps) error {
	missing, err := Missing(heir)
	if err != nil {
		return err
	}
	// capabilities(7): root's new permitted set is its inheritable set and its
	// bounding set together.
	heir &^= missing
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = uint32(heir), uint32(heir>>32)
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("set inheritable capabilities to %s: %w", heir, err)
	}
	if err := ThisThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	return DropBounding(ThisThread)
}

func setCaps(keep Caps) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(keep), uint32(keep>>32)
	data := [2]unix.CapUserData{
		{Effective: low, Permitted: low},
		{Effective: high, Permitted: high},
	}
	if err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		return fmt.Errorf("set capabilities to %s: %w", keep, err)
	}
	return nil
}

// Missing tells which of need the calling process does not have effectively.
func Missing(need Caps) (Caps, error) {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	have := Caps(data[0].Effective) | Caps(data[1].Effective)<<32
	return need &^ have, nil
}

// String lists the set's names, as in "CAP_CHOWN CAP_SETUID".
func (s Caps) String() string {
	if s == 0 {
		return "none"
	}
	text := ""
	for left := uint64(s); left != 0; left &= left - 1 {
		n := bits.TrailingZeros64(left)
		if text != "" {
			text += " "
		}
		if n < len(capNames) {
			text += "CAP_" + capNames[n]
		} else {
			text += fmt.Sprintf("CAP_%d", n)
		}
	}
	return text
}

// CapNumber is the number of a capability by its name, "CAP_CHOWN".
func CapNumber(name string) (int, bool) {
	for n, short := range capNames {
		if name == "CAP_"+short {
			return n, true
		}
	}
	return 0, false
}

// AllCaps is every capability that this program knows.
func AllCaps() Caps { return 1<<len(capNames) - 1 }

// capNames in the order of their numbers: linux/capability.h.
var capNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}
