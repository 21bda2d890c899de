package mm

import (
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/platform"
)

const (
	testTop    = 0x7000_0000_0000
	testCursor = testTop - 64*PageSize
	testLibs   = testTop - 16*PageSize
	protRW     = unix.PROT_READ | unix.PROT_WRITE
)

// leasedSpace is a space with a library below testTop, memory of the stub's below it,
// and a lease over both that no guest has but the test.
func leasedSpace() *Space {
	s := New()
	s.top = testTop
	s.regions.Insert(Region{Start: testTop - 16*PageSize, End: testTop, Prot: protRX, File: &Backing{Name: "lib"}})
	s.regions.Insert(Region{Start: testCursor, End: testCursor + 32*PageSize, Prot: protRW})
	l := &lease{Lease: platform.SelfLease(), low: testTop - platform.LeaseSpan, top: testTop}
	l.note(0, 64, s.regions.Overlap(testCursor, testTop))
	s.lease = l
	l.publish(0)
	s.regions.Changed()
	return s
}

// stub is what the stub does to a lease, as far as the sentry sees it.
type stub struct{ *lease }

func (u stub) index(addr Addr) int { return int((u.top-addr)/PageSize) - 1 }

// fill notes n pages from addr up.
func (u stub) fill(addr Addr, n int, b byte) {
	p := u.Bytes(uint64(u.index(addr) + 1))
	for i := range n {
		p[u.index(addr)-i] = b
	}
}

func (u stub) mmap(n int, prot byte) Addr {
	addr := u.Claims() - uint64(n)*PageSize
	u.Set(u.low, addr, u.top)
	u.fill(addr, n, platform.LeaseMapped|prot)
	return addr
}

func (u stub) munmap(addr Addr, n int) {
	u.fill(addr, n, platform.LeaseFree)
	if addr != u.Claims() {
		return
	}
	p := u.Bytes(uint64(u.index(addr) + 1))
	k := len(p)
	for k > 0 && p[k-1] == platform.LeaseFree {
		k--
	}
	u.Set(u.low, u.page(k-1), u.top)
}

// TestLease_catchesUp has the stub map, unmap and protect at random, and the list of
// regions say the same as a slow one, every now and then.
func TestLease_catchesUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := leasedSpace()
	u, o := stub{s.lease}, oracle{}
	for _, g := range s.regions.All() {
		o.insert(g)
	}
	mapped := func(prot byte) (at []Addr) {
		for a, g := range o {
			if g.plain() && a >= u.Claims() {
				at = append(at, a)
			}
		}
		slices.Sort(at)
		return at
	}
	for i := range 4000 {
		prot := byte(r.Uint32N(8))
		switch at := mapped(prot); {
		case r.Uint32N(3) == 0 && len(at) < 900 || len(at) == 0:
			n := 1 + r.IntN(40)
			a := u.mmap(n, prot)
			o.insert(Region{Start: a, End: a + uint64(n)*PageSize, Prot: prot})
		default:
			a := at[r.IntN(len(at))]
			n := 1
			for n < 30 && o[a+uint64(n)*PageSize].plain() && o[a+uint64(n)*PageSize].End != 0 {
				n++
			}
			n = 1 + r.IntN(n)
			if r.Uint32N(2) == 0 {
				u.munmap(a, n)
				for k := range n {
					delete(o, a+uint64(k)*PageSize)
				}
			} else {
				u.fill(a, n, platform.LeaseMapped|prot)
				o.insert(Region{Start: a, End: a + uint64(n)*PageSize, Prot: prot})
			}
		}
		if i%7 == 0 {
			s.look()
			o.equals(t, &s.regions)
			s.mu.Unlock()
		}
	}
	if s.lease.Holder() != platform.LeaseNobody {
		t.Fatal("the lock is still held")
	}
}

// TestLease_tells has the sentry change what is leased, and the stub know it.
func TestLease_tells(t *testing.T) {
	s := leasedSpace()
	u := stub{s.lease}
	at := func(addr Addr) byte { return u.Bytes(uint64(u.index(addr) + 1))[u.index(addr)] }
	u.mmap(16, protRW) // down to page 80
	s.acquire(true)

	s.regions.Insert(Region{Start: testCursor, End: testCursor + PageSize, Prot: unix.PROT_READ, File: &Backing{}})
	s.tell()
	if got := at(testCursor); got != platform.LeaseForeign {
		t.Errorf("a file's page is %#x", got)
	}
	s.regions.Remove(testCursor-16*PageSize, testCursor-8*PageSize)
	s.tell()
	if got := u.Claims(); got != testCursor-8*PageSize {
		t.Errorf("the lowest eight are gone, and the cursor is at %#x", got)
	}
	s.regions.Update(testCursor+PageSize, testCursor+3*PageSize, func(r *Region) { r.Prot = unix.PROT_EXEC })
	s.tell()
	if a, b := at(testCursor+PageSize), at(testCursor+3*PageSize); a != platform.LeaseMapped|unix.PROT_EXEC || b != platform.LeaseMapped|protRW {
		t.Errorf("the protected page is %#x, and the next %#x", a, b)
	}
	// A hint far below takes away what is below it, and one at the cursor moves that.
	far := testCursor - uint64(4096*PageSize)
	s.regions.Insert(Region{Start: far, End: far + PageSize, Prot: protRW})
	s.tell()
	if s.lease.low != far+PageSize || u.Claims() != testCursor-8*PageSize {
		t.Errorf("after a mapping far below the lease begins at %#x, the cursor is at %#x", s.lease.low, u.Claims())
	}
	s.regions.Insert(Region{Start: testCursor - 10*PageSize, End: testCursor - 8*PageSize, Prot: protRW, Shared: true})
	s.tell()
	if u.Claims() != testCursor-10*PageSize || at(testCursor-9*PageSize) != platform.LeaseForeign {
		t.Errorf("after one at the cursor that is at %#x", u.Claims())
	}
	if addr, ok := s.gap(PageSize, platform.GuestBottom, testTop); !ok || addr >= s.lease.low {
		t.Errorf("others go to %#x, into the lease", addr)
	}
	if addr, ok := s.carve(4096 * PageSize); ok {
		t.Errorf("%#x has no room", addr)
	}
	s.dropLease()
	if addr, ok := s.gap(PageSize, platform.GuestBottom, testTop); !ok || addr != testTop-17*PageSize {
		t.Errorf("without a lease the next goes to %#x", addr)
	}
}

// TestLease_keptLock: a guest that keeps the lock for itself makes those who look wait
// once, and those who want the lease's end not at all after it.
func TestLease_keptLock(t *testing.T) {
	s := leasedSpace()
	s.lease.Take(platform.LeaseNobody, 77)
	if got := s.Size(); got != 48*PageSize {
		t.Errorf("%d bytes", got)
	}
	if !s.stuck {
		t.Fatal("nobody has waited for it")
	}
	for range 1000 {
		s.Regions()
	}
	s.StopDelegating()
	if s.lease == nil || !s.lease.closed {
		t.Fatal("the lease ended while the stub might be noting something")
	}
	s.lease.Take(77, platform.LeaseNobody)
	s.StopDelegating()
	if s.lease != nil {
		t.Fatal("the lease does not end")
	}
}

// TestLease_anchor: what stays beside a lease keeps its page table, and if nothing does,
// a page that the guest does not see.
func TestLease_anchor(t *testing.T) {
	th := platform.NewSelf()
	s := New()
	s.regions.Insert(Region{Start: testTop - PageSize, End: testTop, Prot: protRW}) // may go at any time
	if got := s.anchor(th, testTop-PageSize); got != testTop-2*PageSize {
		t.Fatalf("cursor %#x", got)
	}
	if r, ok := s.Find(testTop - 2*PageSize); !ok || r.Kind != Anchor || r.plain() {
		t.Errorf("no anchor: %+v", r)
	}
	if all := s.Regions(); len(all) != 1 || s.taken(testTop-2*PageSize, testTop-PageSize) {
		t.Errorf("the guest sees it: %+v", all)
	}
	if got := s.anchor(th, testTop-2*PageSize); got != testTop-2*PageSize {
		t.Errorf("another one, and the cursor %#x", got)
	}
	if got := s.anchor(th, testTop-tableSpan); got != testTop-tableSpan-PageSize {
		t.Errorf("none for another page table: cursor %#x", got)
	}
}

// FuzzLease writes what a guest might write, over and over: the list stays in order,
// within the guest's memory, and what is the sentry's stays as it was.
func FuzzLease(f *testing.F) {
	f.Add([]byte("\x0a\x0b\x00\xff\x80\x08"), int64(2), uint32(0))
	f.Add([]byte("\x80\x80\x80"), int64(-40), uint32(1))
	f.Add([]byte{}, int64(1)<<62, uint32(0x8000_0000))
	f.Fuzz(func(t *testing.T, writes []byte, move int64, lock uint32) {
		s := leasedSpace()
		s.stuck = true // so that nobody waits
		l := s.lease
		for i := 0; i < min(len(writes), 36); i += 3 {
			w := writes[i:min(i+3, len(writes))]
			cursor := l.Claims() + uint64(move)*PageSize
			if len(w) == 3 && w[2]&1 != 0 {
				cursor ^= uint64(move)
			}
			l.Set(uint64(move), cursor, uint64(lock))
			p := l.Bytes(2048)
			at := int(w[0]) * 8
			for k := range p[at : at+8] {
				p[at+k] = w[len(w)-1] + byte(k)*w[len(w)/2]
			}
			for i, b := range writes {
				at := []uint64{testTop, testLibs, testCursor, l.low, uint64(move)}[int(b>>4)%5] + uint64(b)*PageSize
				l.Logs(i%platform.LeaseLogSize, at+uint64(b>>1), at+uint64(w[0])*PageSize+uint64(b&1)*uint64(move), uint32(len(writes)))
			}
			l.Take(l.Holder(), platform.LeaseHolder(lock))
			inOrder(t, s)
			l.Take(l.Holder(), platform.LeaseNobody)
			inOrder(t, s)
		}
	})
}

// inOrder checks the list of a leasedSpace, as it is when somebody looks.
func inOrder(t *testing.T, s *Space) {
	t.Helper()
	end := uint64(0)
	for _, r := range s.Regions() {
		if r.Start < end || r.End <= r.Start || r.Start < platform.GuestBottom || r.End > GuestTop || r.Start%PageSize != 0 || r.End%PageSize != 0 || r.Prot > 7 {
			t.Fatalf("%+v", s.regions.list)
		}
		end = r.End
	}
	if lib, ok := s.Find(testTop - PageSize); !ok || lib.File == nil || lib.Len() != 16*PageSize || lib.Prot != protRX {
		t.Fatalf("the library became %+v", lib)
	}
}
