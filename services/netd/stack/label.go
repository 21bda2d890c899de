package stack

import (
	"encoding/binary"
	"math/bits"

	"bulkhead/services/netd/wire"
)

// autoLabels is net.ipv6.auto_flowlabels: Linux's Documentation/networking/ip-sysctl.rst.
type autoLabels uint8

const (
	labelsUnlessRefused autoLabels = iota // 1, as it is at first
	labelsNever                           // 0
	labelsIfAsked                         // 2
	labelsAlways                          // 3
)

// flowLabel is what an IPv6 packet has of one: the socket's, or one that all packets of a
// flow have and that tells nothing else (RFC 6437, section 3). b is the packet from its IP
// header on, of which the addresses need not be there yet.
func (s *Stack) flowLabel(f *flow, b []byte) uint32 {
	auto := AutoLabelUnset
	if f.sender != nil {
		if l := f.sender.FlowLabel; l != 0 {
			return l
		}
		auto = f.sender.AutoLabel
	}
	switch s.tuned.autoLabels {
	case labelsNever:
		return 0
	case labelsUnlessRefused:
		if auto == AutoLabelOff {
			return 0
		}
	case labelsIfAsked:
		if auto != AutoLabelOn {
			return 0
		}
	}
	var ports uint32
	switch n := f.headSize(); f.proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite:
		if len(b) >= n+4 {
			ports = binary.BigEndian.Uint32(b[n:])
		}
	}
	src, dst := f.src.As16(), f.dst.As16()
	h := uint64(f.proto)<<32 | uint64(ports)
	for i, w := range [4]uint64{binary.LittleEndian.Uint64(src[:]), binary.LittleEndian.Uint64(src[8:]), binary.LittleEndian.Uint64(dst[:]), binary.LittleEndian.Uint64(dst[8:])} {
		high, low := bits.Mul64(h^w^binary.LittleEndian.Uint64(s.secret[8*i:]), 0x9e3779b97f4a7c15)
		h = high ^ low
	}
	return uint32(h) & 0xfffff
}
