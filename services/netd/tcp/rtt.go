package tcp

// Bounds of the retransmission timeout. The lower one is Linux's, not the second
// of RFC 6298, 2.4; it bounds the part that stands for variation.
const (
	minRTO     = 200 * Millisecond
	maxRTO     = 120 * Second
	initialRTO = 1 * Second
)

// estimator measures the round-trip time: RFC 6298. It is given a sample with
// each acknowledgement of something that was sent once (Karn).
type estimator struct {
	srtt, rttvar Time
	sampled      bool
}

func (e *estimator) sample(r Time) {
	r = max(r, 1)
	if !e.sampled {
		e.srtt, e.rttvar, e.sampled = r, r/2, true
		return
	}
	diff := e.srtt - r
	if diff < 0 {
		diff = -diff
	}
	e.rttvar += (diff - e.rttvar) / 4
	e.srtt += (r - e.srtt) / 8
}

// rto is the timeout without backoff.
func (c *Conn) rto() Time {
	e := &c.rtt
	if !e.sampled {
		return min(initialRTO, c.mostRTO())
	}
	least := Time(minRTO)
	if b := c.cfg.Bounds; b != nil && b.LeastRTO > 0 {
		least = b.LeastRTO
	}
	return min(e.srtt+max(4*e.rttvar, least), c.mostRTO())
}

// mostRTO is the longest timeout.
func (c *Conn) mostRTO() Time {
	if b := c.cfg.Bounds; b != nil && b.MostRTO > 0 {
		return b.MostRTO
	}
	return maxRTO
}
