package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// link gives the file at oldpath a further name: link(2).
func link(t *task.Task, oldpath, newpath mm.Addr) (uint64, error) {
	return linkat(t, linux.AtFDCWD, oldpath, linux.AtFDCWD, newpath, 0)
}

// linkat is link with directories and flags. A symlink at oldpath is itself
// linked unless AT_SYMLINK_FOLLOW: link(2).
func linkat(t *task.Task, olddir linux.FD, oldpath mm.Addr, newdir linux.FD, newpath mm.Addr, flags atFlags) (uint64, error) {
	if flags&^(linux.AT_SYMLINK_FOLLOW|linux.AT_EMPTY_PATH) != 0 {
		return 0, linux.EINVAL
	}
	var how vfs.WalkFlags
	if flags&linux.AT_EMPTY_PATH != 0 {
		how |= vfs.Empty
	}
	if flags&linux.AT_SYMLINK_FOLLOW == 0 {
		how |= vfs.NoFollow
	}
	old, err := resolve(t, olddir, oldpath, how)
	if err != nil {
		return 0, err
	}
	dir, last, err := resolveParent(t, newdir, newpath)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Link(t, old, dir, last)
}

// symlink makes a symlink at path with the text target: symlink(2).
func symlink(t *task.Task, target, path mm.Addr) (uint64, error) {
	return symlinkat(t, target, linux.AtFDCWD, path)
}

// symlinkat is symlink from dirfd on.
func symlinkat(t *task.Task, target mm.Addr, dirfd linux.FD, path mm.Addr) (uint64, error) {
	text, err := copyInPath(t, target)
	if err != nil {
		return 0, err
	}
	if text == "" {
		return 0, linux.ENOENT
	}
	dir, last, err := resolveParent(t, dirfd, path)
	if err != nil {
		return 0, err
	}
	return 0, vfs.MakeSymlink(t, dir, last, text)
}

// unlink removes a name and, with the last one, the file: unlink(2).
func unlink(t *task.Task, path mm.Addr) (uint64, error) {
	return unlinkat(t, linux.AtFDCWD, path, 0)
}

// unlinkat is unlink from dirfd on, or rmdir with AT_REMOVEDIR.
func unlinkat(t *task.Task, dirfd linux.FD, path mm.Addr, flags atFlags) (uint64, error) {
	if flags&^linux.AT_REMOVEDIR != 0 {
		return 0, linux.EINVAL
	}
	dir, last, err := resolveParent(t, dirfd, path)
	if err != nil {
		return 0, err
	}
	if flags&linux.AT_REMOVEDIR != 0 {
		return 0, vfs.Rmdir(t, dir, last)
	}
	return 0, vfs.Unlink(t, dir, last)
}

// rename gives the file at oldpath the name newpath: rename(2).
func rename(t *task.Task, oldpath, newpath mm.Addr) (uint64, error) {
	return renameat2(t, linux.AtFDCWD, oldpath, linux.AtFDCWD, newpath, 0)
}

// renameat is rename with directories.
func renameat(t *task.Task, olddir linux.FD, oldpath mm.Addr, newdir linux.FD, newpath mm.Addr) (uint64, error) {
	return renameat2(t, olddir, oldpath, newdir, newpath, 0)
}

// renameat2 gives the file at oldpath the name newpath. A symlink in the last
// component is itself renamed or replaced, never followed: rename(2).
func renameat2(t *task.Task, olddir linux.FD, oldpath mm.Addr, newdir linux.FD, newpath mm.Addr, flags linux.RenameFlags) (uint64, error) {
	if !flags.Valid() {
		return 0, linux.EINVAL
	}
	from, oldName, err := resolveParent(t, olddir, oldpath)
	if err != nil {
		return 0, err
	}
	to, newName, err := resolveParent(t, newdir, newpath)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Rename(t, from, oldName, to, newName, uint32(flags))
}
