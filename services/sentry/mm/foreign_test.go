package mm

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/platform"
)

const testReserve = 0x3000_0000_0000

// log has the stub log a change outside of the stretch.
func (u stub) log(i int, call uint64, start, end Addr, prot uint8) {
	u.Logs(i, start|uint64(prot)<<4|call, end, uint32(i+1))
}

// TestForeign_replays has the stub change a reservation at random, and the list of regions
// say the same as a slow one, with a file's pages and locked ones in between.
func TestForeign_replays(t *testing.T) {
	const pages = 200
	r := rand.New(rand.NewPCG(3, 4))
	s := leasedSpace()
	u, o := stub{s.lease}, oracle{}
	whole := Region{Start: testReserve, End: testReserve + pages*PageSize, Prot: unix.PROT_NONE, Name: "reserved"}
	file := Region{Start: testReserve + 90*PageSize, End: testReserve + 93*PageSize, Prot: protRX, File: &Backing{Name: "f"}}
	locked := Region{Start: testReserve + 150*PageSize, End: testReserve + 151*PageSize, Prot: protRW, Locked: true}
	for _, g := range []Region{whole, file, locked} {
		s.regions.Insert(g)
	}
	for _, g := range s.regions.All() {
		o.insert(g)
	}
	for range 300 {
		n := 1 + r.IntN(platform.LeaseLogSize)
		for i := range n {
			from := r.IntN(pages)
			start, end := testReserve+uint64(from)*PageSize, testReserve+uint64(from+1+r.IntN(min(20, pages-from)))*PageSize
			call, prot := []uint64{unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT}[r.IntN(3)], uint8(r.UintN(8))
			u.log(i, call, start, end, prot)
			if start < file.End && file.Start < end || start < locked.End && locked.Start < end {
				continue // a guest made it up
			}
			for p := start; p < end; p += PageSize {
				g, there := o[p]
				switch {
				case call == unix.SYS_MUNMAP:
					delete(o, p)
				case call == unix.SYS_MMAP:
					o.insert(Region{Start: p, End: p + PageSize, Prot: prot})
				case there:
					g.Prot = prot
					o[p] = g
				}
			}
		}
		s.look()
		o.equals(t, &s.regions)
		s.mu.Unlock()
	}
	if start, end := s.regions.Changed(); start != 0 && end-start != whole.Len() {
		t.Errorf("the stub would be told of [%#x, %#x), which it did itself", start, end)
	}
}

// TestForeign_spans: all that is foreign is in one of few spans, and what is told later, too.
func TestForeign_spans(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		s := leasedSpace()
		s.acquire(true)
		check := func(what string) {
			t.Helper()
			spans := s.lease.spans
			if len(spans) > platform.LeaseForeigns {
				t.Fatalf("%s: %d spans", what, len(spans))
			}
			for i, f := range spans {
				if f.start >= f.end || i > 0 && f.start <= spans[i-1].end {
					t.Fatalf("%s: out of order: %x", what, spans)
				}
			}
			for _, g := range s.regions.All() {
				if !g.own() && !s.lease.inSpan(g.Start, g.End) {
					t.Fatalf("%s: %#x is in none of %x", what, g.Start, spans)
				}
			}
		}
		for range r.IntN(100) {
			at := testReserve + r.Uint64N(1<<20)*PageSize
			g := Region{Start: at, End: at + (1+r.Uint64N(50))*PageSize, Prot: protRW}
			if r.IntN(2) == 0 {
				g.Shared = true
			}
			s.regions.Insert(g)
		}
		s.regions.Changed()
		s.refresh()
		check("anew")
		for range 20 {
			at := testReserve + r.Uint64N(1<<20)*PageSize
			s.regions.Insert(Region{Start: at, End: at + PageSize, Prot: protRW, Sealed: true})
			s.tell()
			check("told")
		}
	}
	a, b, far := span{10, 20}, span{30, 40}, span{1000, 1010}
	if got := fewer([]span{far, b, a}, 2); len(got) != 2 || got[0] != (span{10, 40}) || got[1] != far {
		t.Errorf("the smallest gap was not closed: %v", got)
	}
}

// TestForeign_tooMany: who has very many regions asks about each change, and whose log
// says more is not believed.
func TestForeign_tooMany(t *testing.T) {
	s := leasedSpace()
	u := stub{s.lease}
	s.acquire(true)
	for i := range uint64(mostRegions) {
		at := testReserve + 2*i*PageSize
		s.regions.Insert(Region{Start: at, End: at + PageSize, Prot: protRW})
	}
	s.tell()
	if !s.lease.shut || !s.lease.inSpan(0, GuestTop) {
		t.Fatal("the stub may still do it")
	}
	before := len(s.regions.All())
	s.lease.Take(platform.LeaseReader, platform.LeaseNobody)
	u.log(0, unix.SYS_MMAP, testReserve-4*PageSize, testReserve-3*PageSize, protRW)
	if got := len(s.Regions()); got != before {
		t.Errorf("%d regions became %d", before, got)
	}
	s.acquire(true)
	s.regions.Remove(testReserve, testReserve+2*mostRegions*PageSize)
	s.tell()
	if s.lease.shut {
		t.Error("it is never asked less again")
	}
}
