package tcp

import (
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// Conn is one connection. The names of the sequence variables are those of RFC
// 9293, section 3.3.1:
//
//	una            nxt              una+wnd
//	 |   in flight  |   may be sent    |
//	 +--------------+------------------+----
//	 0 of the SendQueue (once our SYN is acknowledged)
//
//	rcvNxt           rcvAdv
//	 |   advertised    |
//	 +-----[ooo]-------+----
//	 end of the ReceiveQueue
type Conn struct {
	cfg   Config
	state State
	cause Cause

	// Sending.
	send     SendQueue
	iss      Seq
	una, nxt Seq
	wnd      uint32 // the peer's window in bytes
	maxWnd   uint32 // the largest it ever offered
	wl1, wl2 Seq    // sequence and acknowledgement of the last window update
	wndScale uint8
	mss      int  // most payload in a segment, options counted
	closing  bool // the user sends no more: FIN follows at finSeq
	finSeq   Seq
	finSent  bool
	synDue   bool // our SYN is to be sent, or sent again
	resetDue bool
	// The reset is <SEQ=resetAt><CTL=RST> alone, as one of no connection: RFC 9293, section 3.5.2.
	resetBare bool
	shutOut   bool // nothing is out, and the peer's window keeps what there is: no pause of ours
	resetAt   Seq
	lastSent  Time // when data was last sent
	usage     usage
	synAt     Time // when the first SYN was sent

	// Receiving.
	receive   ReceiveQueue
	irs       Seq
	rcvNxt    Seq
	rcvAdv    Seq
	rcvScale  uint8
	shut      bool    // the window announced last was 0
	ooo       []block // ascending, apart from each other
	recent    recency // the blocks' order for SACK
	finAt     Seq     // the peer's FIN, valid if finKnown
	finKnown  bool
	orphan    bool // nobody will read: the user has closed
	lastHeard Time
	dsack     block // what came twice, to be told; empty: nothing
	tune      tuner
	urgent    urgent

	// Acknowledging.
	ackDue      bool
	ackUnits    int // bytes since our last acknowledgement
	quickAcks   int // so many are not delayed
	lastAck     Seq // the last acknowledgement that we sent
	rcvMSS      int // the largest segment seen
	challengeAt Time
	challenges  int

	// Options in use.
	sackOK   bool
	tsOK     bool
	offerTS  bool
	ecnOK    bool
	tsRecent uint32
	tsAge    Time
	echoed   uint32 // TSecr of the acknowledgement under way
	ecnEcho  bool   // CE was seen and CWR not since
	cwrDue   bool   // the next new data says CWR
	fast     fastOpen

	// Congestion and loss.
	cc             controller
	cwnd, ssthresh int
	pacing         float64 // bytes a second; 0: no pacing
	paceAt         Time    // when the next segment may go
	delivered      uint64  // bytes
	deliveredAt    Time
	firstAt        Time // when the piece was sent that was delivered last
	lastRate       float64
	sample         ackSample // of the acknowledgement under way
	appLimited     uint64    // samples are, until so much is delivered
	board          scoreboard
	loss           recovery
	rack           rack
	tail           tailProbe
	tailRepaired   bool
	minRTT         minFilter
	rtt            estimator
	timer          timers

	stats Stats
	out   Segment
}

// Stats count what a connection did.
type Stats struct {
	BytesAcked, BytesReceived uint64
	SegmentsIn, SegmentsOut   uint32
	DataIn, DataOut           uint32 // segments with data
	Retransmits               uint32 // segments
	BytesSent, BytesAgain     uint64
	LostBytes                 uint64
	DSACKs, Timeouts          uint32
	TailProbes, Undos         uint32
	Congestions               uint32
	Delivered, DeliveredCE    uint32 // segments
	Reordered                 uint32
	BusySince                 Time
}

// Connect opens a connection actively; Poll gives its SYN.
func Connect(cfg Config, now Time, send SendQueue, receive ReceiveQueue) *Conn {
	c := newConn(cfg, now)
	c.send, c.receive = send, receive
	c.state = SynSent
	c.synDue = true
	c.sackOK, c.tsOK, c.offerTS = !cfg.NoSACK, !cfg.NoTimestamps, !cfg.NoTimestamps
	return c
}

// Accept opens a connection that syn asks for; Poll gives the answer. Its queues
// are given by Attach before the segment that completes the handshake goes to
// Receive.
func Accept(cfg Config, now Time, syn *Segment) *Conn {
	c := newConn(cfg, now)
	c.state = SynReceived
	c.learnSYN(now, syn)
	c.synDue = true
	return c
}

func newConn(cfg Config, now Time) *Conn {
	cfg = cfg.withDefaults()
	c := &Conn{cfg: cfg, iss: cfg.ISS, una: cfg.ISS, nxt: cfg.ISS, mss: defaultMSS, quickAcks: 8}
	c.rcvScale = cfg.scale()
	c.timer = noTimers
	c.usage.end = c.una
	c.lastHeard = now
	c.cc = newController(cfg.Congestion)
	c.cwnd, c.ssthresh = c.cfg.firstWindow()*c.mss, maxWindow
	c.tune.limit = cfg.InitialWindow
	return c
}

// scale is the window scale that we offer.
func (cfg *Config) scale() uint8 {
	if cfg.NoScaling {
		return 0
	}
	if cfg.FixedScale {
		return min(cfg.LeastScale, 14)
	}
	return min(max(scaleFor(cfg.ReceiveBuffer), cfg.LeastScale), 14)
}

// opening is the window at first, in bytes: whole segments of what there is room for, as
// Linux's tcp_select_initial_window has it. A SYN can announce 65535 of them.
func (cfg *Config) opening(timestamps bool) int {
	room := cfg.ReceiveLimit
	if cfg.InitialWindow > 0 {
		room = min(room, cfg.InitialWindow)
	}
	mss := int(cfg.announced())
	if timestamps {
		mss -= 12
	}
	if room > mss {
		room -= room % mss
	}
	return room
}

// scaleFor is the least window scale with which n bytes can be announced.
func scaleFor(n int) uint8 {
	var s uint8
	for s < 14 && 65535<<s < n {
		s++
	}
	return s
}

// Attach gives an accepted connection its queues, which are empty: what receive has room for
// may be more than the listening socket's would have had.
func (c *Conn) Attach(send SendQueue, receive ReceiveQueue) {
	c.send, c.receive = send, receive
	if room := receive.Room(); room > c.cfg.ReceiveLimit {
		c.cfg.ReceiveBuffer, c.cfg.ReceiveLimit = max(c.cfg.ReceiveBuffer, room), room
	}
}

// Detach takes the queues away from a connection that is Drained and Closed by
// its user: what is left of it is the protocol's.
func (c *Conn) Detach() { c.send, c.receive = nil, nil }

// Attached says whether it has queues.
func (c *Conn) Attached() bool { return c.send != nil }

// Configure changes how c behaves from now on.
func (c *Conn) Configure(cfg Config, now Time) {
	old := c.cfg
	cfg.ISS, cfg.TSOffset, cfg.MSS, cfg.ReceiveBuffer = old.ISS, old.TSOffset, old.MSS, old.ReceiveBuffer
	cfg.SuperSegment, cfg.ECN, cfg.FastOpen, cfg.InitialWindow, cfg.Counters = old.SuperSegment, old.ECN, old.FastOpen, old.InitialWindow, old.Counters
	cfg.FastOpenMSS, cfg.LeastScale, cfg.Gather, cfg.KeepWindow = old.FastOpenMSS, old.LeastScale, old.Gather, old.KeepWindow
	cfg.FixedScale = old.FixedScale
	cfg.NoScaling, cfg.NoTimestamps, cfg.NoSACK, cfg.NoDSACK = old.NoScaling, old.NoTimestamps, old.NoSACK, old.NoDSACK
	if cfg.Retries == 0 {
		cfg.Retries = old.Retries
	}
	if cfg.Bounds == nil {
		cfg.Bounds = old.Bounds
	}
	c.cfg = cfg.withDefaults()
	if c.cfg.ReceiveLimit != old.ReceiveLimit {
		c.tune.limit = 0 // the user has set it: SO_RCVBUF
	}
	if cfg.Congestion != old.Congestion {
		c.cc, c.pacing = newController(cfg.Congestion), 0
		c.cc.begin(c)
	}
	if c.cfg.QuickAck && c.timer.ack != Never {
		c.timer.ack, c.ackDue = Never, true
	}
	if c.cfg.NoDelay && !old.NoDelay && c.send != nil && c.Unsent() > 0 {
		c.timer.uncork = true // what a cork holds goes: TCP_NODELAY of tcp(7)
	}
	c.armKeepAlive(now)
	c.Opened()
}

// Config is how c behaves now.
func (c *Conn) Config() Config { return c.cfg }

// State is the state that c is in.
func (c *Conn) State() State { return c.state }

// Cause is why c is Closed, if it was not by agreement.
func (c *Conn) Cause() Cause { return c.cause }

// Stats are its counters.
func (c *Conn) Stats() Stats { return c.stats }

// count adds n to a counter of the host's.
func (c *Conn) count(k mib.Counter, n int) {
	if all := c.cfg.Counters; all != nil {
		all.Add(k, n)
	}
}

// Synchronized says whether the handshake is over and the connection not.
func (c *Conn) Synchronized() bool {
	return c.state != SynSent && c.state != SynReceived && c.state != Closed
}

// PeerClosed says whether the peer's FIN has arrived, with all before it.
func (c *Conn) PeerClosed() bool {
	switch c.state {
	case CloseWait, LastAck, Closing, TimeWait:
		return true
	}
	return false
}

// Drained says whether all that was sent, and FIN if it was asked for, is
// acknowledged.
func (c *Conn) Drained() bool {
	if c.send == nil || c.state == Closed {
		return true
	}
	if c.closing {
		return c.finSent && c.una == c.finSeq+1
	}
	return c.una == c.nxt && c.send.Len() == 0
}

// Unsent is how many bytes wait to be sent for the first time.
func (c *Conn) Unsent() int { return int(c.sendEnd() - c.nxt) }

// Wanting says that more from the user may let something be sent: what is unsent
// does not fill a segment, and waits for company (Nagle, a cork).
func (c *Conn) Wanting() bool { return c.Unsent() < c.mss }

// CloseSend says that nothing follows what is in the send queue.
func (c *Conn) CloseSend(now Time) {
	if c.closing {
		return
	}
	switch c.state {
	case SynSent:
		c.finish(None)
		return
	case SynReceived:
		// FIN-WAIT-1 follows when the handshake is over.
		c.finSeq = c.sendEnd()
		c.closing = true
	case Established:
		c.finSeq = c.sendEnd()
		c.closing = true
		c.state = FinWait1
	case CloseWait:
		c.finSeq = c.sendEnd()
		c.closing = true
		c.state = LastAck
	}
}

// Close says that nobody will read any more either. What the peer still sends is
// answered with a reset.
func (c *Conn) Close(now Time) {
	c.orphan = true
	c.CloseSend(now)
	if c.state == FinWait2 {
		c.timer.final = now + c.cfg.Linger2
	}
}

// Abort resets the connection.
func (c *Conn) Abort() {
	switch c.state {
	case Closed, TimeWait, SynSent:
	default:
		c.resetDue = true
	}
	c.finish(Aborted)
}

// Fail ends the connection without a word: its route is gone, or an ICMP error
// said so while it was being made.
func (c *Conn) Fail(cause Cause) { c.finish(cause) }

// finish enters Closed.
func (c *Conn) finish(cause Cause) {
	if c.state == Closed {
		return
	}
	c.state = Closed
	c.cause = cause
	c.timer = noTimers
	c.ackDue, c.synDue = false, false
}

// Opened is called when the user has read: it tells the peer of the room if it
// has become worth it.
func (c *Conn) Opened() {
	if c.receive == nil || !c.canReceive() {
		return
	}
	if int(c.windowEdge()-c.rcvAdv) > 0 {
		c.ackDue = true
	}
}

// WindowLow says whether the window offered has shrunk so that the owner should
// call Opened when the user reads.
func (c *Conn) WindowLow() bool {
	return c.canReceive() && int(c.rcvAdv-c.rcvNxt) < c.tune.bound(c.cfg.ReceiveLimit, c.cfg.ReceiveLimit)/2
}

func (c *Conn) canReceive() bool {
	return c.state == Established || c.state == FinWait1 || c.state == FinWait2 || c.state == SynReceived && c.fast.accept
}

// windowEdge is the right edge of the window to announce: it never moves back,
// and forward only by a worthwhile step (RFC 9293, section 3.8.6.2.2).
func (c *Conn) windowEdge() Seq {
	room := c.cfg.ReceiveLimit
	if c.receive != nil {
		room = c.receive.Room()
	}
	room = c.tune.bound(room, c.cfg.ReceiveLimit)
	edge := c.rcvNxt + Seq(room)
	step := min(max(c.rcvMSS, c.cfg.MSS), c.tune.bound(c.cfg.ReceiveLimit, c.cfg.ReceiveLimit)/4)
	if int32(edge-c.rcvAdv) < int32(step) {
		return c.rcvAdv
	}
	return edge
}

// window is the field to announce; it moves rcvAdv.
func (c *Conn) window(syn bool) uint16 {
	edge := c.windowEdge()
	scale := c.rcvScale
	if syn {
		scale = 0
	}
	n := uint32(edge-c.rcvNxt) >> scale
	if int32(edge-c.rcvNxt) < 0 {
		n = 0
	}
	n = min(n, 65535)
	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt+Seq(n<<scale))
	if shut := n == 0; shut != c.shut {
		if c.shut = shut; shut {
			c.count(mib.ToZeroWindowAdv, 1)
		} else {
			c.count(mib.FromZeroWindowAdv, 1)
		}
	}
	return uint16(n)
}

// Window is the number of bytes that the peer may send.
func (c *Conn) Window() int { return int(c.rcvAdv - c.rcvNxt) }

// base is the sequence number of the send queue's first byte.
func (c *Conn) base() Seq {
	if c.una == c.iss {
		return c.iss + 1
	}
	return c.una
}

// sendEnd is the sequence number after the last byte to be sent.
func (c *Conn) sendEnd() Seq {
	if c.closing {
		return c.finSeq
	}
	if c.send == nil {
		return c.nxt
	}
	return c.base() + Seq(c.send.Len())
}

// learnSYN takes what the peer's SYN says.
func (c *Conn) learnSYN(now Time, s *Segment) {
	c.irs = s.Seq
	c.rcvNxt = s.Seq + 1
	c.rcvAdv = c.rcvNxt
	c.lastAck = c.rcvNxt
	o := &s.Options
	mss := int(o.MSS)
	if mss == 0 {
		mss = defaultMSS
	}
	c.learnECN(s)
	c.tsOK = o.Timestamps && (c.state != SynSent || c.offerTS) && !c.cfg.NoTimestamps
	c.sackOK = o.SACKPermitted && !c.cfg.NoSACK
	if o.WindowScale >= 0 && !c.cfg.NoScaling {
		c.wndScale = uint8(o.WindowScale)
	} else {
		c.wndScale, c.rcvScale = 0, 0
	}
	c.mss = max(min(mss, c.cfg.MSS), MinMSS)
	if c.tsOK {
		c.tsRecent, c.tsAge = o.TSVal, now
		c.mss -= 12
	}
	if c.tune.limit > 0 {
		c.tune.limit = c.cfg.opening(c.tsOK && c.state != SynSent)
	}
	c.wnd = uint32(s.Window) // never scaled in a SYN
	c.maxWnd = max(c.maxWnd, c.wnd)
	c.wl1, c.wl2 = s.Seq, s.Ack
	c.cwnd, c.ssthresh = c.cfg.firstWindow()*c.mss, maxWindow
	c.cc.begin(c)
}

// LimitMSS lowers the segment size: the path carries less (ICMP).
// What is in flight and does not fit any more is sent again at once.
func (c *Conn) LimitMSS(now Time, mss int) {
	if c.tsOK {
		mss -= 12
	}
	old := c.mss
	if c.mss = max(min(c.mss, mss), MinMSS); c.mss == old || c.state == Closed || c.cc == nil {
		return
	}
	c.cwnd = max(c.cwnd/old*c.mss, c.mss)
	for _, p := range c.board.pieces() {
		if p.len() > c.mss {
			c.board.markLost(p)
		}
	}
	if c.board.lost > c.board.inAir && c.loss.phase == opened {
		// It is not congestion, but what is lost is sent as in recovery.
		c.loss.phase, c.loss.until = timedOut, c.nxt
	}
}

// InFlight says whether seq was sent and is not acknowledged.
func (c *Conn) InFlight(seq Seq) bool { return c.una.Leq(seq) && seq.Less(c.nxt) }

// ReusableBy says whether a connection in TIME-WAIT gives way to a new one that
// syn asks for: RFC 6191, RFC 9293 section 3.6.1.
func (c *Conn) ReusableBy(syn *Segment) bool {
	if c.state != TimeWait || !syn.has(wire.SYN) || syn.has(wire.ACK|wire.RST) {
		return false
	}
	if c.tsOK && syn.Options.Timestamps {
		return int32(syn.Options.TSVal-c.tsRecent) > 0 || c.rcvNxt.Less(syn.Seq)
	}
	return c.rcvNxt.Less(syn.Seq)
}

// Sent is the sequence number after the last one sent.
func (c *Conn) Sent() Seq { return c.nxt }
