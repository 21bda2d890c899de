package mm

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/rewrite"
)

// This file keeps which call sites of an address space are rewritten: package
// rewrite plans one, the guest's own thread writes it, by host calls on an answer.
//
// Only private file mappings that are readable and executable and nothing else
// are rewritten, so that code which the guest makes itself, or shares, stays as
// it is. What makes such a mapping writable, moves it or looks at it from outside
// sees the bytes as they were.

const (
	// rewriteAfter is how many traps make a site worth rewriting, which costs about as
	// much as they did: a page of trampolines, a copy of a page of text and four
	// changes of protection. Most sites of a short program trap less often.
	rewriteAfter = 32
	// maxCounted bounds the sites whose traps are counted, maxTrampolines the
	// pages of trampolines.
	maxCounted     = 4096
	maxTrampolines = 16
	givenUp        = 255

	protRX  = unix.PROT_READ | unix.PROT_EXEC
	protRWX = protRX | unix.PROT_WRITE
)

// rewrites is what an address space has of rewritten sites. After a fork two
// spaces share the tables until one of them changes.
type rewrites struct {
	entry  uint64 // of the fast lane; 0: rewriting is off
	counts map[Addr]uint8
	shared bool
	sites  map[Addr]*rewrite.Site // by the address of their SYSCALL
	pages  map[Addr]int           // of trampolines: how many are taken
}

// own makes the tables this space's alone.
func (w *rewrites) own() {
	if w.shared || w.sites == nil {
		w.sites, w.pages, w.shared = maps.Clone(w.sites), maps.Clone(w.pages), false
		if w.sites == nil {
			w.sites, w.pages = map[Addr]*rewrite.Site{}, map[Addr]int{}
		}
	}
}

// fork gives the tables of a copy of the space.
func (w *rewrites) fork() rewrites {
	w.shared = true
	return rewrites{entry: w.entry, shared: true, sites: w.sites, pages: w.pages}
}

// Trapped notes that th made a system call by a signal, and rewrites the site if
// that happens often. The call is served after it as if nothing had been.
func (s *Space) Trapped(th *platform.Thread) {
	site := th.Regs.RIP - 2
	if !s.count(site, platform.TrapsFor(th.Regs.RAX)) {
		return
	}
	s.change(th)
	defer s.unlock()
	again, ok := s.rewrite(th, site)
	if !ok && !again {
		s.rewrites.counts[site] = givenUp
	}
	if th.Orders() == 0 {
		s.busy = nil // nothing is under way, and the call itself may take for ever
		s.tell()
		s.letGo(th)
	}
}

// count counts so many traps of a site and says whether it is due.
func (s *Space) count(site Addr, traps int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.rewrites
	n := w.counts[site]
	if w.entry == 0 || n == givenUp || n == 0 && len(w.counts) >= maxCounted {
		return false
	}
	if w.counts == nil {
		w.counts = map[Addr]uint8{}
	}
	now := min(int(n)+traps, givenUp-1)
	w.counts[site] = uint8(now)
	for _, due := range [...]int{rewriteAfter, 100, 200} { // the later ones if the first could not be
		if int(n) < due && now >= due {
			return true
		}
	}
	return false
}

// rewrite makes the thread overwrite one site. Where it does not, it may be worth
// trying again, or not.
func (s *Space) rewrite(th *platform.Thread, at Addr) (again, ok bool) {
	r, ok := s.regions.Find(at)
	if !ok || r.File == nil || r.Shared || r.Prot != protRX || s.rewrites.sites[at] != nil {
		return false, false
	}
	plan, ok := planAt(th, r, at)
	if !ok || th.Regs.RAX == unix.SYS_RT_SIGRETURN && !s.unwinds(th, r, at) {
		return false, false
	}
	site := &rewrite.Site{Plan: plan, Syscall: at}
	window := site.Window()
	if window < r.Start || window+uint64(plan.Len) > r.End {
		return false, false
	}
	// With others in the same memory, the store must be one, of one instruction
	// for one, or the others must stand still.
	atomic := plan.Shape == rewrite.Before && window%8 <= 8-rewrite.JumpLen
	if !atomic && th.SharesMemory() {
		if !th.Freeze() {
			return true, false
		}
		defer th.Thaw()
	}
	s.rewrites.own()
	page, n, ok := s.trampoline(th, at)
	if !ok {
		return false, false
	}
	site.Trampoline = rewrite.TrampolineAt(page, n)
	th.MarkPatched(page)
	if plan.Shape == rewrite.Over { // only then can a thread be inside of it: Site.Actual
		th.MarkPatched(window)
		th.MarkPatched(window + uint64(plan.Len))
	}
	// The place is taken even if this fails: the jump may have been written.
	s.rewrites.pages[page] = n + 1
	if !s.write(th, page, site) {
		return false, false
	}
	s.rewrites.sites[at] = site
	s.tellMoves(th)
	return false, true
}

// unwinds says whether a site that calls rt_sigreturn(2) can be overwritten with no
// unwinder the worse for it.
func (s *Space) unwinds(th *platform.Thread, r Region, at Addr) bool {
	read := func(addr uint64, p []byte) bool { return th.Process().CopyIn(addr, p) == nil }
	code := make([]byte, 16)
	if from := at - min(at, 14); !read(from, code) || !rewrite.IsRestorer(code, int(at-from)) {
		return true
	}
	base := Addr(0)
	for _, q := range s.regions.All() {
		if q.Start <= at && q.Offset == 0 && q.File != nil && q.File.Dev == r.File.Dev && q.File.Ino == r.File.Ino {
			base = q.Start
		}
	}
	return base != 0 && rewrite.UnwindsRestorer(read, base, at)
}

// tellMoves tells the platform where threads go on that wait in calls of sites
// which have been rewritten meanwhile; th, too.
func (s *Space) tellMoves(th *platform.Thread) {
	moves := map[uint64]uint64{}
	for at, site := range s.rewrites.sites {
		for rip := at; rip < at+uint64(site.Len); rip++ {
			if to, ok := site.Actual(rip); ok {
				moves[rip] = to
			}
		}
	}
	th.SetMoves(moves)
}

// trampoline finds a page of trampolines in reach of at, or maps one, and gives
// the number of the free place.
func (s *Space) trampoline(th *platform.Thread, at Addr) (page Addr, n int, ok bool) {
	w := &s.rewrites
	for page, n := range w.pages {
		if n < rewrite.PageTrampolines && rewrite.Near(at, page) {
			return page, n, true
		}
	}
	if len(w.pages) >= maxTrampolines {
		return 0, 0, false
	}
	r, _ := s.regions.Find(at)
	low := uint64(platform.GuestBottom)
	if at > 1<<30 {
		low = max(low, at-1<<30)
	}
	page, ok = s.gap(PageSize, low, r.Start)
	if !ok {
		return 0, 0, false
	}
	th.HostCall(unix.SYS_MMAP, page, PageSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	th.CopyOut(page, rewrite.Head(w.entry))
	s.regions.Insert(Region{Start: page, End: page + PageSize, Prot: protRX, Kind: Trampolines, NoRemap: true})
	w.pages[page] = 0
	return page, 0, true
}

// write orders the trampoline and then the jump to it, and waits for both.
func (s *Space) write(th *platform.Thread, page Addr, site *rewrite.Site) bool {
	th.HostCall(unix.SYS_MPROTECT, page, PageSize, protRWX)
	th.CopyOut(site.Trampoline, site.Bytes(page))
	th.HostCall(unix.SYS_MPROTECT, page, PageSize, protRX)
	var word [8]byte
	from := site.Window() &^ 7
	if th.Process().CopyIn(from, word[:]) != nil {
		return false
	}
	jump := site.Jump()
	window := site.Window()
	text, n := pagesOf(window, rewrite.JumpLen)
	th.HostCall(unix.SYS_MPROTECT, text, n, protRWX)
	if i := int(window - from); i+rewrite.JumpLen <= len(word) {
		copy(site.Original[:], word[i:])
		copy(word[i:], jump[:])
		th.Store(from, binary.LittleEndian.Uint64(word[:]))
	} else {
		if th.Process().CopyIn(window, site.Original[:]) != nil {
			return false
		}
		th.CopyOut(window, jump[:])
	}
	th.HostCall(unix.SYS_MPROTECT, text, n, protRX)
	want := th.Orders()
	done, ok := th.Do()
	return ok && done == want
}

// pagesOf gives the pages that [at, at+n) is in.
func pagesOf(at Addr, n uint64) (start Addr, length uint64) {
	start = PageDown(at)
	return start, PageUp(at+n) - start
}

// plans remembers what rewrite.Make said of code: the same libraries come again
// and again.
var plans = struct {
	sync.Mutex
	seed  maphash.Seed
	known map[uint64]planned
}{seed: maphash.MakeSeed(), known: map[uint64]planned{}}

type planned struct {
	plan rewrite.Plan
	ok   bool
}

const maxPlans = 16384

// planAt reads the code around a site and plans its rewriting.
func planAt(th *platform.Thread, r Region, at Addr) (rewrite.Plan, bool) {
	from := max(r.Start, at-min(at, rewrite.Reach))
	to := min(r.End, at+rewrite.Reach)
	code := make([]byte, to-from)
	if th.Process().CopyIn(from, code) != nil {
		return rewrite.Plan{}, false
	}
	nr := th.Regs.RAX
	var h maphash.Hash
	h.SetSeed(plans.seed)
	h.Write(code)
	maphash.WriteComparable(&h, [2]uint64{at - from, nr})
	key := h.Sum64()
	plans.Lock()
	p, known := plans.known[key]
	plans.Unlock()
	if !known {
		p.plan, p.ok = rewrite.Make(code, int(at-from), nr)
		plans.Lock()
		if len(plans.known) >= maxPlans {
			clear(plans.known)
		}
		plans.known[key] = p
		plans.Unlock()
	}
	return p.plan, p.ok
}

// unrewrite puts the bytes of [start, end) back as they were before th changes
// what is mapped there; with gone, the change takes away what is inside of it.
// The caller has the lock.
func (s *Space) unrewrite(th *platform.Thread, start, end Addr, gone bool) error {
	w := &s.rewrites
	if len(w.sites) == 0 && len(w.pages) == 0 {
		return nil
	}
	if !s.rewritten(start, end) {
		return nil
	}
	evicted := map[Addr]bool{}
	for page := range w.pages {
		if overlaps(page, PageSize, start, end) {
			evicted[page] = true
		}
	}
	for at, site := range w.sites {
		window := site.Window()
		touched := overlaps(window, rewrite.JumpLen, start, end)
		lost := evicted[PageDown(site.Trampoline)]
		if !touched && !lost {
			continue
		}
		w.own()
		delete(w.sites, at)
		if inside := window >= start && window+rewrite.JumpLen <= end; gone && inside {
			continue
		}
		if err := s.restore(th, site); err != nil {
			return err
		}
	}
	s.tellMoves(th)
	for page := range evicted {
		w.own()
		delete(w.pages, page)
		s.regions.Remove(page, page+PageSize)
		th.HostCall(unix.SYS_MUNMAP, page, PageSize)
	}
	return nil
}

// unrewriteForProtect is unrewrite for mprotect(2): only what the guest may then
// write to goes back to what it was.
func (s *Space) unrewriteForProtect(th *platform.Thread, start, end Addr, prot uint8) error {
	if prot&unix.PROT_WRITE == 0 {
		// A page of trampolines is a hole in the guest's eyes.
		for page := range s.rewrites.pages {
			if overlaps(page, PageSize, start, end) {
				return s.unrewrite(th, page, page+PageSize, true)
			}
		}
		return nil
	}
	return s.unrewrite(th, start, end, false)
}

// overlaps says whether the n bytes at at have any in [start, end).
func overlaps(at Addr, n uint64, start, end Addr) bool { return at < end && start < at+n }

// taken says whether the guest has anything mapped in [start, end).
func (s *Space) taken(start, end Addr) bool {
	for _, r := range s.regions.Overlap(start, end) {
		if !r.Kind.hidden() {
			return true
		}
	}
	return false
}

// rewritten says whether [start, end) has a rewritten site or trampolines. Most
// ranges have not, and this is asked for each.
func (s *Space) rewritten(start, end Addr) bool {
	files := false
	for _, r := range s.regions.Overlap(start, end) {
		files = files || r.File != nil || r.Kind == Trampolines
	}
	if !files {
		return false
	}
	for page := range s.rewrites.pages {
		if overlaps(page, PageSize, start, end) {
			return true
		}
	}
	for _, site := range s.rewrites.sites {
		if overlaps(site.Window(), rewrite.JumpLen, start, end) {
			return true
		}
	}
	return false
}

// restore orders that a site be as it was.
func (s *Space) restore(th *platform.Thread, site *rewrite.Site) error {
	if th.OrdersLeft() < 8 {
		if _, ok := th.Do(); !ok {
			return linux.EFAULT
		}
	}
	window := site.Window()
	text, n := pagesOf(window, rewrite.JumpLen)
	th.HostCall(unix.SYS_MPROTECT, text, n, protRWX)
	th.CopyOut(window, site.Original[:])
	th.HostCall(unix.SYS_MPROTECT, text, n, protRX)
	return nil
}

// StayOriginal puts all code back as it was and leaves it so, for a tracer that
// looks at every byte and every step. th, whose call is being served by the trap
// lane, does it.
func (s *Space) StayOriginal(th *platform.Thread) {
	s.StopDelegating()
	s.change(th)
	defer s.unlock()
	w := &s.rewrites
	w.entry = 0
	if len(w.sites) == 0 {
		return
	}
	if th.SharesMemory() {
		if !th.Freeze() {
			return // the next stop tries again
		}
		defer th.Thaw()
	}
	if rip := s.visible(th.Regs.RIP); rip != th.Regs.RIP {
		th.Relocate(rip)
	}
	w.own()
	for at, site := range w.sites {
		if s.restore(th, site) != nil {
			return
		}
		delete(w.sites, at)
	}
	s.tellMoves(th)
	th.Do()
}

// OriginalBytes changes p, memory at addr as it is, to what the program knows of
// it: for those who look at it from outside.
func (s *Space) OriginalBytes(addr Addr, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := addr + uint64(len(p))
	for _, site := range s.rewrites.sites {
		window := site.Window()
		for i, b := range site.Original {
			if at := window + uint64(i); at >= addr && at < end {
				p[at-addr] = b
			}
		}
	}
}

// Visible gives the address that a thread at rip has in its program's eyes: one
// in a trampoline stands for one at the site.
func (s *Space) Visible(rip Addr) Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visible(rip)
}

func (s *Space) visible(rip Addr) Addr {
	if _, ok := s.rewrites.pages[PageDown(rip)]; !ok {
		return rip
	}
	for _, site := range s.rewrites.sites {
		if seen, ok := site.Visible(rip); ok {
			return seen
		}
	}
	return rip
}

// Actual is the inverse: where a thread can go on whose program thinks that it
// is at rip, which may be no address at all.
func (s *Space) Actual(rip Addr) Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rewrites.sites) == 0 || rip >= GuestTop {
		return rip
	}
	for at := rip - min(rip, 2+rewrite.TrampolineSize); at <= rip; at++ {
		if site := s.rewrites.sites[at]; site != nil {
			if rip, ok := site.Actual(rip); ok {
				return rip
			}
		}
	}
	return rip
}
