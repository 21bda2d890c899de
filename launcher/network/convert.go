package network

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	netdv1 "bulkhead/proto/netd/v1"
)

// prefixOf is n, or the invalid prefix if that is nil.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	if !ok {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr.Unmap(), ones)
}

// anywhere is the default route's destination, of a's family.
func anywhere(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func ipNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func ip(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

func (a *Address) netlink() *netlink.Addr {
	broadcast := ip(a.Broadcast)
	if broadcast == nil {
		broadcast = net.IPv4zero // the library would make one up
	}
	return &netlink.Addr{IPNet: ipNet(a.Prefix), Peer: ipNet(a.Peer), Broadcast: broadcast, Label: a.Label,
		Scope: a.Scope, Flags: a.Flags, ValidLft: a.Valid, PreferedLft: a.Preferred}
}

func (r *Route) netlink(index int) *netlink.Route {
	return &netlink.Route{LinkIndex: index, Dst: ipNet(r.Destination), Gw: ip(r.Gateway), Src: ip(r.Source), Priority: r.Metric,
		Scope: netlink.Scope(r.Scope), Protocol: netlink.RouteProtocol(r.Protocol), Flags: r.Flags}
}

// passedOn are the flags of an address that netd is told, besides Unchecked.
const passedOn = unix.IFA_F_TEMPORARY | unix.IFA_F_NODAD | unix.IFA_F_DEPRECATED | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE

// lifetimes are how long an address is valid and preferred, in seconds; 0: without an
// end. They are of those that routers bring, who bring them again: nobody in the
// sandbox renews what DHCP brought.
func (a *Address) lifetimes() (valid, preferred uint32) {
	if a.Flags&(unix.IFA_F_MANAGETEMPADDR|unix.IFA_F_TEMPORARY) == 0 || !a.Prefix.Addr().Is6() || a.Valid == 0 {
		return 0, 0
	}
	if a.Preferred >= 0 && a.Preferred < 1<<32-1 {
		preferred = uint32(max(a.Preferred, 1)) // the flag says of one that it is over
	}
	return uint32(a.Valid), preferred
}

// message is the interface as netd is told it.
func (i *Interface) message() *netdv1.Link {
	l := &netdv1.Link{Name: i.Name, Mac: i.MAC, Mtu: uint32(i.MTU), Index: uint32(i.Index), Ipv6: i.Autoconf.message()}
	for _, a := range i.Addresses {
		valid, preferred := a.lifetimes()
		l.Addresses = append(l.Addresses, &netdv1.LinkAddress{Prefix: prefixMessage(a.Prefix), Flags: uint32(a.Flags&passedOn | a.Unchecked),
			Valid: valid, Preferred: preferred})
		if a.Peer.IsValid() {
			// The address is the host's alone; what the prefix is about is the peer.
			l.Addresses[len(l.Addresses)-1].Prefix.Bits = uint32(a.Prefix.Addr().BitLen())
			l.Routes = append(l.Routes, &netdv1.Route{Destination: prefixMessage(a.Peer.Masked()), Source: a.Prefix.Addr().AsSlice()})
		}
	}
	for _, r := range i.Routes {
		l.Routes = append(l.Routes, &netdv1.Route{Destination: prefixMessage(r.Destination), Gateway: ip(r.Gateway),
			Source: ip(r.Source), Metric: uint32(r.Metric), Protocol: uint32(r.Protocol)})
	}
	for _, n := range i.Neighbours {
		l.Neighbours = append(l.Neighbours, &netdv1.Neighbour{Address: n.Address.AsSlice(), Mac: n.MAC})
	}
	return l
}

func prefixMessage(p netip.Prefix) *netdv1.Prefix {
	return &netdv1.Prefix{Address: p.Addr().AsSlice(), Bits: uint32(p.Bits())}
}
