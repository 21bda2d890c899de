package netlink

import (
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// This file has what a route leads by: one way, several, an object that has them, and what it
// says of connections. linux/rtnetlink.h, linux/nexthop.h.

const (
	routeOut       = 4
	routeGateway   = 5
	routeMetrics   = 8
	routeMultipath = 9
	routeVia       = 18
	routeExpires   = 23
	routeNexthop   = 30

	onLink   = 4  // RTNH_F_ONLINK
	dead     = 1  // RTNH_F_DEAD
	linkDown = 16 // RTNH_F_LINKDOWN

	metricLock       = 1
	metricMTU        = 2
	metricCongestion = 16
	metricCount      = 18

	newNexthop = 104
	delNexthop = 105

	nexthopID        = 1
	nexthopGroup     = 2
	nexthopType      = 3
	nexthopBlackhole = 4
	nexthopOut       = 5
	nexthopGateway   = 6

	sizeofRtnexthop = 8
	sizeofNhmsg     = 8
	sizeofNexthop   = 8 // struct nexthop_grp
)

// gatewayOf is RTA_GATEWAY, or the address of RTA_VIA, which is of another family than the
// route.
func gatewayOf(a map[uint16][]byte) []byte {
	if via := a[routeVia]; len(via) > 2 {
		return via[2:]
	}
	return a[routeGateway]
}

// ways reads the ways of a route that has several, and its metrics: EINVAL.
func ways(m *netdv1.RouteEntry, a map[uint16][]byte) linux.Errno {
	for b := a[routeMultipath]; len(b) >= sizeofRtnexthop; { // struct rtnexthop
		n := int(le.Uint16(b))
		if n < sizeofRtnexthop || n > len(b) {
			return linux.EINVAL
		}
		of := attributesOf(b[sizeofRtnexthop:n])
		m.Hops = append(m.Hops, &netdv1.Hop{Gateway: gatewayOf(of), Interface: le.Uint32(b[4:]), Weight: uint32(b[3]) + 1, OnLink: b[2]&onLink != 0})
		b = b[min((n+3)&^3, len(b)):]
	}
	if a[routeMultipath] != nil && len(m.Hops) == 0 {
		return linux.EINVAL
	}
	for t, v := range attributesOf(a[routeMetrics]) {
		switch {
		case t == metricMTU:
			m.Mtu = min(number(v), 65535)
		case t == metricCongestion:
			m.Congestion = cString(v)
		case t > 0 && t < metricCount && len(v) >= 4:
			if m.Metrics == nil {
				m.Metrics = make([]uint32, metricCount)
			}
			m.Metrics[t] = number(v)
		default:
			return linux.EINVAL
		}
	}
	return 0
}

// waysOf adds them to a route's message.
func (r *request) waysOf(body []byte, m *netdv1.RouteEntry) []byte {
	family := familyOf(m.Destination.GetAddress())
	if m.Nexthop != 0 {
		body = attribute(body, routeNexthop, le.AppendUint32(nil, m.Nexthop))
	}
	if len(m.Hops) == 0 {
		body = way(body, family, m.Gateway)
		out := m.Interface
		if out == 0 && family == linux.AF_INET6 || m.Nexthop != 0 && out == 0 {
			out = 1 // what leads nowhere hangs on the loopback
		}
		if out > 0 {
			body = attribute(body, routeOut, le.AppendUint32(nil, out))
		}
		return body
	}
	var list []byte
	for _, h := range m.Hops {
		at := len(list)
		flags := r.stateOf(h.Interface)
		if h.OnLink {
			flags |= onLink
		}
		list = append(list, 0, 0, flags, byte(h.Weight-1))
		list = way(le.AppendUint32(list, h.Interface), family, h.Gateway)
		le.PutUint16(list[at:], uint16(len(list)-at))
	}
	return attribute(body, routeMultipath, list)
}

// stateOf are the flags of a way over an interface, if it is known: it may have no carrier.
func (r *request) stateOf(index uint32) byte {
	const up, running = 1, 0x40
	switch i := numbered(r.devices, index); {
	case i == nil:
	case i.Flags&up == 0:
		return dead | linkDown
	case i.Flags&running == 0:
		return linkDown
	}
	return 0
}

// way adds a gateway.
func way(b []byte, family byte, gateway []byte) []byte {
	switch of := familyOf(gateway); of {
	case 0:
		return b
	case family:
		return attribute(b, routeGateway, gateway)
	default:
		return attribute(b, routeVia, append([]byte{of, 0}, gateway...))
	}
}

// metricsOf are a route's, nil for none.
func metricsOf(m *netdv1.RouteEntry) (b []byte) {
	for t := range uint16(metricCount) {
		switch {
		case t == metricMTU && m.Mtu > 0:
			b = attribute(b, t, le.AppendUint32(nil, m.Mtu))
		case t == metricCongestion && m.Congestion != "":
			b = attribute(b, t, text(m.Congestion))
		case int(t) < len(m.Metrics) && m.Metrics[t] != 0:
			b = attribute(b, t, le.AppendUint32(nil, m.Metrics[t]))
		}
	}
	return b
}

// nexthop appends RTM_NEWNEXTHOP, if it is the one that is asked for, or all are.
func (r *request) nexthop(b []byte, m *netdv1.NexthopEntry) []byte {
	family := byte(linux.AF_INET)
	if m.V6 {
		family = linux.AF_INET6
	}
	if len(m.Members) > 0 {
		family = linux.AF_UNSPEC
	}
	flags := byte(0)
	if m.OnLink {
		flags = onLink
	}
	body := []byte{family, byte(m.Scope), byte(m.Protocol), 0, flags, 0, 0, 0}
	body = attribute(body, nexthopID, le.AppendUint32(nil, m.Id))
	switch {
	case len(m.Members) > 0:
		var list []byte
		for _, o := range m.Members {
			list = append(le.AppendUint32(list, o.Id), byte(o.Weight-1), 0, 0, 0)
		}
		body = attribute(body, nexthopGroup, list)
		body = attribute(body, nexthopType, []byte{0, 0}) // by hashes
	case m.Blackhole:
		body = attribute(body, nexthopBlackhole, nil)
	default:
		if len(m.Gateway) > 0 {
			body = attribute(body, nexthopGateway, m.Gateway)
		}
		body = attribute(body, nexthopOut, le.AppendUint32(nil, m.Interface))
	}
	return r.message(b, newNexthop, r.listed(), body)
}

// nexthopChange reads a struct nhmsg: EINVAL, EOPNOTSUPP of a group that is resilient.
func (r *request) nexthopChange() (*netdv1.Change, linux.Errno) {
	if len(r.body) < sizeofNhmsg {
		return nil, linux.EINVAL
	}
	a := r.attributes(sizeofNhmsg)
	m := &netdv1.NexthopEntry{Id: number(a[nexthopID]), V6: r.body[0] == linux.AF_INET6, Protocol: uint32(r.body[2]),
		OnLink: r.body[4]&onLink != 0, Gateway: a[nexthopGateway], Interface: number(a[nexthopOut]), Blackhole: a[nexthopBlackhole] != nil}
	switch {
	case len(m.Gateway) > 0:
		m.Scope = scopeLink
	case m.Interface != 0:
		m.Scope = scopeHost
	}
	for t := range a {
		switch t {
		case nexthopID, nexthopGroup, nexthopType, nexthopBlackhole, nexthopOut, nexthopGateway:
		default:
			return nil, linux.EOPNOTSUPP
		}
	}
	if v := a[nexthopType]; len(v) >= 2 && le.Uint16(v) != 0 {
		return nil, linux.EOPNOTSUPP
	}
	list := a[nexthopGroup]
	if list != nil && (len(list) == 0 || len(list)%sizeofNexthop != 0 || len(list) > 256*sizeofNexthop) {
		return nil, linux.EINVAL
	}
	for ; len(list) > 0; list = list[sizeofNexthop:] {
		m.Members = append(m.Members, &netdv1.NexthopMember{Id: le.Uint32(list), Weight: uint32(list[4]) + 1})
	}
	if r.typ == newNexthop && len(m.Members) == 0 && !m.Blackhole && m.Interface == 0 || r.typ == delNexthop && m.Id == 0 {
		return nil, linux.EINVAL
	}
	return &netdv1.Change{What: &netdv1.Change_Nexthop{Nexthop: &netdv1.NexthopChange{Nexthop: m, Remove: r.typ == delNexthop,
		Replace: r.flags&flagReplace != 0, Exclusive: r.flags&flagExclusive != 0}}}, 0
}
