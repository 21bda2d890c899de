package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/wire"
)

var (
	autoSettings = neigh.Settings{Enabled: true, AcceptRA: true, Autoconf: true, AcceptRedirects: true, DADTransmits: 1, RouterSolicits: -1, SolicitationWait: neigh.Second}
	autoRouter   = netip.MustParseAddr("fe80::a")
	autoLocal    = netip.MustParseAddr("fe80::ff:fe00:1")
	autoPrefix   = netip.MustParsePrefix("2001:db8:1::/64")
	autoMade     = netip.MustParseAddr("2001:db8:1::ff:fe00:1")
	far          = netip.MustParseAddr("2001:db8:99::1")
)

// advance lets d pass at once.
func (s *Stack) advance(d time.Duration) {
	for end := d; end > 0; {
		step := min(end, 250*time.Millisecond)
		if end > time.Minute {
			step = end - time.Minute
		}
		end -= step
		s.mu.Lock()
		s.start = s.start.Add(-step)
		s.mu.Unlock()
		s.tick()
	}
}

// host is a stack at a cable, whose MAC ends in n.
func autoHost(t testing.TB, n byte, settings neigh.Settings, addresses ...ip.Address) (*Stack, *cable) {
	s, c := newStack(t), &cable{mtu: 1500, mac: [6]byte{2, 0, 0, 0, 0, n}, ether: true}
	if _, err := s.AddInterface(InterfaceConfig{Name: "eth0", Device: c, IPv6: settings, Addresses: addresses}); err != nil {
		t.Fatal(err)
	}
	return s, c
}

// nd is a frame of neighbour discovery from a neighbour whose MAC ends in a.
func nd(src, dst netip.Addr, hops uint8, typ, code uint8, rest uint32, body []byte) *link.Packet {
	b := make([]byte, wire.EthernetSize+wire.IPv6Size+wire.ICMPSize, 200)
	b = append(b, body...)
	t := b[wire.EthernetSize+wire.IPv6Size:]
	(&wire.EthernetHeader{Dst: wire.MAC{0x33, 0x33, 0, 0, 0, 1}, Src: wire.MAC{2, 0, 0, 0, 0, 0xa}, Type: wire.EtherIPv6}).Put(b)
	(&wire.IPv6Header{PayloadLen: len(t), NextHeader: wire.ProtoICMPv6, HopLimit: hops, Src: src, Dst: dst}).Put(b[wire.EthernetSize:])
	(&wire.ICMPHeader{Type: typ, Code: code, Rest: rest}).Put(t)
	wire.ICMP(t).PutChecksum(wire.ICMPSum(true, src, dst, t, nil))
	return &link.Packet{Header: b}
}

// advertOptions are a body that has the source's MAC, an MTU of 1400 and a prefix.
func advertOptions(prefix netip.Prefix, valid, preferred uint32) []byte {
	b := make([]byte, 8)
	b = append(b, wire.NDSourceMAC, 1, 2, 0, 0, 0, 0, 0xa)
	b = append(b, wire.NDMTU, 1, 0, 0, 0, 0, 1400>>8, 1400&0xff)
	b = append(b, wire.NDPrefix, 4, byte(prefix.Bits()), 0xc0)
	b = binary.BigEndian.AppendUint32(b, valid)
	b = binary.BigEndian.AppendUint32(b, preferred)
	a := prefix.Addr().As16()
	return append(append(b, 0, 0, 0, 0), a[:]...)
}

const advertRest = 33<<24 | 1<<(16+3) | 1800 // hop limit, high preference, lifetime

func advertFrame(options []byte) *link.Packet {
	return nd(autoRouter, wire.AllNodes, 255, wire.NDRouterAdvert, 0, advertRest, options)
}

// discovery are the messages of neighbour discovery among frames.
func discovery(frames []*link.Packet) (types []uint8, heads []wire.IPv6, targets []netip.Addr) {
	for _, p := range frames {
		b := p.Header[wire.EthernetSize:]
		h, err := wire.ParseIPv6(b, len(b))
		if err != nil || h.NextHeader() != wire.ProtoICMPv6 {
			continue
		}
		t, target := b[wire.IPv6Size:], netip.Addr{}
		if len(t) >= 24 {
			target = netip.AddrFrom16([16]byte(t[8:24]))
		}
		types, heads, targets = append(types, t[0]), append(heads, h), append(targets, target)
	}
	return types, heads, targets
}

func (s *Stack) addressOf(a netip.Addr) *ip.Address {
	for _, i := range s.table.Interfaces {
		for k := range i.Addresses {
			if i.Addresses[k].Addr() == a {
				return &i.Addresses[k]
			}
		}
	}
	return nil
}

// The whole way, as it is seen on the wire and by a socket.
func TestAutoconfiguration(t *testing.T) {
	s, c := autoHost(t, 1, autoSettings)
	u := &user{}
	bind := func(want error) {
		t.Helper()
		d := s.NewDatagram(wire.ProtoUDP, true, Options{}, u)
		s.do(t, "bind", want, func() error { return d.BindLocked(netip.AddrPortFrom(autoLocal, 99)) })
		s.Do(d.CloseLocked)
	}
	bind(linux.EADDRNOTAVAIL)
	s.advance(1100 * time.Millisecond)
	types, heads, targets := discovery(c.take())
	if len(types) != 1 || types[0] != wire.NDSolicit || !heads[0].Src().IsUnspecified() || heads[0].Dst() != wire.SolicitedNode(autoLocal) ||
		heads[0].HopLimit() != 255 || targets[0] != autoLocal {
		t.Fatal(types, heads, targets)
	}
	bind(linux.EADDRNOTAVAIL)
	s.advance(1100 * time.Millisecond)
	types, heads, _ = discovery(c.take())
	if len(types) != 1 || types[0] != wire.NDRouterSolicit || heads[0].Src() != autoLocal || heads[0].Dst() != wire.AllRouters {
		t.Fatal(types, heads)
	}
	bind(nil)

	c.sink([]*link.Packet{advertFrame(advertOptions(autoPrefix, 9000, 600))})
	s.advance(3 * time.Second)
	a := s.addressOf(autoMade)
	if a == nil || a.Flags != ip.Autonomous {
		t.Fatalf("%+v", a)
	}
	find := func(dst netip.Addr) route.Path {
		p, _ := s.findPath(dst, netip.Addr{}, 0)
		return p
	}
	if p := find(far); p.Next != autoRouter || p.Source != autoMade || p.MTU != 1400 || p.Out.HopLimit6 != 33 {
		t.Errorf("far: %+v", p)
	}
	near := netip.MustParseAddr("2001:db8:1::77")
	if p := find(near); p.Next != near || p.Source != autoMade {
		t.Errorf("near: %+v", p)
	}
	if mac, ok := s.ifaces[1].cache.Known(autoRouter); !ok || mac != [6]byte{2, 0, 0, 0, 0, 0xa} {
		t.Error("the router's own address:", mac, ok)
	}

	// What is not preferred any more is not taken for what begins: RFC 6724, rule 3.
	s.do(t, "add", nil, func() error {
		return s.AddAddressLocked(2, ip.Address{Prefix: netip.MustParsePrefix("2001:db8:2::5/64"), Flags: ip.NoDAD}, false)
	})
	if p := find(far); p.Source != autoMade && p.Source != netip.MustParseAddr("2001:db8:2::5") {
		t.Error(p)
	}
	s.advance(601 * time.Second)
	if p := find(near); p.Source != netip.MustParseAddr("2001:db8:2::5") || p.Next != near {
		t.Errorf("deprecated: %+v", p)
	}
	s.advance(1300 * time.Second)
	if p := find(far); p.Out != nil {
		t.Errorf("the router's lifetime is over: %+v", p)
	}
	s.advance(9000 * time.Second)
	if s.addressOf(autoMade) != nil || find(near).Out != nil {
		t.Error("the prefix's lifetime is over")
	}
}

// Two hosts with one MAC on a link: neither uses the address that it makes of it.
func TestDuplicate(t *testing.T) {
	a, ca := autoHost(t, 1, autoSettings)
	b, cb := autoHost(t, 1, autoSettings)
	cb.mac[5] = 1
	both := func(d time.Duration) {
		for ; d > 0; d -= 100 * time.Millisecond {
			a.advance(100 * time.Millisecond)
			b.advance(100 * time.Millisecond)
			pump(ca, cb)
		}
	}
	both(3 * time.Second)
	x, y := a.addressOf(autoLocal), b.addressOf(autoLocal)
	if !x.Is(ip.Failed) && !y.Is(ip.Failed) || x.Usable() && y.Usable() {
		t.Fatalf("%+v %+v", x, y)
	}
	// One that is in use is defended, though whoever wants it has a right MAC.
	wanted := ip.Address{Prefix: netip.MustParsePrefix("fd00::7/64")}
	add := func(s *Stack) {
		s.do(t, "add", nil, func() error { return s.AddAddressLocked(2, wanted, false) })
	}
	add(a)
	both(3 * time.Second)
	add(b)
	both(3 * time.Second)
	if x, y := a.addressOf(wanted.Addr()), b.addressOf(wanted.Addr()); !x.Usable() || !y.Is(ip.Failed) || !y.Is(ip.Tentative) {
		t.Errorf("%+v %+v", x, y)
	}
	b.do(t, "remove", nil, func() error { return b.RemoveAddressLocked(2, wanted.Addr()) })
	a.do(t, "remove", nil, func() error { return a.RemoveAddressLocked(2, wanted.Addr()) })
	add(b)
	both(3 * time.Second)
	if y := b.addressOf(wanted.Addr()); !y.Usable() {
		t.Errorf("free by now: %+v", y)
	}
}

// What is not from a router on the link, or broken, changes nothing: RFC 4861, 6.1.2.
func TestAdvertisementRefused(t *testing.T) {
	s, c := autoHost(t, 1, autoSettings)
	s.advance(3 * time.Second)
	good := advertOptions(autoPrefix, 9000, 600)
	broken := append(append([]byte(nil), good...), 1, 0, 0, 0, 0, 0, 0, 0)
	long := append(append([]byte(nil), good...), 3, 4, 0, 0, 0, 0, 0, 0)
	global := netip.MustParseAddr("2001:db8::1")
	for what, p := range map[string]*link.Packet{
		"forwarded":      nd(autoRouter, wire.AllNodes, 254, wire.NDRouterAdvert, 0, advertRest, good),
		"of no router":   nd(global, wire.AllNodes, 255, wire.NDRouterAdvert, 0, advertRest, good),
		"of nobody":      nd(unspecified, wire.AllNodes, 255, wire.NDRouterAdvert, 0, advertRest, good),
		"code":           nd(autoRouter, wire.AllNodes, 255, wire.NDRouterAdvert, 1, advertRest, good),
		"empty option":   advertFrame(broken),
		"option cut off": advertFrame(long),
		"short":          advertFrame(nil),
		"our own":        nd(autoLocal, wire.AllNodes, 255, wire.NDRouterAdvert, 0, advertRest, good),
	} {
		c.sink([]*link.Packet{p})
		if i := s.ifaces[1]; len(i.Addresses) != 1 || i.MTU6 != 0 || i.HopLimit6 != 0 || len(s.table.Routes()) != 1 {
			t.Fatal(what, i.Interface, s.table.Routes())
		}
	}
	ask := s.IPv6Locked(2)
	ask.AcceptRA = false
	s.do(t, "set", nil, func() error { return s.SetIPv6Locked(2, ask) })
	c.sink([]*link.Packet{advertFrame(good)})
	if len(s.ifaces[1].Addresses) != 1 {
		t.Error("accept_ra is off")
	}
	s.do(t, "set", nil, func() error { return s.SetIPv6Locked(2, autoSettings) })
	s.do(t, "set", linux.EOPNOTSUPP, func() error { return s.SetIPv6Locked(1, autoSettings) })
	s.do(t, "set", linux.ENODEV, func() error { return s.SetIPv6Locked(7, autoSettings) })
	bad := advertFrame(good)
	bad.Header[len(bad.Header)-1] ^= 1
	c.sink([]*link.Packet{bad})
	if len(s.ifaces[1].Addresses) != 1 {
		t.Error("wrong checksum")
	}
}

// The best of several routers, and the next one when it falls silent.
func TestRouters(t *testing.T) {
	s, c := autoHost(t, 1, autoSettings)
	s.advance(3 * time.Second)
	other := netip.MustParseAddr("fe80::b")
	c.sink([]*link.Packet{nd(other, wire.AllNodes, 255, wire.NDRouterAdvert, 0, 1800, make([]byte, 8)), advertFrame(advertOptions(autoPrefix, 9000, 9000))})
	s.advance(3 * time.Second)
	next := func() netip.Addr {
		p, _ := s.findPath(far, netip.Addr{}, 0)
		return p.Next
	}
	if next() != autoRouter {
		t.Error("the preferred one:", next())
	}
	d := s.NewDatagram(wire.ProtoUDP, true, Options{}, &user{})
	to := netip.AddrPortFrom(far, 9)
	s.do(t, "send", nil, func() error { return d.SendLocked(to, netip.Addr{}, 0, 0, []byte("x")) })
	s.advance(20 * time.Second)
	if next() != other {
		t.Error("the silent one is still preferred:", next())
	}
	c.sink([]*link.Packet{advertFrame(advertOptions(autoPrefix, 9000, 9000))})
	if next() != autoRouter {
		t.Error("it is back:", next())
	}
	if s.Do(func() { s.SetNeighbourLocked(2, autoRouter, [6]byte{2, 9}, false) }); next() != autoRouter {
		t.Error(next())
	}
	a := autoRouter.As16()
	c.sink([]*link.Packet{nd(autoRouter, autoLocal, 255, wire.NDAdvert, 0, wire.NDSolicited|wire.NDOverride, a[:])})
	if next() != other {
		t.Error("it says that it is no router:", next())
	}
	c.sink([]*link.Packet{nd(other, wire.AllNodes, 255, wire.NDRouterAdvert, 0, 0, make([]byte, 8))})
	if p, ok := s.findPath(far, netip.Addr{}, 0); ok {
		t.Error("lifetime 0:", p)
	}
}

// A redirect counts if the present first hop sends it: RFC 4861, 8.1.
func TestRedirect(t *testing.T) {
	s, c := autoHost(t, 1, autoSettings)
	s.advance(3 * time.Second)
	c.sink([]*link.Packet{advertFrame(advertOptions(autoPrefix, 9000, 9000))})
	s.advance(3 * time.Second)
	better := netip.MustParseAddr("fe80::c")
	redirect := func(from, hop, dst netip.Addr, hops uint8) netip.Addr {
		x, y := hop.As16(), dst.As16()
		b := append(append(x[:], y[:]...), wire.NDTargetMAC, 1, 2, 0, 0, 0, 0, 0xc)
		c.sink([]*link.Packet{nd(from, autoLocal, hops, wire.NDRedirect, 0, 0, b)})
		p, _ := s.findPath(dst, netip.Addr{}, 0)
		return p.Next
	}
	for what, next := range map[string]netip.Addr{
		"forwarded":        redirect(autoRouter, better, far, 64),
		"another's":        redirect(netip.MustParseAddr("fe80::b"), better, far, 255),
		"to a global hop":  redirect(autoRouter, netip.MustParseAddr("2001:db8::5"), far, 255),
		"to ourselves":     redirect(autoRouter, autoLocal, far, 255),
		"of what is local": redirect(netip.MustParseAddr("fe80::b"), better, autoMade, 255),
	} {
		if next == better || next == netip.MustParseAddr("2001:db8::5") {
			t.Error(what, next)
		}
	}
	if next := redirect(autoRouter, better, far, 255); next != better {
		t.Error("not followed:", next)
	}
	if p, _ := s.findPath(far.Next(), netip.Addr{}, 0); p.Next != autoRouter {
		t.Error("another destination is redirected:", p)
	}
	for _, r := range s.RoutesLocked() {
		if r.Destination.IsSingleIP() {
			t.Error("it is listed:", r)
		}
	}
	if next := redirect(better, far, far, 255); next != far {
		t.Error("on the link:", next)
	}
	s.advance(700 * time.Second)
	if p, _ := s.findPath(far, netip.Addr{}, 0); p.Next != autoRouter {
		t.Error("it lasts:", p)
	}
}

// Down, all of IPv6 goes; up, it begins anew.
func TestLinkDownAndUp(t *testing.T) {
	s, c := autoHost(t, 1, autoSettings, ip.Static(netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64"))...)
	s.advance(3 * time.Second)
	c.sink([]*link.Packet{advertFrame(advertOptions(autoPrefix, 9000, 9000))})
	set := func(up bool) {
		s.do(t, "set link", nil, func() error { return s.SetLinkLocked(2, &up, nil) })
	}
	set(false)
	if i := s.ifaces[1]; len(i.Addresses) != 1 || i.MTU6 != 0 || len(s.table.Routes()) != 0 {
		t.Error(i.Interface, s.table.Routes())
	}
	c.take()
	set(true)
	s.advance(3 * time.Second)
	types, _, _ := discovery(c.take())
	if a := s.addressOf(autoLocal); a == nil || !a.Usable() || len(types) != 2 || len(s.table.Routes()) != 2 {
		t.Error(a, types, s.table.Routes())
	}
}

// FuzzDiscovery gives a stack arbitrary messages of neighbour discovery, and time.
func FuzzDiscovery(f *testing.F) {
	f.Add(uint8(wire.NDRouterAdvert), uint32(advertRest), advertOptions(autoPrefix, 9000, 600), uint16(9))
	f.Add(uint8(wire.NDRouterAdvert), uint32(0), advertOptions(autoPrefix, 0, 0), uint16(90))
	a := autoLocal.As16()
	f.Add(uint8(wire.NDSolicit), uint32(0), a[:], uint16(0))
	f.Add(uint8(wire.NDAdvert), uint32(wire.NDOverride), a[:], uint16(3000))
	x := far.As16()
	f.Add(uint8(wire.NDRedirect), uint32(0), append(a[:], x[:]...), uint16(1))
	s, c := autoHost(f, 1, autoSettings)
	f.Fuzz(func(t *testing.T, typ uint8, rest uint32, body []byte, seconds uint16) {
		for _, src := range []netip.Addr{autoRouter, unspecified} {
			c.sink([]*link.Packet{nd(src, wire.AllNodes, 255, typ, 0, rest, body[:min(len(body), 1400)])})
		}
		s.mu.Lock()
		s.start = s.start.Add(-time.Duration(seconds) * time.Second)
		s.mu.Unlock()
		s.tick()
		c.take()
		i := s.ifaces[1]
		if len(i.Addresses) > 20 || len(s.table.Routes()) > 150 || i.MTU6 != 0 && (i.MTU6 < wire.MinMTU6 || i.MTU6 > i.MTU) {
			t.Fatal(len(i.Addresses), len(s.table.Routes()), i.MTU6)
		}
		if at := s.chores(); int64(at) < int64(s.now) {
			t.Fatal("a deadline in the past is left:", at, s.now)
		}
	})
}
