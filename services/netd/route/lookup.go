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
	// Metrics are what the route says of connections; nil: nothing.
	Metrics *Metrics
}

// Query is what a path is looked for.
type Query struct {
	Dst    netip.Addr
	Source netip.Addr // the sender's address, if it is chosen already
	Out    int        // the only interface to leave by; 0: any
	Mark   uint32     // the packet's: SO_MARK
	In     string     // the interface that it came by; empty: it is this host's own
	TOS    uint8      // its traffic class
	UID    uint32     // whose socket sends it
	// What rules go by besides: the transport protocol and its ports.
	Protocol            uint8
	SourcePort, DstPort uint16
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
	p, _, v := t.FindRoute(q)
	return p, v
}

// FindRoute is Find, and gives the route that leads there too, if it is one.
func (t *Table) FindRoute(q Query) (Path, *Route, Verdict) {
	if _, local := t.Local(q.Dst); local {
		p, v := t.toSelf(q)
		return p, nil, v
	}
	many := q.Dst.IsMulticast() || q.Dst == ip.BroadcastAll
	if many || q.Dst.IsLinkLocalUnicast() && q.Dst.Is6() && q.Out != 0 {
		if p, ok := t.scoped(q); ok {
			return p, nil, Found
		}
	}
	p, r, v := t.byRules(&q)
	if v == NoRoute && q.Dst.Is6() && many { // Linux has a route of ff00::/8 on each
		p, v = t.anyOut(q)
	}
	return p, r, v
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
		return Path{Out: i, Source: src, Next: q.Dst, MTU: i.MTU}, Found
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
	return Path{Out: out, Source: src, Next: q.Dst, MTU: out.MTUFor(q.Dst)}, src.IsValid()
}

// anyOut sends to a group of IPv6 that no route names over the first
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
func (t *Table) in(table uint32, q *Query, longer int) (Path, *Route, Verdict) {
	for k := range t.routes {
		r := &t.routes[k]
		if r.Table != table || r.Destination.Bits() < longer || !r.Destination.Contains(q.Dst) || r.TOS != 0 && r.TOS != q.TOS&^3 {
			continue
		}
		if r.Kind == Throw {
			return Path{}, nil, NoRoute
		}
		if v, ok := verdicts[r.Kind]; ok {
			return Path{}, r, v
		}
		if r.Nexthop != 0 {
			if n := t.Nexthop(r.Nexthop); n != nil && n.Blackhole {
				return Path{}, r, Dropped
			}
		}
		h, out := t.way(r, q)
		if out == nil {
			continue
		}
		p, v := r.path(&h, out, q)
		return p, r, v
	}
	return Path{}, nil, NoRoute
}

// path is the one by a way of the route's.
func (r *Route) path(h *Hop, out *ip.Interface, q *Query) (Path, Verdict) {
	p := Path{Out: out, Source: q.Source, Next: q.Dst, MTU: out.MTUFor(q.Dst), Metrics: r.Metrics}
	if h.Gateway.IsValid() {
		p.Next = h.Gateway
	}
	if r.MTU > 0 {
		p.MTU = min(p.MTU, r.MTU)
	}
	if !p.Source.IsValid() {
		if p.Source = r.Source; !p.Source.IsValid() || p.Source.Is4() != q.Dst.Is4() {
			if p.Source = out.Source(p.Next); p.Next.Is4() != q.Dst.Is4() || h.Gateway.IsValid() && q.Dst.Is6() {
				p.Source = out.Source(q.Dst) // never a link-local one because the router is
			}
		}
	}
	if !p.Source.IsValid() {
		return p, NoSourceAddr
	}
	return p, Found
}
