package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// read reads up to n bytes from fd: read(2).
func read(t *task.Task, fd linux.FD, buf mm.Addr, n uint64) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	t.Used(fd, f)
	return readTo(t, f, current, buf, n)
}

// write writes n bytes to fd: write(2).
func write(t *task.Task, fd linux.FD, buf mm.Addr, n uint64) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	t.Used(fd, f)
	return writeFrom(t, f, current, buf, n)
}

// pread64 reads at an offset and leaves the file's position: pread(2).
func pread64(t *task.Task, fd linux.FD, buf mm.Addr, n uint64, off int64) (uint64, error) {
	if off < 0 {
		return 0, linux.EINVAL
	}
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return readTo(t, f, at(off), buf, n)
}

// pwrite64 writes at an offset and leaves the file's position. With O_APPEND it
// appends all the same: pwrite(2), BUGS.
func pwrite64(t *task.Task, fd linux.FD, buf mm.Addr, n uint64, off int64) (uint64, error) {
	if off < 0 {
		return 0, linux.EINVAL
	}
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return writeFrom(t, f, at(off), buf, n)
}

// readv is read into several pieces of memory: readv(2).
func readv(t *task.Task, fd linux.FD, iov mm.Addr, count uint64) (uint64, error) {
	return readVector(t, fd, iov, count, current)
}

// writev is write from several pieces of memory: writev(2).
func writev(t *task.Task, fd linux.FD, iov mm.Addr, count uint64) (uint64, error) {
	return writeVector(t, fd, iov, count, current, 0)
}

// preadv is readv at an offset. On a 64-bit machine the offset is in one
// register and the other is ignored: preadv(2), C library/kernel differences.
func preadv(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, off int64, _ uint64) (uint64, error) {
	if off < 0 {
		return 0, linux.EINVAL
	}
	return readVector(t, fd, iov, count, at(off))
}

// pwritev is writev at an offset.
func pwritev(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, off int64, _ uint64) (uint64, error) {
	if off < 0 {
		return 0, linux.EINVAL
	}
	return writeVector(t, fd, iov, count, at(off), 0)
}

// rwFlags are the RWF_ flags of preadv2(2).
type rwFlags uint32

const rwValid = linux.RWF_HIPRI | linux.RWF_DSYNC | linux.RWF_SYNC | linux.RWF_NOWAIT | linux.RWF_APPEND

// preadv2 is preadv with flags; offset -1 is the file's position.
func preadv2(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, off int64, _ uint64, flags rwFlags) (uint64, error) {
	p, err := positionOf(off)
	if err != nil {
		return 0, err
	}
	if flags&^rwValid != 0 || flags&linux.RWF_APPEND != 0 {
		return 0, linux.EOPNOTSUPP
	}
	return readVector(t, fd, iov, count, p)
}

// pwritev2 is pwritev with flags; offset -1 is the file's position.
func pwritev2(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, off int64, _ uint64, flags rwFlags) (uint64, error) {
	p, err := positionOf(off)
	if err != nil {
		return 0, err
	}
	if flags&^rwValid != 0 {
		return 0, linux.EOPNOTSUPP
	}
	return writeVector(t, fd, iov, count, p, flags)
}

func positionOf(off int64) (position, error) {
	switch {
	case off == -1:
		return current, nil
	case off < 0:
		return position{}, linux.EINVAL
	}
	return at(off), nil
}

func readVector(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, p position) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	v, err := copyInVector(t, iov, count)
	if err != nil {
		return 0, err
	}
	return v.readFrom(t, f, p)
}

func writeVector(t *task.Task, fd linux.FD, iov mm.Addr, count uint64, p position, flags rwFlags) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	t.Used(fd, f)
	v, err := copyInVector(t, iov, count)
	if err != nil {
		return 0, err
	}
	if flags&linux.RWF_APPEND != 0 && p.fixed {
		p = at(vfs.AppendOffset)
	}
	n, err := v.writeTo(t, f, p)
	if err == nil && flags&(linux.RWF_DSYNC|linux.RWF_SYNC) != 0 {
		err = f.Sync(t, flags&linux.RWF_SYNC == 0)
	}
	return n, err
}

// lseek moves the file's position: lseek(2).
func lseek(t *task.Task, fd linux.FD, off int64, whence int32) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if whence < linux.SEEK_SET || whence > linux.SEEK_HOLE {
		return 0, linux.EINVAL
	}
	pos, err := f.Seek(t, off, int(whence))
	return uint64(pos), err
}
