package tcp

// recovery is what the sender believes of its bytes in flight.
//
// While in recovery, unsacked bytes below `lost` are gone, and those of them
// below `again` have been sent again. Recovery ends when `until`, what was sent
// when it began, is acknowledged.
type recovery struct {
	kind   recoveryKind
	until  Seq
	lost   Seq
	again  Seq
	force  bool // the first retransmission ignores the window
	dups   int  // duplicate acknowledgements in a row
	sacked []block
}

type recoveryKind uint8

const (
	noRecovery   recoveryKind = iota
	fastRecovery              // duplicate acknowledgements told of a loss
	slowRecovery              // a timeout did
)

// maxSacked bounds the scoreboard.
const maxSacked = 128

// sackedBytes is how many bytes above from the peer holds out of order.
func (r *recovery) sackedBytes(from Seq) int {
	n := 0
	for _, b := range r.sacked {
		if from.Less(b.end) {
			n += int(b.end - maxSeq(b.start, from))
		}
	}
	return n
}

// inFlight estimates the bytes that are on the wire: RFC 6675's pipe.
func (c *Conn) inFlight() int {
	r := &c.loss
	flight := int(c.nxt - c.una)
	if r.kind == noRecovery && len(r.sacked) == 0 {
		if !c.sackOK {
			flight -= r.dups * c.mss
		}
		return max(flight, 0)
	}
	n := flight - r.sackedBytes(c.una)
	if !c.sackOK {
		n -= r.dups * c.mss
	}
	if r.kind != noRecovery {
		again := maxSeq(r.again, c.una)
		if again.Less(r.lost) {
			gone := int(r.lost - again)
			for _, b := range r.sacked {
				s, e := maxSeq(b.start, again), minSeq(b.end, r.lost)
				if s.Less(e) {
					gone -= int(e - s)
				}
			}
			n -= gone
		}
	}
	return max(n, 0)
}

// nextLost is the next range to send again, of at most one segment.
func (c *Conn) nextLost() (b block, ok bool) {
	r := &c.loss
	if r.kind == noRecovery {
		return block{}, false
	}
	start := maxSeq(r.again, c.una)
	end := r.lost
	for _, s := range r.sacked {
		if s.end.Leq(start) {
			continue
		}
		if start.Less(s.start) {
			end = minSeq(end, s.start)
			break
		}
		start = s.end
	}
	if !start.Less(end) {
		return block{}, false
	}
	return block{start, minSeq(end, start+Seq(c.mss))}, true
}

// duplicate counts a duplicate acknowledgement, or new SACK blocks, and enters
// fast recovery when they mean a loss.
func (c *Conn) duplicate() {
	r := &c.loss
	r.dups++
	switch r.kind {
	case fastRecovery:
		c.extendLost()
		return
	case slowRecovery:
		return
	}
	many := r.sackedBytes(c.una) > 3*c.mss
	if r.dups < 3 && !many {
		return
	}
	c.cc.lost(int(c.nxt - c.una))
	r.kind = fastRecovery
	r.until = c.nxt
	r.again = c.una
	r.lost = minSeq(c.una+Seq(c.mss), c.nxt)
	r.force = true
	c.rtt.cancel()
	c.extendLost()
}

// extendLost moves the bound of what is lost: everything with three segments'
// worth of arrivals above it (RFC 6675, IsLost).
func (c *Conn) extendLost() {
	r := &c.loss
	if !c.sackOK {
		return
	}
	above := 0
	for i := len(r.sacked) - 1; i >= 0; i-- {
		above += int(r.sacked[i].end - r.sacked[i].start)
		if above >= 3*c.mss || len(r.sacked)-i >= 3 {
			r.lost = maxSeq(r.lost, r.sacked[i].start)
			return
		}
	}
}

// advanced is called when una has moved on by n bytes of data.
func (c *Conn) advanced(n int) {
	r := &c.loss
	r.sacked = trimBlocks(r.sacked, c.una)
	switch {
	case r.kind == noRecovery:
		r.dups = 0
	case r.until.Leq(c.una):
		if r.kind == fastRecovery {
			c.cc.cwnd = min(c.cc.ssthresh, max(c.inFlight(), c.mss)+c.mss)
		}
		*r = recovery{sacked: r.sacked, until: r.until}
	case r.kind == fastRecovery:
		// A partial acknowledgement: the next hole is lost too (RFC 6582).
		r.dups = max(r.dups-max(n/c.mss, 1), 0)
		if c.sackOK {
			r.lost = maxSeq(r.lost, minSeq(c.una+Seq(c.mss), c.nxt))
			c.extendLost()
		} else {
			r.again, r.lost, r.force = c.una, minSeq(c.una+Seq(c.mss), c.nxt), true
		}
	default:
		r.dups = 0
	}
}

// timedOutLoss takes everything in flight for lost.
func (c *Conn) timedOutLoss() {
	r := &c.loss
	c.cc.timedOut(int(c.nxt-c.una), r.kind != slowRecovery || c.timer.retries <= 1)
	*r = recovery{kind: slowRecovery, until: c.nxt, lost: c.nxt, again: c.una, force: true}
	c.rtt.cancel()
}
