// Package ip holds what the Internet Protocol decides without touching a
// packet: which interface and source address lead to a destination, and who may
// use a port. It is pure: no clock, no I/O, no lock.
package ip

import (
	"net/netip"
	"slices"
)

// Loopback networks, and the addresses that stand for them.
var (
	Loopback4    = netip.MustParsePrefix("127.0.0.0/8")
	Loopback6    = netip.MustParsePrefix("::1/128")
	LocalhostV4  = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	LocalhostV6  = netip.IPv6Loopback()
	broadcastAll = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// Interface is one network interface.
type Interface struct {
	Index     int // from 1
	Name      string
	MTU       int // bytes, without a link header
	Loopback  bool
	MAC       [6]byte
	Addresses []netip.Prefix
}

// Route leads to Destination over an interface, through Gateway if that is
// valid. Of several the longest prefix wins, then the lowest metric.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
	Interface   int
	Source      netip.Addr // preferred source address, if valid
	Metric      uint32
}

// Table is a host's interfaces and routes.
type Table struct {
	Interfaces []*Interface
	routes     []Route
}

// Add adds an interface, with routes to the networks of its addresses.
func (t *Table) Add(i *Interface) {
	t.Interfaces = append(t.Interfaces, i)
	for _, p := range i.Addresses {
		t.AddRoute(Route{Destination: p.Masked(), Interface: i.Index, Source: p.Addr()})
	}
}

// AddRoute adds a route.
func (t *Table) AddRoute(r Route) {
	at, _ := slices.BinarySearchFunc(t.routes, r, func(a, b Route) int {
		if d := b.Destination.Bits() - a.Destination.Bits(); d != 0 {
			return d
		}
		return int(a.Metric) - int(b.Metric)
	})
	t.routes = slices.Insert(t.routes, at, r)
}

// Interface gives the interface with that index, or nil.
func (t *Table) Interface(index int) *Interface {
	for _, i := range t.Interfaces {
		if i.Index == index {
			return i
		}
	}
	return nil
}

// Local says whether a is this host's: an address of an interface, or any of
// 127.0.0.0/8. The interface is the one that it belongs to.
func (t *Table) Local(a netip.Addr) (*Interface, bool) {
	for _, i := range t.Interfaces {
		for _, p := range i.Addresses {
			if p.Addr() == a || i.Loopback && a.Is4() && p.Contains(a) {
				return i, true
			}
		}
	}
	return nil, false
}

// Path is how packets to a destination leave.
type Path struct {
	Out    *Interface
	Source netip.Addr
	Next   netip.Addr // the neighbour to give them to
}

// Lookup finds the path to dst, from src if that is valid. ok is false where no
// route leads. Packets to this host's own addresses go over the loopback.
func (t *Table) Lookup(dst, src netip.Addr) (p Path, ok bool) {
	if _, local := t.Local(dst); local {
		for _, i := range t.Interfaces {
			if i.Loopback {
				if !src.IsValid() {
					src = dst
					if dst.Is4() && Loopback4.Contains(dst) {
						src = LocalhostV4
					}
				}
				return Path{i, src, dst}, true
			}
		}
		return Path{}, false
	}
	for _, r := range t.routes {
		if !r.Destination.Contains(dst) {
			continue
		}
		out := t.Interface(r.Interface)
		if out == nil || out.Loopback {
			continue
		}
		if !src.IsValid() {
			if src = r.Source; !src.IsValid() {
				src = t.source(out, dst)
			}
		}
		next := dst
		if r.Gateway.IsValid() {
			next = r.Gateway
		}
		return Path{out, src, next}, src.IsValid()
	}
	return Path{}, false
}

// source is an address of out of dst's family.
func (t *Table) source(out *Interface, dst netip.Addr) netip.Addr {
	for _, p := range out.Addresses {
		if p.Addr().Is4() == dst.Is4() && (dst.Is4() || p.Addr().IsLinkLocalUnicast() == dst.IsLinkLocalUnicast()) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// Broadcast says whether a is the limited broadcast address or one of an
// interface's networks.
func (t *Table) Broadcast(a netip.Addr) bool {
	if a == broadcastAll {
		return true
	}
	for _, i := range t.Interfaces {
		for _, p := range i.Addresses {
			if a.Is4() && p.Addr().Is4() && p.Bits() < 31 && p.Contains(a) && hostOnes(p, a) {
				return true
			}
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
