package stack

import (
	"net/netip"
	"slices"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/route"
)

// Change is something that is now different of the configuration: an interface, one of
// its addresses (Link says whose), a route or a neighbour.
type Change struct {
	Link      *ip.Interface
	Address   *ip.Address
	Route     *route.Route
	Neighbour *Neighbour
	Removed   bool
	Replaced  bool // a route took the place of one that led elsewhere
}

// watch is who is told of changes, and what they know. At the end of each entry that
// changed something the two are compared: whoever changes the tables need not think of
// those who watch, and what did not last beyond the entry is not told.
type watch struct {
	tell       func(Change)
	generation uint64 // of the table
	neighbours uint64 // of all caches
	past       uint64 // of those of interfaces that are no more
	links      map[int]ip.Interface
	routes     []route.Route
	known      map[neighbourKey]Neighbour
}

type neighbourKey struct {
	index int
	addr  netip.Addr
}

// WatchLocked has tell called, with the lock held, for every change from now on.
func (s *Stack) WatchLocked(tell func(Change)) {
	w := &s.watch
	w.generation, w.neighbours = s.table.Generation, s.neighbourGeneration()
	w.links = map[int]ip.Interface{}
	for _, i := range s.table.Interfaces {
		w.links[i.Index] = *i
	}
	w.routes, w.known = s.table.Routes(), s.notableNeighbours()
	w.tell = tell
}

func (s *Stack) neighbourGeneration() (n uint64) {
	for _, i := range s.ifaces {
		n += i.cache.Generation
	}
	return n + s.watch.past
}

// notableNeighbours are those whose state Linux tells of: what is being asked for is
// not, nor that one who is believed to be there is asked again.
func (s *Stack) notableNeighbours() map[neighbourKey]Neighbour {
	out := map[neighbourKey]Neighbour{}
	for _, n := range s.NeighboursLocked() {
		k := neighbourKey{n.Interface, n.Addr}
		switch n.State {
		case neigh.Incomplete:
			continue
		case neigh.Delay, neigh.Probe:
			if was, ok := s.watch.known[k]; ok {
				n.State = was.State
			} else {
				n.State = neigh.Stale
			}
		}
		out[k] = n
	}
	return out
}

// tellChanges tells of what the entry has changed.
func (s *Stack) tellChanges() {
	w := &s.watch
	if w.tell == nil {
		return
	}
	if w.generation != s.table.Generation {
		w.generation = s.table.Generation
		s.tellLinks()
		s.tellRoutes()
	}
	if n := s.neighbourGeneration(); n != w.neighbours {
		w.neighbours = n
		s.tellNeighbours()
	}
}

func (s *Stack) tellLinks() {
	w := &s.watch
	for index, was := range w.links {
		if s.table.Interface(index) != nil {
			continue
		}
		for _, a := range was.Addresses {
			w.tell(Change{Link: &was, Address: &a, Removed: true})
		}
		w.tell(Change{Link: &was, Removed: true})
		delete(w.links, index)
	}
	for _, i := range s.table.Interfaces {
		was, now := w.links[i.Index], *i
		if was.Down != now.Down || was.MTU != now.MTU || was.Name != now.Name || was.MAC != now.MAC || was.Lost != now.Lost || was.Master != now.Master {
			w.tell(Change{Link: &now})
		}
		for _, a := range was.Addresses {
			if !slices.ContainsFunc(now.Addresses, func(b ip.Address) bool { return a.Prefix == b.Prefix }) {
				w.tell(Change{Link: &now, Address: &a, Removed: true})
			}
		}
		for _, a := range now.Addresses {
			if !slices.Contains(was.Addresses, a) {
				w.tell(Change{Link: &now, Address: &a})
			}
		}
		w.links[i.Index] = now
	}
}

// routeKey is what tells a route from others: see route.Table.Add. An IPv6 route is
// another one by another gateway.
type routeKey struct {
	table, metric uint32
	to            netip.Prefix
	out           int
	gateway       netip.Addr
}

func keyOf(r *route.Route) routeKey {
	k := routeKey{table: r.Table, metric: r.Metric, to: r.Destination}
	if r.Destination.Addr().Is6() {
		k.out, k.gateway = r.Interface, r.Gateway
	}
	return k
}

func (s *Stack) tellRoutes() {
	w := &s.watch
	was, now := map[routeKey]route.Route{}, map[routeKey]bool{}
	for _, r := range w.routes {
		was[keyOf(&r)] = r
	}
	w.routes = s.table.Routes()
	for _, r := range w.routes {
		now[keyOf(&r)] = true
	}
	for k, r := range was {
		if !now[k] {
			w.tell(Change{Route: &r, Removed: true})
		}
	}
	for _, r := range w.routes {
		old, ok := was[keyOf(&r)]
		old.Expires = r.Expires // a router says that it is still there
		if !ok || old != r {
			w.tell(Change{Route: &r, Replaced: ok})
		}
	}
}

func (s *Stack) tellNeighbours() {
	w := &s.watch
	was := w.known
	w.known = s.notableNeighbours()
	for k, n := range was {
		if _, ok := w.known[k]; !ok {
			w.tell(Change{Neighbour: &n, Removed: true})
		}
	}
	for k, n := range w.known {
		if old, ok := was[k]; !ok || old.State != n.State || old.MAC != n.MAC {
			w.tell(Change{Neighbour: &n})
		}
	}
}
