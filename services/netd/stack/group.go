package stack

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/services/netd/mcast"
	"bulkhead/services/netd/wire"
)

// managed is an interface's group management, of both protocols.
type managed struct{ v4, v6 mcast.Host }

func (i *iface) host(group netip.Addr) *mcast.Host {
	if group.Is4() {
		return &i.managed.v4
	}
	return &i.managed.v6
}

// manage prepares group management and joins the groups of the interface's own
// IPv6 addresses.
func (i *iface) manage() {
	random := func(n int64) int64 { return int64(uint64(i.s.rand32())<<16) % n }
	i.managed.v4.Random, i.managed.v6.Random = random, random
	for _, p := range i.Addresses {
		if p.Addr().Is6() && i.ether {
			i.managed.v6.Join(int64(i.s.now), wire.SolicitedNode(p.Addr()))
		}
	}
	i.report()
}

// membershipChanged has the routers told.
func (i *iface) membershipChanged(group netip.Addr) {
	if i.Loopback || group == allSystems || group == wire.AllNodes || group.IsInterfaceLocalMulticast() {
		return
	}
	now := int64(i.s.now)
	h := i.host(group)
	switch n := i.groups[group]; {
	case n == 1:
		h.Join(now, group)
	case n <= 0:
		h.Leave(now, group)
	default:
		return // its sources are the sockets' matter
	}
	i.report()
}

// report sends what group management has to tell.
func (i *iface) report() {
	if i.dev == nil {
		return
	}
	now := int64(i.s.now)
	for _, h := range []*mcast.Host{&i.managed.v4, &i.managed.v6} {
		if h.Deadline() > now {
			continue
		}
		for _, r := range h.Poll(now) {
			i.sendReport(r)
		}
	}
}

// sendReport sends a report, with a router alert and one hop to live: RFC 3376,
// section 4; RFC 3810, section 5.
func (i *iface) sendReport(r mcast.Report) {
	s := i.s
	dst, msg := r.Put()
	p := s.packet()
	if r.Group.Is4() {
		src := i.Source(dst)
		if !src.IsValid() {
			src = netip.IPv4Unspecified()
		}
		binary.BigEndian.PutUint16(msg[2:], wire.Fold(wire.Sum(0, msg)))
		h := p.Make(wire.IPv4Size + 4)
		(&wire.IPv4Header{TOS: 0xc0, PayloadLen: len(msg) + 4, TTL: 1, Protocol: wire.ProtoIGMP, Src: src, Dst: dst, DontFragment: true}).Put(h)
		h[0], h[10], h[11] = 0x46, 0, 0
		copy(h[wire.IPv4Size:], []byte{0x94, 4, 0, 0})
		binary.BigEndian.PutUint16(h[10:], wire.Fold(wire.Sum(0, h)))
	} else {
		src := i.Source(dst)
		if !src.IsValid() || !src.IsLinkLocalUnicast() {
			src = netip.IPv6Unspecified()
		}
		binary.BigEndian.PutUint16(msg[2:], wire.Fold(wire.Sum(wire.PseudoSum(src, dst, wire.ProtoICMPv6, len(msg)), msg)))
		h := p.Make(wire.IPv6Size + 8)
		(&wire.IPv6Header{PayloadLen: len(msg) + 8, NextHeader: wire.ProtoHopByHop, HopLimit: 1, Src: src, Dst: dst}).Put(h)
		copy(h[wire.IPv6Size:], []byte{wire.ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0})
	}
	p.Payload = msg
	s.countOwn(p, dst)
	if dst.Is6() {
		s.counts.ICMP(true, true, msg[0])
	}
	i.transmit(p, dst)
}

// inputIGMP takes a message of group management.
func (i *iface) inputIGMP(a *arrival) {
	b := a.after(0, a.size())
	if i.dev == nil || wire.Fold(wire.Sum(0, b)) != 0 {
		return
	}
	q, other, err := mcast.ParseIGMP(b)
	if err != nil {
		return
	}
	i.heard(&i.managed.v4, q, other)
}

// inputMLD takes a message of listener discovery, which must come from the link:
// RFC 3810, section 6.2.
func (i *iface) inputMLD(a *arrival, h wire.ICMP, body []byte) {
	if i.dev == nil || a.hops != 1 || !a.src.IsLinkLocalUnicast() {
		return
	}
	q, other, err := mcast.ParseMLD(h.Type(), append(append([]byte(nil), h[4:wire.ICMPSize]...), body...))
	if err != nil {
		return
	}
	i.heard(&i.managed.v6, q, other)
}

func (i *iface) heard(h *mcast.Host, q mcast.Query, other netip.Addr) {
	now := int64(i.s.now)
	if other.IsValid() {
		h.Overheard(now, other)
	} else if q.As != 0 {
		h.Heard(now, q)
	}
	i.report()
}
