package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is what the host knows of one of its interfaces.
type Interface struct {
	Index      int         `json:"index"`
	Name       string      `json:"name"`
	MAC        []byte      `json:"mac"`
	MTU        int         `json:"mtu"` // bytes
	Addresses  []Address   `json:"addresses,omitempty"`
	Routes     []Route     `json:"routes,omitempty"`
	Neighbours []Neighbour `json:"neighbours,omitempty"`
	// What IPv6 does there by itself; nil: nothing.
	Autoconf *Autoconf `json:"-"`
	// Settings below /proc/sys/net that were changed, and what they were.
	Settings map[string]string `json:"settings,omitempty"`
}

// Address is one of an interface's addresses: rtnetlink(7), struct ifaddrmsg.
type Address struct {
	Prefix    netip.Prefix `json:"prefix"`
	Peer      netip.Prefix `json:"peer,omitzero"`
	Broadcast netip.Addr   `json:"broadcast,omitzero"`
	Label     string       `json:"label,omitempty"`
	Scope     int          `json:"scope,omitempty"`
	Flags     int          `json:"flags,omitempty"`
	Unchecked int          `json:"-"`               // flags of duplicate address detection
	Valid     int          `json:"valid,omitempty"` // seconds; 0: for ever
	Preferred int          `json:"preferred,omitempty"`
}

// Route is one of the main table that leads over an interface.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	Source      netip.Addr   `json:"source,omitzero"`
	Metric      int          `json:"metric,omitempty"`
	Scope       int          `json:"scope,omitempty"`
	Protocol    int          `json:"protocol,omitempty"`
	Flags       int          `json:"flags,omitempty"`
}

// Neighbour is a permanent entry of the neighbour table.
type Neighbour struct {
	Address netip.Addr `json:"address"`
	MAC     []byte     `json:"mac"`
}

// find reads the interfaces of the calling thread's namespace that are up and
// carry Ethernet. warn is told of those that are left out.
func find(warn func(string)) ([]Interface, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var all []Interface
	for _, l := range links {
		a := l.Attrs()
		switch {
		case a.RawFlags&unix.IFF_LOOPBACK != 0:
		case a.RawFlags&unix.IFF_UP == 0: // nobody can use it
		case a.EncapType != "ether" || len(a.HardwareAddr) != 6:
			warn(fmt.Sprintf("interface %s is left out: it carries %s, and only Ethernet is supported", a.Name, a.EncapType))
		default:
			i, err := read(l)
			if err != nil {
				return nil, fmt.Errorf("read interface %s: %w", a.Name, err)
			}
			all = append(all, i)
		}
	}
	return all, nil
}

func read(l netlink.Link) (Interface, error) {
	a := l.Attrs()
	i := Interface{Index: a.Index, Name: a.Name, MAC: a.HardwareAddr, MTU: a.MTU}
	addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return i, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		i.Addresses = append(i.Addresses, addressOf(a))
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteList(l, family)
		if err != nil {
			return i, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			// What the kernel made for an address comes and goes with it.
			if r.Type == unix.RTN_UNICAST && r.Protocol != unix.RTPROT_KERNEL && len(r.MultiPath) == 0 {
				i.Routes = append(i.Routes, routeOf(r, family))
			}
		}
	}
	i.Autoconf = readAutoconf(&i)
	neighbours, err := netlink.NeighList(a.Index, 0)
	if err != nil {
		return i, fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range neighbours {
		if ip, ok := netip.AddrFromSlice(n.IP); ok && n.State&netlink.NUD_PERMANENT != 0 && len(n.HardwareAddr) == 6 {
			i.Neighbours = append(i.Neighbours, Neighbour{ip.Unmap(), n.HardwareAddr})
		}
	}
	return i, nil
}

func addressOf(a netlink.Addr) Address {
	out := Address{Prefix: prefixOf(a.IPNet), Peer: prefixOf(a.Peer), Label: a.Label, Scope: a.Scope,
		Flags: a.Flags &^ (unix.IFA_F_TENTATIVE | unix.IFA_F_SECONDARY), Valid: a.ValidLft, Preferred: a.PreferedLft}
	if out.Prefix.Addr().Is6() {
		out.Unchecked = a.Flags & (unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED)
	}
	const forever = 1<<32 - 1
	if out.Valid == forever || out.Valid < 0 {
		out.Valid, out.Preferred = 0, 0
	}
	if b, ok := netip.AddrFromSlice(a.Broadcast); ok {
		out.Broadcast = b.Unmap()
	}
	if out.Peer == out.Prefix {
		out.Peer = netip.Prefix{}
	}
	return out
}

func routeOf(r netlink.Route, family int) Route {
	out := Route{Destination: prefixOf(r.Dst), Metric: r.Priority, Scope: int(r.Scope), Protocol: int(r.Protocol), Flags: r.Flags & unix.RTNH_F_ONLINK}
	if !out.Destination.IsValid() {
		out.Destination = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if family == netlink.FAMILY_V6 {
			out.Destination = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	gateway, _ := netip.AddrFromSlice(r.Gw)
	source, _ := netip.AddrFromSlice(r.Src)
	out.Gateway, out.Source = gateway.Unmap(), source.Unmap()
	return out
}

// usable tells whether anything can be reached over the interface, or will be when a
// router says how.
func (i *Interface) usable() bool {
	if i.Autoconf != nil && i.Autoconf.AcceptRA && i.has(netip.Addr.IsLinkLocalUnicast) {
		return true
	}
	return slices.ContainsFunc(i.Addresses, func(a Address) bool { return !a.Prefix.Addr().IsLinkLocalUnicast() }) || len(i.Routes) != 0
}
