// Package pcapng writes captures that tcpdump and wireshark read: the pcapng
// format of draft-ietf-opsawg-pcapng, with one section, an interface description
// for each interface, and an enhanced packet block for each frame.
//
// A block is written whole or not at all, so that a capture that ends early is a
// good one. Packets larger than the snapshot length are cut.
package pcapng

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Kinds of links: tcpdump.org's list of LINKTYPE values.
const (
	Ethernet = 1
	RawIP    = 101
)

// Types of blocks and options.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	byteOrder = 0x1a2b3c4d

	optEnd        = 0
	optName       = 2 // of an interface
	optResolution = 9 // of its time stamps
	optFlags      = 2 // of a packet
)

// Directions of a packet: the low bits of its flags.
const (
	Inbound  = 1
	Outbound = 2
)

var le = binary.LittleEndian

// Writer writes one section. It is not safe for use from several goroutines.
type Writer struct {
	w     io.Writer
	count uint32
	block []byte
}

// NewWriter begins a section on w. Each block is one Write.
func NewWriter(w io.Writer) (*Writer, error) {
	p := &Writer{w: w}
	p.begin(blockSection)
	p.u32(byteOrder)
	p.u16(1) // version 1.0
	p.u16(0)
	p.u32(0xffffffff) // length of the section: not known
	p.u32(0xffffffff)
	return p, p.end()
}

// Interface describes an interface, and gives the number that its packets name.
func (p *Writer) Interface(name string, linkType uint16, snap int) (uint32, error) {
	p.begin(blockInterface)
	p.u16(linkType)
	p.u16(0)
	p.u32(uint32(snap))
	p.option(optName, []byte(name))
	p.option(optResolution, []byte{9}) // 10^-9 s
	p.option(optEnd, nil)
	p.count++
	return p.count - 1, p.end()
}

// Packet writes a packet that lies in pieces. direction is Inbound or Outbound;
// what is beyond snap bytes is left out.
func (p *Writer) Packet(iface uint32, at time.Time, direction uint32, snap int, pieces ...[]byte) error {
	size := 0
	for _, b := range pieces {
		size += len(b)
	}
	kept := min(size, snap)
	ns := uint64(at.UnixNano())
	p.begin(blockPacket)
	p.u32(iface)
	p.u32(uint32(ns >> 32))
	p.u32(uint32(ns))
	p.u32(uint32(kept))
	p.u32(uint32(size))
	for left := kept; left > 0; pieces = pieces[1:] {
		n := min(left, len(pieces[0]))
		p.block = append(p.block, pieces[0][:n]...)
		left -= n
	}
	p.pad()
	p.option(optFlags, le.AppendUint32(nil, direction))
	p.option(optEnd, nil)
	return p.end()
}

func (p *Writer) begin(kind uint32) {
	p.block = p.block[:0]
	p.u32(kind)
	p.u32(0) // its length, in the end
}

func (p *Writer) end() error {
	n := uint32(len(p.block) + 4)
	p.u32(n)
	le.PutUint32(p.block[4:], n)
	_, err := p.w.Write(p.block)
	return err
}

func (p *Writer) u16(v uint16) { p.block = le.AppendUint16(p.block, v) }
func (p *Writer) u32(v uint32) { p.block = le.AppendUint32(p.block, v) }

func (p *Writer) option(code uint16, value []byte) {
	p.u16(code)
	p.u16(uint16(len(value)))
	p.block = append(p.block, value...)
	p.pad()
}

func (p *Writer) pad() {
	for len(p.block)%4 != 0 {
		p.block = append(p.block, 0)
	}
}

// Packet is one of a capture that Read has read.
type Packet struct {
	Interface uint32
	Time      time.Time
	Direction uint32
	Size      int // before it was cut
	Data      []byte
}

// ErrFormat says that a capture is not one that a Writer wrote.
var ErrFormat = errors.New("not a capture of this writer's")

// Read reads a whole capture: the packets, and the names of their interfaces. A
// block that is cut off ends it.
func Read(b []byte) (packets []Packet, names []string, err error) {
	for first := true; len(b) >= 12; first = false {
		kind, n := le.Uint32(b), le.Uint32(b[4:])
		if n < 12 || n%4 != 0 || first != (kind == blockSection) {
			return packets, names, ErrFormat
		}
		if uint64(n) > uint64(len(b)) {
			return packets, names, nil
		}
		if le.Uint32(b[n-4:]) != n {
			return packets, names, ErrFormat
		}
		body := b[8 : n-4]
		b = b[n:]
		switch kind {
		case blockSection:
			if len(body) < 16 || le.Uint32(body) != byteOrder {
				return packets, names, ErrFormat
			}
		case blockInterface:
			if len(body) < 8 {
				return packets, names, ErrFormat
			}
			names = append(names, string(findOption(body[8:], optName)))
		case blockPacket:
			p, ok := packetOf(body)
			if !ok || int64(p.Interface) >= int64(len(names)) {
				return packets, names, ErrFormat
			}
			packets = append(packets, p)
		}
	}
	return packets, names, nil
}

func packetOf(body []byte) (p Packet, ok bool) {
	if len(body) < 20 {
		return p, false
	}
	kept := uint64(le.Uint32(body[12:]))
	padded := (kept + 3) &^ 3
	if padded > uint64(len(body)-20) {
		return p, false
	}
	ns := uint64(le.Uint32(body[4:]))<<32 | uint64(le.Uint32(body[8:]))
	p = Packet{Interface: le.Uint32(body), Time: time.Unix(0, int64(ns)), Size: int(le.Uint32(body[16:])), Data: body[20 : 20+kept]}
	if flags := findOption(body[20+padded:], optFlags); len(flags) == 4 {
		p.Direction = le.Uint32(flags) & 3
	}
	return p, true
}

// findOption gives an option's value, or nil.
func findOption(b []byte, code uint16) []byte {
	for len(b) >= 4 {
		c, n := le.Uint16(b), int(le.Uint16(b[2:]))
		b = b[4:]
		padded := (n + 3) &^ 3
		if c == optEnd || padded > len(b) {
			return nil
		}
		if c == code {
			return b[:n]
		}
		b = b[padded:]
	}
	return nil
}
