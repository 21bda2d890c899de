package netfilter

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/wire"
)

// fakeHost is a Host with two interfaces and a clock.
type fakeHost struct {
	now     int64
	random  uint32
	rejects []Rejection
}

var (
	loopback = &ip.Interface{Index: 1, Name: "lo", Loopback: true, Addresses: prefixes("127.0.0.1/8", "::1/128")}
	inside   = &ip.Interface{Index: 2, Name: "eth0", Addresses: prefixes("10.0.0.1/24", "fd00::1/64")}
	outside  = &ip.Interface{Index: 3, Name: "eth1", Addresses: prefixes("192.0.2.1/24", "2001:db8::1/64")}
)

func prefixes(list ...string) (out []ip.Address) {
	for _, s := range list {
		out = append(out, ip.Address{Prefix: netip.MustParsePrefix(s)})
	}
	return out
}

func (h *fakeHost) Now() int64 { return h.now }

func (h *fakeHost) Wall() int64 { return 1_700_000_000e9 + h.now }

func (h *fakeHost) Random() uint32 { h.random = h.random*1664525 + 1013904223; return h.random }

func (h *fakeHost) Reject(_ Hook, _ *Packet, how Rejection) {
	h.rejects = append(h.rejects, how)
}

func (h *fakeHost) Local(a netip.Addr) bool {
	for _, i := range []*ip.Interface{loopback, inside, outside} {
		for _, p := range i.Addresses {
			if p.Addr() == a {
				return true
			}
		}
	}
	return a.IsLoopback()
}

func (h *fakeHost) Broadcast(a netip.Addr) bool { return a == ip.BroadcastAll }

func (h *fakeHost) Route(dst, _ netip.Addr) (*ip.Interface, int, netip.Addr, bool) {
	if inside.Addresses[0].Contains(dst) || inside.Addresses[1].Contains(dst) {
		return inside, 1500, dst, true
	}
	return outside, 1500, dst, true
}

// segment is what a test packet says.
type segment struct {
	proto    uint8
	src, dst netip.AddrPort // an echo's identifier is src's port
	flags    uint8
	reply    bool // of an echo
	payload  []byte
	sum      Sum
	quote    []byte // it is an ICMP error about this packet
}

// make builds the packet with right checksums, as far as sum wants them.
func (g *segment) make() *Packet {
	v6 := g.src.Addr().Is6()
	n := 20
	if v6 {
		n = 40
	}
	var t []byte
	switch {
	case g.quote != nil:
		t = make([]byte, 8)
		if t[0] = 3; v6 {
			t[0] = 1
		}
		g.payload = g.quote
	case g.proto == wire.ProtoTCP:
		t = make([]byte, 20)
		t[12], t[13] = 5<<4, g.flags
	case isICMP(g.proto):
		t = make([]byte, 8)
		t[0] = map[[2]bool]byte{{false, false}: 8, {false, true}: 0, {true, false}: 128, {true, true}: 129}[[2]bool{v6, g.reply}]
		be.PutUint16(t[4:], g.src.Port())
	default:
		t = make([]byte, 8)
		be.PutUint16(t[4:], uint16(8+len(g.payload)))
	}
	if !isICMP(g.proto) {
		be.PutUint16(t, g.src.Port())
		be.PutUint16(t[2:], g.dst.Port())
	}
	h := make([]byte, n, n+len(t))
	if v6 {
		(&wire.IPv6Header{PayloadLen: len(t) + len(g.payload), NextHeader: g.proto, HopLimit: 64, Src: g.src.Addr(), Dst: g.dst.Addr()}).Put(h)
	} else {
		(&wire.IPv4Header{PayloadLen: len(t) + len(g.payload), TTL: 64, Protocol: g.proto, Src: g.src.Addr(), Dst: g.dst.Addr()}).Put(h)
	}
	p := &Packet{V6: v6, Header: append(h, t...), Payload: bytes.Clone(g.payload), Transport: n, Proto: g.proto, Sum: g.sum}
	at, _ := sumField(g.proto)
	if g.proto == wire.ProtoICMP {
		at = 2
	}
	field := p.Header[n+at:]
	switch g.sum {
	case SumWhole:
		be.PutUint16(field, p.total())
	case SumPartial:
		be.PutUint16(field, ^wire.Fold(p.pseudo()))
	}
	return p
}

func (p *Packet) pseudo() uint64 {
	if p.Proto == wire.ProtoICMP {
		return 0
	}
	return wire.PseudoSum(p.Src(), p.Dst(), p.Proto, p.size()-p.Transport)
}

// total is the transport checksum over all but what the field holds; over a packet
// whose field is right it is 0.
func (p *Packet) total() uint16 {
	whole := append(bytes.Clone(p.transport()), p.Payload...)
	return wire.Fold(wire.Sum(p.pseudo(), whole))
}

// check says what is wrong with a packet's checksums. A partial one is completed as
// a device does.
func (p *Packet) check() error {
	if !p.V6 && wire.Fold(wire.Sum(0, p.Header[:20])) != 0 {
		return errors.New("the IP header's checksum is wrong")
	}
	switch p.Sum {
	case SumWhole:
		if sum := p.total(); sum != 0 && sum != 0xffff {
			return fmt.Errorf("the transport checksum is wrong: %#x", sum)
		}
	case SumPartial:
		at, _ := sumField(p.Proto)
		field := be.Uint16(p.transport()[at:])
		if want := ^wire.Fold(p.pseudo()); field != want && field^want != 0xffff {
			return fmt.Errorf("the pseudo header's sum is %#x, want %#x", field, want)
		}
	}
	return nil
}

func (p *Packet) ends() (src, dst netip.AddrPort) {
	s, d, _ := p.ports()
	if isICMP(p.Proto) {
		s = be.Uint16(p.transport()[4:])
		d = s
	}
	return netip.AddrPortFrom(p.Src(), s), netip.AddrPortFrom(p.Dst(), d)
}

// chainOf adds a base chain with rules of the expressions to a table of both
// families.
func addChain(t testing.TB, f *Filter, kind string, h Hook, priority, policy int32, rules ...[]Expr) *Chain {
	t.Helper()
	b := f.Begin()
	table, err := b.NewTable(FamilyInet, "t", 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	c := &Chain{Name: fmt.Sprint(kind, h, len(table.Chains)), Base: &Base{Type: kind, Hook: h, Priority: priority, Policy: policy}}
	if err := b.AddChain(table, c, 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if err := b.AddRule(c, &Rule{Exprs: r}, 0, nil, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return c
}

// forward takes a packet through a router's hooks.
func forward(f *Filter, p *Packet, in, out *ip.Interface) bool {
	p.In = in
	if !f.Run(Prerouting, p) {
		return false
	}
	p.Out = out
	return f.Run(Forward, p) && f.Run(Postrouting, p)
}

// TestTrack_states follows flows packet by packet.
func TestTrack_states(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.0.0.2:1000"), netip.MustParseAddrPort("198.51.100.1:80")
	type step struct {
		back  bool
		flags uint8
		after int64 // seconds
		want  uint32
	}
	for _, c := range []struct {
		name  string
		proto uint8
		steps []step
	}{
		{"a connection", wire.ProtoTCP, []step{{false, wire.SYN, 0, stateNew}, {false, wire.SYN, 1, stateNew}, {true, wire.SYN | wire.ACK, 1, stateEstablished},
			{false, wire.ACK, 1, stateEstablished}, {true, wire.ACK, 400000, stateEstablished}, {false, wire.FIN | wire.ACK, 1, stateEstablished},
			{true, wire.FIN | wire.ACK, 1, stateEstablished}, {false, wire.ACK, 1, stateEstablished}, {false, wire.SYN, 1, stateNew}}},
		{"in the middle", wire.ProtoTCP, []step{{false, wire.ACK, 0, stateNew}, {true, wire.ACK, 0, stateEstablished}}},
		{"a reset of nothing", wire.ProtoTCP, []step{{false, wire.RST, 0, stateInvalid}}},
		{"no flags", wire.ProtoTCP, []step{{false, 0, 0, stateInvalid}}},
		{"refused, again", wire.ProtoTCP, []step{{false, wire.SYN, 0, stateNew}, {true, wire.RST | wire.ACK, 0, stateEstablished}, {false, wire.SYN, 0, stateNew}}},
		{"datagrams", wire.ProtoUDP, []step{{false, 0, 0, stateNew}, {false, 0, 29, stateNew}, {true, 0, 29, stateEstablished}, {false, 0, 119, stateEstablished}}},
		{"too late", wire.ProtoUDP, []step{{false, 0, 0, stateNew}, {true, 0, 31, stateNew}}},
		{"echoes", wire.ProtoICMP, []step{{false, 0, 0, stateNew}, {true, 0, 1, stateEstablished}, {false, 0, 1, stateEstablished}}},
	} {
		h := &fakeHost{now: 1e9}
		f := New(h)
		addChain(t, f, "filter", Forward, 0, Accept, []Expr{&Flow{Key: CtState, Dir: -1}})
		for i, s := range c.steps {
			h.now += s.after * second
			g := segment{proto: c.proto, src: a, dst: b, flags: s.flags}
			if s.back {
				g.src, g.dst, g.reply = b, a, true
			}
			if c.proto == wire.ProtoICMP {
				g.src = netip.AddrPortFrom(g.src.Addr(), 7)
			}
			p := g.make()
			if !forward(f, p, inside, outside) {
				t.Errorf("%s, %d: dropped", c.name, i)
			}
			if got := p.track.state(); got != s.want {
				t.Errorf("%s, %d: state %d, want %d", c.name, i, got, s.want)
			}
		}
	}
}
