package syscalls

import (
	"math"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// chmod changes the permission bits of the file at path: chmod(2).
func chmod(t *task.Task, path mm.Addr, mode uint32) (uint64, error) {
	return fchmodat2(t, linux.AtFDCWD, path, mode, 0)
}

// fchmod is chmod of an open file.
func fchmod(t *task.Task, fd linux.FD, mode uint32) (uint64, error) {
	return setStatFD(t, fd, vfs.SetAttr{Mask: vfs.SetMode, Mode: mode & linux.S_IALL})
}

// fchmodat is chmod from dirfd on. The system call has no flags: chmod(2).
func fchmodat(t *task.Task, dirfd linux.FD, path mm.Addr, mode uint32) (uint64, error) {
	return fchmodat2(t, dirfd, path, mode, 0)
}

// fchmodat2 is chmod from dirfd on, with flags. The mode of a symlink itself
// cannot be changed: EOPNOTSUPP.
func fchmodat2(t *task.Task, dirfd linux.FD, path mm.Addr, mode uint32, flags atFlags) (uint64, error) {
	if flags&^(linux.AT_SYMLINK_NOFOLLOW|linux.AT_EMPTY_PATH) != 0 {
		return 0, linux.EINVAL
	}
	p, err := resolve(t, dirfd, path, flags.walkFlags())
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetStat(t, p, vfs.SetAttr{Mask: vfs.SetMode, Mode: mode & linux.S_IALL})
}

// chown changes the owner and the group of the file at path; -1 leaves one as it
// is: chown(2).
func chown(t *task.Task, path mm.Addr, uid, gid uint32) (uint64, error) {
	return fchownat(t, linux.AtFDCWD, path, uid, gid, 0)
}

// lchown is chown of a symlink itself.
func lchown(t *task.Task, path mm.Addr, uid, gid uint32) (uint64, error) {
	return fchownat(t, linux.AtFDCWD, path, uid, gid, linux.AT_SYMLINK_NOFOLLOW)
}

// fchown is chown of an open file.
func fchown(t *task.Task, fd linux.FD, uid, gid uint32) (uint64, error) {
	s, err := ownership(t, uid, gid)
	if err != nil {
		return 0, err
	}
	return setStatFD(t, fd, s)
}

// fchownat is chown from dirfd on, with flags.
func fchownat(t *task.Task, dirfd linux.FD, path mm.Addr, uid, gid uint32, flags atFlags) (uint64, error) {
	if flags&^(linux.AT_SYMLINK_NOFOLLOW|linux.AT_EMPTY_PATH) != 0 {
		return 0, linux.EINVAL
	}
	p, err := resolve(t, dirfd, path, flags.walkFlags())
	if err != nil {
		return 0, err
	}
	s, err := ownership(t, uid, gid)
	if err != nil {
		return 0, err
	}
	return 0, vfs.SetStat(t, p, s)
}

// ownership is the change to the user and the group that the caller means: EINVAL.
func ownership(t *task.Task, uid, gid uint32) (vfs.SetAttr, error) {
	if err := users(t, &uid); err != nil {
		return vfs.SetAttr{}, err
	}
	if err := groups(t, &gid); err != nil {
		return vfs.SetAttr{}, err
	}
	s := vfs.SetAttr{UID: uid, GID: gid}
	if uid != ^uint32(0) {
		s.Mask |= vfs.SetUID
	}
	if gid != ^uint32(0) {
		s.Mask |= vfs.SetGID
	}
	return s, nil
}

func setStatFD(t *task.Task, fd linux.FD, s vfs.SetAttr) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return 0, f.SetStat(t, s)
}

// truncate sets the length of the file at path: truncate(2).
func truncate(t *task.Task, path mm.Addr, size int64) (uint64, error) {
	if size < 0 {
		return 0, linux.EINVAL
	}
	p, err := resolve(t, linux.AtFDCWD, path, 0)
	if err != nil {
		return 0, err
	}
	return 0, signalled(t, vfs.SetStat(t, p, vfs.SetAttr{Mask: vfs.SetSize, Size: size}))
}

// ftruncate is truncate of a file that is open for writing.
func ftruncate(t *task.Task, fd linux.FD, size int64) (uint64, error) {
	if size < 0 {
		return 0, linux.EINVAL
	}
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	return 0, signalled(t, f.Truncate(t, size))
}

// fallocate changes the space of a file: fallocate(2).
func fallocate(t *task.Task, fd linux.FD, mode uint32, off, length int64) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if err = f.Allocate(t, mode, off, length); off > math.MaxInt64-length { // too big for any file: no signal
		return 0, err
	}
	return 0, signalled(t, err)
}
