package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// PacketOwner is who a packet socket belongs to. It is called with the stack's
// lock held.
type PacketOwner interface {
	// DeliverPacket gives what was seen, in two pieces that are valid during the
	// call.
	DeliverPacket(m PacketMeta, head, body []byte)
}

// PacketMeta is struct sockaddr_ll and tpacket_auxdata of a packet.
type PacketMeta struct {
	Interface int
	Protocol  uint16 // of Ethernet
	Kind      PacketKind
	Source    wire.MAC
	Length    int  // before the filter cut it
	SumDue    bool // TP_STATUS_CSUMNOTREADY
	SumGood   bool // TP_STATUS_CSUM_VALID
}

// PacketKind is sll_pkttype.
type PacketKind uint8

// The kinds.
const (
	PacketHost PacketKind = iota
	PacketBroadcast
	PacketMulticast
	PacketOther
	PacketOutgoing
)

// Protocols that a packet socket may name besides Ethernet's.
const (
	AllProtocols  = 0x0003 // ETH_P_ALL
	NoneProtocols = 0
)

// Packet is a packet socket's end in the stack: packet(7). The methods ending in
// Locked are called within Do.
type Packet struct {
	s        *Stack
	owner    PacketOwner
	cooked   bool // SOCK_DGRAM: without the link header
	protocol uint16
	index    int // 0: every interface
	filter   Filter
	dead     bool
	// IgnoreOutgoing is PACKET_IGNORE_OUTGOING.
	IgnoreOutgoing bool
}

// NewPacket makes a packet socket. It sees nothing while protocol is 0.
func (s *Stack) NewPacket(cooked bool, protocol uint16, owner PacketOwner) *Packet {
	k := &Packet{s: s, owner: owner, cooked: cooked, protocol: protocol}
	s.taps = append(s.taps, k)
	return k
}

// BindLocked names an interface (0: all) and a protocol: ENODEV.
func (k *Packet) BindLocked(index int, protocol uint16) error {
	if index != 0 && k.s.iface(index) == nil {
		return linux.ENODEV
	}
	k.index = index
	if protocol != NoneProtocols {
		k.protocol = protocol
	}
	return nil
}

// SetFilterLocked sets the filter, nil for none; EINVAL.
func (k *Packet) SetFilterLocked(program []FilterInstruction) error { return k.filter.set(program) }

// SendLocked sends a frame, or for a cooked socket a packet of protocol to a
// station: ENXIO, ENETDOWN, EMSGSIZE, EINVAL.
func (k *Packet) SendLocked(index int, protocol uint16, to wire.MAC, b []byte) error {
	s := k.s
	if index == 0 {
		index = k.index
	}
	i := s.iface(index)
	switch {
	case i == nil:
		return linux.ENXIO
	case i.Down:
		return linux.ENETDOWN
	case len(b) > i.MTU+wire.EthernetSize:
		return linux.EMSGSIZE
	}
	p := s.packet()
	ether := i.ether || i.Loopback
	if k.cooked && ether {
		(&wire.EthernetHeader{Dst: to, Src: i.mac, Type: protocol}).Put(p.Make(wire.EthernetSize))
		p.Payload = slices.Clone(b)
	} else {
		p.Make(0)
		if ether && len(b) < wire.EthernetSize || len(b) == 0 {
			s.recycle(p)
			return linux.EINVAL
		}
		n := min(len(b), link.HeaderRoom)
		copy(p.Make(n), b)
		p.Payload = slices.Clone(b[n:])
	}
	if !i.Loopback {
		i.queue(p)
		return nil
	}
	whole := append(slices.Clone(p.Header), p.Payload...)
	s.recycle(p)
	q := s.packet()
	q.Header = whole[wire.EthernetSize:]
	if len(q.Header) > 0 && s.loop.Send(q) {
		s.settleLoop()
	}
	return nil
}

// CloseLocked gives everything up.
func (k *Packet) CloseLocked() {
	k.dead = true
	k.s.taps = slices.DeleteFunc(k.s.taps, func(o *Packet) bool { return o == k })
}

// tap shows a packet of an interface to packet sockets.
func (s *Stack) tap(i *iface, p *link.Packet, out bool) {
	if len(s.taps) == 0 || len(p.Header) == 0 {
		return
	}
	m := PacketMeta{Interface: i.Index, Length: p.Size(), SumDue: p.Offload.SumDue || p.Trusted && i.Loopback, SumGood: p.Offload.SumGood}
	frame, packet := p.Header, p.Header
	switch {
	case i.ether && len(p.Header) >= wire.EthernetSize:
		h := wire.Ethernet(p.Header)
		m.Protocol, m.Source, m.Kind = h.Type(), h.Src(), i.kindOf(h.Dst())
		packet = p.Header[wire.EthernetSize:]
	case i.ether:
		return
	default:
		m.Protocol = etherType(p.Header)
		if i.Loopback { // Linux's loopback has an Ethernet header of zeros
			m.Length += wire.EthernetSize
			frame = make([]byte, wire.EthernetSize+len(p.Header))
			(&wire.EthernetHeader{Type: m.Protocol}).Put(frame)
			copy(frame[wire.EthernetSize:], p.Header)
			m.SumDue = p.Trusted && !sumUp(frame[wire.EthernetSize:], p.Payload)
			packet = frame[wire.EthernetSize:]
		}
	}
	if out {
		m.Kind = PacketOutgoing
		if i.Loopback {
			m.Kind = PacketHost
		}
	}
	for _, k := range s.taps {
		if i.Loopback && k.protocol == AllProtocols && !k.IgnoreOutgoing && (k.index == 0 || k.index == i.Index) {
			sent := m // who sees everything sees it sent and received: packet(7)
			sent.Kind = PacketOutgoing
			k.see(sent, frame, packet, p.Payload)
		}
		if k.index != 0 && k.index != i.Index || k.protocol != AllProtocols && (k.protocol != m.Protocol || out && !i.Loopback) || k.IgnoreOutgoing && m.Kind == PacketOutgoing {
			continue
		}
		k.see(m, frame, packet, p.Payload)
	}
}

// sumUp writes the transport checksum of a packet that has none because it never
// left the stack: false if it is of a protocol that has none of its own.
func sumUp(h, payload []byte) bool {
	src, dst, proto, n := netip.Addr{}, netip.Addr{}, uint8(0), 0
	if h4, err := wire.ParseIPv4(h, len(h)+len(payload)); err == nil {
		if h4.MoreFragments() || h4.FragmentOffset() > 0 {
			return false
		}
		src, dst, proto, n = h4.Src(), h4.Dst(), h4.Protocol(), len(h4)
	} else if h6, err := wire.ParseIPv6(h, len(h)+len(payload)); err == nil {
		src, dst, proto, n = h6.Src(), h6.Dst(), h6.NextHeader(), wire.IPv6Size
	}
	at := 0
	switch {
	case proto == wire.ProtoTCP && len(h) >= n+20:
		at = 16
	case (proto == wire.ProtoUDP || proto == wire.ProtoUDPLite) && len(h) >= n+wire.UDPSize:
		at = 6
	default:
		return proto == wire.ProtoICMP || proto == wire.ProtoICMPv6
	}
	t := h[n:]
	t[at], t[at+1] = 0, 0
	covered := payload
	if cov := int(binary.BigEndian.Uint16(t[4:])); proto == wire.ProtoUDPLite && cov >= wire.UDPSize {
		covered = payload[:min(len(payload), cov-wire.UDPSize)]
	}
	sum := wire.Fold(wire.Sum(wire.Sum(wire.PseudoSum(src, dst, proto, len(t)+len(payload)), t), covered))
	if sum == 0 && proto != wire.ProtoTCP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(t[at:], sum)
	return true
}

func (k *Packet) see(m PacketMeta, frame, packet, body []byte) {
	head := frame
	if k.cooked {
		m.Length -= len(frame) - len(packet)
		head = packet
	}
	n := k.filter.snap(head, body)
	if n == 0 {
		return
	}
	if n <= len(head) {
		head, body = head[:n], nil
	} else {
		body = body[:n-len(head)]
	}
	k.owner.DeliverPacket(m, head, body)
}

func (i *iface) kindOf(dst wire.MAC) PacketKind {
	switch {
	case dst == i.mac:
		return PacketHost
	case dst == wire.Broadcast:
		return PacketBroadcast
	case dst.Multicast():
		return PacketMulticast
	}
	return PacketOther
}

func etherType(b []byte) uint16 {
	if b[0]>>4 == 6 {
		return wire.EtherIPv6
	}
	return wire.EtherIPv4
}

// settleLoop lets the loopback run dry and sends what is queued, so that the
// payloads of this entry are free again.
func (s *Stack) settleLoop() {
	for !s.loop.Empty() {
		s.drain(drainBatch)
	}
	s.flush()
}

// meta is what a socket learns of an arrival.
func (a *arrival) meta(from netip.AddrPort) Meta {
	return Meta{From: from, To: a.dst, Interface: a.link(), Hops: a.hops, Class: a.class, Segment: a.segment}
}
