package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// stat tells about the file at path: stat(2).
func stat(t *task.Task, path, buf mm.Addr) (uint64, error) {
	return newfstatat(t, linux.AtFDCWD, path, buf, 0)
}

// lstat is stat of a symlink itself.
func lstat(t *task.Task, path, buf mm.Addr) (uint64, error) {
	return newfstatat(t, linux.AtFDCWD, path, buf, linux.AT_SYMLINK_NOFOLLOW)
}

// fstat tells about an open file, also one that O_PATH opened.
func fstat(t *task.Task, fd linux.FD, buf mm.Addr) (uint64, error) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	a, err := f.Attr(t)
	if err != nil {
		return 0, err
	}
	return 0, copyOutStat(t, buf, &a)
}

// newfstatat is stat from dirfd on, with flags: fstatat(2).
func newfstatat(t *task.Task, dirfd linux.FD, path, buf mm.Addr, flags atFlags) (uint64, error) {
	if flags&^(linux.AT_SYMLINK_NOFOLLOW|linux.AT_NO_AUTOMOUNT|linux.AT_EMPTY_PATH) != 0 {
		return 0, linux.EINVAL
	}
	a, _, err := statAt(t, dirfd, path, flags)
	if err != nil {
		return 0, err
	}
	return 0, copyOutStat(t, buf, &a)
}

// statAt is what all of them have in common.
func statAt(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags) (vfs.Attr, vfs.Path, error) {
	name := ""
	if flags&linux.AT_EMPTY_PATH == 0 || path != 0 {
		var err error
		if name, err = borrowPath(t, path); err != nil {
			return vfs.Attr{}, vfs.Path{}, err
		}
	}
	if name == "" && flags&linux.AT_EMPTY_PATH != 0 && dirfd != linux.AtFDCWD {
		f, err := t.AnyFile(dirfd)
		if err != nil {
			return vfs.Attr{}, vfs.Path{}, err
		}
		defer f.DecRef(t)
		a, err := f.Attr(t)
		return a, f.Path(), err
	}
	p, err := walk(t, dirfd, name, flags.walkFlags())
	if err != nil {
		noteAbsent(t, name, err)
		return vfs.Attr{}, vfs.Path{}, err
	}
	a, err := vfs.Stat(t, p)
	return a, p, err
}

// noteAbsent notes that there is nothing of that name, if err says so.
func noteAbsent(t *task.Task, name string, err error) {
	if err == linux.ENOENT && name != "" && name[0] == '/' {
		t.NoLink(name, vfs.Absent, false)
	}
}

func copyOutStat(t *task.Task, addr mm.Addr, a *vfs.Attr) error {
	out := newAnswer(t, linux.SizeofStat)
	putStat(t, out.bytes, a)
	return out.copyOut(t, addr)
}

// putStat writes a struct stat.
func putStat(t *task.Task, p []byte, a *vfs.Attr) {
	st := linux.Stat{
		Dev: a.Dev, Ino: a.Ino, Nlink: uint64(a.Nlink), Mode: a.Mode, UID: uint32(shownUID(t, a.UID)), GID: uint32(shownGID(t, a.GID)), Rdev: a.Rdev,
		Size: a.Size, Blksize: int64(a.Blksize), Blocks: int64(a.Blocks),
		Atime: a.Atime, Mtime: a.Mtime, Ctime: a.Ctime,
	}
	st.Put(p)
}

// statx tells more than stat, in a struct that can grow: statx(2). What is not
// asked for may be told all the same.
func statx(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags, mask uint32, buf mm.Addr) (uint64, error) {
	const known = linux.AT_SYMLINK_NOFOLLOW | linux.AT_NO_AUTOMOUNT | linux.AT_EMPTY_PATH | linux.AT_STATX_SYNC_TYPE
	switch {
	case mask&linux.STATX__RESERVED != 0:
		return 0, linux.EINVAL
	case flags&^known != 0 || flags&linux.AT_STATX_SYNC_TYPE == linux.AT_STATX_SYNC_TYPE:
		return 0, linux.EINVAL
	}
	a, p, err := statAt(t, dirfd, path, flags)
	if err != nil {
		return 0, err
	}
	return 0, copyOutStatx(t, buf, &a, p, mask)
}

// statxMountIDUnique is STATX_MNT_ID_UNIQUE.
const statxMountIDUnique = 0x4000

func copyOutStatx(t *task.Task, addr mm.Addr, a *vfs.Attr, p vfs.Path, mask uint32) error {
	x := linux.Statx{
		Mask: linux.STATX_BASIC_STATS, Blksize: a.Blksize, Nlink: a.Nlink, UID: uint32(shownUID(t, a.UID)), GID: uint32(shownGID(t, a.GID)),
		Mode: uint16(a.Mode), Ino: a.Ino, Size: uint64(a.Size), Blocks: a.Blocks,
		Atime: a.Atime, Ctime: a.Ctime, Mtime: a.Mtime,
		RdevMajor: linux.Major(a.Rdev), RdevMinor: linux.Minor(a.Rdev),
		DevMajor: linux.Major(a.Dev), DevMinor: linux.Minor(a.Dev),
	}
	if !a.Btime.IsZero() {
		x.Mask |= linux.STATX_BTIME
		x.Btime = a.Btime
	}
	if mask&statxMountIDUnique != 0 {
		x.Mask |= statxMountIDUnique
		x.MountID = p.Mount.UniqueID()
	} else {
		x.Mask |= linux.STATX_MNT_ID
		x.MountID = uint64(p.Mount.ID())
	}
	x.AttributesMask |= linux.STATX_ATTR_MOUNT_ROOT
	if p.IsMountRoot() {
		x.Attributes |= linux.STATX_ATTR_MOUNT_ROOT
	}
	out := newAnswer(t, linux.SizeofStatx)
	x.Put(out.bytes)
	return out.copyOut(t, addr)
}

// access checks what the real user may do with the file at path: access(2).
func access(t *task.Task, path mm.Addr, mode uint32) (uint64, error) {
	return faccessat2(t, linux.AtFDCWD, path, mode, 0)
}

// faccessat is access from dirfd on. The system call has no flags: access(2).
func faccessat(t *task.Task, dirfd linux.FD, path mm.Addr, mode uint32) (uint64, error) {
	return faccessat2(t, dirfd, path, mode, 0)
}

// faccessat2 is access from dirfd on, with flags.
func faccessat2(t *task.Task, dirfd linux.FD, path mm.Addr, mode uint32, flags atFlags) (uint64, error) {
	switch {
	case mode&^(linux.R_OK|linux.W_OK|linux.X_OK) != 0:
		return 0, linux.EINVAL
	case flags&^(linux.AT_EACCESS|linux.AT_SYMLINK_NOFOLLOW|linux.AT_EMPTY_PATH) != 0:
		return 0, linux.EINVAL
	}
	name, err := borrowPath(t, path)
	if err != nil {
		return 0, err
	}
	var ctx vfs.Context = t
	if flags&linux.AT_EACCESS == 0 {
		ctx = vfs.WithCreds(t, t.Creds().ForAccess())
	}
	how := flags.walkFlags()
	if name == "" && how&vfs.Empty == 0 {
		return 0, linux.ENOENT
	}
	from, err := start(t, dirfd, name, how)
	if err != nil {
		return 0, err
	}
	p, err := vfs.Walk(ctx, t.FS().Root(), from, name, how)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Access(ctx, p, mode)
}

// readlink gives the text of a symlink, cut to n bytes and without a NUL:
// readlink(2).
func readlink(t *task.Task, path, buf mm.Addr, n int32) (uint64, error) {
	return readlinkat(t, linux.AtFDCWD, path, buf, n)
}

// readlinkat is readlink from dirfd on; an empty path means dirfd itself.
func readlinkat(t *task.Task, dirfd linux.FD, path, buf mm.Addr, n int32) (uint64, error) {
	if n <= 0 {
		return 0, linux.EINVAL
	}
	name, err := borrowPath(t, path)
	if err != nil {
		return 0, err
	}
	how := vfs.NoFollow
	if name == "" && dirfd != linux.AtFDCWD {
		how |= vfs.Empty
	}
	p, err := walk(t, dirfd, name, how)
	if err == linux.ENOENT && name != "" && name[0] == '/' {
		t.NoLink(name, vfs.Absent, true)
	}
	if err != nil {
		return 0, err
	}
	text, err := vfs.Readlink(t, p)
	switch {
	case err == linux.EINVAL && name == "":
		err = linux.ENOENT
	case err == linux.EINVAL && name[0] == '/':
		t.NoLink(name, vfs.NoSymlink, false)
	}
	if err != nil {
		return 0, err
	}
	b := []byte(text)[:min(len(text), int(n))]
	return uint64(len(b)), t.CopyOutLater(buf, b)
}
