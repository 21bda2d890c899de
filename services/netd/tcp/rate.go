package tcp

// Delivery rate samples: how much was delivered between the sending of a piece
// and its acknowledgement (draft-cheng-iccrg-delivery-rate-estimation).

// stampRate begins a sample with p.
func (c *Conn) stampRate(now Time, p *piece) {
	p.delivered, p.deliveredAt, p.firstAt = c.delivered, c.deliveredAt, c.firstAt
	p.limited = c.appLimited > c.delivered
}

// takeRate takes a delivered piece into the sample.
func (c *Conn) takeRate(now Time, p *piece, a *ackSample) {
	c.deliveredAt = now
	if a.priorAt != 0 && p.delivered < a.priorDelivered {
		return
	}
	a.priorDelivered, a.priorAt, a.appLimited = p.delivered, p.deliveredAt, p.limited
	c.firstAt = p.at
	a.interval = max(p.at-p.firstAt, now-p.deliveredAt)
}

// finishRate ends the sample; one shorter than a round trip is of no use.
func (c *Conn) finishRate(a *ackSample) {
	if a.priorAt == 0 || a.interval < c.minRTT.get() || a.interval <= 0 {
		a.interval = 0
		return
	}
	if n := c.delivered - a.priorDelivered; n > 0 {
		c.lastRate = float64(n) * float64(Second) / float64(a.interval)
	}
}

func (c *Conn) deliveryRate() uint64 { return uint64(c.lastRate) }
