package tcp

// initialWindow is that of RFC 6928, in segments.
const initialWindow = 10

// maxWindow bounds the congestion window in bytes.
const maxWindow = 1 << 30

// reno is the congestion control of RFC 5681, in bytes, with the byte counting
// of RFC 3465.
type reno struct {
	mss            int
	cwnd, ssthresh int
	counted        int // acknowledged towards the next step of avoidance
}

func (r *reno) start(mss int) {
	*r = reno{mss: mss, cwnd: initialWindow * mss, ssthresh: maxWindow}
}

// acked grows the window by n acknowledged bytes; limited says that the sender
// did not fill it, and then it does not grow.
func (r *reno) acked(n int, limited bool) {
	if limited || n <= 0 {
		return
	}
	if r.cwnd < r.ssthresh {
		r.cwnd = min(r.cwnd+min(n, 2*r.mss), maxWindow)
		return
	}
	r.counted += n
	if r.counted >= r.cwnd {
		r.counted -= r.cwnd
		r.cwnd = min(r.cwnd+r.mss, maxWindow)
	}
}

// lost halves the window for a loss that acknowledgements told of.
func (r *reno) lost(flight int) {
	r.ssthresh = max(flight/2, 2*r.mss)
	r.cwnd = r.ssthresh
	r.counted = 0
}

// timedOut starts over; first says that it is the first timeout in a row.
func (r *reno) timedOut(flight int, first bool) {
	if first {
		r.ssthresh = max(flight/2, 2*r.mss)
	}
	r.cwnd = r.mss
	r.counted = 0
}

// idled shrinks the window after a pause of a timeout or more: RFC 5681, 4.1.
func (r *reno) idled() { r.cwnd = min(r.cwnd, initialWindow*r.mss) }
