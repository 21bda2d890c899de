package tcp

import (
	"bytes"

	"bulkhead/services/netd/wire"
)

// fastOpen is data in a SYN: RFC 7413.
type fastOpen struct {
	sent    int    // bytes that our SYN carried
	accept  bool   // the peer's SYN showed a good cookie: take its data
	cookie  []byte // for the peer, in our SYN+ACK
	learned *FastOpenLearned
	worked  bool // the data of a SYN was taken
}

// AcceptFast is Accept of a SYN whose Fast Open cookie is good: its data is taken
// at once, so the queues are given here. cookie, if not nil, is a new one for the
// peer.
func AcceptFast(cfg Config, now Time, syn *Segment, cookie []byte, send SendQueue, receive ReceiveQueue) *Conn {
	c := Accept(cfg, now, syn)
	c.Attach(send, receive)
	c.fast.accept, c.fast.cookie = true, cookie
	c.rcvAdv = c.rcvNxt + Seq(min(c.receive.Room(), 65535))
	c.receiveData(now, syn)
	c.fast.worked = len(syn.Payload) > 0
	return c
}

// synRoom is how many bytes fit into a SYN with these options.
func (c *Conn) synRoom(o *wire.TCPOptions) int {
	mss := c.cfg.MSS
	if known := c.cfg.FastOpenMSS; known > 0 {
		mss = min(mss, known)
	}
	return max(mss-o.Len(), 0)
}

// FastOpenRoom is how many bytes the first SYN takes along.
func (c *Conn) FastOpenRoom() int {
	o := c.synOptions(0)
	if !c.cfg.NoScaling {
		o.WindowScale = int8(c.rcvScale)
	}
	o.PutFastOpen(c.cfg.FastOpen)
	return c.synRoom(&o)
}

// OfferCookie puts a Fast Open cookie into the answer to a peer that asked.
func (c *Conn) OfferCookie(cookie []byte) { c.fast.cookie = cookie }

// FastOpenLearned is what the answer to a SYN with the option shows of the peer, for the
// next connection.
type FastOpenLearned struct {
	Cookie []byte // a new one, or none
	MSS    int    // most payload of a segment without options
	// Dropped: only a SYN without data came through (RFC 7413, section 4.1.3.1, "negative
	// responses").
	Dropped bool
}

// FastOpenLearned gives it once.
func (c *Conn) FastOpenLearned() (l FastOpenLearned, ok bool) {
	if c.fast.learned == nil {
		return l, false
	}
	l, c.fast.learned = *c.fast.learned, nil
	return l, true
}

// minCookie is the length of the shortest cookie in bytes: RFC 7413, section 4.1.1.
const minCookie = 4

// learnFast looks at the peer's SYN+ACK.
func (c *Conn) learnFast(s *Segment) {
	if c.cfg.FastOpen == nil {
		return
	}
	mss := int(s.Options.MSS)
	if mss == 0 {
		mss = defaultMSS
	}
	cookie := bytes.Clone(s.Options.Cookie())
	if len(cookie) < minCookie || len(cookie)%2 != 0 {
		cookie = nil
	}
	c.fast.learned = &FastOpenLearned{cookie, mss, c.fast.sent > 0 && c.timer.retries > 0 && len(cookie) == 0 && s.Ack == c.iss+1}
}

// FastOpened says that c came of AcceptFast.
func (c *Conn) FastOpened() bool { return c.fast.accept }
