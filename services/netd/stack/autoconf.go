package stack

import (
	"net/netip"
	"slices"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/wire"
)

// routerMetric is that of a default route by a router's advertisement: Linux's
// ra_defrtr_metric.
const routerMetric = 1024

var (
	everywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	unspecified = netip.IPv6Unspecified()
)

// autoconfigure begins an interface's configuration of IPv6, when it comes up.
func (i *iface) autoconfigure() {
	if !i.ether || i.Down || i.Lost {
		return
	}
	i.auto.MAC = i.mac
	i.auto.Random = func(n int64) int64 {
		if n <= 0 {
			return 0
		}
		return int64((uint64(i.s.rand32())<<31 | uint64(i.s.rand32())>>1) % uint64(n))
	}
	i.auto.Start(int64(i.s.now), i.Addresses)
	i.configure()
}

// unconfigure ends it: the interface goes down.
func (i *iface) unconfigure() {
	i.auto.Stop()
	i.configure()
	i.MTU6, i.HopLimit6 = 0, 0
	i.cache.ReachableFor, i.cache.Retransmit = 0, 0
}

// configure does what the interface's configuration wants done.
func (i *iface) configure() {
	t := &i.s.table
	for _, c := range i.auto.Poll(int64(i.s.heard)) {
		switch c.Kind {
		case neigh.ProbeAddress:
			group := wire.SolicitedNode(c.Address.Addr())
			mac, _ := i.stationOf(group)
			i.sendND(wire.ICMPHeader{Type: wire.NDSolicit}, unspecified, group, mac, c.Address.Addr(), wire.NDNonce, c.Nonce)
		case neigh.AskRouters:
			if src := i.Source(wire.AllRouters); src.IsValid() {
				mac, _ := i.stationOf(wire.AllRouters)
				i.sendND(wire.ICMPHeader{Type: wire.NDRouterSolicit}, src, wire.AllRouters, mac, netip.Addr{}, wire.NDSourceMAC, i.mac)
			}
		case neigh.AddAddress:
			if t.AddAddress(i.Interface, c.Address) == nil {
				i.joinSolicited(c.Address.Addr())
			}
		case neigh.SetAddress:
			t.ChangeAddress(i.Interface, c.Address)
		case neigh.RemoveAddress:
			i.removeAddress(c.Address.Addr())
		case neigh.SetNetwork:
			t.SetOnLink(i.Interface, c.Prefix, true, c.Until)
		case neigh.RemoveNetwork:
			t.SetOnLink(i.Interface, c.Prefix, false, 0)
		case neigh.SetRouter:
			t.Learn(i.byRouter(c.Router, c.Preference, c.Until))
		case neigh.RemoveRouter:
			t.Unlearn(i.byRouter(c.Router, 0, 0))
		case neigh.SetRedirect:
			r := i.byRedirect(c.Target)
			t.Unlearn(r)
			if c.Router != c.Target {
				r.Gateway = c.Router
			}
			t.Learn(r)
		case neigh.RemoveRedirect:
			t.Unlearn(i.byRedirect(c.Target))
		}
	}
}

// byRouter is the default route that a router's advertisement makes.
func (i *iface) byRouter(router netip.Addr, preference int8, until int64) route.Route {
	return route.Route{Destination: everywhere6, Gateway: router, Interface: i.Index, Metric: routerMetric, Protocol: route.Router,
		Preference: preference, Expires: until}
}

// byRedirect is the route of a redirected destination, by whatever gateway.
func (i *iface) byRedirect(target netip.Addr) route.Route {
	return route.Route{Destination: netip.PrefixFrom(target, 128), Interface: i.Index, Protocol: route.Redirect}
}

// removeAddress takes an address away, and the group of those who ask for it.
func (i *iface) removeAddress(a netip.Addr) error {
	err := i.s.table.RemoveAddress(i.Interface, a)
	group := netip.Addr{}
	if a.Is6() {
		group = wire.SolicitedNode(a)
	}
	if err == nil && i.ether && a.Is6() && !i.listens(group) {
		i.managed.v6.Leave(int64(i.s.now), group)
		i.report()
	}
	return err
}

// joinSolicited joins the group in which an address's owner is asked: RFC 4861,
// section 7.2.1.
func (i *iface) joinSolicited(a netip.Addr) {
	if !i.ether || !a.Is6() {
		return
	}
	group := wire.SolicitedNode(a)
	others := slices.ContainsFunc(i.Addresses, func(o ip.Address) bool {
		return o.Addr() != a && o.Addr().Is6() && wire.SolicitedNode(o.Addr()) == group
	})
	if !others && i.groups[group] == 0 {
		i.managed.v6.Join(int64(i.s.now), group)
		i.report()
	}
}

// inputRouter takes a router's advertisement: RFC 4861, section 6.1.2.
func (i *iface) inputRouter(a *arrival, h wire.ICMP, body []byte) {
	if !a.src.IsLinkLocalUnicast() || !i.auto.Settings.AcceptRA || i.s.forward6 && !i.auto.Settings.AcceptRAAlways {
		return
	}
	ra, err := wire.ParseRouterAdvert(h, body)
	if err != nil {
		return
	}
	now := int64(i.s.now)
	if ra.HopLimit > 0 {
		i.HopLimit6 = ra.HopLimit
	}
	if ra.Reachable > 0 {
		i.cache.ReachableFor = ra.Reachable
	}
	if ra.Retransmit > 0 {
		i.cache.Retransmit = ra.Retransmit
	}
	if mtu := int(ra.Options.MTU); mtu >= wire.MinMTU6 && mtu <= i.MTU && mtu != i.MTU6 {
		i.MTU6 = mtu
		i.s.table.Changed()
	}
	if ra.Options.HasSource {
		i.cache.Heard(now, a.src, ra.Options.SourceMAC, true)
	}
	i.cache.SetRouter(a.src)
	i.auto.Advertised(now, a.src, &ra)
}

// inputRedirect takes a redirect, which only the present first hop may send: RFC
// 4861, section 8.1.
func (i *iface) inputRedirect(a *arrival, body []byte) {
	hop, dst, opts, err := wire.ParseRedirect(body)
	if err != nil || !i.auto.Settings.AcceptRedirects || !a.src.IsLinkLocalUnicast() || dst.IsMulticast() || dst.IsUnspecified() ||
		dst.IsLinkLocalUnicast() || hop != dst && !hop.IsLinkLocalUnicast() {
		return
	}
	path, v := i.s.table.Find(route.Query{Dst: dst, Out: i.Index})
	if _, own := i.s.table.Local(hop); own || v != route.Found || path.Out != i.Interface || path.Next != a.src {
		return
	}
	now := int64(i.s.now)
	if opts.HasTarget {
		i.cache.Heard(now, hop, opts.TargetMAC, true)
	}
	i.auto.Redirected(now, dst, hop)
}

// AddRouter takes over a default router, which the host has heard of: it is one for
// so long unless it says so again. ENODEV.
func (s *Stack) AddRouter(index int, router netip.Addr, lifetime time.Duration) error {
	s.enter()
	defer s.leave()
	i := s.iface(index)
	if i == nil || !i.ether {
		return linux.ENODEV
	}
	i.auto.KnowRouter(router, int64(s.now)+int64(lifetime))
	i.configure()
	return nil
}

// IPv6Locked are an interface's settings; the zero ones if there is none.
func (s *Stack) IPv6Locked(index int) neigh.Settings {
	if i := s.iface(index); i != nil {
		return i.auto.Settings
	}
	return neigh.Settings{}
}

// SetIPv6Locked changes the settings of an interface, which must be enabled as they
// are: ENODEV, EOPNOTSUPP.
func (s *Stack) SetIPv6Locked(index int, c neigh.Settings) error {
	i := s.iface(index)
	switch {
	case i == nil:
		return linux.ENODEV
	case !i.auto.Settings.Enabled || !c.Enabled:
		return linux.EOPNOTSUPP
	}
	i.auto.Settings = c
	return nil
}

// starting makes the lifetimes of an address, which are from now on, points in time.
func (s *Stack) starting(a ip.Address) ip.Address {
	for _, t := range []*int64{&a.Preferred, &a.Valid} {
		if *t != 0 {
			*t += int64(s.now)
		}
	}
	return a
}

// RemainingLocked is how long it is until a point in time of the stack's, 0 if that
// is past.
func (s *Stack) RemainingLocked(at int64) time.Duration {
	return time.Duration(max(at-int64(s.now), 0))
}
