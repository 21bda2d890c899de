package stack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/netfilter"
	"bulkhead/services/netd/nfnetlink"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// This file shows packets to the sandbox's packet filter, where Linux would:
// services/netd/netfilter. While there are no rules, nothing here is called.

// host is what the filter sees of the stack.
type host struct{ s *Stack }

func (h host) Now() int64     { return int64(h.s.now) }
func (h host) Wall() int64    { return time.Now().UnixNano() }
func (h host) Random() uint32 { return h.s.rand32() }

func (h host) Local(a netip.Addr) bool {
	_, local := h.s.table.Local(a)
	return local
}

func (h host) Broadcast(a netip.Addr) bool { return h.s.table.Broadcast(a) }

func (h host) Route(dst, src netip.Addr) (out *ip.Interface, mtu int, next netip.Addr, ok bool) {
	path, ok := h.s.findPath(dst, src, 0)
	return path.Out, path.MTU, path.Next, ok
}

// Reject answers a packet that a rule refuses, as if it had come in.
func (h host) Reject(hook netfilter.Hook, p *netfilter.Packet, how netfilter.Rejection) {
	s := h.s
	a := arrival{v6: p.V6, src: p.Src(), dst: p.Dst(), in: s.ifaces[0], whole: p.Header, rest: p.Payload}
	if p.In != nil && hook != netfilter.Output {
		a.in = s.iface(p.In.Index)
	}
	lent := p.Track().Answer()
	s.lent = &lent
	defer func() { s.lent = nil }()
	if how.Reset {
		t, err := wire.ParseTCP(p.Header[p.Transport:], len(p.Header)-p.Transport+len(p.Payload))
		if err != nil {
			return
		}
		seg := tcp.Segment{Seq: tcp.Seq(t.Seq()), Ack: tcp.Seq(t.Ack()), Flags: t.Flags(), Payload: make([]byte, len(p.Header)-p.Transport-len(t)+len(p.Payload))}
		s.resetFor(tuple{netip.AddrPortFrom(a.dst, t.DstPort()), netip.AddrPortFrom(a.src, t.SrcPort())}, &seg)
		return
	}
	m := wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: how.Code}
	if p.V6 {
		m.Type = 1
	}
	if a.dst.IsMulticast() {
		return
	}
	s.complain(&a, m)
}

// NetlinkLocked has the packet filter carry out the netlink messages in b, of a
// sender with a port, and gives the datagrams that answer them.
func (s *Stack) NetlinkLocked(b []byte, port uint32, admin bool) [][]byte {
	out := nfnetlink.Answer(s.filter, int64(s.now), b, port, admin)
	s.screens = s.filter.Active()
	return out
}

// WatchFilterLocked has tell called with the notifications of NETLINK_NETFILTER from now on:
// a group, and messages for it.
func (s *Stack) WatchFilterLocked(tell func(group int, messages []byte)) {
	s.filter.Tell = tell
	s.filter.WatchFlows(func(e netfilter.FlowEvent, l *netfilter.FlowInfo) { tell(nfnetlink.FlowNews(s.filter, e, l)) })
}

// FilterLocked is the packet filter, for the socket options of iptables-legacy(8);
// ScreenLocked takes note that its rules may have changed, and says whether packets
// can meet any.
func (s *Stack) FilterLocked() *netfilter.Filter { return s.filter }

func (s *Stack) ScreenLocked() bool {
	s.screens = s.filter.Active()
	return s.screens
}

// OriginalLocked is where a connection's peer wanted to, before it was redirected
// here: SO_ORIGINAL_DST. ENOENT for one that is not tracked.
func (e *TCP) OriginalLocked() (netip.AddrPort, error) {
	return e.s.filter.Original(wire.ProtoTCP, e.remote, e.place.local)
}

// describe is a packet as the filter sees it.
func describe(p *link.Packet, transport int, proto uint8) *netfilter.Packet {
	q := &netfilter.Packet{V6: p.Header[0]>>4 == 6, Header: p.Header, Payload: p.Payload, Transport: transport, Proto: proto}
	if !q.V6 && len(p.Header) >= wire.IPv4Size {
		q.Later = wire.IPv4(p.Header).FragmentOffset() > 0 // of a raw socket
	}
	q.Pull()
	switch {
	case proto == wire.ProtoICMP || proto == wire.ProtoICMPv6:
	case p.Trusted:
		q.Sum = netfilter.SumNone
	case p.Offload.SumDue:
		q.Sum = netfilter.SumPartial
	}
	return q
}

// screenOut shows the filter a packet that a socket of this host sends, and that
// has its IP header: the hooks output and postrouting. The path is another one if
// the destination is; f follows. EPERM if a rule drops it.
func (s *Stack) screenOut(p *link.Packet, path *route.Path, f *flow) (*route.Path, error) {
	if s.filter.Idle(!f.src.Is4(), netfilter.Output, netfilter.Postrouting) {
		return path, nil
	}
	n := f.headSize()
	if p.Header[0]>>4 == 4 {
		n = int(p.Header[0]&0xf) * 4
	}
	q := describe(p, n, f.proto)
	q.Out = path.Out
	if f.sender != nil {
		q.Owner = &netfilter.Owner{UID: f.sender.UID, GID: f.sender.GID}
		q.Mark = f.sender.Mark
	}
	if s.lent != nil {
		q.Resume(*s.lent)
		s.lent = nil
	}
	mark := q.Mark
	if !s.filter.Run(netfilter.Output, q) {
		return nil, linux.EPERM
	}
	if dst := q.Dst(); dst != f.dst || q.Mark != mark {
		src := netip.Addr{}
		if dst == f.dst {
			src = f.src
		}
		again := route.Query{Dst: dst, Source: src, Mark: q.Mark, TOS: q.Class(), Protocol: f.proto}
		if f.sender != nil {
			again.UID = f.sender.UID
		}
		next, ok := s.pathOf(again)
		if !ok {
			return nil, linux.EHOSTUNREACH
		}
		path = &next
		q.Out = next.Out
	}
	if !s.filter.Run(netfilter.Postrouting, q) {
		return nil, linux.EPERM
	}
	s.take(p, q)
	f.src, f.dst = q.Src(), q.Dst()
	f.hops, f.class = q.Hops(), q.Class()
	if path.Out.Loopback {
		p.Trusted = p.Trusted || p.Offload.SumDue
		p.Note = q.Track()
	} else if p.Trusted {
		s.outside(p, path, f, n)
	}
	return path, nil
}

// outside makes a packet that was meant for the loopback fit for a device.
func (s *Stack) outside(p *link.Packet, path *route.Path, f *flow, n int) {
	p.Trusted = false
	f.fragment = f.fragment || f.proto != wire.ProtoTCP
	switch f.proto {
	case wire.ProtoTCP:
		head := n + wire.TCPSize
		if len(p.Header) < head {
			return
		}
		askSum(p, f.src, f.dst, f.proto, n, 16)
		if head = n + int(p.Header[n+12]>>4)*4; p.Size() > path.MTU && len(p.Header) == head && path.MTU > head {
			o := &p.Offload
			o.GSO, o.SegmentSize, o.HeaderSize = link.GSOTCP4, uint16(path.MTU-head), uint16(head)
			if !f.src.Is4() {
				o.GSO = link.GSOTCP6
			}
		}
	case wire.ProtoUDP:
		p.Own(p.Payload)
		askSum(p, f.src, f.dst, f.proto, n, 6)
	}
}

// take puts what the filter has left of a packet back into it.
func (s *Stack) take(p *link.Packet, q *netfilter.Packet) {
	if len(q.Header) == len(p.Header) {
		p.Payload = q.Payload
		return
	}
	n := copy(p.Header, q.Header)
	p.Payload = append(q.Header[n:len(q.Header):len(q.Header)], q.Payload...)
}

// screenIn shows the filter a packet that has come in, before it is known whether
// it is for this host: the hook prerouting. false: it is dropped.
func (s *Stack) screenIn(a *arrival, p *link.Packet) bool {
	if s.filter.Idle(a.v6, netfilter.Prerouting, netfilter.Input, netfilter.Forward, netfilter.Postrouting) {
		return true
	}
	proto, n, err := a.proto, 0, error(nil)
	if a.v6 {
		if proto, n, err = wire.Extensions(a.proto, a.head); err != nil {
			return false
		}
	}
	whole := link.Packet{Header: a.whole[:a.ipHeader+len(a.head)], Payload: a.rest, Trusted: p.Trusted, Offload: p.Offload}
	q := describe(&whole, a.ipHeader+n, proto)
	if q.Sum == netfilter.SumNone && !a.in.Loopback {
		if q.Sum = netfilter.SumWhole; p.Offload.SumDue { // else the device has checked it
			q.Sum = netfilter.SumPartial
		}
	}
	q.In, q.ToMany = a.in.Interface, s.table.Broadcast(a.dst)
	if a.in.ether {
		q.Station = p.Link
	}
	if t, ok := p.Note.(netfilter.Track); ok {
		q.Resume(t)
	}
	if !s.filter.Run(netfilter.Prerouting, q) {
		return false
	}
	a.screened = q
	a.refresh()
	return true
}

// refresh takes over what the filter has made of a packet.
func (a *arrival) refresh() {
	q := a.screened
	a.whole, a.head, a.rest = q.Header, q.Header[a.ipHeader:], q.Payload
	a.src, a.dst = q.Src(), q.Dst()
	if a.v6 {
		a.hops = a.whole[7]
		a.class = a.whole[0]<<4 | a.whole[1]>>4
		return
	}
	a.hops, a.class = a.whole[8], a.whole[1]
}

// screenLocal is the hook input.
func (s *Stack) screenLocal(a *arrival) bool {
	q := a.screened
	if q == nil {
		return true
	}
	if !s.filter.Run(netfilter.Input, q) {
		return false
	}
	a.refresh()
	return true
}

// screenForward is the hook forward, screenLeaving that of a forwarded packet about
// to leave.
func (s *Stack) screenForward(a *arrival, path *route.Path) bool {
	q := a.screened
	if q == nil {
		return true
	}
	q.Out = path.Out
	if !s.filter.Run(netfilter.Forward, q) {
		return false
	}
	a.refresh()
	return true
}

func (s *Stack) screenLeaving(a *arrival, p *link.Packet, path *route.Path) bool {
	was := a.screened
	if was == nil {
		return true
	}
	q := describe(p, was.Transport, was.Proto)
	q.In, q.Out, q.Mark = was.In, path.Out, was.Mark
	q.Resume(was.Track())
	if !s.filter.Run(netfilter.Postrouting, q) {
		return false
	}
	s.take(p, q)
	return true
}

// whole4 puts fragments together before the filter sees them, so that each rule
// sees ports: false until the last has come.
func (s *Stack) whole4(a *arrival, p *link.Packet, h wire.IPv4) bool {
	head := append([]byte(nil), h...)
	key := ip.FragmentKey{Src: a.src, Dst: a.dst, Proto: a.proto, ID: uint32(h.ID())}
	if !s.reassemble(a, key, h.FragmentOffset(), h.MoreFragments(), 0) || len(head)+len(a.head) > 65535 {
		return false
	}
	binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(a.head)))
	head[6], head[7] = 0, 0
	head[10], head[11] = 0, 0
	binary.BigEndian.PutUint16(head[10:], wire.Fold(wire.Sum(0, head)))
	s.become(a, p, head)
	return true
}

// whole6 is whole4 of IPv6, where other extension headers may come before that of
// the fragment. There may be none.
func (s *Stack) whole6(a *arrival, p *link.Packet) bool {
	proto, n, err := wire.Extensions(a.proto, a.head)
	if err != nil {
		return false
	}
	if proto != wire.ProtoFragment {
		return true
	}
	f, err := wire.ParseFragment(a.head[n:])
	if err != nil {
		return false
	}
	head := append([]byte(nil), a.whole[:wire.IPv6Size+n]...)
	next := 6 // where the fragment header is announced
	for at, end := wire.IPv6Size, len(head); at < end; at += 8 + int(head[at+1])*8 {
		next = at
	}
	a.head = a.head[n+wire.FragmentSize:]
	if f.More() && a.size()%8 != 0 { // RFC 8200, 4.5
		s.rejectAt(a, icmp.BadHeader, 4)
		return false
	}
	a.proto = f.NextHeader()
	if f.More() || f.Offset() > 0 {
		key := ip.FragmentKey{Src: a.src, Dst: a.dst, ID: f.ID()}
		if !s.reassemble(a, key, f.Offset(), f.More(), f.NextHeader()) {
			return false
		}
	} else {
		a.head, a.rest = a.after(0, a.size()), nil
	}
	if len(a.head) > 65535 || a.proto == wire.ProtoFragment {
		return false
	}
	if n+len(a.head) > 65535 {
		return false
	}
	binary.BigEndian.PutUint16(head[4:], uint16(n+len(a.head)))
	head[next] = a.proto
	s.become(a, p, head)
	a.ipHeader, a.proto = wire.IPv6Size, head[6]
	a.head = a.whole[wire.IPv6Size:]
	return true
}

// become makes a the packet of an IP header and what a.head holds.
func (s *Stack) become(a *arrival, p *link.Packet, head []byte) {
	a.whole = append(head, a.head...)
	a.ipHeader = len(head)
	a.head, a.rest = a.whole[len(head):], nil
	a.trusted, a.segment = false, 0
	p.Trusted, p.Offload = false, link.Offload{}
}
