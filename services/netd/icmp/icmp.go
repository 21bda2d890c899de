// Package icmp makes the answers and errors of ICMP and ICMPv6, and reads them.
// It is pure: no clock, no I/O.
package icmp

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/services/netd/wire"
)

// Problem is what an error message tells, for both versions.
type Problem uint8

const (
	Other Problem = iota
	PortUnreachable
	HostUnreachable
	NetUnreachable
	ProtocolUnreachable
	Prohibited
	TooBig
	TimeExceeded
	ReassemblyTime
	BadHeader // a parameter problem at a header's field
	BadOption // at an unknown option
)

// Quote is how much of the offending packet an error carries at most, so that
// the whole fits the least MTU.
const (
	Quote4 = 548
	Quote6 = 1232
)

// ErrorHeader gives the header of an error message.
func ErrorHeader(v6 bool, p Problem) wire.ICMPHeader {
	if v6 {
		switch p {
		case PortUnreachable:
			return wire.ICMPHeader{Type: wire.ICMPv6Unreachable, Code: wire.ICMPv6UnreachPort}
		case ProtocolUnreachable:
			return wire.ICMPHeader{Type: wire.ICMPv6Parameter, Code: 1}
		case NetUnreachable:
			return wire.ICMPHeader{Type: wire.ICMPv6Unreachable, Code: wire.ICMPv6UnreachNoRoute}
		case Prohibited:
			return wire.ICMPHeader{Type: wire.ICMPv6Unreachable, Code: wire.ICMPv6UnreachProhibit}
		case TooBig:
			return wire.ICMPHeader{Type: wire.ICMPv6TooBig}
		case TimeExceeded:
			return wire.ICMPHeader{Type: wire.ICMPv6TimeExceeded}
		case ReassemblyTime:
			return wire.ICMPHeader{Type: wire.ICMPv6TimeExceeded, Code: 1}
		case BadHeader:
			return wire.ICMPHeader{Type: wire.ICMPv6Parameter}
		case BadOption:
			return wire.ICMPHeader{Type: wire.ICMPv6Parameter, Code: 2}
		}
		return wire.ICMPHeader{Type: wire.ICMPv6Unreachable, Code: wire.ICMPv6UnreachAddr}
	}
	switch p {
	case PortUnreachable:
		return wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: wire.ICMPUnreachPort}
	case ProtocolUnreachable:
		return wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: wire.ICMPUnreachProtocol}
	case NetUnreachable:
		return wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: wire.ICMPUnreachNet}
	case Prohibited:
		return wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: 13}
	case TooBig:
		return wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: wire.ICMPUnreachFrag}
	case TimeExceeded:
		return wire.ICMPHeader{Type: wire.ICMPTimeExceeded}
	case ReassemblyTime:
		return wire.ICMPHeader{Type: wire.ICMPTimeExceeded, Code: 1}
	case BadHeader, BadOption:
		return wire.ICMPHeader{Type: wire.ICMPParameter}
	}
	return wire.ICMPHeader{Type: wire.ICMPUnreachable, Code: wire.ICMPUnreachHost}
}

// ProblemOf reads an error's header; ok is false if it is not an error.
func ProblemOf(v6 bool, h wire.ICMP) (p Problem, ok bool) {
	if v6 {
		switch h.Type() {
		case wire.ICMPv6Unreachable:
			switch h.Code() {
			case wire.ICMPv6UnreachPort:
				return PortUnreachable, true
			case wire.ICMPv6UnreachProhibit:
				return Prohibited, true
			case wire.ICMPv6UnreachNoRoute:
				return NetUnreachable, true
			}
			return HostUnreachable, true
		case wire.ICMPv6TooBig:
			return TooBig, true
		case wire.ICMPv6TimeExceeded:
			return TimeExceeded, true
		}
		return Other, h.Type() < 128
	}
	switch h.Type() {
	case wire.ICMPUnreachable:
		switch h.Code() {
		case wire.ICMPUnreachPort:
			return PortUnreachable, true
		case wire.ICMPUnreachProtocol:
			return ProtocolUnreachable, true
		case wire.ICMPUnreachNet:
			return NetUnreachable, true
		case wire.ICMPUnreachFrag:
			return TooBig, true
		case 9, 10, 13:
			return Prohibited, true
		}
		return HostUnreachable, true
	case wire.ICMPTimeExceeded:
		return TimeExceeded, true
	case wire.ICMPParameter:
		return Other, true
	}
	return Other, false
}

// Quoted is what an error message says of the packet that caused it.
type Quoted struct {
	Proto    uint8
	Src, Dst netip.AddrPort // ports where the protocol has them; an echo's id in both
	Seq      uint32         // of TCP
	Payload  []byte         // from the transport header on, as far as it is there
}

// ParseQuoted reads the packet that an error message carries, of which only the
// beginning may be there.
func ParseQuoted(v6 bool, b []byte) (q Quoted, ok bool) {
	var src, dst netip.Addr
	if v6 {
		h, err := wire.ParseIPv6(b, 1<<17)
		if err != nil {
			return q, false
		}
		proto, n, err := wire.Extensions(h.NextHeader(), b[wire.IPv6Size:])
		if err != nil {
			return q, false
		}
		q.Proto, src, dst, b = proto, h.Src(), h.Dst(), b[wire.IPv6Size+n:]
	} else {
		h, err := wire.ParseIPv4(b, 1<<17)
		if err != nil {
			return q, false
		}
		q.Proto, src, dst, b = h.Protocol(), h.Src(), h.Dst(), b[len(h):]
	}
	if len(b) < 8 {
		return q, false
	}
	q.Payload = b
	var sport, dport uint16
	switch q.Proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite:
		sport, dport = uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3])
	case wire.ProtoICMP, wire.ProtoICMPv6:
		sport = uint16(b[4])<<8 | uint16(b[5])
		dport = sport
	}
	if q.Proto == wire.ProtoTCP {
		q.Seq = binary.BigEndian.Uint32(b[4:])
	}
	q.Src, q.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return q, true
}

// EchoReply says whether h asks for an echo, and gives the answer's header. Its code is the
// question's, as Linux has it.
func EchoReply(v6 bool, h wire.ICMP) (r wire.ICMPHeader, ok bool) {
	switch {
	case v6 && h.Type() == wire.ICMPv6EchoRequest:
		return wire.ICMPHeader{Type: wire.ICMPv6EchoReply, Code: h.Code(), Rest: h.Rest()}, true
	case !v6 && h.Type() == wire.ICMPEchoRequest:
		return wire.ICMPHeader{Type: wire.ICMPEchoReply, Code: h.Code(), Rest: h.Rest()}, true
	}
	return r, false
}

// TimestampReply says whether h asks for the time, with body behind it, and gives the answer:
// RFC 792, page 16. now is milliseconds since midnight, UT.
func TimestampReply(h wire.ICMP, body []byte, now uint32) (r wire.ICMPHeader, answer []byte, ok bool) {
	if h.Type() != wire.ICMPTimestamp || len(body) < 4 {
		return r, nil, false
	}
	answer = append(make([]byte, 0, 12), body[:4]...)
	answer = binary.BigEndian.AppendUint32(answer, now)
	answer = binary.BigEndian.AppendUint32(answer, now)
	return wire.ICMPHeader{Type: wire.ICMPTimestampReply, Rest: h.Rest()}, answer, true
}

// Limiter is a token bucket for what we send unasked. Times are nanoseconds.
type Limiter struct {
	PerSecond, Burst int64

	tokens int64 // of a billionth
	last   int64
	begun  bool
}

// Allow takes a token if there is one.
func (l *Limiter) Allow(now int64) bool {
	if !l.begun {
		l.begun, l.last, l.tokens = true, now, l.Burst*1e9
	}
	gap := min(max(now-l.last, 0), 3600e9)
	l.tokens = min(l.tokens+gap*l.PerSecond, l.Burst*1e9)
	l.last = now
	if l.tokens < 1e9 {
		return false
	}
	l.tokens -= 1e9
	return true
}
