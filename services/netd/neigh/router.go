package neigh

import (
	"net/netip"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/wire"
)

// router is one of the default routers: RFC 4861, section 5.1.
type router struct {
	preference int8
	until      Time
	silent     bool // it does not answer: any other is better
}

// leastPreferred is below all that a router can say of itself: RFC 4861, section
// 6.3.6, 1.
const leastPreferred = -2

// redirect is another first hop to one destination.
type redirect struct {
	by    netip.Addr
	until Time
}

// solicitation is the asking for routers: RFC 4861, section 6.3.7; RFC 7559.
type solicitation struct {
	at    Time // of the next
	every Time
	sent  int
}

// beginSoliciting asks for routers from now on, as there is an address to ask from.
func (c *Autoconf) beginSoliciting(now Time) {
	if c.Settings.AcceptRA && c.Settings.RouterSolicits != 0 {
		c.solicit = solicitation{at: now}
	}
}

func (c *Autoconf) solicitRouters(now Time) {
	s := &c.solicit
	if s.at > now {
		return
	}
	if !c.Settings.AcceptRA {
		s.at = Never
		return
	}
	c.changes = append(c.changes, Change{Kind: AskRouters})
	s.sent++
	if c.Settings.RouterSolicits >= 0 && s.sent >= c.Settings.RouterSolicits {
		s.at = Never
		return
	}
	// RFC 8415, section 15: twice as long each time, and a tenth more or less.
	s.every = min(max(2*s.every, routerSolicitEvery), routerSolicitMost)
	s.at = now + s.every - s.every/10 + c.Random(s.every/5)
}

// Advertised takes a router's advertisement, which came from the link: RFC 4861,
// section 6.3.4. What it says of the interface itself is the caller's matter.
func (c *Autoconf) Advertised(now Time, from netip.Addr, ra *wire.RouterAdvert) {
	if c.addresses == nil || !c.Settings.AcceptRA {
		return
	}
	c.solicit.at = Never
	if ra.Retransmit > 0 {
		c.retransmit = Time(ra.Retransmit)
	}
	c.advertisedRouter(now, from, ra)
	for k := range ra.Options.Prefixes[:ra.Options.PrefixCount] {
		c.advertisedPrefix(now, &ra.Options.Prefixes[k])
	}
	c.schedule()
}

func (c *Autoconf) advertisedRouter(now Time, from netip.Addr, ra *wire.RouterAdvert) {
	if ra.Lifetime == 0 {
		c.removeRouter(from)
		return
	}
	if c.routers[from] == nil && len(c.routers) >= maxRouters {
		return
	}
	c.setRouter(from, ra.Preference, now+Time(ra.Lifetime)*Second)
}

func (c *Autoconf) setRouter(addr netip.Addr, preference int8, until Time) {
	c.routers[addr] = &router{preference: preference, until: until}
	c.changes = append(c.changes, Change{Kind: SetRouter, Router: addr, Preference: preference, Until: until})
}

// KnowRouter takes over a default router that the host has heard of, until a time.
func (c *Autoconf) KnowRouter(addr netip.Addr, until Time) {
	if c.addresses != nil && len(c.routers) < maxRouters {
		c.setRouter(addr, 0, until)
		c.schedule()
	}
}

// removeRouter ends a router's being one, and what it leads to: RFC 4861, section
// 6.3.5.
func (c *Autoconf) removeRouter(addr netip.Addr) {
	if c.routers[addr] != nil {
		delete(c.routers, addr)
		c.changes = append(c.changes, Change{Kind: RemoveRouter, Router: addr})
	}
	for target, r := range c.redirects {
		if r.by == addr {
			c.removeRedirect(target)
		}
	}
}

// NoRouter is for a neighbour that says it is none: RFC 4861, section 7.2.5.
func (c *Autoconf) NoRouter(addr netip.Addr) {
	c.removeRouter(addr)
	c.schedule()
}

// Silent is for a neighbour that does not answer: other routers are preferred to it
// until it advertises itself again, and nothing is redirected to it.
func (c *Autoconf) Silent(addr netip.Addr) {
	r := c.routers[addr]
	if r != nil && !r.silent {
		r.silent = true
		c.changes = append(c.changes, Change{Kind: SetRouter, Router: addr, Preference: leastPreferred, Until: r.until})
	}
	for target, d := range c.redirects {
		if d.by == addr {
			c.removeRedirect(target)
		}
	}
	c.schedule()
}

// advertisedPrefix takes a prefix: RFC 4861, section 6.3.4; RFC 4862, section 5.5.3.
func (c *Autoconf) advertisedPrefix(now Time, p *wire.PrefixInfo) {
	addr := p.Prefix.Addr()
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() || p.Prefix.Bits() == 0 || p.Preferred > p.Valid {
		return
	}
	valid, preferred := expiry(now, p.Valid), expiry(now, p.Preferred)
	if p.OnLink {
		c.advertisedNetwork(p, valid)
	}
	if !p.Auto || !c.Settings.Autoconf || p.Prefix.Bits() != 64 {
		return
	}
	found, made := false, 0
	for _, k := range c.addresses {
		if !k.Is(ip.Autonomous) {
			continue
		}
		made++
		if k.Masked() == p.Prefix {
			c.refresh(now, k, valid, preferred)
			found = true
		}
	}
	mine := c.eui64(p.Prefix)
	if found || p.Valid == 0 || made >= maxAddresses || c.addresses[mine.Addr()] != nil {
		return
	}
	a := ip.Address{Prefix: mine, Flags: ip.Autonomous, Preferred: preferred, Valid: valid}
	c.changes = append(c.changes, Change{Kind: AddAddress, Address: c.Add(now, a)})
}

func (c *Autoconf) advertisedNetwork(p *wire.PrefixInfo, valid Time) {
	_, known := c.networks[p.Prefix]
	switch {
	case p.Valid == 0 && known:
		delete(c.networks, p.Prefix)
		c.changes = append(c.changes, Change{Kind: RemoveNetwork, Prefix: p.Prefix})
	case p.Valid != 0 && (known || len(c.networks) < maxNetworks):
		c.setNetwork(p.Prefix, valid)
	}
}

func (c *Autoconf) setNetwork(p netip.Prefix, until Time) {
	c.networks[p] = until
	c.changes = append(c.changes, Change{Kind: SetNetwork, Prefix: p, Until: until})
}

// expiry is when a lifetime in seconds is over; 0: never.
func expiry(now Time, seconds uint32) Time {
	if seconds == wire.NDForever {
		return 0
	}
	return max(now+Time(seconds)*Second, 1)
}

// refresh sets the lifetimes anew, though the valid one not to less than two hours.
func (c *Autoconf) refresh(now Time, k *configured, valid, preferred Time) {
	later := func(a, b Time) bool { return a == 0 && b != 0 || b != 0 && a > b }
	if !later(valid, k.Valid) && !later(valid, now+twoHours) {
		valid = now + twoHours
		if !later(k.Valid, valid) {
			valid = k.Valid
		}
	}
	k.Valid, k.Preferred = valid, preferred
	if preferred == 0 || preferred > now {
		k.Flags &^= ip.Deprecated
	} else {
		k.Flags |= ip.Deprecated
	}
	c.changed(k)
}

// Redirected takes a first hop to target from a router, who must be the present one:
// RFC 4861, section 8.3.
func (c *Autoconf) Redirected(now Time, target, by netip.Addr) {
	if c.addresses == nil || !c.Settings.AcceptRedirects {
		return
	}
	if _, known := c.redirects[target]; !known && len(c.redirects) >= maxRedirects {
		for old := range c.redirects {
			c.removeRedirect(old)
			break
		}
	}
	c.redirects[target] = redirect{by, now + redirectLasts}
	c.changes = append(c.changes, Change{Kind: SetRedirect, Target: target, Router: by, Until: now + redirectLasts})
	c.schedule()
}

func (c *Autoconf) removeRedirect(target netip.Addr) {
	c.changes = append(c.changes, Change{Kind: RemoveRedirect, Target: target, Router: c.redirects[target].by})
	delete(c.redirects, target)
}

// expireRouters lets go of what routers said, when its time is over.
func (c *Autoconf) expireRouters(now Time) {
	for addr, r := range c.routers {
		if r.until != 0 && r.until <= now {
			c.removeRouter(addr)
		}
	}
	for p, until := range c.networks {
		if until != 0 && until <= now {
			delete(c.networks, p)
			c.changes = append(c.changes, Change{Kind: RemoveNetwork, Prefix: p})
		}
	}
	for target, r := range c.redirects {
		if r.until <= now {
			c.removeRedirect(target)
		}
	}
}
