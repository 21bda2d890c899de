package tcp

import (
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// Receive takes a segment that arrived at now: RFC 9293, section 3.10.7. Call
// Poll after it.
func (c *Conn) Receive(now Time, s *Segment) {
	c.stats.SegmentsIn++
	switch c.state {
	case Closed:
		return
	case SynSent:
		c.receiveSynSent(now, s)
		return
	}
	if c.state == SynReceived && s.has(wire.SYN) && !s.has(wire.ACK) && s.Seq == c.irs {
		c.synDue = true // the peer did not get our answer
		return
	}
	if c.state == SynReceived && s.has(wire.SYN) && s.has(wire.ACK) && s.Seq == c.irs && s.Ack == c.nxt {
		// Both have called at once: its SYN is known, what counts is the
		// acknowledgement (section 3.5, figure 8).
		k := *s
		k.Seq++
		k.Flags &^= wire.SYN
		s = &k
	}
	if !c.acceptable(now, s) {
		return
	}
	if s.has(wire.RST) {
		c.receiveReset(now, s)
		return
	}
	if s.has(wire.SYN) {
		c.count(mib.SYNChallenge, 1)
		c.challenge(now)
		return
	}
	if !s.has(wire.ACK) {
		return
	}
	c.lastHeard = now
	if c.timer.probes > 0 || c.timer.keep != Never {
		c.timer.probes = 0
		if c.timer.keep != Never && c.timer.keep < now+c.cfg.KeepIdle/2 {
			c.armKeepAlive(now)
		}
	}
	if c.state == SynReceived && !c.established(now, s) {
		return
	}
	if !c.receiveAck(now, s) {
		return
	}
	c.receiveECN(s)
	c.receiveUrgent(s)
	before := c.rcvNxt
	c.receiveData(now, s)
	if c.rcvNxt != before {
		c.tuneReceive(now, s)
	}
	c.receiveFIN(now, s)
}

// Gathers says whether s may go to Receive without a Poll before the next segment
// that came with it: Poll then acknowledges them all at once, as after Linux's GRO.
// A peer without SACK counts the acknowledgements.
func (c *Conn) Gathers(s *Segment) bool {
	return c.state == Established && c.sackOK && !s.has(wire.SYN|wire.FIN|wire.RST|wire.URG)
}

// receiveSynSent: section 3.10.7.3.
func (c *Conn) receiveSynSent(now Time, s *Segment) {
	acks := s.has(wire.ACK)
	if acks && (s.Ack.Leq(c.iss) || c.nxt.Less(s.Ack)) {
		return // Stray: the owner has answered it
	}
	if s.has(wire.RST) {
		if acks {
			c.finish(Refused)
		}
		return
	}
	if !s.has(wire.SYN) {
		return
	}
	c.lastHeard = now
	c.learnSYN(now, s)
	if !acks {
		c.state = SynReceived // both called at once
		c.synDue = true
		return
	}
	c.learnFast(s)
	c.handshakeDone(now, s.Ack)
	c.ackDue = true
	c.receiveData(now, s)
	c.receiveFIN(now, s)
}

// Stray says whether s, which arrives in SYN-SENT or SYN-RECEIVED, acknowledges
// something that c never sent. The owner answers it with ResetFor and does not
// give it to Receive.
func (c *Conn) Stray(s *Segment) bool {
	if c.state != SynSent && c.state != SynReceived || !s.has(wire.ACK) || s.has(wire.RST) {
		return false
	}
	return s.Ack.Leq(c.iss) || c.nxt.Less(s.Ack)
}

// handshakeDone enters ESTABLISHED: our SYN is acknowledged.
func (c *Conn) handshakeDone(now Time, ack Seq) {
	c.una = c.iss + 1
	if c.timer.retries == 0 && now > c.synAt {
		c.rtt.sample(now - c.synAt)
		c.minRTT.add(now, now-c.synAt)
	}
	if c.fast.sent > 0 {
		// What of the SYN's data was not taken is sent as if it never had been.
		if n := int(ack - c.una); n > 0 {
			c.send.Discard(n)
			c.una = ack
			c.fast.worked = true
			c.stats.BytesAcked += uint64(n)
			c.count(mib.FastOpenActive, 1)
		} else {
			c.count(mib.FastOpenActiveFail, 1)
		}
		c.nxt, c.fast.sent = c.una, 0
	}
	c.board.hint = c.una
	c.cc.begin(c)
	c.timer.retransmit, c.timer.retries = Never, 0
	c.synDue = false
	if c.state == SynSent || c.state == SynReceived {
		c.state = Established
		if c.closing {
			c.state = FinWait1
		}
	}
	c.loss = recovery{until: c.una}
	c.rack.fack = c.una
	c.armKeepAlive(now)
}

// established takes the acknowledgement of our SYN in SYN-RECEIVED.
func (c *Conn) established(now Time, s *Segment) bool {
	if !c.iss.Less(s.Ack) || c.nxt.Less(s.Ack) || c.send == nil {
		return false
	}
	c.wnd = uint32(s.Window) << c.wndScale
	c.wl1, c.wl2 = s.Seq, s.Ack
	c.handshakeDone(now, s.Ack)
	return true
}

// acceptable checks that s lies in the window, and its timestamp: the first
// steps of section 3.10.7.4, RFC 7323 section 5.
func (c *Conn) acceptable(now Time, s *Segment) bool {
	o := &s.Options
	if c.tsOK && o.Timestamps && !s.has(wire.RST) && int32(o.TSVal-c.tsRecent) < 0 && now-c.tsAge < 24*86400*Second {
		c.count(mib.PAWSEstab, 1)
		if s.Len() > 0 || s.Seq != c.rcvNxt { // an acknowledgement that was overtaken needs no answer
			c.challenge(now)
			c.twice(s)
		}
		return false
	}
	n, wnd := s.Len(), c.rcvAdv-c.rcvNxt
	end := s.Seq + n
	ok := false
	switch {
	case n == 0 && wnd == 0:
		ok = s.Seq == c.rcvNxt
	case n == 0:
		ok = c.rcvNxt.Leq(s.Seq) && s.Seq.Leq(c.rcvAdv)
	default:
		ok = c.rcvNxt.Less(end) && s.Seq.Less(c.rcvAdv) || s.Seq == c.rcvNxt && wnd == 0
	}
	if !ok {
		if c.state == TimeWait && s.has(wire.FIN) {
			c.timer.final = now + c.cfg.TimeWait
		}
		switch {
		case s.has(wire.RST):
		case n == 0:
			c.challenge(now)
		default:
			c.ackDue = true
			c.twice(s)
		}
		return false
	}
	return true
}

// noteStamp keeps the timestamp of a segment whose acknowledgement is acceptable: RFC
// 7323, section 4.3.
func (c *Conn) noteStamp(now Time, s *Segment) {
	if c.tsOK && s.Options.Timestamps && s.Seq.Leq(c.lastAck) {
		c.tsRecent, c.tsAge = s.Options.TSVal, now
	}
}

// twice notes that s, or a part of it, has come before: RFC 2883.
func (c *Conn) twice(s *Segment) {
	end := minSeq(s.Seq+Seq(len(s.Payload)), c.rcvNxt)
	if s.Seq.Less(end) {
		c.dsack = block{s.Seq, end}
		c.count(mib.DSACKOldSent, 1)
	}
}

// receiveReset: RFC 5961, section 3.
func (c *Conn) receiveReset(now Time, s *Segment) {
	if s.Seq != c.rcvNxt {
		c.challenge(now)
		return
	}
	switch c.state {
	case SynReceived:
		c.finish(Refused)
	case TimeWait, Closing, LastAck:
		c.finish(None)
	default:
		c.finish(Reset)
	}
}

// challenge answers a segment that may be forged with what we have, ten times a
// second at most: RFC 5961, section 7.
func (c *Conn) challenge(now Time) {
	if now-c.challengeAt >= Second {
		c.challengeAt, c.challenges = now, 0
	}
	if c.challenges < 10 {
		c.challenges++
		c.ackDue = true
		c.count(mib.ChallengeACK, 1)
	}
}

// finAcked: our FIN is acknowledged.
func (c *Conn) finAcked(now Time) {
	switch c.state {
	case FinWait1:
		c.state = FinWait2
		if c.orphan {
			c.timer.final = now + c.cfg.Linger2
		}
	case Closing:
		c.timeWait(now)
	case LastAck:
		c.finish(None)
	}
}

func (c *Conn) timeWait(now Time) {
	c.state = TimeWait
	c.count(mib.TW, 1)
	c.timer = noTimers
	c.timer.final = now + c.cfg.TimeWait
}

// maxOutOfOrder bounds the ranges held behind a gap.
const maxOutOfOrder = 64

// receiveData stores the payload and remembers FIN's place.
func (c *Conn) receiveData(now Time, s *Segment) {
	if !c.canReceive() {
		return
	}
	if c.orphan && c.rcvNxt.Less(s.Seq+Seq(len(s.Payload))) {
		// Nobody will ever read it: RFC 9293, section 3.6 (RFC 2525, 2.17). The peer takes a
		// reset only at what it expects next, which need not be behind all that we sent.
		c.count(mib.AbortOnData, 1)
		c.Abort()
		c.resetBare, c.resetAt = true, s.Ack
		return
	}
	p, seq := s.Payload, s.Seq
	if s.has(wire.SYN) {
		seq++
	}
	size := len(p)
	if s.Size > 0 {
		size = min(size, s.Size)
	}
	if size > 0 {
		c.rcvMSS = max(c.rcvMSS, size)
		c.stats.DataIn++
	}
	fin := s.has(wire.FIN)
	if seq.Less(c.rcvNxt) {
		skip := int(c.rcvNxt - seq)
		if !s.has(wire.SYN) {
			c.twice(s)
		}
		c.ackDue = c.ackDue || len(s.Payload) > 0
		if skip > len(p) {
			return
		}
		p, seq = p[skip:], c.rcvNxt
	}
	if room := int(c.rcvAdv - seq); len(p) > room {
		p, fin = p[:max(room, 0)], false
		c.ackDue = true
	}
	if c.finKnown && c.finAt.Less(seq+Seq(len(p))) {
		p, fin = p[:max(int(int32(c.finAt-seq)), 0)], false
	}
	if fin && !c.finKnown {
		c.finKnown, c.finAt = true, seq+Seq(len(p))
	}
	if len(p) > 0 {
		c.store(now, seq, p)
	}
}

// store puts p, of the window, into the receive queue.
func (c *Conn) store(now Time, seq Seq, p []byte) {
	end := seq + Seq(len(p))
	if seq == c.rcvNxt && len(c.ooo) == 0 {
		c.receive.Put(0, p)
		c.commit(end)
		c.ackInOrder(now, len(p))
		return
	}
	for _, b := range c.ooo {
		if d := (block{maxSeq(b.start, seq), minSeq(b.end, end)}); d.start.Less(d.end) {
			c.dsack = d
			break
		}
	}
	blocks, joined, ok := insertBlock(c.ooo, block{seq, end}, maxOutOfOrder)
	c.ackDue = true
	if !ok {
		c.count(mib.OFODrop, 1)
		return
	}
	c.count(mib.OFOQueue, 1)
	c.receive.Put(int(seq-c.rcvNxt), p)
	c.ooo = blocks
	c.recent.changed(joined)
	if first := c.ooo[0]; first.start == c.rcvNxt {
		c.ooo = append(c.ooo[:0], c.ooo[1:]...)
		c.commit(first.end)
	}
}

func (c *Conn) commit(end Seq) {
	n := int(end - c.rcvNxt)
	c.receive.Commit(n)
	c.rcvNxt = end
	c.stats.BytesReceived += uint64(n)
}

// ackInOrder decides when to acknowledge n bytes that came in order: every
// second segment at once, RFC 9293, section 3.8.6.3.
func (c *Conn) ackInOrder(now Time, n int) {
	c.ackUnits += n
	switch {
	case c.cfg.DelayAck == 0 || c.cfg.QuickAck || c.quickAcks > 0 || c.ackUnits >= 2*c.rcvMSS:
		c.ackDue = true
		c.quickAcks = max(c.quickAcks-1, 0)
	case c.timer.ack == Never:
		c.timer.ack = now + c.cfg.DelayAck
	}
}

// receiveFIN acts on the peer's FIN once all before it is here.
func (c *Conn) receiveFIN(now Time, s *Segment) {
	if c.state == TimeWait && s.has(wire.FIN) {
		c.ackDue = true
		c.timer.final = now + c.cfg.TimeWait
		return
	}
	if !c.finKnown || c.finAt != c.rcvNxt || !c.canReceive() {
		return
	}
	c.rcvNxt++
	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt)
	c.ackDue = true
	c.dsack = block{} // as Linux: a FIN ends what SACK says
	switch c.state {
	case Established:
		c.state = CloseWait
	case FinWait1:
		c.state = Closing
	case FinWait2:
		c.timeWait(now)
		c.ackDue = true
	}
}
