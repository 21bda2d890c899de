package netfilter

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/wire"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// Hook is a place on a packet's way: NF_INET_* of linux/netfilter.h.
type Hook uint8

// The hooks in the order in which a packet can meet them.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
	hooks
)

// Sum is how far the checksum of a packet's transport header has got.
type Sum uint8

const (
	SumWhole   Sum = iota // it is filled in, or was when it was sent
	SumPartial            // its field holds the pseudo header's sum: the device completes it
	SumNone               // nobody will look at it
)

// Owner is the socket that sends a packet, as far as rules ask.
type Owner struct{ UID, GID uint32 }

// Packet is an IP packet at a hook. Rules may rewrite its headers in place.
type Packet struct {
	V6        bool
	Header    []byte // from the IP header on, with the transport header
	Payload   []byte // what follows Header
	Transport int    // where the transport header begins in Header
	Proto     uint8
	Later     bool // a fragment without a transport header
	Sum       Sum
	In, Out   *ip.Interface // nil where there is none
	Station   []byte        // the Ethernet header that it came with, or nil
	ToMany    bool          // it came as a broadcast or multicast
	Owner     *Owner        // nil: none, or not known
	Mark      uint32

	track Track
}

// Track is what connection tracking knows of a packet. It goes with a packet that
// is sent over the loopback, which must not be taken for a new one there.
type Track struct {
	flow      *flow
	reply     bool
	related   bool
	invalid   bool
	untracked bool
	mark      uint32
}

// Track gives what is known of the packet so far, with its mark.
func (p *Packet) Track() Track {
	t := p.track
	t.mark = p.Mark
	return t
}

// Resume takes up what was known of the packet.
func (p *Packet) Resume(t Track) { p.track, p.Mark = t, t.mark }

func (p *Packet) size() int         { return len(p.Header) + len(p.Payload) }
func (p *Packet) transport() []byte { return p.Header[p.Transport:] }

// Src and Dst are the IP header's addresses.
func (p *Packet) Src() netip.Addr {
	if p.V6 {
		return netip.AddrFrom16([16]byte(p.Header[8:24]))
	}
	return netip.AddrFrom4([4]byte(p.Header[12:16]))
}

func (p *Packet) Dst() netip.Addr {
	if p.V6 {
		return netip.AddrFrom16([16]byte(p.Header[24:40]))
	}
	return netip.AddrFrom4([4]byte(p.Header[16:20]))
}

// Hops and Class are the IP header's hop limit (or time to live) and traffic class.
func (p *Packet) Hops() uint8  { return *p.hops() }
func (p *Packet) Class() uint8 { return p.class() }

// whole says that the headers' lengths are what the fields claim; nothing else is
// looked at otherwise.
func (p *Packet) whole() bool {
	if p.V6 {
		return len(p.Header) >= wire.IPv6Size && p.Transport >= wire.IPv6Size && p.Transport <= len(p.Header)
	}
	return len(p.Header) >= wire.IPv4Size && p.Transport >= wire.IPv4Size && p.Transport <= len(p.Header)
}

// ports are those of a protocol that has any.
func (p *Packet) ports() (src, dst uint16, ok bool) {
	t := p.transport()
	if p.Later || len(t) < 4 {
		return 0, 0, false
	}
	switch p.Proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite, protoSCTP, protoDCCP:
		return be.Uint16(t), be.Uint16(t[2:]), true
	}
	return 0, 0, false
}

// Protocols that only pass through.
const (
	protoDCCP = 33
	protoESP  = 50
	protoAH   = 51
	protoSCTP = 132
)

// sumField is where the transport header's checksum is in it; ok is false if the
// protocol has none that covers the pseudo header.
func sumField(proto uint8) (at int, ok bool) {
	switch proto {
	case wire.ProtoTCP:
		return 16, true
	case wire.ProtoUDP, wire.ProtoUDPLite:
		return 6, true
	case wire.ProtoICMPv6:
		return 2, true
	}
	return 0, false
}

// amend fixes a checksum field for words that change from old to now: RFC 1624.
func amend(field, old, now []byte, partial bool) {
	sum := uint64(be.Uint16(field))
	if !partial {
		sum ^= 0xffff
	}
	for i := 0; i+1 < len(old); i += 2 {
		sum += uint64(^be.Uint16(old[i:])) + uint64(be.Uint16(now[i:]))
	}
	v := ^wire.Fold(sum)
	if !partial {
		v = ^v
	}
	be.PutUint16(field, v)
}

// amendTransport fixes the transport checksum; pseudo says that the pseudo header
// has changed, not the header.
func (p *Packet) amendTransport(old, now []byte, pseudo bool) {
	at, ok := sumField(p.Proto)
	if !ok || p.Later || p.Sum == SumNone || p.Sum == SumPartial && !pseudo {
		return
	}
	t := p.transport()
	if len(t) < at+2 {
		return
	}
	field := t[at : at+2]
	udp := p.Proto == wire.ProtoUDP && p.Sum == SumWhole
	if udp && field[0] == 0 && field[1] == 0 {
		return // it has none: RFC 768
	}
	amend(field, old, now, p.Sum == SumPartial)
	if udp && field[0] == 0 && field[1] == 0 {
		field[0], field[1] = 0xff, 0xff
	}
}

// address is the field of the source's or the destination's address.
func (p *Packet) address(src bool) []byte {
	switch {
	case p.V6 && src:
		return p.Header[8:24]
	case p.V6:
		return p.Header[24:40]
	case src:
		return p.Header[12:16]
	}
	return p.Header[16:20]
}

// setAddress rewrites an address and the checksums over it.
func (p *Packet) setAddress(src bool, a netip.Addr) {
	if a.Is4() == p.V6 {
		return
	}
	field := p.address(src)
	now := a.AsSlice()
	old := append(make([]byte, 0, 16), field...)
	copy(field, now)
	if !p.V6 {
		amend(p.Header[10:12], old, now, false)
	}
	p.amendTransport(old, now, true)
}

// setPort rewrites a port, or an echo's identifier.
func (p *Packet) setPort(src bool, port uint16) {
	t := p.transport()
	at := 2
	if src {
		at = 0
	}
	if icmp := p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6; icmp {
		at = 4
	}
	if p.Later || len(t) < at+2 {
		return
	}
	var now [2]byte
	be.PutUint16(now[:], port)
	old := append(make([]byte, 0, 2), t[at:at+2]...)
	copy(t[at:], now[:])
	switch p.Proto {
	case wire.ProtoICMP:
		if p.Sum == SumWhole {
			amend(t[2:4], old, now[:], false)
		}
	default:
		p.amendTransport(old, now[:], false)
	}
}

// Pull makes the transport header lie in Header, as far as the packet has one.
func (p *Packet) Pull() {
	if want := p.Transport + 60; len(p.Payload) > 0 && len(p.Header) < want {
		n := min(want-len(p.Header), len(p.Payload))
		p.Header = append(append(make([]byte, 0, len(p.Header)+n), p.Header...), p.Payload[:n]...)
		p.Payload = p.Payload[n:]
	}
}

// gather puts all of the packet into Header.
func (p *Packet) gather() {
	if len(p.Payload) > 0 {
		p.Header = append(append(make([]byte, 0, p.size()), p.Header...), p.Payload...)
		p.Payload = nil
	}
}

// bytes copies n bytes from off bytes behind the start of Header into b; false if
// the packet is too short.
func (p *Packet) bytes(b []byte, off int) bool {
	if off < 0 || off+len(b) > p.size() {
		return false
	}
	n := 0
	if off < len(p.Header) {
		n = copy(b, p.Header[off:])
	}
	if n < len(b) {
		copy(b[n:], p.Payload[off+n-len(p.Header):])
	}
	return true
}
