package stack

import (
	"net/netip"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/netfilter"
	"bulkhead/services/netd/wire"
)

// arrival is a packet whose IP header has been checked.
type arrival struct {
	in       *iface
	v6       bool
	trusted  bool
	pieces   bool // it came as fragments
	toMany   bool // its destination is a broadcast or multicast address
	src, dst netip.Addr
	proto    uint8
	hops     uint8
	class    uint8
	segment  uint16   // bytes of payload of each of the packets that this one stands for; 0: it is one
	head     []byte   // from the transport header on
	rest     []byte   // what follows head
	whole    []byte   // from the IP header on, for quotes
	ipHeader int      // length of the IP header with what belongs to it
	nextAt   int      // where in whole IPv6 says what proto is
	chains   [2]chain // IPv6's extension headers, before and behind a fragment's

	screened *netfilter.Packet // what the packet filter knows; nil: it was not asked
}

// link is the index of the interface that sockets see it come from: what this host sends to an
// IPv6 address of its own comes from the one that has it, as in Linux.
func (a *arrival) link() int {
	if a.v6 && a.in.Loopback {
		if i, own := a.in.s.table.Local(a.dst); own && i != nil {
			return i.Index
		}
	}
	return a.in.Index
}

// size is the length of what follows the IP header.
func (a *arrival) size() int { return len(a.head) + len(a.rest) }

// after gives what follows the first n bytes of head; one of the pieces of a
// packet is empty past the headers unless it came in odd pieces.
func (a *arrival) after(n, length int) []byte {
	b := a.head[n:]
	if len(b) == 0 {
		b = a.rest
	} else if len(a.rest) > 0 {
		b = append(append([]byte(nil), b...), a.rest...)
	}
	return b[:min(length, len(b))]
}

// input takes a packet, which begins with its IP header, from an interface.
func (s *Stack) input(in *iface, p *link.Packet) {
	if len(p.Header) == 0 {
		return
	}
	a := arrival{in: in, trusted: p.Trusted, whole: p.Header}
	if p.Offload.GSO != link.GSONone {
		a.segment = p.Offload.SegmentSize
	}
	switch p.Header[0] >> 4 {
	case 4:
		s.counts.Inc(mib.InReceives)
		s.counts.Add(mib.InOctets, p.Size())
		s.input4(&a, p)
	case 6:
		s.counts.Inc(mib.Of(true, mib.InReceives))
		s.counts.Add(mib.Of(true, mib.InOctets), p.Size())
		s.input6(&a, p)
	}
}

// classes are the counters of the values of the ECN field.
var classes = [4]mib.Counter{mib.InNotECT, mib.InECT1, mib.InECT0, mib.InCE}

func (s *Stack) input4(a *arrival, p *link.Packet) {
	h, err := wire.ParseIPv4(p.Header, p.Size())
	if err != nil {
		a.in.stats.ReceiveErrors++
		s.counts.Inc(mib.Of(a.v6, mib.InHdrErrors))
		return
	}
	a.src, a.dst, a.proto, a.hops, a.class = h.Src(), h.Dst(), h.Protocol(), h.TTL(), h.TOS()
	a.cut(p, len(h), h.PayloadLen())
	if s.screens {
		if h.MoreFragments() || h.FragmentOffset() > 0 {
			if !s.whole4(a, p, h) {
				return
			}
			h = wire.IPv4(a.whole[:len(h)])
		}
		if !s.screenIn(a, p) {
			return
		}
	}
	if !s.arrives(a, p) {
		return
	}
	if len(h) > wire.IPv4Size && !s.options4(a, h) {
		return
	}
	if h.MoreFragments() || h.FragmentOffset() > 0 {
		key := ip.FragmentKey{Src: a.src, Dst: a.dst, Proto: a.proto, ID: uint32(h.ID())}
		if !s.reassemble(a, key, h.FragmentOffset(), h.MoreFragments(), 0) {
			return
		}
	}
	s.deliver(a)
}

func (s *Stack) input6(a *arrival, p *link.Packet) {
	a.v6 = true
	h, err := wire.ParseIPv6(p.Header, p.Size())
	if err != nil {
		a.in.stats.ReceiveErrors++
		s.counts.Inc(mib.Of(a.v6, mib.InHdrErrors))
		return
	}
	a.src, a.dst, a.hops, a.class, a.proto = h.Src(), h.Dst(), h.HopLimit(), h.TrafficClass(), h.NextHeader()
	a.nextAt = 6
	a.cut(p, wire.IPv6Size, h.PayloadLen())
	if s.screens && (!s.whole6(a, p) || !s.screenIn(a, p)) {
		return
	}
	if !s.arrives(a, p) || !s.extensions(a) {
		return
	}
	if a.proto == wire.ProtoFragment {
		f, err := wire.ParseFragment(a.head)
		if err != nil {
			s.rejectAt(a, icmp.BadHeader, a.ipHeader)
			return
		}
		a.head = a.head[wire.FragmentSize:]
		a.proto, a.nextAt = f.NextHeader(), a.ipHeader
		if f.More() && a.size()%8 != 0 { // RFC 8200, 4.5
			s.rejectAt(a, icmp.BadHeader, 4)
			return
		}
		key := ip.FragmentKey{Src: a.src, Dst: a.dst, ID: f.ID()}
		if f.More() || f.Offset() > 0 { // not an atomic one: RFC 6946
			if !s.reassemble(a, key, f.Offset(), f.More(), f.NextHeader()) {
				return
			}
		}
		if !s.extensions(a) || a.proto == wire.ProtoFragment {
			return
		}
	}
	s.deliver(a)
}

// extensions steps over extension headers; false says that the packet is done
// with.
func (s *Stack) extensions(a *arrival) bool {
	proto, n, err := wire.Extensions(a.proto, a.head)
	if err != nil {
		return false
	}
	if v, at := wire.CheckExtensions(a.proto, a.head[:n], a.nextAt == 6); v != wire.OptionsGood {
		// RFC 8200, 4.2: what to do is in the option's own bits.
		if v == wire.OptionsReport || v == wire.OptionsReportUnicast && !a.toMany {
			s.rejectAt(a, icmp.BadOption, a.ipHeader+at)
		} else if v == wire.OptionsRouting {
			s.rejectAt(a, icmp.BadHeader, a.ipHeader+at)
		} else if v == wire.OptionsMisplaced {
			if at >= 0 {
				a.nextAt = a.ipHeader + at
			}
			s.rejectAt(a, icmp.ProtocolUnreachable, a.nextAt)
		}
		return false
	}
	if n > 0 {
		at := 0
		if a.chains[0].b != nil {
			at = 1
		}
		a.chains[at] = chain{a.proto, a.head[:n]}
		a.nextAt = a.ipHeader + wire.LastExtension(a.head[:n])
	}
	a.proto = proto
	a.head = a.head[n:]
	a.ipHeader += n
	return true
}

// cut sets head and rest to the n bytes' header's payload.
func (a *arrival) cut(p *link.Packet, n, length int) {
	a.ipHeader = n
	a.head, a.rest = p.Header[n:], p.Payload
	if len(a.head) >= length {
		a.head, a.rest = a.head[:length], nil
	} else if len(a.rest) > length-len(a.head) {
		a.rest = a.rest[:length-len(a.head)]
	}
	if len(a.head) == 0 && len(a.rest) > 0 {
		// What a raw socket sends on the loopback has its transport header behind.
		a.whole = append(append([]byte(nil), a.whole...), a.rest...)
		a.head, a.rest = a.whole[n:], nil
	}
}

// arrives says whether the packet is for this host; another one's it forwards.
// Addresses that cannot come from or go over a wire end here: RFC 1122, 3.2.1.3.
func (s *Stack) arrives(a *arrival, p *link.Packet) bool {
	n := &s.counts
	n.Inc(mib.Of(a.v6, classes[a.class&3]))
	if !a.in.Loopback {
		if a.src.IsLoopback() || a.dst.IsLoopback() || a.src.IsMulticast() || a.src == ip.BroadcastAll {
			n.Inc(mib.Of(a.v6, mib.InAddrErrors))
			return false
		}
		if a.v6 {
			if _, local := s.table.Local(a.src); local && p.Interface == 0 { // else it is the host's own copy
				n.Inc(mib.Of(a.v6, mib.InAddrErrors))
				return false // our own, which somebody plays back
			}
		}
	}
	if a.dst.IsMulticast() {
		a.toMany = true
		a.in.stats.Multicast++
		n.Inc(mib.Of(a.v6, mib.InMcastPkts))
		n.Add(mib.Of(a.v6, mib.InMcastOctets), p.Size())
		return a.in.listens(a.dst)
	}
	if _, local := s.table.Local(a.dst); local {
		a.toMany = a.in.Loopback && a.in.Broadcast(a.dst)
		return true
	}
	if s.table.Broadcast(a.dst) {
		a.toMany = true
		n.Inc(mib.InBcastPkts)
		n.Add(mib.InBcastOctets, p.Size())
		return true
	}
	s.forward(a, p)
	return false
}

// reassemble adds a fragment; true says that a is the whole datagram now.
func (s *Stack) reassemble(a *arrival, key ip.FragmentKey, offset int, more bool, _ uint8) bool {
	quote := a.whole
	if len(a.rest) > 0 {
		quote = append(append([]byte(nil), a.whole...), a.rest...)
	}
	s.counts.Inc(mib.Of(a.v6, mib.ReasmReqds))
	whole, _, ok := s.fragments.Add(int64(s.now), key, ip.Piece{Offset: offset, More: more, Data: a.after(0, a.size()), First: quote[:min(len(quote), icmp.Quote6)]})
	if ok {
		s.counts.Inc(mib.Of(a.v6, mib.ReasmOKs))
		a.head, a.rest = whole, nil
		a.trusted, a.segment, a.pieces = false, 0, true
	}
	return ok
}

// expireFragments tells the senders of what did not come together.
func (s *Stack) expireFragments() {
	if s.fragments.Deadline() > int64(s.heard) {
		return
	}
	for _, q := range s.fragments.Expire(int64(s.heard)) {
		a := arrival{v6: q[0]>>4 == 6, whole: q}
		if a.v6 {
			h, err := wire.ParseIPv6(q, 1<<17)
			if err != nil {
				continue
			}
			a.src, a.dst = h.Src(), h.Dst()
		} else {
			h, err := wire.ParseIPv4(q, 1<<17)
			if err != nil {
				continue
			}
			a.src, a.dst = h.Src(), h.Dst()
		}
		s.counts.Inc(mib.Of(a.v6, mib.ReasmTimeout))
		s.counts.Inc(mib.Of(a.v6, mib.ReasmFails))
		s.reject(&a, icmp.ReassemblyTime)
	}
}

// deliver gives a whole datagram to its protocol.
func (s *Stack) deliver(a *arrival) {
	if s.screens && !s.screenLocal(a) {
		return
	}
	s.counts.Inc(mib.Of(a.v6, mib.InDelivers))
	wanted := s.deliverRaw(a)
	switch a.proto {
	case wire.ProtoTCP:
		if !a.toMany {
			s.inputTCP(a)
		}
	case wire.ProtoUDP, wire.ProtoUDPLite:
		s.inputUDP(a)
	case controlOf(a.v6):
		s.inputICMP(a)
	default:
		switch {
		case a.proto == wire.ProtoIGMP && !a.v6:
			a.in.inputIGMP(a)
		case a.proto == wire.ProtoNone && a.v6:
		case !wanted:
			s.counts.Inc(mib.Of(a.v6, mib.InUnknownProtos))
			s.rejectAt(a, icmp.ProtocolUnreachable, a.nextAt)
		}
	}
}

// controlOf is the version's ICMP.
func controlOf(v6 bool) uint8 {
	if v6 {
		return wire.ProtoICMPv6
	}
	return wire.ProtoICMP
}
