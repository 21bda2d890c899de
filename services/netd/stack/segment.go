package stack

import (
	"bytes"
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// inputTCP gives a segment to its connection or listening socket, or answers it
// with a reset.
func (s *Stack) inputTCP(a *arrival) {
	s.counts.Inc(mib.TCPInSegs)
	h, err := wire.ParseTCP(a.head, a.size())
	if err != nil {
		s.counts.Inc(mib.TCPInErrs)
		return
	}
	payload := a.after(len(h), a.size()-len(h))
	if !a.trusted {
		sum := wire.PseudoSum(a.src, a.dst, wire.ProtoTCP, len(h)+len(payload))
		if wire.Fold(wire.Sum(wire.Sum(sum, h), payload)) != 0 {
			s.counts.Inc(mib.TCPInErrs)
			s.counts.Inc(mib.TCPInCsumErrors)
			return
		}
	}
	seg := tcp.Segment{Seq: tcp.Seq(h.Seq()), Ack: tcp.Seq(h.Ack()), Flags: h.Flags(), Window: h.Window(), Urgent: h.Urgent(),
		Options: h.Options(), Payload: payload, Size: int(a.segment), ECN: a.class & 3}
	t := tuple{netip.AddrPortFrom(a.dst, h.DstPort()), netip.AddrPortFrom(a.src, h.SrcPort())}
	if e := s.conns[t]; e != nil {
		if a.hops < e.place.opts.MinHops { // RFC 5082
			s.counts.Inc(mib.MinTTLDrop)
			return
		}
		if !e.conn.ReusableBy(&seg) {
			e.receive(&seg)
			return
		}
		s.counts.Inc(mib.TWRecycled)
		e.drop()
	}
	if l := s.listener(t); l != nil {
		if a.hops < l.place.opts.MinHops {
			s.counts.Inc(mib.MinTTLDrop)
			return
		}
		l.incoming(t, &seg, a)
		return
	}
	s.resetFor(t, &seg)
}

// resetFor answers a segment that no connection wants.
func (s *Stack) resetFor(t tuple, seg *tcp.Segment) {
	r, ok := tcp.ResetFor(seg)
	if !ok {
		return
	}
	if path, ok := s.findPath(t.remote.Addr(), t.local.Addr(), 0); ok {
		s.sendTCP(t, &path, &r, nil)
	}
}

// receive takes a segment of the connection.
func (e *TCP) receive(seg *tcp.Segment) {
	if e.conn.Stray(seg) {
		e.s.resetFor(tuple{e.place.local, e.remote}, seg)
		return
	}
	if e.parent != nil && !e.conn.Attached() && seg.Flags&wire.ACK != 0 && seg.Flags&(wire.RST|wire.SYN) == 0 && !e.attach() {
		return
	}
	if e.s.gathers && e.parent == nil && e.conn.Gathers(seg) {
		e.conn.Receive(e.s.now, seg)
		if !e.gathered {
			e.gathered = true
			e.s.gathered = append(e.s.gathered, e)
		}
		return
	}
	e.process(seg)
}

// answerGathered does what the segments that were gathered ask for.
func (s *Stack) answerGathered() {
	s.gathers = false
	for i, e := range s.gathered {
		e.gathered = false
		e.process(nil)
		s.gathered[i] = nil
	}
	s.gathered = s.gathered[:0]
}

// attach gets the queues of a connection whose handshake is about to end.
func (e *TCP) attach() bool {
	owner, send, receive, err := e.parent.owner.Incoming(e)
	if err != nil {
		e.conn.Abort()
		e.process(nil)
		return false
	}
	e.owner, e.sendq, e.recvq = owner, send, receive
	e.conn.Attach(send, receive)
	return true
}

// listener finds the socket that listens for t: one bound to the address before
// one bound to any, one of the family alone before a dual-stack one; among equal
// ones (SO_REUSEPORT) by the peer.
func (s *Stack) listener(t tuple) *TCP {
	var best []*TCP
	top := 0
	for _, l := range s.listen[t.local.Port()] {
		b := l.place.bind
		score := 1
		switch {
		case t.local.Addr().Is4() && b.Families&ip.V4 == 0, !t.local.Addr().Is4() && b.Families&ip.V6 == 0:
			continue
		case b.Addr.IsValid() && b.Addr != t.local.Addr():
			continue
		case b.Addr.IsValid():
			score = 3
		case b.Families != ip.V4|ip.V6:
			score = 2
		}
		if score > top {
			top, best = score, best[:0]
		}
		if score == top {
			best = append(best, l)
		}
	}
	if len(best) == 0 {
		return nil
	}
	return best[s.spread(t.remote, t.local.Addr())%uint32(len(best))]
}

// incoming takes a segment for a listening socket: RFC 9293, section 3.10.7.2.
func (e *TCP) incoming(t tuple, seg *tcp.Segment, a *arrival) {
	s, in := e.s, a.in.Index
	switch {
	case seg.Flags&wire.RST != 0:
		return
	case seg.Flags&wire.ACK != 0:
		if !e.cookieBack(t, seg, in) {
			s.resetFor(t, seg)
		}
		return
	case seg.Flags&wire.SYN == 0 || seg.Flags&wire.FIN != 0:
		return // RFC 9293 has no SYN with a FIN, and Linux does not answer one
	}
	pending := e.owner.Pending()
	if pending > e.backlog {
		s.counts.Inc(mib.ListenOverflows)
		s.counts.Inc(mib.ListenDrops)
		return // nobody takes them: the peer tries again
	}
	path, ok := s.pathOf(e.query(t, in))
	if !ok {
		return
	}
	if full := pending+len(e.children) > e.backlog; full && s.tuned.cookies == cookiesNever {
		s.counts.Inc(mib.ListenDrops)
		return
	} else if full || s.tuned.cookies == cookiesAlways {
		s.flooded = s.now
		s.counts.Inc(mib.ReqQFullDoCookies)
		s.counts.Inc(mib.SyncookiesSent)
		cfg := s.machine(e.cfg, &e.place.opts, t, path)
		r := tcp.CookieAnswer(cfg, s.now, tcp.Tuple{Local: t.local, Remote: t.remote}, &s.secret, seg)
		s.sendTCP(t, &path, &r, &e.place.opts)
		return
	}
	c := e.child(t, path)
	if e.place.opts.SaveSyn {
		c.syn = a.synHeaders()
	}
	c.conn = e.open(c, seg)
	c.process(nil)
	if c.conn.FastOpened() && c.conn.State() == tcp.SynReceived {
		c.announced = true
		c.changed()
		e.owner.Accepted(c)
	}
}

// synHeaders copies the headers of IP and TCP of what has arrived: TCP_SAVE_SYN. ParseTCP
// has checked the latter's length.
func (a *arrival) synHeaders() []byte {
	n := a.ipHeader + int(a.head[12]>>4)*4
	return bytes.Clone(a.whole[:min(n, len(a.whole))])
}

// SynLocked is the SYN that began the connection, if its listening socket saves it.
func (e *TCP) SynLocked() []byte { return e.syn }

// open makes the machine of a child, with the data of its SYN where that is
// allowed (RFC 7413).
func (e *TCP) open(c *TCP, seg *tcp.Segment) *tcp.Conn {
	s := e.s
	shown := seg.Options.Cookie()
	trusting := s.tuned.fastOpen&fastOpenTrusts != 0 && len(seg.Payload) > 0
	if e.place.opts.FastOpen == 0 || shown == nil && !trusting {
		return tcp.Accept(c.cfg, s.now, seg)
	}
	good := tcp.FastOpenCookie(&s.secret, c.remote.Addr())
	n := &s.counts
	if shown != nil && len(shown) == 0 {
		n.Inc(mib.FastOpenCookieReqd)
	}
	switch {
	case len(shown) == 0 && !trusting:
	case !bytes.Equal(shown, good) && !trusting:
		n.Inc(mib.FastOpenPassiveFail)
	case e.fast >= e.place.opts.FastOpen:
		n.Inc(mib.FastOpenListenOverflow)
	default:
		owner, send, receive, err := e.owner.Incoming(c)
		if err == nil {
			c.owner, c.sendq, c.recvq = owner, send, receive
			e.fast++
			n.Inc(mib.FastOpenPassive)
			return tcp.AcceptFast(c.cfg, s.now, seg, nil, send, receive)
		}
	}
	conn := tcp.Accept(c.cfg, s.now, seg)
	conn.OfferCookie(good)
	return conn
}

// cookieBack makes the connection whose SYN cookie comes back.
func (e *TCP) cookieBack(t tuple, seg *tcp.Segment, in int) bool {
	s := e.s
	if s.flooded == 0 || s.now-s.flooded > 180*tcp.Second || seg.Flags&(wire.SYN|wire.RST) != 0 {
		return false
	}
	path, ok := s.pathOf(e.query(t, in))
	if !ok || e.owner.Pending() > e.backlog {
		return false
	}
	conn, ok := tcp.AcceptCookie(s.machine(e.cfg, &e.place.opts, t, path), s.now, tcp.Tuple{Local: t.local, Remote: t.remote}, &s.secret, seg)
	if !ok {
		s.counts.Inc(mib.SyncookiesFailed)
		return false
	}
	s.counts.Inc(mib.SyncookiesRecv)
	c := e.child(t, path)
	c.conn = conn
	c.receive(seg)
	return true
}

// child makes the socket of a connection that comes to a listening one.
func (e *TCP) child(t tuple, path route.Path) *TCP {
	s := e.s
	c := &TCP{s: s, place: place{v6: e.place.v6, opts: e.place.opts}, remote: t.remote, parent: e, heapAt: -1}
	c.way, c.wayAt = path, s.table.Generation
	c.place.local = t.local
	b := *e.place.bind
	b.Listening = false
	b.Addr = t.local.Addr()
	b.Families = c.place.families(t.local.Addr())
	if c.place.opts.Ahead != nil && t.local.Addr().Is4() {
		c.place.opts.Ahead = nil // the listening socket's own
	}
	c.place.bind = &b
	s.portsOf(wire.ProtoTCP).Hold(&b)
	c.cfg = s.machine(e.cfg, &c.place.opts, t, path)
	e.children[c] = struct{}{}
	s.conns[t] = c
	c.inDemux = true
	return c
}

// emit sends a segment of the connection.
func (e *TCP) emit(seg *tcp.Segment) {
	if path := e.path(); path != nil {
		e.s.sendTCP(tuple{e.place.local, e.remote}, path, seg, &e.place.opts)
	}
}

// path is the connection's, looked up again after every change of the routes;
// nil: there is none now.
func (e *TCP) path() *route.Path {
	s := e.s
	if e.wayAt == s.table.Generation {
		return &e.way
	}
	path, ok := s.pathOf(e.query(tuple{e.place.local, e.remote}, e.place.opts.Device))
	if !ok {
		return nil
	}
	e.way, e.wayAt = path, s.table.Generation
	return &e.way
}

// pathChanged makes the connection fit its path: RFC 1191, section 6.
func (e *TCP) pathChanged() {
	path := e.path()
	if path == nil || e.conn == nil {
		return
	}
	e.conn.LimitMSS(e.s.now, mssFor(path.MTU, e.remote.Addr())-aheadOf(&e.place.opts, e.place.local.Addr()).Size())
	e.process(nil)
}

// mssFor is the payload that fits a packet.
func mssFor(mtu int, remote netip.Addr) int {
	return min(mtu, 65535) - ipSize(remote) - wire.TCPSize
}

// sent says whether the packet that an ICMP error quotes can be ours: what it
// carries must be in flight (RFC 5927, section 4).
func (e *TCP) sent(q icmp.Quoted) bool { return e.conn != nil && e.conn.InFlight(tcp.Seq(q.Seq)) }

// sendTCP sends a segment of a socket with opts; nil: of none.
func (s *Stack) sendTCP(t tuple, path *route.Path, seg *tcp.Segment, opts *Options) {
	segs := 1
	if seg.Size > 0 {
		segs = max((len(seg.Payload)+seg.Size-1)/seg.Size, 1)
	}
	s.counts.Add(mib.TCPOutSegs, segs)
	if seg.Flags&wire.RST != 0 {
		s.counts.Inc(mib.TCPOutRsts)
	}
	p := s.packet()
	h := wire.TCPHeader{SrcPort: t.local.Port(), DstPort: t.remote.Port(), Seq: uint32(seg.Seq), Ack: uint32(seg.Ack),
		Flags: seg.Flags, Window: seg.Window, Urgent: seg.Urgent, Options: seg.Options}
	local, remote := t.local.Addr(), t.remote.Addr()
	f := flow{src: local, dst: remote, proto: wire.ProtoTCP, class: seg.ECN, sender: opts}
	if opts != nil {
		f.hops, f.class = opts.HopLimit, opts.TrafficClass&^3|seg.ECN
		f.ahead = aheadOf(opts, local)
	}
	n := f.headSize()
	size := n + h.Size()
	h.Put(p.Make(size)[n:])
	p.Payload = seg.Payload
	if path.Out.Loopback {
		p.Trusted = true
	} else {
		askSum(p, local, remote, wire.ProtoTCP, n, 16)
		if seg.Size > 0 && len(seg.Payload) > seg.Size {
			o := &p.Offload
			o.GSO, o.SegmentSize, o.HeaderSize = link.GSOTCP4, uint16(seg.Size), uint16(size)
			if !local.Is4() {
				o.GSO = link.GSOTCP6
			}
		}
	}
	s.output(p, path, f)
}

// DisconnectLocked undoes a connection: connect(2) with AF_UNSPEC. The socket
// cannot be used for another one here, which Linux allows.
func (e *TCP) DisconnectLocked() error {
	if e.listening {
		e.stopListening()
		e.changed()
		return nil
	}
	if e.conn == nil {
		return linux.EINVAL
	}
	e.awaitsData = false
	e.conn.Abort()
	e.process(nil)
	e.place.widen()
	return nil
}

// query is what a path is looked for between the two, over an interface if that is not 0.
func (e *TCP) query(t tuple, index int) route.Query {
	o := &e.place.opts
	return route.Query{Dst: t.remote.Addr(), Source: t.local.Addr(), Out: index, Mark: o.Mark, UID: o.UID, TOS: o.TrafficClass,
		Protocol: wire.ProtoTCP, SourcePort: t.local.Port(), DstPort: t.remote.Port()}
}
