package tcp

// Bounds of the retransmission timeout. The lower one is Linux's, not the second
// of RFC 6298, 2.4.
const (
	minRTO     = 200 * Millisecond
	maxRTO     = 120 * Second
	initialRTO = 1 * Second
)

// estimator measures the round-trip time: RFC 6298. It times one segment at a
// time and none that was sent twice (Karn).
type estimator struct {
	srtt, rttvar Time
	sampled      bool

	timing bool
	until  Seq // the sample is taken when this is acknowledged
	since  Time
}

func newEstimator() estimator { return estimator{} }

// start times what ends at seq, unless something is being timed.
func (e *estimator) start(now Time, seq Seq) {
	if !e.timing {
		e.timing, e.until, e.since = true, seq, now
	}
}

// cancel drops the sample under way.
func (e *estimator) cancel() { e.timing = false }

// acked takes the sample if ack covers what is timed.
func (e *estimator) acked(now Time, ack Seq) bool {
	if !e.timing || ack.Less(e.until) {
		return false
	}
	e.timing = false
	e.sample(now - e.since)
	return true
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
func (e *estimator) rto() Time {
	if !e.sampled {
		return initialRTO
	}
	return min(max(e.srtt+max(4*e.rttvar, Millisecond), minRTO), maxRTO)
}
