package neigh

import (
	"net/netip"

	"bulkhead/services/netd/ip"
)

// Settings are what /proc/sys/net/ipv6/conf/INTERFACE says: Linux's
// Documentation/networking/ip-sysctl.rst.
type Settings struct {
	Enabled          bool // the interface has a link-local address of its own
	AcceptRA         bool // routers configure it: accept_ra, where it does not forward
	AcceptRAAlways   bool // where it does, too
	Autoconf         bool // addresses are made for their prefixes
	AcceptRedirects  bool
	DADTransmits     int  // solicitations before an address is used; 0: it is not checked
	RouterSolicits   int  // at most so many while no router answers; below 0: without end
	SolicitationWait Time // before the first solicitation for an address: up to so long
	Retransmit       Time // between solicitations for an address; 0: a second
}

// RFC 4861, section 10, RFC 7559, section 2, and Linux's limits.
const (
	routerSolicitEvery = 4 * Second
	routerSolicitMost  = 3600 * Second
	maxAddresses       = 16  // that routers bring
	maxTracked         = 256 // addresses in all
	maxRouters         = 16
	maxNetworks        = 32
	maxRedirects       = 64
	redirectLasts      = 600 * Second

	// twoHours is how long an address stays valid whatever a router says that nobody
	// has checked: RFC 4862, section 5.5.3, e.
	twoHours = 2 * 3600 * Second
)

// Nonce is that of a solicitation which looks for duplicates: RFC 7527. Whoever
// hears its own has not found one.
type Nonce [6]byte

// Autoconf is the IPv6 configuration of one interface: its addresses (and those of
// IPv4 that have a lifetime), which it checks, makes and lets go of (RFC 4862), and what routers say (RFC 4861, section
// 6.3).
//
//	      Add               nobody answers             preferred over
//	(none) ---> tentative -----------------> preferred --------------> deprecated
//	                |                                                      |
//	                | somebody has it                                      | valid over
//	                v                                                      v
//	             failed                                                 (none)
type Autoconf struct {
	Settings Settings
	MAC      [6]byte
	// Random gives a number below n, for delays and nonces.
	Random func(n int64) int64

	addresses map[netip.Addr]*configured
	routers   map[netip.Addr]*router
	networks  map[netip.Prefix]Time // on the link, until; 0: for ever
	redirects map[netip.Addr]redirect

	solicit    solicitation
	retransmit Time // as a router says; 0: Settings'
	deadline   Time
	changes    []Change
}

// configured is an address of the interface.
type configured struct {
	ip.Address
	probes int // still to be sent
	at     Time
	nonce  Nonce
}

// ChangeKind is what a Change asks for.
type ChangeKind uint8

// The kinds.
const (
	ProbeAddress ChangeKind = iota // solicit for Address, with Nonce
	AskRouters                     // send a router solicitation
	AddAddress                     // Address
	SetAddress                     // its flags and lifetimes
	RemoveAddress
	SetNetwork    // Prefix is on the link, until Until
	RemoveNetwork // it is no more
	SetRouter     // Router leads everywhere, until Until
	RemoveRouter
	SetRedirect // Target is reached by way of Router, until Until
	RemoveRedirect
)

// Change is what an Autoconf wants done.
type Change struct {
	Kind       ChangeKind
	Address    ip.Address
	Nonce      Nonce
	Prefix     netip.Prefix
	Router     netip.Addr
	Target     netip.Addr
	Preference int8
	Until      Time // 0: for ever
}

// Start begins, with the addresses that the interface has: those that are
// tentative are checked, the others were.
func (c *Autoconf) Start(now Time, have []ip.Address) {
	c.addresses, c.routers = map[netip.Addr]*configured{}, map[netip.Addr]*router{}
	c.networks, c.redirects = map[netip.Prefix]Time{}, map[netip.Addr]redirect{}
	c.solicit.at = Never
	linkLocal := false
	for _, a := range have {
		if a.Addr().Is4() && a.Valid == 0 || len(c.addresses) >= maxTracked {
			continue
		}
		linkLocal = linkLocal || linkLocal6(a.Addr())
		c.track(now, a)
		if a.Is(ip.Autonomous) {
			c.setNetwork(a.Masked(), a.Valid)
		}
	}
	if c.Settings.Enabled && !linkLocal {
		c.changes = append(c.changes, Change{Kind: AddAddress, Address: c.Add(now, ip.Address{Prefix: c.eui64(linkLocalPrefix)})})
	}
	c.schedule()
}

var linkLocalPrefix = netip.MustParsePrefix("fe80::/64")

func linkLocal6(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// Stop ends all of it: the link is down. Where it is enabled those of IPv6 go.
func (c *Autoconf) Stop() {
	for addr := range c.addresses {
		if c.Settings.Enabled && addr.Is6() {
			c.remove(addr)
		}
	}
	clear(c.routers)
	clear(c.networks)
	clear(c.redirects)
	c.solicit, c.retransmit = solicitation{at: Never}, 0
	if c.Settings.Enabled {
		c.addresses = nil
	}
	c.schedule()
}

// Add takes a new address on, and gives what is to be known of it: it may be
// tentative.
func (c *Autoconf) Add(now Time, a ip.Address) ip.Address {
	if a.Addr().Is4() && a.Valid == 0 || len(c.addresses) >= maxTracked {
		return a
	}
	if a.Addr().Is6() && c.Settings.Enabled && c.Settings.DADTransmits > 0 && !a.Is(ip.NoDAD) {
		a.Flags |= ip.Tentative // until Start, while the link is down
	}
	if c.addresses != nil {
		c.track(now, a)
		c.schedule()
	}
	return a
}

// Change takes over an address's new flags and lifetimes.
func (c *Autoconf) Change(now Time, a ip.Address) {
	k := c.addresses[a.Addr()]
	if k == nil && c.addresses != nil && a.Valid != 0 {
		c.track(now, a)
		c.schedule()
	} else if k != nil {
		k.Flags, k.Preferred, k.Valid = a.Flags|k.Flags&(ip.Tentative|ip.Failed), a.Preferred, a.Valid
		c.changed(k)
		c.schedule()
	}
}

// Forget is for an address that somebody took away.
func (c *Autoconf) Forget(addr netip.Addr) {
	delete(c.addresses, addr)
	c.schedule()
}

func (c *Autoconf) track(now Time, a ip.Address) {
	k := &configured{Address: a, at: Never}
	c.addresses[a.Addr()] = k
	switch {
	case a.Is(ip.Failed):
	case a.Is(ip.Tentative):
		k.probes, k.at = max(c.Settings.DADTransmits, 1), now
		if c.Settings.SolicitationWait > 0 {
			k.at += c.Random(c.Settings.SolicitationWait)
		}
		n := uint64(c.Random(1 << 48))
		for b := range k.nonce {
			k.nonce[b] = byte(n >> (8 * b))
		}
	case linkLocal6(a.Addr()):
		c.beginSoliciting(now)
	}
}

// eui64 is the address with the interface's identifier in a network of 64 bits: RFC
// 4291, appendix A; RFC 2464, section 4.
func (c *Autoconf) eui64(p netip.Prefix) netip.Prefix {
	b, m := p.Addr().As16(), c.MAC
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// Heard is a neighbour's solicitation for, or advertisement of, an address: true
// says that the address is one that we do not have yet. A solicitation that looks
// for duplicates, as ours do, and any advertisement say that the neighbour has or
// wants it too: RFC 4862, sections 5.4.3 and 5.4.4.
func (c *Autoconf) Heard(target netip.Addr, looks bool, nonce Nonce) bool {
	k := c.addresses[target]
	if k == nil || !k.Is(ip.Tentative) {
		return false
	}
	if looks && !k.Is(ip.Failed) && (nonce == Nonce{} || nonce != k.nonce) {
		k.Flags |= ip.Failed
		k.at = Never
		c.changed(k)
		c.schedule()
	}
	return true
}

func (c *Autoconf) changed(k *configured) {
	c.changes = append(c.changes, Change{Kind: SetAddress, Address: k.Address})
}

func (c *Autoconf) remove(addr netip.Addr) {
	c.changes = append(c.changes, Change{Kind: RemoveAddress, Address: c.addresses[addr].Address})
	delete(c.addresses, addr)
}

// Deadline is when Poll is to be called at the latest.
func (c *Autoconf) Deadline() Time {
	if c.addresses == nil {
		return Never
	}
	return c.deadline
}

// schedule finds the deadline.
func (c *Autoconf) schedule() {
	at := c.solicit.at
	sooner := func(t Time) {
		if t != 0 {
			at = min(at, t)
		}
	}
	for _, k := range c.addresses {
		at = min(at, k.at)
		sooner(k.Valid)
		if !k.Is(ip.Deprecated) {
			sooner(k.Preferred)
		}
	}
	for _, r := range c.routers {
		sooner(r.until)
	}
	for _, until := range c.networks {
		sooner(until)
	}
	for _, r := range c.redirects {
		sooner(r.until)
	}
	c.deadline = at
}

// Poll carries out what is due, and gives what is to be done since the last call.
func (c *Autoconf) Poll(now Time) []Change {
	if c.addresses != nil && c.deadline <= now {
		for addr, k := range c.addresses {
			c.due(now, addr, k)
		}
		c.expireRouters(now)
		c.solicitRouters(now)
		c.schedule()
	}
	out := c.changes
	c.changes = nil
	return out
}

// due does what an address's time has come for.
func (c *Autoconf) due(now Time, addr netip.Addr, k *configured) {
	if k.Valid != 0 && k.Valid <= now {
		c.remove(addr)
		return
	}
	if k.Preferred != 0 && k.Preferred <= now && !k.Is(ip.Deprecated) {
		k.Flags |= ip.Deprecated
		c.changed(k)
	}
	switch {
	case k.at > now:
	case k.probes > 0:
		k.probes--
		k.at = now + c.probeEvery()
		c.changes = append(c.changes, Change{Kind: ProbeAddress, Address: k.Address, Nonce: k.nonce})
	default:
		k.Flags &^= ip.Tentative
		k.at = Never
		c.changed(k)
		if linkLocal6(addr) {
			c.beginSoliciting(now)
		}
	}
}

func (c *Autoconf) probeEvery() Time {
	switch {
	case c.retransmit > 0:
		return c.retransmit
	case c.Settings.Retransmit > 0:
		return c.Settings.Retransmit
	}
	return retransmit
}
