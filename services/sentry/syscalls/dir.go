package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// direntsMax is the most that one getdents gives, in bytes.
const direntsMax = 64 << 10

// getdents64 lists a directory: getdents(2). EINVAL if n has no room for the
// next entry.
func getdents64(t *task.Task, fd linux.FD, buf mm.Addr, n uint32) (uint64, error) {
	return dirents(t, fd, buf, n, linux.AppendDirent64)
}

// getdents is getdents64 in the old format.
func getdents(t *task.Task, fd linux.FD, buf mm.Addr, n uint32) (uint64, error) {
	return dirents(t, fd, buf, n, linux.AppendDirent)
}

func dirents(t *task.Task, fd linux.FD, buf mm.Addr, n uint32, add func([]byte, int, uint64, int64, uint8, string) ([]byte, bool)) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)

	limit := int(min(n, direntsMax))
	out, full := chunk[:0], false
	err = f.ReadDir(t, func(e vfs.DirEntry) bool {
		var ok bool
		out, ok = add(out, limit, e.Ino, e.Next, e.Type, e.Name)
		full = full || !ok
		return ok
	})
	switch {
	case len(out) > 0:
		return uint64(len(out)), t.CopyOutLater(buf, out)
	case err == nil && full:
		return 0, linux.EINVAL
	}
	return 0, err
}

// getcwd gives the path of the working directory and its length with the NUL.
// One that the root does not lead to begins with "(unreachable)": getcwd(2).
func getcwd(t *task.Task, buf mm.Addr, size uint64) (uint64, error) {
	fs := t.FS()
	cwd := fs.Cwd()
	if cwd.Dentry.Deleted() {
		return 0, linux.ENOENT
	}
	name, _ := vfs.PathName(fs.Root(), cwd)
	b := append([]byte(name), 0)
	switch {
	case len(b) > linux.PATH_MAX:
		return 0, linux.ENAMETOOLONG
	case uint64(len(b)) > size:
		return 0, linux.ERANGE
	}
	return uint64(len(b)), t.CopyOutLater(buf, b)
}

// chdir changes the working directory: chdir(2).
func chdir(t *task.Task, path mm.Addr) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, vfs.MustDirectory)
	if err != nil {
		return 0, err
	}
	return 0, enter(t, p)
}

// fchdir is chdir to an open directory.
func fchdir(t *task.Task, fd linux.FD) (uint64, error) {
	f, err := t.AnyFile(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	p := f.Path()
	if !isDirectory(p) {
		return 0, linux.ENOTDIR
	}
	return 0, enter(t, p)
}

// enter makes p the working directory, if the caller may search it.
func enter(t *task.Task, p vfs.Path) error {
	if err := vfs.Access(t, p, linux.X_OK); err != nil {
		return err
	}
	t.FS().SetCwd(p)
	return nil
}

// chroot changes the root directory: chroot(2).
func chroot(t *task.Task, path mm.Addr) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, vfs.MustDirectory)
	if err != nil {
		return 0, err
	}
	if err := vfs.Access(t, p, linux.X_OK); err != nil {
		return 0, err
	}
	if !t.Creds().HasOwn(linux.CAP_SYS_CHROOT) {
		return 0, linux.EPERM
	}
	t.FS().SetRoot(p)
	return 0, nil
}

// mkdir makes a directory: mkdir(2).
func mkdir(t *task.Task, path mm.Addr, mode uint32) (uint64, error) {
	return mkdirat(t, linux.AtFDCWD, path, mode)
}

// mkdirat is mkdir from dirfd on.
func mkdirat(t *task.Task, dirfd linux.FD, path mm.Addr, mode uint32) (uint64, error) {
	dir, last, err := resolveParent(t, dirfd, path)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Mkdir(t, dir, last, mode&(0o777|linux.S_ISVTX)&^t.FS().Umask())
}

// rmdir removes an empty directory: rmdir(2).
func rmdir(t *task.Task, path mm.Addr) (uint64, error) {
	return unlinkat(t, linux.AtFDCWD, path, linux.AT_REMOVEDIR)
}

// mknod makes a file of any type but a directory or a symlink: mknod(2).
func mknod(t *task.Task, path mm.Addr, mode uint32, dev uint32) (uint64, error) {
	return mknodat(t, linux.AtFDCWD, path, mode, dev)
}

// mknodat is mknod from dirfd on.
func mknodat(t *task.Task, dirfd linux.FD, path mm.Addr, mode uint32, dev uint32) (uint64, error) {
	switch mode & linux.S_IFMT {
	case 0:
		mode |= linux.S_IFREG
	case linux.S_IFREG, linux.S_IFIFO, linux.S_IFSOCK, linux.S_IFCHR, linux.S_IFBLK:
	case linux.S_IFDIR:
		return 0, linux.EPERM
	default:
		return 0, linux.EINVAL
	}
	dir, last, err := resolveParent(t, dirfd, path)
	if err != nil {
		return 0, err
	}
	mode &^= t.FS().Umask()
	return 0, vfs.Mknod(t, dir, last, mode&(linux.S_IFMT|linux.S_IALL), uint64(dev))
}
