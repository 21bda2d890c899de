package tmpfs

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// memfds is the file system that holds the files of memfd_create(2).
var memfds = sync.OnceValue(func() *FileSystem { return New(Options{}) })

// NewMemfd is what stands behind a file of memfd_create(2), open for reading and
// writing. flags are MFD_*. vfs.NewAnonFile(impl, MemfdName(name), O_RDWR) makes
// it a File.
func NewMemfd(ctx vfs.Context, name string, flags uint32) (vfs.Impl, error) {
	const known = linux.MFD_CLOEXEC | linux.MFD_ALLOW_SEALING | 0x08 | 0x10 // MFD_NOEXEC_SEAL, MFD_EXEC
	const sizes = 0x3f << 26                                                // of huge pages: MFD_HUGE_MASK
	switch huge := flags&linux.MFD_HUGETLB != 0; {
	case flags&^(known|linux.MFD_HUGETLB|sizes) != 0, !huge && flags&sizes != 0, flags&0x18 == 0x18, len(name) > memfdNameMax:
		return nil, linux.EINVAL
	case huge:
		return nil, linux.ENOSYS
	}
	fs := memfds()
	f := &file{memfd: true}
	mode := uint32(0o777)
	f.data.seals = linux.F_SEAL_SEAL
	if flags&linux.MFD_ALLOW_SEALING != 0 {
		f.data.seals = 0
	}
	if flags&0x08 != 0 {
		mode = 0o666
		f.data.seals = linux.F_SEAL_EXEC
	}
	f.data.store.seals = true
	fs.inodes.Add(1)
	f.init(fs, linux.S_IFREG|mode, ctx.Creds().FSUID, ctx.Creds().FSGID)
	f.nlink = 0
	return f.Open(ctx, linux.O_RDWR)
}

// memfdNameMax is the longest name in bytes.
const memfdNameMax = 249

// MemfdName is what /proc/PID/fd shows for a memfd.
func MemfdName(name string) string { return "/memfd:" + name + " (deleted)" }

// Node lets vfs find the file itself behind an open memfd.
func (o *openFile) Node() vfs.Node { return o.file }
