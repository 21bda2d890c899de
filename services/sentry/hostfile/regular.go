package hostfile

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// regular is a regular file, or something else with positions. Its position is
// the host's, shared with whoever else has the open file description: two of a
// container's streams, or the shell that goes on to write to the same file.
type regular struct{ host }

// Streams says that read(2) and write(2) go by the host's position.
func (r *regular) Streams() {}

func (r *regular) ReadStream(_ vfs.Context, p []byte) (int, error) {
	return again(func() (int, error) { return unix.Read(r.fd, p) })
}

func (r *regular) WriteStream(_ vfs.Context, p []byte) (int, error) {
	return again(func() (int, error) { return unix.Write(r.fd, p) })
}

func (r *regular) ReadAt(_ vfs.Context, p []byte, off int64) (int, error) {
	return again(func() (int, error) { return unix.Pread(r.fd, p, off) })
}

// WriteAt gives as end what follows off; at AppendOffset the descriptor has
// O_APPEND, and the end is the file's.
func (r *regular) WriteAt(ctx vfs.Context, p []byte, off int64) (int, int64, error) {
	if off == vfs.AppendOffset {
		n, err := r.WriteStream(ctx, p)
		end, _ := unix.Seek(r.fd, 0, unix.SEEK_END)
		return n, end, err
	}
	n, err := again(func() (int, error) { return unix.Pwrite(r.fd, p, off) })
	return n, off + int64(n), err
}

// Seek moves the host's position.
func (r *regular) Seek(_ vfs.Context, _, off int64, whence int) (int64, error) {
	return unix.Seek(r.fd, off, whence)
}

func (r *regular) Truncate(_ vfs.Context, size int64) error { return unix.Ftruncate(r.fd, size) }

func (r *regular) Allocate(_ vfs.Context, mode uint32, off, length int64) error {
	return unix.Fallocate(r.fd, mode, off, length)
}

func (r *regular) Sync(_ vfs.Context, dataOnly bool) error {
	if dataOnly {
		return unix.Fdatasync(r.fd)
	}
	return unix.Fsync(r.fd)
}

// MapFD gives the descriptor itself.
func (r *regular) MapFD(vfs.Context, bool, bool) (int, int64, error) { return r.fd, 0, nil }

// Reopen is open(2) of /proc/PID/fd/N.
func (r *regular) Reopen(vfs.Context, linux.OpenFlags) (vfs.Impl, error) {
	return r.reopen(func(fd int) (vfs.Impl, error) { return &regular{host{fd}}, nil })
}
