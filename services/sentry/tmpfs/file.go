package tmpfs

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// file is a regular file.
type file struct {
	inode
	memfd bool // made by memfd_create(2)

	// data.RWMutex guards the rest.
	data struct {
		sync.RWMutex
		store
		opens int
		gone  bool // freed: no name and nobody has it open
		seals uint32
	}
}

func (f *file) isGone() bool {
	f.data.RLock()
	defer f.data.RUnlock()
	return f.data.gone
}

// freeIfUnused gives the memory back if there is neither a name nor an opener.
func (f *file) freeIfUnused() {
	f.data.Lock()
	defer f.data.Unlock()
	if f.data.gone || f.data.opens > 0 || f.attr().Nlink > 0 {
		return
	}
	f.data.gone = true
	f.data.fs = f.fs
	f.data.free()
	f.fs.inodes.Add(-1)
}

// Attr is stat(2).
func (f *file) Attr(vfs.Context) (vfs.Attr, error) {
	f.data.RLock()
	size, taken, isFD := f.data.size, f.data.taken, f.data.isFD
	f.data.RUnlock()
	blocks := uint64(taken) * (pageSize / 512)
	if isFD {
		f.data.Lock()
		blocks = f.data.blocks()
		f.data.Unlock()
	}
	a := f.attr()
	a.Size, a.Blocks = size, blocks
	return a, nil
}

// SetAttr changes attributes and the size. EPERM for what a seal forbids.
func (f *file) SetAttr(ctx vfs.Context, s vfs.SetAttr) error {
	if s.Mask&vfs.SetMode != 0 && f.memfd && (s.Mode^f.attr().Mode)&0o111 != 0 {
		f.data.Lock()
		sealed := f.data.seals&linux.F_SEAL_EXEC != 0
		f.data.Unlock()
		if sealed {
			return linux.EPERM
		}
	}
	if s.Mask&vfs.SetSize != 0 {
		if err := f.truncate(s.Size); err != nil {
			return err
		}
	}
	if s.Mask&^vfs.SetSize == 0 {
		return nil
	}
	return f.inode.SetAttr(ctx, s)
}

func (f *file) truncate(size int64) error {
	f.data.Lock()
	defer f.data.Unlock()
	if size < f.data.size && f.data.seals&linux.F_SEAL_SHRINK != 0 ||
		size > f.data.size && f.data.seals&linux.F_SEAL_GROW != 0 {
		return linux.EPERM
	}
	f.data.fs = f.fs
	if err := f.data.truncate(size); err != nil {
		return err
	}
	f.changed()
	return nil
}

// Open is open(2): ESTALE if the file has just been freed.
func (f *file) Open(_ vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	f.data.Lock()
	defer f.data.Unlock()
	if f.data.gone {
		return nil, linux.ESTALE
	}
	f.data.fs = f.fs
	f.data.opens++
	return &openFile{f, flags&linux.O_NOATIME != 0}, nil
}

// Hold keeps the file as an opener does.
func (f *file) Hold() (unhold func()) {
	f.data.Lock()
	defer f.data.Unlock()
	if f.data.gone {
		return nil
	}
	f.data.opens++
	return (&openFile{file: f}).Release
}

// openFile is an open description of a file.
type openFile struct {
	*file
	noatime bool
}

// Release is the last close(2).
func (o *openFile) Release() {
	o.data.Lock()
	o.data.opens--
	o.data.Unlock()
	o.freeIfUnused()
}

// MarksRead implements vfs.ReadMarker.
func (o *openFile) MarksRead() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.noatime && o.unreadLocked()
}

// ReadAt is pread(2).
func (o *openFile) ReadAt(_ vfs.Context, p []byte, off int64) (int, error) {
	o.data.RLock()
	n, err := o.data.readAt(p, off)
	o.data.RUnlock()
	if n > 0 && !o.noatime {
		o.accessed()
	}
	return n, err
}

// WriteAt is pwrite(2).
func (o *openFile) WriteAt(_ vfs.Context, p []byte, off int64) (int, int64, error) {
	o.data.Lock()
	defer o.data.Unlock()
	if off == vfs.AppendOffset {
		off = o.data.size
	}
	if o.data.seals&(linux.F_SEAL_WRITE|linux.F_SEAL_FUTURE_WRITE) != 0 {
		return 0, off, linux.EPERM
	}
	if off > math.MaxInt64-int64(len(p)) {
		return 0, off, linux.EFBIG
	}
	if o.data.seals&linux.F_SEAL_GROW != 0 && off+int64(len(p)) > o.data.size {
		whole := o.data.size &^ (linux.PageSize - 1) // Linux refuses by the page
		if off >= whole {
			return 0, off, linux.EPERM
		}
		p = p[:whole-off]
	}
	n, err := o.data.writeAt(p, off)
	if n > 0 {
		o.changed()
	}
	return n, off + int64(n), err
}

// Truncate is ftruncate(2).
func (o *openFile) Truncate(_ vfs.Context, size int64) error { return o.truncate(size) }

// Allocate is fallocate(2).
func (o *openFile) Allocate(_ vfs.Context, mode uint32, off, n int64) error {
	o.data.Lock()
	defer o.data.Unlock()
	grows := mode&linux.FALLOC_FL_KEEP_SIZE == 0 && off+n > o.data.size
	if grows && o.data.seals&linux.F_SEAL_GROW != 0 ||
		mode&linux.FALLOC_FL_PUNCH_HOLE != 0 && o.data.seals&(linux.F_SEAL_WRITE|linux.F_SEAL_FUTURE_WRITE) != 0 {
		return linux.EPERM
	}
	if err := o.data.allocate(mode, off, n); err != nil {
		return err
	}
	o.changed()
	return nil
}

// Seek is lseek(2).
func (o *openFile) Seek(_ vfs.Context, cur, off int64, whence int) (int64, error) {
	base := int64(0)
	switch whence {
	case linux.SEEK_SET:
	case linux.SEEK_CUR:
		base = cur
	case linux.SEEK_END:
		o.data.RLock()
		base = o.data.size
		o.data.RUnlock()
	default:
		o.data.Lock()
		defer o.data.Unlock()
		if off < 0 {
			return 0, linux.ENXIO
		}
		return o.data.seek(off, whence)
	}
	if off > 0 && base > math.MaxInt64-off {
		return 0, linux.EOVERFLOW
	}
	if base+off < 0 {
		return 0, linux.EINVAL
	}
	return base + off, nil
}

// MapsWritable: a memfd cannot be had read-only without a path to open it by.
func (o *openFile) MapsWritable() {}

// MapFD makes the file a memfd and gives it. The host keeps to its seals.
func (o *openFile) MapFD(vfs.Context, bool, bool) (int, int64, error) {
	o.data.Lock()
	defer o.data.Unlock()
	if err := o.data.toMemfd(); err != nil {
		return 0, 0, err
	}
	if !o.data.mapped {
		o.data.mapped, o.data.self = true, o.file
	}
	o.data.recount()
	o.data.watch()
	if !o.noatime {
		o.accessed()
	}
	return o.data.fd, 0, nil
}

// Recount implements budget.Mapped.
func (f *file) Recount() {
	f.data.Lock()
	defer f.data.Unlock()
	f.data.recount()
	f.data.watch()
}

// Sync is fsync(2): there is nothing to do.
func (o *openFile) Sync(vfs.Context, bool) error { return nil }

// Sealer is an open file that can be sealed: fcntl(F_ADD_SEALS, F_GET_SEALS).
type Sealer interface {
	AddSeals(ctx vfs.Context, seals uint32) error
	Seals() (uint32, error)
}

// Seals is F_GET_SEALS: an ordinary file of a tmpfs has F_SEAL_SEAL.
func (o *openFile) Seals() (uint32, error) {
	o.data.RLock()
	defer o.data.RUnlock()
	if !o.memfd {
		return linux.F_SEAL_SEAL, nil
	}
	return o.data.seals, nil
}

// AddSeals is F_ADD_SEALS. The host's memfd is sealed, too, so that it keeps to
// them for what guests have mapped: EBUSY while one can write to it.
func (o *openFile) AddSeals(_ vfs.Context, seals uint32) error {
	const known = linux.F_SEAL_SEAL | linux.F_SEAL_SHRINK | linux.F_SEAL_GROW | linux.F_SEAL_WRITE |
		linux.F_SEAL_FUTURE_WRITE | linux.F_SEAL_EXEC
	if seals&^known != 0 {
		return linux.EINVAL
	}
	o.data.Lock()
	defer o.data.Unlock()
	if !o.memfd || o.data.seals&linux.F_SEAL_SEAL != 0 {
		return linux.EPERM
	}
	const host = linux.F_SEAL_SHRINK | linux.F_SEAL_GROW | linux.F_SEAL_WRITE | linux.F_SEAL_FUTURE_WRITE
	if seals&host != 0 {
		if err := o.data.toMemfd(); err != nil {
			return err
		}
		if _, err := unix.FcntlInt(uintptr(o.data.fd), unix.F_ADD_SEALS, int(seals&host)); err != nil {
			return err
		}
	}
	o.data.seals |= seals
	return nil
}
