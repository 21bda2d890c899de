package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
)

// fsync waits until a file's data and attributes are stored: fsync(2).
func fsync(t *task.Task, fd linux.FD) (uint64, error) { return syncFile(t, fd, false) }

// fdatasync is fsync without attributes that reading the data does not need.
func fdatasync(t *task.Task, fd linux.FD) (uint64, error) { return syncFile(t, fd, true) }

func syncFile(t *task.Task, fd linux.FD, dataOnly bool) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return 0, f.Sync(t, dataOnly)
}

// sync has nothing to do: what a file system was given is with the host, whose
// own time to store it has come or will: sync(2).
func sync_(t *task.Task) (uint64, error) { return 0, nil }

// syncfs is sync of one file system.
func syncfs(t *task.Task, fd linux.FD) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	f.DecRef(t)
	return 0, nil
}

// sync_file_range stores a part of a file's data: sync_file_range(2). It stores
// more than it is asked to.
func sync_file_range(t *task.Task, fd linux.FD, off, length int64, flags uint32) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if flags&^linux.SYNC_FILE_RANGE_VALID != 0 || off < 0 || length < 0 || off+length < 0 {
		return 0, linux.EINVAL
	}
	if !seekable(f) {
		return 0, linux.ESPIPE
	}
	if flags == 0 {
		return 0, nil
	}
	return 0, f.Sync(t, true)
}

// fadvise64 announces how a file will be read, which changes nothing:
// posix_fadvise(2).
func fadvise64(t *task.Task, fd linux.FD, off, length int64, advice int32) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	switch {
	case !seekable(f):
		return 0, linux.ESPIPE
	case length < 0 || advice < linux.POSIX_FADV_NORMAL || advice > linux.POSIX_FADV_NOREUSE:
		return 0, linux.EINVAL
	}
	return 0, nil
}

// readahead is fadvise64 of POSIX_FADV_WILLNEED: readahead(2).
func readahead(t *task.Task, fd linux.FD, off int64, n uint64) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	switch {
	case !f.Flags().Read():
		return 0, linux.EBADF
	case !isRegular(t, f):
		return 0, linux.EINVAL
	}
	return 0, nil
}
