package tcp

import (
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/wire"
)

// receiveAck takes the acknowledgement and the window; false drops s.
func (c *Conn) receiveAck(now Time, s *Segment) bool {
	if c.nxt.Less(s.Ack) {
		c.challenge(now)
		return false
	}
	if oldest := min(uint64(c.maxWnd), c.stats.BytesAcked); s.Ack.Less(c.una - Seq(oldest)) {
		c.challenge(now) // RFC 5961, section 5; as Linux, nothing that was never acknowledged
		return false
	}
	c.noteStamp(now, s)
	a := &c.sample
	*a = ackSample{ece: s.has(wire.ECE), limited: !c.usesWindow()}
	c.echoed = s.Options.TSEcr
	c.takeSACK(now, s, a)
	oldWnd := c.wnd
	if c.wl1.Less(s.Seq) || c.wl1 == s.Seq && c.wl2.Leq(s.Ack) {
		c.wnd = uint32(s.Window) << c.wndScale
		c.maxWnd = max(c.maxWnd, c.wnd)
		c.wl1, c.wl2 = s.Seq, s.Ack
	}
	again := s.Ack == c.una && c.una != c.nxt && len(s.Payload) == 0 && c.wnd == oldWnd && !s.has(wire.FIN)
	advanced := c.una.Less(s.Ack)
	flying := c.una != c.nxt
	if advanced {
		c.newAck(now, s, a)
	} else if again && !c.sackOK && c.wnd > 0 {
		c.duplicate()
	}
	if flying && c.state != Closed {
		c.acted(now, s, a, advanced, again)
	}
	if c.wnd == 0 {
		c.timer.retries = 0 // it lives, it just takes nothing
	} else if oldWnd == 0 || c.wnd > oldWnd {
		c.timer.persist, c.timer.probing = Never, 0
	}
	return c.state != Closed
}

// acted judges losses by an acknowledgement, moves the window, and sets the
// timers.
func (c *Conn) acted(now Time, s *Segment, a *ackSample, advanced, again bool) {
	if a.delivered > 0 {
		c.finishRate(a)
	}
	if !advanced && a.rtt > 0 {
		c.rtt.sample(a.rtt)
	}
	if a.dsack {
		c.rackDSACK()
	}
	if c.tailAcked(s.Ack, a.dsack, again && s.Options.SACKBlocks == 0) {
		c.tailRepaired = true
	}
	if c.sackOK && c.una != c.nxt {
		a.lost = c.rackDetect(now)
	} else if advanced && c.loss.phase == recovering && c.una.Less(c.loss.until) {
		c.loss.dups = max(c.loss.dups-max(a.acked/c.mss, 1), 0)
		c.loseHead()
		c.loss.force = true
	} else if advanced && c.loss.phase == opened {
		c.loss.dups = 0
	}
	c.adjust(now, a)
	if c.una == c.nxt {
		c.timer.retransmit, c.timer.reorder, c.timer.probeTail = Never, Never, Never
		c.board.trim()
		return
	}
	if advanced || a.delivered > 0 {
		c.armRetransmit(now)
		c.armProbe(now)
	}
}

// newAck takes the acknowledgement of something new.
func (c *Conn) newAck(now Time, s *Segment, a *ackSample) {
	n := int(s.Ack - c.una)
	fin := c.finSent && s.Ack == c.finSeq+1
	c.drop(now, s.Ack, a)
	c.una = s.Ack
	a.acked = n
	if fin {
		n--
	}
	if n > 0 {
		c.send.Discard(n)
	}
	c.stats.BytesAcked += uint64(n)
	c.sampleRTT(now, s, a)
	c.timer.retries = 0
	c.timer.probing = 0
	if fin {
		c.finAcked(now)
	}
}

// drop takes what is acknowledged off the board.
func (c *Conn) drop(now Time, ack Seq, a *ackSample) {
	b := &c.board
	for len(b.pieces()) > 0 {
		p := b.pieces()[0]
		if ack.Leq(p.start) {
			return
		}
		if p.end.Leq(ack) {
			if !p.sacked {
				c.arrived(now, p, p.len(), a)
			}
			b.pop()
			continue
		}
		if !p.sacked {
			c.arrived(now, p, int(ack-p.start), a)
		}
		b.cutFront(ack)
		return
	}
}

// arrived counts n bytes of p that the peer has now.
func (c *Conn) arrived(now Time, p *piece, n int, a *ackSample) {
	a.delivered += n
	c.delivered += uint64(n)
	segs := (n + c.mss - 1) / c.mss
	c.stats.Delivered += uint32(segs)
	c.count(mib.Delivered, segs)
	if a.ece {
		c.stats.DeliveredCE += uint32(segs)
		c.count(mib.DeliveredCE, segs)
	}
	if !p.again {
		r := now - p.at
		// The oldest counts for the timeout: what it waited for is part of it.
		a.rtt = max(a.rtt, r, 1)
		if a.least == 0 || r < a.least {
			a.least = max(r, 1)
		}
		c.minRTT.add(now, max(r, 1))
	}
	if c.sackOK {
		c.rackDelivered(now, p)
	}
	c.takeRate(now, p, a)
}

// sampleRTT updates the timeout. After a retransmission only a timestamp tells
// which one was acknowledged: RFC 7323, section 4.
func (c *Conn) sampleRTT(now Time, s *Segment, a *ackSample) {
	if a.rtt > 0 {
		c.rtt.sample(a.rtt)
		return
	}
	if c.tsOK && s.Options.Timestamps && s.Options.TSEcr != 0 && a.delivered > 0 {
		if d := int32(c.tsNow(now) - s.Options.TSEcr); d >= 0 {
			c.rtt.sample(Time(d) * Millisecond)
		}
	}
}

// takeSACK notes what the peer holds out of order.
func (c *Conn) takeSACK(now Time, s *Segment, a *ackSample) {
	if !c.sackOK {
		return
	}
	o := &s.Options
	for i, w := range o.SACK[:o.SACKBlocks] {
		b := block{Seq(w.Start), Seq(w.End)}
		if !b.start.Less(b.end) {
			continue
		}
		if i == 0 && c.isDSACK(b, s) {
			a.dsack = true
			c.stats.DSACKs++
			c.count(mib.DSACKRecv, 1)
			c.loss.undoBytes -= min(int(b.end-b.start), max(c.loss.undoBytes, 0))
			continue
		}
		if b.start.Less(maxSeq(c.una, s.Ack)) || c.nxt.Less(b.end) {
			continue
		}
		c.sack(now, b, a)
	}
}

// isDSACK says whether the first block tells of something that came twice: RFC
// 2883, section 4. It must have been sent lately.
func (c *Conn) isDSACK(b block, s *Segment) bool {
	if b.end.Leq(s.Ack) {
		return int32(c.una-b.start) < int32(max(c.maxWnd, 65535))
	}
	if o := &s.Options; o.SACKBlocks > 1 {
		w := o.SACK[1]
		return Seq(w.Start).Leq(b.start) && b.end.Leq(Seq(w.End))
	}
	return false
}

// sack marks what lies in b. Where the pieces are many already, one that lies in b only
// in part is passed over.
func (c *Conn) sack(now Time, b block, a *ackSample) {
	board := &c.board
	for i := board.find(b.start); i < len(board.pieces()); i++ {
		p := board.pieces()[i]
		if b.end.Leq(p.start) {
			return
		}
		if p.sacked {
			continue
		}
		if p.start.Less(b.start) {
			if !c.crumbled() {
				board.split(i, b.start)
			}
			continue
		}
		if b.end.Less(p.end) {
			if c.crumbled() {
				return
			}
			board.split(i, b.end)
		}
		if !p.again && p.end.Less(c.rack.fack) {
			c.stats.Reordered++
			c.count(mib.SACKReorder, 1)
		}
		c.arrived(now, p, p.len(), a)
		board.markSacked(p)
	}
}
