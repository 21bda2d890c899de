package tcp

// bbr paces at the rate that the path was seen to deliver and keeps about twice
// the path's content in flight: a model in the manner of BBR's first version
// (draft-cardwell-iccrg-bbr-congestion-control-00). It does not shrink for
// losses.
type bbr struct {
	mode bbrMode

	rates     [10]float64 // the best of each of the last rounds, bytes a second
	round     int
	nextRound uint64 // delivered when the round ends

	least   Time // round-trip time
	leastAt Time

	full      float64 // the rate that did not grow
	fullCount int
	filled    bool

	cycle   int
	cycleAt Time

	probeEnd  Time // of probing for the least round-trip time; 0: not settled
	priorCwnd int
}

type bbrMode uint8

const (
	bbrStartup bbrMode = iota
	bbrDrain
	bbrProbe
	bbrProbeRTT
)

const (
	bbrHighGain   = 2.885
	bbrRTTWindow  = 10 * Second
	bbrProbeLasts = 200 * Millisecond
	bbrProbeCwnd  = 4 // segments
)

// bbrCycle are the gains of the cycle that looks for more.
var bbrCycle = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

func (q *bbr) name() string { return "bbr" }

func (q *bbr) begin(c *Conn) {
	*q = bbr{}
	rtt := max(c.rtt.srtt, Millisecond)
	c.pacing = bbrHighGain * float64(c.cwnd) * float64(Second) / float64(rtt)
}

func (q *bbr) bandwidth() float64 {
	best := 0.0
	for _, r := range q.rates {
		best = max(best, r)
	}
	return best
}

// content is what the path holds, times gain, in bytes.
func (q *bbr) content(gain float64) int {
	return int(gain * q.bandwidth() * float64(q.least) / float64(Second))
}

func (q *bbr) acked(c *Conn, now Time, a *ackSample) {
	started := q.sample(c, a)
	q.measure(now, a)
	if started {
		q.checkFull(a)
	}
	flight := c.inFlight()
	switch q.mode {
	case bbrStartup:
		if q.filled {
			q.mode = bbrDrain
		}
	case bbrDrain:
		if flight <= q.content(1) {
			q.enterProbe(now)
		}
	case bbrProbe:
		q.advance(now, flight, a.lost > 0)
	case bbrProbeRTT:
		if q.probeEnd == 0 && flight <= bbrProbeCwnd*c.mss {
			q.probeEnd = now + max(bbrProbeLasts, q.least)
		}
		if q.probeEnd != 0 && now >= q.probeEnd {
			q.leastAt = now
			c.cwnd = max(c.cwnd, q.priorCwnd)
			if q.mode = bbrStartup; q.filled {
				q.enterProbe(now)
			}
		}
	}
	if q.mode != bbrProbeRTT && q.least > 0 && now-q.leastAt > bbrRTTWindow {
		q.mode, q.probeEnd, q.priorCwnd = bbrProbeRTT, 0, c.cwnd
	}
	q.set(c, a)
}

// sample takes the rate; true when a round has begun.
func (q *bbr) sample(c *Conn, a *ackSample) (started bool) {
	if a.delivered == 0 {
		return false
	}
	if a.priorDelivered >= q.nextRound {
		q.nextRound = c.delivered
		q.round++
		q.rates[q.round%len(q.rates)] = 0
		started = true
	}
	if a.interval <= 0 {
		return started
	}
	rate := float64(c.delivered-a.priorDelivered) * float64(Second) / float64(a.interval)
	if !a.appLimited || rate >= q.bandwidth() {
		slot := &q.rates[q.round%len(q.rates)]
		*slot = max(*slot, rate)
	}
	return started
}

func (q *bbr) measure(now Time, a *ackSample) {
	if a.least > 0 && (q.least == 0 || a.least <= q.least || now-q.leastAt > bbrRTTWindow && q.mode == bbrProbeRTT) {
		q.least, q.leastAt = a.least, now
	}
}

// checkFull ends the start-up when three rounds brought no quarter more.
func (q *bbr) checkFull(a *ackSample) {
	if q.filled || a.appLimited {
		return
	}
	if bw := q.bandwidth(); bw >= q.full*1.25 {
		q.full, q.fullCount = bw, 0
		return
	}
	q.fullCount++
	q.filled = q.fullCount >= 3
}

func (q *bbr) enterProbe(now Time) { q.mode, q.cycle, q.cycleAt = bbrProbe, 2, now }

func (q *bbr) advance(now Time, flight int, lost bool) {
	over := now-q.cycleAt > q.least
	switch gain := bbrCycle[q.cycle]; {
	case gain > 1:
		over = over && (lost || flight >= q.content(gain))
	case gain < 1:
		over = over || flight <= q.content(1)
	}
	if over {
		q.cycle, q.cycleAt = (q.cycle+1)%len(bbrCycle), now
	}
}

// set applies the model to the window and the pace.
func (q *bbr) set(c *Conn, a *ackSample) {
	pace, window := 1.0, 2.0
	switch q.mode {
	case bbrStartup:
		pace, window = bbrHighGain, bbrHighGain
	case bbrDrain:
		pace, window = 1/bbrHighGain, bbrHighGain
	case bbrProbe:
		pace = bbrCycle[q.cycle]
	}
	bw := q.bandwidth()
	if rate := pace * bw * 0.99; rate > 0 && (q.filled || rate > c.pacing) {
		c.pacing = rate
	}
	if q.least == 0 || bw == 0 {
		c.cwnd = min(c.cwnd+a.acked, maxWindow)
		return
	}
	target := q.content(window) + 3*max(c.cfg.SuperSegment/4, c.mss)
	if q.filled {
		c.cwnd = min(c.cwnd+a.delivered, target)
	} else if c.cwnd < target {
		c.cwnd += a.delivered
	}
	c.cwnd = max(min(c.cwnd, maxWindow), bbrProbeCwnd*c.mss)
	if q.mode == bbrProbeRTT {
		c.cwnd = bbrProbeCwnd * c.mss
	}
}

func (q *bbr) threshold(c *Conn) int {
	q.priorCwnd = max(q.priorCwnd, c.cwnd)
	return c.ssthresh
}
func (q *bbr) timedOut(*Conn)    {}
func (q *bbr) undo(c *Conn)      { c.cwnd = max(c.cwnd, q.priorCwnd) }
func (q *bbr) idled(*Conn, Time) {}
func (q *bbr) drives() bool      { return true }
func (q *bbr) restored(c *Conn) {
	if q.mode != bbrProbeRTT {
		c.cwnd = max(c.cwnd, q.priorCwnd)
	}
	q.priorCwnd = 0
}
