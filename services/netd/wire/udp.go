package wire

// UDPSize is the size of a UDP header in bytes.
const UDPSize = 8

// UDP is a checked UDP header (RFC 768).
type UDP []byte

// ParseUDP checks the header at the start of b; size is how many bytes the
// packet has from there on.
func ParseUDP(b []byte, size int) (UDP, error) {
	if len(b) < UDPSize {
		return nil, ErrShort
	}
	h := UDP(b[:UDPSize:UDPSize])
	if n := int(be.Uint16(h[4:])); n < UDPSize || n > size {
		return nil, ErrLength
	}
	return h, nil
}

// ParseUDPLite is ParseUDP of UDP-Lite (RFC 3828), whose datagram is as long as
// the packet says; coverage is how many of its bytes, from the header's first, the
// checksum is over.
func ParseUDPLite(b []byte, size int) (h UDP, coverage int, err error) {
	if len(b) < UDPSize || size < UDPSize {
		return nil, 0, ErrShort
	}
	h = UDP(b[:UDPSize:UDPSize])
	switch coverage = int(be.Uint16(h[4:])); {
	case coverage == 0:
		coverage = size
	case coverage < UDPSize || coverage > size:
		return nil, 0, ErrLength
	}
	return h, coverage, nil
}

func (h UDP) SrcPort() uint16 { return be.Uint16(h) }
func (h UDP) DstPort() uint16 { return be.Uint16(h[2:]) }

// PayloadLen is the length of what follows the header in bytes.
func (h UDP) PayloadLen() int { return int(be.Uint16(h[4:])) - UDPSize }

// Checksum is 0 where the sender made none (IPv4 only).
func (h UDP) Checksum() uint16 { return be.Uint16(h[6:]) }

// PutChecksum writes a checksum; 0 is written as its other form.
func (h UDP) PutChecksum(sum uint16) {
	if sum == 0 {
		sum = 0xffff
	}
	be.PutUint16(h[6:], sum)
}

// UDPHeader is a header to be written.
type UDPHeader struct {
	SrcPort, DstPort uint16
	PayloadLen       int
}

// Put writes h to b, of UDPSize bytes at least, without a checksum.
func (h *UDPHeader) Put(b []byte) {
	be.PutUint16(b, h.SrcPort)
	be.PutUint16(b[2:], h.DstPort)
	be.PutUint16(b[4:], uint16(UDPSize+h.PayloadLen))
	be.PutUint16(b[6:], 0)
}

// PutLite is Put of UDP-Lite: coverage is in bytes from the header's first, 0 for
// the whole datagram.
func (h *UDPHeader) PutLite(b []byte, coverage int) {
	h.Put(b)
	be.PutUint16(b[4:], uint16(coverage))
}
