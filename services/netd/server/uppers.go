package server

import (
	"slices"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/stack"
)

// macvlanMode says whether there is such a mode.
func macvlanMode(m uint32) bool {
	return m == stack.MacvlanPrivate || m == stack.MacvlanVEPA || m == stack.MacvlanBridge
}

// newUpper makes a VLAN or a macvlan upon an interface of a space, which the guest has made
// too: ENODEV, EINVAL, EEXIST, EOPNOTSUPP, ENOSPC.
func (s *server) newUpper(to *server, kind ip.Kind, c *netdv1.NewLink) error {
	lower := s.madeAt(to, index(c.Lower))
	if lower == nil {
		there := false
		to.stack.Do(func() { there = to.stack.InterfaceLocked(index(c.Lower)) != nil })
		if there {
			return linux.EOPNOTSUPP
		}
		return linux.ENODEV
	}
	u := &stack.Upper{Mode: c.Mode}
	switch {
	case kind == ip.VLAN:
		if c.Vlan < 1 || c.Vlan > 4094 {
			return linux.ERANGE
		}
		u.VLAN, u.Mode = uint16(c.Vlan), 0
	case u.Mode == 0:
		u.Mode = stack.MacvlanVEPA
	case !macvlanMode(u.Mode):
		return linux.EOPNOTSUPP
	}
	if len(s.made) >= maxMade || lower.depth() >= maxDepth {
		return linux.ENOSPC
	}
	mac, err := newMAC(c.Link)
	if err != nil {
		return err
	}
	mtu, of := 0, [6]byte{}
	to.stack.Do(func() {
		i := to.stack.InterfaceLocked(lower.index)
		mtu, of = i.MTU, i.MAC
	})
	if kind == ip.VLAN && len(c.Link.Mac) == 0 {
		mac = of
	}
	if c.Link.Mtu == 0 {
		c.Link.Mtu = uint32(mtu)
	}
	if int(c.Link.Mtu) > mtu {
		return linux.ERANGE
	}
	m := &made{kind: kind, lower: lower, upper: u}
	m.device, u.Near = s.fabric.Pair(link.Wiring{MAC: mac, Ether: true, Plain: kind == ip.VLAN}, link.Wiring{Ether: true})
	u.MAC = func() [6]byte { mac, _ := m.device.MAC(); return mac }
	to.stack.Do(func() { err = to.stack.LayLocked(lower.index, u) })
	if err != nil {
		return err
	}
	lower.uppers = append(lower.uppers, m)
	if err := s.add(m, c.Link); err != nil {
		m.lift()
		return err
	}
	m.carrier()
	return nil
}

// maxDepth is how many may lie upon each other.
const maxDepth = 8

// depth is how many lie below, and it itself.
func (m *made) depth() int {
	n := 1
	for ; m.lower != nil; m = m.lower {
		n++
	}
	return n
}

// lift takes it off what it lies upon.
func (m *made) lift() {
	l := m.lower
	l.uppers = slices.DeleteFunc(l.uppers, func(o *made) bool { return o == m })
	if l.at != nil {
		l.at.stack.Do(func() { l.at.stack.LiftLocked(l.index, m.upper) })
	}
	m.upper.Near.Close()
}

// running says whether it is up and has a carrier.
func (m *made) running() (is bool) {
	m.at.stack.Do(func() {
		i := m.at.stack.InterfaceLocked(m.index)
		is = i != nil && !i.Down && !i.Lost
	})
	return is
}
