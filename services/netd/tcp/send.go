package tcp

import (
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// Poll carries out what is due at now and gives every segment that can be sent. All that
// the peer had sent and that had come by heard has been received: it is not silent
// before that.
// A segment is valid during the call of emit only; its payload lies in the send
// queue until it is acknowledged.
func (c *Conn) Poll(now, heard Time, emit func(*Segment)) {
	c.tick(now, heard)
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
		c.out.Options.SACKBlocks = 0
		if c.resetBare {
			c.out = Segment{Seq: c.resetAt, Flags: wire.RST, Options: wire.TCPOptions{WindowScale: -1}}
		}
		return true
	}
	switch c.state {
	case Closed:
		return false
	case SynSent, SynReceived:
		return c.nextSYN(now)
	}
	return c.nextTailProbe(now) || c.nextLostSegment(now) || c.nextData(now) || c.nextProbe(now) || c.nextAck(now)
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
	if c.nxt == c.iss {
		c.synAt = now
	} else {
		c.count(mib.SynRetrans, 1)
		c.count(mib.TCPRetransSegs, 1)
	}
	c.out = Segment{Seq: c.iss, Flags: wire.SYN | c.synECN(), Options: c.synOptions(now)}
	o := &c.out.Options
	end := c.iss + 1
	if c.state == SynReceived {
		c.out.Flags |= wire.ACK
		c.out.Ack = c.rcvNxt
		c.lastAck = c.rcvNxt
		if c.rcvAdv == c.rcvNxt {
			c.rcvAdv += Seq(min(c.cfg.opening(c.tsOK), 65535))
		}
		c.out.Window = uint16(min(c.rcvAdv-c.rcvNxt, 65535))
		if c.rcvScale > 0 || c.wndScale > 0 {
			o.WindowScale = int8(c.rcvScale)
		}
		c.ackDue, c.ackUnits = false, 0
		o.PutFastOpen(c.fast.cookie)
	} else {
		// rcvNxt is not known: the window is announced without moving rcvAdv.
		c.out.Window = uint16(min(c.cfg.opening(false), 65535))
		if !c.cfg.NoScaling {
			o.WindowScale = int8(c.rcvScale)
		}
		end += c.synData(o)
	}
	c.nxt = maxSeq(c.nxt, end)
	if c.timer.retransmit == Never {
		c.armRetransmit(now)
	}
	return true
}

func (c *Conn) synOptions(now Time) wire.TCPOptions {
	o := wire.TCPOptions{WindowScale: -1, MSS: c.cfg.announced(), SACKPermitted: c.sackOK}
	if c.tsOK {
		o.Timestamps, o.TSVal, o.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	return o
}

// synData puts a Fast Open cookie and data into the first SYN: RFC 7413, section
// 4.2. It gives how many bytes that are.
func (c *Conn) synData(o *wire.TCPOptions) Seq {
	if c.cfg.FastOpen == nil || c.timer.retries > 0 || c.nxt != c.iss {
		return 0
	}
	o.PutFastOpen(c.cfg.FastOpen)
	if len(c.cfg.FastOpen) == 0 || c.send == nil {
		return 0
	}
	n := min(c.send.Len(), c.synRoom(o))
	if n <= 0 {
		return 0
	}
	c.out.Payload = c.send.Slice(0, n)
	c.fast.sent = n
	return Seq(n)
}

func (c *Conn) tsNow(now Time) uint32 { return uint32(now/Millisecond) + c.cfg.TSOffset }

// options are those of a segment without SYN.
func (c *Conn) options(now Time) wire.TCPOptions {
	o := wire.TCPOptions{WindowScale: -1}
	if c.tsOK {
		o.Timestamps, o.TSVal, o.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	if c.sackOK {
		c.sackBlocks(&o)
	}
	return o
}

// fill makes a segment of the bytes from start to end, FIN included if end lies
// behind it. fresh says that they were never sent.
func (c *Conn) fill(now Time, start, end Seq, fresh bool) {
	c.ack(now, start)
	last := end
	if c.finSent && end == c.finSeq+1 {
		c.out.Flags |= wire.FIN
		end--
	}
	n := int(end - start)
	if n > 0 {
		c.out.Payload = c.send.Slice(int(start-c.base()), n)
		if last == c.sendEnd() || c.out.has(wire.FIN) {
			c.out.Flags |= wire.PSH
		}
		segs := 1
		if size := c.mss; n > size {
			c.out.Size = size
			segs = (n + size - 1) / size
			c.stats.SegmentsOut += uint32(segs - 1)
		}
		c.stats.DataOut += uint32(segs)
		if fresh {
			c.count(mib.OrigDataSent, segs)
		}
		c.stats.BytesSent += uint64(n)
	}
	c.putECN(fresh && n > 0)
	c.putUrgent()
	if c.timer.retransmit == Never {
		c.armRetransmit(now)
	}
	c.timer.persist = Never
	c.lastSent = now
	c.loss.out += int(last - start)
	if rate := c.pacingRate(); rate > 0 {
		c.pace(now, n, rate)
	}
}

// ack makes an empty segment at seq, which acknowledges all we have.
func (c *Conn) ack(now Time, seq Seq) {
	c.out = Segment{Seq: seq, Ack: c.rcvNxt, Flags: wire.ACK, Window: c.window(false), Options: c.options(now)}
	c.dsack = block{}
	c.lastAck = c.rcvNxt
	c.ackDue = false
	c.ackUnits = 0
	c.timer.ack = Never
	if c.ecnOK && c.ecnEcho {
		c.out.Flags |= wire.ECE
	}
}

// paceSlack is how much earlier than its time a segment may go, so that timers
// need not be finer.
const paceSlack = Millisecond / 4

// pacingRate is what the controller wants or the user allows, in bytes a second; 0: there
// is no pacing.
func (c *Conn) pacingRate() float64 {
	rate := c.pacing
	if m := float64(c.cfg.MaxPacing); m > 0 && (rate == 0 || m < rate) {
		rate = m
	}
	return rate
}

// pace sets when the next segment may go.
func (c *Conn) pace(now Time, n int, rate float64) {
	c.paceAt = max(c.paceAt, now-paceSlack) + Time(float64(n)*float64(Second)/rate)
}

// paced says that the time of the next segment has not come.
func (c *Conn) paced(now Time) bool {
	if c.pacing == 0 && c.cfg.MaxPacing == 0 || c.paceAt <= now+paceSlack {
		return false
	}
	c.timer.pace = c.paceAt
	return true
}

// largest is how much one segment may carry: several of the path's.
func (c *Conn) largest() int {
	n := c.mss
	if _, urgent := c.urgentEnd(); urgent {
		return n // the pointer is of one segment only
	}
	if k := c.cfg.SuperSegment / c.mss; k > 1 {
		n = k * c.mss
	}
	if rate := c.pacingRate(); rate > 0 { // no more than a millisecond at once
		per := int(rate/1000) / c.mss * c.mss
		n = max(min(n, per), c.mss)
	}
	return n
}

// nextLostSegment sends again what is lost.
func (c *Conn) nextLostSegment(now Time) bool {
	if c.board.lost == c.board.inAir {
		return false
	}
	i := c.board.nextLost()
	if i < 0 {
		return false
	}
	room := c.cwnd - c.inFlight()
	if c.loss.force {
		room = max(room, c.mss)
	}
	if room < min(c.mss, c.board.pieces()[i].len()) || c.paced(now) && !c.loss.force {
		return false
	}
	p := c.board.pieces()[i]
	n := min(c.largest(), max(room/c.mss, 1)*c.mss)
	// What is lost beyond the window that the peer offers now waits, but for one
	// segment: the window was there once.
	if p.len() > n {
		c.board.split(i, p.start+Seq(n))
	}
	c.loss.force = false
	c.sendAgain(now, p)
	return true
}

// sendAgain makes a segment of p in c.out.
func (c *Conn) sendAgain(now Time, p *piece) {
	n := p.len()
	c.countAgain((n + c.mss - 1) / c.mss)
	c.stats.BytesAgain += uint64(n)
	c.loss.undoBytes += n
	c.loss.undoSent = true
	c.board.markAgain(now, p)
	c.stampRate(now, p)
	c.fill(now, p.start, p.end, false)
}

// countAgain counts segments that are sent again.
func (c *Conn) countAgain(segs int) {
	c.stats.Retransmits += uint32(segs)
	c.count(mib.TCPRetransSegs, segs)
	switch c.loss.phase {
	case recovering:
		c.count(mib.FastRetrans, segs)
	case timedOut:
		c.count(mib.SlowStartRetrans, max(segs-1, 0)) // the first is the timeout's own
	}
}

// nextData sends what was never sent, FIN last.
func (c *Conn) nextData(now Time) bool {
	if c.finSent || c.send == nil {
		return false
	}
	left := int(int32(c.sendEnd() - c.nxt))
	fin := c.closing
	if left <= 0 {
		if !fin {
			c.timer.cork = Never
			return false
		}
		return c.sendNew(now, 0, true)
	}
	if c.una == c.nxt && c.lastSent != 0 && !c.shutOut {
		if pause := now - c.lastSent; pause > c.rto() {
			c.cc.idled(c, pause)
			c.lastSent = now
		}
	}
	n, ok := c.allowed(now, left)
	if !ok || c.paced(now) {
		return false
	}
	if n == left && !fin && !c.timer.push {
		if tail := n % c.mss; tail > 0 && c.held(now, n-tail) {
			if n -= tail; n == 0 {
				return false
			}
		}
	}
	return c.sendNew(now, n, fin && n == left)
}

// allowed is how much of left the windows let go at once.
func (c *Conn) allowed(now Time, left int) (n int, ok bool) {
	if len(c.board.pieces()) >= maxPieces {
		return 0, false
	}
	n = min(left, c.largest())
	flight := c.inFlight()
	room := c.cwnd - flight
	if flight == 0 {
		room = max(room, c.mss) // one segment always goes
	}
	if n > room {
		if room < min(left, c.mss) {
			c.noteUsage(true)
			return 0, false
		}
		if n > c.mss {
			n = max(room/c.mss, 1) * c.mss
			if n < min(left, c.largest()) && n < c.cwnd/c.cfg.Gather && c.gathers(now) {
				c.noteUsage(true)
				return 0, false // the next acknowledgements let more go at once
			}
		}
	}
	offered := int(int32(c.una + Seq(c.wnd) - c.nxt))
	if n <= offered {
		return n, true
	}
	if n = max(offered, 0); n > c.mss {
		return n / c.mss * c.mss, true
	}
	if n < min(int(c.maxWnd/2), c.mss) || n == 0 {
		// A silly window: wait for a better one, or for the timer.
		forced := c.timer.push && n > 0
		if c.una == c.nxt && !forced {
			c.shutOut = true
			c.armPersist(now)
		}
		return n, forced
	}
	return n, true
}

// gatherFor is how long after the last segment one waits for room for a larger one.
const gatherFor = Millisecond

// gathers says whether to wait for more acknowledgements: they come one after the other.
func (c *Conn) gathers(now Time) bool {
	return c.loss.phase == opened && c.pacing == 0 && now-c.lastSent <= gatherFor
}

// held says whether a part of a segment, behind before bytes that go now, waits
// for more: Nagle (RFC 9293, section 3.7.4), corks, and MSG_MORE of send(2).
func (c *Conn) held(now Time, before int) bool {
	if (c.cfg.Cork || c.send.More()) && !c.timer.uncork {
		if c.timer.cork == Never {
			c.timer.cork = now + corkFor
		}
		return true
	}
	c.timer.cork = Never
	if end, ok := c.urgentEnd(); ok && c.nxt.Less(end) {
		return false
	}
	return !c.cfg.NoDelay && (c.nxt != c.una || before > 0)
}

func (c *Conn) sendNew(now Time, n int, fin bool) bool {
	start, end := c.nxt, c.nxt+Seq(n)
	if fin {
		c.finSent = true
		end++
	}
	if c.una == c.nxt { // a new flight: a new rate sample
		c.firstAt, c.deliveredAt = now, now
	}
	c.nxt, c.shutOut = end, false
	c.timer.push, c.timer.uncork = false, false
	c.timer.cork = Never
	p := c.board.push(now, start, end)
	c.stampRate(now, p)
	c.fill(now, start, end, true)
	if c.nxt == c.sendEnd() && c.inFlight() < c.cwnd {
		c.appLimited = max(c.delivered+uint64(c.inFlight()), 1)
	}
	c.noteUsage(c.cwnd-c.inFlight() < c.mss)
	if !c.tail.due {
		c.armProbe(now)
	}
	return true
}

// nextProbe sends a segment that lies before the window, which any peer answers
// with its present acknowledgement: keepalive and zero-window probes. What is urgent is
// told to a closed window too, by a segment before that which the peer accepts.
func (c *Conn) nextProbe(now Time) bool {
	if !c.timer.probe {
		return false
	}
	if _, urgent := c.urgentEnd(); urgent && !c.timer.urged {
		c.timer.urged = true
		c.ack(now, c.nxt)
		c.putUrgent()
		return true
	}
	c.timer.probe, c.timer.urged = false, false
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
