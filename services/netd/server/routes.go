package server

import (
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/stack"
)

// This file turns messages about routes, rules and nexthops into the stack's, and back.

func (s *server) routes() *netdv1.Response {
	resp := &netdv1.Response{}
	for _, r := range s.stack.RoutesLocked() {
		resp.Routes = append(resp.Routes, s.routeMessage(&r))
	}
	for _, r := range s.stack.RulesLocked() {
		resp.Rules = append(resp.Rules, ruleMessage(&r))
	}
	for _, n := range s.stack.NexthopsLocked() {
		resp.Nexthops = append(resp.Nexthops, nexthopMessage(&n))
	}
	for _, n := range s.stack.NeighboursLocked() {
		resp.Neighbours = append(resp.Neighbours, neighbourMessage(&n))
	}
	return resp
}

func (s *server) routeMessage(r *route.Route) *netdv1.RouteEntry {
	m := &netdv1.RouteEntry{
		Destination: prefix(r.Destination), Gateway: bytesOf(r.Gateway), Interface: uint32(r.Interface), Source: bytesOf(r.Source),
		Metric: r.Metric, Table: r.Table, Kind: uint32(r.Kind), Protocol: uint32(r.Protocol), Scope: uint32(r.Scope), Mtu: uint32(r.MTU),
		Expires: s.secondsTo(r.Expires), Preference: int32(r.Preference), OnLink: r.OnLink, Tos: uint32(r.TOS), Nexthop: r.Nexthop,
	}
	if r.Metrics != nil {
		m.Metrics, m.Congestion = r.Metrics.Values[:], r.Metrics.Congestion
	}
	if r.Nexthop == 0 && r.Hops == nil {
		return m
	}
	ways := s.stack.WaysLocked(r)
	if len(ways) == 1 && r.Hops == nil {
		m.Gateway, m.Interface, m.OnLink = bytesOf(ways[0].Gateway), uint32(ways[0].Interface), ways[0].OnLink
		return m
	}
	for _, h := range ways {
		m.Hops = append(m.Hops, &netdv1.Hop{Gateway: bytesOf(h.Gateway), Interface: uint32(h.Interface), Weight: uint32(h.Weight), OnLink: h.OnLink})
	}
	if n := s.stack.NexthopLocked(r.Nexthop); n != nil && n.Blackhole {
		m.Kind = uint32(route.Blackhole)
	}
	return m
}

func ruleMessage(r *route.Rule) *netdv1.RuleEntry {
	m := &netdv1.RuleEntry{V6: r.V6, Priority: r.Priority, From: prefix(r.From), To: prefix(r.To), Table: r.Table,
		Mark: r.Mark, Mask: r.Mask, In: r.In, Out: r.Out, Invert: r.Invert, Longer: uint32(r.Longer), Kind: uint32(r.Kind), Target: r.Target,
		IpProtocol: uint32(r.Protocol), SourcePorts: rangeMessage(r.Sources), DestinationPorts: rangeMessage(r.Targets), Tos: uint32(r.TOS),
		Protocol: uint32(r.Origin)}
	if r.Whose {
		m.Users = &netdv1.Range{First: r.Users.First, Last: r.Users.Last}
	}
	return m
}

func rangeMessage(r route.Range) *netdv1.Range {
	if r == (route.Range{}) {
		return nil
	}
	return &netdv1.Range{First: r.First, Last: r.Last}
}

// parsePorts checks a range of ports, which may be missing: EINVAL.
func parsePorts(m *netdv1.Range) (route.Range, error) {
	if m == nil {
		return route.Range{}, nil
	}
	if m.First == 0 || m.First > m.Last || m.Last >= 65535 {
		return route.Range{}, linux.EINVAL
	}
	return route.Range{First: m.First, Last: m.Last}, nil
}

// maxLinkName is the longest name of an interface in bytes.
const maxLinkName = 15

// actions are the kinds that rules may have.
var actions = []route.Kind{0, route.Goto, route.Nop, route.Blackhole, route.Unreachable, route.Prohibit}

// changeRule adds or removes a rule: EINVAL, and what the stack says.
func (s *server) changeRule(c *netdv1.RuleChange) error {
	m := c.Rule
	if m == nil || m.Priority >= route.MainPriority || m.Tos > 255 || m.IpProtocol > 255 || m.Protocol > 255 {
		return linux.EINVAL
	}
	r := route.Rule{V6: m.V6, Priority: m.Priority, Table: m.Table, Mark: m.Mark, Mask: m.Mask, In: m.In, Out: m.Out, Invert: m.Invert,
		Longer: int(min(m.Longer, 129)), Kind: route.Kind(m.Kind), Target: m.Target, Protocol: uint8(m.IpProtocol), TOS: uint8(m.Tos), Origin: uint8(m.Protocol)}
	var err1, err2 error
	r.Sources, err1 = parsePorts(m.SourcePorts)
	r.Targets, err2 = parsePorts(m.DestinationPorts)
	if u := m.Users; u != nil {
		r.Whose, r.Users = true, route.Range{First: u.First, Last: u.Last}
	}
	switch {
	case err1 != nil || err2 != nil || r.Users.First > r.Users.Last || len(r.In) > maxLinkName || len(r.Out) > maxLinkName:
		return linux.EINVAL
	case m.Kind > 255 || !slices.Contains(actions, r.Kind):
		return linux.EOPNOTSUPP
	case !c.Remove && r.Kind == route.Goto && (r.Target == 0 || r.Priority != 0 && r.Target <= r.Priority):
		return linux.EINVAL
	}
	for _, x := range []struct {
		from *netdv1.Prefix
		to   *netip.Prefix
	}{{m.From, &r.From}, {m.To, &r.To}} {
		if x.from == nil {
			continue
		}
		p, err := parsePrefix(x.from)
		if err != nil || p.Addr().Is6() != r.V6 {
			return linux.EINVAL
		}
		*x.to = p.Masked()
	}
	return s.stack.ChangeRuleLocked(r, c.Remove)
}

// parseHop checks a way to destinations of a family: EINVAL.
func parseHop(gateway []byte, out, weight uint32, onLink, v6 bool) (route.Hop, error) {
	a, err := parseOptional(gateway)
	if err != nil || weight > 256 || a.IsValid() && v6 && a.Is4() {
		return route.Hop{}, linux.EINVAL
	}
	return route.Hop{Gateway: a, Interface: index(out), Weight: int(max(weight, 1)), OnLink: onLink}, nil
}

// maxHops bounds the ways of a route.
const maxHops = 256

// kinds are those of routes that can be changed.
var kinds = []route.Kind{0, route.Unicast, route.Own, route.Blackhole, route.Unreachable, route.Prohibit, route.Throw}

func (s *server) changeRoute(c *netdv1.RouteChange) error {
	m := c.Route
	if m == nil || m.Kind > 255 || m.Tos > 255 || len(m.Hops) > maxHops || len(m.Metrics) > route.MetricCount || len(m.Congestion) > 16 {
		return linux.EINVAL
	}
	dst, err := parsePrefix(m.Destination)
	if err != nil {
		return err
	}
	v6 := dst.Addr().Is6()
	hop, err1 := parseHop(m.Gateway, m.Interface, 1, m.OnLink, v6)
	source, err2 := parseOptional(m.Source)
	if err1 != nil || err2 != nil || m.Mtu > 65536 || dst.Masked() != dst {
		return linux.EINVAL
	}
	if !slices.Contains(kinds, route.Kind(m.Kind)) {
		return linux.EOPNOTSUPP
	}
	r := route.Route{
		Destination: dst, Gateway: hop.Gateway, Interface: hop.Interface, Source: source, Metric: m.Metric, Table: m.Table, Kind: route.Kind(m.Kind),
		Protocol: uint8(m.Protocol), Scope: uint8(m.Scope), MTU: int(m.Mtu), OnLink: m.OnLink, TOS: uint8(m.Tos), Nexthop: m.Nexthop,
	}
	if len(m.Metrics) > 0 || m.Congestion != "" {
		r.Metrics = &route.Metrics{Congestion: m.Congestion}
		copy(r.Metrics.Values[:], m.Metrics)
	}
	if len(m.Hops) > 0 {
		r.Hops = &route.Hops{}
		for _, h := range m.Hops {
			hop, err := parseHop(h.Gateway, h.Interface, h.Weight, h.OnLink, v6)
			if err != nil {
				return err
			}
			r.Hops.List = append(r.Hops.List, hop)
		}
	}
	if m.Expires > 0 && m.Expires < 1<<31 {
		r.Expires = s.stack.InLocked(m.Expires)
	}
	return s.stack.ChangeRouteLocked(r, c.Remove, c.Replace)
}

func nexthopMessage(n *route.Nexthop) *netdv1.NexthopEntry {
	m := &netdv1.NexthopEntry{Id: n.ID, V6: n.V6, Gateway: bytesOf(n.Hop.Gateway), Interface: uint32(n.Hop.Interface), Blackhole: n.Blackhole,
		Protocol: uint32(n.Protocol), OnLink: n.Hop.OnLink, Scope: uint32(n.Scope)}
	for _, o := range n.Members {
		m.Members = append(m.Members, &netdv1.NexthopMember{Id: o.ID, Weight: uint32(o.Weight)})
	}
	return m
}

// changeNexthop adds or removes one: EINVAL, and what the stack says.
func (s *server) changeNexthop(c *netdv1.NexthopChange) error {
	m := c.Nexthop
	if m == nil || m.Protocol > 255 || len(m.Members) > maxHops || m.Scope > 255 {
		return linux.EINVAL
	}
	hop, err := parseHop(m.Gateway, m.Interface, 1, m.OnLink, m.V6)
	if err != nil {
		return err
	}
	n := route.Nexthop{ID: m.Id, V6: m.V6, Hop: hop, Blackhole: m.Blackhole, Protocol: uint8(m.Protocol), Scope: uint8(m.Scope)}
	for _, o := range m.Members {
		n.Members = append(n.Members, route.Member{ID: o.Id, Weight: int(min(o.Weight, 1<<16))})
	}
	return s.stack.ChangeNexthopLocked(n, c.Remove, c.Replace, c.Exclusive)
}

// path answers a PathQuery.
func (s *server) path(q *netdv1.PathQuery) *netdv1.Response {
	dst, err1 := parseOptional(q.Destination)
	src, err2 := parseOptional(q.Source)
	if err1 != nil || err2 != nil || !dst.IsValid() || q.Protocol > 255 || q.SourcePort > 65535 || q.DestinationPort > 65535 || q.Tos > 255 {
		return errno(linux.EINVAL)
	}
	query := route.Query{Dst: dst, Source: src, Out: index(q.Out), Mark: q.Mark, UID: q.Uid, Protocol: uint8(q.Protocol),
		SourcePort: uint16(q.SourcePort), DstPort: uint16(q.DestinationPort), TOS: uint8(q.Tos)}
	if q.In != 0 {
		i := s.stack.InterfaceLocked(index(q.In))
		if i == nil {
			return errno(linux.ENODEV)
		}
		query.In = i.Name
	}
	p, r, v := s.stack.RouteLocked(query)
	if err := stack.ErrnoOf(v); err != nil {
		return errno(err)
	}
	m := &netdv1.RouteEntry{Kind: uint32(route.Unicast)}
	if r != nil {
		m = s.routeMessage(r)
		m.Hops = nil
	} else if p.Out.Loopback {
		m.Kind = uint32(route.Own)
	}
	m.Interface, m.Source, m.Gateway = uint32(p.Out.Index), bytesOf(p.Source), nil
	if p.Next != dst {
		m.Gateway = bytesOf(p.Next)
	}
	return &netdv1.Response{Path: m}
}
