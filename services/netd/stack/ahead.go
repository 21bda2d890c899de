package stack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// This file has what lies between IP headers and payloads: options of IPv4, extension
// headers of IPv6.

// chain are extension headers of an arrival, the first of protocol first.
type chain struct {
	first uint8
	b     []byte
}

// headSize is how many bytes of a packet come before its payload.
func (f *flow) headSize() int { return ipSize(f.src) + f.ahead.Size() }

// aheadOf are a socket's for packets from src, nil without any for that family.
func aheadOf(o *Options, src netip.Addr) *wire.Ahead {
	if a := o.Ahead; a.Size() > 0 && (len(a.V4) > 0) == src.Is4() {
		return a
	}
	return nil
}

// record are options as this host sends them: with its own address and time where they are
// to be recorded.
func (s *Stack) record(a *wire.Ahead, src netip.Addr) *wire.Ahead {
	out := &wire.Ahead{V4: append([]byte(nil), a.V4...)}
	wire.RecordIPv4(out.V4, src, s.isOwn, s.midnight())
	return out
}

func (s *Stack) isOwn(a netip.Addr) bool {
	_, own := s.table.Local(a)
	return own
}

// midnight is how long ago it was, in UT, in milliseconds.
func (s *Stack) midnight() uint32 {
	t := s.start.Add(time.Duration(s.now)).UTC()
	return uint32(t.Sub(t.Truncate(24*time.Hour)) / time.Millisecond)
}

// putOptions puts options behind the header of IPv4 in b, which leaves room for them.
func putOptions(b, options []byte) {
	n := wire.IPv4Size + copy(b[wire.IPv4Size:], options)
	b[0] = 0x40 | byte(n/4)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], wire.Fold(wire.Sum(0, b[:n])))
}

// putFragment writes the headers of a fragment of size bytes in all to b: those in front are
// the whole packet's IPv6 header and what every fragment has.
func putFragment(b, front []byte, size, offset int, more bool, id uint32) {
	n := copy(b, front)
	binary.BigEndian.PutUint16(b[4:], uint16(size-wire.IPv6Size))
	next := &b[6]
	if n > wire.IPv6Size {
		next = &b[wire.IPv6Size]
	}
	wire.PutFragment(b[n:], *next, offset, more, id)
	*next = wire.ProtoFragment
}

// options4 does what the options of a packet for this host ask: false, and the packet is
// done with, for such as are wrong or would have it routed on by what they say.
func (s *Stack) options4(a *arrival, h wire.IPv4) bool {
	h = wire.IPv4(a.whole[:len(h)]) // which may be a copy by now
	bad, routed := wire.CheckIPv4Options(h.Options())
	switch {
	case bad >= 0:
		s.counts.Inc(mib.InHdrErrors)
		s.complain(a, wire.ICMPHeader{Type: wire.ICMPParameter, Rest: uint32(wire.IPv4Size+bad) << 24})
		return false
	case routed: // accept_source_route is off
		s.counts.Inc(mib.InDiscards)
		return false
	}
	host := a.dst
	if a.toMany {
		if host = a.in.Source(a.src); !host.Is4() {
			return true
		}
	}
	wire.RecordIPv4(h.Options(), host, s.isOwn, s.midnight())
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], wire.Fold(wire.Sum(0, h)))
	return true
}

// before are the headers of an arrival, as they lie before a payload in a ring.
func (a *arrival) before() (b []byte) {
	if !a.v6 {
		if n := a.ipHeader; n > wire.IPv4Size && n <= len(a.whole) {
			b = wire.AppendAhead(b, a.whole[wire.IPv4Size:n], 0, nil)
		}
		return b
	}
	if c := a.chains[0]; len(c.b) > 0 && len(c.b)+len(a.chains[1].b) < 1800 {
		b = wire.AppendAhead(b, nil, c.first, c.b)
		if c := a.chains[1]; len(c.b) > 0 {
			b = wire.AppendAhead(b, nil, c.first, c.b)
		}
	}
	return b
}
