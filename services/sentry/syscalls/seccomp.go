package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/seccomp"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// What seccomp(2) does, and the flags of setting a filter: how a call that is logged
// is told, and whether mitigations are left out, makes no difference here.
const (
	seccompSetStrict   = 0
	seccompSetFilter   = 1
	seccompActionAvail = 2
	seccompNotifSizes  = 3
	seccompTsync       = 1
	seccompLog         = 2
	seccompSpecAllow   = 4
	seccompNewListener = 8
	seccompTsyncESRCH  = 16
	seccompKillable    = 32
	seccompFlags       = seccompTsync | seccompLog | seccompSpecAllow | seccompNewListener | seccompTsyncESRCH | seccompKillable
	sizeofFprog        = 16
)

// seccomp restricts the calls that the thread may make from now on: seccomp(2).
// EINVAL, EOPNOTSUPP.
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
	case seccompNotifSizes:
		if flags != 0 {
			return 0, linux.EINVAL
		}
		var b []byte
		for _, n := range []uint16{task.SizeofNotif, task.SizeofNotifResponse, task.SizeofNotifData} {
			b = binary.LittleEndian.AppendUint16(b, n)
		}
		return 0, t.CopyOut(args, b)
	}
	return 0, linux.EINVAL
}

// setFilter adds the program that a struct sock_fprog names: EACCES, EFAULT, EINVAL,
// ENOMEM; a thread's number if that one cannot have it, or ESRCH.
func setFilter(t *task.Task, flags uint32, args mm.Addr) (uint64, error) {
	listens := flags&seccompNewListener != 0
	if flags&^seccompFlags != 0 || listens && flags&(seccompTsync|seccompTsyncESRCH) == seccompTsync || !listens && flags&seccompKillable != 0 {
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
	if listens {
		return addListened(t, seccomp.ReadInstructions(b), flags)
	}
	stray, err := t.AddFilter(seccomp.ReadInstructions(b), flags&seccompTsync != 0, flags&seccompLog != 0, nil)
	if stray != 0 && flags&seccompTsyncESRCH != 0 {
		return 0, linux.ESRCH
	}
	return uint64(stray), err
}

// addListened is setFilter with a listener, whose descriptor it gives: EBUSY, EMFILE.
func addListened(t *task.Task, program []seccomp.Instruction, flags uint32) (uint64, error) {
	l := t.NewListener(flags&seccompKillable != 0)
	fd, err := t.Install(vfs.NewAnonFile(l, "anon_inode:seccomp notify", linux.O_RDWR), 0, true)
	if err != nil {
		return 0, err
	}
	stray, err := t.AddFilter(program, flags&seccompTsync != 0, flags&seccompLog != 0, l)
	if stray != 0 {
		err = linux.ESRCH
	}
	if err != nil {
		if f, e := t.FDs().Remove(fd); e == nil {
			f.DecRef(t)
		}
		return 0, err
	}
	return uint64(fd), nil
}
