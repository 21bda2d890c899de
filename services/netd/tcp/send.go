package tcp

import "bulkhead/services/netd/wire"

// Poll carries out what is due at now and gives every segment that can be sent.
// A segment is valid during the call of emit only; its payload lies in the send
// queue until it is acknowledged.
func (c *Conn) Poll(now Time, emit func(*Segment)) {
	c.tick(now)
	for c.next(now) {
		c.stats.SegmentsOut++
		emit(&c.out)
	}
}

// next makes the next segment in c.out.
func (c *Conn) next(now Time) bool {
	if c.resetDue {
		c.resetDue = false
		c.out = Segment{Seq: c.nxt, Ack: c.rcvNxt, Flags: wire.RST | wire.ACK, Options: c.options(now)}
		return true
	}
	switch c.state {
	case Closed:
		return false
	case SynSent, SynReceived:
		return c.nextSYN(now)
	}
	return c.nextLostSegment(now) || c.nextData(now) || c.nextProbe(now) || c.nextAck(now)
}

func (c *Conn) nextSYN(now Time) bool {
	if !c.synDue {
		if c.ackDue && c.state == SynReceived {
			c.ack(now, c.nxt)
			return true
		}
		return false
	}
	c.synDue = false
	first := c.nxt == c.iss
	c.nxt = c.iss + 1
	c.out = Segment{Seq: c.iss, Flags: wire.SYN, Options: wire.TCPOptions{WindowScale: -1}}
	o := &c.out.Options
	o.MSS = uint16(min(c.cfg.MSS, 65535))
	o.SACKPermitted = c.sackOK
	if c.state == SynReceived {
		c.out.Flags |= wire.ACK
		c.out.Ack = c.rcvNxt
		c.lastAck = c.rcvNxt
		c.out.Window = c.window(true)
		if c.rcvScale > 0 || c.wndScale > 0 {
			o.WindowScale = int8(c.rcvScale)
		}
		c.ackDue = false
	} else {
		// rcvNxt is not known: the window is announced without moving rcvAdv.
		c.out.Window = uint16(min(c.cfg.ReceiveBuffer, 65535))
		o.WindowScale = int8(c.rcvScale)
	}
	if c.tsOK {
		o.Timestamps, o.TSVal, o.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	if first {
		c.rtt.start(now, c.nxt)
	}
	if c.timer.retransmit == Never {
		c.armRetransmit(now)
	}
	return true
}

func (c *Conn) tsNow(now Time) uint32 { return uint32(now/Millisecond) + c.cfg.TSOffset }

// options are those of a segment without SYN.
func (c *Conn) options(now Time) wire.TCPOptions {
	o := wire.TCPOptions{WindowScale: -1}
	if c.tsOK {
		o.Timestamps, o.TSVal, o.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	c.sackBlocks(&o)
	return o
}

// fill makes a segment of the bytes in b, FIN included if b ends behind it.
func (c *Conn) fill(now Time, b block) {
	c.ack(now, b.start)
	end := b.end
	if c.finSent && end == c.finSeq+1 {
		c.out.Flags |= wire.FIN
		end--
	}
	n := int(end - b.start)
	if n > 0 {
		c.out.Payload = c.send.Slice(int(b.start-c.base()), n)
		if b.end == c.sendEnd() || c.out.has(wire.FIN) {
			c.out.Flags |= wire.PSH
		}
	}
	if c.timer.retransmit == Never {
		c.armRetransmit(now)
	}
	c.timer.persist = Never
	c.lastSent = now
}

// ack makes an empty segment at seq, which acknowledges all we have.
func (c *Conn) ack(now Time, seq Seq) {
	c.out = Segment{Seq: seq, Ack: c.rcvNxt, Flags: wire.ACK, Window: c.window(false), Options: c.options(now)}
	c.lastAck = c.rcvNxt
	c.ackDue, c.ackUnits = false, 0
	c.timer.ack = Never
}

// nextLostSegment sends again what is lost.
func (c *Conn) nextLostSegment(now Time) bool {
	b, ok := c.nextLost()
	if !ok {
		return false
	}
	flight := c.inFlight()
	if !c.loss.force && flight > 0 && flight+int(b.end-b.start) > c.cc.cwnd {
		return false
	}
	c.loss.force = false
	c.loss.again = b.end
	c.stats.Retransmits++
	c.rtt.cancel()
	c.fill(now, b)
	return true
}

// nextData sends what was never sent, FIN last.
func (c *Conn) nextData(now Time) bool {
	if c.finSent || c.send == nil {
		return false
	}
	end := c.sendEnd()
	left := int(end - c.nxt)
	fin := c.closing
	if left <= 0 {
		if !fin {
			c.timer.cork = Never
			return false
		}
		return c.sendNew(now, 0, true)
	}
	if c.una == c.nxt && c.lastSent != 0 && now-c.lastSent > c.rtt.rto() {
		c.cc.idled()
	}
	flight := c.inFlight()
	if flight > 0 && flight+min(left, c.mss) > c.cc.cwnd {
		return false
	}
	n := min(left, c.mss)
	offered := int(int32(c.una + Seq(c.wnd) - c.nxt))
	if n > offered {
		n = max(offered, 0)
		if n < int(c.maxWnd/2) || n == 0 {
			// A silly window: wait for a better one, or for the timer.
			if c.una == c.nxt && !(c.timer.push && n > 0) {
				c.armPersist(now)
			}
			if !(c.timer.push && n > 0) {
				return false
			}
		}
	}
	if n < c.mss && n == left && !fin && !c.timer.push && c.held(now) {
		return false
	}
	return c.sendNew(now, n, fin && n == left)
}

// held says whether a part of a segment waits for more: Nagle (RFC 9293, section
// 3.7.4) and corks.
func (c *Conn) held(now Time) bool {
	if c.cfg.Cork && !c.timer.uncork {
		if c.timer.cork == Never {
			c.timer.cork = now + corkFor
		}
		return true
	}
	c.timer.cork = Never
	return !c.cfg.NoDelay && c.nxt != c.una
}

func (c *Conn) sendNew(now Time, n int, fin bool) bool {
	b := block{c.nxt, c.nxt + Seq(n)}
	if fin {
		c.finSent = true
		b.end++
	}
	c.nxt = b.end
	c.timer.push, c.timer.uncork = false, false
	c.timer.cork = Never
	c.fill(now, b)
	c.rtt.start(now, b.end)
	return true
}

// nextProbe sends a segment that lies before the window, which any peer answers
// with its present acknowledgement: keepalive and zero-window probes.
func (c *Conn) nextProbe(now Time) bool {
	if !c.timer.probe {
		return false
	}
	c.timer.probe = false
	c.ack(now, c.una-1)
	if c.una == c.nxt && c.Unsent() > 0 {
		c.armPersist(now)
	}
	return true
}

func (c *Conn) nextAck(now Time) bool {
	if !c.ackDue {
		return false
	}
	c.ack(now, c.nxt)
	return true
}
