package stack

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"
	"time"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// cable is a device whose frames a test carries over.
type cable struct {
	mtu   int
	mac   [6]byte
	ether bool
	feats link.Features
	sink  link.Sink

	mu   sync.Mutex // a stack's timers send too
	out  []*link.Packet
	seen func(*link.Packet)
}

func (c *cable) Send(batch []*link.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range batch {
		q := &link.Packet{Header: bytes.Clone(append(append([]byte(nil), p.Header...), p.Payload...)), Offload: p.Offload}
		if c.seen != nil {
			c.seen(q)
		}
		c.out = append(c.out, q)
	}
}
func (c *cable) Start(sink link.Sink) error { c.sink = sink; return nil }
func (c *cable) Close() error               { return nil }
func (c *cable) MTU() int                   { return c.mtu }
func (c *cable) MAC() ([6]byte, bool)       { return c.mac, c.ether }
func (c *cable) Features() link.Features    { return c.feats }

// take is what was sent since.
func (c *cable) take() []*link.Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	c.out = nil
	return out
}

// pump carries frames until none is under way.
func pump(a, b *cable) {
	for {
		x, y := a.take(), b.take()
		if len(x)+len(y) == 0 {
			return
		}
		if len(x) > 0 {
			b.sink(x)
		}
		if len(y) > 0 {
			a.sink(y)
		}
	}
}

// pair are two hosts on one link: 10.0.0.1 and .2, fd00::1 and ::2.
func pair(t testing.TB, mtu int, ether bool, feats link.Features) (a, b *Stack, ca, cb *cable) {
	a, b = newStack(t), newStack(t)
	ca = &cable{mtu: mtu, mac: [6]byte{2, 0, 0, 0, 0, 1}, ether: ether, feats: feats}
	cb = &cable{mtu: mtu, mac: [6]byte{2, 0, 0, 0, 0, 2}, ether: ether, feats: feats}
	for i, s := range []*Stack{a, b} {
		n := []string{"1", "2"}[i]
		_, err := s.AddInterface(InterfaceConfig{Name: "eth0", Device: []*cable{ca, cb}[i],
			Addresses: ip.Static(netip.MustParsePrefix("10.0.0."+n+"/24"), netip.MustParsePrefix("fd00::"+n+"/64"), netip.MustParsePrefix("fe80::"+n+"/64"))})
		if err != nil {
			t.Fatal(err)
		}
	}
	return a, b, ca, cb
}

// Bytes go over every kind of device, and each device gets what it can take.
func TestTransferBetweenHosts(t *testing.T) {
	for name, c := range map[string]struct {
		addr  string
		ether bool
		feats link.Features
	}{
		"ethernet":            {"10.0.0.2", true, link.Features{}},
		"ethernet, sums":      {"fd00::2", true, link.Features{SumOffload: true}},
		"ethernet, segments":  {"10.0.0.2", true, link.Features{SumOffload: true, TCPOffload: true}},
		"point to point":      {"fd00::2", false, link.Features{}},
		"point to point, all": {"10.0.0.2", false, link.Features{TCPOffload: true}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, ca, cb := pair(t, 1500, c.ether, c.feats)
			check := func(p *link.Packet) { checkFrame(t, p, c.ether, c.feats) }
			ca.seen, cb.seen = check, check
			at := netip.AddrPortFrom(netip.MustParseAddr(c.addr), 80)
			v6 := at.Addr().Is6()
			l, k := &user{}, &user{}
			l.e = b.NewTCP(v6, Options{}, tcp.Config{ReceiveBuffer: 65536}, l, l, inbox{l})
			k.e = a.NewTCP(v6, Options{}, tcp.Config{ReceiveBuffer: 65536}, k, k, inbox{k})
			b.do(t, "bind", nil, func() error { return l.e.BindLocked(at) })
			b.do(t, "listen", nil, func() error { return l.e.ListenLocked(1) })
			a.do(t, "connect", nil, func() error { return k.e.ConnectLocked(at) })
			pump(ca, cb)
			if len(l.accepted) != 1 {
				t.Fatal("no connection", k.e.conn.State())
			}
			want := bytes.Repeat([]byte("0123456789abcdef"), 20000)
			k.out = bytes.Clone(want)
			var got []byte
			// An acknowledgement may be delayed, and what fills no segment waits for it.
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
				a.Do(k.e.KickLocked)
				pump(ca, cb)
				p := l.accepted[0]
				got = append(got, p.got...)
				p.got = nil
				b.Do(p.e.KickLocked)
				pump(ca, cb)
				if len(got) == len(want) {
					break
				}
			}
			if !bytes.Equal(got, want) {
				t.Fatal("differs:", len(got), "of", len(want))
			}
		})
	}
}

// checkFrame holds what every device may expect.
func checkFrame(t *testing.T, p *link.Packet, ether bool, f link.Features) {
	b := p.Header
	if ether {
		b = b[wire.EthernetSize:]
	}
	o := p.Offload
	if o.SumDue && !f.SumOffload && !f.TCPOffload || o.GSO != link.GSONone && !f.TCPOffload {
		t.Errorf("the device does not take %+v", o)
	}
	if o.GSO == link.GSONone && len(b) > 1500 {
		t.Error("longer than the MTU:", len(b))
	}
	if o.SumDue && (int(o.SumStart)+18 > len(p.Header) || ether && o.SumStart < 34) {
		t.Errorf("%+v of %d", o, len(p.Header))
	}
	if o.GSO != link.GSONone && (o.SegmentSize == 0 || int(o.SegmentSize)+int(o.HeaderSize) > 1514 || int(o.HeaderSize) >= len(p.Header)) {
		t.Errorf("%+v of %d", o, len(p.Header))
	}
}

// A datagram longer than the MTU arrives whole, of both versions.
func TestFragmentsBetweenHosts(t *testing.T) {
	for _, dst := range []string{"10.0.0.2", "fd00::2"} {
		a, b, ca, cb := pair(t, 1500, true, link.Features{SumOffload: true})
		at := netip.AddrPortFrom(netip.MustParseAddr(dst), 53)
		u, v := &user{}, &user{}
		d := a.NewDatagram(wire.ProtoUDP, at.Addr().Is6(), Options{}, u)
		e := b.NewDatagram(wire.ProtoUDP, at.Addr().Is6(), Options{}, v)
		b.do(t, "bind", nil, func() error { return e.BindLocked(at) })
		for _, n := range []int{1, 1400, 1473, 9000, 60000} {
			v.grams = nil
			want := bytes.Repeat([]byte{byte(n)}, n)
			a.do(t, "send", nil, func() error { return d.SendLocked(at, netip.Addr{}, 0, 0, want) })
			pump(ca, cb)
			if len(v.grams) != 1 || v.grams[0] != string(want) {
				t.Errorf("%s: %d bytes do not arrive", dst, n)
			}
		}
		if b.fragments.Memory() != 0 {
			t.Error("left in reassembly:", b.fragments.Memory())
		}
	}
}

// A port where nobody listens answers over the wire too, and the next one hears
// of a host that is not there.
func TestErrorsBetweenHosts(t *testing.T) {
	a, _, ca, cb := pair(t, 1500, true, link.Features{})
	for _, addr := range []string{"10.0.0.2", "fd00::2"} {
		u := &user{}
		d := a.NewDatagram(wire.ProtoUDP, addr[0] == 'f', Options{}, u)
		at := netip.AddrPortFrom(netip.MustParseAddr(addr), 9)
		a.do(t, "connect", nil, func() error { return d.ConnectLocked(at) })
		a.do(t, "send", nil, func() error { return d.SendLocked(netip.AddrPort{}, netip.Addr{}, 0, 0, []byte("x")) })
		pump(ca, cb)
		if u.failed == 0 {
			t.Error(addr, "not refused")
		}
	}
	k := a.testTCP()
	a.do(t, "connect", nil, func() error { return k.e.ConnectLocked(netip.MustParseAddrPort("10.0.0.77:80")) })
	pump(ca, cb)
	for range 4 {
		a.mu.Lock()
		a.now += tcp.Second + tcp.Millisecond
		a.heard = a.now
		a.chore()
		a.leave()
	}
	if k.e.ErrorLocked() == 0 {
		t.Error("a silent neighbour is not noticed")
	}
}

func routeTo(dst, via string, index int) route.Route {
	return route.Route{Destination: netip.MustParsePrefix(dst), Gateway: netip.MustParseAddr(via), Interface: index}
}

// A batch of segments is acknowledged once.
func TestBatchAcknowledgedOnce(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, false, link.Features{})
	at := netip.MustParseAddrPort("10.0.0.2:80")
	l, k := &user{}, &user{}
	l.e = b.NewTCP(false, Options{}, tcp.Config{ReceiveBuffer: 65536}, l, l, inbox{l})
	k.e = a.NewTCP(false, Options{}, tcp.Config{ReceiveBuffer: 65536}, k, k, inbox{k})
	b.do(t, "bind", nil, func() error { return l.e.BindLocked(at) })
	b.do(t, "listen", nil, func() error { return l.e.ListenLocked(1) })
	a.do(t, "connect", nil, func() error { return k.e.ConnectLocked(at) })
	pump(ca, cb)
	const size = 5 * 1448 // whole segments, so that Nagle holds nothing back
	k.out = make([]byte, size)
	a.Do(k.e.KickLocked)
	sent := ca.take()
	if len(sent) < 5 {
		t.Fatalf("%d segments", len(sent))
	}
	cb.sink(sent)
	if acks := cb.take(); len(acks) != 1 {
		t.Errorf("%d acknowledgements of %d segments", len(acks), len(sent))
	} else {
		ca.sink(acks)
	}
	if len(k.out) != 0 || len(l.accepted[0].got) != size {
		t.Errorf("%d bytes are not acknowledged, %d came", len(k.out), len(l.accepted[0].got))
	}
	// One by one each second one is, or each of the first few.
	k.out = make([]byte, 4000)
	a.Do(k.e.KickLocked)
	acks := 0
	for _, p := range ca.take() {
		cb.sink([]*link.Packet{p})
		acks += len(cb.take())
	}
	if acks < 1 {
		t.Error("no acknowledgement")
	}
}
