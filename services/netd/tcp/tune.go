package tcp

import "math"

// tuner grows the window with what the user reads in a round trip: dynamic right
// sizing, as Linux's tcp_rcv_space_adjust. limit 0 is no tuning.
type tuner struct {
	limit int  // bytes announced beyond what is unread, now
	rtt   Time // as the receiver sees it
	since Time // when the present round began
	edge  Seq  // where it ends, for the estimate without timestamps
	read  uint64
	began bool
}

// bound is what to announce of room, when the queue would hold size bytes at
// most.
func (t *tuner) bound(room, size int) int {
	if t.limit == 0 || t.limit >= size {
		return room
	}
	return max(room-(size-t.limit), 0)
}

// tuneReceive is called when data has come in order.
func (c *Conn) tuneReceive(now Time, s *Segment) {
	t := &c.tune
	if t.limit == 0 || t.limit >= c.cfg.ReceiveLimit || c.receive == nil {
		return
	}
	if c.tsOK && s.Options.Timestamps && s.Options.TSEcr != 0 {
		if d := int32(c.tsNow(now) - s.Options.TSEcr); d >= 0 && d < 60000 {
			r := Time(d)*Millisecond + Millisecond/2
			if t.rtt == 0 || r < t.rtt {
				t.rtt = r
			} else {
				t.rtt += (r - t.rtt) / 8
			}
		}
	}
	read := c.stats.BytesReceived - uint64(max(c.cfg.ReceiveLimit-c.receive.Room(), 0))
	if !t.began {
		t.began, t.since, t.read, t.edge = true, now, read, c.rcvAdv
		return
	}
	if t.rtt == 0 {
		if c.rcvNxt.Less(t.edge) {
			return
		}
		t.rtt = max(now-t.since, 1) // a window's worth has come: a round trip at most
	}
	if now-t.since < t.rtt {
		return
	}
	if n := int(read - t.read); 2*n+16*c.rcvMSS > t.limit {
		// The sender doubles in slow start: leave room for that.
		t.limit = max(min(2*n+16*c.rcvMSS, c.cfg.ReceiveLimit, c.near()), t.limit)
	}
	t.since, t.read, t.edge = now, read, c.rcvAdv
}

// SendSpace is how much the send buffer should hold so that it does not limit
// the rate: twice the window (tcp_sndbuf_expand).
func (c *Conn) SendSpace() int { return min(max(2*c.cwnd+c.mss, 16<<10), c.near()) }

// near is how much a buffer is to hold at most, in bytes, if nothing but its own queue makes
// the path long. More would only be more memory that the bytes pass through, which no
// cache holds.
func (c *Conn) near() int {
	if c.minRTT.get() < 5*Millisecond {
		return 1 << 20
	}
	return math.MaxInt
}
