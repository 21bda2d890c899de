package bridge

import (
	"math/rand"
	"testing"
)

func mac(n byte) MAC { return MAC{2, 0, 0, 0, 0, n} }

func three() (*Bridge, []*Port) {
	b := &Bridge{Ageing: DefaultAgeing, MAC: mac(100)}
	for i := range 3 {
		p := &Port{Interface: 10 + i}
		b.AddPort(p)
		b.Own(p, MAC{}, mac(byte(100+i)))
	}
	return b, b.Ports
}

func names(v Verdict) (s string) {
	for _, p := range v.Ports {
		s += string(rune('a' + p.Interface - 10))
	}
	if v.Up {
		s += "^"
	}
	return s
}

func TestFrames(t *testing.T) {
	b, p := three()
	check := func(what string, v Verdict, want string) {
		t.Helper()
		if got := names(v); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("unknown", b.Arrived(1, p[0], mac(1), mac(2)), "bc")
	check("learned", b.Arrived(2, p[1], mac(2), mac(1)), "a")
	check("back", b.Arrived(3, p[0], mac(1), mac(2)), "b")
	check("same port", b.Arrived(4, p[0], mac(3), mac(1)), "")
	check("to the bridge", b.Arrived(5, p[0], mac(1), mac(100)), "^")
	check("to a port", b.Arrived(6, p[0], mac(1), mac(101)), "^")
	check("to all", b.Arrived(7, p[0], mac(1), everybody), "bc^")
	check("a pause", b.Arrived(8, p[0], mac(1), MAC{1, 0x80, 0xc2, 0, 0, 1}), "")
	check("a tree's", b.Arrived(8, p[0], mac(1), MAC{1, 0x80, 0xc2, 0, 0, 0}), "bc^")
	check("ours to a station", b.Leaving(9, mac(2)), "b")
	check("ours to all", b.Leaving(9, everybody), "abc")
	check("moved", b.Arrived(10, p[2], mac(2), mac(1)), "a")
	check("to where it moved", b.Arrived(11, p[0], mac(1), mac(2)), "c")
	check("who pretends to be ours", b.Arrived(12, p[2], mac(101), mac(1)), "a")
	check("is not", b.Leaving(13, mac(101)), "")
	check("forgotten", b.Leaving(10+DefaultAgeing, mac(2)), "abc")

	p[0].Hairpin = true
	check("hairpin", b.Arrived(14, p[0], mac(3), mac(1)), "a")
	p[0].Isolated, p[1].Isolated = true, true
	check("isolated", b.Arrived(15, p[1], mac(4), everybody), "c^")
	p[2].NoAll = true
	check("no broadcasts", b.Arrived(16, p[1], mac(4), everybody), "^")
	p[2].NoGroups = true
	check("no groups", b.Leaving(17, MAC{1, 0, 0x5e, 0, 0, 1}), "ab")
	p[2].NoFlood = true
	check("no flood", b.Leaving(18, mac(77)), "ab")
	b.Close(p[0], true)
	check("closed", b.Leaving(19, mac(1)), "b")
	check("from a closed one", b.Arrived(20, p[0], mac(9), mac(1)), "")
	b.RemovePort(p[1])
	check("removed", b.Leaving(21, mac(4)), "")
}

func TestFixed(t *testing.T) {
	b, p := three()
	s := Station{MAC: mac(7), Port: p[2], Fixed: true}
	if err := b.Set(s, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(s, false); err != ErrExists {
		t.Error(err)
	}
	b.Arrived(1, p[0], mac(7), mac(8))
	if v := b.Leaving(1<<60, mac(7)); names(v) != "c" {
		t.Error("what was said is not unlearned:", names(v))
	}
	if err := b.Forget(mac(7), p[0]); err != ErrNone {
		t.Error(err)
	}
	if err := b.Forget(mac(7), p[2]); err != nil {
		t.Error(err)
	}
}

// A bridge that knows as many stations as it may looks for old ones now and then, not
// for every frame that comes from another; and finds them.
func TestArrived_full(t *testing.T) {
	b, p := three()
	far := func(i int) MAC { return MAC{2, 1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)} }
	const start = 10 * sweepEvery
	for i := range int64(maxStations + 10) {
		b.Arrived(start+i, p[0], far(int(i)), everybody)
	}
	swept := b.swept
	if n := len(b.Stations(start)); n != maxStations {
		t.Fatal(n, "stations")
	}
	for i := range int64(100) {
		b.Arrived(swept+sweepEvery-1-i, p[0], far(maxStations+20+int(i)), everybody)
	}
	if b.swept != swept {
		t.Error("looked again")
	}
	now := start + b.Ageing + 2*sweepEvery
	b.Arrived(now, p[1], mac(50), everybody)
	if got := names(b.Leaving(now, mac(50))); got != "b" {
		t.Errorf("behind %q, want b", got)
	}
}

// FuzzBridge has stations move about: a frame never comes back to where it came from, and
// what is known stays bounded.
func FuzzBridge(f *testing.F) {
	f.Add(int64(1), []byte("\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, seed int64, frames []byte) {
		b, p := three()
		r := rand.New(rand.NewSource(seed))
		for i, c := range frames {
			from := p[int(c)%3]
			from.Closed, from.Isolated = c&0x40 != 0, c&0x80 != 0
			var src, dst MAC
			r.Read(src[:])
			r.Read(dst[:1+r.Intn(6)])
			for _, to := range b.Arrived(int64(i), from, src, dst).Ports {
				if to == from || to.Closed {
					t.Fatal("a frame goes to where it must not")
				}
			}
		}
		for range 3 * maxStations {
			var src MAC
			r.Read(src[:])
			b.Arrived(int64(len(frames)), &Port{}, src, everybody)
		}
		if len(b.stations) > maxStations+MaxPorts {
			t.Fatal("too many stations:", len(b.stations))
		}
	})
}
