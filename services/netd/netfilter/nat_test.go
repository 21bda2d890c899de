package netfilter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/wire"
)

// translated makes a Filter that sends everything from inside out as outside's
// address, and what comes to a public address to a server inside.
func translated(t testing.TB, h Host) *Filter {
	f := New(h)
	server4, server6 := netip.MustParseAddr("10.0.0.80"), netip.MustParseAddr("fd00::80")
	is := func(v6 bool) []Expr {
		n := byte(FamilyIPv4)
		if v6 {
			n = FamilyIPv6
		}
		return []Expr{&Meta{Reg: 0, Key: MetaNFProto}, &Compare{Src: 0, Op: Equal, Data: []byte{n}}}
	}
	to := func(v6 bool, public, server netip.Addr) []Expr {
		fam, at := uint32(FamilyIPv4), 16
		if v6 {
			fam, at = FamilyIPv6, 24
		}
		return append(is(v6), &Payload{Reg: 16, Base: PayloadNetwork, Offset: at, Len: len(public.AsSlice())}, &Compare{Src: 16, Op: Equal, Data: public.AsSlice()},
			&Immediate{Dst: 32, Data: server.AsSlice()}, &NAT{Family: fam, HasAddr: true, AddrMin: 32})
	}
	addChain(t, f, "nat", Prerouting, -100, Accept, to(false, outside.Addresses[0].Addr(), server4), to(true, outside.Addresses[1].Addr(), server6))
	addChain(t, f, "nat", Postrouting, 100, Accept, []Expr{&Meta{Reg: 0, Key: MetaOIF}, &Compare{Src: 0, Op: Equal, Data: []byte{3, 0, 0, 0}}, &Masquerade{}})
	return f
}

// TestNAT_roundTrip sends random packets out and their answers back, from both
// sides, with errors that routers send about them: all ends with the addresses that
// it began with, and right checksums.
func TestNAT_roundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := &fakeHost{now: 1e9}
	f := translated(t, h)
	for i := range 4000 {
		h.now += int64(r.IntN(1e9))
		v6, in := r.IntN(2) == 0, r.IntN(3) == 0 // from outside to the server
		a, b := netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + r.IntN(60))}), netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(4))})
		public := outside.Addresses[0].Addr()
		if v6 {
			a, b = netip.MustParseAddr(fmt.Sprintf("fd00::%x", 2+r.IntN(60))), netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", r.IntN(4)))
			public = outside.Addresses[1].Addr()
		}
		from, way, back := a, [2]*ip.Interface{inside, outside}, [2]*ip.Interface{outside, inside}
		to := b
		if in {
			from, to, way, back = b, public, back, way
		}
		proto := []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMP}[r.IntN(3)]
		if v6 && proto == wire.ProtoICMP {
			proto = wire.ProtoICMPv6
		}
		payload := make([]byte, r.IntN(50))
		for i := range payload {
			payload[i] = byte(r.IntN(256))
		}
		sum := SumWhole
		if !isICMP(proto) && r.IntN(3) == 0 {
			sum = SumPartial
		}
		g := segment{proto: proto, src: netip.AddrPortFrom(from, uint16(r.IntN(3000))), dst: netip.AddrPortFrom(to, uint16(r.IntN(5))), flags: wire.SYN, payload: payload, sum: sum}
		if isICMP(proto) {
			g.dst = netip.AddrPortFrom(to, g.src.Port())
		}
		p := g.make()
		if !forward(f, p, way[0], way[1]) {
			continue // a flow of that name from another time
		}
		if err := p.check(); err != nil {
			t.Fatalf("%d: %+v out: %v", i, g, err)
		}
		src, dst := p.ends()
		if !in && src.Addr() != public || in && dst.Addr() == public {
			t.Fatalf("%d: %+v was not translated: %v > %v", i, g, src, dst)
		}
		answer := segment{proto: proto, src: dst, dst: src, flags: wire.SYN | wire.ACK, reply: true, payload: payload, sum: sum}
		q := answer.make()
		if !forward(f, q, back[0], back[1]) {
			t.Fatalf("%d: the answer to %+v was dropped", i, g)
		}
		if s, d := q.ends(); s != g.dst || d != g.src {
			t.Fatalf("%d: %v > %v came back as %v > %v", i, g.src, g.dst, s, d)
		}
		if err := q.check(); err != nil {
			t.Fatalf("%d: %+v back: %v", i, g, err)
		}
		if sum != SumWhole {
			continue
		}
		// A router on the far side complains about the packet as it got there.
		router := dst.Addr()
		icmp := uint8(wire.ProtoICMP)
		if v6 {
			icmp = wire.ProtoICMPv6
		}
		e := segment{proto: icmp, src: netip.AddrPortFrom(router, 0), dst: netip.AddrPortFrom(src.Addr(), 0), quote: append(bytes.Clone(p.Header), p.Payload...)}
		m := e.make()
		if !forward(f, m, back[0], back[1]) || !m.track.related {
			t.Fatalf("%d: the error about %+v was dropped, or is not related: %+v", i, g, m.track)
		}
		if m.Dst() != g.src.Addr() {
			t.Fatalf("%d: the error about %+v went to %v", i, g, m.Dst())
		}
		if err := m.check(); err != nil {
			t.Fatalf("%d: the error about %+v: %v", i, g, err)
		}
		inner, ok := quoted(m)
		if !ok {
			t.Fatalf("%d: nothing quoted", i)
		}
		inner.Sum = SumWhole
		if s, d := inner.ends(); s != g.src || d != g.dst {
			t.Fatalf("%d: the error quotes %v > %v of %v > %v", i, s, d, g.src, g.dst)
		}
		if err := inner.check(); err != nil {
			t.Fatalf("%d: what the error about %+v quotes: %v", i, g, err)
		}
	}
	if n := f.tracker.count; n == 0 || n > maxFlows {
		t.Errorf("%d flows", n)
	}
}

// TestNAT_badError does not mend the checksum of a broken ICMP error.
func TestNAT_badError(t *testing.T) {
	f := translated(t, &fakeHost{now: 1e9})
	g := segment{proto: wire.ProtoUDP, src: netip.MustParseAddrPort("10.0.0.2:1000"), dst: netip.MustParseAddrPort("198.51.100.1:53")}
	p := g.make()
	forward(f, p, inside, outside)
	e := segment{proto: wire.ProtoICMP, src: netip.MustParseAddrPort("198.51.100.1:0"), dst: netip.AddrPortFrom(p.Src(), 0), quote: bytes.Clone(p.Header)}
	m := e.make()
	m.Header[23] ^= 1
	forward(f, m, outside, inside)
	if !m.track.invalid || m.check() == nil {
		t.Errorf("%+v, checksum %v", m.track, m.check())
	}
}
