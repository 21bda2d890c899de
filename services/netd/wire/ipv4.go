package wire

import "net/netip"

// IPv4Size is the size of an IPv4 header without options in bytes.
const IPv4Size = 20

// IPv4 is a checked IPv4 header with its options (RFC 791).
type IPv4 []byte

// ParseIPv4 checks the header at the start of b, including its checksum. size
// is how many bytes the packet has from there on, b and what may follow it.
func ParseIPv4(b []byte, size int) (IPv4, error) {
	if len(b) < IPv4Size {
		return nil, ErrShort
	}
	if b[0]>>4 != 4 {
		return nil, ErrVersion
	}
	n := int(b[0]&0xf) * 4
	if n < IPv4Size || n > len(b) {
		return nil, ErrShort
	}
	h := IPv4(b[:n:n])
	if h.TotalLen() < n || h.TotalLen() > size {
		return nil, ErrLength
	}
	if Fold(Sum(0, h)) != 0 {
		return nil, ErrChecksum
	}
	return h, nil
}

func (h IPv4) TOS() uint8          { return h[1] }
func (h IPv4) TotalLen() int       { return int(be.Uint16(h[2:])) }
func (h IPv4) ID() uint16          { return be.Uint16(h[4:]) }
func (h IPv4) DontFragment() bool  { return h[6]&0x40 != 0 }
func (h IPv4) MoreFragments() bool { return h[6]&0x20 != 0 }

// FragmentOffset is in bytes.
func (h IPv4) FragmentOffset() int { return int(be.Uint16(h[6:])&0x1fff) * 8 }
func (h IPv4) TTL() uint8          { return h[8] }
func (h IPv4) Protocol() uint8     { return h[9] }
func (h IPv4) Src() netip.Addr     { return netip.AddrFrom4([4]byte(h[12:16])) }
func (h IPv4) Dst() netip.Addr     { return netip.AddrFrom4([4]byte(h[16:20])) }
func (h IPv4) Options() []byte     { return h[IPv4Size:] }

// PayloadLen is the length of what follows the header in bytes.
func (h IPv4) PayloadLen() int { return h.TotalLen() - len(h) }

// IPv4Header is a header without options to be written; the addresses are IPv4.
type IPv4Header struct {
	TOS            uint8
	PayloadLen     int
	ID             uint16
	DontFragment   bool
	MoreFragments  bool
	FragmentOffset int // bytes, a multiple of 8
	TTL, Protocol  uint8
	Src, Dst       netip.Addr
}

// Put writes h with its checksum to b, of IPv4Size bytes at least.
func (h *IPv4Header) Put(b []byte) {
	b = b[:IPv4Size]
	b[0], b[1] = 0x45, h.TOS
	be.PutUint16(b[2:], uint16(IPv4Size+h.PayloadLen))
	be.PutUint16(b[4:], h.ID)
	frag := uint16(h.FragmentOffset / 8)
	if h.DontFragment {
		frag |= 0x4000
	}
	if h.MoreFragments {
		frag |= 0x2000
	}
	be.PutUint16(b[6:], frag)
	b[8], b[9] = h.TTL, h.Protocol
	b[10], b[11] = 0, 0
	s, d := h.Src.As4(), h.Dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	be.PutUint16(b[10:], Fold(Sum(0, b)))
}
