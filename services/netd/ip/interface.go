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

// Kind is what sort of interface the guest has made; empty for those that there are
// without it.
type Kind string

// The kinds, by their names in ip-link(8), but that TUN and TAP both are "tun" there.
const (
	Dummy Kind = "dummy"
	Veth  Kind = "veth"
	TUN   Kind = "tun"
	TAP   Kind = "tap"

	Bridge  Kind = "bridge"
	VLAN    Kind = "vlan"
	Macvlan Kind = "macvlan"
)

// Interface is one network interface.
type Interface struct {
	Index     int // from 1
	Name      string
	MTU       int   // bytes, without a link header
	MTU6      int   // of IPv6, if a router said so; 0: MTU
	HopLimit6 uint8 // of IPv6, if a router said so; 0: the default
	Loopback  bool
	Down      bool
	Lost      bool // it has no carrier
	Used      bool // it was up at least once
	NoEther   bool // packets have no Ethernet header there
	Kind      Kind
	MAC       [6]byte
	Master    int // the bridge that it is a port of; 0: none
	Addresses []Address
}

// MTUFor is what fits into one packet to dst over the interface, in bytes.
func (i *Interface) MTUFor(dst netip.Addr) int {
	if i.MTU6 > 0 && dst.Is6() {
		return min(i.MTU, i.MTU6)
	}
	return i.MTU
}

// Source is an address of i to speak to dst from: of IPv6 what RFC 6724, section 5,
// says; of IPv4 one whose network holds dst, else one of dst's scope.
func (i *Interface) Source(dst netip.Addr) netip.Addr {
	if !dst.Is4() {
		return i.source6(dst)
	}
	var best netip.Addr
	top := 0
	for _, p := range i.Addresses {
		a := p.Addr()
		if !a.Is4() {
			continue
		}
		score := 1
		if a.IsLinkLocalUnicast() == (dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast()) {
			score = 2
		}
		if p.Network().Contains(dst) {
			score += 2
		}
		if score > top {
			best, top = a, score
		}
	}
	return best
}

func (i *Interface) source6(dst netip.Addr) netip.Addr {
	var best *Address
	for k := range i.Addresses {
		a := &i.Addresses[k]
		if a.Addr().Is6() && a.Usable() && (best == nil || better(a, best, dst)) {
			best = a
		}
	}
	if best == nil {
		return netip.Addr{}
	}
	return best.Addr()
}

// Broadcast says whether a is the broadcast address of one of i's networks.
func (i *Interface) Broadcast(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	for _, p := range i.Addresses {
		if p.Addr().Is4() && p.Bits() < 31 && p.Contains(a) && hostOnes(p.Prefix, a) {
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
