// Package udp is the User Datagram Protocol (RFC 768) and UDP-Lite (RFC 3828) without sockets: headers
// with their checksums, and which of several receivers a datagram is for. It is
// pure: no clock, no I/O.
package udp

import (
	"net/netip"

	"bulkhead/services/netd/wire"
)

// MaxPayload4 and MaxPayload6 are the longest payloads in bytes, without
// jumbograms.
const (
	MaxPayload4 = 65535 - wire.IPv4Size - wire.UDPSize
	MaxPayload6 = 65535 - wire.UDPSize
)

// Put writes the header of a datagram to b, with a checksum unless trusted.
func Put(b []byte, src, dst netip.AddrPort, payload []byte, trusted bool) {
	h := wire.UDPHeader{SrcPort: src.Port(), DstPort: dst.Port(), PayloadLen: len(payload)}
	h.Put(b)
	if !trusted {
		u := wire.UDP(b[:wire.UDPSize])
		sum := wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoUDP, wire.UDPSize+len(payload))
		u.PutChecksum(wire.Fold(wire.Sum(wire.Sum(sum, u), payload)))
	}
}

// Valid checks the checksum of a datagram that came over a wire.
func Valid(h wire.UDP, src, dst netip.Addr, payload []byte) bool {
	if h.Checksum() == 0 {
		return src.Is4()
	}
	sum := wire.PseudoSum(src, dst, wire.ProtoUDP, wire.UDPSize+len(payload))
	return wire.Fold(wire.Sum(wire.Sum(sum, h), payload)) == 0
}

// PutLite writes the header of a datagram of UDP-Lite (RFC 3828) to b, with a
// checksum over coverage bytes from the header's first (0: all) unless trusted.
func PutLite(b []byte, src, dst netip.AddrPort, payload []byte, coverage int, trusted bool) {
	if coverage >= wire.UDPSize+len(payload) {
		coverage = 0
	}
	h := wire.UDPHeader{SrcPort: src.Port(), DstPort: dst.Port()}
	h.PutLite(b, coverage)
	if !trusted {
		if coverage == 0 {
			coverage = wire.UDPSize + len(payload)
		}
		u := wire.UDP(b[:wire.UDPSize])
		u.PutChecksum(liteSum(u, src.Addr(), dst.Addr(), payload, coverage))
	}
}

// ValidLite checks the checksum of a datagram of UDP-Lite, which always has one.
func ValidLite(h wire.UDP, src, dst netip.Addr, payload []byte, coverage int) bool {
	return h.Checksum() != 0 && liteSum(h, src, dst, payload, coverage) == 0
}

// liteSum is over a part of the datagram, and the pseudo header has the length of
// all of it: RFC 3828, section 3.1.
func liteSum(h wire.UDP, src, dst netip.Addr, payload []byte, coverage int) uint16 {
	sum := wire.PseudoSum(src, dst, wire.ProtoUDPLite, wire.UDPSize+len(payload))
	return wire.Fold(wire.Sum(wire.Sum(sum, h), payload[:min(max(coverage-wire.UDPSize, 0), len(payload))]))
}

// Receiver is what a socket says of the datagrams that it wants.
type Receiver struct {
	V4, V6 bool           // families
	Local  netip.Addr     // not valid: any address
	Remote netip.AddrPort // not valid: from anybody
}

// Score says how well r suits a datagram: 0 not at all, more is better.
func (r *Receiver) Score(src netip.AddrPort, dst netip.Addr) int {
	if dst.Is4() && !r.V4 || !dst.Is4() && !r.V6 {
		return 0
	}
	score := 1
	if r.Local.IsValid() {
		if r.Local != dst {
			return 0
		}
		score += 2
	}
	if r.Remote.IsValid() {
		if r.Remote != src {
			return 0
		}
		score += 4
	}
	if dst.Is4() && !r.V6 {
		score++ // a socket of the family itself before a dual-stack one
	}
	return score
}
