package procfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// memRow is /proc/PID/mem: the address space as a file, for those who may
// inspect the process. Unlike Linux's, it does not write where the program
// itself may not, unless a tracer has stopped the thread.
func memRow(name string, mode uint32) row {
	return row{name: name, mode: linux.S_IFREG | mode, make: func(e *entry) vfs.Node {
		return e.fs.Object(mode, e.owner, func(ctx vfs.Context, _ linux.OpenFlags) (vfs.Impl, error) {
			m := e.thread.Memory() // the one that is asked about: see task.Memory
			if err := e.inspect(ctx); err != nil {
				return nil, err
			}
			return &memFile{e, m}, nil
		})
	}}
}

// memFile is an open one. It stays with the address space that was there when
// it was opened, also past an execve; that one is empty then.
type memFile struct {
	e *entry
	m Memory
}

// Release implements vfs.Impl.
func (f *memFile) Release() {}

// gone says that the address space is no more.
func (f *memFile) gone() bool { return f.m == nil || f.e.alive() != nil || f.e.thread.Memory() != f.m }

// ReadAt implements vfs.ReaderAt: EIO where nothing can be read.
func (f *memFile) ReadAt(_ vfs.Context, p []byte, off int64) (int, error) {
	if f.gone() || len(p) == 0 {
		return 0, nil
	}
	n := f.m.Read(uint64(off), p)
	if n <= 0 {
		return 0, linux.EIO
	}
	return n, nil
}

// WriteAt implements vfs.WriterAt.
func (f *memFile) WriteAt(_ vfs.Context, p []byte, off int64) (int, int64, error) {
	if f.gone() || off < 0 {
		return 0, 0, nil
	}
	if f.m.Write(uint64(off), append([]byte(nil), p...)) != nil {
		return 0, 0, linux.EIO
	}
	return len(p), off + int64(len(p)), nil
}

// Seek implements vfs.Seeker: any address is a position, and there is no end.
func (f *memFile) Seek(_ vfs.Context, cur, off int64, whence int) (int64, error) {
	switch whence {
	case linux.SEEK_SET:
		return off, nil
	case linux.SEEK_CUR:
		return cur + off, nil
	}
	return 0, linux.EINVAL
}
