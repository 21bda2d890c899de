package stack

import (
	"bytes"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/bridge"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// A bridge is an interface without a device of its own: what it sends leaves by its ports,
// which are interfaces of the same stack, and what comes at them goes on to others, up to
// this host by the bridge, or both. Nothing that a port hears reaches this host by the port.

// bridged is what an interface has to do with bridges: it is one, or a port of one.
type bridged struct {
	bridge *bridge.Bridge
	master *iface
	port   *bridge.Port
	fixed  struct{ mac, mtu bool } // somebody has set them: they do not follow the ports'
}

// MakeBridgeLocked makes an interface a bridge, whose address is fixed if somebody named it.
func (s *Stack) MakeBridgeLocked(index int, mac, mtu bool) {
	i := s.iface(index)
	i.bridge = &bridge.Bridge{Ageing: bridge.DefaultAgeing, MAC: i.mac}
	i.bridge.Own(nil, i.mac, i.mac)
	i.fixed.mac, i.fixed.mtu = mac, mtu
}

// BridgeLocked is the bridge that an interface is, or nil.
func (s *Stack) BridgeLocked(index int) *bridge.Bridge {
	if i := s.iface(index); i != nil {
		return i.bridge
	}
	return nil
}

// BridgePortLocked is the port of a bridge that an interface is, or nil.
func (s *Stack) BridgePortLocked(index int) *bridge.Port {
	if i := s.iface(index); i != nil {
		return i.port
	}
	return nil
}

// JoinLocked makes an interface a port of a bridge's, or with 0 of none: ENODEV, EINVAL,
// ELOOP of a bridge, EBUSY.
func (s *Stack) JoinLocked(index, master int) error {
	i, br := s.iface(index), s.iface(master)
	switch {
	case i == nil:
		return linux.ENODEV
	case master == 0:
		i.leaveBridge()
		return nil
	case br == nil:
		return linux.EINVAL
	case br.bridge == nil:
		return linux.EOPNOTSUPP
	case i.bridge != nil:
		return linux.ELOOP
	case i.Loopback || !i.ether:
		return linux.EINVAL
	case i.master == br:
		return nil
	case i.Kind == "":
		return linux.EOPNOTSUPP // the outside's device hears only what is for it
	}
	i.leaveBridge()
	p := &bridge.Port{Interface: i.Index, Closed: i.Down || i.Lost, Priority: 32, Cost: portCost(i.Kind)}
	if br.bridge.AddPort(p) != nil {
		return linux.EXFULL
	}
	i.master, i.port, i.Master = br, p, br.Index
	br.bridge.Own(p, i.mac, i.mac)
	br.follow()
	return nil
}

// portCost is that of a path by a port in a spanning tree, which goes by its speed.
func portCost(k ip.Kind) int {
	if k == ip.Veth {
		return 2 // 10 Gbit/s
	}
	return 100
}

// leaveBridge makes it no port any more.
func (i *iface) leaveBridge() {
	br := i.master
	if br == nil {
		return
	}
	br.bridge.RemovePort(i.port)
	i.master, i.port, i.Master = nil, nil, 0
	br.follow()
}

// disband leaves a bridge that goes without ports, or a port without its bridge.
func (i *iface) disband() {
	i.leaveBridge()
	if i.bridge == nil {
		return
	}
	for _, o := range i.s.ifaces {
		if o.master == i {
			o.leaveBridge()
		}
	}
}

// follow gives a bridge the carrier, and unless somebody has set them the address and MTU, that
// its ports have: the lowest ones.
func (i *iface) follow() {
	s := i.s
	mac, mtu, carrier, ports := wire.MAC{}, 1500, false, 0
	for _, o := range s.ifaces {
		if o.master != i {
			continue
		}
		if ports++; ports == 1 || bytes.Compare(o.mac[:], mac[:]) < 0 {
			mac = o.mac
		}
		if ports == 1 || o.MTU < mtu {
			mtu = o.MTU
		}
		closed := o.Down || o.Lost
		if o.port.Closed != closed {
			i.bridge.Close(o.port, closed)
		}
		carrier = carrier || !closed
	}
	if !i.fixed.mac {
		i.setMAC(mac)
	}
	if !i.fixed.mtu {
		i.MTU = mtu
	}
	s.table.Changed()
	s.SetCarrierLocked(i.Index, carrier)
}

// setMAC changes an interface's address, and what goes by it.
func (i *iface) setMAC(mac wire.MAC) {
	was := i.mac
	i.mac, i.MAC, i.auto.MAC = mac, mac, mac
	switch {
	case i.bridge != nil:
		i.bridge.MAC = mac
		i.bridge.Own(nil, was, mac)
	case i.master != nil:
		i.master.bridge.Own(i.port, was, mac)
	}
}

// atPort takes a frame that has come at a port.
func (i *iface) atPort(p *link.Packet, h wire.Ethernet) {
	br := i.master
	v := br.bridge.Arrived(int64(i.s.now), i.port, h.Src(), h.Dst())
	if br.Down {
		return
	}
	for _, to := range v.Ports {
		if o := i.s.iface(to.Interface); o != nil {
			o.relay(p, v.Up || len(v.Ports) > 1)
		}
	}
	if v.Up {
		br.stats.ReceivedPackets++
		br.stats.ReceivedBytes += uint64(p.Size())
		i.s.tap(br, p, false)
		if len(br.uppers) == 0 || !br.above(p, h) {
			br.take(p, h)
		}
	}
}

// relay sends a frame that has come at another port. What is written to it, and all of it with
// copied, is a copy; the rest stays the device's until the entry ends.
func (i *iface) relay(p *link.Packet, copied bool) {
	s := i.s
	o := p.Offload
	if i.Down || i.Lost || o.GSO == link.GSONone && p.Size() > i.MTU+wire.EthernetSize {
		return
	}
	q := s.packet()
	q.Header, q.Payload, q.Offload = p.Header, p.Payload, o
	if copied {
		q.Header, q.Payload = bytes.Clone(p.Header), bytes.Clone(p.Payload)
	}
	i.emitFrame(q)
}

// emitFrame sends a frame of the stack's, whose offloads the device may not carry out.
func (i *iface) emitFrame(p *link.Packet) {
	o := p.Offload
	cut := o.GSO != link.GSONone && !i.takes(o.GSO)
	if !cut && !(o.SumDue && !i.feats.SumOffload) {
		i.queue(p)
		return
	}
	head, eth := int(o.HeaderSize), wire.EthernetSize
	if !cut {
		head = int(o.SumStart) + int(o.SumOffset) + 2
	}
	whole := append(slices.Clone(p.Header), p.Payload...)
	start := int(o.SumStart)
	if head > len(whole) || head > link.HeaderRoom || start < eth+wire.IPv4Size || start+int(o.SumOffset)+2 > head || cut && start+wire.UDPSize > head ||
		cut && o.GSO != link.GSOUDP && start+wire.TCPSize > head {
		i.s.recycle(p)
		return
	}
	p.Header, p.Payload = whole[:head], whole[head:]
	if !cut {
		completeSum(p)
		i.queue(p)
		return
	}
	p.Header = whole[eth:head]
	p.Offload.HeaderSize -= wire.EthernetSize
	p.Offload.SumStart -= wire.EthernetSize
	if v := p.Header[0] >> 4; v != 4 && v != 6 || v == 6 && len(p.Header) < wire.IPv6Size {
		i.s.recycle(p)
		return
	}
	i.cut(p, func(q *link.Packet) {
		copy(q.Prepend(eth), whole[:eth])
		i.queue(q)
	})
}

// fromBridge sends on what a bridge itself has sent: p is the stack's.
func (i *iface) fromBridge(p *link.Packet) {
	s := i.s
	h, err := wire.ParseEthernet(p.Header)
	if err != nil || i.Down {
		s.recycle(p)
		return
	}
	var to []*iface
	for _, port := range i.bridge.Leaving(int64(s.now), h.Dst()).Ports {
		if o := s.iface(port.Interface); o != nil && !o.Down && !o.Lost {
			to = append(to, o)
		}
	}
	for k, o := range to {
		if k < len(to)-1 {
			q := s.packet()
			q.Header, q.Payload, q.Offload = bytes.Clone(p.Header), bytes.Clone(p.Payload), p.Offload
			o.emitFrame(q)
			continue
		}
		o.emitFrame(p)
	}
	if len(to) == 0 {
		s.recycle(p)
	}
}

// StationLocked enters a station behind a port of a bridge, or the bridge itself, or removes one:
// ENODEV, EINVAL, EEXIST, ENOENT, ENOSPC.
func (s *Stack) StationLocked(index int, st bridge.Station, remove, replace bool) error {
	i := s.iface(index)
	if i == nil {
		return linux.ENODEV
	}
	br := i
	if i.master != nil {
		br, st.Port = i.master, i.port
	}
	if br.bridge == nil {
		return linux.EINVAL
	}
	err := error(nil)
	if remove {
		err = br.bridge.Forget(st.MAC, st.Port)
	} else {
		st.Heard = int64(s.now)
		err = br.bridge.Set(st, replace)
	}
	switch err {
	case nil:
		return nil
	case bridge.ErrExists:
		return linux.EEXIST
	case bridge.ErrNone:
		return linux.ENOENT
	}
	return linux.ENOSPC
}

// StationsLocked tells of all that bridges know: index is the bridge's.
func (s *Stack) StationsLocked(tell func(index int, st bridge.Station, age int64)) {
	for _, i := range s.ifaces {
		if i.bridge == nil {
			continue
		}
		for _, st := range i.bridge.Stations(int64(s.now)) {
			tell(i.Index, st, int64(s.now)-st.Heard)
		}
	}
}
