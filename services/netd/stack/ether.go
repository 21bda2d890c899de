package stack

import (
	"net/netip"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/wire"
)

// inputARP takes an ARP packet: RFC 826, the order of its "packet reception".
func (i *iface) inputARP(b []byte) {
	p, err := wire.ParseARP(b)
	if err != nil {
		return
	}
	s := i.s
	now := int64(s.now)
	sender, target := p.SenderIP(), p.TargetIP()
	own, local := s.table.Local(target)
	mine := local && !own.Loopback
	if sender.IsMulticast() || p.SenderMAC().Multicast() || i.owns(sender) {
		return // a conflict is not ours to defend
	}
	if !sender.IsUnspecified() {
		if p.Op() == wire.ARPReply {
			i.cache.Answered(now, sender, neigh.Answer{MAC: p.SenderMAC(), HasMAC: true, Solicited: mine, Override: true})
		} else {
			i.cache.Heard(now, sender, p.SenderMAC(), mine)
		}
	}
	if mine && p.Op() == wire.ARPRequest {
		i.sendARP(wire.ARPReply, p.SenderMAC(), target, sender, p.SenderMAC())
	}
	i.neighbours()
}

// owns says whether a is one of the interface's addresses, and nobody else's.
func (i *iface) owns(a netip.Addr) bool {
	for _, p := range i.Addresses {
		if p.Addr() == a && p.Usable() {
			return true
		}
	}
	return false
}

// sendARP sends a request or reply to a station.
func (i *iface) sendARP(op uint16, to wire.MAC, sender, target netip.Addr, targetMAC wire.MAC) {
	p := i.s.packet()
	b := p.Make(wire.ARPSize)
	a := wire.ARPPacket{Op: op, SenderMAC: i.mac, SenderIP: sender, TargetIP: target}
	if op == wire.ARPReply {
		a.TargetMAC = targetMAC
	}
	a.Put(b)
	(&wire.EthernetHeader{Dst: to, Src: i.mac, Type: wire.EtherARP}).Put(p.Prepend(wire.EthernetSize))
	i.queue(p)
}

// neighbours does what the neighbour cache wants done.
func (i *iface) neighbours() {
	s := i.s
	for _, e := range i.cache.Poll(int64(s.heard)) {
		switch e.Kind {
		case neigh.Solicit:
			i.solicit(e.Addr, e.MAC, e.Unicast)
		case neigh.Release:
			for _, p := range e.Pending {
				i.frameTo(p, e.MAC)
			}
		case neigh.Fail:
			for _, p := range e.Pending {
				i.undeliverable(p)
			}
			i.auto.Silent(e.Addr)
			i.configure()
		}
	}
}

// solicit asks for a neighbour's address.
func (i *iface) solicit(addr netip.Addr, mac wire.MAC, unicast bool) {
	src := i.Source(addr)
	if addr.Is4() {
		if !src.IsValid() {
			return
		}
		to := wire.Broadcast
		if unicast {
			to = mac
		}
		i.sendARP(wire.ARPRequest, to, src, addr, wire.MAC{})
		return
	}
	if !src.IsValid() {
		return
	}
	dst := wire.SolicitedNode(addr)
	if unicast {
		dst = addr
	} else {
		mac, _ = i.stationOf(dst)
	}
	i.sendND(wire.ICMPHeader{Type: wire.NDSolicit}, src, dst, mac, addr, wire.NDSourceMAC, i.mac)
}

// sendND sends a solicitation or an advertisement, about target if that is valid,
// with one option of 8 bytes; option 0 is none.
func (i *iface) sendND(h wire.ICMPHeader, src, dst netip.Addr, mac wire.MAC, target netip.Addr, option uint8, value [6]byte) {
	at := wire.ICMPSize
	if target.IsValid() {
		at += 16
	}
	n := at
	if option != 0 {
		n += 8
	}
	p := i.s.packet()
	b := p.Make(wire.IPv6Size + n)
	t := b[wire.IPv6Size:]
	h.Put(t)
	if target.IsValid() {
		a := target.As16()
		copy(t[wire.ICMPSize:], a[:])
	}
	if option != 0 {
		t[at], t[at+1] = option, 1
		copy(t[at+2:], value[:])
	}
	wire.ICMP(t).PutChecksum(wire.ICMPSum(true, src, dst, t, nil))
	(&wire.IPv6Header{PayloadLen: n, NextHeader: wire.ProtoICMPv6, HopLimit: 255, Src: src, Dst: dst}).Put(b)
	i.s.countOwn(p, dst)
	i.s.counts.ICMP(true, true, h.Type)
	i.frameTo(p, mac)
}

// inputND takes a message of neighbour discovery: RFC 4861, sections 6.1, 7.1, 8.1.
// It must not have been forwarded, nor come in pieces (RFC 6980).
func (i *iface) inputND(a *arrival, h wire.ICMP, body []byte) {
	if a.hops != 255 || h.Code() != 0 || !i.ether || a.pieces {
		return
	}
	switch h.Type() {
	case wire.NDSolicit, wire.NDAdvert:
		i.inputNeighbour(a, h, body)
	case wire.NDRouterAdvert:
		i.inputRouter(a, h, body)
	case wire.NDRedirect:
		i.inputRedirect(a, body)
	}
	i.configure()
	i.neighbours()
}

// inputNeighbour takes a neighbour's solicitation or advertisement: RFC 4861,
// sections 7.1 and 7.2.
func (i *iface) inputNeighbour(a *arrival, h wire.ICMP, body []byte) {
	if len(body) < 16 {
		return
	}
	target := netip.AddrFrom16([16]byte(body[:16]))
	opts, err := wire.ParseNDOptions(body[16:])
	if err != nil || target.IsMulticast() {
		return
	}
	now := int64(i.s.now)
	switch h.Type() {
	case wire.NDSolicit:
		i.answerND(a, target, opts)
	case wire.NDAdvert:
		flags := h.Rest()
		solicited := flags&wire.NDSolicited != 0
		if solicited && a.dst.IsMulticast() {
			return
		}
		if i.auto.Heard(target, true, neigh.Nonce{}) {
			return
		}
		if flags&wire.NDRouter == 0 {
			i.auto.NoRouter(target)
		}
		i.cache.Answered(now, target, neigh.Answer{MAC: opts.TargetMAC, HasMAC: opts.HasTarget, Solicited: solicited,
			Override: flags&wire.NDOverride != 0, Router: flags&wire.NDRouter != 0})
	}
}

func (i *iface) answerND(a *arrival, target netip.Addr, opts wire.NDOptions) {
	if a.src.IsUnspecified() && (opts.HasSource || a.dst != wire.SolicitedNode(target)) {
		return
	}
	if i.auto.Heard(target, a.src.IsUnspecified(), opts.Nonce) || !i.owns(target) {
		return
	}
	h := wire.ICMPHeader{Type: wire.NDAdvert, Rest: wire.NDOverride}
	if a.src.IsUnspecified() { // it looks for duplicates: everybody is told
		all := wire.AllNodes
		mac, _ := i.stationOf(all)
		i.sendND(h, target, all, mac, target, wire.NDTargetMAC, i.mac)
		return
	}
	if h.Rest = wire.NDSolicited; a.toMany {
		h.Rest |= wire.NDOverride
	}
	now := int64(i.s.now)
	if opts.HasSource {
		i.cache.Heard(now, a.src, opts.SourceMAC, true)
	}
	if mac, ok := i.cache.Known(a.src); ok {
		option := uint8(0) // who asks this host alone has its address: RFC 4861, section 7.2.4
		if a.toMany {
			option = wire.NDTargetMAC
		}
		i.sendND(h, target, a.src, mac, target, option, i.mac)
	}
}

// undeliverable tells who sent p that its next hop does not answer.
func (i *iface) undeliverable(p *link.Packet) {
	s := i.s
	if len(p.Header) > 0 {
		src, dst := addressesOf(p.Header)
		a := arrival{in: i, v6: p.Header[0]>>4 == 6, src: src, dst: dst, whole: append([]byte(nil), p.Header...), rest: p.Payload}
		if _, local := s.table.Local(src); local {
			quote := append(a.whole, p.Payload...)
			if q, ok := icmp.ParseQuoted(a.v6, quote); ok {
				s.inputError(q, icmp.HostUnreachable, failure{offender: src, local: true})
			}
		} else {
			s.reject(&a, icmp.HostUnreachable)
		}
	}
	s.recycle(p)
}
