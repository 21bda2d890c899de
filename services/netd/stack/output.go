package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/wire"
)

// flow is what the IP header of an outgoing packet says.
type flow struct {
	src, dst    netip.Addr
	proto       uint8
	hops, class uint8 // hops 0: the default
	fragment    bool  // IPv4 may be fragmented on the way
	inside      bool  // it is for this host's members of a group alone
	lonely      bool  // this host's own members of a group get no copy
	sender      *Options
	ahead       *wire.Ahead // what comes between the IP header and the payload; nil: nothing
}

// output sends a packet whose transport header and payload are there: it puts
// the IP header into the room in front. The packet is the stack's to recycle.
// EMSGSIZE: it does not fit, and must not be taken apart.
func (s *Stack) output(p *link.Packet, path *route.Path, f flow) error {
	if f.hops == 0 {
		f.hops = uint8(min(path.Metrics.Of(route.HopLimit), 255))
	}
	if f.hops == 0 && f.src.Is6() {
		f.hops = path.Out.HopLimit6
	}
	n := p.Size()
	v6 := !f.src.Is4()
	if f.ahead != nil && !v6 {
		f.ahead = s.record(f.ahead, f.src)
	}
	s.counts.Inc(mib.Of(v6, mib.OutRequests))
	s.counts.Add(mib.Of(v6, mib.OutOctets), n)
	if s.screens {
		s.putIP(p.Header, f, n, 0, 0, false)
		var err error
		if path, err = s.screenOut(p, path, &f); err != nil {
			s.counts.Inc(mib.Of(v6, mib.OutDiscards))
			s.recycle(p)
			return err
		}
		n = p.Size()
	}
	mtu := path.MTU
	if v6 && f.sender != nil && f.sender.PieceSize > 0 && f.proto != wire.ProtoTCP {
		mtu = min(mtu, max(int(f.sender.PieceSize), wire.MinMTU6))
	}
	if n > 65535+wire.IPv6Size || f.src.Is4() && n > 65535 {
		s.recycle(p)
		return linux.EMSGSIZE
	}
	if n > mtu && p.Offload.GSO == link.GSONone && !path.Out.Loopback {
		if f.src.Is4() && !f.fragment {
			s.counts.Inc(mib.FragFails)
			s.recycle(p)
			return linux.EMSGSIZE
		}
		return s.fragment(p, path, f, mtu)
	}
	if !s.screens {
		s.putIP(p.Header, f, n, 0, 0, false)
	}
	if f.dst.IsMulticast() || f.dst.Is4() && s.table.Broadcast(f.dst) {
		s.countMany(f.dst, n)
		s.loopBack(p, path, f.dst, !f.lonely)
	}
	if f.inside && !path.Out.Loopback {
		s.recycle(p)
		return nil
	}
	s.send(p, path)
	return nil
}

// countMany counts a packet of n bytes to a group or to everybody.
func (s *Stack) countMany(dst netip.Addr, n int) {
	if !dst.IsMulticast() {
		s.counts.Inc(mib.OutBcastPkts)
		s.counts.Add(mib.OutBcastOctets, n)
		return
	}
	s.counts.Inc(mib.Of(dst.Is6(), mib.OutMcastPkts))
	s.counts.Add(mib.Of(dst.Is6(), mib.OutMcastOctets), n)
}

// countOwn counts what an interface sends of itself.
func (s *Stack) countOwn(p *link.Packet, dst netip.Addr) {
	v6, n := dst.Is6(), p.Size()
	s.counts.Inc(mib.Of(v6, mib.OutRequests))
	s.counts.Add(mib.Of(v6, mib.OutOctets), n)
	s.counts.Inc(mib.Of(v6, mib.OutTransmits))
	if dst.IsMulticast() {
		s.countMany(dst, n)
	}
}

// putIP writes the IP header; n is the packet's length.
func (s *Stack) putIP(b []byte, f flow, n int, id uint16, offset int, more bool) {
	hops := f.hops
	if hops == 0 {
		hops = s.defaultHops()
	}
	if !f.src.Is4() {
		h := wire.IPv6Header{TrafficClass: f.class, FlowLabel: s.flowLabel(&f, b), PayloadLen: n - wire.IPv6Size, NextHeader: f.proto, HopLimit: hops, Src: f.src, Dst: f.dst}
		if f.ahead != nil {
			h.NextHeader = f.ahead.First
			f.ahead.PutV6(b[wire.IPv6Size:], f.proto)
		}
		h.Put(b)
		return
	}
	h := wire.IPv4Header{TOS: f.class, PayloadLen: n - wire.IPv4Size, ID: id, DontFragment: !f.fragment, MoreFragments: more, FragmentOffset: offset,
		TTL: hops, Protocol: f.proto, Src: f.src, Dst: f.dst}
	if f.fragment && id == 0 && !more && offset == 0 {
		h.ID = s.nextID() // a router may take it apart
	}
	h.Put(b)
	if f.ahead != nil {
		putOptions(b, f.ahead.V4)
	}
}

// nextID is an identification for a datagram that may be in pieces.
func (s *Stack) nextID() uint16 {
	s.lastID++
	if s.lastID == 0 {
		s.lastID++
	}
	return s.lastID
}

// send gives a whole packet to its interface.
func (s *Stack) send(p *link.Packet, path *route.Path) {
	s.counts.Inc(mib.Of(p.Header[0]>>4 == 6, mib.OutTransmits))
	if path.Out.Loopback {
		if !s.loop.Send(p) {
			s.recycle(p)
		}
		return
	}
	i := s.iface(path.Out.Index)
	if i == nil {
		s.recycle(p)
		return
	}
	i.finish(p, path.Next)
}

// finish fulfils what the device does not take, and transmits.
func (i *iface) finish(p *link.Packet, next netip.Addr) {
	o := &p.Offload
	if o.GSO != link.GSONone && !i.takes(o.GSO) {
		i.cut(p, func(q *link.Packet) { i.transmit(q, next) })
		return
	}
	if o.SumDue && !i.feats.SumOffload {
		completeSum(p)
	}
	i.transmit(p, next)
}

func (i *iface) takes(g link.GSO) bool {
	if g == link.GSOUDP {
		return i.feats.UDPOffload
	}
	return i.feats.TCPOffload
}

// completeSum writes the checksum that SumDue asks for; the field holds the
// pseudo header's sum.
func completeSum(p *link.Packet) {
	o := &p.Offload
	at := int(o.SumStart + o.SumOffset)
	sum := wire.Fold(wire.Sum(wire.Sum(0, p.Header[o.SumStart:]), p.Payload))
	if sum == 0 && o.SumOffset == 6 {
		sum = 0xffff // UDP's zero says that there is none
	}
	binary.BigEndian.PutUint16(p.Header[at:], sum)
	*o = link.Offload{}
}

// askSum leaves the checksum of the transport header at start to the device.
// offset is the field's place.
func askSum(p *link.Packet, src, dst netip.Addr, proto uint8, start, offset int) {
	sum := ^wire.Fold(wire.PseudoSum(src, dst, proto, p.Size()-start))
	binary.BigEndian.PutUint16(p.Header[start+offset:], sum)
	p.Offload.SumDue, p.Offload.SumStart, p.Offload.SumOffset = true, uint16(start), uint16(offset)
}

// fragment sends a datagram in pieces: RFC 791, section 3.2; RFC 8200, section
// 4.5.
func (s *Stack) fragment(p *link.Packet, path *route.Path, f flow, mtu int) error {
	defer s.recycle(p)
	if p.Offload.SumDue {
		completeSum(p)
	}
	n := f.headSize()
	head := n
	if !f.src.Is4() {
		mtu = max(mtu, wire.MinMTU6)
		n = wire.IPv6Size + f.ahead.Unfragmentable()
		head = n + wire.FragmentSize
		s.putIP(p.Header, f, p.Size(), 0, 0, false) // for the headers that become part of the body
	}
	step := (mtu - head) &^ 7
	if step <= 0 {
		return linux.EMSGSIZE
	}
	body := append(append(make([]byte, 0, p.Size()-n), p.Header[n:]...), p.Payload...)
	id := s.rand32()
	id4 := s.nextID()
	s.counts.Inc(mib.Of(!f.src.Is4(), mib.FragOKs))
	for off := 0; off < len(body); off += step {
		end := min(off+step, len(body))
		more := end < len(body)
		s.counts.Inc(mib.Of(!f.src.Is4(), mib.FragCreates))
		q := s.packet()
		h := q.Make(head)
		q.Payload = body[off:end]
		if f.src.Is4() {
			s.putIP(h, f, q.Size(), id4, off, more)
			if f.ahead != nil && off == 0 {
				f.ahead = &wire.Ahead{V4: slices.Clone(f.ahead.V4)}
				wire.LaterIPv4(f.ahead.V4)
			}
		} else {
			putFragment(h, p.Header[:n], q.Size(), off, more, id)
		}
		s.send(q, path)
	}
	return nil
}

// cut does the segmentation of a large packet that the device does not, and sends the pieces.
func (i *iface) cut(p *link.Packet, send func(*link.Packet)) {
	s := i.s
	defer s.recycle(p)
	o := p.Offload
	head := int(o.HeaderSize)
	step := int(o.SegmentSize)
	start := int(o.SumStart)
	if step <= 0 || head > len(p.Header) || len(p.Header) != head {
		return
	}
	for off := 0; off < len(p.Payload); off += step {
		end := min(off+step, len(p.Payload))
		q := s.packet()
		h := q.Make(head)
		copy(h, p.Header)
		q.Payload = p.Payload[off:end]
		size := q.Size()
		if h[0]>>4 == 4 {
			binary.BigEndian.PutUint16(h[2:], uint16(size))
			h[10], h[11] = 0, 0
			binary.BigEndian.PutUint16(h[10:], wire.Fold(wire.Sum(0, h[:min(int(h[0]&0xf)*4, len(h))])))
		} else {
			binary.BigEndian.PutUint16(h[4:], uint16(size-wire.IPv6Size))
		}
		src, dst := addressesOf(h)
		if o.GSO == link.GSOUDP {
			binary.BigEndian.PutUint16(h[start+4:], uint16(size-start))
			askSum(q, src, dst, wire.ProtoUDP, start, 6)
		} else {
			splitTCP(h[start:], off, end < len(p.Payload))
			askSum(q, src, dst, wire.ProtoTCP, start, 16)
		}
		if !i.feats.SumOffload {
			completeSum(q)
		}
		send(q)
	}
}

// splitTCP makes the header of the first segment that of the one at off.
func splitTCP(h []byte, off int, more bool) {
	seq := binary.BigEndian.Uint32(h[4:]) + uint32(off)
	binary.BigEndian.PutUint32(h[4:], seq)
	if more {
		h[13] &^= wire.FIN | wire.PSH
	}
	if off > 0 {
		h[13] &^= wire.CWR
	}
}

// addressesOf are those of a checked IP header.
func addressesOf(h []byte) (src, dst netip.Addr) {
	if h[0]>>4 == 4 {
		return wire.IPv4(h).Src(), wire.IPv4(h).Dst()
	}
	return wire.IPv6(h).Src(), wire.IPv6(h).Dst()
}

// ipSize is the size of the IP header to addr.
func ipSize(addr netip.Addr) int {
	if addr.Is4() {
		return wire.IPv4Size
	}
	return wire.IPv6Size
}
