package icmp

import "bulkhead/services/netd/wire"

// ErrorValue is the second half of an error's header: the MTU of TooBig (bytes),
// the place of BadHeader and BadOption and, of IPv6, of ProtocolUnreachable.
func ErrorValue(v6 bool, p Problem, value int) uint32 {
	switch p {
	case TooBig:
		if v6 {
			return uint32(value)
		}
		return uint32(min(value, 65535))
	case ProtocolUnreachable:
		if v6 {
			return uint32(value)
		}
	case BadHeader, BadOption:
		if v6 {
			return uint32(value)
		}
		return uint32(value&0xff) << 24
	}
	return 0
}

// MTUOf is the MTU that a TooBig message tells, 0 if it tells none.
func MTUOf(v6 bool, h wire.ICMP) int {
	switch {
	case v6 && h.Type() == wire.ICMPv6TooBig:
		return int(min(h.Rest(), 65535))
	case !v6 && h.Type() == wire.ICMPUnreachable && h.Code() == wire.ICMPUnreachFrag:
		return int(h.Rest() & 0xffff)
	}
	return 0
}

// IsError says whether a packet, from its IP header on, is an ICMP error or
// cannot be told from one, so that none answers it: RFC 1122, section 3.2.2; RFC
// 4443, section 2.4. A fragment that is not the first counts as one.
func IsError(v6 bool, b []byte) bool {
	if v6 {
		if len(b) < wire.IPv6Size {
			return true
		}
		proto, n, err := wire.Extensions(b[6], b[wire.IPv6Size:])
		if err != nil {
			return true
		}
		b = b[wire.IPv6Size+n:]
		if proto == wire.ProtoFragment {
			f, err := wire.ParseFragment(b)
			if err != nil {
				return false // Linux complains about one that is cut off
			}
			if f.Offset() > 0 {
				return true
			}
			proto, b = f.NextHeader(), b[wire.FragmentSize:]
		}
		return proto == wire.ProtoICMPv6 && (len(b) == 0 || b[0] < 128 || b[0] == wire.NDRedirect)
	}
	if len(b) < wire.IPv4Size {
		return true
	}
	n := int(b[0]&0xf) * 4
	if n < wire.IPv4Size || n > len(b) || wire.IPv4(b[:n]).FragmentOffset() > 0 {
		return true
	}
	if b[9] != wire.ProtoICMP {
		return false
	}
	if n == len(b) {
		return true
	}
	switch b[n] {
	case wire.ICMPEchoReply, wire.ICMPEchoRequest, 13, 14, 15, 16, 17, 18:
		return false
	}
	return true
}

// ListenerDiscovery says whether a type is one of MLD: RFC 3810, section 5.
func ListenerDiscovery(kind uint8) bool { return kind >= 130 && kind <= 132 || kind == 143 }
