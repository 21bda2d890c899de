package route

import (
	"net/netip"
	"slices"

	"bulkhead/services/netd/ip"
)

// Hop is one way that a route has.
type Hop struct {
	Gateway   netip.Addr // not valid: the destination is on the link
	Interface int
	Weight    int  // from 1
	OnLink    bool // the gateway is taken to be on the link
}

// Hops are the ways of a route that has several, or none. They do not change.
type Hops struct{ List []Hop }

// Numbers of Metrics.Values: RTAX_ of linux/rtnetlink.h.
const (
	Lock        = 1
	Window      = 3  // bytes that are announced at most
	RTT         = 4  // and the next in units of 1/8 and 1/4 ms
	AdvMSS      = 8  // bytes
	HopLimit    = 10 // of what is sent
	InitCwnd    = 11 // segments
	Features    = 12 // bits
	RTOMin      = 13 // ms
	InitRwnd    = 14 // segments
	QuickAck    = 15
	MetricCount = 18

	FeatureECN = 1
)

// Metrics are what a route says of connections by it. They do not change.
type Metrics struct {
	Values     [MetricCount]uint32 // 0: not set
	Congestion string
}

// Of is a value of a route's that may have none.
func (m *Metrics) Of(n int) uint32 {
	if m == nil {
		return 0
	}
	return m.Values[n]
}

// Nexthop is an object that routes can name instead of a way: ip-nexthop(8).
type Nexthop struct {
	ID        uint32
	V6        bool
	Hop       Hop
	Blackhole bool
	Protocol  uint8
	Scope     uint8
	// Members are others with their weights, of a group.
	Members []Member
}

// Member is a nexthop of a group.
type Member struct {
	ID     uint32
	Weight int
}

// maxNexthops bounds them, and maxMembers those of a group.
const (
	maxNexthops = 1024
	maxMembers  = 256
)

// Nexthops are all of them, by number.
func (t *Table) Nexthops() []Nexthop { return slices.Clone(t.nexthops) }

// Nexthop is the one with a number, or nil.
func (t *Table) Nexthop(id uint32) *Nexthop {
	at := slices.IndexFunc(t.nexthops, func(n Nexthop) bool { return n.ID == id })
	if at < 0 {
		return nil
	}
	return &t.nexthops[at]
}

// SetNexthop adds one, whose number may be left open, or puts it in another's place:
// ErrExists; ErrNone where a member is not there or is a group; ErrFull.
func (t *Table) SetNexthop(n Nexthop, replace, exclusive bool) error {
	for _, m := range n.Members {
		if o := t.Nexthop(m.ID); o == nil || len(o.Members) > 0 || m.ID == n.ID || m.Weight < 1 || m.Weight > 256 {
			return ErrNone
		}
	}
	if n.ID == 0 {
		for n.ID = 1; t.Nexthop(n.ID) != nil; {
			n.ID++
		}
	}
	old := t.Nexthop(n.ID)
	switch {
	case old != nil && (exclusive || !replace):
		return ErrExists
	case old != nil && (len(old.Members) > 0) != (len(n.Members) > 0):
		return ErrNone
	case old != nil:
		*old = n
	case len(t.nexthops) >= maxNexthops || len(n.Members) > maxMembers:
		return ErrFull
	default:
		t.nexthops = append(t.nexthops, n)
		slices.SortFunc(t.nexthops, func(a, b Nexthop) int { return int(int64(a.ID) - int64(b.ID)) })
	}
	t.Changed()
	return nil
}

// DeleteNexthop removes one, from groups too, and the routes by it and by groups that are
// empty then; ErrNone.
func (t *Table) DeleteNexthop(id uint32) error {
	if t.Nexthop(id) == nil {
		return ErrNone
	}
	gone := []uint32{id}
	for i := range t.nexthops {
		n := &t.nexthops[i]
		if !slices.ContainsFunc(n.Members, func(m Member) bool { return m.ID == id }) {
			continue
		}
		n.Members = slices.DeleteFunc(slices.Clone(n.Members), func(m Member) bool { return m.ID == id })
		if len(n.Members) == 0 {
			gone = append(gone, n.ID)
		}
	}
	t.nexthops = slices.DeleteFunc(t.nexthops, func(n Nexthop) bool { return slices.Contains(gone, n.ID) })
	t.routes = slices.DeleteFunc(t.routes, func(r Route) bool { return r.Nexthop != 0 && slices.Contains(gone, r.Nexthop) })
	t.Changed()
	return nil
}

// flushNexthops removes those over an interface.
func (t *Table) flushNexthops(index int) {
	for _, n := range t.Nexthops() {
		if n.Hop.Interface == index && len(n.Members) == 0 {
			t.DeleteNexthop(n.ID)
		}
	}
}

// Ways are what a route leads by, none of one that leads nowhere.
func (t *Table) Ways(r *Route) []Hop {
	switch {
	case r.Nexthop != 0:
		n := t.Nexthop(r.Nexthop)
		if n == nil || n.Blackhole {
			return nil
		}
		if len(n.Members) == 0 {
			return []Hop{n.Hop}
		}
		var out []Hop
		for _, m := range n.Members {
			if o := t.Nexthop(m.ID); o != nil && !o.Blackhole {
				h := o.Hop
				h.Weight = m.Weight
				out = append(out, h)
			}
		}
		return out
	case r.Hops != nil:
		return r.Hops.List
	}
	return []Hop{{Gateway: r.Gateway, Interface: r.Interface, Weight: 1, OnLink: r.OnLink}}
}

// usable says whether a way can be taken, and over what.
func (t *Table) usable(h *Hop, q *Query) *ip.Interface {
	out := t.Interface(h.Interface)
	if out == nil || out.Down || q.Out != 0 && q.Out != out.Index {
		return nil
	}
	return out
}

// way chooses among a route's ways: always the same one for the same addresses, each as often
// as its weight says. What this host sends goes by the destination alone, since its own address
// follows from the way.
func (t *Table) way(r *Route, q *Query) (h Hop, out *ip.Interface) {
	if r.Nexthop == 0 && r.Hops == nil {
		h = Hop{Gateway: r.Gateway, Interface: r.Interface}
		return h, t.usable(&h, q)
	}
	all, sum := t.Ways(r), 0
	for i := range all {
		if t.usable(&all[i], q) != nil {
			sum += all[i].Weight
		}
	}
	if sum == 0 {
		return h, nil
	}
	n := int(q.hash() % uint32(sum))
	for i := range all {
		if out = t.usable(&all[i], q); out == nil {
			continue
		}
		if n -= all[i].Weight; n < 0 {
			return all[i], out
		}
	}
	return h, nil
}

// hash is of a packet's addresses.
func (q *Query) hash() uint32 {
	h := uint32(2166136261)
	mix := func(a netip.Addr) {
		b := a.As16()
		for _, c := range b {
			h = (h ^ uint32(c)) * 16777619
		}
	}
	mix(q.Dst)
	if q.In != "" && q.Source.IsValid() {
		mix(q.Source)
	}
	return h ^ h>>15
}
