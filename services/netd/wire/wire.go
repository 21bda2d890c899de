// Package wire reads and writes the headers that travel between hosts.
//
// A Parse function checks bytes once: that a header is whole, that its lengths
// fit the packet, that its version is right. What it gives is a slice of the
// header with accessors that cannot fail. A header to be written is a struct
// with Put or Append, and Parse of what Put wrote gives the same fields.
//
// A packet's payload may lie apart from its headers, so Parse is told the size
// of the packet from the header on, and Checksum is carried from piece to piece.
// The package knows no state and no time.
package wire

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"net/netip"
)

// What Parse functions refuse.
var (
	ErrShort    = errors.New("header is cut off")
	ErrVersion  = errors.New("wrong version")
	ErrLength   = errors.New("length does not fit the packet")
	ErrChecksum = errors.New("wrong checksum")
)

// Protocols of IP.
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoIGMP     = 2
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoICMPv6   = 58
	ProtoNone     = 59
	ProtoUDPLite  = 136
	ProtoDestOpts = 60
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Sum adds b to a running Internet checksum (RFC 1071), which is not folded. b
// must be of even length unless it is the last piece.
func Sum(sum uint64, b []byte) uint64 {
	if len(b) >= 64 {
		var n int
		var part uint64
		part, n = sumWords(b)
		sum += part
		b = b[n:]
	}
	for len(b) >= 4 {
		sum += uint64(be.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(be.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// sumWords sums n bytes at the start of b, a multiple of 32, eight at a time in
// the machine's order: the sum's bytes are swapped then, which for a sum of ones'
// complement is the same as swapping each word's (RFC 1071, section 2 (B)).
func sumWords(b []byte) (sum uint64, n int) {
	var carry uint64
	n = len(b) &^ 31
	for p := b[:n]; len(p) >= 32; p = p[32:] {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(p), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(p[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(p[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(p[24:]), carry)
	}
	sum, carry = bits.Add64(sum, carry, 0)
	sum += carry
	return uint64(bits.ReverseBytes16(^Fold(sum))), n
}

// Fold finishes a running checksum into the value for a header.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum)
}

// PseudoSum begins the checksum of a transport header between src and dst (of
// the same family); length is that of transport header and payload.
func PseudoSum(src, dst netip.Addr, proto uint8, length int) uint64 {
	sum := uint64(proto) + uint64(length)
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		return Sum(Sum(sum, s[:]), d[:])
	}
	s, d := src.As16(), dst.As16()
	return Sum(Sum(sum, s[:]), d[:])
}
