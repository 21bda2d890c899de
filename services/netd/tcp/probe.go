package tcp

import "bulkhead/services/netd/mib"

// The tail loss probe of RFC 8985, section 7: when acknowledgements stop coming,
// something is sent that makes the peer say what it has, long before the
// retransmission timeout.
type tailProbe struct {
	out     bool // a probe is on its way
	end     Seq  // what was sent when it was
	retrans bool // it was sent before
	due     bool // one is to be sent
}

// maxAckDelay is how long a peer may hold back the acknowledgement of a single
// segment.
const maxAckDelay = 200 * Millisecond

// A probe's time is not as short as the path is: 2 ms are for what the ends take, as
// Linux has it, and two of the ticks of 4 ms to which it rounds are the least. A peer
// that shares its processor is late by as much, and what is sent again then is spurious.
const (
	probeSlack = 2 * Millisecond
	probeLeast = 8 * Millisecond
)

// armProbe schedules a probe: section 7.2.
func (c *Conn) armProbe(now Time) {
	t := &c.timer
	t.probeTail = Never
	if !c.sackOK || c.loss.phase != opened && c.loss.phase != reduced || c.board.sacked > 0 || c.tail.out || c.una == c.nxt || t.retries > 0 {
		return
	}
	pto := Second
	if c.rtt.sampled {
		pto = 2 * c.rtt.srtt
		if c.inFlight() <= c.mss {
			pto += maxAckDelay
		} else {
			pto = max(pto+probeSlack, probeLeast)
		}
	}
	t.probeTail = min(now+pto, t.retransmit)
}

// probeTailDue sends the probe: section 7.3.
func (c *Conn) probeTailDue(now Time) {
	if c.una == c.nxt || c.tail.out {
		return
	}
	c.tail.due = true
	c.armRetransmit(now)
}

// nextTailProbe makes the probe in c.out: new data if there is any that the
// peer's window allows, else the last segment again.
func (c *Conn) nextTailProbe(now Time) bool {
	if !c.tail.due {
		return false
	}
	c.tail.due = false
	ps := c.board.pieces()
	if len(ps) == 0 {
		return false
	}
	c.tail.out, c.tail.retrans = true, false
	c.stats.TailProbes++
	c.count(mib.LossProbes, 1)
	left := int(int32(c.sendEnd() - c.nxt))
	offered := int(int32(c.una + Seq(c.wnd) - c.nxt))
	if n := min(left, c.mss, offered); n > 0 && !c.finSent {
		c.sendNew(now, n, c.closing && n == left)
		c.tail.end = c.nxt
		return true
	}
	c.tail.retrans, c.tail.end = true, c.nxt
	i := len(ps) - 1
	if p := ps[i]; p.len() > c.mss {
		c.board.split(i, p.end-Seq(c.mss))
		i++
	}
	p := c.board.pieces()[i]
	p.probed = true
	c.sendAgain(now, p)
	return true
}

// tailAcked judges an outstanding probe by an acknowledgement: section 7.4. lost
// says that the probe has repaired a loss, which counts as congestion.
func (c *Conn) tailAcked(ack Seq, dsack, duplicate bool) (lost bool) {
	t := &c.tail
	if !t.out || ack.Less(t.end) {
		return false
	}
	switch {
	case !t.retrans, dsack:
		t.out = false
	case t.end.Less(ack):
		t.out = false
		c.count(mib.LossProbeRecovery, 1)
		return true
	case duplicate:
		t.out = false
	}
	return false
}
