package netlink

import (
	"bytes"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Values of rtnetlink(7) that a single route's answer has.
const (
	tableMain, tableLocal = 254, 255
	typeLocal             = 2
	attributeMark         = 16
	scopeLink             = 253
	flagCloned            = 0x200   // RTM_F_CLONED
	flagLookup            = 0x1000  // RTM_F_LOOKUP_TABLE
	flagLocal             = 1 << 31 // RTCF_LOCAL
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
	m := &netdv1.RouteEntry{Kind: 1, Table: tableMain}
	if i := owner(all, dst); i != nil {
		m.Kind, m.Interface, m.Source = typeLocal, 1, a[1]
		if dst.Is6() {
			m.Table, m.Protocol = tableLocal, 2
		}
	} else {
		s, ok := source.(Router)
		if !ok {
			return nil, linux.ENETUNREACH
		}
		known, err := s.Routes()
		if err != nil {
			return nil, linux.ENETDOWN
		}
		from, _ := netip.AddrFromSlice(a[2])
		q := question{from: from, dst: dst, out: number(a[4]), mark: number(a[attributeMark])}
		for _, i := range all {
			switch i.Index {
			case number(a[3]):
				q.in = i.Name
			case q.out:
				q.bound = i.Name
			}
		}
		best := byRules(known, q)
		if best == nil {
			return nil, linux.ENETUNREACH
		}
		if err := errorOf(best.Kind); err != 0 {
			return nil, err
		}
		m.Gateway, m.Interface, m.Source, m.Protocol, m.Metric = best.Gateway, best.Interface, best.Source, best.Protocol, 0
		if dst.Is6() {
			m.Metric = best.Metric
		}
		if len(m.Source) == 0 {
			m.Source = sourceOn(all, m, dst)
		}
		if from.Is4() {
			m.Source = nil // it is known
		}
		if le.Uint32(r.body[8:])&flagLookup != 0 {
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
		b = one.withUser(b)
	}
	if len(b) >= headerSize+12 && dst.Is4() {
		flags := uint32(flagCloned)
		if m.Kind == typeLocal {
			flags |= flagLocal
		}
		le.PutUint32(b[headerSize+8:], flags)
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

// choose is the route to an address, over an interface if that is not 0: the longest
// prefix, of so many bits at least, then the lowest metric, then the first.
func choose(routes []*netdv1.RouteEntry, table, longer uint32, dst netip.Addr, out uint32) (best *netdv1.RouteEntry) {
	for _, m := range routes {
		net, ok := netip.AddrFromSlice(m.Destination.GetAddress())
		if !ok || net.Is4() != dst.Is4() || m.Table != table && !(m.Table == 0 && table == tableMain) || out != 0 && m.Interface != out || m.Destination.Bits < longer {
			continue
		}
		p, err := net.Prefix(int(min(m.Destination.Bits, 128)))
		if err != nil || !p.Contains(dst) {
			continue
		}
		if best == nil || m.Destination.Bits > best.Destination.Bits || m.Destination.Bits == best.Destination.Bits && m.Metric < best.Metric {
			best = m
		}
	}
	return best
}

// errorOf is what a route of a kind says.
func errorOf(kind uint32) linux.Errno {
	switch kind {
	case 6:
		return linux.EINVAL
	case 7:
		return linux.EHOSTUNREACH
	case 8:
		return linux.EACCES
	}
	return 0
}

// sourceOn is an address of the route's interface to speak to dst from: one whose network
// holds the next hop, else the first that reaches as far.
func sourceOn(all []*netdv1.Interface, m *netdv1.RouteEntry, dst netip.Addr) (found []byte) {
	next := dst
	if g, ok := netip.AddrFromSlice(m.Gateway); ok {
		next = g
	}
	for _, i := range all {
		if i.Index != m.Interface {
			continue
		}
		for _, p := range i.Addresses {
			a, ok := netip.AddrFromSlice(p.Address)
			if !ok || a.Is4() != dst.Is4() {
				continue
			}
			if n, err := a.Prefix(int(min(p.Bits, 128))); err == nil && n.Contains(next) && a.IsLinkLocalUnicast() == dst.IsLinkLocalUnicast() {
				return p.Address
			}
			if found == nil && a.IsLinkLocalUnicast() == dst.IsLinkLocalUnicast() {
				found = p.Address
			}
		}
	}
	return found
}
