// Package hostfile makes guest files of host descriptors that somebody donated:
// the standard streams of a container.
//
// It opens nothing and names nothing. A descriptor's open file description is
// shared with processes outside, so nothing of it is changed that they would not
// expect: O_NONBLOCK stays as it is, and a regular file's position moves as theirs
// does. A read or write of what may block is tried with RWF_NOWAIT, or where the
// host has no such thing (terminals; pipes before Linux 6.5) made after poll(2)
// said that it will not block. Readiness comes from one host epoll instance,
// itself waited for by the Go runtime's, so that no thread sleeps in it.
//
// Host calls: fstat fcntl read write lseek pread64 pwrite64 preadv2 pwritev2 ppoll
// ioctl ftruncate fsync fdatasync fallocate close epoll_ctl epoll_pwait; for
// Prepare epoll_create1.
package hostfile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// New makes a guest file of the host descriptor fd, which it takes over, also
// when it fails. The access mode is the descriptor's. procs is for terminals; it
// may be nil.
func New(fd int, procs tty.Processes) (*vfs.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	impl, name, err := newImpl(fd, procs)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	guest := linux.OpenFlags(flags) & (linux.O_ACCMODE | linux.O_APPEND)
	return vfs.NewAnonFile(impl, name, guest), nil
}

// Take moves the descriptor out of f, which is closed, without touching the mode
// that the open file description is in (os.File.Fd would make it blocking).
func Take(f *os.File) (fd int, err error) {
	defer f.Close()
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := c.Control(func(old uintptr) { fd, err = dup(int(old)) }); e != nil {
		return -1, e
	}
	return fd, err
}

func dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3) }

// newImpl chooses by the kind of file, and gives the name for /proc/PID/fd.
func newImpl(fd int, procs tty.Processes) (vfs.Impl, string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, "", err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFDIR:
		return &regular{host{fd}}, "/host/file", nil
	case unix.S_IFIFO:
		s, err := newStream(fd)
		return s, fmt.Sprintf("pipe:[%d]", st.Ino), err
	case unix.S_IFSOCK:
		s, err := newStream(fd)
		return s, fmt.Sprintf("socket:[%d]", st.Ino), err
	}
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		t, err := newTTY(fd, &st, procs)
		return t, "/dev/console", err
	}
	s, err := newStream(fd)
	if err == unix.EPERM { // always ready: /dev/null
		return &device{host{fd}}, "/dev/null", nil
	}
	return s, "/dev/host", err
}

// host is what all kinds share: a descriptor.
type host struct{ fd int }

// Release closes the descriptor.
func (h host) Release() { unix.Close(h.fd) }

// FileAttr is the host's fstat(2).
func (h host) FileAttr(vfs.Context) (vfs.Attr, error) {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return vfs.Attr{}, err
	}
	at := func(ts unix.Timespec) linux.Timespec { return linux.Timespec{Sec: ts.Sec, Nsec: ts.Nsec} }
	return vfs.Attr{
		Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid,
		Rdev: st.Rdev, Size: st.Size, Blksize: uint32(st.Blksize), Blocks: uint64(st.Blocks),
		Atime: at(st.Atim), Mtime: at(st.Mtim), Ctime: at(st.Ctim),
	}, nil
}

// Reopen gives another handle on the same open file description, which is as near
// as one gets to open(2) of /dev/stdin without opening anything.
func (h host) reopen(make func(fd int) (vfs.Impl, error)) (vfs.Impl, error) {
	fd, err := dup(h.fd)
	if err != nil {
		return nil, err
	}
	impl, err := make(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return impl, nil
}

// again calls f until it is not interrupted: the sentry's own signals are not the
// guest's.
func again(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// device is a character device that never blocks.
type device struct{ host }

func (d *device) ReadStream(_ vfs.Context, p []byte) (int, error) {
	return again(func() (int, error) { return unix.Read(d.fd, p) })
}

func (d *device) WriteStream(_ vfs.Context, p []byte) (int, error) {
	return again(func() (int, error) { return unix.Write(d.fd, p) })
}

// Reopen is open(2) of /proc/PID/fd/N.
func (d *device) Reopen(vfs.Context, linux.OpenFlags) (vfs.Impl, error) {
	return d.reopen(func(fd int) (vfs.Impl, error) { return &device{host{fd}}, nil })
}
