package tcp

import "bulkhead/services/netd/wire"

// learnECN takes what a SYN says of explicit congestion notification: RFC 3168,
// section 6.1.1.
func (c *Conn) learnECN(s *Segment) {
	both := s.has(wire.ECE) && s.has(wire.CWR)
	if s.has(wire.ACK) {
		c.ecnOK = c.cfg.ECN == ECNActive && s.has(wire.ECE) && !s.has(wire.CWR)
	} else {
		c.ecnOK = c.cfg.ECN != ECNOff && both && s.ECN == NotECT
	}
}

// synECN are the flags of our SYN.
func (c *Conn) synECN() uint8 {
	switch {
	case c.state == SynSent && c.cfg.ECN == ECNActive && c.timer.retries < 2:
		return wire.ECE | wire.CWR // not for ever: section 6.1.1.1
	case c.state == SynReceived && c.ecnOK:
		return wire.ECE
	}
	return 0
}

// receiveECN echoes congestion until the peer says that it has reacted: section
// 6.1.3.
func (c *Conn) receiveECN(s *Segment) {
	if !c.ecnOK {
		return
	}
	if s.has(wire.CWR) && len(s.Payload) > 0 {
		c.ecnEcho = false
	}
	if s.ECN == CE {
		if !c.ecnEcho {
			c.ackDue = true
		}
		c.ecnEcho = true
	}
}

// putECN marks an outgoing segment: fresh is data sent for the first time, which
// alone may be marked by routers (section 6.1.5).
func (c *Conn) putECN(fresh bool) {
	if !c.ecnOK {
		return
	}
	if c.ecnEcho && c.out.has(wire.ACK) {
		c.out.Flags |= wire.ECE
	}
	if fresh {
		c.out.ECN = ECT0
		if c.cwrDue {
			c.cwrDue = false
			c.out.Flags |= wire.CWR
		}
	}
}
