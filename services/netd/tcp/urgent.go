package tcp

import "bulkhead/services/netd/wire"

// maxUrgent is as far ahead as an urgent pointer reaches, in bytes.
const maxUrgent = 65535

// urgent is the place of the peer's urgent byte. As Linux does, the urgent pointer is
// read as pointing behind it (RFC 9293, section 3.8.5: what everybody does, as RFC 6093
// says), and there is one urgent byte at a time.
type urgent struct {
	at    Seq
	known bool
}

// receiveUrgent tells the receive queue of a new urgent byte, before its bytes come.
func (c *Conn) receiveUrgent(s *Segment) {
	if !s.has(wire.URG) || s.Urgent == 0 || c.receive == nil || !c.canReceive() {
		return
	}
	at := s.Seq + Seq(s.Urgent) - 1
	switch {
	case at.Less(c.rcvNxt),
		c.urgent.known && at.Leq(c.urgent.at),
		c.finKnown && c.finAt.Leq(at):
		return
	}
	c.urgent = urgent{at, true}
	c.receive.Urge(int(at - c.rcvNxt))
}

// urgentEnd is what follows the urgent byte that is to be sent or not acknowledged yet.
func (c *Conn) urgentEnd() (Seq, bool) {
	if c.send == nil {
		return 0, false
	}
	n := c.send.Urgent()
	return c.base() + Seq(n), n > 0
}

// putUrgent sets the pointer of an outgoing segment, of each that begins before it. The
// queue is asked after its length was, so that no urgent byte goes out as
// another. What stands for several segments has none: they would all point equally far.
func (c *Conn) putUrgent() {
	end, ok := c.urgentEnd()
	if !ok || c.out.Size > 0 {
		return
	}
	if d := int32(end - c.out.Seq); d > 0 {
		c.out.Flags |= wire.URG
		c.out.Urgent = uint16(min(d, maxUrgent))
	}
}
