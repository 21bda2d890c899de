package neigh

import (
	"net/netip"
	"testing"
)

var (
	peer = netip.MustParseAddr("10.0.0.9")
	mac1 = [6]byte{2, 0, 0, 0, 0, 1}
	mac2 = [6]byte{2, 0, 0, 0, 0, 2}
)

func state(c *Cache[int], a netip.Addr) State {
	if e := c.entries[a]; e != nil {
		return e.State
	}
	return 0
}

// RFC 4861, 7.2.2: three solicitations, then failure; what waited comes back.
func TestResolve_silenceFails(t *testing.T) {
	var c Cache[int]
	if _, ok := c.Resolve(0, peer, 7); ok {
		t.Fatal("resolved out of nothing")
	}
	asked, now := 0, Time(0)
	for state(&c, peer) == Incomplete {
		for _, e := range c.Poll(now) {
			if e.Kind == Solicit {
				asked++
			}
		}
		now = c.Deadline()
		if now == Never {
			t.Fatal("it sleeps")
		}
		ev := c.Poll(now)
		for _, e := range ev {
			switch e.Kind {
			case Solicit:
				asked++
			case Fail:
				if len(e.Pending) != 1 || e.Pending[0] != 7 {
					t.Error("what waited:", e.Pending)
				}
			}
		}
	}
	if asked != 3 || now != 3*Second || state(&c, peer) != Failed {
		t.Error(asked, now, state(&c, peer))
	}
	c.Resolve(now+failedFor, peer, 8)
	if state(&c, peer) != Incomplete {
		t.Error("no new attempt")
	}
}

// The way round: answered, aged, used, probed, answered.
func TestResolve_life(t *testing.T) {
	var c Cache[int]
	c.Resolve(0, peer, 1)
	c.Resolve(0, peer, 2)
	c.Poll(0)
	c.Answered(Second, peer, Answer{MAC: mac1, HasMAC: true, Solicited: true})
	if ev := c.Poll(Second); len(ev) != 1 || ev[0].Kind != Release || ev[0].MAC != mac1 || len(ev[0].Pending) != 2 {
		t.Fatalf("%+v", ev)
	}
	now := Second + reachableFor
	if m, ok := c.Resolve(now, peer, 3); !ok || m != mac1 || state(&c, peer) != Delay {
		t.Fatal(m, ok, state(&c, peer))
	}
	now += delayFirst
	if ev := c.Poll(now); len(ev) != 1 || !ev[0].Unicast || state(&c, peer) != Probe {
		t.Fatalf("%+v %v", ev, state(&c, peer))
	}
	c.Answered(now, peer, Answer{MAC: mac2, HasMAC: true, Solicited: true})
	if m, _ := c.Resolve(now, peer, 3); m != mac1 {
		t.Error("without Override another address is not taken")
	}
	c.Answered(now, peer, Answer{MAC: mac2, HasMAC: true, Solicited: true, Override: true})
	if m, _ := c.Resolve(now, peer, 3); m != mac2 || state(&c, peer) != Reachable {
		t.Error(m, state(&c, peer))
	}
}

func TestUnaskedAnswersChangeNothing(t *testing.T) {
	var c Cache[int]
	c.Answered(0, peer, Answer{MAC: mac1, HasMAC: true, Solicited: true, Override: true})
	c.Heard(0, peer, mac1, false)
	if len(c.entries) != 0 {
		t.Error("learnt")
	}
	c.Set(0, peer, mac1)
	c.Answered(0, peer, Answer{MAC: mac2, HasMAC: true, Override: true})
	c.Heard(0, peer, mac2, true)
	if m, ok := c.Resolve(0, peer, 1); !ok || m != mac1 {
		t.Error("a permanent entry changed")
	}
}

func TestBounds(t *testing.T) {
	var c Cache[int]
	a := netip.MustParseAddr("10.1.0.0")
	for i := range 3 * maxEntries {
		c.Resolve(Time(i), a, i)
		a = a.Next()
	}
	if len(c.entries) > maxEntries || c.waiting > maxPendingAll {
		t.Error(len(c.entries), c.waiting)
	}
}

func FuzzCache(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Cache[int]
		now, sent, back := Time(0), 0, 0
		for i := 0; i+1 < len(b); i += 2 {
			a := netip.AddrFrom4([4]byte{10, 0, 0, b[i] >> 4})
			m := [6]byte{2, b[i+1] & 3}
			switch b[i] & 7 {
			case 0, 1, 2:
				if _, ok := c.Resolve(now, a, i); !ok {
					sent++
				}
			case 3:
				c.Answered(now, a, Answer{m, b[i+1]&4 != 0, b[i+1]&8 != 0, b[i+1]&16 != 0, b[i+1]&32 != 0})
			case 4:
				c.Heard(now, a, m, b[i+1]&4 != 0)
			case 5:
				c.Delete(a)
			case 6:
				c.Confirm(now, a)
			case 7:
				now += Time(b[i+1]) * Second / 8
			}
			for _, e := range c.Poll(now) {
				back += len(e.Pending)
			}
			if d := c.Deadline(); d <= now {
				t.Fatal("a deadline in the past is left")
			}
		}
		if c.waiting < 0 || c.waiting > sent || back > sent {
			t.Fatal(c.waiting, back, sent)
		}
	})
}
