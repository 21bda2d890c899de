package stack

import (
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/udp"
	"bulkhead/services/netd/wire"
)

// DatagramOwner is who a Datagram belongs to. It is called with the stack's lock
// held.
type DatagramOwner interface {
	// Deliver gives what arrived, in two pieces that are valid during the call;
	// without room it is lost.
	Deliver(m Meta, head, body []byte)
	// Failed sets the socket's error.
	Failed(err linux.Errno)
}

// Meta is what a socket learns of a datagram beside its bytes.
type Meta struct {
	From      netip.AddrPort
	To        netip.Addr
	Interface int
	Hops      uint8
	Class     uint8
}

// Datagram is a UDP or ping socket's end in the stack. The methods ending in
// Locked are called within Do.
type Datagram struct {
	s      *Stack
	proto  uint8
	owner  DatagramOwner
	place  place
	remote netip.AddrPort // valid if connected
	listed bool
	dead   bool
	rcvOff bool // shut for reading
}

// NewDatagram makes a socket of UDP, ICMP or ICMPv6.
func (s *Stack) NewDatagram(proto uint8, v6 bool, opts Options, owner DatagramOwner) *Datagram {
	return &Datagram{s: s, proto: proto, owner: owner, place: place{v6: v6, opts: opts}}
}

// SetOptionsLocked changes the options.
func (d *Datagram) SetOptionsLocked(o Options) {
	d.place.opts = o
	if b := d.place.bind; b != nil {
		b.ReuseAddr, b.ReusePort = o.ReuseAddr, o.ReusePort
	}
}

// BindLocked binds: bind(2).
func (d *Datagram) BindLocked(want netip.AddrPort) error {
	if err := d.s.bindTo(&d.place, d.proto, true, want); err != nil {
		return err
	}
	d.place.auto = !d.place.local.Addr().IsValid()
	d.list()
	return nil
}

func (d *Datagram) list() {
	k := portKey{d.proto, d.place.local.Port()}
	d.s.grams[k] = append(d.s.grams[k], d)
	d.listed = true
}

// autobind takes a port for a socket that sends without one.
func (d *Datagram) autobind() error {
	if d.place.bind != nil {
		return nil
	}
	any := netip.IPv4Unspecified()
	if d.place.v6 {
		any = netip.IPv6Unspecified()
	}
	return d.BindLocked(netip.AddrPortFrom(any, 0))
}

// ConnectLocked sets the peer; an address that is not valid takes it away.
func (d *Datagram) ConnectLocked(to netip.AddrPort) error {
	if !to.IsValid() {
		d.remote = netip.AddrPort{}
		if d.place.auto {
			d.place.local = netip.AddrPortFrom(netip.Addr{}, d.place.local.Port())
		}
		return nil
	}
	dst, path, err := d.s.destination(&d.place, to)
	if err != nil {
		return err
	}
	if err := d.autobind(); err != nil {
		return err
	}
	d.remote = dst
	if d.place.auto {
		d.place.local = netip.AddrPortFrom(path.Source, d.place.local.Port())
	}
	return nil
}

// RouteLocked says whether it could send to an address, and from which.
func (d *Datagram) RouteLocked(to netip.AddrPort) (src netip.Addr, err error) {
	dst, path, err := d.s.destination(&d.place, to)
	if err != nil {
		return src, err
	}
	if d.s.table.Broadcast(dst.Addr()) && !d.place.opts.Broadcast {
		return src, linux.EACCES
	}
	return path.Source, d.autobind()
}

// LocalLocked and RemoteLocked are the socket's addresses; one that is not valid
// stands for any, or none.
func (d *Datagram) LocalLocked() netip.AddrPort  { return d.place.local }
func (d *Datagram) RemoteLocked() netip.AddrPort { return d.remote }

// SendLocked sends payload to an address, or to the peer if to is not valid. The
// payload is not referred to once it returns. Ping sockets' payload is an ICMP
// message.
func (d *Datagram) SendLocked(to netip.AddrPort, from netip.Addr, hops, class uint8, payload []byte) error {
	s := d.s
	if !to.IsValid() {
		if !d.remote.IsValid() {
			return linux.EDESTADDRREQ
		}
		to = d.remote
		if d.place.v6 && to.Addr().Is4() {
			to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
		}
	}
	dst, path, err := s.destination(&d.place, to)
	if err != nil {
		return err
	}
	if err := d.autobind(); err != nil {
		return err
	}
	src := path.Source
	if from.IsValid() && !from.IsUnspecified() {
		if _, local := s.table.Local(from.Unmap()); local && from.Unmap().Is4() == dst.Addr().Is4() {
			src = from.Unmap()
		}
	}
	if hops == 0 {
		hops = d.place.opts.HopLimit
	}
	if class == 0 {
		class = d.place.opts.TrafficClass
	}
	return d.emit(&path, src, dst, hops, class, payload)
}

// emit makes the packet and lets the loopback carry it at once, so that payload
// is free again.
func (d *Datagram) emit(path *route.Path, src netip.Addr, dst netip.AddrPort, hops, class uint8, payload []byte) error {
	s := d.s
	p := s.packet()
	n := ipSize(src)
	p.Trusted = path.Out.Loopback
	if d.proto == wire.ProtoUDP {
		if n+wire.UDPSize+len(payload) > 65535 {
			return linux.EMSGSIZE
		}
		p.Payload = payload
		udp.Put(p.Make(n + wire.UDPSize)[n:], netip.AddrPortFrom(src, d.place.local.Port()), dst, payload, true)
		if !p.Trusted {
			askSum(p, src, dst.Addr(), wire.ProtoUDP, n, 6)
		}
	} else {
		if len(payload) < wire.ICMPSize || n+len(payload) > 65535 {
			return linux.EINVAL
		}
		h := wire.ICMPHeader{Type: payload[0], Code: payload[1], Rest: uint32(d.place.local.Port())<<16 | uint32(payload[6])<<8 | uint32(payload[7])}
		want := uint8(wire.ICMPEchoRequest)
		if !src.Is4() {
			want = wire.ICMPv6EchoRequest
		}
		if (d.proto == wire.ProtoICMP) != src.Is4() || h.Type != want || h.Code != 0 {
			return linux.EINVAL
		}
		t := p.Make(n + wire.ICMPSize)[n:]
		h.Put(t)
		p.Payload = payload[wire.ICMPSize:]
		wire.ICMP(t).PutChecksum(wire.ICMPSum(!src.Is4(), src, dst.Addr(), t, p.Payload))
	}
	o := &d.place.opts
	f := flow{src: src, dst: dst.Addr(), proto: d.proto, hops: hops, class: class, fragment: !o.NeverFragment && (o.NoDiscover || p.Size() > path.MTU)}
	if o.NeverFragment && p.Size() > path.MTU && !path.Out.Loopback {
		s.recycle(p)
		return linux.EMSGSIZE
	}
	err := s.output(p, path, f)
	for !s.loop.Empty() {
		s.drain(drainBatch)
	}
	s.flush()
	return err
}

// ShutLocked stops deliveries: shutdown(2) of the reading half.
func (d *Datagram) ShutLocked() { d.rcvOff = true }

// CloseLocked gives everything up.
func (d *Datagram) CloseLocked() {
	if d.dead {
		return
	}
	d.dead = true
	if d.listed {
		k := portKey{d.proto, d.place.local.Port()}
		list := d.s.grams[k]
		for i, o := range list {
			if o == d {
				list = append(list[:i], list[i+1:]...)
				break
			}
		}
		if d.s.grams[k] = list; len(list) == 0 {
			delete(d.s.grams, k)
		}
	}
	d.s.unbind(&d.place, d.proto)
}

// receiver finds the socket for a datagram; of several alike SO_REUSEPORT
// spreads by the sender, else the one bound last has it.
func (s *Stack) receiver(proto uint8, port uint16, src netip.AddrPort, dst netip.Addr, in int) *Datagram {
	var best []*Datagram
	top := 0
	for _, d := range s.grams[portKey{proto, port}] {
		if dev := d.place.opts.Device; dev != 0 && in != 0 && dev != in {
			continue
		}
		f := d.place.bind.Families
		r := udp.Receiver{V4: f&ip.V4 != 0, V6: f&ip.V6 != 0, Local: d.place.local.Addr(), Remote: d.remote}
		if proto != wire.ProtoUDP && r.Remote.IsValid() {
			r.Remote = netip.AddrPortFrom(r.Remote.Addr(), src.Port())
		}
		switch n := r.Score(src, dst); {
		case n == 0 || n < top:
		case n > top:
			top, best = n, append(best[:0], d)
		default:
			best = append(best, d)
		}
	}
	switch {
	case len(best) == 0:
		return nil
	case len(best) > 1 && best[0].place.opts.ReusePort:
		return best[s.spread(src, dst)%uint32(len(best))]
	}
	return best[len(best)-1]
}

// spread hashes a sender, always to the same value.
func (s *Stack) spread(src netip.AddrPort, dst netip.Addr) uint32 {
	h := uint32(2166136261)
	mix := func(b []byte) {
		for _, c := range b {
			h = (h ^ uint32(c)) * 16777619
		}
	}
	a, b := src.Addr().As16(), dst.As16()
	mix(s.secret[:8])
	mix(a[:])
	mix(b[:])
	mix([]byte{byte(src.Port()), byte(src.Port() >> 8)})
	return h
}

// inputUDP delivers a datagram, or says that nobody wants it.
func (s *Stack) inputUDP(a *arrival) {
	h, err := wire.ParseUDP(a.head, a.size())
	if err != nil {
		return
	}
	body := a.after(wire.UDPSize, h.PayloadLen())
	if !a.trusted && !udp.Valid(h, a.src, a.dst, body) {
		return
	}
	src := netip.AddrPortFrom(a.src, h.SrcPort())
	d := s.receiver(wire.ProtoUDP, h.DstPort(), src, a.dst, a.in.Index)
	if d == nil {
		s.reject(a, icmp.PortUnreachable)
		return
	}
	d.deliver(a, src, nil, body)
}

func (d *Datagram) deliver(a *arrival, from netip.AddrPort, head, body []byte) {
	if d.rcvOff {
		return
	}
	d.owner.Deliver(Meta{From: from, To: a.dst, Interface: a.in.Index, Hops: a.hops, Class: a.class}, head, body)
}

// unreachable takes an ICMP error: udp(7), the ERRORS section.
func (d *Datagram) unreachable(dst netip.AddrPort, p icmp.Problem, f failure) {
	if !d.remote.IsValid() && !d.place.opts.ReceiveErrors {
		return
	}
	if err, hard := errnoOf(p); hard || d.place.opts.ReceiveErrors {
		d.owner.Failed(err)
	}
}

// errnoOf is the error number of an ICMP error, and whether it counts without
// IP_RECVERR.
func errnoOf(p icmp.Problem) (err linux.Errno, hard bool) {
	switch p {
	case icmp.PortUnreachable:
		return linux.ECONNREFUSED, true
	case icmp.ProtocolUnreachable:
		return linux.ENOPROTOOPT, true
	case icmp.NetUnreachable:
		return linux.ENETUNREACH, false
	case icmp.Prohibited:
		return linux.EACCES, true
	case icmp.TooBig:
		return linux.EMSGSIZE, false
	}
	return linux.EHOSTUNREACH, false
}
