package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/pipe"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
)

// Commands of fcntl(2) that x/sys/unix has no names for.
const (
	dupfdQuery   = 1027 // F_DUPFD_QUERY: whether two descriptors are of one open file
	createdQuery = 1028 // F_CREATED_QUERY: whether opening has made the file
)

// fcntl does one of many things to a descriptor or its file: fcntl(2).
func fcntl(t *task.Task, fd linux.FD, cmd int32, arg uint64) (uint64, error) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	switch cmd {
	case linux.F_DUPFD, linux.F_DUPFD_CLOEXEC:
		return duplicate(t, f, int64(arg), cmd == linux.F_DUPFD_CLOEXEC)
	case linux.F_GETFD:
		return closeOnExec(t, fd)
	case linux.F_SETFD:
		return 0, t.FDs().SetCloseOnExec(fd, arg&linux.FD_CLOEXEC != 0)
	case linux.F_GETFL:
		return uint64(f.Flags()), nil
	case dupfdQuery:
		other, err := t.AnyFile(linux.FD(arg))
		if err != nil {
			return 0, err
		}
		defer other.DecRef(t)
		return oneIf(other == f), nil
	case createdQuery:
		return oneIf(f.Created()), nil
	}
	if f.Flags()&linux.O_PATH != 0 {
		return 0, linux.EBADF
	}
	switch cmd {
	case linux.F_SETFL:
		return 0, f.SetFlags(t, linux.OpenFlags(arg))
	case linux.F_GETLK, linux.F_OFD_GETLK:
		return 0, queryLock(t, f, arg, cmd == linux.F_OFD_GETLK)
	case linux.F_SETLK, linux.F_SETLKW:
		return 0, setLock(t, f, arg, false, cmd == linux.F_SETLKW)
	case linux.F_OFD_SETLK, linux.F_OFD_SETLKW:
		return 0, setLock(t, f, arg, true, cmd == linux.F_OFD_SETLKW)
	case linux.F_GETPIPE_SZ, linux.F_SETPIPE_SZ:
		return pipeSize(t, f, cmd, arg)
	case linux.F_ADD_SEALS, linux.F_GET_SEALS:
		return seals(t, f, cmd, arg)
	case linux.F_SETOWN:
		return 0, setOwnerNumber(t, f, fd, int32(arg))
	case linux.F_GETOWN:
		o := ioOwnerOf(t, f)
		return uint64(int64(o.numberFor(t))), nil
	case linux.F_SETOWN_EX, linux.F_GETOWN_EX:
		return 0, ownerEx(t, f, fd, mm.Addr(arg), cmd == linux.F_SETOWN_EX)
	case linux.F_SETSIG:
		return 0, setOwnerSignal(t, f, fd, arg)
	case linux.F_GETSIG:
		return uint64(ioOwnerOf(t, f).sig), nil
	case linux.F_SETLEASE:
		return 0, setLease(t, f, fd, arg)
	case linux.F_GETLEASE:
		return uint64(f.Lease()), nil
	case unix.F_GET_RW_HINT, unix.F_SET_RW_HINT:
		return 0, writeHint(t, f, mm.Addr(arg), cmd == unix.F_SET_RW_HINT)
	case linux.F_NOTIFY:
		return 0, notifyDirectory(t, f, fd, uint32(arg))
	}
	return 0, linux.EINVAL
}

// duplicate is F_DUPFD: dup to the lowest free descriptor from least on.
func duplicate(t *task.Task, f *vfs.File, least int64, closeOnExec bool) (uint64, error) {
	least = int64(int32(least))
	if least < 0 || uint64(least) >= t.Group().Limit(unix.RLIMIT_NOFILE).Cur {
		return 0, linux.EINVAL
	}
	if err := budget.Check(); err != nil {
		return 0, err
	}
	f.IncRef()
	fd, err := t.Install(f, linux.FD(least), closeOnExec)
	return uint64(fd), err
}

func closeOnExec(t *task.Task, fd linux.FD) (uint64, error) {
	on, err := t.FDs().CloseOnExec(fd)
	if err != nil || !on {
		return 0, err
	}
	return linux.FD_CLOEXEC, nil
}

// flock locks a whole file for its open file description: flock(2).
func flock(t *task.Task, fd linux.FD, op int32) (uint64, error) {
	const mandatory = 32 // LOCK_MAND, which Linux takes and forgets since 5.17
	if op&mandatory != 0 {
		return 0, nil
	}
	switch op &^ linux.LOCK_NB {
	case linux.LOCK_SH, linux.LOCK_EX, linux.LOCK_UN:
	default:
		return 0, linux.EINVAL
	}
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return 0, f.Flock(t, int(op))
}

func copyInFlock(t *task.Task, addr mm.Addr) (linux.Flock, error) {
	var b [linux.SizeofFlock]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return linux.Flock{}, err
	}
	return linux.ReadFlock(b[:]), nil
}

// setLock is F_SETLK and its like: a record lock of the process, or of the open
// file description with ofd.
func setLock(t *task.Task, f *vfs.File, addr mm.Addr, ofd, block bool) error {
	l, err := copyInFlock(t, addr)
	if err != nil {
		return err
	}
	if l.Type != linux.F_UNLCK {
		if err := budget.Check(); err != nil {
			return err
		}
	}
	return f.SetLock(t, l, ofd, block)
}

// queryLock is F_GETLK: it tells which lock is in the way.
func queryLock(t *task.Task, f *vfs.File, addr mm.Addr, ofd bool) error {
	l, err := copyInFlock(t, addr)
	if err != nil {
		return err
	}
	l, err = f.GetLock(t, l, ofd)
	if err != nil {
		return err
	}
	if l.PID > 0 {
		l.PID = t.ShowPID(l.PID)
	}
	out := newAnswer(t, linux.SizeofFlock)
	l.Put(out.bytes)
	return out.copyOut(t, addr)
}

// writeHint is F_GET_RW_HINT and F_SET_RW_HINT: how long what is written is expected to
// last. It is remembered as long as the file's name is, and gone by nobody.
func writeHint(t *task.Task, f *vfs.File, addr mm.Addr, set bool) error {
	const longest = 5 // RWH_WRITE_LIFE_EXTREME
	var b [8]byte
	if !set {
		binary.LittleEndian.PutUint64(b[:], f.Path().Dentry.WriteHint())
		return t.CopyOut(addr, b[:])
	}
	a, err := f.Attr(t)
	if err != nil {
		return err
	}
	if !t.Creds().IsOwner(&a) {
		return linux.EPERM
	}
	if err := t.CopyIn(addr, b[:]); err != nil {
		return err
	}
	hint := binary.LittleEndian.Uint64(b[:])
	if hint > longest {
		return linux.EINVAL
	}
	f.Path().Dentry.SetWriteHint(hint)
	return nil
}

// pipeSize is F_GETPIPE_SZ and F_SETPIPE_SZ.
func pipeSize(t *task.Task, f *vfs.File, cmd int32, arg uint64) (uint64, error) {
	end, ok := f.Impl().(*pipe.End)
	if !ok {
		return 0, linux.EBADF
	}
	if cmd == linux.F_GETPIPE_SZ {
		return uint64(end.Size()), nil
	}
	n, err := end.SetSize(t, uint64(uint32(arg)))
	return uint64(n), err
}

// seals is F_ADD_SEALS and F_GET_SEALS: EINVAL for what takes none.
func seals(t *task.Task, f *vfs.File, cmd int32, arg uint64) (uint64, error) {
	s, ok := f.Impl().(tmpfs.Sealer)
	if !ok {
		return 0, linux.EINVAL
	}
	if cmd == linux.F_GET_SEALS {
		set, err := s.Seals()
		return uint64(set), err
	}
	if !f.Writable() {
		return 0, linux.EPERM
	}
	return 0, s.AddSeals(t, uint32(arg))
}
