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
	ProtoDestOpts = 60
)

var be = binary.BigEndian

// Sum adds b to a running Internet checksum (RFC 1071), which is not folded. b
// must be of even length unless it is the last piece.
func Sum(sum uint64, b []byte) uint64 {
	for len(b) >= 32 {
		v0, v1 := be.Uint64(b), be.Uint64(b[8:])
		v2, v3 := be.Uint64(b[16:]), be.Uint64(b[24:])
		sum += v0>>32 + v0&0xffffffff + v1>>32 + v1&0xffffffff
		sum += v2>>32 + v2&0xffffffff + v3>>32 + v3&0xffffffff
		b = b[32:]
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
