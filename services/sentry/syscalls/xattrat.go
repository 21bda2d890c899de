package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// The calls of Linux 6.13 on extended attributes that take a directory and flags.

// xattrPlace is the file that they name; a path may be missing where it may be empty.
func xattrPlace(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags) (vfs.Path, error) {
	if flags&^(linux.AT_SYMLINK_NOFOLLOW|linux.AT_EMPTY_PATH) != 0 {
		return vfs.Path{}, linux.EINVAL
	}
	if path == 0 && flags&linux.AT_EMPTY_PATH != 0 {
		return walk(t, dirfd, "", flags.walkFlags())
	}
	return resolve(t, dirfd, path, flags.walkFlags())
}

// xattrArgs is struct xattr_args.
type xattrArgs struct {
	value mm.Addr
	size  uint32
	flags uint32
}

// copyInXattrArgs reads one of size bytes: EINVAL, E2BIG if it says more than is known.
func copyInXattrArgs(t *task.Task, addr mm.Addr, size uint64) (a xattrArgs, err error) {
	const known = 16
	switch {
	case size < known:
		return a, linux.EINVAL
	case size > mm.PageSize:
		return a, linux.E2BIG
	}
	b := make([]byte, size)
	if err := t.CopyIn(addr, b); err != nil {
		return a, err
	}
	for _, more := range b[known:] {
		if more != 0 {
			return a, linux.E2BIG
		}
	}
	le := binary.LittleEndian
	return xattrArgs{le.Uint64(b), le.Uint32(b[8:]), le.Uint32(b[12:])}, nil
}

// setxattrat sets an extended attribute: setxattr(2).
func setxattrat(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags, name, args mm.Addr, size uint64) (uint64, error) {
	a, err := copyInXattrArgs(t, args, size)
	if err != nil {
		return 0, err
	}
	p, err := xattrPlace(t, dirfd, path, flags)
	if err != nil {
		return 0, err
	}
	return 0, setXattr(t, p, name, a.value, uint64(a.size), int32(a.flags))
}

// getxattrat gives an extended attribute: getxattr(2).
func getxattrat(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags, name, args mm.Addr, size uint64) (uint64, error) {
	a, err := copyInXattrArgs(t, args, size)
	if err != nil {
		return 0, err
	}
	if a.flags != 0 {
		return 0, linux.EINVAL
	}
	p, err := xattrPlace(t, dirfd, path, flags)
	if err != nil {
		return 0, err
	}
	return getXattr(t, p, name, a.value, uint64(a.size))
}

// listxattrat gives the names of all: listxattr(2).
func listxattrat(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags, list mm.Addr, size uint64) (uint64, error) {
	p, err := xattrPlace(t, dirfd, path, flags)
	if err != nil {
		return 0, err
	}
	return listXattr(t, p, list, size)
}

// removexattrat removes one: removexattr(2).
func removexattrat(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags, name mm.Addr) (uint64, error) {
	p, err := xattrPlace(t, dirfd, path, flags)
	if err != nil {
		return 0, err
	}
	return removeXattr(t, p, name)
}
