package wire

import "net/netip"

// IPv6Size is the size of an IPv6 header without extensions in bytes.
const IPv6Size = 40

// IPv6 is a checked IPv6 header, without extension headers (RFC 8200).
type IPv6 []byte

// ParseIPv6 checks the header at the start of b; size is how many bytes the
// packet has from there on. Jumbograms are refused.
func ParseIPv6(b []byte, size int) (IPv6, error) {
	if len(b) < IPv6Size {
		return nil, ErrShort
	}
	if b[0]>>4 != 6 {
		return nil, ErrVersion
	}
	h := IPv6(b[:IPv6Size:IPv6Size])
	if IPv6Size+h.PayloadLen() > size {
		return nil, ErrLength
	}
	return h, nil
}

func (h IPv6) TrafficClass() uint8 { return h[0]<<4 | h[1]>>4 }
func (h IPv6) FlowLabel() uint32   { return be.Uint32(h) & 0xfffff }
func (h IPv6) PayloadLen() int     { return int(be.Uint16(h[4:])) }
func (h IPv6) NextHeader() uint8   { return h[6] }
func (h IPv6) HopLimit() uint8     { return h[7] }
func (h IPv6) Src() netip.Addr     { return netip.AddrFrom16([16]byte(h[8:24])) }
func (h IPv6) Dst() netip.Addr     { return netip.AddrFrom16([16]byte(h[24:40])) }

// IPv6Header is a header to be written; the addresses are IPv6.
type IPv6Header struct {
	TrafficClass         uint8
	FlowLabel            uint32
	PayloadLen           int
	NextHeader, HopLimit uint8
	Src, Dst             netip.Addr
}

// Put writes h to b, of IPv6Size bytes at least.
func (h *IPv6Header) Put(b []byte) {
	b = b[:IPv6Size]
	be.PutUint32(b, 6<<28|uint32(h.TrafficClass)<<20|h.FlowLabel&0xfffff)
	be.PutUint16(b[4:], uint16(h.PayloadLen))
	b[6], b[7] = h.NextHeader, h.HopLimit
	s, d := h.Src.As16(), h.Dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
}

// Extensions walks the extension headers at the start of b, the payload of an
// IPv6 header whose NextHeader is first. It gives the protocol of what follows
// them and their length in bytes. A fragment header ends the walk: proto is
// ProtoFragment. Headers that are cut off are ErrShort, and more than eight of
// them ErrLength.
func Extensions(first uint8, b []byte) (proto uint8, n int, err error) {
	proto = first
	for i := 0; ; i++ {
		switch proto {
		case ProtoHopByHop, ProtoRouting, ProtoDestOpts:
		default:
			return proto, n, nil
		}
		if i == 8 {
			return 0, 0, ErrLength
		}
		if len(b)-n < 8 {
			return 0, 0, ErrShort
		}
		size := 8 + int(b[n+1])*8
		if size > len(b)-n {
			return 0, 0, ErrShort
		}
		proto = b[n]
		n += size
	}
}

// FragmentSize is the size of a fragment header in bytes.
const FragmentSize = 8

// Fragment is a checked IPv6 fragment header.
type Fragment []byte

// ParseFragment checks the header at the start of b.
func ParseFragment(b []byte) (Fragment, error) {
	if len(b) < FragmentSize {
		return nil, ErrShort
	}
	return Fragment(b[:FragmentSize]), nil
}

func (h Fragment) NextHeader() uint8 { return h[0] }

// Offset is in bytes.
func (h Fragment) Offset() int { return int(be.Uint16(h[2:]) &^ 7) }
func (h Fragment) More() bool  { return h[3]&1 != 0 }
func (h Fragment) ID() uint32  { return be.Uint32(h[4:]) }
