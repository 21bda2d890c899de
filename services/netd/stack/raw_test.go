package stack

import (
	"net/netip"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// watcher owns a packet socket in a test.
type watcher struct {
	seen  []PacketMeta
	bytes []string
}

func (w *watcher) DeliverPacket(m PacketMeta, head, body []byte) {
	w.seen = append(w.seen, m)
	w.bytes = append(w.bytes, string(head)+string(body))
}

// ping of a raw socket: the answer comes with its IP header, the filter and
// ICMP_FILTER hold.
func TestRaw_echo(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, true, link.Features{})
	u := &user{}
	r := a.NewRaw(wire.ProtoICMP, false, Options{}, u)
	msg := make([]byte, 12)
	(&wire.ICMPHeader{Type: wire.ICMPEchoRequest, Rest: 7 << 16}).Put(msg)
	copy(msg[8:], "abcd")
	wire.ICMP(msg).PutChecksum(wire.ICMPSum(false, netip.Addr{}, netip.Addr{}, msg, nil))
	ping := func() {
		a.do(t, "send", nil, func() error { return r.SendLocked(netip.MustParseAddr("10.0.0.2"), netip.Addr{}, 0, 0, msg) })
		pump(ca, cb)
	}
	ping()
	if len(u.grams) != 1 || len(u.grams[0]) != wire.IPv4Size+12 || !strings.HasSuffix(u.grams[0], "abcd") {
		t.Fatalf("%q", u.grams)
	}
	a.Do(func() { r.Blocked[0] = 1 << wire.ICMPEchoReply })
	ping()
	if len(u.grams) != 1 {
		t.Error("ICMP_FILTER does not hold")
	}
	a.Do(func() { r.Blocked[0] = 0 })
	none := []FilterInstruction{{Op: 6}} // ret #0
	a.do(t, "filter", nil, func() error { return r.SetFilterLocked(none) })
	a.do(t, "bad filter", linux.EINVAL, func() error { return r.SetFilterLocked([]FilterInstruction{{Op: 0x15, Jt: 9}}) })
	ping()
	if len(u.grams) != 1 {
		t.Error("the filter does not hold")
	}
	a.Do(r.CloseLocked)
	if len(a.raws) != 0 {
		t.Error("left")
	}
	_ = b
}

// tcpdump's view: both directions, whole frames, cut by the filter.
func TestPacket_seesBothDirections(t *testing.T) {
	a, _, ca, cb := pair(t, 1500, true, link.Features{})
	w, lo := &watcher{}, &watcher{}
	k := a.NewPacket(false, AllProtocols, w)
	a.do(t, "bind", nil, func() error { return k.BindLocked(2, AllProtocols) })
	a.do(t, "no such interface", linux.ENODEV, func() error { return k.BindLocked(9, AllProtocols) })
	// IPv4 only, 20 bytes of it
	a.do(t, "filter", nil, func() error {
		return k.SetFilterLocked([]FilterInstruction{{Op: 0x28, K: 12}, {Op: 0x15, Jf: 1, K: 0x800}, {Op: 6, K: 20}, {Op: 6}})
	})
	a.NewPacket(true, wire.EtherIPv4, lo)
	d := a.NewDatagram(wire.ProtoUDP, false, Options{}, &user{})
	at := netip.MustParseAddrPort("10.0.0.2:9")
	a.do(t, "send", nil, func() error { return d.SendLocked(at, netip.Addr{}, 0, 0, []byte("x")) })
	pump(ca, cb)
	if len(w.seen) != 2 || w.seen[0].Kind != PacketOutgoing || w.seen[1].Kind != PacketHost || len(w.bytes[0]) != 20 || w.seen[0].Length != wire.EthernetSize+29 {
		t.Errorf("%+v", w.seen)
	}
	if len(lo.seen) != 1 || lo.bytes[0][0] != 0x45 {
		t.Errorf("cooked, one protocol, what arrives only: %+v", lo.seen)
	}
}

// A group's members, and only they, on this host and the other one.
func TestMulticast_members(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, true, link.Features{})
	group := netip.MustParseAddr("239.1.2.3")
	at := netip.AddrPortFrom(group, 5000)
	any := netip.MustParseAddrPort("0.0.0.0:5000")
	mk := func(s *Stack, join bool, source netip.Addr) *user {
		u := &user{}
		d := s.NewDatagram(wire.ProtoUDP, false, Options{ReuseAddr: true, JoinedOnly: true}, u)
		s.do(t, "bind", nil, func() error { return d.BindLocked(any) })
		if join {
			s.do(t, "join", nil, func() error { return d.JoinLocked(group, 2, netip.Addr{}, source) })
			if !source.IsValid() {
				s.do(t, "join again", linux.EADDRINUSE, func() error { return d.JoinLocked(group, 2, netip.Addr{}, source) })
			}
		}
		return u
	}
	own, far, deaf := mk(a, true, netip.Addr{}), mk(b, true, netip.Addr{}), mk(b, false, netip.Addr{})
	picky, pickier := mk(b, true, netip.MustParseAddr("10.0.0.1")), mk(b, true, netip.MustParseAddr("10.0.0.9"))
	d := a.NewDatagram(wire.ProtoUDP, false, Options{}, &user{})
	a.do(t, "send without a route", linux.ENETUNREACH, func() error { return d.SendLocked(at, netip.Addr{}, 0, 0, []byte("x")) })
	d = a.NewDatagram(wire.ProtoUDP, false, Options{MulticastDevice: 2}, &user{})
	a.do(t, "send", nil, func() error { return d.SendLocked(at, netip.Addr{}, 0, 0, []byte("x")) })
	pump(ca, cb)
	for i, c := range []struct {
		u *user
		n int
	}{{own, 1}, {far, 1}, {deaf, 0}, {picky, 1}, {pickier, 0}} {
		if len(c.u.grams) != c.n {
			t.Errorf("%d: %d datagrams", i, len(c.u.grams))
		}
	}
}

// One call, several datagrams; with and without a device that does it.
func TestSegmentsOfUDP(t *testing.T) {
	for _, f := range []link.Features{{}, {SumOffload: true, UDPOffload: true}} {
		a, b, ca, cb := pair(t, 1500, true, f)
		u := &user{}
		at := netip.MustParseAddrPort("10.0.0.2:53")
		e := b.NewDatagram(wire.ProtoUDP, false, Options{}, u)
		b.do(t, "bind", nil, func() error { return e.BindLocked(at) })
		d := a.NewDatagram(wire.ProtoUDP, false, Options{}, &user{})
		a.do(t, "send", nil, func() error {
			return d.SendSegmentsLocked(at, netip.Addr{}, 0, 0, []byte(strings.Repeat("a", 1000)+strings.Repeat("b", 1000)+"c"), 1000)
		})
		pump(ca, cb)
		if len(u.grams) != 3 || u.grams[1] != strings.Repeat("b", 1000) || u.grams[2] != "c" {
			t.Errorf("%+v: %d datagrams", f, len(u.grams))
		}
	}
}

// Forwarding: a host between two others, a TTL that runs out, an MTU that is
// too small.
func TestForward(t *testing.T) {
	a, r, ca, cr := pair(t, 1500, true, link.Features{})
	b := newStack(t)
	cr2 := &cable{mtu: 1300, mac: [6]byte{2, 0, 0, 0, 1, 1}, ether: true}
	cb := &cable{mtu: 1300, mac: [6]byte{2, 0, 0, 0, 1, 2}, ether: true}
	r.AddInterface(InterfaceConfig{Name: "eth1", Device: cr2, Addresses: ip.Static(netip.MustParsePrefix("10.1.0.1/24"))})
	b.AddInterface(InterfaceConfig{Name: "eth0", Device: cb, Addresses: ip.Static(netip.MustParsePrefix("10.1.0.2/24"))})
	r.Do(func() { r.ForwardLocked(true, true) })
	a.AddRoute(routeTo("10.1.0.0/24", "10.0.0.2", 2))
	b.AddRoute(routeTo("10.0.0.0/24", "10.1.0.1", 2))
	carry := func() {
		for len(ca.out)+len(cr.out)+len(cr2.out)+len(cb.out) > 0 {
			pump(ca, cr)
			pump(cr2, cb)
		}
	}
	u, v := &user{}, &user{}
	at := netip.MustParseAddrPort("10.1.0.2:53")
	e := b.NewDatagram(wire.ProtoUDP, false, Options{}, v)
	b.do(t, "bind", nil, func() error { return e.BindLocked(at) })
	d := a.NewDatagram(wire.ProtoUDP, false, Options{ReceiveErrors: true}, u)
	send := func(n int, hops uint8) error {
		var err error
		a.Do(func() { err = d.SendLocked(at, netip.Addr{}, hops, 0, make([]byte, n)) })
		carry()
		return err
	}
	if err := send(100, 0); err != nil || len(v.grams) != 1 {
		t.Fatal("not forwarded", err)
	}
	if send(100, 1); u.failed != linux.EHOSTUNREACH {
		t.Error("the last hop is not told:", u.failed)
	}
	u.failed = 0
	if send(1400, 0); u.failed != linux.EMSGSIZE {
		t.Error("too big is not told:", u.failed)
	}
	if err := send(1400, 0); err != nil || len(v.grams) != 2 {
		t.Error("then it comes in pieces:", err, len(v.grams))
	}
}

// A join is told to the routers, and their question answered; both protocols.
func TestMulticast_reports(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, true, link.Features{})
	pump(ca, cb)
	w := &watcher{}
	b.NewPacket(true, wire.EtherIPv4, w)
	w6 := &watcher{}
	b.NewPacket(true, wire.EtherIPv6, w6)
	d := a.NewDatagram(wire.ProtoUDP, false, Options{}, &user{})
	d6 := a.NewDatagram(wire.ProtoUDP, true, Options{}, &user{})
	a.do(t, "join", nil, func() error {
		return d.JoinLocked(netip.MustParseAddr("239.1.2.3"), 2, netip.Addr{}, netip.Addr{})
	})
	a.do(t, "join", nil, func() error {
		return d6.JoinLocked(netip.MustParseAddr("ff05::7"), 2, netip.Addr{}, netip.Addr{})
	})
	pump(ca, cb)
	if len(w.bytes) != 1 || w.bytes[0][9] != wire.ProtoIGMP || w.bytes[0][8] != 1 || w.bytes[0][0] != 0x46 || w.bytes[0][24] != 0x22 {
		t.Errorf("IGMP %x", w.bytes)
	}
	if len(w6.bytes) != 1 || w6.bytes[0][6] != 0 || w6.bytes[0][7] != 1 || w6.bytes[0][48] != 143 {
		t.Errorf("MLD %x", w6.bytes)
	}
	a.Do(d.CloseLocked)
	a.Do(d6.CloseLocked)
	pump(ca, cb)
	if len(w.bytes) != 2 || len(w6.bytes) != 2 {
		t.Error("nobody is told of leaving")
	}
}
