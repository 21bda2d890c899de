package wire

// Flags of a TCP header.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Sizes of a TCP header in bytes, without options and at most.
const (
	TCPSize    = 20
	MaxTCPSize = 60
)

// TCP is a checked TCP header with its options (RFC 9293).
type TCP []byte

// ParseTCP checks the header at the start of b; size is how many bytes the
// packet has from there on.
func ParseTCP(b []byte, size int) (TCP, error) {
	if len(b) < TCPSize {
		return nil, ErrShort
	}
	n := int(b[12]>>4) * 4
	if n < TCPSize || n > len(b) {
		return nil, ErrShort
	}
	if n > size {
		return nil, ErrLength
	}
	return TCP(b[:n:n]), nil
}

func (h TCP) SrcPort() uint16  { return be.Uint16(h) }
func (h TCP) DstPort() uint16  { return be.Uint16(h[2:]) }
func (h TCP) Seq() uint32      { return be.Uint32(h[4:]) }
func (h TCP) Ack() uint32      { return be.Uint32(h[8:]) }
func (h TCP) Flags() uint8     { return h[13] }
func (h TCP) Window() uint16   { return be.Uint16(h[14:]) }
func (h TCP) Checksum() uint16 { return be.Uint16(h[16:]) }
func (h TCP) Urgent() uint16   { return be.Uint16(h[18:]) }

// PutChecksum writes the checksum.
func (h TCP) PutChecksum(sum uint16) { be.PutUint16(h[16:], sum) }

// SACKBlock is a range of sequence numbers that has arrived: Start is its first,
// End the one after its last.
type SACKBlock struct{ Start, End uint32 }

// TCPOptions are the options that we know.
type TCPOptions struct {
	MSS           uint16 // 0: not there
	WindowScale   int8   // -1: not there
	SACKPermitted bool
	Timestamps    bool
	TSVal, TSEcr  uint32
	SACK          [4]SACKBlock
	SACKBlocks    int
	// A Fast Open cookie (RFC 7413), which may be of length 0.
	HasFastOpen  bool
	FastOpenSize uint8
	FastOpen     [16]byte
}

// PutFastOpen sets the cookie, of at most 16 bytes; nil is none.
func (o *TCPOptions) PutFastOpen(cookie []byte) {
	if o.HasFastOpen = cookie != nil; o.HasFastOpen {
		o.FastOpenSize = uint8(copy(o.FastOpen[:], cookie))
	}
}

// Cookie is the Fast Open cookie, nil if there is none.
func (o *TCPOptions) Cookie() []byte {
	if !o.HasFastOpen {
		return nil
	}
	return o.FastOpen[:o.FastOpenSize]
}

const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2
	optWindowScale   = 3
	optSACKPermitted = 4
	optSACK          = 5
	optTimestamps    = 8
	optFastOpen      = 34
)

// Options reads the options. Reading ends at the first one that is malformed.
func (h TCP) Options() TCPOptions {
	o := TCPOptions{WindowScale: -1}
	for b := h[TCPSize:]; len(b) > 0; {
		switch b[0] {
		case optEnd:
			return o
		case optNop:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return o
		}
		o.read(b[0], b[2:b[1]])
		b = b[b[1]:]
	}
	return o
}

func (o *TCPOptions) read(kind uint8, v []byte) {
	switch {
	case kind == optMSS && len(v) == 2:
		o.MSS = be.Uint16(v)
	case kind == optWindowScale && len(v) == 1:
		o.WindowScale = int8(min(v[0], 14)) // RFC 7323, 2.3
	case kind == optSACKPermitted && len(v) == 0:
		o.SACKPermitted = true
	case kind == optTimestamps && len(v) == 8:
		o.Timestamps, o.TSVal, o.TSEcr = true, be.Uint32(v), be.Uint32(v[4:])
	case kind == optFastOpen && (len(v) == 0 || len(v) >= 4 && len(v) <= 16 && len(v)%2 == 0):
		o.HasFastOpen, o.FastOpenSize = true, uint8(copy(o.FastOpen[:], v))
	case kind == optSACK && len(v)%8 == 0:
		o.SACKBlocks = 0
		for ; len(v) > 0 && o.SACKBlocks < len(o.SACK); v = v[8:] {
			o.SACK[o.SACKBlocks] = SACKBlock{be.Uint32(v), be.Uint32(v[4:])}
			o.SACKBlocks++
		}
	}
}

// Len is the size of o in a header, a multiple of 4 bytes.
func (o *TCPOptions) Len() int {
	n := 0
	if o.MSS != 0 {
		n += 4
	}
	if o.WindowScale >= 0 {
		n += 4
	}
	if o.Timestamps {
		n += 12
	} else if o.SACKPermitted {
		n += 4
	}
	if o.HasFastOpen {
		n += (2 + int(o.FastOpenSize) + 3) &^ 3
	}
	if o.SACKBlocks > 0 {
		n += 4 + 8*o.SACKBlocks
	}
	return n
}

// put writes o to b, of Len bytes, in the order and padding that Linux uses.
func (o *TCPOptions) put(b []byte) {
	if o.MSS != 0 {
		b[0], b[1] = optMSS, 4
		be.PutUint16(b[2:], o.MSS)
		b = b[4:]
	}
	if o.Timestamps {
		b[0], b[1] = optNop, optNop
		if o.SACKPermitted {
			b[0], b[1] = optSACKPermitted, 2
		}
		b[2], b[3] = optTimestamps, 10
		be.PutUint32(b[4:], o.TSVal)
		be.PutUint32(b[8:], o.TSEcr)
		b = b[12:]
	} else if o.SACKPermitted {
		b[0], b[1], b[2], b[3] = optNop, optNop, optSACKPermitted, 2
		b = b[4:]
	}
	if o.WindowScale >= 0 {
		b[0], b[1], b[2], b[3] = optNop, optWindowScale, 3, byte(o.WindowScale)
		b = b[4:]
	}
	if o.HasFastOpen {
		n := 2 + int(o.FastOpenSize)
		b[0], b[1] = optFastOpen, byte(n)
		copy(b[2:], o.FastOpen[:o.FastOpenSize])
		for ; n%4 != 0; n++ {
			b[n] = optNop
		}
		b = b[n:]
	}
	if o.SACKBlocks > 0 {
		b[0], b[1], b[2], b[3] = optNop, optNop, optSACK, byte(2+8*o.SACKBlocks)
		b = b[4:]
		for _, s := range o.SACK[:o.SACKBlocks] {
			be.PutUint32(b, s.Start)
			be.PutUint32(b[4:], s.End)
			b = b[8:]
		}
	}
}

// TCPHeader is a header to be written.
type TCPHeader struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            uint8
	Window, Urgent   uint16
	Options          TCPOptions
}

// Size is the size of h with its options in bytes, at most MaxTCPSize as long as
// SACK blocks are at most 3 beside timestamps.
func (h *TCPHeader) Size() int { return TCPSize + h.Options.Len() }

// Put writes h to b, of Size bytes at least, without a checksum.
func (h *TCPHeader) Put(b []byte) {
	n := h.Size()
	b = b[:n]
	be.PutUint16(b, h.SrcPort)
	be.PutUint16(b[2:], h.DstPort)
	be.PutUint32(b[4:], h.Seq)
	be.PutUint32(b[8:], h.Ack)
	b[12], b[13] = byte(n/4)<<4, h.Flags
	be.PutUint16(b[14:], h.Window)
	be.PutUint16(b[16:], 0)
	be.PutUint16(b[18:], h.Urgent)
	h.Options.put(b[TCPSize:])
}
