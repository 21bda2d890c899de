package stack

import (
	"bytes"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// Upper is what lies upon an interface, of whichever stack: a VLAN, or one with an address of
// its own on the same link (macvlan).
type Upper struct {
	VLAN uint16 // its number; 0: it is no VLAN
	Mode uint32 // MACVLAN_MODE_ of others
	MAC  func() [6]byte
	Near *link.Cable // what is sent there arrives at the upper's own device
}

// Modes of macvlans: linux/if_link.h.
const (
	MacvlanPrivate = 1 // hears nothing of its neighbours
	MacvlanVEPA    = 2 // by way of a switch that sends it back
	MacvlanBridge  = 4 // at once
)

// LayLocked puts an upper upon an interface, which then hands it what it sends, with no lock
// held: ENODEV, EINVAL, EOPNOTSUPP, EEXIST of a VLAN.
func (s *Stack) LayLocked(index int, u *Upper) error {
	i := s.iface(index)
	switch {
	case i == nil:
		return linux.ENODEV
	case i.Loopback || !i.ether:
		return linux.EINVAL
	case i.Kind == "":
		return linux.EOPNOTSUPP // the outside's device hears only what is for it
	case i.port != nil && u.VLAN == 0:
		return linux.EBUSY
	case u.VLAN != 0 && slices.ContainsFunc(i.uppers, func(o *Upper) bool { return o.VLAN == u.VLAN }):
		return linux.EEXIST
	}
	i.uppers = append(i.uppers, u)
	return u.Near.Start(func(batch []*link.Packet) {
		s.Do(func() {
			for _, p := range batch {
				i.fromAbove(u, p)
			}
		})
	})
}

// LiftLocked takes an upper off.
func (s *Stack) LiftLocked(index int, u *Upper) {
	if i := s.iface(index); i != nil {
		i.uppers = slices.DeleteFunc(i.uppers, func(o *Upper) bool { return o == u })
	}
}

// tagSize is the size of a VLAN's tag in bytes: 802.1Q.
const (
	tagSize   = 4
	etherVLAN = 0x8100
	vlanMask  = 0xfff
)

// above gives a frame to who is above; false: it is for this interface too.
func (i *iface) above(p *link.Packet, h wire.Ethernet) bool {
	if h.Type() == etherVLAN {
		if len(p.Header) < wire.EthernetSize+tagSize {
			return true
		}
		number := (uint16(p.Header[14])<<8 | uint16(p.Header[15])) & vlanMask
		for _, u := range i.uppers {
			if u.VLAN == number && number != 0 {
				u.Near.Send([]*link.Packet{untagged(p)})
				return true
			}
		}
		return false
	}
	dst := h.Dst()
	for _, u := range i.uppers {
		switch {
		case u.VLAN != 0:
		case dst.Multicast():
			u.Near.Send([]*link.Packet{p})
		case dst == u.MAC():
			u.Near.Send([]*link.Packet{p})
			return true
		}
	}
	return false
}

// untagged is a frame without its tag.
func untagged(p *link.Packet) *link.Packet {
	q := &link.Packet{Header: append(bytes.Clone(p.Header[:12]), p.Header[12+tagSize:]...), Payload: p.Payload, Offload: p.Offload}
	q.Offload.SumStart -= min(tagSize, q.Offload.SumStart)
	q.Offload.HeaderSize -= min(tagSize, q.Offload.HeaderSize)
	return q
}

// fromAbove sends a frame of an upper's.
func (i *iface) fromAbove(u *Upper, p *link.Packet) {
	h, err := wire.ParseEthernet(p.Header)
	if err != nil || i.Down || i.Lost || i.gone {
		return
	}
	if u.VLAN != 0 {
		q := i.s.packet()
		q.Header = append(bytes.Clone(p.Header[:12]), etherVLAN>>8, etherVLAN&0xff, byte(u.VLAN>>8), byte(u.VLAN))
		q.Header = append(q.Header, p.Header[12:]...)
		q.Payload = p.Payload
		i.queue(q)
		return
	}
	dst := h.Dst()
	for _, o := range i.uppers {
		if u.Mode != MacvlanBridge || o == u || o.VLAN != 0 || o.Mode != MacvlanBridge || !dst.Multicast() && dst != o.MAC() {
			continue
		}
		o.Near.Send([]*link.Packet{p})
		if !dst.Multicast() {
			return
		}
	}
	q := i.s.packet()
	q.Header, q.Payload, q.Offload = p.Header, p.Payload, p.Offload
	i.emitFrame(q)
}
