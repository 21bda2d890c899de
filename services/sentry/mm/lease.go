package mm

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/platform"
)

// This file is the sentry's part in a lease: memory that the guest's threads map
// and unmap without asking (platform/lease.go), at the place where the next mapping
// would come to lie. It reaches up over what is mapped there already, so that this
// can be unmapped and protected without asking too.
//
// The list of regions is behind while the stub has the lease, and catches up when
// the sentry takes the lease's lock: hold, for a change, and look, for everybody else.
// What the sentry then changes in the list is told the stub by tell.

const (
	// leaseAfter is how many calls a lease must have been able to spare before there
	// is one. It costs as much as some of them.
	leaseAfter = 8
	// leaseAbove is how much of what is mapped already a lease reaches over at most, in
	// bytes, and leaseLeast the least that is free in it.
	leaseAbove = 32 << 20
	leaseLeast = 4 << 20

	// Who only looks waits so long for a stub that has the lock, which it holds for
	// one host call; then, and until it is seen free, what is known is good enough. Who
	// changes something waits as long as for other changes: change.
	lookPatience = time.Second
)

// lease is what a Space knows of its lease.
type lease struct {
	*platform.Lease
	low, top Addr
	// seen are the bytes of the pages from the top down, as the list of regions has
	// them: all below is free.
	seen   []byte
	closed bool // to be ended
	foreigns
}

// delegation is a Space's part in this.
type delegation struct {
	lease *lease
	never bool // there must be none: somebody wants to see every call
	// limited: there must be none as long as the memory's size is limited.
	limited bool
	spared  int  // how many calls a lease would have spared
	stuck   bool // a look has waited in vain
}

// Delegate allows the stub to map memory by itself, which a new space does not.
func (s *Space) Delegate() {
	s.mu.Lock()
	s.never = false
	s.mu.Unlock()
}

// StopDelegating has every call of the space's threads come to the sentry from now on,
// for good: their calls are traced or filtered. Not from under a lock: it waits for
// calls that are under way.
func (s *Space) StopDelegating() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.never = true
	s.endLease()
}

// Limit tells of the limits as they are now, of which those that a lease could pass
// count. Otherwise it is as StopDelegating.
func (s *Space) Limit(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limited = l.Size != unix.RLIM_INFINITY || l.Data != unix.RLIM_INFINITY || s.lockNew; s.limited {
		s.endLease()
	}
}

// endLease makes all that is leased ordinary memory. s.mu is held, and let go of
// meanwhile. Where the stub has the lock for too long, it can still note what it is at,
// but nothing new; the next change ends it.
func (s *Space) endLease() {
	if s.acquire(true) {
		s.dropLease()
	} else if l := s.lease; l != nil {
		l.closed = true
		l.publish(len(l.seen))
	}
}

// dropLease is endLease with the lock held, or where nobody is left.
func (s *Space) dropLease() {
	s.lease.End()
	s.lease = nil
}

// acquire takes the lease's lock for the sentry itself, and catches up. False, and
// nothing is held, if there is no lease, if the lock is held for an answer, unless
// that is to be disregarded, or if the stub has it for too long. s.mu is held, and let
// go of meanwhile.
func (s *Space) acquire(answers bool) bool {
	var began time.Time
	for ; s.lease != nil; began = s.pause(began) {
		h := s.lease.Holder()
		if h.Sentry() && !answers {
			return false
		}
		if s.takeFrom(h, platform.LeaseReader) {
			s.stuck = false
			return true
		}
		if s.stuck || !began.IsZero() && time.Since(began) > lookPatience {
			s.stuck = true
			return false
		}
	}
	return false
}

// takeFrom takes the lock from h, if h is no thread in the stub, and catches up.
func (s *Space) takeFrom(h, to platform.LeaseHolder) bool {
	if h != platform.LeaseNobody && !h.Sentry() && !s.lease.Lost(h) || !s.lease.Take(h, to) {
		return false
	}
	if !h.Sentry() {
		s.catchUp()
	}
	return true
}

// pause lets go of s.mu for a moment, longer ones the longer it has been.
func (s *Space) pause(began time.Time) time.Time {
	s.mu.Unlock()
	defer s.mu.Lock()
	if began.IsZero() {
		began = time.Now()
	}
	if waited := time.Since(began); waited > 200*time.Microsecond {
		time.Sleep(min(waited/4, 5*time.Millisecond))
	} else {
		yield()
	}
	return began
}

// look takes s.mu with the list of regions up to date, as far as a guest lets it be.
// While the lock is held for an answer, it is.
func (s *Space) look() {
	s.mu.Lock()
	if s.acquire(false) {
		s.lease.Take(platform.LeaseReader, platform.LeaseNobody)
	}
}

// hold takes the lease's lock for th's answer, and catches up. False if the stub has
// it. s.mu is held, and no other answer's host calls are under way: if the lock was held
// for one, that was abandoned.
func (s *Space) hold(th *platform.Thread) bool {
	if s.lease != nil {
		h, me := s.lease.Holder(), th.Holds()
		if h != me && !s.takeFrom(h, me) {
			return false
		}
		th.Releases()
		if s.lease.closed {
			s.dropLease()
		}
	}
	th.UseLease(s.lease != nil)
	return true
}

// letGo releases what hold took, where no host call is under way.
func (s *Space) letGo(th *platform.Thread) {
	if s.lease != nil {
		s.lease.Take(th.Holds(), platform.LeaseNobody)
	}
}

// catchUp brings the list of regions to what the stub has noted. The lease's lock
// is held.
func (s *Space) catchUp() {
	s.replay()
	s.catchUpPages()
	if !s.lease.shut && len(s.regions.All()) > mostRegions {
		s.refresh()
	}
}

// catchUpPages is the part of the stretch in it.
func (s *Space) catchUpPages() {
	l := s.lease
	was := l.seen
	cursor := l.Claims()
	if cursor%PageSize != 0 || cursor < l.low || cursor > l.top {
		cursor = l.page(len(was) - 1) // none but a guest writes such
	}
	n := int((l.top - cursor) / PageSize)
	if n < len(was) { // nor does the stub free what is the sentry's
		n += bytes.LastIndexByte(was[n:], platform.LeaseForeign) + 1
	}
	claims := l.Bytes(uint64(n))
	from, to, ok := differ(was, claims)
	if !ok {
		return
	}
	// Copied once. What is outside of [from, to) is as it was, though a guest may
	// have changed it since.
	now := make([]byte, n)
	copy(now, was)
	end := min(to, n)
	copy(now[min(from, end):end], claims[min(from, end):end])
	for i := from; i < end; i++ {
		now[i] = believed(now[i], i < len(was) && was[i] == platform.LeaseForeign)
	}
	l.seen = now
	s.regions.Replace(l.page(to-1), l.page(from-1), s.leased(from, to))
}

// differ gives the stretch [from, to) outside of which a and b are the same, with
// 0 beyond the end of the shorter; false if they do not differ.
func differ(a, b []byte) (from, to int, ok bool) {
	short, long := a, b
	if len(a) > len(b) {
		short, long = b, a
	}
	same := func(i, j int) bool { return bytes.Equal(short[i:j], long[i:j]) }
	if len(short) == len(long) && same(0, len(short)) {
		return 0, 0, false
	}
	for from+64 <= len(short) && same(from, from+64) {
		from += 64
	}
	for from < len(short) && short[from] == long[from] {
		from++
	}
	to = len(long)
	if len(short) == len(long) {
		for to-64 >= from && same(to-64, to) {
			to -= 64
		}
		for to > from && short[to-1] == long[to-1] {
			to--
		}
	}
	return from, to, to > from
}

// believed is what a page's byte is taken for.
func believed(b byte, foreign bool) byte {
	switch {
	case foreign:
		return platform.LeaseForeign // the sentry's, whatever the guest says
	case b&^(protRWX|platform.LeaseMapped) != 0 || b&platform.LeaseMapped == 0:
		return platform.LeaseFree
	}
	return b
}

// page is the address of the page with byte i. That of -1 is the top.
func (l *lease) page(i int) Addr { return l.top - uint64(i+1)*PageSize }

// leased makes the regions of the pages with bytes [from, to), in order; those that are
// foreign are as they were.
func (s *Space) leased(from, to int) []Region {
	l := s.lease
	at := func(i int) byte {
		if i < len(l.seen) {
			return l.seen[i]
		}
		return platform.LeaseFree
	}
	var out []Region
	for i := to; i > from; {
		j, b := i-1, at(i-1)
		for j > from && at(j-1) == b {
			j--
		}
		start, end := l.page(i-1), l.page(j-1)
		switch {
		case b == platform.LeaseForeign:
			for _, r := range s.regions.Overlap(start, end) {
				out = append(out, r.within(start, end))
			}
		case b != platform.LeaseFree:
			out = append(out, Region{Start: start, End: end, Prot: b & protRWX})
		}
		i = j
	}
	return out
}

// plain says whether the stub may change r by itself.
func (r Region) plain() bool {
	return r.File == nil && !r.Shared && !r.Grows && r.Kind == Plain && !r.NoWrite && !r.NoRemap && !r.Locked && !r.Sealed && !r.NoFork && r.Name == ""
}

// unlock lets go of s.mu, after it has told the stub what has changed in the list.
func (s *Space) unlock() {
	s.tell()
	s.mu.Unlock()
}

// tell notes for the stub what has changed in the list of regions. The lease's
// lock is held, unless the process whose thread wanted it died while it waited, and
// left others behind that share the memory: then nothing has changed for them.
func (s *Space) tell() {
	start, end := s.regions.Changed()
	l := s.lease
	if l == nil || start >= end || !l.Holder().Sentry() {
		return
	}
	s.tellOutside(start, end)
	if end <= l.low || start >= l.top {
		return
	}
	start, end = max(start, l.low), min(end, l.top)
	if cursor := l.page(len(l.seen) - 1); end < cursor {
		// Something that was asked for at that very place: the lease ends above it.
		if len(s.regions.Overlap(start, end)) > 0 {
			l.low = end
		}
	} else {
		from, to := int((l.top-end)/PageSize), int((l.top-start)/PageSize)
		l.note(from, to, s.regions.Overlap(start, end))
	}
	l.publish(int((l.top - end) / PageSize))
}

// note sets the bytes of [from, to) to what regions, which overlap that, have there.
func (l *lease) note(from, to int, regions []Region) {
	if more := to - len(l.seen); more > 0 {
		l.seen = append(l.seen, make([]byte, more)...)
	}
	clear(l.seen[from:to])
	for _, r := range regions {
		b := byte(platform.LeaseForeign)
		if r.plain() {
			b = platform.LeaseMapped | r.Prot&protRWX
		}
		high := int((l.top - min(r.End, l.top)) / PageSize)
		low := int((l.top - max(r.Start, l.low)) / PageSize)
		for i := max(high, from); i < min(low, to); i++ {
			l.seen[i] = b
		}
	}
	n := len(l.seen)
	for n > 0 && l.seen[n-1] == platform.LeaseFree {
		n--
	}
	l.seen = l.seen[:n]
}

// publish gives the stub what has been noted, the bytes from that of from on.
func (l *lease) publish(from int) {
	if from < len(l.seen) {
		copy(l.Bytes(uint64(len(l.seen)))[from:], l.seen[from:])
	}
	top := l.top
	if l.closed {
		top = 0
	}
	l.Set(l.low, l.page(len(l.seen)-1), top)
}

// gap is where n bytes can go in [low, high), outside of what is leased.
func (s *Space) gap(n uint64, low, high Addr) (Addr, bool) {
	if l := s.lease; l != nil && low < l.top && l.low < high {
		if high > l.top {
			if addr, ok := s.regions.Gap(n, l.top, high); ok {
				return addr, true
			}
		}
		high = l.low
	}
	if low >= high {
		return 0, false
	}
	return s.regions.Gap(n, low, high)
}

// carve gives the place of n bytes in the lease, as the stub would.
func (s *Space) carve(n uint64) (Addr, bool) {
	l := s.lease
	if l == nil {
		return 0, false
	}
	cursor := l.page(len(l.seen) - 1)
	if cursor-l.low < n {
		return 0, false
	}
	return cursor - n, true
}

// couldSpare counts a call that the stub could have done, and makes a lease once it
// pays, or another where the last one has no room for n bytes. The lease's lock is
// held for th, if there is a lease.
func (s *Space) couldSpare(th *platform.Thread, n uint64) {
	s.spared++
	if s.never || s.limited || s.spared < leaseAfter || s.DenyWriteExec() != 0 {
		return
	}
	if s.lease != nil {
		if _, room := s.carve(n); room || n == 0 {
			return
		}
		s.dropLease()
	}
	s.grant(th)
}

// grant makes a lease, whose lock is held for th.
func (s *Space) grant(th *platform.Thread) {
	low, ok := s.regions.Gap(leaseLeast, platform.GuestBottom, s.top)
	if !ok {
		return
	}
	words, ok := th.NewLease()
	if !ok {
		s.never = true // and will not become possible
		return
	}
	cursor := s.anchor(th, low+leaseLeast)
	top := min(cursor+leaseAbove, PageDown(max(s.top, cursor)))
	low = max(top, platform.LeaseSpan+platform.GuestBottom) - platform.LeaseSpan
	for _, r := range s.regions.Overlap(low, cursor) {
		low = max(low, r.End)
	}
	l := &lease{Lease: words, low: low, top: top}
	l.note(0, int((top-cursor)/PageSize), s.regions.Overlap(cursor, top))
	words.Take(platform.LeaseNobody, th.Holds())
	words.Rewriting(s.rewrites.entry != 0)
	s.lease = l
	s.refresh()
	l.publish(0)
	s.hold(th)
}

// tableSpan is how much memory one page of the host's page tables is for.
const tableSpan = 2 << 20

// anchor maps a page just below cursor, if nothing above that stays shares its page
// table, and gives where that leaves the cursor. Else the host would make and free a page
// table each time that the one mapping there is comes and goes. Natively the vDSO's data
// lie there.
func (s *Space) anchor(th *platform.Thread, cursor Addr) Addr {
	page := cursor - PageSize
	for _, r := range s.regions.Overlap(cursor, page&^(tableSpan-1)+tableSpan) {
		if !r.plain() {
			return cursor
		}
	}
	const flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED | unix.MAP_POPULATE
	th.TryHostCall(unix.SYS_MMAP, page, PageSize, unix.PROT_READ, flags, ^uint64(0), 0)
	s.regions.Insert(Region{Start: page, End: cursor, Prot: unix.PROT_READ, Kind: Anchor, NoRemap: true})
	return page
}

// delegable says whether all of [start, end) could be changed by the stub.
func (s *Space) delegable(start, end Addr) bool {
	if end-start > platform.LeaseLongest {
		return false
	}
	for _, r := range s.regions.Overlap(start, end) {
		if !r.plain() {
			return false
		}
	}
	return true
}
