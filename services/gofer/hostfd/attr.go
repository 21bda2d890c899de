package hostfd

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// Stat gives the attributes of name in dir, of a symbolic link its own.
func Stat(dir int, name string) (unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, &st)
	return st, err
}

// StatFD gives the attributes of what fd stands for.
func StatFD(fd int) (unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, &st)
	return st, err
}

// Dev is the device number of a file system in one number: makedev(3).
func Dev(st *unix.Statx_t) uint64 { return unix.Mkdev(st.Dev_major, st.Dev_minor) }

// Same says that both tell of the same file.
func Same(a, b *unix.Statx_t) bool {
	return a.Ino == b.Ino && a.Dev_major == b.Dev_major && a.Dev_minor == b.Dev_minor
}

// Chown changes owner and group of what fd, which may be O_PATH, stands for; -1
// leaves one as it is.
func Chown(fd, uid, gid int) error { return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH) }

// noChmodAt remembers that the kernel has no fchmodat2 (before 6.6).
var noChmodAt atomic.Bool

// Chmod changes the permission bits of what fd, which may be O_PATH, stands for;
// dir and name are how it can be opened, for kernels before 6.6. There, files
// that are neither regular nor directories give EOPNOTSUPP.
func Chmod(fd int, dir int, name string, mode uint32) error {
	if !noChmodAt.Load() {
		err := fchmodat2(fd, "", mode&0o7777, unix.AT_EMPTY_PATH)
		if err != unix.ENOSYS {
			return err
		}
		noChmodAt.Store(true)
	}
	return withOpen(fd, dir, name, func(fd int) error { return unix.Fchmod(fd, mode&0o7777) })
}

// withOpen calls f with a descriptor of what fd stands for that is not O_PATH.
// dir is -1 if it has no name.
func withOpen(fd, dir int, name string, f func(fd int) error) error {
	st, err := StatFD(fd)
	if err != nil {
		return err
	}
	real := -1
	switch {
	case uint32(st.Mode)&unix.S_IFMT == unix.S_IFDIR:
		real, err = OpenDir(fd)
	case uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG || dir < 0:
		return unix.EOPNOTSUPP
	default:
		var now unix.Statx_t
		if real, now, err = OpenRegular(dir, name, unix.O_RDONLY); err == nil && !Same(&st, &now) {
			Close(real)
			return unix.ESTALE
		}
	}
	if err != nil {
		return err
	}
	defer Close(real)
	return f(real)
}

// SetTimes sets access and modification time of what fd, which may be O_PATH,
// stands for; UTIME_NOW and UTIME_OMIT count: utimensat(2).
func SetTimes(fd int, atime, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(fd, "", []unix.Timespec{atime, mtime}, unix.AT_EMPTY_PATH)
}
