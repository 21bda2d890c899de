package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// Of struct timex: its size in bytes, and what adjtimex(2) says of a clock that
// nobody disciplines.
const (
	sizeofTimex  = 208
	adjOffsetGet = 0xa001 // ADJ_OFFSET_SS_READ
	staUnsync    = 0x40
	timeError    = 5
)

// adjtimex tells of the clock, which is the host's to adjust: EPERM.
func adjtimex(t *task.Task, addr mm.Addr) (uint64, error) {
	var modes [4]byte
	if err := t.CopyIn(addr, modes[:]); err != nil {
		return 0, err
	}
	if m := binary.LittleEndian.Uint32(modes[:]); m != 0 && m != adjOffsetGet {
		return 0, mayAdjust(t, m, addr)
	}
	b, le := make([]byte, sizeofTimex), binary.LittleEndian
	copy(b, modes[:])
	le.PutUint64(b[24:], 16000000) // maxerror, in microseconds
	le.PutUint64(b[32:], 16000000) // esterror
	le.PutUint32(b[40:], staUnsync)
	le.PutUint64(b[48:], 2) // time constant
	le.PutUint64(b[56:], 1) // precision, in microseconds
	le.PutUint64(b[64:], 500<<16)
	now := time.Now()
	le.PutUint64(b[72:], uint64(now.Unix()))
	le.PutUint64(b[80:], uint64(now.Nanosecond()/1000))
	le.PutUint64(b[88:], 10000) // tick, in microseconds
	return timeError, t.CopyOutLater(addr, b)
}

// mayAdjust is why the clock cannot be set so: it is the host's (EPERM), or nobody's
// could (EINVAL).
func mayAdjust(t *task.Task, modes uint32, addr mm.Addr) error {
	const singleShot, offsetMode, tickMode = 0x8000, 0x0001, 0x4000
	if !t.Creds().Has(linux.CAP_SYS_TIME) {
		return linux.EPERM
	}
	if modes&singleShot != 0 && modes&offsetMode == 0 {
		return linux.EINVAL
	}
	b := make([]byte, sizeofTimex)
	if err := t.CopyIn(addr, b); err != nil {
		return err
	}
	if tick := int64(binary.LittleEndian.Uint64(b[88:])); modes&singleShot == 0 && modes&tickMode != 0 && (tick < 9000 || tick > 11000) {
		return linux.EINVAL
	}
	return linux.EPERM
}

// clock_adjtime is adjtimex of a clock: EINVAL, EOPNOTSUPP.
func clock_adjtime(t *task.Task, clock int32, addr mm.Addr) (uint64, error) {
	switch {
	case clock == unix.CLOCK_REALTIME:
		return adjtimex(t, addr)
	case clock < 0 || clock > unix.CLOCK_TAI:
		return 0, linux.EINVAL
	}
	return 0, linux.EOPNOTSUPP
}

// reboot ends the container, as it does in a PID namespace that is not the machine's:
// reboot(2), "Behavior inside PID namespaces". EPERM, EINVAL.
func reboot(t *task.Task, magic, magic2, cmd uint32) (uint64, error) {
	if !t.RulesPIDs(linux.CAP_SYS_BOOT) {
		return 0, linux.EPERM
	}
	switch magic2 {
	case unix.LINUX_REBOOT_MAGIC2, 85072278, 369367448, 537993216:
	default:
		return 0, linux.EINVAL
	}
	if magic != unix.LINUX_REBOOT_MAGIC1 {
		return 0, linux.EINVAL
	}
	switch cmd {
	case unix.LINUX_REBOOT_CMD_RESTART, unix.LINUX_REBOOT_CMD_RESTART2, unix.LINUX_REBOOT_CMD_HALT, unix.LINUX_REBOOT_CMD_POWER_OFF:
	default:
		return 0, linux.EINVAL
	}
	if ns := t.PIDNamespace(); ns != nil {
		sig := linux.SIGINT
		if cmd == unix.LINUX_REBOOT_CMD_RESTART || cmd == unix.LINUX_REBOOT_CMD_RESTART2 {
			sig = linux.SIGHUP
		}
		ns.Reboot(sig)
		return 0, t.ExitGroup(0)
	}
	init := t.Kernel().Group(1)
	if init == nil {
		return 0, linux.ESRCH
	}
	return 0, init.SendFromOutside(linux.SigInfo{Signo: int32(linux.SIGKILL), Code: linux.SI_KERNEL})
}
