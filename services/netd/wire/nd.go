package wire

import "net/netip"

// Types of neighbour discovery (RFC 4861, section 4).
const (
	NDRouterSolicit = 133
	NDRouterAdvert  = 134
	NDSolicit       = 135
	NDAdvert        = 136
	NDRedirect      = 137
)

// Flags of a neighbour advertisement, in the header's Rest.
const (
	NDRouter    = 1 << 31
	NDSolicited = 1 << 30
	NDOverride  = 1 << 29
)

// Options of neighbour discovery.
const (
	NDSourceMAC = 1
	NDTargetMAC = 2
	NDPrefix    = 3
	NDMTU       = 5
	NDNonce     = 14 // RFC 3971, section 5.3.2
)

// NDForever is a lifetime without an end, of prefixes.
const NDForever = 1<<32 - 1

// Groups that every host, and every router, listens to.
var (
	AllNodes   = netip.MustParseAddr("ff02::1")
	AllRouters = netip.MustParseAddr("ff02::2")
)

// SolicitedNode is the group in which a's owner is asked: RFC 4291, 2.7.1.
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// PrefixInfo is the option of that name: RFC 4861, section 4.6.2. The lifetimes
// are in seconds, all ones for ever.
type PrefixInfo struct {
	Prefix           netip.Prefix
	OnLink, Auto     bool
	Valid, Preferred uint32
}

// NDOptions are the options that we know.
type NDOptions struct {
	SourceMAC, TargetMAC MAC
	HasSource, HasTarget bool
	MTU                  uint32  // 0: not there
	Nonce                [6]byte // 0: not there
	Prefixes             [8]PrefixInfo
	PrefixCount          int
}

// ParseNDOptions reads the options after a message of neighbour discovery. One
// of length 0 or that is cut off makes the whole message invalid.
func ParseNDOptions(b []byte) (o NDOptions, err error) {
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || int(b[1])*8 > len(b) {
			return o, ErrLength
		}
		v := b[:int(b[1])*8]
		b = b[len(v):]
		switch {
		case v[0] == NDSourceMAC && len(v) == 8:
			o.SourceMAC, o.HasSource = MAC(v[2:8]), true
		case v[0] == NDTargetMAC && len(v) == 8:
			o.TargetMAC, o.HasTarget = MAC(v[2:8]), true
		case v[0] == NDMTU && len(v) == 8:
			o.MTU = be.Uint32(v[4:])
		case v[0] == NDNonce && len(v) == 8:
			o.Nonce = [6]byte(v[2:8])
		case v[0] == NDPrefix && len(v) == 32 && v[2] <= 128 && o.PrefixCount < len(o.Prefixes):
			o.Prefixes[o.PrefixCount] = PrefixInfo{
				Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(v[16:32])), int(v[2])).Masked(),
				OnLink: v[3]&0x80 != 0, Auto: v[3]&0x40 != 0, Valid: be.Uint32(v[4:]), Preferred: be.Uint32(v[8:]),
			}
			o.PrefixCount++
		}
	}
	return o, nil
}

// RouterAdvert is a router's advertisement: RFC 4861, section 4.2; RFC 4191, section
// 2.2. Options that we do not know, of them those that name resolvers (RFC 8106), are
// stepped over.
type RouterAdvert struct {
	HopLimit   uint8  // 0: not said
	Lifetime   uint16 // as a default router, in seconds; 0: it is none
	Preference int8   // as a default router: 1, 0 or -1
	// How long a neighbour is reachable, and between solicitations, in nanoseconds; 0:
	// not said.
	Reachable, Retransmit int64
	Options               NDOptions
}

// Bounds of what a router may ask for, in nanoseconds: RFC 4861, section 6.2.1, and
// a floor below which we would flood the link.
const (
	minNDTimer = 100e6
	maxNDTimer = 3600e9
)

// ParseRouterAdvert reads an advertisement: the ICMP header and what follows it.
func ParseRouterAdvert(h ICMP, body []byte) (ra RouterAdvert, err error) {
	if len(body) < 8 {
		return ra, ErrShort
	}
	ra.HopLimit, ra.Lifetime = h[4], be.Uint16(h[6:])
	switch h[5] >> 3 & 3 {
	case 1:
		ra.Preference = 1
	case 3:
		ra.Preference = -1
	}
	timer := func(b []byte) int64 {
		ms := int64(be.Uint32(b))
		if ms == 0 {
			return 0
		}
		return min(max(ms*1e6, minNDTimer), maxNDTimer)
	}
	ra.Reachable, ra.Retransmit = timer(body), timer(body[4:])
	ra.Options, err = ParseNDOptions(body[8:])
	return ra, err
}

// ParseRedirect reads a redirect: the first hop to take to a destination, and the
// first hop's options. RFC 4861, section 4.5.
func ParseRedirect(body []byte) (hop, dst netip.Addr, o NDOptions, err error) {
	if len(body) < 32 {
		return hop, dst, o, ErrShort
	}
	hop, dst = netip.AddrFrom16([16]byte(body)), netip.AddrFrom16([16]byte(body[16:32]))
	o, err = ParseNDOptions(body[32:])
	return hop, dst, o, err
}
