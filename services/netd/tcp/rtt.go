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
func (e *estimator) rto() Time {
	if !e.sampled {
		return initialRTO
	}
	return min(e.srtt+max(4*e.rttvar, minRTO), maxRTO)
}
