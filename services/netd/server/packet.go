package server

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/wire"
)

// tally counts what a packet socket was given: PACKET_STATISTICS.
type tally struct{ frames, lost uint64 }

// Bits of byte 7 of a frame's header in a ring: see data.proto.
const (
	sumDue  = 1
	sumGood = 2
)

// bindPacket names the interface and the protocol of a packet socket: packet(7).
func (k *socket) bindPacket(a *netdv1.Address) error {
	if a == nil || a.Port > 0xffff {
		return linux.EINVAL
	}
	return k.pack.BindLocked(index(a.Scope), uint16(a.Port))
}

// DeliverPacket puts a frame into the ring down, or loses it.
func (k *socket) DeliverPacket(m stack.PacketMeta, head, body []byte) {
	n := len(head) + len(body)
	room, err := (*receiveQueue)(k).down.Free()
	if err != nil {
		k.Failed(linux.EIO)
		return
	}
	k.tally.frames++
	used := k.down.Size() - room
	if n > 1<<16+wire.EthernetSize || gramHeader+padded(n) > room || used > 0 && used+n > k.receiveLimit {
		k.tally.lost++
		return
	}
	k.down.Restart()
	h := k.down.Slice(0, gramHeader)
	clear(h)
	binary.LittleEndian.PutUint32(h, uint32(n))
	binary.LittleEndian.PutUint16(h[4:], m.Protocol)
	h[6] = byte(m.Kind)
	if m.SumDue {
		h[7] |= sumDue
	}
	if m.SumGood {
		h[7] |= sumGood
	}
	copy(h[8:], m.Source[:])
	binary.LittleEndian.PutUint32(h[16:], uint32(m.Length))
	binary.LittleEndian.PutUint32(h[40:], uint32(m.Interface))
	copy(k.down.Slice(gramHeader, len(head)), head)
	copy(k.down.Slice(gramHeader+len(head), len(body)), body)
	k.down.Publish(gramHeader + padded(n))
	k.tellDown()
}

// sendFrame sends what the sentry has put into the ring up. send(2) has succeeded
// by then: an error is for the next call.
func (k *socket) sendFrame(h *[gramHeader]byte, b []byte) {
	at, protocol, to := 0, binary.LittleEndian.Uint16(h[4:]), wire.MAC{}
	if h[6] != 0 {
		at, to = index(binary.LittleEndian.Uint32(h[40:])), wire.MAC(h[8:14])
	}
	if err := k.pack.SendLocked(at, protocol, to, b); err != nil {
		if e, ok := err.(linux.Errno); ok {
			k.Failed(e)
		}
	}
}
