package stack

import (
	"testing"
	"time"

	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/tcp"
)

// A connection whose user wants nothing from farther away gets nothing from there: RFC
// 5082, IP_MINTTL. On the loopback everything comes with 64 hops left.
func TestMinHops(t *testing.T) {
	for _, least := range []uint8{64, 65} {
		s := newStack(t)
		l, c := s.testTCP(), s.testTCP()
		s.Do(func() {
			l.e.place.opts.MinHops = least
			if err := l.e.BindLocked(home); err != nil {
				t.Fatal(err)
			}
			if err := l.e.ListenLocked(1); err != nil {
				t.Fatal(err)
			}
			if err := c.e.ConnectLocked(home); err != nil {
				t.Fatal(err)
			}
		})
		if got := len(l.accepted) == 1; got != (least == 64) {
			t.Errorf("%d hops at least: accepted: %v", least, got)
		}
		if dropped := s.counts.Get(mib.MinTTLDrop); (dropped == 0) != (least == 64) {
			t.Errorf("%d hops at least: %d dropped", least, dropped)
		}
	}
}

// What has brought nothing yet is not announced, for so long; then it is.
func TestDeferAccept(t *testing.T) {
	s := newStack(t)
	l, c, idle := s.testTCP(), s.testTCP(), s.testTCP()
	s.Do(func() {
		l.e.place.opts.DeferAccept = 50 * tcp.Millisecond
		if err := l.e.BindLocked(home); err != nil {
			t.Fatal(err)
		}
		if err := l.e.ListenLocked(4); err != nil {
			t.Fatal(err)
		}
		for _, u := range []*user{c, idle} {
			if err := u.e.ConnectLocked(home); err != nil {
				t.Fatal(err)
			}
		}
	})
	accepted := func() (n int) {
		s.Do(func() { n = len(l.accepted) })
		return n
	}
	if n := accepted(); n != 0 {
		t.Errorf("%d are announced without data", n)
	}
	s.Do(func() {
		c.out = append(c.out, "data"...)
		c.e.KickLocked()
	})
	if n := accepted(); n != 1 {
		t.Errorf("%d are announced with data of one", n)
	}
	for range 4000 {
		if accepted() == 2 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the other is never announced")
}
