package stack

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/route"
)

// ErrnoOf is the error number of a verdict, nil if there is a path.
func ErrnoOf(v route.Verdict) error {
	switch v {
	case route.Found:
		return nil
	case route.Dropped:
		return linux.EINVAL
	case route.Refused:
		return linux.EHOSTUNREACH
	case route.Forbidden:
		return linux.EACCES
	case route.NoSourceAddr:
		return linux.EADDRNOTAVAIL
	}
	return linux.ENETUNREACH
}

// RouteLocked is how a packet would leave, and the route that leads there if one does.
func (s *Stack) RouteLocked(q route.Query) (route.Path, *route.Route, route.Verdict) {
	return s.table.FindRoute(q)
}

// WaysLocked are what a route leads by.
func (s *Stack) WaysLocked(r *route.Route) []route.Hop { return s.table.Ways(r) }

// NexthopsLocked are the objects that routes may name, and NexthopLocked is one of them, or nil.
func (s *Stack) NexthopsLocked() []route.Nexthop { return s.table.Nexthops() }

func (s *Stack) NexthopLocked(id uint32) *route.Nexthop { return s.table.Nexthop(id) }

// InLocked is when so many seconds have gone.
func (s *Stack) InLocked(seconds uint32) int64 {
	return int64(s.now) + int64(seconds)*int64(time.Second)
}

// ChangeRouteLocked adds a route, puts it in another's place, or removes one:
// EEXIST, ESRCH, ENODEV, ENETUNREACH for a gateway that nothing leads to, EINVAL, ENOBUFS.
func (s *Stack) ChangeRouteLocked(r route.Route, remove, replace bool) error {
	if remove {
		return errnoOfTable(s.table.Delete(r), 0, linux.ESRCH)
	}
	switch {
	case r.Nexthop != 0:
		if n := s.table.Nexthop(r.Nexthop); n == nil || r.Gateway.IsValid() || r.Hops != nil {
			return linux.EINVAL
		}
	case r.Hops != nil:
		hops := slices.Clone(r.Hops.List)
		for k := range hops {
			if err := s.reachable(&hops[k], r.Destination.Addr()); err != nil {
				return err
			}
		}
		r.Hops = &route.Hops{List: hops}
	case r.Kind <= route.Unicast || r.Kind == route.Own:
		h := route.Hop{Gateway: r.Gateway, Interface: r.Interface, OnLink: r.OnLink}
		if err := s.reachable(&h, r.Destination.Addr()); err != nil {
			return err
		}
		r.Interface = h.Interface
	}
	r = metricOf(r)
	if replace {
		return errnoOfTable(s.table.Replace(r), 0, 0)
	}
	return errnoOfTable(s.table.Add(r), linux.EEXIST, 0)
}

// reachable checks a way, and finds the interface of a gateway: ENODEV, ENETDOWN, ENETUNREACH;
// EHOSTUNREACH of an IPv6 one.
func (s *Stack) reachable(h *route.Hop, dst netip.Addr) error {
	switch {
	case !h.Gateway.IsValid() || h.OnLink:
	case h.Interface == 0:
		path, ok := s.findPath(h.Gateway, netip.Addr{}, 0)
		if !ok || path.Out.Loopback {
			return noWay(h.Gateway)
		}
		h.Interface = path.Out.Index
	case dst.Is4() && h.Gateway.Is4():
		// What lies behind another gateway is no neighbour.
		path, v := s.table.Find(route.Query{Dst: h.Gateway, Out: h.Interface})
		if s.iface(h.Interface) != nil && (v != route.Found || path.Next != h.Gateway) {
			return linux.ENETUNREACH
		}
	}
	i := s.iface(h.Interface)
	switch {
	case i == nil:
		return linux.ENODEV
	case i.Down:
		return linux.ENETDOWN
	}
	return nil
}

func noWay(gateway netip.Addr) error {
	if gateway.Is6() {
		return linux.EHOSTUNREACH
	}
	return linux.ENETUNREACH
}

// metricOf is r with the metric that an IPv6 route has if nobody names one:
// ip-route(8).
func metricOf(r route.Route) route.Route {
	if r.Metric == 0 && r.Destination.Addr().Is6() {
		r.Metric = 1024
	}
	return r
}

// ChangeNexthopLocked adds an object, puts it in another's place, or removes one: EEXIST,
// ENOENT, EINVAL, ENOSPC, and the errors of ChangeRouteLocked.
func (s *Stack) ChangeNexthopLocked(n route.Nexthop, remove, replace, exclusive bool) error {
	if remove {
		return errnoOfTable(s.table.DeleteNexthop(n.ID), 0, linux.ENOENT)
	}
	if len(n.Members) == 0 && !n.Blackhole {
		dst := netip.IPv4Unspecified()
		if n.V6 {
			dst = netip.IPv6Unspecified()
		}
		if err := s.reachable(&n.Hop, dst); err != nil {
			return err
		}
	}
	err := s.table.SetNexthop(n, replace, exclusive)
	if errors.Is(err, route.ErrFull) {
		return linux.ENOSPC
	}
	return errnoOfTable(err, linux.EEXIST, linux.EINVAL)
}

// RulesLocked are the rules of routing besides those that there always are.
func (s *Stack) RulesLocked() []route.Rule { return s.table.Rules() }

// ChangeRuleLocked adds or removes a rule: EEXIST, ENOENT, ENOSPC.
func (s *Stack) ChangeRuleLocked(r route.Rule, remove bool) error {
	change := s.table.AddRule
	if remove {
		change = s.table.DeleteRule
	}
	switch err := change(r); {
	case errors.Is(err, route.ErrExists):
		return linux.EEXIST
	case errors.Is(err, route.ErrNone):
		return linux.ENOENT
	case err != nil:
		return linux.ENOSPC
	}
	return nil
}
