// Package route holds a host's interfaces and routes, and says how packets to a
// destination leave. It is pure: no clock, no I/O, no lock.
package route

import (
	"errors"
	"net/netip"
	"slices"

	"bulkhead/services/netd/ip"
)

// What Add and Delete refuse.
var (
	ErrExists = errors.New("there is such a route")
	ErrNone   = errors.New("there is no such route")
	ErrFull   = errors.New("there are too many")
)

// How many routes a table may hold and addresses an interface, where it is asked to: each
// packet looks through the routes, and each change through all of either.
const (
	maxRoutes    = 1 << 15
	maxAddresses = 1 << 12
)

// Table ids of rtnetlink(7).
const (
	Default = 253
	Main    = 254
	Local   = 255
)

// Kind is what a route does, numbered as rtm_type.
type Kind uint8

// The kinds.
const (
	Unicast     Kind = 1
	Own         Kind = 2 // this host itself
	Blackhole   Kind = 6 // EINVAL, silently
	Unreachable Kind = 7 // EHOSTUNREACH
	Prohibit    Kind = 8 // EACCES
	Throw       Kind = 9 // the table says nothing
)

// Kinds of rules besides: FR_ACT_GOTO and FR_ACT_NOP.
const (
	Goto Kind = 2
	Nop  Kind = 3
)

// Who made a route, and how far it leads: rtm_protocol and rtm_scope of rtnetlink(7).
const (
	Redirect = 1 // an ICMP redirect
	Kernel   = 2 // an address
	Router   = 9 // a router's advertisement

	link = 253
)

// Route leads to Destination over an interface, through Gateway if that is
// valid. Of several the longest prefix wins, then the lowest metric, then the
// highest preference, then the oldest.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
	Interface   int
	Source      netip.Addr // preferred source address, if valid
	Metric      uint32
	Table       uint32 // 0: Main
	Kind        Kind   // 0: Unicast
	Protocol    uint8  // rtm_protocol, for those who list
	Scope       uint8  // rtm_scope, likewise
	MTU         int    // of the path; 0: the interface's
	Preference  int8   // of a router: RFC 4191, section 2.1
	OnLink      bool   // the gateway is taken to be on the link
	TOS         uint8  // only for packets with it; 0: all
	Hops        *Hops  // several ways, instead of Gateway and Interface; nil: there is one
	Nexthop     uint32 // the number of an object that has them; 0: none
	Metrics     *Metrics
	Expires     int64 // when whoever made it takes it away, in ns of the stack's clock; 0: never
}

func (r *Route) normal() {
	r.Destination = r.Destination.Masked()
	if r.Table == 0 {
		r.Table = Main
	}
	if r.Kind == 0 {
		r.Kind = Unicast
	}
}

// Table is a host's interfaces, rules and routes. Its zero value has the rules
// that Linux begins with, but for the local table: addresses are looked at
// first.
type Table struct {
	Interfaces []*ip.Interface
	// Generation moves on with every change, so that whoever keeps a Path knows
	// when to ask again.
	Generation uint64

	routes   []Route
	rules    []Rule // besides Main and Default
	nexthops []Nexthop

	own struct { // routes to this host itself, as of Generation at
		at   uint64
		list []netip.Prefix
	}
}

// Changed is called by whoever changes an interface.
func (t *Table) Changed() { t.Generation++ }

// AddInterface adds an interface, with routes to the networks of its addresses.
func (t *Table) AddInterface(i *ip.Interface) {
	t.Interfaces = append(t.Interfaces, i)
	t.Reconnect(i)
	t.Changed()
}

// Reconnect adds the routes to the networks of an interface's addresses, where
// they are missing.
func (t *Table) Reconnect(i *ip.Interface) {
	for k := range i.Addresses {
		t.connected(i, &i.Addresses[k])
	}
}

// connected adds the route to the network of an address. One of IPv6 belongs to all
// addresses of the network, and names none of them.
func (t *Table) connected(i *ip.Interface, a *ip.Address) {
	if i.Loopback || a.IsSingleIP() && !a.Peer.IsValid() || !bringsRoute(a) {
		return
	}
	if a.Addr().Is6() {
		for _, p := range networks6(a) {
			t.Add(onLink(i, p))
		}
		return
	}
	t.Add(Route{Destination: a.Network(), Interface: i.Index, Source: a.Addr(), Protocol: Kernel, Scope: link})
}

// bringsRoute says whether an address says that its network is on the link. Of those
// made for a router's prefix the router says so, or not.
func bringsRoute(a *ip.Address) bool { return !a.Is(ip.NoPrefixRoute | ip.Autonomous) }

// onLink is the route to a network of IPv6 that is on an interface's link.
func onLink(i *ip.Interface, p netip.Prefix) Route {
	return Route{Destination: p, Interface: i.Index, Metric: 256, Protocol: Kernel, Scope: link}
}

// AddAddress gives an interface an address; ErrExists, ErrFull.
func (t *Table) AddAddress(i *ip.Interface, a ip.Address) error {
	if len(i.Addresses) >= maxAddresses || len(t.routes) >= maxRoutes {
		return ErrFull
	}
	for _, o := range i.Addresses {
		if o.Addr() == a.Addr() {
			return ErrExists
		}
	}
	i.Addresses = append(slices.Clone(i.Addresses), a)
	t.connected(i, &a)
	t.Changed()
	return nil
}

// ChangeAddress changes the flags and the lifetimes of one; ErrNone.
func (t *Table) ChangeAddress(i *ip.Interface, a ip.Address) error {
	at := slices.IndexFunc(i.Addresses, func(o ip.Address) bool { return o.Addr() == a.Addr() })
	if at < 0 {
		return ErrNone
	}
	i.Addresses = slices.Clone(i.Addresses)
	i.Addresses[at].Flags, i.Addresses[at].Preferred, i.Addresses[at].Valid = a.Flags, a.Preferred, a.Valid
	if a.Broadcast.IsValid() {
		i.Addresses[at].Broadcast = a.Broadcast
	}
	t.Changed()
	return nil
}

// RemoveAddress takes one away, and the routes that speak from it; ErrNone.
func (t *Table) RemoveAddress(i *ip.Interface, a netip.Addr) error {
	at := slices.IndexFunc(i.Addresses, func(p ip.Address) bool { return p.Addr() == a })
	if at < 0 {
		return ErrNone
	}
	gone := i.Addresses[at]
	i.Addresses = slices.Delete(slices.Clone(i.Addresses), at, at+1)
	t.routes = slices.DeleteFunc(t.routes, func(r Route) bool { return r.Interface == i.Index && r.Source == a })
	if a.Is6() && bringsRoute(&gone) {
		for _, p := range networks6(&gone) {
			if !t.networked(i, p.Masked()) {
				t.Delete(onLink(i, p))
			}
		}
	}
	t.Changed()
	return nil
}

// networks6 are what an address of IPv6 puts on the link: its network, and its other end.
func networks6(a *ip.Address) []netip.Prefix {
	if !a.Peer.IsValid() {
		return []netip.Prefix{a.Prefix}
	}
	return []netip.Prefix{a.Prefix, netip.PrefixFrom(a.Peer, 128)}
}

// networked says whether an address of an interface has its route to a network.
func (t *Table) networked(i *ip.Interface, p netip.Prefix) bool {
	return slices.ContainsFunc(i.Addresses, func(a ip.Address) bool {
		return bringsRoute(&a) && (a.Network() == p || a.Addr().Is6() && slices.Contains(networks6(&a), p))
	})
}

// SetOnLink says whether a router has a network of IPv6 on an interface's link, until
// a time of the stack's clock; 0: for ever. A route that an address brought stays.
func (t *Table) SetOnLink(i *ip.Interface, p netip.Prefix, on bool, until int64) {
	r := onLink(i, p)
	r.Expires = until
	switch {
	case t.networked(i, p.Masked()):
	case on:
		t.Learn(r)
	default:
		t.Unlearn(r)
	}
}

// Learn adds a route that its protocol brings, or changes it; one that somebody else
// has put in its place stays.
func (t *Table) Learn(r Route) {
	r.normal()
	if !slices.ContainsFunc(t.routes, func(o Route) bool { return o.rival(&r) && o.Protocol != r.Protocol }) {
		t.Replace(r)
	}
}

// Unlearn removes the routes of a protocol to r's destination over its interface, by
// its gateway if that is valid.
func (t *Table) Unlearn(r Route) {
	r.normal()
	t.routes = slices.DeleteFunc(t.routes, func(o Route) bool {
		return o.Table == r.Table && o.Destination == r.Destination && o.Interface == r.Interface && o.Protocol == r.Protocol &&
			(!r.Gateway.IsValid() || o.Gateway == r.Gateway)
	})
	t.Changed()
}

// Add adds a route; ErrExists when there is one to the same destination with the
// same metric, ErrFull.
func (t *Table) Add(r Route) error {
	r.normal()
	if len(t.routes) >= maxRoutes {
		return ErrFull
	}
	if slices.ContainsFunc(t.routes, func(o Route) bool { return o.rival(&r) }) {
		return ErrExists
	}
	t.insert(r)
	return nil
}

// rival says whether o stands where r would.
func (o *Route) rival(r *Route) bool {
	return o.Table == r.Table && o.Destination == r.Destination && o.Metric == r.Metric && o.TOS == r.TOS &&
		(r.Destination.Addr().Is4() || o.Interface == r.Interface && o.Gateway == r.Gateway)
}

// Replace puts r in the place of the one that Add would stumble over, if any: ErrFull.
func (t *Table) Replace(r Route) error {
	r.normal()
	t.routes = slices.DeleteFunc(t.routes, func(o Route) bool { return o.rival(&r) })
	if len(t.routes) >= maxRoutes {
		return ErrFull
	}
	t.insert(r)
	return nil
}

func (t *Table) insert(r Route) {
	at := 0
	for at < len(t.routes) && !before(&r, &t.routes[at]) {
		at++
	}
	t.routes = slices.Insert(t.routes, at, r)
	t.Changed()
}

// before says whether r comes before o in the list, which is by table, the
// longest prefix first, the lowest metric first.
func before(r, o *Route) bool {
	switch {
	case r.Table != o.Table:
		return r.Table < o.Table
	case r.Destination.Bits() != o.Destination.Bits():
		return r.Destination.Bits() > o.Destination.Bits()
	}
	if r.TOS != o.TOS {
		return r.TOS > o.TOS
	}
	if r.Metric != o.Metric {
		return r.Metric < o.Metric
	}
	return r.Preference > o.Preference
}

// Delete removes the first route that matches r: same table and destination, and
// same gateway, interface, metric where r names them; ErrNone.
func (t *Table) Delete(r Route) error {
	r.normal()
	at := slices.IndexFunc(t.routes, func(o Route) bool {
		return o.Table == r.Table && o.Destination == r.Destination &&
			(!r.Gateway.IsValid() || o.Gateway == r.Gateway) && (r.Interface == 0 || o.Interface == r.Interface) &&
			(r.Metric == 0 || o.Metric == r.Metric) && o.TOS == r.TOS && (r.Nexthop == 0 || o.Nexthop == r.Nexthop)
	})
	if at < 0 {
		return ErrNone
	}
	t.routes = slices.Delete(t.routes, at, at+1)
	t.Changed()
	return nil
}

// Flush removes an interface's routes.
func (t *Table) Flush(index int) {
	t.flushNexthops(index)
	t.routes = slices.DeleteFunc(t.routes, func(r Route) bool {
		if r.Hops == nil || r.Nexthop != 0 {
			return r.Interface == index
		}
		return !slices.ContainsFunc(r.Hops.List, func(h Hop) bool {
			i := t.Interface(h.Interface)
			return h.Interface != index && i != nil && !i.Down
		})
	})
	t.Changed()
}

// Routes are all routes, by table, prefix and metric.
func (t *Table) Routes() []Route { return slices.Clone(t.routes) }

// Interface gives the interface with that index, or nil.
func (t *Table) Interface(index int) *ip.Interface {
	for _, i := range t.Interfaces {
		if i.Index == index {
			return i
		}
	}
	return nil
}

// Local says whether a is this host's: an address of an interface, or any of
// 127.0.0.0/8. The interface is the one that it belongs to.
func (t *Table) Local(a netip.Addr) (*ip.Interface, bool) {
	for _, i := range t.Interfaces {
		for _, p := range i.Addresses {
			if p.Addr() == a && p.Usable() || i.Loopback && a.Is4() && p.Contains(a) {
				return i, true
			}
		}
	}
	if len(t.Interfaces) > 0 && t.owned(a) {
		return t.Interfaces[0], true
	}
	return nil, false
}

// owned says whether a route says that an address is this host's: AnyIP.
func (t *Table) owned(a netip.Addr) bool {
	if t.own.at != t.Generation {
		t.own.at, t.own.list = t.Generation, nil
		for i := range t.routes {
			if r := &t.routes[i]; r.Kind == Own && r.Table == Local {
				t.own.list = append(t.own.list, r.Destination)
			}
		}
	}
	return slices.ContainsFunc(t.own.list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Broadcast says whether a is the limited broadcast address or one of an
// interface's networks.
func (t *Table) Broadcast(a netip.Addr) bool {
	if a == ip.BroadcastAll {
		return true
	}
	if !a.Is4() {
		return false
	}
	for _, i := range t.Interfaces {
		if i.Broadcast(a) {
			return true
		}
	}
	return false
}
