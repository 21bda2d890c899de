package stack

import (
	"fmt"
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/netfilter"
	"bulkhead/services/netd/wire"
)

// router is a stack between two links that translates what passes, redirects what
// comes for others, and refuses some.
func router(t testing.TB) *Stack {
	a, _, _, _ := pair(t, 1500, true, link.Features{})
	_, err := a.AddInterface(InterfaceConfig{Name: "eth1", Device: &cable{mtu: 600, mac: [6]byte{2, 0, 0, 0, 1, 1}, ether: true},
		Addresses: ip.Static(netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("fd01::1/64"))})
	if err != nil {
		t.Fatal(err)
	}
	a.Do(func() {
		a.TuneLocked("ipv4/ip_forward", []int64{1})
		a.TuneLocked("ipv6/conf/all/forwarding", []int64{1})
		b := a.filter.Begin()
		table, err := b.NewTable(netfilter.FamilyInet, "t", 0, nil, false)
		for i, r := range []struct {
			kind string
			hook netfilter.Hook
			at   int32
			expr netfilter.Expr
		}{
			{"nat", netfilter.Output, -100, &netfilter.Redirect{}},
			{"nat", netfilter.Postrouting, 100, &netfilter.Masquerade{}},
			{"filter", netfilter.Input, 0, &netfilter.Reject{}},
			{"filter", netfilter.Forward, 0, nil},
		} {
			c := &netfilter.Chain{Name: fmt.Sprint(i), Base: &netfilter.Base{Type: r.kind, Hook: r.hook, Priority: r.at, Policy: netfilter.Accept}}
			if err == nil {
				err = b.AddChain(table, c, 0)
			}
			if err == nil && r.expr != nil {
				err = b.AddRule(c, &netfilter.Rule{Exprs: []netfilter.Expr{r.expr}}, 0, nil, true)
			}
		}
		if err == nil {
			err = b.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
		if !a.ScreenLocked() {
			t.Fatal("there are no rules")
		}
	})
	return a
}

// FuzzSend has sockets of a guest that may make them send arbitrary bytes as headers
// and frames, with a packet filter in between, and has the same come in from a link.
func FuzzSend(f *testing.F) {
	stacks := []*Stack{router(f), nil}
	stacks[1], _, _, _ = pair(f, 1500, true, link.Features{})
	seed := func(b []byte) {
		for way := range 6 {
			f.Add(uint8(way), b)
		}
	}
	for _, dst := range []string{"10.0.0.1", "10.0.0.2", "10.1.0.7", "127.0.0.1"} {
		b := make([]byte, wire.IPv4Size+28)
		(&wire.IPv4Header{PayloadLen: 28, TTL: 9, Protocol: wire.ProtoTCP, Src: netip.MustParseAddr("10.0.0.9"), Dst: netip.MustParseAddr(dst)}).Put(b)
		(&wire.TCPHeader{SrcPort: 5, DstPort: 80, Flags: wire.SYN, Options: wire.TCPOptions{WindowScale: 2, MSS: 99}}).Put(b[wire.IPv4Size:])
		seed(b)
		b[0] = 0x65 // who sends whole packets says what he wants
		seed(b)
	}
	for _, dst := range []string{"fd00::1", "fd00::2", "fd01::7", "::1"} {
		b := make([]byte, wire.IPv6Size+12)
		(&wire.IPv6Header{PayloadLen: 12, HopLimit: 9, NextHeader: wire.ProtoUDP, Src: netip.MustParseAddr("fd00::9"), Dst: netip.MustParseAddr(dst)}).Put(b)
		(&wire.UDPHeader{SrcPort: 5, DstPort: 81, PayloadLen: 4}).Put(b[wire.IPv6Size:])
		seed(b)
	}
	f.Fuzz(func(t *testing.T, way uint8, b []byte) {
		if len(b) > 4096 {
			return
		}
		for _, s := range stacks {
			s.Do(func() { send(s, way, b) })
			if len(s.raws)+len(s.taps) != 0 {
				t.Fatal("sockets are left")
			}
		}
	})
}

// send sends b in one of some ways, with the stack's lock held.
func send(s *Stack, way uint8, b []byte) {
	u := &user{}
	to4, to6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	if way&0x80 != 0 {
		to4, to6 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1")
	}
	switch way & 0x3f % 6 {
	case 0: // with its IP header
		r := s.NewRaw(protoRaw, false, Options{}, u)
		r.SendLocked(to4, netip.Addr{}, 0, 0, b)
		r.CloseLocked()
	case 1: // any protocol
		proto := uint8(wire.ProtoTCP)
		if len(b) > 0 {
			proto = b[0]
		}
		r := s.NewRaw(proto, true, Options{}, u)
		r.SendLocked(to6, netip.Addr{}, 0, 0, b)
		r.CloseLocked()
	case 2: // a frame
		p := s.NewPacket(false, AllProtocols, &watcher{})
		p.SendLocked(2, 0, wire.MAC{}, append(make([]byte, 12, 14+len(b)), append([]byte{8, 0}, b...)...))
		p.CloseLocked()
	case 3: // a frame on the loopback
		p := s.NewPacket(true, AllProtocols, &watcher{})
		p.SendLocked(1, wire.EtherIPv4, wire.MAC{}, b)
		p.CloseLocked()
	default: // from a link
		kind := uint16(wire.EtherIPv4)
		if len(b) > 0 && b[0]>>4 == 6 {
			kind = wire.EtherIPv6
		} else if len(b) >= wire.IPv4Size && b[0] == 0x45 {
			b[10], b[11] = 0, 0
			sum := wire.Fold(wire.Sum(0, b[:wire.IPv4Size]))
			b[10], b[11] = byte(sum>>8), byte(sum)
		}
		frame := make([]byte, wire.EthernetSize, wire.EthernetSize+len(b))
		(&wire.EthernetHeader{Dst: s.iface(2).mac, Src: wire.MAC{2, 0, 0, 0, 0, 9}, Type: kind}).Put(frame)
		p := &link.Packet{Header: append(frame, b...)}
		p.Offload.SumDue = way&0x40 != 0
		s.iface(2).frame(p)
	}
}
