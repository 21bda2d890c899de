package stack

import (
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// SendQueue is a TCP socket's send buffer, which its user fills without asking.
type SendQueue interface {
	tcp.SendQueue
	// Arm asks to be told (TCP.KickLocked) when there is more; true says that
	// there is already.
	Arm() bool
	// Seen is what Len gave last.
	Seen() int
	// Broken says that its user has spoilt it.
	Broken() bool
}

// ReceiveQueue is its receive buffer, which its user empties without asking.
type ReceiveQueue interface {
	tcp.ReceiveQueue
	// ArmRoom asks to be told when the user has read.
	ArmRoom()
	Broken() bool
}

// TCPOwner is who a TCP socket belongs to. It is called with the stack's lock
// held.
type TCPOwner interface {
	// Changed says that StatusLocked or ErrorLocked has changed.
	Changed()
	// Incoming makes the owner and queues of a connection that a listening
	// socket's peer has begun; an error turns it away.
	Incoming(child *TCP) (TCPOwner, SendQueue, ReceiveQueue, error)
	// Accepted says that a connection that Incoming made stands. Pending is how
	// many of those nobody has taken yet.
	Accepted(child *TCP)
	Pending() int
	// Released says that the queues are not used any more, once the stack's
	// Later has come round.
	Released()
}

// SendSpaceLocked is how much the send buffer should hold now, in bytes, if the
// user has not set it.
func (e *TCP) SendSpaceLocked() int {
	if e.conn == nil {
		return 16 << 10
	}
	return e.conn.SendSpace()
}

// Status is what a TCP socket is to its user.
type Status struct {
	Connected, Connecting, Listening bool
	PeerClosed, SendClosed           bool
	Closed                           bool
	Drained                          bool
	Deferred                         bool // its SYN waits for data
}

// TCP is a TCP socket's end in the stack. The methods ending in Locked are
// called within Do.
type TCP struct {
	s      *Stack
	owner  TCPOwner
	place  place
	remote netip.AddrPort
	cfg    tcp.Config

	way   route.Path // as of table generation wayAt
	wayAt uint64

	conn       *tcp.Conn
	sendq      SendQueue
	recvq      ReceiveQueue
	inDemux    bool
	closed     bool // by its user
	released   bool
	awaitsData bool // the SYN waits for data: RFC 7413
	last       Status
	was        tcp.State // when it was last settled
	err        linux.Errno

	// A listening socket's.
	listening bool
	backlog   int
	children  map[*TCP]struct{} // in the handshake
	fast      int               // of them, how many were opened with data
	// A connection's that a listening socket took.
	parent    *TCP
	announced bool     // before its handshake was over
	until     tcp.Time // when it is announced without data: TCP_DEFER_ACCEPT

	gathered bool // in Stack.gathered
	syn      []byte

	deadline tcp.Time
	heapAt   int
}

// NewTCP makes a socket.
func (s *Stack) NewTCP(v6 bool, opts Options, cfg tcp.Config, owner TCPOwner, send SendQueue, receive ReceiveQueue) *TCP {
	return &TCP{s: s, owner: owner, place: place{v6: v6, opts: opts}, cfg: cfg, sendq: send, recvq: receive, heapAt: -1}
}

// SetOptionsLocked changes the options.
func (e *TCP) SetOptionsLocked(o Options, cfg tcp.Config) {
	if o.Mark != e.place.opts.Mark {
		e.wayAt-- // it may go another way
	}
	e.place.opts = o
	if b := e.place.bind; b != nil {
		b.ReuseAddr, b.ReusePort = o.ReuseAddr, o.ReusePort
	}
	cfg.ReceiveBuffer = e.cfg.ReceiveBuffer
	e.cfg = cfg
	if e.conn != nil {
		cfg.DelayAck = e.conn.Config().DelayAck
		e.conn.Configure(cfg, e.s.now)
		e.process(nil)
	}
}

// BindLocked binds: bind(2).
//
// One that has its port already and is connected within the sentry holds it at the address
// of that connection from then on, or at all its addresses again if want has none.
func (e *TCP) BindLocked(want netip.AddrPort) error {
	if e.conn != nil || e.listening {
		return linux.EINVAL
	}
	if b := e.place.bind; b != nil && b.Port == want.Port() {
		e.place.widen()
		e.place.narrow(want.Addr().Unmap())
		return nil
	}
	if err := e.s.bindTo(&e.place, wire.ProtoTCP, false, want); err != nil {
		return err
	}
	e.place.auto = !e.place.local.Addr().IsValid()
	return nil
}

// ListenLocked makes it take connections: listen(2).
func (e *TCP) ListenLocked(backlog int) error {
	if e.listening {
		e.backlog = backlog
		return nil
	}
	if e.conn != nil || e.closed {
		return linux.EINVAL
	}
	if e.place.bind == nil {
		any := netip.IPv4Unspecified()
		if e.place.v6 {
			any = netip.IPv6Unspecified()
		}
		if err := e.BindLocked(netip.AddrPortFrom(any, 0)); err != nil {
			return err
		}
	}
	b := e.place.bind
	if !e.s.portsOf(wire.ProtoTCP).Free(b) {
		return linux.EADDRINUSE
	}
	b.Listening = true
	e.listening, e.backlog = true, backlog
	e.children = map[*TCP]struct{}{}
	e.s.listen[b.Port] = append(e.s.listen[b.Port], e)
	e.changed()
	return nil
}

// ConnectLocked begins a connection: connect(2). nil means that it is under way,
// or stands already when Do has returned.
func (e *TCP) ConnectLocked(to netip.AddrPort) error { return e.connect(to, false) }

func (e *TCP) connect(to netip.AddrPort, fast bool) error {
	switch {
	case e.listening:
		return linux.EISCONN
	case e.conn == nil:
	case e.conn.State() == tcp.SynSent || e.conn.State() == tcp.SynReceived:
		return linux.EALREADY
	case e.conn.State() != tcp.Closed || e.closed || e.released || e.sendq.Len() > 0:
		return linux.EISCONN
	default:
		e.renew()
	}
	s := e.s
	dst, path, err := s.destination(&e.place, wire.ProtoTCP, to)
	if err != nil {
		return err
	}
	if dst.Port() == 0 || dst.Addr().IsMulticast() || s.table.Broadcast(dst.Addr()) {
		if dst.Port() == 0 {
			return linux.ECONNREFUSED
		}
		return linux.ENETUNREACH
	}
	if err := e.choosePort(dst, path); err != nil {
		return err
	}
	t := tuple{netip.AddrPortFrom(path.Source, e.place.bind.Port), dst}
	if old := s.conns[t]; old != nil {
		if old.conn.State() != tcp.TimeWait {
			return linux.EADDRNOTAVAIL
		}
		old.drop()
	}
	e.place.narrow(path.Source)
	e.place.local, e.remote = t.local, dst
	e.cfg = s.machine(e.cfg, &e.place.opts, t, path)
	e.way, e.wayAt = path, s.table.Generation
	e.prepareFast(fast)
	e.conn, e.was = tcp.Connect(e.cfg, s.now, e.sendq, e.recvq), tcp.SynSent
	s.counts.Inc(mib.TCPActiveOpens)
	s.conns[t] = e
	e.inDemux = true
	e.process(nil)
	return nil
}

// renew makes a socket whose connection failed ready for another attempt.
func (e *TCP) renew() {
	e.conn, e.err, e.last, e.awaitsData = nil, 0, Status{}, false
	e.remote = netip.AddrPort{}
	e.place.local = netip.AddrPort{}
	e.place.widen()
	if b := e.place.bind; b != nil {
		e.place.local = netip.AddrPortFrom(b.Addr, b.Port)
	}
}

// choosePort holds a port for a connection to dst.
func (e *TCP) choosePort(dst netip.AddrPort, path route.Path) error {
	if e.place.bind != nil {
		return nil
	}
	s := e.s
	b := &ip.Binding{Families: e.place.families(dst.Addr()), Addr: path.Source, Auto: true}
	hint := tcp.Tuple{Local: netip.AddrPortFrom(path.Source, 0), Remote: dst}.PortHint(&s.secret) + s.ports16
	s.ports16 += 1 + s.rand32()&7
	ok := s.portsOf(wire.ProtoTCP).Ephemeral(b, hint, func(port uint16) bool {
		t := tuple{netip.AddrPortFrom(path.Source, port), dst}
		old := s.conns[t]
		return t.local != t.remote && (old == nil || old.conn.State() == tcp.TimeWait)
	})
	if !ok {
		return linux.EADDRNOTAVAIL
	}
	s.portsOf(wire.ProtoTCP).Hold(b)
	e.place.bind = b
	e.place.auto = true
	return nil
}

// InterfaceLocked is the index of the interface that the path to the peer leaves by.
func (e *TCP) InterfaceLocked() int { return e.way.Out.Index }

// KickLocked looks at the queues: the user has written or read.
func (e *TCP) KickLocked() {
	if e.conn == nil || e.released {
		return
	}
	e.conn.Opened()
	e.process(nil)
}

// ShutdownLocked shuts halves: shutdown(2).
func (e *TCP) ShutdownLocked(read, write bool) error {
	if e.listening {
		if read {
			e.stopListening()
			e.changed()
		}
		return nil
	}
	if e.conn == nil || e.conn.State() == tcp.Closed {
		return linux.ENOTCONN
	}
	if write {
		e.conn.CloseSend(e.s.now)
		e.process(nil)
	}
	return nil
}

// CloseLocked ends the socket for its user: close(2). abort resets, as bytes
// that nobody read do.
func (e *TCP) CloseLocked(abort bool) {
	if e.closed {
		return
	}
	e.closed = true
	if e.listening {
		e.stopListening()
	}
	if e.conn == nil || e.conn.State() == tcp.Closed {
		e.s.unbind(&e.place, wire.ProtoTCP)
		e.release()
		return
	}
	e.awaitsData = false // and nothing was sent
	if abort {
		e.conn.Abort()
	} else {
		e.conn.Close(e.s.now)
	}
	e.process(nil)
}

// stopListening turns away those in the handshake.
func (e *TCP) stopListening() {
	port := e.place.bind.Port
	list := e.s.listen[port]
	for i, o := range list {
		if o == e {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if e.s.listen[port] = list; len(list) == 0 {
		delete(e.s.listen, port)
	}
	e.listening = false
	e.place.bind.Listening = false
	for c := range e.children {
		c.parent = nil
		c.closed = c.closed || !c.announced
		c.conn.Abort()
		c.process(nil)
	}
	e.children = nil
}

// process gives the machine a segment (or none), sends what it answers and tells
// the owner what has changed.
func (e *TCP) process(seg *tcp.Segment) {
	c := e.conn
	if c == nil || e.awaitsData && e.defers() {
		return
	}
	if seg != nil {
		c.Receive(e.s.now, seg)
	}
	for again := true; again; {
		if e.sendq == nil {
			c.Poll(e.s.now, e.s.heard, e.emit)
			break
		}
		before := e.sendq.Len()
		c.Poll(e.s.now, e.s.heard, e.emit)
		switch {
		case c.State() == tcp.Closed:
			again = false
		case !c.Wanting():
			// The machine holds it back, and goes on by itself; unless the
			// user wrote it just after the machine had looked.
			again = e.sendq.Seen() != before
		default:
			again = e.sendq.Arm()
		}
	}
	if e.recvq != nil && !e.released && c.WindowLow() {
		e.recvq.ArmRoom()
		c.Opened()
		c.Poll(e.s.now, e.s.heard, e.emit)
	}
	if e.sendq != nil && !e.released && (e.sendq.Broken() || e.recvq.Broken()) && c.State() != tcp.Closed {
		c.Abort()
		c.Poll(e.s.now, e.s.heard, e.emit)
	}
	e.settle()
}

// settle acts on the state that the machine is in now.
func (e *TCP) settle() {
	c := e.conn
	e.tally()
	deferred := e.deferred()
	if p := e.parent; p != nil && c.State() != tcp.SynReceived && !deferred {
		e.parent = nil
		delete(p.children, e)
		if c.FastOpened() {
			p.fast--
		}
		switch {
		case e.announced:
		case c.Synchronized() && p.listening:
			p.owner.Accepted(e)
		default:
			e.closed = true
		}
	}
	if l, ok := c.FastOpenLearned(); ok {
		e.s.learnFast(e.remote.Addr(), l)
	}
	if c.State() == tcp.Closed {
		e.fail()
		e.forget()
	}
	deadline := c.Deadline()
	if deferred {
		deadline = min(deadline, e.until)
	}
	e.s.schedule(e, deadline)
	e.changed()
	if e.closed && (c.State() == tcp.Closed || c.Drained()) {
		c.Detach()
		e.release()
	}
}

// deferred says that a connection stands, and that the listening socket that took it wants
// to hear of it only when there is something to read: tcp(7), TCP_DEFER_ACCEPT.
func (e *TCP) deferred() bool {
	p, c := e.parent, e.conn
	if p == nil || e.announced || !p.listening || p.place.opts.DeferAccept == 0 || !c.Synchronized() {
		return false
	}
	if e.until == 0 {
		e.until = e.s.now + p.place.opts.DeferAccept
	}
	return c.Stats().BytesReceived == 0 && !c.PeerClosed() && e.s.now < e.until
}

// fail translates why the machine closed.
func (e *TCP) fail() {
	if e.err != 0 {
		return
	}
	switch e.conn.Cause() {
	case tcp.Refused:
		e.err = linux.ECONNREFUSED
	case tcp.Reset:
		e.err = linux.ECONNRESET
		if e.last.PeerClosed {
			e.err = linux.EPIPE
		}
	case tcp.TimedOut:
		e.err = linux.ETIMEDOUT
	}
}

// forget takes a closed connection out of the tables.
func (e *TCP) forget() {
	if !e.inDemux {
		return
	}
	e.inDemux = false
	delete(e.s.conns, tuple{e.place.local, e.remote})
	if e.closed || e.place.bind != nil && e.place.bind.Auto {
		e.s.unbind(&e.place, wire.ProtoTCP)
	}
}

// drop ends a connection in TIME-WAIT before its time.
func (e *TCP) drop() {
	e.conn.Fail(tcp.None)
	e.settle()
}

// release gives the queues back once nothing on the loopback refers to them.
func (e *TCP) release() {
	if e.released {
		return
	}
	e.released = true
	if o := e.owner; o != nil {
		e.s.Later(o.Released)
	}
	e.sendq, e.recvq = nil, nil
}

func (e *TCP) changed() {
	now := e.StatusLocked()
	if now != e.last && e.owner != nil && !e.released {
		e.last = now
		e.owner.Changed()
	}
}

// StatusLocked is what the socket is now.
func (e *TCP) StatusLocked() Status {
	if e.conn == nil {
		return Status{Listening: e.listening}
	}
	st := e.conn.State()
	x := Status{Deferred: e.awaitsData, Connecting: st == tcp.SynSent || st == tcp.SynReceived, Connected: e.conn.Synchronized() || st == tcp.SynReceived && e.announced, PeerClosed: e.conn.PeerClosed()}
	switch st {
	case tcp.FinWait1, tcp.FinWait2, tcp.Closing, tcp.LastAck, tcp.TimeWait:
		x.SendClosed = true
		x.Drained = e.conn.Drained()
	case tcp.Closed:
		x.Closed = true
	}
	if st == tcp.TimeWait {
		x.Closed = true
	}
	return x
}

// ErrorLocked is why the connection ended, 0 if it did not or nobody is to
// blame.
func (e *TCP) ErrorLocked() linux.Errno { return e.err }

// LocalLocked and RemoteLocked are the socket's addresses, as BindLocked's.
func (e *TCP) LocalLocked() netip.AddrPort  { return e.place.local }
func (e *TCP) RemoteLocked() netip.AddrPort { return e.remote }

// InfoLocked are the machine's numbers.
func (e *TCP) InfoLocked() tcp.Info {
	switch {
	case e.conn != nil:
		return e.conn.Info()
	case e.listening:
		return tcp.Info{State: tcp.Listen}
	}
	return tcp.Info{State: tcp.Closed}
}

// unreachable takes an ICMP error: it ends an attempt to connect, and nothing
// else (RFC 5927).
func (e *TCP) unreachable(p icmp.Problem) {
	if e.conn.State() != tcp.SynSent {
		return
	}
	if err, hard := errnoOf(p, e.remote.Addr().Is6()); hard || p == icmp.HostUnreachable || p == icmp.NetUnreachable {
		e.err = err
		e.conn.Fail(tcp.Unreachable)
		e.settle()
	}
}

// OwnerLocked is who the socket belongs to.
func (e *TCP) OwnerLocked() TCPOwner { return e.owner }
