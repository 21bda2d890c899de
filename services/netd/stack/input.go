package stack

import (
	"net/netip"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// arrival is a packet whose IP header has been checked.
type arrival struct {
	v6       bool
	trusted  bool
	src, dst netip.Addr
	proto    uint8
	hops     uint8
	class    uint8
	head     []byte // from the transport header on
	rest     []byte // what follows head
	whole    []byte // from the IP header on, for quotes
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

// input takes a packet from a link. Fragments and what is not for this host are
// dropped.
func (s *Stack) input(p *link.Packet) {
	if len(p.Header) == 0 {
		return
	}
	var a arrival
	var n int
	var length int
	switch p.Header[0] >> 4 {
	case 4:
		h, err := wire.ParseIPv4(p.Header, p.Size())
		if err != nil || h.MoreFragments() || h.FragmentOffset() > 0 {
			return
		}
		n, length = len(h), h.PayloadLen()
		a = arrival{src: h.Src(), dst: h.Dst(), proto: h.Protocol(), hops: h.TTL(), class: h.TOS()}
	case 6:
		h, err := wire.ParseIPv6(p.Header, p.Size())
		if err != nil {
			return
		}
		proto, ext, err := wire.Extensions(h.NextHeader(), p.Header[wire.IPv6Size:])
		if err != nil || proto == wire.ProtoFragment {
			return
		}
		n, length = wire.IPv6Size+ext, h.PayloadLen()-ext
		a = arrival{v6: true, src: h.Src(), dst: h.Dst(), proto: proto, hops: h.HopLimit(), class: h.TrafficClass()}
	default:
		return
	}
	if length < 0 {
		return
	}
	a.trusted = p.Trusted
	a.whole = p.Header
	a.head, a.rest = p.Header[n:], p.Payload
	if len(a.head) >= length {
		a.head, a.rest = a.head[:length], nil
	} else if len(a.rest) > length-len(a.head) {
		a.rest = a.rest[:length-len(a.head)]
	}
	if _, local := s.table.Local(a.dst); !local {
		return
	}
	switch a.proto {
	case wire.ProtoTCP:
		s.inputTCP(&a)
	case wire.ProtoUDP:
		s.inputUDP(&a)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if (a.proto == wire.ProtoICMPv6) == a.v6 {
			s.inputICMP(&a)
		}
	default:
		s.reject(&a, icmp.ProtocolUnreachable)
	}
}

// output sends a packet whose transport header and payload are there: it puts
// the IP header into the room in front. room is for IP and transport header.
func (s *Stack) output(p *link.Packet, src, dst netip.Addr, proto, hops, class uint8) {
	if hops == 0 {
		hops = defaultHops
	}
	if src.Is4() {
		h := wire.IPv4Header{TOS: class, PayloadLen: p.Size() - wire.IPv4Size, DontFragment: true, TTL: hops, Protocol: proto, Src: src, Dst: dst}
		h.Put(p.Header)
	} else {
		h := wire.IPv6Header{TrafficClass: class, PayloadLen: p.Size() - wire.IPv6Size, NextHeader: proto, HopLimit: hops, Src: src, Dst: dst}
		h.Put(p.Header)
	}
	// Every path leads over the loopback as long as there is no other link.
	s.loop.Send(p)
}

// ipSize is the size of the IP header to addr.
func ipSize(addr netip.Addr) int {
	if addr.Is4() {
		return wire.IPv4Size
	}
	return wire.IPv6Size
}

// inputICMP answers echoes, gives replies to ping sockets and errors to the
// sockets that caused them.
func (s *Stack) inputICMP(a *arrival) {
	h, err := wire.ParseICMP(a.head)
	if err != nil {
		return
	}
	body := a.after(wire.ICMPSize, a.size())
	if !a.trusted && wire.ICMPSum(a.v6, a.src, a.dst, h, body) != 0 {
		return
	}
	if r, ok := icmp.EchoReply(a.v6, h); ok {
		s.sendICMP(a.dst, a.src, r, body)
		return
	}
	if problem, ok := icmp.ProblemOf(a.v6, h); ok {
		if q, ok := icmp.ParseQuoted(a.v6, body); ok {
			s.inputError(q, problem)
		}
		return
	}
	if h.Type() == wire.ICMPEchoReply && !a.v6 || h.Type() == wire.ICMPv6EchoReply && a.v6 {
		src := netip.AddrPortFrom(a.src, h.ID())
		if d := s.receiver(a.proto, h.ID(), src, a.dst); d != nil {
			d.deliver(a, netip.AddrPortFrom(a.src, 0), a.head[:wire.ICMPSize], body)
		}
	}
}

// sendICMP sends a message; body is copied.
func (s *Stack) sendICMP(src, dst netip.Addr, h wire.ICMPHeader, body []byte) {
	p := s.packet()
	n := ipSize(src)
	t := p.Make(n + wire.ICMPSize)[n:]
	h.Put(t)
	p.Payload = append([]byte(nil), body...)
	proto := uint8(wire.ProtoICMP)
	if !src.Is4() {
		proto = wire.ProtoICMPv6
	}
	wire.ICMP(t).PutChecksum(wire.ICMPSum(!src.Is4(), src, dst, t, p.Payload))
	p.Trusted = true
	s.output(p, src, dst, proto, 0, 0)
}

// reject answers a with an ICMP error, where one may be sent: RFC 1122, 3.2.2.
func (s *Stack) reject(a *arrival, problem icmp.Problem) {
	if a.src.IsUnspecified() || a.src.IsMulticast() || a.dst.IsMulticast() || s.table.Broadcast(a.dst) || !s.limiter.Allow(int64(s.now)) {
		return
	}
	limit := icmp.Quote4
	if a.v6 {
		limit = icmp.Quote6
	}
	quote := append([]byte(nil), a.whole...)
	quote = append(quote, a.rest...)
	s.sendICMP(a.dst, a.src, icmp.ErrorHeader(a.v6, problem), quote[:min(len(quote), limit)])
}

// inputError tells the socket that sent the quoted packet.
func (s *Stack) inputError(q icmp.Quoted, problem icmp.Problem) {
	switch q.Proto {
	case wire.ProtoTCP:
		if e := s.conns[tuple{q.Src, q.Dst}]; e != nil {
			e.unreachable(problem)
		}
	case wire.ProtoUDP, wire.ProtoICMP, wire.ProtoICMPv6:
		if d := s.receiver(q.Proto, q.Src.Port(), q.Dst, q.Src.Addr()); d != nil {
			d.unreachable(q.Dst, problem)
		}
	}
}
