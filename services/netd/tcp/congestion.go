package tcp

// initialWindow is that of RFC 6928, in segments.
const initialWindow = 10

// maxWindow bounds the congestion window in bytes.
const maxWindow = 1 << 30

// controller decides how much may be in flight. It moves Conn's cwnd and, where
// it paces, pacing; in bytes and bytes a second.
type controller interface {
	// name is what TCP_CONGESTION calls it.
	name() string
	// begin is called when the segment size is known.
	begin(c *Conn)
	// acked grows the window; outside of opened only if it drives.
	acked(c *Conn, now Time, a *ackSample)
	// threshold is what the window shrinks to after a loss.
	threshold(c *Conn) int
	// timedOut follows a timeout; undo one that was none.
	timedOut(c *Conn)
	undo(c *Conn)
	// idled follows a pause in sending.
	idled(c *Conn, pause Time)
	// drives says that it sets the window in recovery, too.
	drives() bool
	// restored ends a recovery for one that drives.
	restored(c *Conn)
}

// Controllers are the names that TCP_CONGESTION takes; the first is the default.
var Controllers = []string{"cubic", "reno", "bbr"}

func newController(name string) controller {
	switch name {
	case "reno":
		return &reno{}
	case "bbr":
		return &bbr{}
	}
	return &cubic{}
}

// slowStart grows the window by what was acknowledged: RFC 5681, section 3.1,
// with RFC 3465's bound for segments that stand for several. It gives what is
// left for avoidance.
func (c *Conn) slowStart(n int) int {
	grow := min(n, max(c.ssthresh-c.cwnd, 0))
	c.cwnd = min(c.cwnd+grow, maxWindow)
	return n - grow
}

// restart shrinks the window after a pause of a timeout or more: RFC 5681, 4.1,
// a half each timeout as RFC 2861 has it.
func (c *Conn) restart(pause Time) {
	least := c.cfg.firstWindow() * c.mss
	if c.cfg.KeepWindow {
		return
	}
	for rto := c.rto(); pause > rto && c.cwnd > least; pause -= rto {
		c.ssthresh = max(c.ssthresh, c.cwnd*3/4)
		c.cwnd = max(c.cwnd/2, least)
	}
}

// usage is how much of the congestion window the last flight took: one that is not used
// does not grow (RFC 7661, section 4.3).
type usage struct {
	full bool // there was no room for a segment more
	most int  // bytes that were out at once
	end  Seq  // of the flight
}

// noteUsage is called after sending, and when the window has kept from it.
func (c *Conn) noteUsage(full bool) {
	u := &c.usage
	if out := int(c.nxt - c.una); full || !c.una.Less(u.end) || !u.full && out > u.most {
		*u = usage{full: full, most: out, end: c.nxt}
	}
}

// usesWindow says whether an acknowledgement makes the window grow. In slow start it does
// until there is twice what was ever out.
func (c *Conn) usesWindow() bool {
	return c.usage.full || c.cwnd < c.ssthresh && c.cwnd < 2*c.usage.most
}

// reno is the congestion control of RFC 5681 with the byte counting of RFC 3465.
type reno struct {
	counted int // acknowledged towards the next step of avoidance
}

func (r *reno) name() string { return "reno" }
func (r *reno) begin(*Conn)  {}

func (r *reno) acked(c *Conn, _ Time, a *ackSample) {
	n := a.acked
	if a.limited || n <= 0 {
		return
	}
	if c.cwnd < c.ssthresh {
		if n = c.slowStart(n); n == 0 {
			return
		}
	}
	r.counted += n
	for r.counted >= c.cwnd {
		r.counted -= c.cwnd
		c.cwnd = min(c.cwnd+c.mss, maxWindow)
	}
}

func (r *reno) threshold(c *Conn) int {
	r.counted = 0
	return min(c.cwnd, max(c.inFlight(), c.cwnd/2)) / 2
}
func (r *reno) timedOut(*Conn)            { r.counted = 0 }
func (r *reno) undo(*Conn)                {}
func (r *reno) idled(c *Conn, pause Time) { c.restart(pause) }
func (r *reno) drives() bool              { return false }
func (r *reno) restored(*Conn)            {}
