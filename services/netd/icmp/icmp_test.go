package icmp

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/wire"
)

func TestErrorsRoundTrip(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, p := range []Problem{PortUnreachable, HostUnreachable} {
			var b [wire.ICMPSize]byte
			h := ErrorHeader(v6, p)
			h.Put(b[:])
			if got, ok := ProblemOf(v6, b[:]); !ok || got != p {
				t.Errorf("v6 %v problem %d: %d %v", v6, p, got, ok)
			}
		}
	}
}

func TestParseQuoted(t *testing.T) {
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var b [28]byte
	(&wire.IPv4Header{PayloadLen: 5000, Protocol: wire.ProtoUDP, Src: src, Dst: dst}).Put(b[:])
	(&wire.UDPHeader{SrcPort: 7, DstPort: 9, PayloadLen: 4992}).Put(b[20:])
	q, ok := ParseQuoted(false, b[:])
	if !ok || q.Src != netip.AddrPortFrom(src, 7) || q.Dst != netip.AddrPortFrom(dst, 9) {
		t.Errorf("%+v %v", q, ok)
	}
	if _, ok := ParseQuoted(false, b[:27]); ok {
		t.Error("a quote that is too short")
	}
}

func TestLimiter(t *testing.T) {
	l := Limiter{PerSecond: 10, Burst: 2}
	n := 0
	for now := int64(0); now < 1e9; now += 1e6 {
		if l.Allow(now) {
			n++
		}
	}
	if n != 11 {
		t.Error(n)
	}
}

func FuzzParseQuoted(f *testing.F) {
	f.Add(true, make([]byte, 60))
	f.Fuzz(func(t *testing.T, v6 bool, b []byte) { ParseQuoted(v6, b) })
}
