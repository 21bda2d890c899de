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
	Blackhole   Kind = 6 // EINVAL, silently
	Unreachable Kind = 7 // EHOSTUNREACH
	Prohibit    Kind = 8 // EACCES
)

// Route leads to Destination over an interface, through Gateway if that is
// valid. Of several the longest prefix wins, then the lowest metric, then the
// oldest.
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

// Rule sends those it matches to a table: ip-rule(8). Prefixes that are not
// valid match everything.
type Rule struct {
	Priority uint32
	From, To netip.Prefix
	Table    uint32
}

// Table is a host's interfaces, rules and routes. Its zero value has the rules
// that Linux begins with, but for the local table: addresses are looked at
// first.
type Table struct {
	Interfaces []*ip.Interface
	// Generation moves on with every change, so that whoever keeps a Path knows
	// when to ask again.
	Generation uint64

	routes []Route
	rules  []Rule // besides Main and Default
}

// Changed is called by whoever changes an interface.
func (t *Table) Changed() { t.Generation++ }

// AddInterface adds an interface, with routes to the networks of its addresses.
func (t *Table) AddInterface(i *ip.Interface) {
	t.Interfaces = append(t.Interfaces, i)
	for _, p := range i.Addresses {
		t.connected(i, p)
	}
	t.Changed()
}

// connected adds the route to the network of an address.
func (t *Table) connected(i *ip.Interface, p netip.Prefix) {
	if i.Loopback || p.IsSingleIP() {
		return
	}
	const kernel, link = 2, 253
	metric := uint32(0)
	if p.Addr().Is6() {
		metric = 256
	}
	t.Add(Route{Destination: p, Interface: i.Index, Source: p.Addr(), Metric: metric, Protocol: kernel, Scope: link})
}

// AddAddress gives an interface an address; ErrExists.
func (t *Table) AddAddress(i *ip.Interface, p netip.Prefix) error {
	for _, o := range i.Addresses {
		if o.Addr() == p.Addr() {
			return ErrExists
		}
	}
	i.Addresses = append(slices.Clone(i.Addresses), p)
	t.connected(i, p)
	t.Changed()
	return nil
}

// RemoveAddress takes one away, and the routes that speak from it; ErrNone.
func (t *Table) RemoveAddress(i *ip.Interface, a netip.Addr) error {
	at := slices.IndexFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
	if at < 0 {
		return ErrNone
	}
	i.Addresses = slices.Delete(slices.Clone(i.Addresses), at, at+1)
	t.routes = slices.DeleteFunc(t.routes, func(r Route) bool { return r.Interface == i.Index && r.Source == a })
	t.Changed()
	return nil
}

// Add adds a route; ErrExists when there is one to the same destination with the
// same metric.
func (t *Table) Add(r Route) error {
	r.normal()
	if slices.ContainsFunc(t.routes, func(o Route) bool { return o.rival(&r) }) {
		return ErrExists
	}
	t.insert(r)
	return nil
}

// rival says whether o stands where r would.
func (o *Route) rival(r *Route) bool {
	return o.Table == r.Table && o.Destination == r.Destination && o.Metric == r.Metric &&
		(r.Destination.Addr().Is4() || o.Interface == r.Interface && o.Gateway == r.Gateway)
}

// Replace puts r in the place of the one that Add would stumble over, if any.
func (t *Table) Replace(r Route) {
	r.normal()
	t.routes = slices.DeleteFunc(t.routes, func(o Route) bool { return o.rival(&r) })
	t.insert(r)
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
	return r.Metric < o.Metric
}

// Delete removes the first route that matches r: same table and destination, and
// same gateway, interface, metric where r names them; ErrNone.
func (t *Table) Delete(r Route) error {
	r.normal()
	at := slices.IndexFunc(t.routes, func(o Route) bool {
		return o.Table == r.Table && o.Destination == r.Destination &&
			(!r.Gateway.IsValid() || o.Gateway == r.Gateway) && (r.Interface == 0 || o.Interface == r.Interface) &&
			(r.Metric == 0 || o.Metric == r.Metric)
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
	t.routes = slices.DeleteFunc(t.routes, func(r Route) bool { return r.Interface == index })
	t.Changed()
}

// Routes are all routes, by table, prefix and metric.
func (t *Table) Routes() []Route { return slices.Clone(t.routes) }

// SetRules sets the rules besides the ones that look at Main and then Default.
func (t *Table) SetRules(rules []Rule) {
	t.rules = slices.Clone(rules)
	slices.SortStableFunc(t.rules, func(a, b Rule) int { return int(int64(a.Priority) - int64(b.Priority)) })
	t.Changed()
}

// Rules are those that SetRules was given.
func (t *Table) Rules() []Rule { return slices.Clone(t.rules) }

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
			if p.Addr() == a || i.Loopback && a.Is4() && p.Contains(a) {
				return i, true
			}
		}
	}
	return nil, false
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
