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

// A change of what is covered is found out, and one of the rest is not.
func TestLite(t *testing.T) {
	src, dst := netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:2000")
	for _, c := range []struct{ coverage, covered int }{{0, 28}, {8, 8}, {13, 13}, {28, 28}, {500, 28}} {
		payload := []byte("a payload of 20 byte")
		b := make([]byte, wire.UDPSize)
		PutLite(b, src, dst, payload, c.coverage, false)
		h, covered, err := wire.ParseUDPLite(b, 28)
		if err != nil || covered != c.covered || h.SrcPort() != 1000 || h.DstPort() != 2000 {
			t.Fatalf("coverage %d: %v, %d covered", c.coverage, err, covered)
		}
		if !ValidLite(h, src.Addr(), dst.Addr(), payload, covered) {
			t.Errorf("coverage %d: not valid", c.coverage)
		}
		for i := range payload {
			payload[i] ^= 0x40
			if got, want := ValidLite(h, src.Addr(), dst.Addr(), payload, covered), i+wire.UDPSize >= covered; got != want {
				t.Errorf("coverage %d: valid %v with byte %d changed", c.coverage, got, i)
			}
			payload[i] ^= 0x40
		}
	}
	for _, b := range [][]byte{{0, 1, 0, 2, 0, 7, 0, 0}, {0, 1, 0, 2, 0, 29, 0, 0}, {0, 1, 0, 2, 0, 0, 0}} {
		if _, _, err := wire.ParseUDPLite(b, 28); err == nil {
			t.Errorf("%x is taken", b)
		}
	}
}
