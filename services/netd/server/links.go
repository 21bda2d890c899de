package server

import (
	"crypto/rand"
	"slices"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/stack"
)

// The guest makes interfaces: dummy ones, pairs, and those of TUN and TAP. Each is of one
// stack at a time, and what changes it may concern another stack too, where its other end
// is: all of this file runs in the loop with no stack's lock held.

// maxMade is how many interfaces the guest may make in all spaces together.
const maxMade = 256

// made is one of them. The first server has all.
type made struct {
	at     *server
	index  int
	kind   ip.Kind
	device *link.Cable
	peer   *made
	tunnel *tunnel

	settings map[uint32]uint32 // of a bridge

	lower  *made // what it lies upon, with upper
	upper  *stack.Upper
	uppers []*made // what lies upon it
}

// defaultMTU is that of a new interface in bytes.
const defaultMTU = 1500

// changeLinks carries out a change of interfaces, with no lock held; known is false of any
// other. s is the first server.
func (s *server) changeLinks(to *server, c *netdv1.Change) (err error, known bool) {
	switch w := c.What.(type) {
	case *netdv1.Change_NewLink:
		return s.newLink(to, w.NewLink), true
	case *netdv1.Change_RemoveLink:
		return s.removeLink(to, index(w.RemoveLink.Index)), true
	case *netdv1.Change_Link:
		return s.changeLink(to, w.Link), true
	}
	return nil, false
}

// madeAt is the interface with an index of a space; nil if the guest has made none.
func (s *server) madeAt(at *server, index int) *made {
	if s.first != nil {
		s = s.first
	}
	k := slices.IndexFunc(s.made, func(m *made) bool { return m.at == at && m.index == index })
	if k < 0 {
		return nil
	}
	return s.made[k]
}

// newLink makes what a NewLink asks for.
func (s *server) newLink(to *server, c *netdv1.NewLink) error {
	kind, want := ip.Kind(c.Kind), []*netdv1.NewInterface{c.Link}
	switch kind {
	case ip.Dummy:
	case ip.VLAN, ip.Macvlan:
		return s.newUpper(to, kind, c)
	case ip.Bridge:
		if err := checkBridge(c.Bridge); err != nil {
			return err
		}
	case ip.Veth:
		want = []*netdv1.NewInterface{c.Peer, c.Link} // the other end comes first, as on Linux
	default:
		return linux.EOPNOTSUPP
	}
	if len(s.made)+len(want) > maxMade {
		return linux.ENOSPC
	}
	var wirings [2]link.Wiring
	for i, w := range want {
		mac, err := newMAC(w)
		if err != nil {
			return err
		}
		wirings[i] = link.Wiring{MAC: mac, Ether: true}
	}
	switch kind {
	case ip.Dummy:
		return s.add(&made{kind: kind, device: s.fabric.Dummy(wirings[0])}, c.Link)
	case ip.Bridge:
		wirings[0].Inside = true
		return s.addBridge(&made{kind: kind, device: s.fabric.Dummy(wirings[0])}, c)
	}
	one, other := &made{kind: kind}, &made{kind: kind}
	one.peer, other.peer = other, one
	one.device, other.device = s.fabric.Pair(wirings[0], wirings[1])
	if err := s.add(one, want[0]); err != nil {
		return err
	}
	if err := s.add(other, want[1]); err != nil {
		s.remove(one)
		return err
	}
	one.carrier()
	return nil
}

// newMAC is the Ethernet address that is asked for, or a random one of its own: EINVAL,
// EADDRNOTAVAIL.
func newMAC(w *netdv1.NewInterface) (mac [6]byte, err error) {
	switch {
	case w == nil || len(w.Mac) != 0 && len(w.Mac) != 6 || w.Mtu != 0 && (w.Mtu < 68 || w.Mtu > 65535) || w.Index > 1<<31-1:
		return mac, linux.EINVAL
	case len(w.Mac) == 6 && (w.Mac[0]&1 != 0 || [6]byte(w.Mac) == mac):
		return mac, linux.EADDRNOTAVAIL
	case len(w.Mac) == 6:
		return [6]byte(w.Mac), nil
	}
	rand.Read(mac[:])
	mac[0] = mac[0]&^1 | 2
	return mac, nil
}

// add puts an interface into the space that it is to be in: EINVAL, EEXIST.
func (s *server) add(m *made, w *netdv1.NewInterface) error {
	at := s.in(w.Space << spaceShift)
	if w.Space > maxSpaces || at == nil {
		return linux.EINVAL
	}
	pattern := w.Name
	if pattern == "" {
		pattern = string(m.kind) + "%d"
	}
	mtu := defaultMTU
	if w.Mtu != 0 {
		mtu = int(w.Mtu)
	}
	if err := m.join(at, pattern, index(w.Index), mtu); err != nil {
		return err
	}
	s.made = append(s.made, m)
	change := &netdv1.LinkChange{Index: uint32(m.index)}
	if w.Master != 0 {
		change.Master = &w.Master
	}
	if w.Up {
		change.Up = &w.Up
	}
	if change.Up == nil && change.Master == nil {
		return nil
	}
	err := s.changeLink(at, change)
	if err != nil {
		s.remove(m)
	}
	return err
}

// addBridge adds a bridge, whose values are checked.
func (s *server) addBridge(m *made, c *netdv1.NewLink) error {
	w := c.Link
	up := w.Up
	w.Up = false
	if err := s.add(m, w); err != nil {
		return err
	}
	m.at.stack.Do(func() {
		m.at.stack.MakeBridgeLocked(m.index, len(w.Mac) != 0, w.Mtu != 0)
		m.setBridge(c.Bridge)
	})
	if up {
		return s.changeLink(m.at, &netdv1.LinkChange{Index: uint32(m.index), Up: &up})
	}
	return nil
}

// join makes it an interface of a stack, which is down.
func (m *made) join(at *server, pattern string, index, mtu int) (err error) {
	at.stack.Do(func() { pattern, err = at.stack.NameLocked(pattern) })
	if err != nil {
		return err
	}
	settings := neigh.Settings{Enabled: true, AcceptRA: true, Autoconf: true, AcceptRedirects: true, DADTransmits: 1, RouterSolicits: -1,
		SolicitationWait: neigh.Second}
	if m.kind == ip.Dummy {
		settings.DADTransmits = 0
	}
	_, ether := m.device.MAC()
	settings.Enabled = ether
	_, err = at.stack.AddInterface(stack.InterfaceConfig{Name: pattern, Index: index, IPv6: settings, Device: m.device, Kind: m.kind, MTU: mtu,
		Down: true, Lost: m.kind != ip.Dummy, Numbered: func(index int) { m.at, m.index = at, index }})
	return err
}

// removeLink is RTM_DELLINK: ENODEV, EOPNOTSUPP.
func (s *server) removeLink(to *server, index int) error {
	m := s.madeAt(to, index)
	if m == nil {
		there := false
		to.stack.Do(func() { there = to.stack.InterfaceLocked(index) != nil })
		if there {
			return linux.EOPNOTSUPP
		}
		return linux.ENODEV
	}
	s.remove(m)
	return nil
}

// remove takes one away, and its other end.
func (s *server) remove(m *made) {
	for _, m := range []*made{m, m.peer} {
		if m == nil || m.at == nil {
			continue
		}
		for len(m.uppers) > 0 {
			s.remove(m.uppers[0])
		}
		if m.lower != nil {
			m.lift()
		}
		m.at.stack.Do(func() { m.at.stack.RemoveInterfaceLocked(m.index) })
		m.device.Close()
		s.made = slices.DeleteFunc(s.made, func(o *made) bool { return o == m })
		if m.tunnel != nil {
			m.at.stack.Do(m.tunnel.removed)
		}
		m.at = nil
	}
}

// removeLinksOf takes away those of a space that ends.
func (s *server) removeLinksOf(at *server) {
	for _, m := range slices.Clone(s.made) {
		if m.at == at {
			s.remove(m)
		}
	}
	delete(s.peers, at.space)
	for _, sub := range s.spaces {
		delete(sub.peers, at.space)
	}
}

// changeLink is RTM_SETLINK: ENODEV, EINVAL, EEXIST, EOPNOTSUPP of what the guest has not
// made.
func (s *server) changeLink(to *server, c *netdv1.LinkChange) error {
	i, m := index(c.Index), s.madeAt(to, index(c.Index))
	if c.Mac != nil && len(c.Mac) != 6 {
		return linux.EINVAL
	}
	if err := checkBridge(c.Bridge); err != nil {
		return err
	}
	if len(c.Bridge) > 0 && (m == nil || m.kind != ip.Bridge) {
		return linux.EOPNOTSUPP
	}
	if c.Mode != nil {
		if m == nil || m.kind != ip.Macvlan || !macvlanMode(*c.Mode) {
			return linux.EOPNOTSUPP
		}
		m.upper.Mode = *c.Mode
	}
	if c.Space != nil && *c.Space != to.space {
		if m == nil || m.kind == ip.Bridge {
			return linux.EINVAL
		}
		if err := s.move(m, *c.Space, c.GetName()); err != nil {
			return err
		}
		to, i, c.Name = m.at, m.index, nil
	}
	var mtu *int
	if c.Mtu != nil {
		n := int(min(*c.Mtu, 1<<20))
		mtu = &n
	}
	var err error
	to.stack.Do(func() {
		if c.Mac != nil {
			err = to.stack.SetMACLocked(i, [6]byte(c.Mac))
		}
		if err == nil && c.Name != nil {
			err = to.stack.RenameLocked(i, *c.Name)
		}
		if err == nil && c.Master != nil {
			err = to.stack.JoinLocked(i, index(*c.Master))
		}
		if err == nil && c.Port != nil {
			err = changePort(to.stack.BridgePortLocked(i), c.Port)
		}
		if err == nil && len(c.Bridge) > 0 {
			m.setBridge(c.Bridge)
		}
		if err == nil {
			err = to.stack.SetLinkLocked(i, c.Up, mtu)
		}
	})
	if m == nil || err != nil {
		return err
	}
	if c.Mac != nil {
		m.device.SetMAC([6]byte(c.Mac))
	}
	m.carrier()
	return nil
}

// move puts one into another space, where it is down and has nothing: EINVAL, EEXIST.
func (s *server) move(m *made, space uint32, name string) error {
	at := s.in(space << spaceShift)
	if space > maxSpaces || at == nil {
		return linux.EINVAL
	}
	was := m.at
	mtu := 0
	was.stack.Do(func() {
		i := was.stack.InterfaceLocked(m.index)
		if mtu = i.MTU; name == "" {
			name = i.Name
		}
	})
	number, err := m.index, error(nil)
	at.stack.Do(func() {
		if name, err = at.stack.NameLocked(name); at.stack.InterfaceLocked(number) != nil {
			number = 0
		}
	})
	if err != nil {
		return err
	}
	was.stack.Do(func() { was.stack.RemoveInterfaceLocked(m.index) })
	if err := m.join(at, name, number, mtu); err != nil {
		return err
	}
	for _, u := range m.uppers {
		m.at.stack.Do(func() { m.at.stack.LayLocked(m.index, u.upper) })
	}
	m.carrier()
	return nil
}

// up says whether it is.
func (m *made) up() (up bool) {
	m.at.stack.Do(func() {
		i := m.at.stack.InterfaceLocked(m.index)
		up = i != nil && !i.Down
	})
	return up
}

// carrier sets whether it and its other end have one: while both are up, or somebody has
// joined.
func (m *made) carrier() {
	set := func(m *made, there bool) {
		m.at.stack.Do(func() { m.at.stack.SetCarrierLocked(m.index, there) })
	}
	switch {
	case m.peer != nil:
		there := m.up() && m.peer.up()
		set(m, there)
		set(m.peer, there)
	case m.tunnel != nil:
		set(m, m.tunnel.socket != nil)
		up := m.up()
		m.at.stack.Do(func() { m.tunnel.tell(up) })
	case m.lower != nil:
		set(m, m.lower.running())
	}
	for _, u := range m.uppers {
		u.carrier()
	}
	if m.peer != nil {
		for _, u := range m.peer.uppers {
			u.carrier()
		}
	}
}

// describeMade says of an interface what the stack does not know. It is called with the
// stack's lock held.
func (s *server) describeMade(i *netdv1.Interface) {
	m := s.madeAt(s, int(i.Index))
	switch {
	case m == nil:
		return
	case m.peer != nil && m.peer.at != nil:
		i.Peer = uint32(m.peer.index)
		if m.peer.at != s {
			i.PeerNamespace = s.knows(m.peer.at.space)
		}
	case m.lower != nil && m.lower.at != nil:
		i.Peer, i.Vlan, i.Mode = uint32(m.lower.index), uint32(m.upper.VLAN), m.upper.Mode
		if m.lower.at != s {
			i.PeerNamespace = s.knows(m.lower.at.space)
		}
	case m.tunnel != nil:
		i.Persist, i.Owner, i.Group = m.tunnel.persist, m.tunnel.owner, m.tunnel.group
	}
	s.describeBridge(i, m)
}

// knows is the number by which this space knows another, from 1.
func (s *server) knows(space uint32) uint32 {
	if s.peers == nil {
		s.peers = map[uint32]uint32{}
	}
	if s.peers[space] == 0 {
		n := uint32(1)
		for _, taken := range s.peers {
			n = max(n, taken+1)
		}
		s.peers[space] = n
	}
	return s.peers[space]
}
