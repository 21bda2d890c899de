package tcp

import "math"

// cubic is the congestion control of RFC 9438, with HyStart++ (RFC 9406) for the
// end of slow start. Windows are in segments here, times in seconds.
type cubic struct {
	epoch   Time    // when avoidance began; 0: it has not
	wMax    float64 // the window before the last reduction
	prior   float64 // cwnd at it
	k       float64
	wEst    float64 // what Reno would have
	counted float64 // growth below a segment
	last    struct {
		wMax, prior float64
	}
	hystart hystart
}

const (
	cubicC     = 0.4
	cubicBeta  = 0.7
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

func (q *cubic) name() string { return "cubic" }
func (q *cubic) begin(*Conn)  { *q = cubic{} }

func (q *cubic) acked(c *Conn, now Time, a *ackSample) {
	if a.limited || a.acked <= 0 {
		return
	}
	n := a.acked
	if c.cwnd < c.ssthresh {
		if n = q.hystart.acked(c, a, n); c.cwnd < c.ssthresh || n <= 0 {
			return
		}
	}
	q.avoid(c, now, float64(n)/float64(c.mss))
}

// avoid is section 4.2 to 4.5.
func (q *cubic) avoid(c *Conn, now Time, acked float64) {
	cwnd := float64(c.cwnd) / float64(c.mss)
	if q.epoch == 0 {
		q.epoch = now
		q.wEst = cwnd
		if q.prior == 0 {
			q.prior = cwnd
		}
		q.k = 0
		if cwnd < q.wMax {
			q.k = math.Cbrt((q.wMax - cwnd) / cubicC)
		} else {
			q.wMax = cwnd
		}
	}
	t := float64(now-q.epoch) / float64(Second)
	rtt := float64(c.rtt.srtt) / float64(Second)
	alpha := cubicAlpha
	if q.wEst >= q.prior {
		alpha = 1
	}
	q.wEst += alpha * acked / cwnd
	target := min(max(q.at(t+rtt), cwnd), 1.5*cwnd)
	grown := cwnd + (target-cwnd)/cwnd*acked
	if q.at(t) < q.wEst {
		grown = max(cwnd, q.wEst)
	}
	q.counted += (grown - cwnd) * float64(c.mss)
	if q.counted >= 1 {
		c.cwnd = min(c.cwnd+int(q.counted), maxWindow)
		q.counted -= math.Floor(q.counted)
	}
}

// at is W_cubic: section 4.2.
func (q *cubic) at(t float64) float64 {
	d := t - q.k
	return cubicC*d*d*d + q.wMax
}

// threshold is section 4.6, with fast convergence, section 4.7.
func (q *cubic) threshold(c *Conn) int {
	cwnd := float64(c.cwnd) / float64(c.mss)
	q.last.wMax, q.last.prior = q.wMax, q.prior
	q.epoch, q.prior, q.counted = 0, cwnd, 0
	if cwnd < q.wMax {
		q.wMax = cwnd * (1 + cubicBeta) / 2
	} else {
		q.wMax = cwnd
	}
	return int(float64(c.cwnd) * cubicBeta)
}

func (q *cubic) timedOut(c *Conn) {
	q.epoch = 0
	q.hystart = hystart{}
}

func (q *cubic) undo(*Conn) { q.wMax, q.prior, q.epoch = q.last.wMax, q.last.prior, 0 }

// idled shifts the epoch, so that no time passes while nothing is sent.
func (q *cubic) idled(c *Conn, pause Time) {
	if q.epoch != 0 {
		q.epoch += pause
	}
	c.restart(pause)
}

func (q *cubic) drives() bool   { return false }
func (q *cubic) restored(*Conn) {}

// hystart ends slow start when the round-trip time grows: RFC 9406.
type hystart struct {
	end         Seq // of the round
	begun       bool
	last, least Time // least round-trip time of the last and of this round
	samples     int
	css         int  // rounds of conservative slow start so far; 0: none
	baseline    Time // the round-trip time that began it
	carry       int
}

const (
	hystartSamples = 8
	hystartRounds  = 5
	hystartDivisor = 4
)

// acked grows the window in slow start by n bytes and gives what is left.
func (h *hystart) acked(c *Conn, a *ackSample, n int) int {
	if !h.begun || h.end.Leq(c.una) {
		h.round(c)
	}
	if a.least > 0 {
		if h.least == 0 || a.least < h.least {
			h.least = a.least
		}
		h.samples++
	}
	if h.css > 0 {
		h.carry += n
		n = h.carry / hystartDivisor
		h.carry -= n * hystartDivisor
		if h.samples >= hystartSamples && h.least < h.baseline {
			h.css, h.baseline = 0, 0 // it was nothing: section 4.2
		}
	} else if h.samples >= hystartSamples && h.last > 0 {
		margin := min(max(h.last/8, 4*Millisecond), 16*Millisecond)
		if h.least >= h.last+margin {
			h.baseline, h.css = h.least, 1
		}
	}
	return c.slowStart(n)
}

func (h *hystart) round(c *Conn) {
	if h.css > 0 {
		if h.css++; h.css > hystartRounds {
			c.ssthresh = min(c.ssthresh, c.cwnd)
			h.css = 0
		}
	}
	h.begun, h.end = true, c.nxt
	h.last, h.least, h.samples = h.least, 0, 0
}
