package wire

import (
	"encoding/hex"
	"math/rand"
	"net/netip"
	"reflect"
	"testing"
)

var (
	a4, b4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")
	a6, b6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::2")
)

// slowSum is RFC 1071 word by word.
func slowSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return ^uint16(sum)
}

func TestSumAgainstWordByWord(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for n := 0; n < 300; n++ {
		b := make([]byte, n)
		rnd.Read(b)
		want, got := slowSum(b), Fold(Sum(0, b))
		if got != want && !(got|want == 0xffff && got&want == 0) {
			t.Fatalf("%d bytes: %04x, want %04x", n, got, want)
		}
		if cut := n / 2 &^ 1; Fold(Sum(Sum(0, b[:cut]), b[cut:])) != got {
			t.Fatalf("%d bytes in two pieces differ", n)
		}
	}
	big := make([]byte, 65535)
	for i := range big {
		big[i] = 0xff
	}
	if got := Fold(Sum(0, big)); got != slowSum(big) {
		t.Fatalf("all ones: %04x, want %04x", got, slowSum(big))
	}
}

func TestIPv4RoundTrip(t *testing.T) {
	want := IPv4Header{TOS: 0x10, PayloadLen: 100, ID: 7, DontFragment: true, FragmentOffset: 64, TTL: 3, Protocol: ProtoUDP, Src: a4, Dst: b4}
	var b [IPv4Size]byte
	want.Put(b[:])
	h, err := ParseIPv4(b[:], 120)
	if err != nil {
		t.Fatal(err)
	}
	got := IPv4Header{h.TOS(), h.PayloadLen(), h.ID(), h.DontFragment(), h.MoreFragments(), h.FragmentOffset(), h.TTL(), h.Protocol(), h.Src(), h.Dst()}
	if got != want {
		t.Fatalf("got %+v", got)
	}
	for name, c := range map[string]struct {
		at   int
		v    byte
		size int
		want error
	}{
		"cut off payload":    {1, 0x10, 119, ErrLength},
		"version":            {0, 0x65, 120, ErrVersion},
		"short header":       {0, 0x44, 120, ErrShort},
		"options cut off":    {0, 0x46, 120, ErrShort},
		"checksum":           {8, 4, 120, ErrChecksum},
		"total below header": {3, 4, 120, ErrLength},
	} {
		bad := b
		bad[c.at] = c.v
		if _, err := ParseIPv4(bad[:], c.size); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestIPv6RoundTrip(t *testing.T) {
	want := IPv6Header{0xab, 0x12345, 9, ProtoTCP, 64, a6, b6}
	var b [IPv6Size]byte
	want.Put(b[:])
	h, err := ParseIPv6(b[:], 49)
	if err != nil {
		t.Fatal(err)
	}
	got := IPv6Header{h.TrafficClass(), h.FlowLabel(), h.PayloadLen(), h.NextHeader(), h.HopLimit(), h.Src(), h.Dst()}
	if got != want {
		t.Fatalf("got %+v", got)
	}
	if _, err := ParseIPv6(b[:], 48); err != ErrLength {
		t.Fatal(err)
	}
}

func TestExtensionsWalk(t *testing.T) {
	b := []byte{ProtoDestOpts, 0, 0, 0, 0, 0, 0, 0, ProtoTCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99}
	if p, n, err := Extensions(ProtoHopByHop, b); p != ProtoTCP || n != 24 || err != nil {
		t.Fatal(p, n, err)
	}
	if _, _, err := Extensions(ProtoHopByHop, b[:20]); err != ErrShort {
		t.Fatal(err)
	}
	if _, _, err := Extensions(ProtoHopByHop, make([]byte, 100)); err != ErrLength {
		t.Fatal("an endless chain:", err)
	}
}

func TestTCPRoundTrip(t *testing.T) {
	full := TCPOptions{MSS: 1460, WindowScale: 7, SACKPermitted: true, Timestamps: true, TSVal: 1, TSEcr: 2}
	sacks := TCPOptions{WindowScale: -1, Timestamps: true, TSVal: 3, SACKBlocks: 3, SACK: [4]SACKBlock{{1, 2}, {3, 4}, {5, 6}}}
	for _, o := range []TCPOptions{{WindowScale: -1}, full, sacks, {MSS: 9, WindowScale: 0, SACKPermitted: true},
		{WindowScale: -1, SACKBlocks: 4, SACK: [4]SACKBlock{{1, 2}, {3, 4}, {5, 6}, {7, 8}}}} {
		want := TCPHeader{80, 1234, 0xdeadbeef, 0xfeedface, SYN | ACK, 777, 5, o}
		b := make([]byte, want.Size())
		if len(b) > MaxTCPSize {
			t.Fatalf("%+v takes %d bytes", o, len(b))
		}
		want.Put(b)
		h, err := ParseTCP(b, len(b))
		if err != nil {
			t.Fatal(err)
		}
		got := TCPHeader{h.SrcPort(), h.DstPort(), h.Seq(), h.Ack(), h.Flags(), h.Window(), h.Urgent(), h.Options()}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v\nin %s", got, want, hex.EncodeToString(b))
		}
	}
}

func TestUDPARPEthernetICMPRoundTrip(t *testing.T) {
	var b [64]byte
	u := UDPHeader{53, 99, 12}
	u.Put(b[:])
	if h, err := ParseUDP(b[:], 20); err != nil || (UDPHeader{h.SrcPort(), h.DstPort(), h.PayloadLen()}) != u {
		t.Error("udp", err)
	}
	if _, err := ParseUDP(b[:], 19); err != ErrLength {
		t.Error("udp longer than its packet:", err)
	}
	e := EthernetHeader{Broadcast, MAC{2, 1}, EtherARP}
	e.Put(b[:])
	if h, err := ParseEthernet(b[:]); err != nil || (EthernetHeader{h.Dst(), h.Src(), h.Type()}) != e {
		t.Error("ethernet", err)
	}
	a := ARPPacket{ARPReply, MAC{1}, MAC{2}, a4, b4}
	a.Put(b[:])
	if h, err := ParseARP(b[:]); err != nil || (ARPPacket{h.Op(), h.SenderMAC(), h.TargetMAC(), h.SenderIP(), h.TargetIP()}) != a {
		t.Error("arp", err)
	}
	i := ICMPHeader{ICMPEchoRequest, 0, 5<<16 | 6}
	i.Put(b[:])
	h, err := ParseICMP(b[:])
	if err != nil || h.Type() != ICMPEchoRequest || h.ID() != 5 || h.Seq() != 6 {
		t.Error("icmp", err)
	}
	for _, v6 := range []bool{false, true} {
		h.PutChecksum(0)
		h.PutChecksum(ICMPSum(v6, a6, b6, h, []byte("payload")))
		if ICMPSum(v6, a6, b6, h, []byte("payload")) != 0 {
			t.Error("checksum does not verify", v6)
		}
	}
}

// FuzzParse gives every parser the same bytes; what they accept must be readable
// in full.
func FuzzParse(f *testing.F) {
	var b [60]byte
	(&IPv4Header{PayloadLen: 40, Protocol: ProtoTCP, Src: a4, Dst: b4}).Put(b[:])
	(&TCPHeader{Options: TCPOptions{WindowScale: 3, MSS: 5}}).Put(b[20:])
	f.Add(b[:], uint16(60))
	(&IPv6Header{PayloadLen: 20, NextHeader: ProtoHopByHop, Src: a6, Dst: b6}).Put(b[:])
	f.Add(b[:], uint16(60))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		n := int(size)
		if h, err := ParseIPv4(b, n); err == nil {
			if h.PayloadLen() < 0 || h.TotalLen() > n || len(h.Options()) > 40 {
				t.Fatal("ipv4 lengths")
			}
			h.Src()
			h.Dst()
		}
		if h, err := ParseIPv6(b, n); err == nil {
			h.Dst()
			if proto, k, err := Extensions(h.NextHeader(), b[IPv6Size:]); err == nil && k > len(b)-IPv6Size {
				t.Fatal("extensions", proto, k)
			}
		}
		if _, coverage, err := ParseUDPLite(b, n); err == nil && (coverage < UDPSize || coverage > n) {
			t.Fatal("udplite coverage", coverage)
		}
		if h, err := ParseTCP(b, n); err == nil {
			o := h.Options()
			if o.SACKBlocks > 4 || o.WindowScale > 14 || len(h) > MaxTCPSize {
				t.Fatalf("tcp %+v", o)
			}
		}
		if h, err := ParseUDP(b, n); err == nil && (h.PayloadLen() < 0 || h.PayloadLen() > n) {
			t.Fatal("udp length")
		}
		if h, err := ParseARP(b); err == nil {
			h.TargetIP()
		}
		if h, err := ParseICMP(b); err == nil {
			h.Rest()
		}
		if h, err := ParseEthernet(b); err == nil {
			h.Type()
		}
		if h, err := ParseFragment(b); err == nil && h.Offset()%8 != 0 {
			t.Fatal("fragment offset")
		}
	})
}

func BenchmarkSum(b *testing.B) {
	p := make([]byte, 1460)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		Sum(0, p)
	}
}

// FuzzRouterAdvert reads arbitrary advertisements: what is taken is in bounds.
func FuzzRouterAdvert(f *testing.F) {
	f.Add([]byte{134, 0, 0, 0, 64, 0x18, 7, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 0xdc})
	f.Add(append(append(make([]byte, 16), 3, 4, 64, 0xc0), make([]byte, 28)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseICMP(b)
		if err != nil {
			return
		}
		ra, err := ParseRouterAdvert(h, b[ICMPSize:])
		if err != nil {
			return
		}
		for _, d := range []int64{ra.Reachable, ra.Retransmit} {
			if d != 0 && (d < minNDTimer || d > maxNDTimer) {
				t.Fatal("a timer of", d)
			}
		}
		if ra.Preference < -1 || ra.Preference > 1 || ra.Options.PrefixCount > len(ra.Options.Prefixes) {
			t.Fatalf("%+v", ra)
		}
		for _, p := range ra.Options.Prefixes[:ra.Options.PrefixCount] {
			if !p.Prefix.IsValid() || !p.Prefix.Addr().Is6() {
				t.Fatalf("%+v", p)
			}
		}
		ParseRedirect(b[ICMPSize:])
	})
}
