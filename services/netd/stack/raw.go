package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/wire"
)

// Raw is a raw socket's end in the stack: raw(7). The methods ending in Locked
// are called within Do.
type Raw struct {
	s      *Stack
	proto  uint8
	v6     bool
	owner  DatagramOwner
	opts   Options
	local  netip.Addr // not valid: any
	remote netip.Addr // not valid: from anybody
	dead   bool
	auto   bool // local was not chosen by bind
	filter Filter

	// HeaderIncluded is IP_HDRINCL or IPV6_HDRINCL: what is sent begins with an IP header.
	HeaderIncluded bool
	// SumOffset is IPV6_CHECKSUM: where in the payload of an IPv6 packet the
	// checksum is written and verified; -1: nowhere.
	SumOffset int
	// Blocked are the ICMP types that are not delivered: ICMP_FILTER,
	// ICMPV6_FILTER.
	Blocked [8]uint32

	groups []membership
}

// NewRaw makes a raw socket of a protocol. IPPROTO_RAW (255) only sends.
func (s *Stack) NewRaw(proto uint8, v6 bool, opts Options, owner DatagramOwner) *Raw {
	r := &Raw{s: s, proto: proto, v6: v6, opts: opts, owner: owner, SumOffset: -1}
	r.HeaderIncluded = proto == protoRaw
	if v6 && proto == wire.ProtoICMPv6 {
		r.SumOffset = 2 // always: RFC 3542, section 3.1
	}
	s.raws = append(s.raws, r)
	return r
}

const protoRaw = 255

// OnlySends says whether it is of IPPROTO_RAW, whose packets have their header.
func (r *Raw) OnlySends() bool { return r.proto == protoRaw }

// SetOptionsLocked changes the options.
func (r *Raw) SetOptionsLocked(o Options) { r.opts = o }

// SetFilterLocked sets the filter, nil for none; EINVAL for one that is invalid.
func (r *Raw) SetFilterLocked(program []FilterInstruction) error { return r.filter.set(program) }

// BindLocked sets the address that packets are to be for and from:
// EADDRNOTAVAIL.
func (r *Raw) BindLocked(addr netip.Addr) error {
	if addr = addr.Unmap(); addr.IsUnspecified() {
		r.local = netip.Addr{}
		return nil
	}
	if addr.Is4() == r.v6 {
		return linux.EINVAL
	}
	if _, local := r.s.table.Local(addr.WithZone("")); !local && !r.opts.FreeBind && !(addr.Is4() && r.s.tuned.nonlocal4 || addr.Is6() && r.s.tuned.nonlocal6) && !addr.IsMulticast() {
		return linux.EADDRNOTAVAIL
	}
	r.local, r.auto = addr.WithZone(""), false
	return nil
}

// ConnectLocked sets the peer; one that is not valid takes it away.
func (r *Raw) ConnectLocked(addr netip.Addr) error {
	if r.auto {
		r.local, r.auto = netip.Addr{}, false
	}
	if !addr.IsValid() {
		r.remote = netip.Addr{}
		return nil
	}
	if addr.Is4() == r.v6 {
		return linux.EINVAL
	}
	path, err := r.s.pathTo(addr, r.local, &r.opts, route.Query{Protocol: r.proto})
	if err != nil {
		return err
	}
	if !r.local.IsValid() {
		r.local, r.auto = path.Source, true
	}
	r.remote = addr.WithZone("")
	return nil
}

// MTULocked is what the path to an address takes in bytes, 0 without one.
func (r *Raw) MTULocked(to netip.Addr) int {
	if to.Is4() == r.v6 {
		return 0
	}
	path, err := r.s.pathTo(to, r.local, &r.opts, route.Query{Protocol: r.proto})
	if err != nil {
		return 0
	}
	return path.MTU
}

// PinLocked is Datagram.PinLocked.
func (r *Raw) PinLocked(index int, ahead *wire.Ahead) func() { return r.opts.pin(index, ahead) }

// SendLocked sends payload, which is not referred to once it returns, to an
// address or to the peer.
func (r *Raw) SendLocked(to, from netip.Addr, hops, class uint8, payload []byte) error {
	s := r.s
	if !to.IsValid() {
		if to = r.remote; !to.IsValid() {
			return linux.EDESTADDRREQ
		}
	}
	if to.Is4() == r.v6 {
		return linux.EINVAL
	}
	src := r.local
	if from.IsValid() && !from.IsUnspecified() {
		src = from
	}
	path, err := s.pathTo(to, src, &r.opts, route.Query{Protocol: r.proto})
	if err != nil {
		return err
	}
	to = to.WithZone("")
	if s.table.Broadcast(to) && !r.opts.Broadcast {
		return linux.EACCES
	}
	if r.HeaderIncluded {
		return r.sendWhole(path.Source, to, payload)
	}
	f := flow{src: path.Source, dst: to, proto: r.proto, hops: first(hops, r.opts.HopLimit), class: first(class, r.opts.TrafficClass),
		fragment: !r.opts.NeverFragment, sender: &r.opts, ahead: aheadOf(&r.opts, path.Source)}
	if to.IsMulticast() {
		f.inside = hops == 0 && r.opts.MulticastInside
		f.hops = max(first(hops, r.opts.MulticastHops), 1)
		f.lonely = r.opts.NoMulticastLoop
	}
	if f.headSize()+len(payload) > 65535 {
		return linux.EMSGSIZE
	}
	p := s.packet()
	p.Make(f.headSize())
	p.Payload = slices.Clone(payload)
	if at := r.SumOffset; r.v6 && at >= 0 {
		if at+2 > len(payload) {
			s.recycle(p)
			return linux.EINVAL
		}
		p.Payload[at], p.Payload[at+1] = 0, 0
		sum := wire.Fold(wire.Sum(wire.PseudoSum(f.src, f.dst, r.proto, len(payload)), p.Payload))
		binary.BigEndian.PutUint16(p.Payload[at:], sum)
	}
	if err := s.output(p, &path, f); err != nil {
		return err
	}
	s.settleLoop()
	return nil
}

// sendWhole6 sends a packet with its own IPv6 header, as it is: ipv6(7), IPV6_HDRINCL.
func (r *Raw) sendWhole6(src, to netip.Addr, payload []byte) error {
	s := r.s
	if len(payload) < wire.IPv6Size || payload[0]>>4 != 6 {
		return linux.EINVAL
	}
	path, err := s.pathTo(to, src, &r.opts, route.Query{Protocol: r.proto})
	if err != nil {
		return err
	}
	if len(payload) > path.MTU {
		return linux.EMSGSIZE
	}
	p := s.packet()
	copy(p.Make(wire.IPv6Size), payload)
	p.Payload = slices.Clone(payload[wire.IPv6Size:])
	return r.put(p, &path, &flow{src: src, dst: to, proto: payload[6], sender: &r.opts})
}

// sendWhole sends a packet with its own IPv4 header, of which the checksum and
// the length are ours, and what is 0 of identification and source: raw(7).
func (r *Raw) sendWhole(src, to netip.Addr, payload []byte) error {
	s := r.s
	if r.v6 {
		return r.sendWhole6(src, to, payload)
	}
	if len(payload) < wire.IPv4Size || len(payload) > 65535 {
		return linux.EINVAL
	}
	payload = slices.Clone(payload) // whose ring it is may still write to it
	n := int(payload[0]&0xf) * 4
	if payload[0]>>4 != 4 || n < wire.IPv4Size || n > len(payload) {
		return linux.EINVAL
	}
	path, err := s.pathTo(to, src, &r.opts, route.Query{Protocol: r.proto})
	if err != nil {
		return err
	}
	if len(payload) > path.MTU {
		return linux.EMSGSIZE
	}
	p := s.packet()
	h := p.Make(n)
	copy(h, payload[:n])
	p.Payload = payload[n:]
	binary.BigEndian.PutUint16(h[2:], uint16(len(payload)))
	if wire.IPv4(h).ID() == 0 {
		binary.BigEndian.PutUint16(h[4:], s.nextID())
	}
	if a := src.As4(); wire.IPv4(h).Src().IsUnspecified() {
		copy(h[12:], a[:])
	}
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], wire.Fold(wire.Sum(0, h)))
	return r.put(p, &path, &flow{src: src, dst: to, proto: h[9], sender: &r.opts})
}

// put sends a whole packet, unless a rule of the packet filter is against it.
func (r *Raw) put(p *link.Packet, path *route.Path, f *flow) (err error) {
	s := r.s
	if s.screens {
		if path, err = s.screenOut(p, path, f); err != nil {
			s.recycle(p)
			return err
		}
	}
	s.send(p, path)
	s.settleLoop()
	return nil
}

// first is a unless it is 0.
func first(a, b uint8) uint8 {
	if a != 0 {
		return a
	}
	return b
}

// CloseLocked gives everything up.
func (r *Raw) CloseLocked() {
	if r.dead {
		return
	}
	r.dead = true
	r.s.leaveAll(&r.groups)
	r.s.raws = slices.DeleteFunc(r.s.raws, func(o *Raw) bool { return o == r })
}

// LocalLocked and RemoteLocked are the socket's addresses.
func (r *Raw) LocalLocked() netip.Addr  { return r.local }
func (r *Raw) RemoteLocked() netip.Addr { return r.remote }

// deliverRaw gives a datagram to raw sockets; wanted says that one took it.
func (s *Stack) deliverRaw(a *arrival) (wanted bool) {
	for _, r := range s.raws {
		if r.proto != a.proto || r.v6 != a.v6 || r.local.IsValid() && r.local != a.dst && !a.toMany || r.remote.IsValid() && r.remote != a.src {
			continue
		}
		if d := r.opts.Device; d != 0 && d != a.link() {
			continue
		}
		wanted = true
		r.deliver(a)
	}
	return wanted
}

func (r *Raw) deliver(a *arrival) {
	body := a.after(0, a.size())
	if icmpProto := a.proto == wire.ProtoICMP || a.proto == wire.ProtoICMPv6; icmpProto && len(body) > 0 && r.Blocked[body[0]>>5]&(1<<(body[0]&31)) != 0 {
		return
	}
	if r.v6 && r.SumOffset >= 0 && !a.trusted {
		if r.SumOffset+2 > len(body) || wire.Fold(wire.Sum(wire.PseudoSum(a.src, a.dst, r.proto, len(body)), body)) != 0 {
			return
		}
	}
	if a.dst.IsMulticast() && !admitted(r.groups, a, r.opts.JoinedOnly) {
		return
	}
	var head []byte
	if !a.v6 && a.ipHeader <= len(a.whole) {
		head = slices.Clone(a.whole[:a.ipHeader])
		binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(body)))
		head[6], head[7] = head[6]&0x40, 0 // it is whole now
	}
	if !r.filter.passes(head, body) {
		return
	}
	m := a.meta(netip.AddrPortFrom(a.src, 0))
	if r.opts.ReceiveHeaders {
		m.Before = a.before()
	}
	r.owner.Deliver(m, head, body)
}

// unreachable takes an ICMP error.
func (r *Raw) unreachable(dst netip.AddrPort, p icmp.Problem, f failure, payload []byte) {
	if err, hard := errnoOf(p, r.v6); r.opts.ReceiveErrors || r.remote.IsValid() && hard {
		report(r.owner, err, dst, f, payload)
	}
}
