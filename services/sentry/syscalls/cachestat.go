package syscalls

import (
	"encoding/binary"
	"math"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// Sizes of struct cachestat_range and struct cachestat: cachestat(2).
const (
	sizeofCachestatRange = 16
	sizeofCachestat      = 40
)

// cachestat says how much of a range of an open file is in memory. Which pages the host
// has of a file nobody here can see: every one that the file has counts as there, and
// as written back. cachestat(2).
func cachestat(t *task.Task, fd linux.FD, span, buf mm.Addr, flags uint32) (uint64, error) {
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	var b [sizeofCachestatRange]byte
	if err := t.CopyIn(span, b[:]); err != nil {
		return 0, err
	}
	a, err := f.Attr(t)
	if err != nil {
		return 0, err
	}
	if c := t.Creds(); !f.Writable() && !c.IsOwner(&a) && vfs.Access(t, f.Path(), vfs.MayWrite) != nil {
		return 0, linux.EPERM
	}
	if flags != 0 {
		return 0, linux.EINVAL
	}
	out := newAnswer(t, sizeofCachestat)
	clear(out.bytes)
	if a.Mode&linux.S_IFMT == linux.S_IFREG {
		pages := pagesWithin(uint64(a.Size), binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:]))
		binary.LittleEndian.PutUint64(out.bytes, min(pages, a.Blocks*512/mm.PageSize))
	}
	return 0, out.copyOut(t, buf)
}

// pagesWithin is how many pages of a file of so many bytes are in n bytes from off on,
// or from there to its end if n is 0.
func pagesWithin(size, off, n uint64) uint64 {
	last := uint64(math.MaxUint64)
	if n != 0 && off+n-1 >= off {
		last = off + n - 1
	}
	if size == 0 || off >= size {
		return 0
	}
	return min(last, size-1)/mm.PageSize - off/mm.PageSize + 1
}
