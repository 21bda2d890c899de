package netlink

import (
	"bytes"
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Values of rtnetlink(7) that a single route's answer has.
const (
	tableMain, tableLocal = 254, 255
	typeLocal             = 2
	attributeMark         = 16
	attributeUID          = 25

	attributeProtocol        = 27
	attributeSourcePort      = 28
	attributeDestinationPort = 29

	scopeLink  = 253
	flagCloned = 0x200   // RTM_F_CLONED
	flagLookup = 0x1000  // RTM_F_LOOKUP_TABLE
	flagMatch  = 0x2000  // RTM_F_FIB_MATCH
	flagLocal  = 1 << 31 // RTCF_LOCAL
)

// lookup answers RTM_GETROUTE of one destination, what `ip route get` asks: from the
// routes that netd has, as it would choose. ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL.
func (r *request) lookup(source Source, all []*netdv1.Interface) ([]byte, linux.Errno) {
	if len(r.body) < 12 {
		return nil, linux.EINVAL
	}
	a := r.attributes(12)
	dst, ok := netip.AddrFromSlice(a[1])
	if !ok || familyOf(a[1]) != r.body[0] {
		return nil, linux.EINVAL
	}
	flags := le.Uint32(r.body[8:])
	var m *netdv1.RouteEntry
	if i := owner(all, dst); i != nil {
		m = &netdv1.RouteEntry{Kind: typeLocal, Table: tableMain, Interface: 1, Source: a[1]}
		if dst.Is6() {
			m.Table, m.Protocol = tableLocal, 2
		}
	} else {
		s, ok := source.(Router)
		if !ok {
			return nil, linux.ENETUNREACH
		}
		best, err := s.Path(r.pathQuery(a))
		switch e, known := err.(linux.Errno); {
		case known:
			return nil, e
		case err != nil || best == nil:
			return nil, linux.ENETDOWN
		case flags&flagMatch != 0 && best.Destination != nil:
			if !slices.ContainsFunc(all, func(i *netdv1.Interface) bool { return i.Index == best.Interface }) {
				return nil, linux.ENETUNREACH
			}
			return r.fibmatch(source, best), 0
		}
		m = answered(best, dst.Is6())
		m.Tos = uint32(r.body[3])
		if len(a[2]) == 4 {
			m.Source = nil // it is known
		}
		if flags&flagLookup != 0 && best.Table != 0 && best.Kind != typeLocal {
			m.Table = best.Table
		}
	}
	m.Destination = &netdv1.Prefix{Address: a[1], Bits: uint32(dst.BitLen())}
	one := request{seq: r.seq, port: r.port}
	b := one.route(nil, m, 0)
	if dst.Is6() {
		b = one.withSource(b, a[2])
	} else {
		if len(a[2]) == 4 {
			b = one.from(b, a[2])
		}
		b = one.withUser(b, number(a[attributeUID]))
	}
	if len(b) >= headerSize+12 && dst.Is4() {
		cached := uint32(flagCloned)
		if m.Kind == typeLocal {
			cached |= flagLocal
		}
		le.PutUint32(b[headerSize+8:], cached)
	}
	if mark := number(a[attributeMark]); mark != 0 {
		b = resized(attribute(b, attributeMark, le.AppendUint32(nil, mark)))
	}
	return b, 0
}

// owner is the interface that has an address, or any of 127.0.0.0/8.
func owner(all []*netdv1.Interface, a netip.Addr) *netdv1.Interface {
	for _, i := range all {
		for _, p := range i.Addresses {
			if bytes.Equal(p.Address, a.AsSlice()) || a.Is4() && a.IsLoopback() && i.Index == 1 {
				return i
			}
		}
	}
	return nil
}

// pathQuery is what is asked for.
func (r *request) pathQuery(a map[uint16][]byte) *netdv1.PathQuery {
	q := &netdv1.PathQuery{Destination: a[1], Source: a[2], Out: number(a[4]), In: number(a[3]), Mark: number(a[attributeMark]), Uid: number(a[attributeUID]),
		Tos: uint32(r.body[3])}
	if v := a[attributeProtocol]; len(v) > 0 {
		q.Protocol = uint32(v[0])
	}
	if v := a[attributeSourcePort]; len(v) >= 2 {
		q.SourcePort = uint32(v[0])<<8 | uint32(v[1])
	}
	if v := a[attributeDestinationPort]; len(v) >= 2 {
		q.DestinationPort = uint32(v[0])<<8 | uint32(v[1])
	}
	return q
}

// answered is what is told of a route that leads somewhere.
func answered(best *netdv1.RouteEntry, v6 bool) *netdv1.RouteEntry {
	m := &netdv1.RouteEntry{Kind: best.Kind, Table: tableMain, Gateway: best.Gateway, Interface: best.Interface, Source: best.Source,
		Protocol: best.Protocol, Mtu: best.Mtu, Metrics: best.Metrics, Congestion: best.Congestion}
	if v6 {
		m.Metric = best.Metric
	} else {
		m.Protocol = 0
	}
	return m
}

// fibmatch is the route itself that leads there.
func (r *request) fibmatch(source Source, best *netdv1.RouteEntry) []byte {
	one := request{seq: r.seq, port: r.port}
	if s, ok := source.(Router); ok {
		if known, err := s.Routes(); err == nil {
			for _, m := range known.Routes {
				if m.Table == best.Table && m.Metric == best.Metric && m.Tos == best.Tos && bytes.Equal(m.Destination.GetAddress(), best.Destination.GetAddress()) &&
					m.Destination.GetBits() == best.Destination.GetBits() {
					return one.route(nil, m, 0)
				}
			}
		}
	}
	return one.route(nil, best, 0)
}
