package stack

import (
	"errors"
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/route"
)

// Neighbour is an entry of an interface's neighbour cache, for those who list.
type Neighbour struct {
	Interface int
	neigh.Entry[*link.Packet]
}

// RoutesLocked are the routes that can be changed: not those to this host itself,
// and not single destinations' that a router has redirected, which Linux keeps apart.
func (s *Stack) RoutesLocked() []route.Route {
	return slices.DeleteFunc(s.table.Routes(), func(r route.Route) bool { return r.Protocol == route.Redirect })
}

// NeighboursLocked are the neighbours of all interfaces.
func (s *Stack) NeighboursLocked() []Neighbour {
	var out []Neighbour
	for _, i := range s.ifaces {
		for _, e := range i.cache.Entries() {
			out = append(out, Neighbour{i.Index, e})
		}
	}
	return out
}

// StatsLocked are an interface's counters.
func (s *Stack) StatsLocked(index int) InterfaceStats {
	if i := s.iface(index); i != nil {
		return i.stats
	}
	return InterfaceStats{}
}

// minMTU is the least that Linux takes, in bytes: RFC 791.
const minMTU = 68

// SetLinkLocked changes what is not nil of an interface: ENODEV, EINVAL.
func (s *Stack) SetLinkLocked(index int, up *bool, mtu *int) error {
	i := s.iface(index)
	if i == nil {
		return linux.ENODEV
	}
	if mtu != nil {
		most := 65536
		if i.dev != nil {
			most = i.dev.MTU()
		}
		if *mtu < minMTU || *mtu > most {
			return linux.EINVAL
		}
		i.MTU, i.fixed.mtu = *mtu, true
	}
	if up != nil && i.Down == *up {
		i.Down = !*up
		i.Used = i.Used || *up
		switch {
		case i.Loopback:
			i.loop()
		case i.Down:
			i.unconfigure()
			s.table.Flush(index)
		default:
			s.table.Reconnect(i.Interface)
			i.autoconfigure()
		}
	}
	if i.master != nil {
		i.master.follow()
	}
	s.table.Changed()
	return nil
}

// loop gives a loopback that has come up the addresses that it lacks, as Linux does.
func (i *iface) loop() {
	if i.Down {
		return
	}
	for _, p := range loopbackPrefixes {
		if !slices.ContainsFunc(i.Addresses, func(a ip.Address) bool { return a.Addr() == p.Addr() }) {
			i.s.table.AddAddress(i.Interface, ip.Static(p)[0])
		}
	}
}

// AddAddressLocked gives an interface an address, whose lifetimes are from now on, or
// with replace changes the flags and lifetimes of the one it has: ENODEV, EEXIST.
func (s *Stack) AddAddressLocked(index int, a ip.Address, replace bool) error {
	i := s.iface(index)
	if i == nil {
		return linux.ENODEV
	}
	a = s.starting(a)
	if k := slices.IndexFunc(i.Addresses, func(o ip.Address) bool { return o.Addr() == a.Addr() }); k >= 0 {
		if !replace {
			return linux.EEXIST
		}
		a.Flags |= i.Addresses[k].Flags & (ip.Tentative | ip.Failed)
		i.auto.Change(int64(s.now), a)
		i.configure()
		return errnoOfTable(s.table.ChangeAddress(i.Interface, a), 0, linux.EADDRNOTAVAIL)
	}
	if i.ether {
		a = i.auto.Add(int64(s.now), a)
	}
	if err := s.table.AddAddress(i.Interface, a); err != nil {
		return errnoOfTable(err, linux.EEXIST, 0)
	}
	i.joinSolicited(a.Addr())
	i.configure()
	return nil
}

// RemoveAddressLocked takes one away: ENODEV, EADDRNOTAVAIL.
func (s *Stack) RemoveAddressLocked(index int, a netip.Addr) error {
	i := s.iface(index)
	if i == nil {
		return linux.ENODEV
	}
	i.auto.Forget(a)
	return errnoOfTable(i.removeAddress(a), 0, linux.EADDRNOTAVAIL)
}

// SetNeighbourLocked makes a permanent neighbour, or forgets one: ENODEV, ENOENT.
func (s *Stack) SetNeighbourLocked(index int, a netip.Addr, mac [6]byte, remove bool) error {
	i := s.iface(index)
	switch {
	case i == nil || !i.ether:
		return linux.ENODEV
	case !remove:
		i.cache.Set(int64(s.now), a, mac)
	case !i.cache.Delete(a):
		return linux.ENOENT
	}
	return nil
}

func errnoOfTable(err error, exists, none linux.Errno) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, route.ErrExists):
		return exists
	case errors.Is(err, route.ErrNone):
		return none
	case errors.Is(err, route.ErrFull):
		return linux.ENOBUFS
	}
	return linux.EINVAL
}

// InterfaceLocked gives the interface with that index, or nil.
func (s *Stack) InterfaceLocked(index int) *ip.Interface {
	if i := s.iface(index); i != nil {
		return i.Interface
	}
	return nil
}
