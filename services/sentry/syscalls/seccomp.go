package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/seccomp"
	"bulkhead/services/sentry/task"
)

// What seccomp(2) does, and the flags of setting a filter: how a call that is logged
// is told, and whether mitigations are left out, makes no difference here.
const (
	seccompSetStrict   = 0
	seccompSetFilter   = 1
	seccompActionAvail = 2
	seccompTsync       = 1
	seccompLog         = 2
	seccompSpecAllow   = 4
	seccompTsyncESRCH  = 16
	seccompFlags       = seccompTsync | seccompLog | seccompSpecAllow | seccompTsyncESRCH
	sizeofFprog        = 16
)

// seccomp restricts the calls that the thread may make from now on: seccomp(2). User
// notification is not there, as before Linux 5.0: EINVAL, EOPNOTSUPP.
func seccomp_(t *task.Task, op, flags uint32, args mm.Addr) (uint64, error) {
	switch op {
	case seccompSetStrict:
		if flags != 0 || args != 0 {
			return 0, linux.EINVAL
		}
		return 0, t.SetStrict()
	case seccompSetFilter:
		return setFilter(t, flags, args)
	case seccompActionAvail:
		var b [4]byte
		if flags != 0 {
			return 0, linux.EINVAL
		}
		if err := t.CopyIn(args, b[:]); err != nil {
			return 0, err
		}
		if !seccomp.Action(binary.LittleEndian.Uint32(b[:])).Known() {
			return 0, linux.EOPNOTSUPP
		}
		return 0, nil
	}
	return 0, linux.EINVAL
}

// setFilter adds the program that a struct sock_fprog names: EACCES, EFAULT, EINVAL,
// ENOMEM; a thread's number if that one cannot have it, or ESRCH.
func setFilter(t *task.Task, flags uint32, args mm.Addr) (uint64, error) {
	if flags&^seccompFlags != 0 {
		return 0, linux.EINVAL
	}
	var fprog [sizeofFprog]byte
	if err := t.CopyIn(args, fprog[:]); err != nil {
		return 0, err
	}
	n := int(binary.LittleEndian.Uint16(fprog[:]))
	if n == 0 || n > seccomp.MaxInstructions {
		return 0, linux.EINVAL
	}
	if c := t.Creds(); !c.NoNewPrivs && !c.HasOwn(linux.CAP_SYS_ADMIN) {
		return 0, linux.EACCES
	}
	b := make([]byte, n*seccomp.SizeofInstruction)
	if err := t.CopyIn(binary.LittleEndian.Uint64(fprog[8:]), b); err != nil {
		return 0, err
	}
	stray, err := t.AddFilter(seccomp.ReadInstructions(b), flags&seccompTsync != 0)
	if stray != 0 && flags&seccompTsyncESRCH != 0 {
		return 0, linux.ESRCH
	}
	return uint64(stray), err
}
