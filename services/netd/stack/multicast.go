package stack

import (
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/wire"
)

// membership is a socket's in a group on an interface: RFC 3376, section 3.
type membership struct {
	group   netip.Addr
	index   int
	exclude bool // all sources but those named; else only those named
	sources []netip.Addr
}

// wants says whether the membership lets a source pass.
func (m *membership) wants(src netip.Addr) bool {
	return slices.Contains(m.sources, src) != m.exclude
}

// maxSources bounds a filter: net.ipv4.igmp_max_msf, net.core.optmem_max.
const (
	maxSources     = 64
	maxMemberships = 256
)

// Groups that every host listens to: RFC 1112, section 4; RFC 4291, 2.8.
var (
	allSystems   = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	allNodesHere = netip.MustParseAddr("ff01::1")
)

// listens says whether the interface takes packets to a group.
func (i *iface) listens(group netip.Addr) bool {
	if i.groups[group] > 0 {
		return true
	}
	if group.Is4() {
		return group == allSystems
	}
	if group == wire.AllNodes || group == allNodesHere {
		return true
	}
	for _, p := range i.Addresses {
		if p.Addr().Is6() && wire.SolicitedNode(p.Addr()) == group {
			return true
		}
	}
	return false
}

// interfaceFor is the interface of a membership: by index, else by an address of
// it, else by the route to the group.
func (s *Stack) interfaceFor(group netip.Addr, index int, addr netip.Addr) *iface {
	if index != 0 {
		return s.iface(index)
	}
	if addr.IsValid() && !addr.IsUnspecified() {
		if i, local := s.table.Local(addr); local {
			return s.iface(i.Index)
		}
		return nil
	}
	if p, v := s.table.Find(route.Query{Dst: group}); v == route.Found {
		return s.iface(p.Out.Index)
	}
	return nil
}

// join adds a membership, with all sources or (source valid) with one:
// EADDRINUSE, EADDRNOTAVAIL, ENODEV, EINVAL, ENOBUFS.
func (s *Stack) join(list *[]membership, group netip.Addr, index int, addr, source netip.Addr) error {
	if !group.IsMulticast() {
		return linux.EINVAL
	}
	i := s.interfaceFor(group, index, addr)
	if i == nil {
		return linux.ENODEV
	}
	for k := range *list {
		m := &(*list)[k]
		if m.group != group || m.index != i.Index {
			continue
		}
		switch {
		case !source.IsValid():
			return linux.EADDRINUSE
		case m.exclude:
			return linux.EINVAL
		case slices.Contains(m.sources, source):
			return linux.EADDRNOTAVAIL
		case len(m.sources) >= maxSources:
			return linux.ENOBUFS
		}
		m.sources = append(m.sources, source)
		i.membershipChanged(group)
		return nil
	}
	if len(*list) >= maxMemberships {
		return linux.ENOBUFS
	}
	m := membership{group: group, index: i.Index, exclude: !source.IsValid()}
	if source.IsValid() {
		m.sources = []netip.Addr{source}
	}
	*list = append(*list, m)
	if i.groups == nil {
		i.groups = map[netip.Addr]int{}
	}
	i.groups[group]++
	i.membershipChanged(group)
	return nil
}

// leave ends a membership, or for one source; EADDRNOTAVAIL.
func (s *Stack) leaveGroup(list *[]membership, group netip.Addr, index int, addr, source netip.Addr) error {
	at := slices.IndexFunc(*list, func(m membership) bool {
		if m.group != group || index != 0 && m.index != index {
			return false
		}
		if index == 0 && addr.IsValid() && !addr.IsUnspecified() {
			i, local := s.table.Local(addr)
			return local && i.Index == m.index
		}
		return true
	})
	if at < 0 {
		return linux.EADDRNOTAVAIL
	}
	m := &(*list)[at]
	if source.IsValid() {
		k := slices.Index(m.sources, source)
		if k < 0 || m.exclude {
			return linux.EADDRNOTAVAIL
		}
		if m.sources = slices.Delete(m.sources, k, k+1); len(m.sources) > 0 {
			return nil
		}
	}
	s.end(*m)
	*list = slices.Delete(*list, at, at+1)
	return nil
}

// block adds (or takes away) a source that is not wanted of a group joined as a
// whole: IP_BLOCK_SOURCE.
func (s *Stack) block(list []membership, group netip.Addr, index int, source netip.Addr, on bool) error {
	for k := range list {
		m := &list[k]
		if m.group != group || index != 0 && m.index != index {
			continue
		}
		at := slices.Index(m.sources, source)
		switch {
		case !m.exclude:
			return linux.EINVAL
		case on == (at >= 0):
			return linux.EADDRNOTAVAIL
		case on && len(m.sources) >= maxSources:
			return linux.ENOBUFS
		case on:
			m.sources = append(m.sources, source)
		default:
			m.sources = slices.Delete(m.sources, at, at+1)
		}
		return nil
	}
	return linux.EINVAL
}

func (s *Stack) end(m membership) {
	i := s.iface(m.index)
	if i == nil || i.groups[m.group] == 0 { // another than it was joined on
		return
	}
	if i.groups[m.group]--; i.groups[m.group] <= 0 {
		delete(i.groups, m.group)
	}
	i.membershipChanged(m.group)
}

func (s *Stack) leaveAll(list *[]membership) {
	for _, m := range *list {
		s.end(m)
	}
	*list = nil
}

// JoinLocked and its siblings are IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP,
// their opposites, IP_BLOCK_SOURCE and those of IPv6. The interface is named by
// index or, if that is 0, by one of its addresses; a source that is not valid is
// none.
func (d *Datagram) JoinLocked(group netip.Addr, index int, addr, source netip.Addr) error {
	return d.s.join(&d.groups, group, index, addr, source)
}

func (d *Datagram) LeaveLocked(group netip.Addr, index int, addr, source netip.Addr) error {
	return d.s.leaveGroup(&d.groups, group, index, addr, source)
}

func (d *Datagram) BlockLocked(group netip.Addr, index int, source netip.Addr, on bool) error {
	return d.s.block(d.groups, group, index, source, on)
}

// JoinLocked is Datagram's.
func (r *Raw) JoinLocked(group netip.Addr, index int, addr, source netip.Addr) error {
	return r.s.join(&r.groups, group, index, addr, source)
}

// BlockLocked is Datagram's.
func (r *Raw) BlockLocked(group netip.Addr, index int, source netip.Addr, on bool) error {
	return r.s.block(r.groups, group, index, source, on)
}

// LeaveLocked is Datagram's.
func (r *Raw) LeaveLocked(group netip.Addr, index int, addr, source netip.Addr) error {
	return r.s.leaveGroup(&r.groups, group, index, addr, source)
}

// SourcesLocked are the mode and the sources of a membership: EADDRNOTAVAIL.
func (d *Datagram) SourcesLocked(group netip.Addr, index int, addr netip.Addr) (exclude bool, sources []netip.Addr, err error) {
	return d.s.sourcesOf(d.groups, group, index, addr)
}

// SetSourcesLocked sets them; to want none of the sources is to leave: EINVAL,
// ENOBUFS.
func (d *Datagram) SetSourcesLocked(group netip.Addr, index int, addr netip.Addr, exclude bool, sources []netip.Addr) error {
	return d.s.setSources(&d.groups, group, index, addr, exclude, sources)
}

// SourcesLocked is Datagram's.
func (r *Raw) SourcesLocked(group netip.Addr, index int, addr netip.Addr) (exclude bool, sources []netip.Addr, err error) {
	return r.s.sourcesOf(r.groups, group, index, addr)
}

// SetSourcesLocked is Datagram's.
func (r *Raw) SetSourcesLocked(group netip.Addr, index int, addr netip.Addr, exclude bool, sources []netip.Addr) error {
	return r.s.setSources(&r.groups, group, index, addr, exclude, sources)
}

// member finds a membership, or -1.
func (s *Stack) member(list []membership, group netip.Addr, index int, addr netip.Addr) int {
	i := s.interfaceFor(group, index, addr)
	return slices.IndexFunc(list, func(m membership) bool { return i != nil && m.group == group && m.index == i.Index })
}

func (s *Stack) sourcesOf(list []membership, group netip.Addr, index int, addr netip.Addr) (bool, []netip.Addr, error) {
	if s.interfaceFor(group, index, addr) == nil {
		return false, nil, linux.ENODEV
	}
	at := s.member(list, group, index, addr)
	if at < 0 {
		return false, nil, linux.EADDRNOTAVAIL
	}
	return list[at].exclude, list[at].sources, nil
}

func (s *Stack) setSources(list *[]membership, group netip.Addr, index int, addr netip.Addr, exclude bool, sources []netip.Addr) error {
	at := s.member(*list, group, index, addr)
	switch {
	case at < 0 || !group.IsMulticast():
		return linux.EINVAL
	case len(sources) > maxSources:
		return linux.ENOBUFS
	case !exclude && len(sources) == 0:
		s.end((*list)[at])
		*list = slices.Delete(*list, at, at+1)
		return nil
	}
	(*list)[at].exclude, (*list)[at].sources = exclude, slices.Clone(sources)
	return nil
}

// admits says whether a socket takes a datagram to a group: if it has joined it,
// by its sources; else unless IP_MULTICAST_ALL is off.
func (d *Datagram) admits(a *arrival) bool {
	return !a.dst.IsMulticast() || admitted(d.groups, a, d.place.opts.JoinedOnly)
}

func admitted(groups []membership, a *arrival, joinedOnly bool) bool {
	for k := range groups {
		if m := &groups[k]; m.group == a.dst && m.index == a.in.Index {
			return m.wants(a.src)
		}
	}
	return !joinedOnly
}

// toAll delivers a datagram to every socket that takes it: what a broadcast or
// multicast address means.
func (s *Stack) toAll(a *arrival, port uint16, src netip.AddrPort, body []byte) {
	for _, d := range slices.Clone(s.grams[portKey{a.proto, port}]) {
		if dev := d.place.opts.Device; dev != 0 && dev != a.in.Index {
			continue
		}
		if d.score(src, a.dst) > 0 && d.admits(a) {
			d.deliver(a, src, nil, body)
		}
	}
}

// loopBack gives this host its own copy of a packet that goes to many.
func (s *Stack) loopBack(p *link.Packet, path *route.Path, dst netip.Addr, wanted bool) {
	i := s.iface(path.Out.Index)
	if i == nil || i.Loopback || !wanted || dst.IsMulticast() && !i.listens(dst) {
		return
	}
	q := s.packet()
	q.Header = append(slices.Clone(p.Header), p.Payload...)
	q.Trusted = true
	q.Interface = i.Index
	if !s.loop.Send(q) {
		s.recycle(q)
	}
}
