package udp

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/wire"
)

func TestChecksum(t *testing.T) {
	for _, a := range []string{"10.0.0.1", "2001:db8::1"} {
		src, dst := netip.AddrPortFrom(netip.MustParseAddr(a), 1), netip.AddrPortFrom(netip.MustParseAddr(a).Next(), 2)
		for n := 0; n < 9; n++ {
			p := make([]byte, n)
			var b [8]byte
			Put(b[:], src, dst, p, false)
			if !Valid(wire.UDP(b[:]), src.Addr(), dst.Addr(), p) {
				t.Errorf("%s, %d bytes: wrong", a, n)
			}
			b[1] ^= 1
			if Valid(wire.UDP(b[:]), src.Addr(), dst.Addr(), p) {
				t.Errorf("%s, %d bytes: a changed port passed", a, n)
			}
		}
	}
}

func TestScore(t *testing.T) {
	src := netip.MustParseAddrPort("127.0.0.1:9")
	dst := netip.MustParseAddr("127.0.0.1")
	any4, any46 := Receiver{V4: true}, Receiver{V4: true, V6: true}
	bound := Receiver{V4: true, Local: dst}
	connected := Receiver{V4: true, Local: dst, Remote: src}
	other := Receiver{V4: true, Remote: netip.MustParseAddrPort("127.0.0.1:8")}
	six := Receiver{V6: true}
	if other.Score(src, dst) != 0 || six.Score(src, dst) != 0 {
		t.Error("a receiver that does not want it")
	}
	last := 0
	for i, r := range []Receiver{any46, any4, bound, connected} {
		if s := r.Score(src, dst); s <= last {
			t.Error(i, s)
		} else {
			last = s
		}
	}
}
