package tcp

import "bulkhead/services/netd/mib"

// timers are the deadlines of a connection, Never where one is not set.
type timers struct {
	retransmit Time
	persist    Time
	ack        Time
	keep       Time
	cork       Time
	reorder    Time // what is missing is lost then
	probeTail  Time // a tail loss probe is due
	pace       Time
	// final ends the connection: TIME-WAIT, or an orphan's FIN-WAIT-2.
	final Time

	retries int  // timeouts in a row
	probes  int  // keepalive probes in a row
	probing int  // zero-window probes in a row
	since   Time // when the first of them was due
	probe   bool // a probe is to be sent
	urged   bool // and before it what is urgent was told
	push    bool // the persist timer lets a small segment go
	uncork  bool // the cork has held long enough
}

var noTimers = timers{retransmit: Never, persist: Never, ack: Never, keep: Never, cork: Never, final: Never,
	reorder: Never, probeTail: Never, pace: Never}

// corkFor is how long a cork or MSG_MORE may hold a part of a segment: tcp(7).
const corkFor = 200 * Millisecond

// Deadline is when Poll is to be called at the latest.
func (c *Conn) Deadline() Time {
	t := &c.timer
	return min(t.retransmit, t.persist, t.ack, t.keep, t.cork, t.final, t.reorder, t.probeTail, t.pace)
}

// tick carries out what is due: at once what only makes us speak, and what the peer's
// silence makes due, once that is known to have lasted.
func (c *Conn) tick(now, heard Time) {
	t := &c.timer
	if t.final <= now {
		c.finish(c.cause)
		return
	}
	if t.ack <= now {
		t.ack = Never
		c.ackDue = true
		c.count(mib.DelayedACKs, 1)
	}
	if t.cork <= now {
		t.cork = Never
		t.uncork = true
	}
	if t.pace <= now {
		t.pace = Never
	}
	heard = min(heard, now)
	if t.reorder <= heard {
		t.reorder = Never
		c.reorderDue(now)
	}
	if t.probeTail <= heard {
		t.probeTail = Never
		c.probeTailDue(now)
	}
	if t.retransmit <= heard {
		t.retransmit = Never
		c.retransmitDue(now)
	}
	if t.persist <= heard {
		t.persist = Never
		c.persistDue(now)
	}
	if t.keep <= heard {
		t.keep = Never
		c.keepDue(now)
	}
}

// armRetransmit restarts the retransmission timer, with backoff.
func (c *Conn) armRetransmit(now Time) {
	rto := c.rto()
	for i := 0; i < c.timer.retries && rto < c.mostRTO(); i++ {
		rto *= 2
	}
	c.timer.retransmit = now + min(rto, c.mostRTO())
}

// expired says whether trying has gone on for too long.
func (c *Conn) expired(now Time, tries, limit int) bool {
	if u := c.cfg.UserTimeout; u > 0 && c.state != SynSent && c.state != SynReceived {
		return now-c.timer.since >= u
	}
	return tries > limit
}

func (c *Conn) retransmitDue(now Time) {
	t := &c.timer
	if t.retries == 0 {
		t.since = now - c.rto()
	}
	t.retries++
	c.count(mib.Timeouts, 1)
	limit := c.cfg.Retries
	switch {
	case c.state == SynSent:
		limit = c.cfg.SynRetries
	case c.state == SynReceived:
		limit = c.cfg.SynAckRetries
	case c.orphan:
		limit = min(limit, 8)
	}
	if c.expired(now, t.retries, limit) {
		c.count(mib.AbortOnTimeout, 1)
		c.finish(TimedOut)
		return
	}
	if c.state == SynSent || c.state == SynReceived {
		c.synDue = true
		c.armRetransmit(now)
		return
	}
	if t.retries >= blackHoleAfter && c.mss > blackHoleMSS {
		// Small ones may get through where nobody tells what is too big: RFC
		// 4821, section 7.7, RFC 2923.
		c.mss = max(c.mss/2, blackHoleMSS)
	}
	c.timedOutLoss(now)
	c.armRetransmit(now)
}

// blackHoleAfter timeouts in a row the segments are halved, down to
// blackHoleMSS.
const (
	blackHoleAfter = 3
	blackHoleMSS   = 512
)

// reorderDue looks for what has become too late.
func (c *Conn) reorderDue(now Time) {
	if c.una == c.nxt {
		return
	}
	a := &c.sample
	*a = ackSample{}
	a.lost = c.rackDetect(now)
	c.adjust(now, a)
	c.armRetransmit(now)
}

// armPersist arms the timer that breaks a deadlock of a closed window whose
// opening was lost: RFC 9293, section 3.8.6.1.
func (c *Conn) armPersist(now Time) {
	t := &c.timer
	if t.persist != Never {
		return
	}
	d := c.rto()
	for i := 0; i < t.probing && d < c.mostRTO(); i++ {
		d *= 2
	}
	t.persist = now + min(d, c.mostRTO())
}

func (c *Conn) persistDue(now Time) {
	t := &c.timer
	if t.probing == 0 {
		t.since = now
	}
	t.probing++
	limit := 1 << 30 // as long as the peer answers, forever
	if c.orphan {
		limit = 8
	}
	if c.expired(now, t.probing, limit) {
		c.count(mib.AbortOnTimeout, 1)
		c.finish(TimedOut)
		return
	}
	c.count(mib.WinProbe, 1)
	if c.wnd == 0 {
		t.probe = true
	} else {
		t.push = true
	}
}

// armKeepAlive sets the keepalive timer by how long the peer has been silent.
func (c *Conn) armKeepAlive(now Time) {
	t := &c.timer
	t.keep = Never
	if !c.cfg.KeepAlive || !c.Synchronized() || c.state == TimeWait {
		return
	}
	if t.probes == 0 {
		t.keep = max(c.lastHeard+c.cfg.KeepIdle, now)
	} else {
		t.keep = now + c.cfg.KeepInterval
	}
}

func (c *Conn) keepDue(now Time) {
	t := &c.timer
	if c.una != c.nxt {
		// What is in flight probes the peer already.
		c.timer.keep = now + c.cfg.KeepInterval
		return
	}
	if t.probes == 0 && now < c.lastHeard+c.cfg.KeepIdle {
		c.armKeepAlive(now)
		return
	}
	limit := t.probes >= c.cfg.KeepCount
	if u := c.cfg.UserTimeout; u > 0 {
		limit = t.probes > 0 && now-c.lastHeard >= u
	}
	if limit {
		c.resetDue = true
		c.count(mib.AbortOnTimeout, 1)
		c.finish(TimedOut)
		return
	}
	t.probes++
	t.probe = true
	c.count(mib.KeepAlive, 1)
	c.armKeepAlive(now)
}

// TimerKind is which timer runs, as sock_diag(7) numbers them.
type TimerKind uint8

// The kinds: struct inet_diag_msg's idiag_timer.
const (
	NoTimer TimerKind = iota
	RetransmitTimer
	KeepAliveTimer
	TimeWaitTimer
	ProbeTimer
)

// shown is the timer that is told of: the one that Linux, which has one for all, would
// have set.
func (t *timers) shown() (kind TimerKind, due Time, count int) {
	switch {
	case t.final != Never:
		return TimeWaitTimer, t.final, 0
	case t.retransmit != Never:
		return RetransmitTimer, min(t.retransmit, t.probeTail), t.retries
	case t.persist != Never:
		return ProbeTimer, t.persist, t.probing
	case t.keep != Never:
		return KeepAliveTimer, t.keep, t.probes
	}
	return NoTimer, 0, 0
}
