package stack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
)

// This file is about interfaces that come and go while the stack runs: those that the
// guest makes.

// numberLocked gives an interface an index, or checks the one that it has: EEXIST. None is
// given twice, as long as nobody asks for one by name.
func (s *Stack) numberLocked(i *ip.Interface) error {
	if i.Index == 0 {
		for _, o := range s.table.Interfaces {
			s.lastLink = max(s.lastLink, o.Index)
		}
		i.Index = s.lastLink + 1
	} else if s.iface(i.Index) != nil {
		return fmt.Errorf("interface %d: %w", i.Index, linux.EEXIST)
	}
	s.lastLink = max(s.lastLink, i.Index)
	return nil
}

// maxLinkName is the longest name of an interface in bytes: IFNAMSIZ without its end.
const maxLinkName = 15

// NameLocked makes a name of an interface of a pattern, which is one itself, or has a "%d" for
// the first number that is free: EINVAL, EEXIST.
func (s *Stack) NameLocked(pattern string) (string, error) {
	before, after, numbered := strings.Cut(pattern, "%d")
	if len(pattern) == 0 || len(pattern) > maxLinkName || pattern == "." || pattern == ".." || strings.ContainsAny(pattern, "/: \t\n\v\f\r\x00") ||
		strings.Contains(before+after, "%") && numbered {
		return "", linux.EINVAL
	}
	taken := func(name string) bool { return s.NamedLocked(name) != nil }
	for n := 0; numbered; n++ {
		if name := before + strconv.Itoa(n) + after; len(name) > maxLinkName {
			return "", linux.EINVAL
		} else if !taken(name) {
			return name, nil
		}
	}
	if taken(pattern) {
		return "", linux.EEXIST
	}
	return pattern, nil
}

// NamedLocked gives the interface with that name, or nil.
func (s *Stack) NamedLocked(name string) *ip.Interface {
	for _, i := range s.ifaces {
		if i.Name == name {
			return i.Interface
		}
	}
	return nil
}

// RenameLocked changes an interface's name: ENODEV, and the errors of NameLocked.
func (s *Stack) RenameLocked(index int, pattern string) error {
	i := s.iface(index)
	switch {
	case i == nil:
		return linux.ENODEV
	case i.Name == pattern:
		return nil
	}
	name, err := s.NameLocked(pattern)
	if err == nil {
		i.Name = name
		s.table.Changed()
	}
	return err
}

// SetMACLocked changes an interface's Ethernet address: ENODEV, EOPNOTSUPP of one that the
// guest did not make, EADDRNOTAVAIL.
func (s *Stack) SetMACLocked(index int, mac [6]byte) error {
	i := s.iface(index)
	switch {
	case i == nil:
		return linux.ENODEV
	case i.Kind == "" || !i.ether:
		return linux.EOPNOTSUPP
	case mac[0]&1 != 0 || mac == [6]byte{}:
		return linux.EADDRNOTAVAIL
	}
	i.fixed.mac = true
	i.setMAC(mac)
	if i.master != nil {
		i.master.follow()
	}
	s.table.Changed()
	return nil
}

// SetCarrierLocked says whether an interface's other side is there.
func (s *Stack) SetCarrierLocked(index int, there bool) {
	i := s.iface(index)
	if i == nil || i.Lost != there {
		return
	}
	i.Lost = !there
	if !i.Down && there {
		i.autoconfigure()
	}
	if i.master != nil {
		i.master.follow()
	}
	s.table.Changed()
}

// RemoveInterfaceLocked takes an interface away, with its addresses, routes and neighbours,
// and gives its device, which is neither told nor closed: ENODEV.
func (s *Stack) RemoveInterfaceLocked(index int) (link.Device, error) {
	i := s.iface(index)
	if i == nil || i.Loopback {
		return nil, linux.ENODEV
	}
	i.disband()
	if !i.Down {
		i.unconfigure()
	}
	for _, p := range i.tx {
		s.recycle(p)
	}
	i.tx, i.gone, i.Down = nil, true, true
	for len(i.Addresses) > 0 {
		s.table.RemoveAddress(i.Interface, i.Addresses[0].Addr())
	}
	s.table.Flush(index)
	s.table.Interfaces = slices.DeleteFunc(slices.Clone(s.table.Interfaces), func(o *ip.Interface) bool { return o == i.Interface })
	s.ifaces = slices.DeleteFunc(slices.Clone(s.ifaces), func(o *iface) bool { return o == i })
	s.watch.past += i.cache.Generation + 1
	s.table.Changed()
	return i.dev, nil
}
