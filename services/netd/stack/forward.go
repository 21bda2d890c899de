package stack

import (
	"encoding/binary"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/wire"
)

// ForwardLocked turns forwarding between interfaces on or off:
// net.ipv4.ip_forward and its sibling. It is off at first.
func (s *Stack) ForwardLocked(v4, v6 bool) { s.forward4, s.forward6 = v4, v6 }

// forward sends a packet on that is not for this host: RFC 1812, section 5.2.
func (s *Stack) forward(a *arrival, p *link.Packet) {
	if a.v6 && !s.forward6 || !a.v6 && !s.forward4 || a.in.Loopback {
		s.counts.Inc(mib.Of(a.v6, mib.InAddrErrors))
		return
	}
	if a.src.IsUnspecified() || a.dst.IsUnspecified() || a.src.IsLinkLocalUnicast() || a.dst.IsLinkLocalUnicast() || s.table.Broadcast(a.src) {
		return
	}
	if a.hops <= 1 {
		s.counts.Inc(mib.Of(a.v6, mib.InHdrErrors))
		s.reject(a, icmp.TimeExceeded)
		return
	}
	q := route.Query{Dst: a.dst, Source: a.src, In: a.in.Name, TOS: a.class, Protocol: a.proto}
	if len(a.head) >= 4 && (a.proto == wire.ProtoTCP || a.proto == wire.ProtoUDP) {
		q.SourcePort, q.DstPort = binary.BigEndian.Uint16(a.head), binary.BigEndian.Uint16(a.head[2:])
	}
	if a.screened != nil {
		q.Mark = a.screened.Mark
	}
	path, v := s.table.Find(q)
	switch v {
	case route.Found:
	case route.Dropped:
		return
	case route.Forbidden:
		s.reject(a, icmp.Prohibited)
		return
	case route.Refused:
		s.reject(a, icmp.HostUnreachable)
		return
	default:
		s.reject(a, icmp.NetUnreachable)
		return
	}
	if path.Out.Loopback || s.screens && !s.screenForward(a, &path) {
		return
	}
	s.counts.Inc(mib.Of(a.v6, mib.ForwDatagrams))
	s.forwardTo(a, p, path)
}

func (s *Stack) forwardTo(a *arrival, p *link.Packet, path route.Path) {
	n := a.ipHeader
	if n > link.HeaderRoom {
		return
	}
	size := n + a.size()
	gso := p.Offload.GSO
	whole := gso == link.GSONone && size > path.MTU || gso != link.GSONone && n+wire.TCPSize+int(p.Offload.SegmentSize) > path.MTU
	if whole && (a.v6 || wire.IPv4(a.whole[:n]).DontFragment()) {
		s.rejectAt(a, icmp.TooBig, path.MTU)
		return
	}
	q := s.packet()
	room := n
	if gso != link.GSONone {
		room = int(p.Offload.HeaderSize)
		if a.in.ether {
			room -= wire.EthernetSize
		}
		if room < n || room > link.HeaderRoom || room-n > len(a.head) {
			s.recycle(q)
			return
		}
	} else if p.Offload.SumDue {
		room = min(link.HeaderRoom, n+len(a.head))
	}
	h := q.Make(room)
	copy(h, a.whole[:n])
	copy(h[n:], a.head)
	q.Payload = append(append([]byte(nil), a.head[room-n:]...), a.rest...)
	q.Offload = p.Offload
	if a.in.ether && (q.Offload.SumDue || gso != link.GSONone) {
		q.Offload.SumStart -= min(q.Offload.SumStart, wire.EthernetSize)
		q.Offload.HeaderSize -= min(q.Offload.HeaderSize, wire.EthernetSize)
	}
	if q.Offload.SumDue && (int(q.Offload.SumStart) < n || int(q.Offload.SumStart)+int(q.Offload.SumOffset)+2 > len(h)) {
		s.recycle(q)
		return
	}
	if q.Offload.SumDue && !sumInPlace(q, n) {
		if gso != link.GSONone {
			s.recycle(q)
			return
		}
		completeSum(q) // before anybody looks at what it is written over
	}
	lessHops(h)
	if s.screens && !s.screenLeaving(a, q, &path) {
		s.recycle(q)
		return
	}
	if whole {
		s.refragment(q, &path, n)
		return
	}
	s.send(q, &path)
}

// sumInPlace says whether the checksum that p leaves to its device is that of TCP or UDP,
// whose header follows an IP header of n bytes and what belongs to it. A program that feeds
// an interface can ask for any.
func sumInPlace(p *link.Packet, n int) bool {
	proto := p.Header[9]
	if p.Header[0]>>4 == 6 {
		next, more, err := wire.Extensions(p.Header[6], p.Header[n:])
		if err != nil {
			return false
		}
		proto, n = next, n+more
	}
	o := &p.Offload
	return int(o.SumStart) == n && (proto == wire.ProtoTCP && o.SumOffset == 16 || proto == wire.ProtoUDP && o.SumOffset == 6)
}

// lessHops counts a hop; an IPv4 header's checksum follows (RFC 1624).
func lessHops(h []byte) {
	if h[0]>>4 == 6 {
		h[7]--
		return
	}
	h[8]--
	h[10], h[11] = 0, 0
	n := int(h[0]&0xf) * 4
	binary.BigEndian.PutUint16(h[10:], wire.Fold(wire.Sum(0, h[:n])))
}

// refragment takes a forwarded IPv4 packet apart, which may be a fragment
// itself. Its options are copied to every piece.
func (s *Stack) refragment(p *link.Packet, path *route.Path, n int) {
	defer s.recycle(p)
	if p.Offload.SumDue {
		completeSum(p)
	}
	h := wire.IPv4(append([]byte(nil), p.Header[:n]...))
	base, last := h.FragmentOffset(), h.MoreFragments()
	body := append(append([]byte(nil), p.Header[n:]...), p.Payload...)
	step := (path.MTU - n) &^ 7
	if step <= 0 || base+len(body) > 65535 {
		return
	}
	for off := 0; off < len(body); off += step {
		end := min(off+step, len(body))
		q := s.packet()
		b := q.Make(n)
		copy(b, h)
		q.Payload = body[off:end]
		frag := uint16((base + off) / 8)
		if end < len(body) || last {
			frag |= 0x2000
		}
		binary.BigEndian.PutUint16(b[2:], uint16(q.Size()))
		binary.BigEndian.PutUint16(b[6:], frag)
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], wire.Fold(wire.Sum(0, b)))
		s.send(q, path)
	}
}
