package stack

import (
	"net/netip"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// A narrowed path's MTU is forgotten after ten minutes, so that a wider one is
// found: RFC 1191, section 6.3; RFC 8201, section 5.3.
const (
	pathMTULasts = 600 * tcp.Second
	pathMTUs     = 4096
)

// narrow is a destination whose path carries less than our link.
type narrow struct {
	mtu   int
	until tcp.Time
}

// findPath finds the path to dst: src and index (of an interface) may be left
// open.
func (s *Stack) findPath(dst, src netip.Addr, index int) (route.Path, bool) {
	return s.pathOf(route.Query{Dst: dst, Source: src, Out: index})
}

// pathOf is findPath for a packet of which more is known.
func (s *Stack) pathOf(q route.Query) (route.Path, bool) {
	dst := q.Dst
	if !q.Source.IsValid() && !dst.IsLinkLocalUnicast() && !dst.IsMulticast() {
		q.Out = 0
	}
	p, v := s.table.Find(q)
	if v != route.Found && q.Out != 0 {
		q.Out = 0
		p, v = s.table.Find(q)
	}
	if v != route.Found {
		return p, false
	}
	p.MTU = s.pathMTU(dst, p.MTU)
	return p, true
}

// pathMTU is what fits to dst at once, mtu at most.
func (s *Stack) pathMTU(dst netip.Addr, mtu int) int {
	if n, ok := s.narrows[dst]; ok {
		if s.now < n.until {
			return min(mtu, n.mtu)
		}
		delete(s.narrows, dst)
	}
	return mtu
}

// tooBig learns from an ICMP message that a path carries only mtu bytes (0: the
// router did not say).
func (s *Stack) tooBig(dst netip.Addr, mtu int) {
	path, ok := s.findPath(dst, netip.Addr{}, 0)
	if !ok || path.Out.Loopback {
		return
	}
	least := wire.MinMTU4
	if dst.Is6() {
		least = wire.MinMTU6
	}
	if mtu == 0 {
		mtu = ip.Plateau(path.MTU)
	}
	mtu = max(mtu, least)
	if mtu >= path.MTU {
		return // never wider by a message: RFC 1191, 3
	}
	if len(s.narrows) >= pathMTUs {
		for a := range s.narrows {
			delete(s.narrows, a)
			break
		}
	}
	s.narrows[dst] = narrow{mtu, s.now + pathMTULasts}
	s.table.Changed()
}
