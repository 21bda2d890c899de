package syscalls

import (
	"math"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// close frees a descriptor: close(2). It is free also if there is an error.
func close_(t *task.Task, fd linux.FD) (uint64, error) {
	f, err := t.FDs().Remove(fd)
	if err != nil {
		return 0, err
	}
	return 0, letGo(t, f)
}

// letGo is what happens to a file that lost a descriptor.
func letGo(t *task.Task, f *vfs.File) error {
	t.MM().Closes(t.Thread(), f)
	err := f.Flush(t)
	f.DecRef(t)
	return err
}

// close_range frees the descriptors from first to last, or with
// CLOSE_RANGE_CLOEXEC marks them: close_range(2).
func close_range(t *task.Task, first, last uint32, flags uint32) (uint64, error) {
	if flags&^(linux.CLOSE_RANGE_UNSHARE|linux.CLOSE_RANGE_CLOEXEC) != 0 || first > last {
		return 0, linux.EINVAL
	}
	if first > math.MaxInt32 {
		return 0, nil
	}
	if flags&linux.CLOSE_RANGE_UNSHARE != 0 {
		t.UnshareFDs()
	}
	from, to := linux.FD(first), linux.FD(min(last, math.MaxInt32))
	if flags&linux.CLOSE_RANGE_CLOEXEC != 0 {
		for _, e := range t.FDs().All() {
			if e.FD >= from && e.FD <= to {
				t.FDs().SetCloseOnExec(e.FD, true)
			}
		}
		return 0, nil
	}
	for _, f := range t.FDs().RemoveRange(from, to) {
		letGo(t, f)
	}
	return 0, nil
}

// dup gives a file a further descriptor, the lowest that is free: dup(2).
func dup(t *task.Task, fd linux.FD) (uint64, error) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return 0, err
	}
	return install(t, f, 0)
}

// dup2 makes newfd refer to the file of oldfd; what it referred to is closed.
func dup2(t *task.Task, oldfd, newfd linux.FD) (uint64, error) {
	if oldfd != newfd {
		return dup3(t, oldfd, newfd, 0)
	}
	f, err := t.AnyFile(oldfd)
	if err != nil {
		return 0, err
	}
	f.DecRef(t)
	return uint64(newfd), nil
}

// dup3 is dup2 with O_CLOEXEC as a flag, and it refuses equal descriptors.
func dup3(t *task.Task, oldfd, newfd linux.FD, flags linux.OpenFlags) (uint64, error) {
	switch {
	case flags&^linux.O_CLOEXEC != 0, oldfd == newfd:
		return 0, linux.EINVAL
	case newfd < 0 || uint64(newfd) >= t.Group().Limit(unix.RLIMIT_NOFILE).Cur:
		return 0, linux.EBADF
	}
	f, err := t.AnyFile(oldfd)
	if err != nil {
		return 0, err
	}
	old, err := t.FDs().Set(newfd, f, flags&linux.O_CLOEXEC != 0)
	if err != nil {
		f.DecRef(t)
		return 0, err
	}
	if old != nil {
		letGo(t, old)
	}
	return uint64(newfd), nil
}
