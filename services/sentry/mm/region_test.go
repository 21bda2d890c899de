package mm

import (
	"math/rand/v2"
	"testing"
)

// oracle is the slow, obvious set: one entry a page.
type oracle map[Addr]Region

func (o oracle) insert(r Region) {
	for p := r.Start; p < r.End; p += PageSize {
		q := r
		q.Start, q.End = p, p+PageSize
		o[p] = q
	}
}

func (o oracle) equals(t *testing.T, s *Set) {
	t.Helper()
	n := 0
	for i, r := range s.list {
		if r.Start >= r.End || i > 0 && s.list[i-1].End > r.Start {
			t.Fatalf("region %d out of order: %+v", i, s.list)
		}
		if i > 0 && s.list[i-1].continues(r) {
			t.Fatalf("regions %d and %d should be one: %+v", i-1, i, s.list)
		}
		for p := r.Start; p < r.End; p += PageSize {
			if q, ok := o[p]; !ok || q.Prot != r.Prot {
				t.Fatalf("page %#x: set has %+v, oracle %+v", p, r, q)
			}
			n++
		}
	}
	if n != len(o) {
		t.Fatalf("set has %d pages, oracle %d", n, len(o))
	}
}

func (o oracle) gap(n uint64, low, high Addr) (Addr, bool) {
	for start := high - n; start >= low && start <= high; start -= PageSize {
		free := true
		for p := start; p < start+n; p += PageSize {
			if _, taken := o[p]; taken {
				free = false
				break
			}
		}
		if free {
			return start, true
		}
	}
	return 0, false
}

func TestSet_agreesWithOracle(t *testing.T) {
	const low, pages = 0x10000, 64
	rng := rand.New(rand.NewPCG(1, 2))
	var s Set
	o := oracle{}
	for range 20000 {
		start := low + rng.Uint64N(pages)*PageSize
		end := start + (1+rng.Uint64N(8))*PageSize
		switch rng.IntN(4) {
		case 0:
			r := Region{Start: start, End: end, Prot: uint8(rng.IntN(3))}
			s.Insert(r)
			o.insert(r)
		case 1:
			s.Remove(start, end)
			for p := start; p < end; p += PageSize {
				delete(o, p)
			}
		case 2:
			prot := uint8(rng.IntN(3))
			s.Update(start, end, func(r *Region) { r.Prot = prot })
			for p := start; p < end; p += PageSize {
				if r, ok := o[p]; ok {
					r.Prot = prot
					o[p] = r
				}
			}
		case 3:
			n := (1 + rng.Uint64N(12)) * PageSize
			high := Addr(low + (pages+8)*PageSize)
			got, ok := s.Gap(n, low, high)
			want, wantOK := o.gap(n, low, high)
			if got != want || ok != wantOK {
				t.Fatalf("gap of %#x: %#x %v, oracle %#x %v in %+v", n, got, ok, want, wantOK, s.list)
			}
		}
		o.equals(t, &s)
	}
}

func TestSet_fileOffsetsFollowTheSplit(t *testing.T) {
	var s Set
	f := &Backing{Ino: 7}
	s.Insert(Region{Start: 0x10000, End: 0x14000, File: f, Offset: 0x5000})
	s.Remove(0x11000, 0x12000)
	if r, ok := s.Find(0x12000); !ok || r.Offset != 0x7000 {
		t.Fatalf("%+v", s.list)
	}
	s.Insert(Region{Start: 0x11000, End: 0x12000, File: f, Offset: 0x6000})
	if len(s.list) != 1 {
		t.Fatalf("not joined: %+v", s.list)
	}
}
