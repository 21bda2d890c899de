package stack

import (
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/udp"
	"bulkhead/services/netd/wire"
)

// DatagramOwner is who a Datagram belongs to. It is called with the stack's lock
// held.
type DatagramOwner interface {
	// Deliver gives what arrived, in two pieces that are valid during the call;
	// without room it is lost, which is false.
	Deliver(m Meta, head, body []byte) bool
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
	// Segment, if not 0, says that these are several datagrams of so many bytes
	// each but the last: UDP_GRO. Only who has asked for it is given such.
	Segment uint16
	// Before are the headers between IP's and the payload, as they lie in a ring, if they
	// are asked for.
	Before []byte
}

// Datagram is a UDP, UDP-Lite or ping socket's end in the stack. The methods ending in
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
	named  bool // bind(2) has named the port
	filter Filter
	groups []membership
}

// NewDatagram makes a socket of UDP, UDP-Lite, ICMP or ICMPv6.
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

// SetFilterLocked sets the filter, which sees the datagram behind its header;
// nil is none. EINVAL.
func (d *Datagram) SetFilterLocked(program []FilterInstruction) error { return d.filter.set(program) }

// BindLocked binds: bind(2).
func (d *Datagram) BindLocked(want netip.AddrPort) error {
	if err := d.s.bindTo(&d.place, d.proto, true, want); err != nil {
		return err
	}
	d.place.auto = !d.place.local.Addr().IsValid()
	d.named = want.Port() != 0
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
	if a := d.place.local.Addr(); a.IsValid() && !d.place.auto {
		any = a // the port alone is to be found again
		if d.place.v6 && a.Is4() {
			any = netip.AddrFrom16(a.As16())
		}
	}
	return d.BindLocked(netip.AddrPortFrom(any, 0))
}

// ConnectLocked sets the peer; an address that is not valid takes it away.
func (d *Datagram) ConnectLocked(to netip.AddrPort) error {
	if !to.IsValid() {
		d.remote = netip.AddrPort{}
		d.place.widen()
		if d.place.auto {
			d.place.local = netip.AddrPortFrom(netip.Addr{}, d.place.local.Port())
		}
		if !d.named {
			d.unlist()
			d.s.unbind(&d.place, d.proto)
			d.place.local = netip.AddrPortFrom(d.place.local.Addr(), 0)
		}
		return nil
	}
	dst, path, err := d.s.destination(&d.place, d.proto, to)
	if err != nil {
		return err
	}
	if d.s.table.Broadcast(dst.Addr()) && !d.place.opts.Broadcast {
		return linux.EACCES
	}
	if err := d.autobind(); err != nil {
		return err
	}
	d.remote = dst
	if d.place.auto {
		d.place.local = netip.AddrPortFrom(path.Source, d.place.local.Port())
		d.place.widen()
		d.place.narrow(path.Source)
	}
	return nil
}

// RouteLocked says whether it could send to an address, from which, and what the path
// takes in bytes.
func (d *Datagram) RouteLocked(to netip.AddrPort) (src netip.Addr, mtu int, err error) {
	dst, path, err := d.s.destination(&d.place, d.proto, to)
	if err != nil {
		return src, 0, err
	}
	if d.s.table.Broadcast(dst.Addr()) && !d.place.opts.Broadcast {
		return src, 0, linux.EACCES
	}
	return path.Source, path.MTU, d.autobind()
}

// PinLocked has what is sent until the function is called leave by an interface, if that
// is not 0, with headers before the payload, if they are not nil.
func (d *Datagram) PinLocked(index int, ahead *wire.Ahead) func() {
	return d.place.opts.pin(index, ahead)
}

// LocalLocked and RemoteLocked are the socket's addresses; one that is not valid
// stands for any, or none.
func (d *Datagram) LocalLocked() netip.AddrPort  { return d.place.local }
func (d *Datagram) RemoteLocked() netip.AddrPort { return d.remote }

// SendLocked sends payload to an address, or to the peer if to is not valid. The
// payload is not referred to once it returns. Ping sockets' payload is an ICMP
// message.
func (d *Datagram) SendLocked(to netip.AddrPort, from netip.Addr, hops, class uint8, payload []byte) error {
	return d.SendSegmentsLocked(to, from, hops, class, payload, 0)
}

// SendSegmentsLocked is SendLocked of several datagrams to one address, each of
// size bytes but the last: UDP_SEGMENT. 0: it is one. EINVAL, EMSGSIZE.
func (d *Datagram) SendSegmentsLocked(to netip.AddrPort, from netip.Addr, hops, class uint8, payload []byte, size int) error {
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
	dst, path, err := s.destination(&d.place, d.proto, to)
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
	o := &d.place.opts
	f := flow{src: src, dst: dst.Addr(), proto: d.proto, hops: first(hops, o.HopLimit), class: first(class, o.TrafficClass), ahead: aheadOf(o, src)}
	if f.dst.IsMulticast() {
		f.inside = hops == 0 && o.MulticastInside
		f.hops = max(first(hops, o.MulticastHops), 1)
		f.lonely = o.NoMulticastLoop
	}
	if !d.ported() {
		return d.ping(&path, f, payload)
	}
	if size <= 0 || d.proto != wire.ProtoUDP || size >= len(payload) {
		return d.emit(&path, f, dst.Port(), payload, 0)
	}
	if head := f.headSize() + wire.UDPSize; head+size > path.MTU || len(payload) > linux.UDP_MAX_SEGMENTS*size || head+len(payload) > 65535 {
		return linux.EINVAL // udp(7)
	}
	if !path.Out.Loopback && f.ahead == nil {
		return d.emit(&path, f, dst.Port(), payload, size)
	}
	for ; len(payload) > 0 && err == nil; payload = payload[min(size, len(payload)):] {
		err = d.emit(&path, f, dst.Port(), payload[:min(size, len(payload))], 0)
	}
	return err
}

// ported says whether the protocol has ports of its own.
func (d *Datagram) ported() bool { return d.proto == wire.ProtoUDP || d.proto == wire.ProtoUDPLite }

// emit makes the packet of a datagram, or of several of size bytes.
func (d *Datagram) emit(path *route.Path, f flow, port uint16, payload []byte, size int) error {
	s := d.s
	n := f.headSize()
	if f.src.Is4() && n+wire.UDPSize+len(payload) > 65535 || wire.UDPSize+len(payload) > 65535 {
		return linux.EMSGSIZE
	}
	pieces := 1
	if size > 0 {
		pieces = (len(payload) + size - 1) / size
	}
	s.counts.Add(udpCounter(d.proto == wire.ProtoUDPLite, !f.src.Is4(), mib.UDPOutDatagrams), pieces)
	p := s.packet()
	p.Trusted = path.Out.Loopback
	h := p.Make(n + wire.UDPSize)
	from, to := netip.AddrPortFrom(f.src, d.place.local.Port()), netip.AddrPortFrom(f.dst, port)
	p.Payload = payload
	if d.proto == wire.ProtoUDPLite {
		udp.PutLite(h[n:], from, to, payload, d.place.opts.SendCoverage, p.Trusted)
		if !p.Trusted {
			p.Own(payload)
		}
		return d.launch(p, path, f)
	}
	udp.Put(h[n:], from, to, payload, true)
	if !p.Trusted {
		p.Own(payload)
		askSum(p, f.src, f.dst, wire.ProtoUDP, n, 6)
		if size > 0 {
			p.Offload.GSO, p.Offload.SegmentSize, p.Offload.HeaderSize = link.GSOUDP, uint16(size), uint16(len(h))
		}
	}
	return d.launch(p, path, f)
}

// ping sends an echo request of a ping socket: icmp(7), "ping sockets".
func (d *Datagram) ping(path *route.Path, f flow, payload []byte) error {
	s := d.s
	n := f.headSize()
	if len(payload) < wire.ICMPSize || n+len(payload) > 65535 {
		return linux.EINVAL
	}
	h := wire.ICMPHeader{Type: payload[0], Code: payload[1], Rest: uint32(d.place.local.Port())<<16 | uint32(payload[6])<<8 | uint32(payload[7])}
	want := uint8(wire.ICMPEchoRequest)
	if !f.src.Is4() {
		want = wire.ICMPv6EchoRequest
	}
	if (d.proto == wire.ProtoICMP) != f.src.Is4() || h.Type != want || h.Code != 0 {
		return linux.EINVAL
	}
	s.counts.ICMP(!f.src.Is4(), true, want)
	p := s.packet()
	p.Trusted = path.Out.Loopback
	t := p.Make(n + wire.ICMPSize)[n:]
	h.Put(t)
	p.Own(payload[wire.ICMPSize:])
	wire.ICMP(t).PutChecksum(wire.ICMPSum(!f.src.Is4(), f.src, f.dst, t, p.Payload))
	return d.launch(p, path, f)
}

// launch sends the packet. What goes over the loopback arrives at once, so that
// its payload is free again.
func (d *Datagram) launch(p *link.Packet, path *route.Path, f flow) error {
	s := d.s
	o := &d.place.opts
	large := p.Offload.GSO == link.GSONone && p.Size() > path.MTU && !path.Out.Loopback
	if o.NeverFragment && large {
		s.recycle(p)
		if q, ok := d.owner.(ErrorOwner); ok && o.ReceiveErrors {
			q.Report(ErrorReport{Errno: linux.EMSGSIZE, Local: true, MTU: path.MTU, Offender: f.src, Dst: netip.AddrPortFrom(f.dst, 0)})
		}
		return linux.EMSGSIZE
	}
	f.fragment = !o.NeverFragment && (o.NoDiscover || large)
	f.sender = o
	err := s.output(p, path, f)
	for !s.loop.Empty() {
		s.drain(drainBatch)
	}
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
	d.s.leaveAll(&d.groups)
	d.unlist()
	d.s.unbind(&d.place, d.proto)
}

// unlist has nothing delivered to it any more.
func (d *Datagram) unlist() {
	if !d.listed {
		return
	}
	d.listed = false
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

// receiver finds the socket for a datagram; of several alike SO_REUSEPORT
// spreads by the sender, else the one bound last has it.
func (s *Stack) receiver(proto uint8, port uint16, src netip.AddrPort, dst netip.Addr, in int) *Datagram {
	var best []*Datagram
	top := 0
	for _, d := range s.grams[portKey{proto, port}] {
		if dev := d.place.opts.Device; dev != 0 && in != 0 && dev != in {
			continue
		}
		switch n := d.score(src, dst); {
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

// score says how well the socket suits a datagram.
func (d *Datagram) score(src netip.AddrPort, dst netip.Addr) int {
	f := d.place.bind.Families
	r := udp.Receiver{V4: f&ip.V4 != 0, V6: f&ip.V6 != 0, Local: d.place.local.Addr(), Remote: d.remote}
	if d.place.auto && d.remote.IsValid() && dst.IsMulticast() {
		r.Local = netip.Addr{}
	}
	if !d.ported() && r.Remote.IsValid() {
		r.Remote = netip.AddrPortFrom(r.Remote.Addr(), src.Port())
	}
	return r.Score(src, dst)
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

// udpHeader checks the header of a datagram of UDP or UDP-Lite and its checksum;
// coverage is how many bytes that is over, from the header's first.
func udpHeader(a *arrival) (h wire.UDP, body []byte, coverage int, ok bool) {
	if a.proto == wire.ProtoUDPLite {
		h, coverage, err := wire.ParseUDPLite(a.head, a.size())
		if err != nil {
			return nil, nil, 0, false
		}
		body := a.after(wire.UDPSize, a.size()-wire.UDPSize)
		return h, body, coverage, a.trusted || udp.ValidLite(h, a.src, a.dst, body, coverage)
	}
	h, err := wire.ParseUDP(a.head, a.size())
	if err != nil {
		return nil, nil, 0, false
	}
	body = a.after(wire.UDPSize, h.PayloadLen())
	return h, body, wire.UDPSize + len(body), a.trusted || udp.Valid(h, a.src, a.dst, body)
}

// udpCounter is a counter of UDP, of UDP-Lite, or of either over IPv6.
func udpCounter(lite, v6 bool, k mib.Counter) mib.Counter {
	if lite {
		k += mib.LiteInDatagrams - mib.UDPInDatagrams
	}
	return mib.Of(v6, k)
}

// inputUDP delivers a datagram of UDP or UDP-Lite, or says that nobody wants it.
func (s *Stack) inputUDP(a *arrival) {
	lite := a.proto == wire.ProtoUDPLite
	h, body, coverage, ok := udpHeader(a)
	if !ok {
		s.counts.Inc(udpCounter(lite, a.v6, mib.UDPInErrors))
		if len(h) > 0 {
			s.counts.Inc(udpCounter(lite, a.v6, mib.UDPInCsumErrors))
		}
		return
	}
	src := netip.AddrPortFrom(a.src, h.SrcPort())
	if a.toMany {
		s.toAll(a, h.DstPort(), src, body)
		return
	}
	d := s.receiver(a.proto, h.DstPort(), src, a.dst, a.link())
	if d == nil {
		s.counts.Inc(udpCounter(lite, a.v6, mib.UDPNoPorts))
		s.reject(a, icmp.PortUnreachable)
		return
	}
	if o := &d.place.opts; o.CheckCoverage && coverage < wire.UDPSize+len(body) && (o.ReceiveCoverage == 0 || coverage < o.ReceiveCoverage) {
		return
	}
	if size := int(a.segment); size > 0 && len(body) > size && !d.place.opts.Segments {
		one := *a
		for one.segment = 0; len(body) > 0; body = body[min(size, len(body)):] {
			d.deliver(&one, src, nil, body[:min(size, len(body))])
		}
		return
	}
	d.deliver(a, src, nil, body)
}

func (d *Datagram) deliver(a *arrival, from netip.AddrPort, head, body []byte) {
	n, lite := &d.s.counts, d.proto == wire.ProtoUDPLite
	size := d.filter.snap(a.head, a.rest)
	if d.rcvOff || size == 0 {
		if d.ported() {
			n.Inc(udpCounter(lite, a.v6, mib.UDPInErrors))
		}
		return
	}
	if size < len(a.head)+len(a.rest) { // the filter lets no more pass
		if d.ported() {
			size = max(size-wire.UDPSize, 0)
		}
		body = body[:min(len(body), max(size-len(head), 0))]
		head = head[:min(len(head), size)]
	}
	m := a.meta(from)
	if d.place.opts.ReceiveHeaders {
		m.Before = a.before()
	}
	taken := d.owner.Deliver(m, head, body)
	switch {
	case !d.ported():
	case taken:
		n.Inc(udpCounter(lite, a.v6, mib.UDPInDatagrams))
	default:
		n.Inc(udpCounter(lite, a.v6, mib.UDPInErrors))
		n.Inc(udpCounter(lite, a.v6, mib.UDPRcvbufErrors))
	}
}

// unreachable takes an ICMP error: udp(7), the ERRORS section.
func (d *Datagram) unreachable(dst netip.AddrPort, p icmp.Problem, f failure, payload []byte) {
	if !d.remote.IsValid() && !d.place.opts.ReceiveErrors {
		return
	}
	if err, hard := errnoOf(p, dst.Addr().Is6()); hard || d.place.opts.ReceiveErrors {
		report(d.owner, err, dst, f, payload)
	}
}

// errnoOf is the error number of an ICMP error, and whether it counts without
// IP_RECVERR.
func errnoOf(p icmp.Problem, v6 bool) (err linux.Errno, hard bool) {
	switch p {
	case icmp.PortUnreachable:
		return linux.ECONNREFUSED, true
	case icmp.ProtocolUnreachable:
		return linux.ENOPROTOOPT, true
	case icmp.NetUnreachable:
		return linux.ENETUNREACH, false
	case icmp.Prohibited:
		if !v6 {
			return linux.EHOSTUNREACH, true
		}
		return linux.EACCES, true
	case icmp.TooBig:
		return linux.EMSGSIZE, false
	}
	return linux.EHOSTUNREACH, false
}
