package stack

import (
	"net/netip"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// inputICMP answers echoes, gives replies to ping sockets and errors to the
// sockets that caused them.
func (s *Stack) inputICMP(a *arrival) {
	h, err := wire.ParseICMP(a.head)
	if err != nil {
		s.counts.Inc(mib.Of(a.v6, mib.ICMPInMsgs))
		s.counts.Inc(mib.Of(a.v6, mib.ICMPInErrors))
		return
	}
	body := a.after(wire.ICMPSize, a.size())
	if !a.trusted && wire.ICMPSum(a.v6, a.src, a.dst, h, body) != 0 {
		s.counts.Inc(mib.Of(a.v6, mib.ICMPInMsgs))
		s.counts.Inc(mib.Of(a.v6, mib.ICMPInErrors))
		s.counts.Inc(mib.Of(a.v6, mib.ICMPInCsumErrors))
		return
	}
	s.counts.ICMP(a.v6, false, h.Type())
	if r, ok := icmp.EchoReply(a.v6, h); ok {
		s.echo(a, r, body)
		return
	}
	if !a.v6 && !a.toMany && h.Type() == wire.ICMPTimestamp {
		if r, answer, ok := icmp.TimestampReply(h, body, s.midnight()); ok && (a.in.Loopback || s.limiter.Allow(int64(s.now))) {
			s.sendICMPWith(nil, a.class, a.dst, a.src, a.in.Index, r, answer)
		}
		return
	}
	if problem, ok := icmp.ProblemOf(a.v6, h); ok {
		if q, ok := icmp.ParseQuoted(a.v6, body); ok {
			s.inputError(q, problem, failure{offender: a.src, mtu: icmp.MTUOf(a.v6, h), kind: h.Type(), code: h.Code(), hops: a.hops})
		}
		return
	}
	if a.v6 && h.Type() >= wire.NDRouterSolicit && h.Type() <= wire.NDRedirect {
		a.in.inputND(a, h, body)
		return
	}
	if a.v6 && icmp.ListenerDiscovery(h.Type()) {
		a.in.inputMLD(a, h, body)
		return
	}
	if h.Type() == wire.ICMPEchoReply && !a.v6 || h.Type() == wire.ICMPv6EchoReply && a.v6 {
		src := netip.AddrPortFrom(a.src, h.ID())
		if d := s.receiver(a.proto, h.ID(), src, a.dst, a.link()); d != nil {
			d.deliver(a, netip.AddrPortFrom(a.src, 0), a.head[:wire.ICMPSize], body)
		}
	}
}

// echo answers a ping. One to everybody is not answered: RFC 1122, 3.2.2.6.
func (s *Stack) echo(a *arrival, r wire.ICMPHeader, body []byte) {
	if a.v6 && s.tuned.noEcho6 || !a.v6 && s.tuned.noEcho4 {
		return
	}
	if a.toMany && !a.v6 || !a.in.Loopback && !s.echoes.Allow(int64(s.now)) {
		return
	}
	src := a.dst
	if a.toMany {
		src = netip.Addr{}
	}
	var ahead *wire.Ahead
	if !a.v6 && a.ipHeader > wire.IPv4Size && a.ipHeader <= len(a.whole) {
		if o := wire.EchoIPv4(a.whole[wire.IPv4Size:a.ipHeader]); len(o) > 0 {
			ahead = &wire.Ahead{V4: o}
		}
	}
	s.sendICMPWith(ahead, a.class, src, a.src, a.in.Index, r, body)
}

// sendICMP sends a message; body is copied. src may be left to the route; index
// is the interface of a link-local destination.
func (s *Stack) sendICMP(src, dst netip.Addr, index int, h wire.ICMPHeader, body []byte) {
	s.sendICMPWith(nil, 0, src, dst, index, h, body)
}

// sendICMPWith is sendICMP of a message that has headers before it, and a traffic class.
func (s *Stack) sendICMPWith(ahead *wire.Ahead, class uint8, src, dst netip.Addr, index int, h wire.ICMPHeader, body []byte) {
	path, ok := s.findPath(dst, src, index)
	if !ok {
		return
	}
	src = path.Source
	s.counts.ICMP(!src.Is4(), true, h.Type)
	p := s.packet()
	n := ipSize(src) + ahead.Size()
	t := p.Make(n + wire.ICMPSize)[n:]
	h.Put(t)
	p.Payload = append([]byte(nil), body...)
	proto := uint8(wire.ProtoICMP)
	if !src.Is4() {
		proto = wire.ProtoICMPv6
	}
	wire.ICMP(t).PutChecksum(wire.ICMPSum(!src.Is4(), src, dst, t, p.Payload))
	p.Trusted = path.Out.Loopback
	s.output(p, &path, flow{src: src, dst: dst, proto: proto, class: class, fragment: true, ahead: ahead})
}

// reject answers a with an ICMP error, where one may be sent: RFC 1122, 3.2.2.
func (s *Stack) reject(a *arrival, problem icmp.Problem) { s.rejectAt(a, problem, 0) }

// rejectAt is reject with the pointer or the MTU that the message carries.
func (s *Stack) rejectAt(a *arrival, problem icmp.Problem, value int) {
	if a.dst.IsMulticast() && !(a.v6 && (problem == icmp.TooBig || problem == icmp.BadOption)) {
		return
	}
	h := icmp.ErrorHeader(a.v6, problem)
	h.Rest = icmp.ErrorValue(a.v6, problem, value)
	s.complain(a, h)
}

// complain answers a with an ICMP error of any kind.
func (s *Stack) complain(a *arrival, h wire.ICMPHeader) {
	if a.src.IsUnspecified() || a.src.IsMulticast() || s.table.Broadcast(a.src) || s.table.Broadcast(a.dst) {
		return
	}
	if icmp.IsError(a.v6, a.whole) {
		return
	}
	if (a.in == nil || !a.in.Loopback) && !s.limiter.Allow(int64(s.now)) {
		s.counts.Inc(mib.Of(a.v6, mib.ICMPOutRateLimitHost))
		return
	}
	limit := icmp.Quote4
	if a.v6 {
		limit = icmp.Quote6
	}
	quote := append([]byte(nil), a.whole...)
	quote = append(quote, a.rest...)
	index := 0
	if a.in != nil {
		index = a.in.Index
	}
	src := a.dst
	if _, local := s.table.Local(src); !local {
		src = netip.Addr{}
	}
	class := uint8(0)
	if !a.v6 { // RFC 1812, section 4.3.2.5
		const internetControl, service = 0xc0, 0x1e
		class = a.whole[1]&service | internetControl
	}
	s.sendICMPWith(nil, class, src, a.src, index, h, quote[:min(len(quote), limit)])
}

// failure is what came with an error: for the error queue and the path MTU.
type failure struct {
	offender   netip.Addr
	mtu        int
	kind, code uint8
	hops       uint8
	local      bool
}

// inputError tells the socket that sent the quoted packet.
func (s *Stack) inputError(q icmp.Quoted, problem icmp.Problem, f failure) {
	if _, local := s.table.Local(q.Src.Addr()); !local {
		return
	}
	for _, r := range s.raws {
		if r.proto == q.Proto && r.v6 == q.Src.Addr().Is6() && (!r.local.IsValid() || r.local == q.Src.Addr()) && (!r.remote.IsValid() || r.remote == q.Dst.Addr()) {
			r.unreachable(q.Dst, problem, f, q.Payload)
		}
	}
	switch q.Proto {
	case wire.ProtoTCP:
		e := s.conns[tuple{q.Src, q.Dst}]
		if e == nil || !e.sent(q) {
			s.counts.Inc(mib.OutOfWindowIcmps)
			return // RFC 5927: it must quote something in flight
		}
		if problem == icmp.TooBig {
			s.tooBig(q.Dst.Addr(), f.mtu)
			e.pathChanged()
			return
		}
		e.unreachable(problem)
	case wire.ProtoUDP, wire.ProtoUDPLite, wire.ProtoICMP, wire.ProtoICMPv6:
		if d := s.receiver(q.Proto, q.Src.Port(), q.Dst, q.Src.Addr(), 0); d != nil {
			if problem == icmp.TooBig {
				s.tooBig(q.Dst.Addr(), f.mtu)
			}
			payload := q.Payload
			if d.ported() {
				payload = payload[wire.UDPSize:]
			}
			d.unreachable(q.Dst, problem, f, payload)
		}
	}
}
