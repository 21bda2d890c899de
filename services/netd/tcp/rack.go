package tcp

// rack is the loss detection of RFC 8985: what was sent long enough before
// something that has arrived, and has not arrived itself, is lost.
type rack struct {
	// The piece sent last of those delivered, and how long the one delivered last
	// took: section 6.2, step 2.
	at    Time
	end   Seq
	rtt   Time
	valid bool

	fack      Seq // the highest end delivered
	reordered bool
	advanced  bool // valid has changed since the last detection

	// The reordering window and its adaptation: step 4.
	mult       int
	persist    int
	dsackRound Seq
	inRound    bool
}

const (
	dupThresh         = 3
	reoWindowPersists = 16
)

// sentAfter orders pieces by the time of sending: RACK_sent_after.
func sentAfter(t1 Time, s1 Seq, t2 Time, s2 Seq) bool {
	return t1 > t2 || t1 == t2 && s2.Less(s1)
}

// delivered takes a piece that the peer acknowledged, cumulatively or by SACK:
// steps 1 to 3.
func (c *Conn) rackDelivered(now Time, p *piece) {
	r := &c.rack
	rtt := now - p.at
	if p.again && (rtt < c.minRTT.get() || c.tsOK && c.echoed != 0 && int32(c.echoed-c.tsNow(p.at)) < 0) {
		return // the first one arrived, not the second
	}
	if !p.again && p.end.Less(r.fack) {
		r.reordered = true
	}
	r.fack = maxSeq(r.fack, p.end)
	r.rtt = rtt
	if !r.valid || sentAfter(p.at, p.end, r.at, r.end) {
		r.at, r.end, r.valid = p.at, p.end, true
		r.advanced = true
	}
}

// reoWindow is how long what is missing may be late: step 4.
func (c *Conn) reoWindow() Time {
	r := &c.rack
	if !r.reordered && (c.loss.phase == recovering || c.loss.phase == timedOut || c.board.sacked >= dupThresh*c.mss) {
		return 0
	}
	return min(Time(max(r.mult, 1))*c.minRTT.get()/4, c.rtt.srtt)
}

// rackDSACK widens the window once a round trip when the peer tells that what
// was sent again had arrived.
func (c *Conn) rackDSACK() {
	r := &c.rack
	if r.inRound && !r.dsackRound.Leq(c.una) {
		return
	}
	r.inRound, r.dsackRound = true, c.nxt
	r.mult = min(max(r.mult, 1)+1, 255)
	r.persist = reoWindowPersists
}

// rackRecovered counts the window down: it is forgotten after 16 recoveries.
func (c *Conn) rackRecovered() {
	r := &c.rack
	if r.persist--; r.persist <= 0 {
		r.mult, r.persist = 1, 0
	}
}

// rackDetect marks as lost what is too late, and arms the timer for what may
// become so: step 5. It gives the bytes newly lost.
func (c *Conn) rackDetect(now Time) (lost int) {
	r := &c.rack
	c.timer.reorder = Never
	if !r.valid {
		return 0
	}
	window := c.reoWindow()
	for p := c.board.oldest; p != nil; {
		next := p.newer
		if !sentAfter(r.at, r.end, p.at, p.end) {
			break
		}
		if due := p.at + r.rtt + window; due <= now {
			lost += p.len()
			c.board.markLost(p)
		} else {
			c.timer.reorder = max(due, 0)
			if c.timer.reorder <= now {
				c.timer.reorder = now + 1
			}
			break
		}
		p = next
	}
	r.advanced = false
	c.stats.LostBytes += uint64(lost)
	return lost
}

// minFilter is the least of what it was given lately: of the last one to two
// windows.
type minFilter struct {
	now, before Time
	since       Time
	any         bool
}

const minRTTWindow = 150 * Second

func (m *minFilter) add(now, v Time) {
	switch {
	case !m.any:
		*m = minFilter{v, v, now, true}
	case now-m.since > minRTTWindow:
		m.before, m.now, m.since = m.now, v, now
	default:
		m.now = min(m.now, v)
	}
}

// get is the least, 0 if there is none.
func (m *minFilter) get() Time { return min(m.now, m.before) }
