package tmpfs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
)

// pageFileMax is the length in bytes from which on a file is a memfd.
const pageFileMax = 1 << 20

// memfdCount is how many memfds there are, of all file systems, and memfdMost how
// many large files may have one, so that guests leave the sentry descriptors for
// everything else. What is mapped always gets one.
var (
	memfdCount atomic.Int64
	memfdMost  = func() int64 { // at start: the sealed sentry cannot ask
		var l unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
			return 256
		}
		return int64(min(l.Max, 1<<20) / 4)
	}()
)

// pagesMost is the most pages of a file that is not a memfd: 1 GiB.
const pagesMost = 1 << 18

// store is the contents of a regular file: pages, or a memfd once there is one.
// It has no lock. Bytes past the end of a page's slice, and missing pages, are
// zero, and so is what lies in a page past the size.
type store struct {
	fs    *FileSystem
	size  int64
	pages [][]byte // each of at most pageSize bytes
	taken int64    // pages accounted for

	fd   int // memfd, when isFD
	isFD bool
	// mapped: by guests, once. self is the file then.
	mapped bool
	self   budget.Mapped
	seals  bool // the memfd may be sealed by the guest
}

func pagesOf(n int64) int64 { return (n + pageSize - 1) / pageSize }

// account makes the file system's count of our pages n.
func (s *store) account(n int64) error {
	if n == s.taken {
		return nil
	}
	if err := s.fs.takePages(n - s.taken); err != nil {
		return err
	}
	s.taken = n
	return nil
}

// readAt fills p from off; fewer bytes at the end of the file.
func (s *store) readAt(p []byte, off int64) (int, error) {
	if s.isFD {
		n, err := unix.Pread(s.fd, p, off)
		return max(n, 0), err
	}
	if off >= s.size {
		return 0, nil
	}
	if left := s.size - off; int64(len(p)) > left {
		p = p[:left]
	}
	for done := 0; done < len(p); {
		index, in := int((off+int64(done))/pageSize), int((off+int64(done))%pageSize)
		part := p[done:min(len(p), done+pageSize-in)]
		n := 0
		if index < len(s.pages) && in < len(s.pages[index]) {
			n = copy(part, s.pages[index][in:])
		}
		clear(part[n:])
		done += len(part)
	}
	return len(p), nil
}

// writeAt writes p at off. It writes less than all only together with an error.
func (s *store) writeAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if end > pageFileMax {
		s.outgrow()
	}
	if s.isFD {
		return s.writeFD(p, off)
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		in := int(at % pageSize)
		n := min(len(p)-done, pageSize-in)
		page, err := s.page(at/pageSize, in+n)
		if err != nil {
			if done > 0 {
				s.size = max(s.size, at)
			}
			return done, err
		}
		copy(page[in:], p[done:done+n])
		done += n
	}
	s.size = max(s.size, end)
	return done, nil
}

// page gives the page of that index with at least need bytes.
func (s *store) page(index int64, need int) ([]byte, error) {
	if index < int64(len(s.pages)) && len(s.pages[index]) >= need {
		return s.pages[index], nil
	}
	if index >= pagesMost {
		return nil, linux.EFBIG // a memfd could not be had
	}
	fresh := index >= int64(len(s.pages)) || s.pages[index] == nil
	if fresh {
		if err := s.account(s.taken + 1); err != nil {
			return nil, err
		}
	}
	for index >= int64(len(s.pages)) {
		s.pages = append(s.pages, nil)
	}
	length := pageSize
	if index == 0 {
		for length = 64; length < need; length *= 2 {
		}
	}
	page := make([]byte, length)
	budget.Pages(int64(length - len(s.pages[index])))
	copy(page, s.pages[index])
	s.pages[index] = page
	return page, nil
}

// writeFD writes through the memfd, within the limit of the file system.
func (s *store) writeFD(p []byte, off int64) (int, error) {
	// Without holes, and leaving none, the sizes say what there is.
	known := s.taken == pagesOf(s.size) && off <= s.size
	if err := s.reserve(off, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := unix.Pwrite(s.fd, p, off)
	if err != nil {
		s.recount()
		return 0, err
	}
	s.size = max(s.size, off+int64(n))
	if !known || n < len(p) {
		s.recount()
		s.watch()
	}
	return n, nil
}

// reserve accounts for the range, taking all of it that lies past the pages
// accounted for as new: ENOSPC if the limit does not allow it. What of it turns out
// not to be new, recount gives back.
func (s *store) reserve(off, n int64) error {
	first, last := off/pageSize, pagesOf(off+n)
	need := last - first
	if s.taken >= pagesOf(s.size) { // no holes: only what is past the end is new
		need = max(0, last-max(first, pagesOf(s.size)))
	}
	if need == 0 || s.account(s.taken+need) == nil {
		return nil
	}
	s.recount()
	return s.account(s.taken + need)
}

// recount accounts for what the memfd really holds: guests write to it, too.
func (s *store) recount() {
	var st unix.Stat_t
	if !s.isFD || unix.Fstat(s.fd, &st) != nil {
		return
	}
	n := st.Blocks * 512 / pageSize
	s.fs.addPages(n - s.taken)
	s.taken = n
}

// watch has an eye on a mapped file's holes, which guests fill without asking.
func (s *store) watch() {
	if s.mapped {
		budget.Watch(s.self, max(0, pagesOf(s.size)-s.taken))
	}
}

// blocks is the memory held, in units of 512 bytes.
func (s *store) blocks() uint64 {
	s.recount()
	return uint64(s.taken) * (pageSize / 512)
}

// outgrow makes a large file a memfd. If it cannot have one, pages must do.
func (s *store) outgrow() {
	if !s.isFD && memfdCount.Load() < memfdMost {
		s.toMemfd()
	}
}

// toMemfd moves the contents to a memfd.
func (s *store) toMemfd() error {
	if s.isFD {
		return nil
	}
	flags := unix.MFD_CLOEXEC
	if s.seals {
		flags |= unix.MFD_ALLOW_SEALING
	}
	fd, err := unix.MemfdCreate("tmpfs", flags)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, s.size); err != nil {
		unix.Close(fd)
		return err
	}
	for i, page := range s.pages {
		off := int64(i) * pageSize
		if int64(len(page)) > s.size-off {
			page = page[:max(0, s.size-off)]
		}
		for len(page) > 0 {
			n, err := unix.Pwrite(fd, page, off)
			if err != nil {
				unix.Close(fd)
				return err
			}
			page, off = page[n:], off+int64(n)
		}
	}
	memfdCount.Add(1)
	s.dropPages()
	s.fd, s.isFD = fd, true
	s.recount()
	return nil
}

// truncate makes the size so many bytes.
func (s *store) truncate(size int64) error {
	if size > pageFileMax {
		s.outgrow()
	}
	if s.isFD {
		if err := unix.Ftruncate(s.fd, size); err != nil {
			return err
		}
		s.size = size
		s.recount()
		s.watch()
		return nil
	}
	if size < s.size {
		s.punch(size, s.size-size)
		if n := pagesOf(size); n < int64(len(s.pages)) {
			s.pages = append([][]byte(nil), s.pages[:n]...)
		}
	}
	s.size = size
	return nil
}

// punch makes a range zero and gives back whole pages. The range may go past
// the end.
func (s *store) punch(off, n int64) {
	end := min(off+n, int64(len(s.pages))*pageSize)
	for at := off; at < end; {
		index, in := at/pageSize, at%pageSize
		part := min(end-at, pageSize-in)
		if page := s.pages[index]; page != nil {
			wholeTail := in == 0 && (part == pageSize || at+part >= s.size)
			if wholeTail {
				budget.Pages(-int64(len(page)))
				s.pages[index] = nil
				s.account(s.taken - 1)
			} else if in < int64(len(page)) {
				clear(page[in:min(int64(len(page)), in+part)])
			}
		}
		at += part
	}
}

// allocate is fallocate(2) with modes 0, KEEP_SIZE and PUNCH_HOLE.
func (s *store) allocate(mode uint32, off, n int64) error {
	const punch = linux.FALLOC_FL_PUNCH_HOLE | linux.FALLOC_FL_KEEP_SIZE
	if mode != 0 && mode != linux.FALLOC_FL_KEEP_SIZE && mode != punch {
		return linux.EOPNOTSUPP
	}
	if !s.isFD && mode == punch {
		s.punch(off, n)
		return nil
	}
	if off+n > pageFileMax {
		s.outgrow()
	}
	if mode != punch {
		taken := s.taken
		if err := s.reserve(off, n); err != nil {
			return err
		}
		if !s.isFD { // page accounts for itself
			s.account(taken)
		}
	}
	if s.isFD {
		err := unix.Fallocate(s.fd, mode, off, n)
		var st unix.Stat_t
		if unix.Fstat(s.fd, &st) == nil {
			s.size = st.Size
		}
		s.recount()
		s.watch()
		return err
	}
	for i := off / pageSize; i < pagesOf(off+n); i++ {
		if _, err := s.page(i, 1); err != nil {
			return err
		}
	}
	if mode == 0 {
		s.size = max(s.size, off+n)
	}
	return nil
}

// seek is SEEK_DATA or SEEK_HOLE from off: ENXIO past the end.
func (s *store) seek(off int64, whence int) (int64, error) {
	if s.isFD {
		return unix.Seek(s.fd, off, whence)
	}
	if off < 0 || off >= s.size {
		return 0, linux.ENXIO
	}
	for at := off; at < s.size; at = (at/pageSize + 1) * pageSize {
		i := at / pageSize
		data := i < int64(len(s.pages)) && s.pages[i] != nil
		if data == (whence == linux.SEEK_DATA) {
			return at, nil
		}
	}
	if whence == linux.SEEK_DATA {
		return 0, linux.ENXIO
	}
	return s.size, nil
}

// free gives everything back.
func (s *store) free() {
	if s.mapped {
		budget.Watch(s.self, 0)
		s.mapped = false
	}
	if s.isFD {
		unix.Close(s.fd)
		memfdCount.Add(-1)
	}
	s.dropPages()
	s.isFD, s.size = false, 0
	s.account(0)
}

// dropPages lets go of the contents that are not in a memfd.
func (s *store) dropPages() {
	n := 0
	for _, page := range s.pages {
		n += len(page)
	}
	budget.Pages(-int64(n))
	s.pages = nil
}
