package route

import (
	"net/netip"

	"bulkhead/services/netd/ip"
)

// Path is how packets to a destination leave.
type Path struct {
	Out    *ip.Interface
	Source netip.Addr
	Next   netip.Addr // the neighbour to give them to
	MTU    int        // bytes
}

// Query is what a path is looked for.
type Query struct {
	Dst    netip.Addr
	Source netip.Addr // the sender's address, if it is chosen already
	Out    int        // the only interface to leave by; 0: any
	Mark   uint32     // the packet's: SO_MARK
	In     string     // the interface that it came by; empty: it is this host's own
}

// Verdict is what Find found.
type Verdict uint8

// The verdicts and their errors.
const (
	Found        Verdict = iota
	NoRoute              // ENETUNREACH
	Dropped              // EINVAL: a blackhole
	Refused              // EHOSTUNREACH: an unreachable route
	Forbidden            // EACCES: a prohibit route
	NoSourceAddr         // EADDRNOTAVAIL: no address to speak from
)

// Lookup finds the path to dst, from src if that is valid. ok is false where no
// route leads.
func (t *Table) Lookup(dst, src netip.Addr) (p Path, ok bool) {
	p, v := t.Find(Query{Dst: dst, Source: src})
	return p, v == Found
}

// Find finds the path for q. Packets to this host's own addresses go over the
// loopback.
func (t *Table) Find(q Query) (Path, Verdict) {
	if _, local := t.Local(q.Dst); local {
		return t.toSelf(q)
	}
	if q.Dst.IsMulticast() || q.Dst == ip.BroadcastAll {
		if p, ok := t.scoped(q); ok {
			return p, Found
		}
	}
	if q.Dst.IsLinkLocalUnicast() && q.Dst.Is6() && q.Out != 0 {
		if p, ok := t.scoped(q); ok {
			return p, Found
		}
	}
	for i := range t.rules {
		r := &t.rules[i]
		if !r.matches(t, &q) {
			continue
		}
		if v, ok := verdicts[r.Kind]; ok {
			if v == Refused {
				v = NoRoute // a rule says so otherwise than a route
			}
			return Path{}, v
		}
		if p, v := t.in(r.Table, q, r.Longer); v != NoRoute {
			return p, v
		}
	}
	if p, v := t.in(Main, q, 0); v != NoRoute {
		return p, v
	}
	if p, v := t.in(Default, q, 0); v != NoRoute {
		return p, v
	}
	if q.Dst.IsMulticast() || q.Dst == ip.BroadcastAll {
		return t.anyOut(q)
	}
	return Path{}, NoRoute
}

func (t *Table) toSelf(q Query) (Path, Verdict) {
	for _, i := range t.Interfaces {
		if !i.Loopback {
			continue
		}
		src := q.Source
		if !src.IsValid() {
			src = q.Dst
			if q.Dst.Is4() && ip.Loopback4.Contains(q.Dst) {
				src = ip.LocalhostV4
			}
		}
		return Path{i, src, q.Dst, i.MTU}, Found
	}
	return Path{}, NoRoute
}

// scoped is the path of a destination that is on the link of a named interface,
// or of the one that the source address names.
func (t *Table) scoped(q Query) (Path, bool) {
	out := t.Interface(q.Out)
	if out == nil && q.Source.IsValid() {
		out, _ = t.Local(q.Source)
	}
	if out == nil || out.Down {
		return Path{}, false
	}
	src := q.Source
	if !src.IsValid() {
		src = out.Source(q.Dst)
	}
	return Path{out, src, q.Dst, out.MTUFor(q.Dst)}, src.IsValid()
}

// anyOut sends a multicast or broadcast that no route names over the first
// interface that is not the loopback.
func (t *Table) anyOut(q Query) (Path, Verdict) {
	for _, i := range t.Interfaces {
		if i.Loopback || i.Down {
			continue
		}
		q.Out = i.Index
		if p, ok := t.scoped(q); ok {
			return p, Found
		}
	}
	return Path{}, NoRoute
}

// verdicts are those of routes and rules that lead nowhere.
var verdicts = map[Kind]Verdict{Blackhole: Dropped, Unreachable: Refused, Prohibit: Forbidden}

// in looks into one table, for routes whose prefixes are so long at least.
func (t *Table) in(table uint32, q Query, longer int) (Path, Verdict) {
	for k := range t.routes {
		r := &t.routes[k]
		if r.Table != table || r.Destination.Bits() < longer || !r.Destination.Contains(q.Dst) {
			continue
		}
		if r.Kind != Unicast {
			if v, ok := verdicts[r.Kind]; ok {
				return Path{}, v
			}
		}
		out := t.Interface(r.Interface)
		if out == nil || out.Down || q.Out != 0 && q.Out != out.Index {
			continue
		}
		return r.path(out, q)
	}
	return Path{}, NoRoute
}

func (r *Route) path(out *ip.Interface, q Query) (Path, Verdict) {
	p := Path{Out: out, Source: q.Source, Next: q.Dst, MTU: out.MTUFor(q.Dst)}
	if r.Gateway.IsValid() {
		p.Next = r.Gateway
	}
	if r.MTU > 0 {
		p.MTU = min(p.MTU, r.MTU)
	}
	if !p.Source.IsValid() {
		if p.Source = r.Source; !p.Source.IsValid() || p.Source.Is4() != q.Dst.Is4() {
			p.Source = out.Source(p.Next)
			if r.Gateway.IsValid() && q.Dst.Is6() {
				p.Source = out.Source(q.Dst) // never a link-local one because the router is
			}
		}
	}
	if !p.Source.IsValid() {
		return p, NoSourceAddr
	}
	return p, Found
}
