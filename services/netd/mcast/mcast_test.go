package mcast

import (
	"net/netip"
	"testing"
)

var (
	group4 = netip.MustParseAddr("239.1.2.3")
	group6 = netip.MustParseAddr("ff05::5")
)

func host() *Host { return &Host{Random: func(n int64) int64 { return n / 2 }} }

// RFC 3376, 5.1: a change is told twice, then queries are answered.
func TestJoinQueryLeave(t *testing.T) {
	h := host()
	h.Join(0, group4)
	told := 0
	for now := Time(0); h.Deadline() != Never; now = h.Deadline() {
		for _, r := range h.Poll(now) {
			if r.Kind != Joined || r.As != 3 || r.Group != group4 {
				t.Errorf("%+v", r)
			}
			told++
		}
	}
	if told != robustness {
		t.Error("told", told, "times")
	}
	now := 100 * Second
	h.Heard(now, Query{Response: 8 * Second, As: 3})
	if h.Deadline() != now+4*Second+1 || len(h.Poll(now)) != 0 {
		t.Error("answers at", h.Deadline())
	}
	if out := h.Poll(h.Deadline()); len(out) != 1 || out[0].Kind != Present {
		t.Errorf("%+v", out)
	}
	h.Heard(now, Query{Group: netip.MustParseAddr("239.9.9.9"), Response: Second, As: 3})
	if h.Deadline() != Never {
		t.Error("another's group is answered for")
	}
	h.Leave(now, group4)
	told = 0
	for ; h.Deadline() != Never; now = h.Deadline() {
		told += len(h.Poll(now))
	}
	if told != robustness || len(h.groups) != 0 {
		t.Error("left", told, len(h.groups))
	}
}

// RFC 3376, 7.2.1: an older querier is spoken to in its version, for a time.
func TestOlderQuerier(t *testing.T) {
	h := host()
	h.Heard(0, Query{Response: Second, As: 2})
	h.Join(Second, group4)
	if out := h.Poll(Second); len(out) != 1 || out[0].As != 2 {
		t.Fatalf("%+v", out)
	}
	h.Heard(2*Second, Query{Response: 8 * Second, As: 2})
	h.Poll(3 * Second)
	h.Heard(4*Second, Query{Group: group4, Response: 8 * Second, As: 2})
	h.Overheard(5*Second, group4)
	h.general = 0
	if h.Deadline() != Never {
		t.Error("another's report does not save ours:", h.Deadline())
	}
	if h.as(500*Second) != 3 {
		t.Error("the old querier is not forgotten")
	}
}

func TestMessages(t *testing.T) {
	for _, g := range []netip.Addr{group4, group6} {
		for as := Version(1); as <= 3; as++ {
			for _, k := range []Kind{Present, Joined, Left} {
				dst, b := Report{g, k, as}.Put()
				if !dst.IsMulticast() || dst.Is4() != g.Is4() || len(b)%4 != 0 {
					t.Error(dst, b)
				}
				var r netip.Addr
				if g.Is4() {
					_, r, _ = ParseIGMP(b)
				} else {
					_, r, _ = ParseMLD(b[0], b[4:])
				}
				if as < 3 && k != Left && r != g {
					t.Error("our own report is not read:", g, as, k)
				}
			}
		}
	}
	if q, _, err := ParseIGMP([]byte{0x11, 0x8f, 0, 0, 239, 1, 2, 3, 2, 125, 0, 0}); err != nil || q.As != 3 || q.Group != group4 || q.Response != 24800*Second/1000*1 {
		t.Errorf("%+v %v", q, err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte{0x11, 100, 0, 0, 239, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		h := host()
		h.Join(0, group4)
		if q, r, err := ParseIGMP(b); err == nil {
			h.Heard(0, q)
			h.Overheard(0, r)
		}
		if len(b) > 4 {
			if q, r, err := ParseMLD(b[0], b[4:]); err == nil {
				h.Heard(0, q)
				h.Overheard(0, r)
			}
		}
		for now, i := Time(0), 0; h.Deadline() != Never; now, i = max(now, h.Deadline()), i+1 {
			if h.Poll(now); i > 10 {
				t.Fatal("it does not settle")
			}
		}
	})
}
