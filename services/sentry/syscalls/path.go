package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// copyInPath reads a path: EFAULT, ENAMETOOLONG. An empty one is for the walk to
// refuse.
func copyInPath(t *task.Task, addr mm.Addr) (string, error) {
	return t.CopyInPath(addr)
}

// borrowPath is copyInPath of a path that is only walked: it is good until the
// next one.
func borrowPath(t *task.Task, addr mm.Addr) (string, error) { return t.BorrowPath(addr) }

// start is where a walk of name from dirfd begins; an absolute name does not
// look at dirfd unless that is its root (openat2). EBADF.
func start(t *task.Task, dirfd linux.FD, name string, how vfs.WalkFlags) (vfs.Path, error) {
	absolute := name != "" && name[0] == '/' && how&(vfs.InRoot|vfs.Beneath) == 0
	if dirfd == linux.AtFDCWD || absolute {
		return t.FS().Cwd(), nil
	}
	f, err := t.AnyFile(dirfd)
	if err != nil {
		return vfs.Path{}, err
	}
	defer f.DecRef(t)
	return f.Path(), nil
}

// resolve walks the path at addr from dirfd: ENOENT, ENOTDIR, ELOOP, EACCES...
// path_resolution(7).
func resolve(t *task.Task, dirfd linux.FD, addr mm.Addr, how vfs.WalkFlags) (vfs.Path, error) {
	name, err := borrowPath(t, addr)
	if err != nil {
		return vfs.Path{}, err
	}
	return walk(t, dirfd, name, how)
}

// walk is resolve of a path that has been read.
func walk(t *task.Task, dirfd linux.FD, name string, how vfs.WalkFlags) (vfs.Path, error) {
	if name == "" && how&vfs.Empty == 0 {
		return vfs.Path{}, linux.ENOENT
	}
	from, err := start(t, dirfd, name, how)
	if err != nil {
		return vfs.Path{}, err
	}
	return vfs.Walk(t, t.FS().Root(), from, name, how)
}

// resolveParent walks the path at addr up to its last component, which may not
// exist.
func resolveParent(t *task.Task, dirfd linux.FD, addr mm.Addr) (dir vfs.Path, last string, err error) {
	name, err := copyInPath(t, addr)
	if err != nil {
		return vfs.Path{}, "", err
	}
	if name == "" {
		return vfs.Path{}, "", linux.ENOENT
	}
	from, err := start(t, dirfd, name, 0)
	if err != nil {
		return vfs.Path{}, "", err
	}
	dir, last, _, err = vfs.WalkParent(t, t.FS().Root(), from, name, 0)
	return dir, last, err
}

// atFlags are the AT_ flags of the *at calls.
type atFlags uint32

// walkFlags are those of AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH.
func (f atFlags) walkFlags() vfs.WalkFlags {
	var how vfs.WalkFlags
	if f&linux.AT_SYMLINK_NOFOLLOW != 0 {
		how |= vfs.NoFollow
	}
	if f&linux.AT_EMPTY_PATH != 0 {
		how |= vfs.Empty
	}
	return how
}

// isDirectory says whether p is one.
func isDirectory(p vfs.Path) bool { return p.Dentry.IsDir() }

// isRegular says whether f is a regular file.
func isRegular(t *task.Task, f *vfs.File) bool {
	a, err := f.Attr(t)
	return err == nil && a.Mode&linux.S_IFMT == linux.S_IFREG
}

// seekable says whether f has positions.
func seekable(f *vfs.File) bool {
	switch f.Impl().(type) {
	case vfs.StreamReader, vfs.StreamWriter:
		return false
	}
	return true
}
