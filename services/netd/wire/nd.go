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
)

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
	MTU                  uint32 // 0: not there
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
