package netlink

import (
	"net/netip"
	"slices"

	netdv1 "bulkhead/proto/netd/v1"
)

// Kinds of routes in the table of what is this host's own, and what they have in common:
// rtnetlink(7).
const (
	routeBroadcast = 3
	routeMulticast = 5
	scopeHost      = 254
	protocolKernel = 2
)

// flagUp and flagLoopback are IFF_UP and IFF_LOOPBACK: netdevice(7).
const (
	flagUp       = 1
	flagLoopback = 8
)

// localRoutes is the local table, which follows from the interfaces' addresses: netd has
// no other form of it. IPv4 comes first, each family in the order of its addresses.
func localRoutes(devices []*netdv1.Interface) []*netdv1.RouteEntry {
	var out []*netdv1.RouteEntry
	for _, i := range devices {
		if i.Flags&flagUp == 0 {
			continue
		}
		six := false
		for _, a := range i.Addresses {
			addr, ok := netip.AddrFromSlice(a.Address)
			if !ok || int(a.Bits) > addr.BitLen() {
				continue
			}
			if addr.Is4() {
				out = append(out, localRoutes4(i, addr, int(a.Bits))...)
				continue
			}
			six = true
			if a.Flags&(addrTentative|addrFailed) == 0 {
				out = append(out, localRoute(i, netip.PrefixFrom(addr, 128), typeLocal))
			}
		}
		if six && i.Flags&flagLoopback == 0 {
			m := localRoute(i, netip.MustParsePrefix("ff00::/8"), routeMulticast)
			m.Metric = 256
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b *netdv1.RouteEntry) int {
		if n := len(a.Destination.Address) - len(b.Destination.Address); n != 0 {
			return n
		}
		if n := slices.Compare(a.Destination.Address, b.Destination.Address); n != 0 {
			return n
		}
		return int(a.Destination.Bits) - int(b.Destination.Bits)
	})
	return out
}

// Flags of addresses: IFA_F_TENTATIVE, IFA_F_DADFAILED.
const (
	addrFailed    = 0x08
	addrTentative = 0x40
)

// localRoutes4 are an address, all of the loopback's network, and the network's broadcast
// address; of a secondary address itself only, whose source is the network's first one.
func localRoutes4(i *netdv1.Interface, addr netip.Addr, bits int) []*netdv1.RouteEntry {
	first := primary(i, addr, bits)
	source := first.AsSlice()
	out := []*netdv1.RouteEntry{localRoute(i, netip.PrefixFrom(addr, 32), typeLocal)}
	if p := netip.PrefixFrom(addr, bits).Masked(); i.Flags&flagLoopback != 0 && bits < 32 && first == addr {
		out = append(out, localRoute(i, p, typeLocal))
	}
	if bits < 31 && first == addr {
		last := addr.As4()
		for n := bits; n < 32; n++ {
			last[n/8] |= 0x80 >> (n % 8)
		}
		m := localRoute(i, netip.PrefixFrom(netip.AddrFrom4(last), 32), routeBroadcast)
		m.Scope = scopeLink
		out = append(out, m)
	}
	for _, m := range out {
		m.Source = source
	}
	return out
}

// primary is the first address of an interface in the same network.
func primary(i *netdv1.Interface, addr netip.Addr, bits int) netip.Addr {
	p := netip.PrefixFrom(addr, bits).Masked()
	for _, a := range i.Addresses {
		if other, ok := netip.AddrFromSlice(a.Address); ok && int(a.Bits) == bits && p.Contains(other) {
			return other
		}
	}
	return addr
}

func localRoute(i *netdv1.Interface, p netip.Prefix, kind uint32) *netdv1.RouteEntry {
	return &netdv1.RouteEntry{
		Destination: &netdv1.Prefix{Address: p.Addr().AsSlice(), Bits: uint32(p.Bits())}, Interface: i.Index,
		Table: tableLocal, Kind: kind, Protocol: protocolKernel, Scope: scopeHost,
	}
}
