package netfilter

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"bulkhead/proto/linux"
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

func (h *fakeHost) Now() int64     { return h.now }
func (h *fakeHost) Wall() int64    { return 1_700_000_000e9 + h.now }
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

// TestChain_verdicts runs small programs of chains.
func TestChain_verdicts(t *testing.T) {
	verdict := func(code int32, c *Chain) []Expr { return []Expr{&Immediate{Verdict: &Verdict{code, c}}} }
	for _, c := range []struct {
		name   string
		policy int32
		base   func(a, b *Chain) [][]Expr
		a, b   func(a, b *Chain) [][]Expr
		want   bool
	}{
		{"policy accept", Accept, nil, nil, nil, true},
		{"policy drop", Drop, nil, nil, nil, false},
		{"accept", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Accept, nil)} }, nil, nil, true},
		{"drop", Accept, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Drop, nil), verdict(Accept, nil)} }, nil, nil, false},
		{"continue", Accept, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Continue, nil), verdict(Drop, nil)} }, nil, nil, false},
		{"return at the base", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Return, nil), verdict(Accept, nil)} }, nil, nil, false},
		{"jump comes back", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a), verdict(Accept, nil)} }, nil, nil, true},
		{"goto does not", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Goto, a), verdict(Accept, nil)} }, nil, nil, false},
		{"return from a jump", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a), verdict(Accept, nil)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Return, nil), verdict(Drop, nil)} }, nil, true},
		{"goto in a jump returns over it", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a), verdict(Accept, nil)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Goto, b), verdict(Drop, nil)} }, nil, true},
		{"accept two deep", Drop, func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, a)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Jump, b), verdict(Drop, nil)} },
			func(a, b *Chain) [][]Expr { return [][]Expr{verdict(Accept, nil)} }, true},
	} {
		f := New(&fakeHost{})
		base := addChain(t, f, "filter", Input, 0, c.policy)
		batch := f.Begin()
		a, b := &Chain{Name: "a"}, &Chain{Name: "b"}
		for _, x := range []*Chain{a, b} {
			if err := batch.AddChain(base.Table, x, 0); err != nil {
				t.Fatal(err)
			}
		}
		for x, rules := range map[*Chain]func(a, b *Chain) [][]Expr{base: c.base, a: c.a, b: c.b} {
			if rules == nil {
				continue
			}
			for _, r := range rules(a, b) {
				if err := batch.AddRule(x, &Rule{Exprs: r}, 0, nil, true); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := batch.Commit(); err != nil {
			t.Fatal(err)
		}
		g := segment{proto: wire.ProtoUDP, src: netip.MustParseAddrPort("10.0.0.2:1"), dst: netip.MustParseAddrPort("10.0.0.1:2")}
		if got := f.Run(Input, g.make()); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestCommit_loops refuses chains that call each other for ever or too deep.
func TestCommit_loops(t *testing.T) {
	for _, c := range []struct {
		length int
		loop   bool
		want   error
	}{{1, false, nil}, {15, false, nil}, {16, false, linux.EMLINK}, {1, true, linux.EMLINK}, {5, true, linux.EMLINK}} {
		f := New(&fakeHost{})
		base := addChain(t, f, "filter", Input, 0, Accept)
		b := f.Begin()
		chains := []*Chain{base}
		for i := range c.length {
			x := &Chain{Name: fmt.Sprint("c", i)}
			if err := b.AddChain(base.Table, x, 0); err != nil {
				t.Fatal(err)
			}
			chains = append(chains, x)
		}
		jump := func(from, to *Chain) {
			if err := b.AddRule(from, &Rule{Exprs: []Expr{&Immediate{Verdict: &Verdict{Jump, to}}}}, 0, nil, true); err != nil {
				t.Fatal(err)
			}
		}
		for i := range c.length {
			jump(chains[i], chains[i+1])
		}
		if c.loop {
			jump(chains[c.length], chains[1])
		}
		err := b.Commit()
		if err != c.want {
			t.Errorf("%d chains, loop %v: %v, want %v", c.length, c.loop, err, c.want)
		}
		if err != nil {
			if b.Abort(); len(base.Rules) != 0 || len(base.Table.Chains) != 1 {
				t.Errorf("%d rules and %d chains are left", len(base.Rules), len(base.Table.Chains))
			}
		}
	}
}

// TestBatch_bounds stops a guest that piles rules up.
func TestBatch_bounds(t *testing.T) {
	f := New(&fakeHost{})
	base := addChain(t, f, "filter", Input, 0, Accept)
	b := f.Begin()
	n := 0
	for ; ; n++ {
		if err := b.AddRule(base, &Rule{Exprs: []Expr{&Counter{}}}, 0, nil, true); err != nil {
			if err != linux.ENOMEM && err != linux.ENFILE {
				t.Error(err)
			}
			break
		}
	}
	if f.held > maxHeld || n < 10000 {
		t.Errorf("%d bytes for %d rules", f.held, n)
	}
	if b.Abort(); f.held != 2*thingSize {
		t.Errorf("%d bytes are held for nothing", f.held)
	}
}

// TestSet_find holds sets of every kind against a list that is gone through.
func TestSet_find(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, kind := range []string{"exact", "intervals", "ranges in fields"} {
		f := New(&fakeHost{now: 1})
		b := f.Begin()
		table, _ := b.NewTable(FamilyIPv4, "t", 0, nil, false)
		s := &Set{Name: "s", KeyLen: 4}
		if kind != "exact" {
			s.Flags = SetInterval
		}
		if kind == "ranges in fields" {
			s.KeyLen, s.Fields = 8, []int{4, 2}
		}
		if err := b.AddSet(table, s, 0); err != nil {
			t.Fatal(err)
		}
		key := func(x, y int) []byte {
			k := be.AppendUint32(nil, uint32(x))
			if s.Concatenated() {
				k = append(be.AppendUint16(k, uint16(y)), 0, 0)
			}
			return k
		}
		type span struct{ from, to, from2, to2 int }
		var oracle []span
		for at := 0; at < 1000; at += 1 + r.IntN(40) {
			x := span{at, at, 0, 0}
			e := &Element{Key: key(at, 0)}
			switch kind {
			case "intervals":
				x.to = at + r.IntN(10)
				b.AddElement(s, e, false)
				e = &Element{Key: key(x.to+1, 0), Flags: ElementEnd}
				at = x.to + 1
			case "ranges in fields":
				x.to, x.from2 = at+r.IntN(100), r.IntN(50)
				x.to2 = x.from2 + r.IntN(20)
				e.Key, e.KeyEnd = key(x.from, x.from2), key(x.to, x.to2)
			}
			if err := b.AddElement(s, e, true); err != nil {
				t.Fatal(err)
			}
			oracle = append(oracle, x)
		}
		look := func() {
			t.Helper()
			for range 3000 {
				x, y := r.IntN(1100), 0
				if s.Concatenated() {
					y = r.IntN(80)
				}
				want := slices.ContainsFunc(oracle, func(o span) bool {
					return x >= o.from && x <= o.to && (!s.Concatenated() || y >= o.from2 && y <= o.to2)
				})
				if got := s.find(1, key(x, y)) != nil; got != want {
					t.Fatalf("%s: %d, %d: %v, want %v", kind, x, y, got, want)
				}
			}
		}
		look()
		// Some go, and come back.
		c := f.Begin()
		kept := s.Len()
		c.Flush(s)
		if s.Len() != 0 || s.find(1, key(oracle[0].from, oracle[0].from2)) != nil {
			t.Errorf("%s: %d elements after a flush", kind, s.Len())
		}
		if c.Abort(); s.Len() != kept {
			t.Errorf("%s: %d elements after all, %d before", kind, s.Len(), kept)
		}
		look()
		if b.Abort(); f.held != 0 {
			t.Errorf("%s: %d bytes held", kind, f.held)
		}
	}
}

// TestLimit_rate lets as many through as a bucket that is counted out.
func TestLimit_rate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		l := &Limit{Rate: 1 + r.Uint64N(100), Unit: []uint64{1, 60, 3600}[r.IntN(3)], Burst: 1 + r.Uint32N(20)}
		now, passed := int64(1e9), 0
		begin := now
		for range 2000 {
			now += r.Int64N(int64(l.Unit) * second / int64(l.Rate))
			if l.allow(now, 100) {
				passed++
			}
		}
		most := float64(l.Burst) + float64(now-begin)/float64(second)*float64(l.Rate)/float64(l.Unit)
		if float64(passed) > most+1 || float64(passed) < min(most, 1000)/2 {
			t.Errorf("%+v: %d passed, at most %.1f", l, passed, most)
		}
	}
	// Numbers that overflow do not let everything through for ever, nor panic.
	l := &Limit{Rate: 1, Unit: 1 << 32, Burst: 1<<32 - 1}
	for now := int64(1); now > 0 && now < 1<<62; now *= 3 {
		l.allow(now, 1<<16)
	}
}

func TestRecent(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var r recents
	if r.match(0, "x", a, recentUpdate, 60*second, 1) {
		t.Error("an address that nobody has seen")
	}
	for i := range int64(3) {
		if !r.match(i*second, "x", a, recentSet, 0, 0) {
			t.Error("set")
		}
	}
	for _, c := range []struct {
		now  int64
		who  netip.Addr
		hits int
		want bool
	}{{3, a, 3, true}, {3, a, 4, false}, {3, b, 1, false}, {61, a, 2, true}, {62, a, 1, true}, {63, a, 1, false}} {
		if got := r.match(c.now*second, "x", c.who, recentCheck, 60*second, c.hits); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if r.match(0, "y", a, recentCheck, 0, 0) || !r.match(0, "x", a, recentRemove, 0, 0) || r.match(0, "x", a, recentCheck, 0, 0) {
		t.Error("lists, removal")
	}
	for i := range 3 * maxAllRecent {
		r.match(int64(i), fmt.Sprint(i%1000), netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)}), recentSet, 0, 0)
	}
	if r.total > maxAllRecent {
		t.Errorf("%d addresses", r.total)
	}
}

// TestMeetings counts flows that live.
func TestMeetings(t *testing.T) {
	var m meetings
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	flows := make([]*flow, 10)
	for i := range flows {
		flows[i] = &flow{confirmed: true, expires: 100 * second}
		if n := m.meet(second, a, flows[i]); n != uint32(i+1) {
			t.Errorf("%d flows, want %d", n, i+1)
		}
		m.meet(second, a, flows[i])
	}
	if n := m.meet(second, b, &flow{confirmed: true, expires: 100 * second}); n != 1 {
		t.Errorf("%d of another address", n)
	}
	for _, f := range flows[:5] {
		f.tcp = tcpClose
	}
	if n := m.meet(second, a, &flow{confirmed: true, expires: 100 * second}); n != 6 {
		t.Errorf("%d flows are left, want 6", n)
	}
	if n := m.meet(200*second, b, &flow{confirmed: true, expires: 300 * second}); n != 1 || m.total != 1 {
		t.Errorf("%d, %d in all, after all were over", n, m.total)
	}
}
