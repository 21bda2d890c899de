// Package hostfd is the gofer's only way to the host's files: each function is
// one system call (or the fallback of one on older kernels) on a descriptor and
// at most one component below it.
//
// A component is 1 to 255 bytes, without '/' and NUL, and neither "." nor "..":
// Component checks it, and every caller must have. Links are never followed, so
// nothing here leaves the directory that it is given, whatever others rename
// meanwhile.
//
// Errors are bare errnos.
package hostfd

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// NameMax is the most bytes of a component.
const NameMax = 255

// Component checks a name that came from outside.
func Component(b []byte) (string, error) {
	switch {
	case len(b) == 0:
		return "", unix.ENOENT
	case len(b) > NameMax:
		return "", unix.ENAMETOOLONG
	case b[0] == '.' && (len(b) == 1 || len(b) == 2 && b[1] == '.'):
		return "", unix.EPROTO
	case bytes.IndexByte(b, '/') >= 0, bytes.IndexByte(b, 0) >= 0:
		return "", unix.EPROTO
	}
	return string(b), nil
}

// resolve is how every component is opened: openat2(2).
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

func open(dir int, name string, flags, mode uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC | unix.O_NOFOLLOW, Mode: mode, Resolve: resolve}
	for range 8 {
		fd, err := unix.Openat2(dir, name, &how)
		if err != unix.EAGAIN && err != unix.EINTR { // a rename raced with it
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// OpenPath opens name for naming only: O_PATH. A symbolic link is opened itself.
func OpenPath(dir int, name string) (int, error) { return open(dir, name, unix.O_PATH, 0) }

// OpenPathDir is OpenPath of a directory; ENOTDIR for all else.
func OpenPathDir(dir int, name string) (int, error) {
	return open(dir, name, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// OpenDir opens the directory dir itself for reading its names.
func OpenDir(dir int) (int, error) { return open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0) }

// OpenDirAt opens the directory name for reading its names.
func OpenDirAt(dir int, name string) (int, error) {
	return open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// OpenRegular opens name, a regular file, with the given access mode and no
// other flag that counts. Whatever else it is, is not opened (ENXIO; ELOOP for
// a symbolic link, EISDIR for a directory): opening a device or fifo acts on it.
// Should somebody put one in the file's place between check and open, O_NONBLOCK
// keeps the open from waiting, and the descriptor is closed again.
func OpenRegular(dir int, name string, access uint64) (int, unix.Statx_t, error) {
	st, err := Stat(dir, name)
	if err != nil {
		return -1, st, err
	}
	return OpenKnown(dir, name, access, &st)
}

// OpenKnown is OpenRegular of what Stat has just told of; ESTALE if it is another.
func OpenKnown(dir int, name string, access uint64, was *unix.Statx_t) (int, unix.Statx_t, error) {
	if err := isRegular(was.Mode); err != nil {
		return -1, *was, err
	}
	fd, err := open(dir, name, access&unix.O_ACCMODE|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, *was, err
	}
	st, err := StatFD(fd)
	if err == nil {
		if err = isRegular(st.Mode); err == nil && !Same(&st, was) {
			err = unix.ESTALE
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

func isRegular(mode uint16) error {
	switch uint32(mode) & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFLNK:
		return unix.ELOOP
	}
	return unix.ENXIO
}

// Create makes the regular file name, EEXIST if there is something, and opens it
// with the given access mode.
func Create(dir int, name string, access uint64, mode uint32) (int, error) {
	return open(dir, name, access&unix.O_ACCMODE|unix.O_CREAT|unix.O_EXCL, uint64(mode&0o7777))
}

// Close closes a descriptor that a function of this package gave.
func Close(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
