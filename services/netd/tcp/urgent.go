package tcp

import "bulkhead/services/netd/wire"

// urgent is the place of the peer's urgent byte. As Linux does, the urgent
// pointer is read as pointing behind it (RFC 9293, section 3.8.5, has the same
// since RFC 6093), and there is one urgent byte at a time.
type urgent struct {
	at    Seq // of the byte
	known bool
	told  bool
}

// receiveUrgent notes an urgent pointer.
func (c *Conn) receiveUrgent(s *Segment) {
	if !s.has(wire.URG) || s.Urgent == 0 {
		return
	}
	at := s.Seq + Seq(s.Urgent) - 1
	if at.Less(c.rcvNxt) || c.urgent.known && at.Leq(c.urgent.at) {
		return
	}
	c.urgent = urgent{at: at, known: true}
}

// Urgent says once of each urgent pointer where its byte is: after so many bytes
// of the stream. The byte itself comes in line, maybe later.
func (c *Conn) Urgent() (offset uint64, ok bool) {
	u := &c.urgent
	if !u.known || u.told {
		return 0, false
	}
	u.told = true
	return c.stats.BytesReceived + uint64(int32(u.at-c.rcvNxt)), true
}

// SendUrgent makes the last byte of the send queue urgent: MSG_OOB.
func (c *Conn) SendUrgent() {
	if c.send == nil || c.closing {
		return
	}
	c.urgentAt, c.urging = c.sendEnd(), true
}

// putUrgent sets the pointer of an outgoing segment.
func (c *Conn) putUrgent() {
	if !c.urging {
		return
	}
	if d := int32(c.urgentAt - c.out.Seq); d <= 0 {
		if !c.una.Less(c.urgentAt) {
			c.urging = false
		}
	} else if d <= 65535 {
		c.out.Flags |= wire.URG
		c.out.Urgent = uint16(d)
	} else {
		c.out.Flags |= wire.URG
		c.out.Urgent = 65535
	}
}
