package tcp

import "bulkhead/services/netd/wire"

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
	if !c.acceptable(now, s) {
		return
	}
	if s.has(wire.RST) {
		c.receiveReset(now, s)
		return
	}
	if s.has(wire.SYN) {
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
	c.receiveData(now, s)
	c.receiveFIN(now, s)
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
	c.rtt.acked(now, ack)
	c.timer.retransmit, c.timer.retries = Never, 0
	c.synDue = false
	if c.state == SynSent || c.state == SynReceived {
		c.state = Established
		if c.closing {
			c.state = FinWait1
		}
	}
	c.loss = recovery{until: c.una}
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
		c.challenge(now)
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
		if !s.has(wire.RST) {
			c.ackDue = true
		}
		return false
	}
	if c.tsOK && o.Timestamps && s.Seq.Leq(c.lastAck) && !s.has(wire.RST) {
		c.tsRecent, c.tsAge = o.TSVal, now
	}
	return true
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
	}
}

// receiveAck takes the acknowledgement and the window; false drops s.
func (c *Conn) receiveAck(now Time, s *Segment) bool {
	if c.nxt.Less(s.Ack) {
		c.ackDue = true
		return false
	}
	if s.Ack.Less(c.una - Seq(max(c.maxWnd, 65535))) {
		c.challenge(now)
		return false
	}
	fresh := c.takeSACK(s)
	oldWnd := c.wnd
	if c.wl1.Less(s.Seq) || c.wl1 == s.Seq && c.wl2.Leq(s.Ack) {
		c.wnd = uint32(s.Window) << c.wndScale
		c.maxWnd = max(c.maxWnd, c.wnd)
		c.wl1, c.wl2 = s.Seq, s.Ack
	}
	switch {
	case c.una.Less(s.Ack):
		c.newAck(now, s)
	case s.Ack == c.una && c.una != c.nxt && (fresh || len(s.Payload) == 0 && c.wnd == oldWnd && !s.has(wire.FIN) && (!c.sackOK || s.Options.SACKBlocks > 0)):
		if c.wnd > 0 || fresh {
			c.duplicate()
		}
	}
	if c.wnd == 0 {
		c.timer.retries = 0 // it lives, it just takes nothing
	} else if oldWnd == 0 || c.wnd > oldWnd {
		c.timer.persist, c.timer.probing = Never, 0
	}
	return c.state != Closed
}

// takeSACK notes what the peer holds out of order; fresh says whether any of it
// is news.
func (c *Conn) takeSACK(s *Segment) (fresh bool) {
	if !c.sackOK {
		return false
	}
	o := &s.Options
	for _, w := range o.SACK[:o.SACKBlocks] {
		b := block{Seq(w.Start), Seq(w.End)}
		if !b.start.Less(b.end) || b.start.Less(maxSeq(c.una, s.Ack)) || c.nxt.Less(b.end) {
			continue
		}
		before := c.loss.sackedBytes(c.una)
		blocks, _, ok := insertBlock(c.loss.sacked, b, maxSacked)
		if ok {
			c.loss.sacked = blocks
			fresh = fresh || c.loss.sackedBytes(c.una) > before
		}
	}
	return fresh
}

// newAck takes the acknowledgement of something new.
func (c *Conn) newAck(now Time, s *Segment) {
	limited := c.inFlight()+c.mss < c.cc.cwnd && c.nxt != c.sendEnd()
	if int(c.nxt-c.una) < c.cc.cwnd/2 {
		limited = true
	}
	n := int(s.Ack - c.una)
	fin := c.finSent && s.Ack == c.finSeq+1
	if fin {
		n--
	}
	if n > 0 {
		c.send.Discard(n)
	}
	c.una = s.Ack
	c.stats.BytesAcked += uint64(n)
	if !c.rtt.acked(now, s.Ack) && c.tsOK && s.Options.Timestamps && s.Options.TSEcr != 0 && c.timer.retries > 0 {
		if d := int32(c.tsNow(now) - s.Options.TSEcr); d >= 0 {
			c.rtt.sample(Time(d) * Millisecond)
		}
	}
	c.timer.retries = 0
	kind := c.loss.kind
	c.advanced(n)
	if kind != fastRecovery {
		c.cc.acked(n, limited)
	}
	c.timer.retransmit = Never
	if c.una != c.nxt {
		c.armRetransmit(now)
	}
	c.timer.probing = 0
	if fin {
		c.finAcked(now)
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
		// Nobody will ever read it: RFC 9293, section 3.6 (RFC 2525, 2.17).
		c.Abort()
		return
	}
	p, seq := s.Payload, s.Seq
	c.rcvMSS = max(c.rcvMSS, len(p))
	fin := s.has(wire.FIN)
	if seq.Less(c.rcvNxt) {
		skip := int(c.rcvNxt - seq)
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
	blocks, joined, ok := insertBlock(c.ooo, block{seq, end}, maxOutOfOrder)
	c.ackDue = true
	if !ok {
		return
	}
	c.receive.Put(int(seq-c.rcvNxt), p)
	c.ooo, c.recent = blocks, joined
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
	case c.cfg.DelayAck == 0 || c.quickAcks > 0 || c.ackUnits >= 2*c.rcvMSS:
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
