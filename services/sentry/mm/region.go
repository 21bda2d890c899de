// Package mm is the sentry's view of a guest's address space: which regions are
// mapped, where the next one goes, and the host calls that make it so.
//
// The host keeps the pages. The sentry keeps the list of regions, for placement,
// limits and /proc/PID/maps, and orders the host calls on the answer of the
// thread that asked (platform). A change is decided under Space's lock; a second
// thread's change waits until the first one's host calls are done.
package mm

import (
	"sort"

	"bulkhead/services/sentry/vfs"
)

// Addr is an address in a guest's memory.
type Addr = uint64

// PageSize is the size of a page in bytes.
const PageSize = 4096

// PageUp rounds n up to whole pages; 0 if that overflows.
func PageUp(n uint64) uint64 { return (n + PageSize - 1) &^ (PageSize - 1) }

// PageDown rounds n down to whole pages.
func PageDown(n uint64) uint64 { return n &^ (PageSize - 1) }

// Kind is what a region is for, where that shows.
type Kind uint8

// The kinds of region.
const (
	Plain Kind = iota
	Heap
	Stack
	VDSO
	Trampolines // of rewritten call sites
	Anchor      // beside a lease: Space.anchor
)

// hidden says that the region is none of the guest's, and that the guest does not see it.
func (k Kind) hidden() bool { return k == Trampolines || k == Anchor }

// Backing is the file behind a region.
type Backing struct {
	Path     vfs.Path // zero for an anonymous file
	Name     string   // where Path is zero: "/memfd:x (deleted)"
	Dev, Ino uint64
	InMemory bool // its pages are the sandbox's memory
}

// Region is a stretch of memory with the same properties throughout. Start and
// End are page-aligned.
type Region struct {
	Start, End Addr
	Prot       uint8 // PROT_READ, PROT_WRITE, PROT_EXEC
	Shared     bool
	Grows      bool // MAP_GROWSDOWN
	Kind       Kind
	File       *Backing // nil: anonymous
	Offset     uint64   // of Start in File
	// NoWrite marks a shared mapping of a file that is not open for writing, where
	// the host could not tell: PROT_WRITE is EACCES.
	NoWrite bool
	// NoRemap marks the kernel's own: the guest may not change it.
	NoRemap bool
	Locked  bool   // by mlock(2)
	Sealed  bool   // by mseal(2): stays what it is
	NoFork  bool   // by MADV_DONTFORK of madvise(2): no child has it
	Name    string // of anonymous memory: Space.SetName
}

// Len is the region's length in bytes.
func (r Region) Len() uint64 { return r.End - r.Start }

// continues says whether next goes on where r ends, with the same properties.
func (r Region) continues(next Region) bool {
	return r.End == next.Start && r.Prot == next.Prot && r.Shared == next.Shared && r.Grows == next.Grows &&
		r.Kind == next.Kind && r.File == next.File && r.NoRemap == next.NoRemap && r.NoWrite == next.NoWrite &&
		r.Locked == next.Locked && r.Sealed == next.Sealed && r.NoFork == next.NoFork && r.Name == next.Name &&
		(r.File == nil || r.Offset+r.Len() == next.Offset)
}

// Set is a list of regions that do not overlap, by address. The zero value is
// empty. It has no lock, no clock and no host: the pure core of the package.
type Set struct {
	list []Region
	// changed is where it has been changed since Changed was called last.
	changed struct{ start, end Addr }
}

// All gives the regions; the slice is the set's own.
func (s *Set) All() []Region { return s.list }

// Clone is a copy.
func (s *Set) Clone() Set { return Set{list: append([]Region(nil), s.list...)} }

// touch notes that [start, end) changes.
func (s *Set) touch(start, end Addr) {
	if c := &s.changed; c.start == c.end {
		c.start, c.end = start, end
	} else if start < end {
		c.start, c.end = min(c.start, start), max(c.end, end)
	}
}

// Changed gives a range outside of which nothing was changed since it was called last,
// but by Replace.
func (s *Set) Changed() (start, end Addr) {
	start, end = s.changed.start, s.changed.end
	s.changed.start, s.changed.end = 0, 0
	return start, end
}

// after is the index of the first region that ends above addr.
func (s *Set) after(addr Addr) int {
	return sort.Search(len(s.list), func(i int) bool { return s.list[i].End > addr })
}

// Find gives the region that holds addr.
func (s *Set) Find(addr Addr) (Region, bool) {
	i := s.after(addr)
	if i < len(s.list) && s.list[i].Start <= addr {
		return s.list[i], true
	}
	return Region{}, false
}

// Overlap gives the regions in [start, end), whole.
func (s *Set) Overlap(start, end Addr) []Region {
	i := s.after(start)
	j := i
	for j < len(s.list) && s.list[j].Start < end {
		j++
	}
	return s.list[i:j]
}

// Covered says whether every byte of [start, end) is in some region.
func (s *Set) Covered(start, end Addr) bool {
	for _, r := range s.Overlap(start, end) {
		if r.Start > start {
			return false
		}
		start = r.End
	}
	return start >= end
}

// split makes addr a boundary, if it lies inside a region.
func (s *Set) split(addr Addr) {
	i := s.after(addr)
	if i == len(s.list) || s.list[i].Start >= addr {
		return
	}
	low, high := s.list[i], s.list[i]
	low.End, high.Start = addr, addr
	high.Offset += addr - low.Start
	s.list = append(s.list, Region{})
	copy(s.list[i+2:], s.list[i+1:])
	s.list[i], s.list[i+1] = low, high
}

// Remove takes [start, end) out and gives how many bytes were mapped there.
func (s *Set) Remove(start, end Addr) uint64 {
	s.touch(start, end)
	s.split(start)
	s.split(end)
	i := s.after(start)
	j, n := i, uint64(0)
	for j < len(s.list) && s.list[j].Start < end {
		n += s.list[j].Len()
		j++
	}
	s.list = append(s.list[:i], s.list[j:]...)
	return n
}

// Insert puts r in, in place of what was there.
func (s *Set) Insert(r Region) {
	if r.Start >= r.End {
		return
	}
	s.Remove(r.Start, r.End)
	i := s.after(r.Start)
	s.list = append(s.list, Region{})
	copy(s.list[i+1:], s.list[i:])
	s.list[i] = r
	s.merge(i+1, i+1)
}

// Update applies change to every region in [start, end), split at the ends.
func (s *Set) Update(start, end Addr, change func(*Region)) {
	s.touch(start, end)
	s.split(start)
	s.split(end)
	i := s.after(start)
	j := i
	for ; j < len(s.list) && s.list[j].Start < end; j++ {
		change(&s.list[j])
	}
	s.merge(i, j)
}

// Replace puts regions, which are in order and within [start, end), in place of what
// was there. It takes time by the length of the lists alone.
func (s *Set) Replace(start, end Addr, regions []Region) {
	s.split(start)
	s.split(end)
	i := s.after(start)
	j := i
	for j < len(s.list) && s.list[j].Start < end {
		j++
	}
	out := append(make([]Region, 0, i+len(regions)+len(s.list)-j), s.list[:i]...)
	for _, part := range [][]Region{regions, s.list[j:]} {
		for _, r := range part {
			if n := len(out); n > 0 && out[n-1].continues(r) {
				out[n-1].End = r.End
				continue
			}
			out = append(out, r)
		}
	}
	s.list = out
}

// within is the part of r that is in [start, end), which it overlaps.
func (r Region) within(start, end Addr) Region {
	if start > r.Start {
		r.Offset += start - r.Start
		r.Start = start
	}
	r.End = min(r.End, end)
	return r
}

// merge joins neighbours whose boundary has an index between i and j.
func (s *Set) merge(i, j int) {
	for k := min(j, len(s.list)-1); k >= max(i-1, 1); k-- {
		if s.list[k-1].continues(s.list[k]) {
			s.list[k-1].End = s.list[k].End
			s.list = append(s.list[:k], s.list[k+1:]...)
		}
	}
}

// Gap finds the highest free stretch of n bytes in [low, high), aligned to a
// page, and gives its start.
func (s *Set) Gap(n uint64, low, high Addr) (Addr, bool) {
	end := high
	for i := s.after(high-1) + 1; i > 0; i-- {
		if i > len(s.list) {
			continue
		}
		r := s.list[i-1]
		if r.Start >= end {
			continue
		}
		if r.End < end && end-max(r.End, low) >= n && end > low {
			if start := end - n; start >= low {
				return start, true
			}
			return 0, false
		}
		end = min(end, r.Start)
		if end <= low {
			return 0, false
		}
	}
	if end > low && end-low >= n {
		return end - n, true
	}
	return 0, false
}

// Total is how many bytes are mapped.
func (s *Set) Total() uint64 {
	var n uint64
	for _, r := range s.list {
		n += r.Len()
	}
	return n
}
