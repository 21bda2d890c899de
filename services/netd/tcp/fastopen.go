package tcp

// fastOpen is data in a SYN: RFC 7413.
type fastOpen struct {
	sent    int    // bytes that our SYN carried
	accept  bool   // the peer's SYN showed a good cookie: take its data
	cookie  []byte // for the peer, in our SYN+ACK
	learned []byte // from the peer's
	worked  bool   // the data of a SYN was taken
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

// OfferCookie puts a Fast Open cookie into the answer to a peer that asked.
func (c *Conn) OfferCookie(cookie []byte) { c.fast.cookie = cookie }

// LearnedCookie gives once what the peer's SYN+ACK gave, or nil.
func (c *Conn) LearnedCookie() []byte {
	k := c.fast.learned
	c.fast.learned = nil
	if len(k) == 0 {
		return nil
	}
	return k
}

// FastOpened says that c came of AcceptFast.
func (c *Conn) FastOpened() bool { return c.fast.accept }
