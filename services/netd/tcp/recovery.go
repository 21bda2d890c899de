package tcp

import "bulkhead/services/netd/mib"

// phase is how the sender stands to losses. Opened grows the window; reduced
// follows an explicit congestion notification and recovering a loss, both until
// what was sent before is acknowledged; timedOut follows a timeout.
type phase uint8

const (
	opened phase = iota
	reduced
	recovering
	timedOut
)

// recovery is what the sender does about losses. In reduced and recovering the
// window follows the proportional rate reduction of RFC 6937.
type recovery struct {
	phase phase
	until Seq // what was sent when the phase began
	dups  int // duplicate acknowledgements in a row, without SACK

	// RFC 6937, section 3.
	delivered, out, flight int

	// To take everything back when nothing was lost: by D-SACK of all that was
	// sent again (RFC 3708), or by the timestamp of the first acknowledgement
	// (RFC 3522).
	undo       bool
	undoWindow int
	undoThresh int
	undoBytes  int // sent again and not D-SACKed
	undoSent   bool
	undoStamp  uint32
	force      bool // one segment may go whatever the window says
}

// inFlight estimates the bytes that are on the wire: RFC 6675's pipe.
func (c *Conn) inFlight() int {
	b := &c.board
	n := int(c.nxt-c.una) - b.sacked - b.lost + b.inAir
	if !c.sackOK {
		n -= min(c.loss.dups*c.mss, n)
	}
	return max(n, 0)
}

// ackSample is what one acknowledgement told.
type ackSample struct {
	delivered int  // bytes that the peer has now and had not before
	acked     int  // of them, cumulatively
	lost      int  // bytes newly found lost
	rtt       Time // of something never sent again; 0: none
	least     Time // the last one of those
	limited   bool // the window was not used up
	dsack     bool
	ece       bool

	// The rate sample's: when the piece sent last was sent, what was delivered then.
	priorDelivered uint64
	priorAt        Time
	interval       Time
	appLimited     bool
}

// congested enters reduced or recovering.
func (c *Conn) congested(now Time, p phase) {
	l := &c.loss
	if l.phase == opened || p == recovering && l.phase == reduced {
		first := l.phase == opened
		switch {
		case p != recovering:
		case c.sackOK:
			c.count(mib.SackRecovery, 1)
		default:
			c.count(mib.RenoRecovery, 1)
		}
		l.phase = p
		l.until = c.nxt
		l.delivered, l.out, l.flight = 0, 0, max(int(c.nxt-c.una)-c.board.sacked, c.mss)
		l.undo = p == recovering
		l.undoStamp = c.tsNow(now)
		l.undoBytes, l.undoSent = 0, false
		if first {
			l.undoWindow, l.undoThresh = c.cwnd, c.ssthresh
			c.ssthresh = max(c.cc.threshold(c), 2*c.mss)
			c.cwrDue = c.ecnOK
		}
	}
	c.stats.Congestions++
}

// reducing applies PRR to the window: RFC 6937, section 3, with the slow start
// reduction bound where the acknowledgement made progress without a new loss.
func (c *Conn) reducing(a *ackSample, progress bool) {
	l := &c.loss
	l.delivered += a.delivered
	pipe := c.inFlight()
	var n int
	if pipe > c.ssthresh {
		n = (l.delivered*c.ssthresh+l.flight-1)/l.flight - l.out
	} else {
		n = max(l.delivered-l.out, a.delivered)
		if progress && a.lost == 0 {
			n += c.mss
		}
		n = min(n, c.ssthresh-pipe)
	}
	if l.out == 0 {
		n = max(n, c.mss) // the fast retransmission itself
	}
	c.cwnd = max(pipe+max(n, 0), c.mss)
}

// adjust moves the state and the window on after an acknowledgement that told a.
func (c *Conn) adjust(now Time, a *ackSample) {
	l := &c.loss
	progress := a.acked > 0
	if l.phase != opened && c.undone(now, a) {
		progress = true
	}
	if l.phase != opened && l.until.Leq(c.una) && !(l.phase == timedOut && c.una == c.nxt && c.board.lost > 0) {
		c.recovered(now)
	}
	if c.tailRepaired {
		c.tailRepaired = false
		c.congested(now, reduced)
	}
	if a.ece && c.ecnOK && l.phase == opened {
		c.congested(now, reduced)
	}
	if c.board.lost > 0 && l.phase != timedOut && l.phase != recovering {
		c.congested(now, recovering)
		l.force = true
	}
	switch l.phase {
	case reduced, recovering:
		if !c.cc.drives() {
			c.reducing(a, progress)
		}
	default:
		if !c.cc.drives() {
			c.cc.acked(c, now, a)
		}
	}
	if c.cc.drives() {
		c.cc.acked(c, now, a)
	}
}

// recovered ends a phase.
func (c *Conn) recovered(now Time) {
	l := &c.loss
	if (l.phase == recovering || l.phase == reduced) && !c.cc.drives() {
		c.cwnd = c.ssthresh
	}
	if l.phase == recovering {
		c.rackRecovered()
	}
	l.phase, l.undo, l.dups = opened, false, 0
	if c.cc.drives() {
		c.cc.restored(c)
	}
}

// undone takes a reduction back when it turns out that nothing was lost.
func (c *Conn) undone(now Time, a *ackSample) bool {
	l := &c.loss
	if !l.undo || !l.undoSent {
		return false
	}
	stamped := c.tsOK && a.acked > 0 && c.echoed != 0 && int32(c.echoed-l.undoStamp) < 0
	doubled := a.dsack && l.undoBytes <= 0
	if !stamped && !doubled {
		return false
	}
	for _, p := range c.board.pieces() {
		c.board.markFound(p)
	}
	if !c.cc.drives() {
		c.cwnd = max(c.cwnd, l.undoWindow)
	}
	c.ssthresh = max(c.ssthresh, l.undoThresh)
	c.cc.undo(c)
	c.stats.Undos++
	c.count(mib.FullUndo, 1)
	c.loss = recovery{}
	c.timer.retries = 0
	return true
}

// duplicate counts a duplicate acknowledgement of a peer without SACK; the third
// means a loss (RFC 5681, section 3.2).
func (c *Conn) duplicate() {
	l := &c.loss
	l.dups++
	if l.phase == opened && l.dups >= dupThresh || l.phase == reduced && l.dups >= dupThresh {
		c.loseHead()
	}
}

// loseHead marks the first segment lost: what a partial acknowledgement means
// without SACK (RFC 6582, section 3.2).
func (c *Conn) loseHead() {
	ps := c.board.pieces()
	if len(ps) == 0 {
		return
	}
	if ps[0].len() > c.mss {
		c.board.split(0, ps[0].start+Seq(c.mss))
	}
	c.board.markLost(c.board.pieces()[0])
}

// timedOutLoss takes everything in flight for lost: RFC 6298, section 5.
func (c *Conn) timedOutLoss(now Time) {
	l := &c.loss
	first := l.phase != timedOut || c.timer.retries <= 1
	if l.phase == opened || l.phase == reduced {
		l.undoWindow, l.undoThresh = c.cwnd, c.ssthresh
		l.undo, l.undoStamp, l.undoBytes, l.undoSent = true, c.tsNow(now), 0, false
	}
	if first {
		c.ssthresh = max(c.cc.threshold(c), 2*c.mss)
	}
	if ps := c.board.pieces(); len(ps) > 0 && ps[0].sacked {
		c.forgetSACK() // the peer has reneged: RFC 2018, section 8
	}
	for _, p := range c.board.pieces() {
		c.board.markLost(p)
	}
	c.stats.Timeouts++
	c.cwnd = c.mss
	c.cc.timedOut(c)
	l.phase, l.until, l.dups, l.force = timedOut, c.nxt, 0, true
	c.tail = tailProbe{}
	c.timer.reorder, c.timer.probeTail = Never, Never
}

// forgetSACK forgets what the peer said it had.
func (c *Conn) forgetSACK() {
	c.count(mib.SACKReneging, 1)
	for _, p := range c.board.pieces() {
		if p.sacked {
			c.board.uncount(p)
			p.sacked = false
			c.board.count(p)
			c.board.relist(p)
		}
	}
}
