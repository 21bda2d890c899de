package netfilter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// TestSet_find holds sets of every kind against a list that is gone through.
func TestSet_find(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, kind := range []string{"exact", "intervals", "ranges in fields"} {
		f := New(&fakeHost{now: 1})
		b := f.Begin()
		table, _ := b.NewTable(FamilyIPv4, "t", 0, nil, false)
		s := &Set{Name: "s", KeyLen: 4}
		if kind != "exact" {
			s.Flags = SetInterval
		}
		if kind == "ranges in fields" {
			s.KeyLen, s.Fields = 8, []int{4, 2}
		}
		if err := b.AddSet(table, s, 0); err != nil {
			t.Fatal(err)
		}
		key := func(x, y int) []byte {
			k := be.AppendUint32(nil, uint32(x))
			if s.Concatenated() {
				k = append(be.AppendUint16(k, uint16(y)), 0, 0)
			}
			return k
		}
		type span struct{ from, to, from2, to2 int }
		var oracle []span
		for at := 0; at < 1000; at += 1 + r.IntN(40) {
			x := span{at, at, 0, 0}
			e := &Element{Key: key(at, 0)}
			switch kind {
			case "intervals":
				x.to = at + r.IntN(10)
				b.AddElement(s, e, false)
				e = &Element{Key: key(x.to+1, 0), Flags: ElementEnd}
				at = x.to + 1
			case "ranges in fields":
				x.to, x.from2 = at+r.IntN(100), r.IntN(50)
				x.to2 = x.from2 + r.IntN(20)
				e.Key, e.KeyEnd = key(x.from, x.from2), key(x.to, x.to2)
			}
			if err := b.AddElement(s, e, true); err != nil {
				t.Fatal(err)
			}
			oracle = append(oracle, x)
		}
		look := func() {
			t.Helper()
			for range 3000 {
				x, y := r.IntN(1100), 0
				if s.Concatenated() {
					y = r.IntN(80)
				}
				want := slices.ContainsFunc(oracle, func(o span) bool {
					return x >= o.from && x <= o.to && (!s.Concatenated() || y >= o.from2 && y <= o.to2)
				})
				if got := s.find(1, key(x, y)) != nil; got != want {
					t.Fatalf("%s: %d, %d: %v, want %v", kind, x, y, got, want)
				}
			}
		}
		look()
		// Some go, and come back.
		c := f.Begin()
		kept := s.Len()
		c.Flush(s)
		if s.Len() != 0 || s.find(1, key(oracle[0].from, oracle[0].from2)) != nil {
			t.Errorf("%s: %d elements after a flush", kind, s.Len())
		}
		if c.Abort(); s.Len() != kept {
			t.Errorf("%s: %d elements after all, %d before", kind, s.Len(), kept)
		}
		look()
		if b.Abort(); f.held != 0 {
			t.Errorf("%s: %d bytes held", kind, f.held)
		}
	}
}

// TestLimit_rate lets as many through as a bucket that is counted out.
func TestLimit_rate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		l := &Limit{Rate: 1 + r.Uint64N(100), Unit: []uint64{1, 60, 3600}[r.IntN(3)], Burst: 1 + r.Uint32N(20)}
		now, passed := int64(1e9), 0
		begin := now
		for range 2000 {
			now += r.Int64N(int64(l.Unit) * second / int64(l.Rate))
			if l.allow(now, 100) {
				passed++
			}
		}
		most := float64(l.Burst) + float64(now-begin)/float64(second)*float64(l.Rate)/float64(l.Unit)
		if float64(passed) > most+1 || float64(passed) < min(most, 1000)/2 {
			t.Errorf("%+v: %d passed, at most %.1f", l, passed, most)
		}
	}
	// Numbers that overflow do not let everything through for ever, nor panic.
	l := &Limit{Rate: 1, Unit: 1 << 32, Burst: 1<<32 - 1}
	for now := int64(1); now > 0 && now < 1<<62; now *= 3 {
		l.allow(now, 1<<16)
	}
}

func TestRecent(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var r recents
	if r.match(0, "x", a, recentUpdate, 60*second, 1) {
		t.Error("an address that nobody has seen")
	}
	for i := range int64(3) {
		if !r.match(i*second, "x", a, recentSet, 0, 0) {
			t.Error("set")
		}
	}
	for _, c := range []struct {
		now  int64
		who  netip.Addr
		hits int
		want bool
	}{{3, a, 3, true}, {3, a, 4, false}, {3, b, 1, false}, {61, a, 2, true}, {62, a, 1, true}, {63, a, 1, false}} {
		if got := r.match(c.now*second, "x", c.who, recentCheck, 60*second, c.hits); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if r.match(0, "y", a, recentCheck, 0, 0) || !r.match(0, "x", a, recentRemove, 0, 0) || r.match(0, "x", a, recentCheck, 0, 0) {
		t.Error("lists, removal")
	}
	for i := range 3 * maxAllRecent {
		r.match(int64(i), fmt.Sprint(i%1000), netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)}), recentSet, 0, 0)
	}
	if r.total > maxAllRecent {
		t.Errorf("%d addresses", r.total)
	}
}

// TestMeetings counts flows that live.
func TestMeetings(t *testing.T) {
	var m meetings
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	flows := make([]*flow, 10)
	for i := range flows {
		flows[i] = &flow{confirmed: true, expires: 100 * second}
		if n := m.meet(second, a, flows[i]); n != uint32(i+1) {
			t.Errorf("%d flows, want %d", n, i+1)
		}
		m.meet(second, a, flows[i])
	}
	if n := m.meet(second, b, &flow{confirmed: true, expires: 100 * second}); n != 1 {
		t.Errorf("%d of another address", n)
	}
	for _, f := range flows[:5] {
		f.tcp = tcpClose
	}
	if n := m.meet(second, a, &flow{confirmed: true, expires: 100 * second}); n != 6 {
		t.Errorf("%d flows are left, want 6", n)
	}
	if n := m.meet(200*second, b, &flow{confirmed: true, expires: 300 * second}); n != 1 || m.total != 1 {
		t.Errorf("%d, %d in all, after all were over", n, m.total)
	}
}
