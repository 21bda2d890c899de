package hostfd

import "golang.org/x/sys/unix"

// Readlink gives what the symbolic link name in dir says, or, if name is empty,
// the one that dir itself stands for.
func Readlink(dir int, name string) ([]byte, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		if err == unix.ENOENT && name == "" {
			err = unix.EINVAL // so says the kernel of what is no link
		}
		return nil, err
	}
	return buf[:n], nil
}

// Mkdir, Mknod, Symlink, Unlink, Rmdir and Rename are their namesakes in the
// manual, on one component.

// Mkdir makes a directory.
func Mkdir(dir int, name string, mode uint32) error { return unix.Mkdirat(dir, name, mode&0o7777) }

// Mknod makes a fifo, a socket or an empty regular file; no devices.
func Mknod(dir int, name string, mode uint32) error {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG:
		return unix.Mknodat(dir, name, mode, 0)
	}
	return unix.EPERM
}

// Symlink makes a link that says target.
func Symlink(dir int, name, target string) error { return unix.Symlinkat(target, dir, name) }

// Link gives what fd, which may be O_PATH, stands for a further name. It takes
// CAP_DAC_READ_SEARCH.
func Link(fd, dir int, name string) error {
	return unix.Linkat(fd, "", dir, name, unix.AT_EMPTY_PATH)
}

// Unlink removes a name of something that is not a directory.
func Unlink(dir int, name string) error { return unix.Unlinkat(dir, name, 0) }

// Rmdir removes an empty directory.
func Rmdir(dir int, name string) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) }

// Rename moves a name; flags are those of renameat2(2).
func Rename(dir int, name string, newDir int, newName string, flags uint32) error {
	return unix.Renameat2(dir, name, newDir, newName, uint(flags))
}

// Truncate sets the size of the regular file name.
func Truncate(dir int, name string, size int64) error {
	fd, _, err := OpenRegular(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer Close(fd)
	return unix.Ftruncate(fd, size)
}

// Statfs tells of the file system that holds what fd, which may be O_PATH,
// stands for.
func Statfs(fd int) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(fd, &st)
	return st, err
}

// SyncDir writes the directory dir to its device.
func SyncDir(dir int) error {
	fd, err := OpenDir(dir)
	if err != nil {
		return err
	}
	defer Close(fd)
	return unix.Fsync(fd)
}
