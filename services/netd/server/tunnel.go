package server

import (
	"slices"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/stack"
)

// familyTunnel is the family of sockets that are an end of a TUN or TAP interface.
const familyTunnel = 256

// nobody is no user or group.
const nobody = ^uint32(0)

// tunnel is a TUN or TAP interface: the kernel's Documentation/networking/tuntap.rst.
type tunnel struct {
	m            *made
	socket       *socket // who has joined; nil: nobody
	persist      bool
	owner, group uint32
}

// tunnelEnd is a socket that may have joined one. The loop alone has to do with it.
type tunnelEnd struct{ tunnel *tunnel }

// do carries out what is asked of the socket itself.
func (e *tunnelEnd) do(k *socket, req *netdv1.Request) error {
	switch op := req.Op.(type) {
	case *netdv1.Request_Close:
		k.close(op.Close.Abort)
	case *netdv1.Request_Tunnel, nil: // changeTunnel's matter
	default:
		return linux.EPROTO
	}
	return nil
}

// close leaves the interface, which goes with the last unless it is to stay: once no lock
// is held.
func (e *tunnelEnd) close(k *socket) {
	s := k.s
	if s.first != nil {
		s = s.first
	}
	if t := e.tunnel; t != nil {
		t.m.device.Attach(nil)
		t.socket, e.tunnel = nil, nil
		s.doomed = append(s.doomed, t)
	}
}

// reap takes away the interfaces whose sockets have gone.
func (s *server) reap() {
	for len(s.doomed) > 0 {
		t := s.doomed[0]
		s.doomed = s.doomed[1:]
		switch {
		case t.m.at == nil || t.socket != nil:
		case t.persist:
			t.m.carrier()
		default:
			s.remove(t.m)
		}
	}
}

// arrive has a frame that the sentry wrote arrive at the interface. What it is worth was
// said before it was written: here it only does no harm.
func (e *tunnelEnd) arrive(h *[gramHeader]byte, b []byte) {
	if e.tunnel == nil {
		return
	}
	p := link.Packet{Header: b}
	if h[7]&withVirtio != 0 {
		if len(b) < link.VirtioSize {
			return
		}
		head := 0
		if e.tunnel.m.kind == ip.TAP {
			head = etherSize
		}
		p.Header = b[link.VirtioSize:]
		var ok bool
		if p.Offload, ok = link.ParseVirtio([link.VirtioSize]byte(b[:link.VirtioSize]), head, len(p.Header)); !ok {
			return
		}
	}
	if len(p.Header) > 0 {
		e.tunnel.m.device.Arrive(&p)
	}
}

// withVirtio is a bit of byte 7 of a record in a ring up; etherSize is the size of an
// Ethernet header in bytes.
const (
	withVirtio = 4
	etherSize  = 14
)

// changeTunnel carries out a Tunnel request of a socket of to's, and answers it. s is the
// first server, and no lock is held.
func (s *server) changeTunnel(to *server, id uint32, c *netdv1.Tunnel, resp *netdv1.Response) {
	k := to.sockets[id]
	if k == nil || k.end == nil {
		resp.Error = uint32(linux.EPROTO)
		return
	}
	if c.Attach != nil {
		if err := s.attach(to, k, c); err != nil {
			resp.Error = errno(err).Error
			return
		}
	}
	t := k.end.tunnel
	if t == nil || t.m.at == nil {
		resp.Error = uint32(linux.EBADFD)
		return
	}
	if c.Persist != nil {
		t.persist = *c.Persist
	}
	if c.Owner != nil {
		t.owner = *c.Owner
	}
	if c.Group != nil {
		t.group = *c.Group
	}
	at := t.m.at
	at.stack.Do(func() {
		if i := at.stack.InterfaceLocked(t.m.index); i != nil {
			resp.Interfaces = []*netdv1.Interface{at.interfaceMessage(i)}
		}
	})
}

// attach joins a socket to an interface of its space, which is made if there is none of that
// name: EINVAL, EBUSY, EPERM, ENOSPC.
func (s *server) attach(to *server, k *socket, c *netdv1.Tunnel) error {
	kind := ip.TUN
	if c.Tap {
		kind = ip.TAP
	}
	if k.end.tunnel != nil {
		return linux.EINVAL
	}
	var there *ip.Interface
	to.stack.Do(func() { there = to.stack.NamedLocked(*c.Attach) })
	if there != nil {
		m := s.madeAt(to, there.Index)
		switch {
		case m == nil || m.tunnel == nil || m.kind != kind:
			return linux.EINVAL
		case !c.Admin && !m.tunnel.belongs(c):
			return linux.EPERM
		case m.tunnel.socket != nil:
			return linux.EBUSY
		}
		m.tunnel.join(k)
		return nil
	}
	if !c.Admin {
		return linux.EPERM
	}
	if len(s.made) >= maxMade {
		return linux.ENOSPC
	}
	mac, err := newMAC(&netdv1.NewInterface{})
	if err != nil {
		return err
	}
	m := &made{kind: kind}
	m.tunnel = &tunnel{m: m, owner: nobody, group: nobody}
	m.device = s.fabric.Program(link.Wiring{MAC: mac, Ether: c.Tap}, nil)
	if err := s.add(m, &netdv1.NewInterface{Name: *c.Attach, Space: to.space}); err != nil {
		return err
	}
	m.tunnel.join(k)
	return nil
}

// belongs says whether who asks may join without CAP_NET_ADMIN: those whom it was given to,
// by both where both were named.
func (t *tunnel) belongs(c *netdv1.Tunnel) bool {
	return (t.owner != nobody || t.group != nobody) && (t.owner == nobody || t.owner == c.Uid) && (t.group == nobody || slices.Contains(c.Gids, t.group))
}

// join makes the socket the interface's other side.
func (t *tunnel) join(k *socket) {
	t.socket, k.end.tunnel = k, t
	t.m.device.Attach(func(batch []*link.Packet) {
		for _, p := range batch {
			k.DeliverPacket(stack.PacketMeta{Length: p.Size()}, p.Header, p.Payload)
		}
	})
	t.m.carrier()
}

// tell says in the socket's head whether the interface is up.
func (t *tunnel) tell(up bool) {
	if t.socket == nil {
		return
	}
	state := uint32(0)
	if up {
		state = uint32(netdv1.SocketState_SOCKET_STATE_CONNECTED)
	}
	if t.socket.rings.Head.State.Swap(state) != state {
		t.socket.tell()
	}
}

// removed has the socket know that the interface is no more.
func (t *tunnel) removed() {
	if t.socket == nil {
		return
	}
	t.socket.rings.Head.State.Store(uint32(netdv1.SocketState_SOCKET_STATE_CLOSED))
	t.socket.tell()
	t.socket.end.tunnel, t.socket = nil, nil
}
