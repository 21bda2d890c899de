package wire

import "net/netip"

// Types and codes of ICMP (RFC 792).
const (
	ICMPEchoReply       = 0
	ICMPUnreachable     = 3
	ICMPEchoRequest     = 8
	ICMPTimeExceeded    = 11
	ICMPParameter       = 12
	ICMPTimestamp       = 13
	ICMPTimestampReply  = 14
	ICMPUnreachNet      = 0
	ICMPUnreachHost     = 1
	ICMPUnreachProtocol = 2
	ICMPUnreachPort     = 3
	ICMPUnreachFrag     = 4
)

// Types and codes of ICMPv6 (RFC 4443).
const (
	ICMPv6Unreachable     = 1
	ICMPv6TooBig          = 2
	ICMPv6TimeExceeded    = 3
	ICMPv6Parameter       = 4
	ICMPv6EchoRequest     = 128
	ICMPv6EchoReply       = 129
	ICMPv6UnreachNoRoute  = 0
	ICMPv6UnreachProhibit = 1
	ICMPv6UnreachAddr     = 3
	ICMPv6UnreachPort     = 4
)

// ICMPSize is the size of the common header of ICMP and ICMPv6 messages.
const ICMPSize = 8

// ICMP is a checked header of ICMP or ICMPv6.
type ICMP []byte

// ParseICMP checks the header at the start of b. Its checksum covers the whole
// message: ICMPSum.
func ParseICMP(b []byte) (ICMP, error) {
	if len(b) < ICMPSize {
		return nil, ErrShort
	}
	return ICMP(b[:ICMPSize]), nil
}

func (h ICMP) Type() uint8      { return h[0] }
func (h ICMP) Code() uint8      { return h[1] }
func (h ICMP) Checksum() uint16 { return be.Uint16(h[2:]) }

// Rest is the second half of the header, whose meaning depends on the type.
func (h ICMP) Rest() uint32 { return be.Uint32(h[4:]) }

// ID and Seq are those of an echo.
func (h ICMP) ID() uint16  { return be.Uint16(h[4:]) }
func (h ICMP) Seq() uint16 { return be.Uint16(h[6:]) }

// ICMPHeader is a header to be written.
type ICMPHeader struct {
	Type, Code uint8
	Rest       uint32
}

// Put writes h to b, of ICMPSize bytes at least, with checksum 0.
func (h *ICMPHeader) Put(b []byte) {
	b[0], b[1], b[2], b[3] = h.Type, h.Code, 0, 0
	be.PutUint32(b[4:], h.Rest)
}

// ICMPSum is the checksum of a message in two pieces (the first of even length):
// 0 if the message has a right one in it, and the value to write if it has 0.
// For ICMPv6 src and dst are the packet's; for ICMP they are not used.
func ICMPSum(v6 bool, src, dst netip.Addr, head, rest []byte) uint16 {
	var sum uint64
	if v6 {
		sum = PseudoSum(src, dst, ProtoICMPv6, len(head)+len(rest))
	}
	return Fold(Sum(Sum(sum, head), rest))
}

// PutChecksum writes the checksum of an ICMP message.
func (h ICMP) PutChecksum(sum uint16) { be.PutUint16(h[2:], sum) }
