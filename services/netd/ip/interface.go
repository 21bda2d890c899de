// Package ip holds what the Internet Protocol decides without a socket and
// without a clock: interfaces, who may use a port, how packets are taken apart
// and put together again. It is pure: no clock, no I/O, no lock.
package ip

import "net/netip"

// Loopback networks, and the addresses that stand for them.
var (
	Loopback4   = netip.MustParsePrefix("127.0.0.0/8")
	Loopback6   = netip.MustParsePrefix("::1/128")
	LocalhostV4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	LocalhostV6 = netip.IPv6Loopback()
	// BroadcastAll is the limited broadcast address.
	BroadcastAll = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// Interface is one network interface.
type Interface struct {
	Index     int // from 1
	Name      string
	MTU       int // bytes, without a link header
	Loopback  bool
	Down      bool
	MAC       [6]byte
	Addresses []netip.Prefix
}

// Source is an address of i to speak to dst from: one whose network holds dst,
// else one of dst's scope (RFC 6724, section 5, rules 2 and 8), else any of its
// family that is not link-local.
func (i *Interface) Source(dst netip.Addr) netip.Addr {
	var best netip.Addr
	top := 0
	for _, p := range i.Addresses {
		a := p.Addr()
		if a.Is4() != dst.Is4() {
			continue
		}
		score := 1
		if a.IsLinkLocalUnicast() == (dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast()) {
			score = 2
		}
		if p.Contains(dst) {
			score += 2
		}
		if score > top {
			best, top = a, score
		}
	}
	return best
}

// Broadcast says whether a is the broadcast address of one of i's networks.
func (i *Interface) Broadcast(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	for _, p := range i.Addresses {
		if p.Addr().Is4() && p.Bits() < 31 && p.Contains(a) && hostOnes(p, a) {
			return true
		}
	}
	return false
}

func hostOnes(p netip.Prefix, a netip.Addr) bool {
	b := a.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	host := ^uint32(0) >> p.Bits()
	return v&host == host
}
