// Package neigh knows the link-layer addresses of neighbours: the cache and its
// states (RFC 4861, section 7.3; ARP uses them too, as Linux does), duplicate
// address detection and address configuration (RFC 4862). It is pure: the
// present time and what was heard go in, what to send comes out.
//
//	            Resolve                 answer
//	(none) ---------------> Incomplete ---------> Reachable
//	                            | 3 tries            | 30 s
//	                            v                    v
//	                          Failed               Stale <-- heard, not asked
//	                            ^                    | used
//	                            | 3 tries            v
//	                          Probe <-------------- Delay
//	                                     5 s
package neigh

import "net/netip"

// Time is a point in time in nanoseconds, as package tcp's.
type Time = int64

// Second in Time's unit.
const Second Time = 1e9

// Never is the deadline of nothing.
const Never Time = 1<<63 - 1

// State of an entry, in the numbering of ndm_state (rtnetlink(7)).
type State uint8

// The states.
const (
	Incomplete State = 0x01
	Reachable  State = 0x02
	Stale      State = 0x04
	Delay      State = 0x08
	Probe      State = 0x10
	Failed     State = 0x20
	Permanent  State = 0x80
)

// RFC 4861, section 10, and Linux's way of counting.
const (
	reachableFor  = 30 * Second
	delayFirst    = 5 * Second
	retransmit    = 1 * Second
	maxSolicits   = 3
	failedFor     = 3 * Second // no new attempt before
	maxEntries    = 1024
	maxPending    = 64  // packets that wait for one neighbour
	maxPendingAll = 512 // and for all
)

// Entry is a neighbour.
type Entry[P any] struct {
	Addr   netip.Addr
	MAC    [6]byte
	State  State
	Router bool

	at       Time // when something is due
	used     Time
	solicits int
	pending  []P
}

// Event is what the cache wants done.
type Event[P any] struct {
	Kind Kind
	Addr netip.Addr
	MAC  [6]byte // Release: where to send; Solicit: whom to ask, if Unicast
	// Unicast says that a neighbour believed to be there is asked itself.
	Unicast bool
	Pending []P
}

// Kind of an Event.
type Kind uint8

// Solicit asks for the address on the link; Release sends what waited for it;
// Fail gives back what waited in vain.
const (
	Solicit Kind = iota
	Release
	Fail
)

// Cache is the neighbours of one interface. P is a packet.
type Cache[P any] struct {
	// ReachableFor and Retransmit are those of IPv6 neighbours as a router says; 0: the
	// defaults.
	ReachableFor, Retransmit Time
	// Generation moves on with every change of what Entries gives.
	Generation uint64

	entries  map[netip.Addr]*Entry[P]
	waiting  int
	deadline Time
	events   []Event[P]
}

// Resolve gives the address to send p to; ok is false when p has to wait: it is
// kept, or lost when too much waits already.
func (c *Cache[P]) Resolve(now Time, addr netip.Addr, p P) (mac [6]byte, ok bool) {
	e := c.entries[addr]
	if e == nil {
		if e = c.add(now, addr); e == nil {
			return mac, false
		}
		c.ask(now, e, Incomplete)
	}
	e.used = now
	switch e.State {
	case Failed:
		if now < e.at {
			c.events = append(c.events, Event[P]{Kind: Fail, Addr: addr, Pending: []P{p}})
			return mac, false
		}
		c.ask(now, e, Incomplete)
	case Stale:
		c.become(e, Delay, now+delayFirst)
		c.deadline = min(c.deadline, e.at)
	case Reachable:
		if now >= e.at {
			c.become(e, Delay, now+delayFirst)
			c.deadline = min(c.deadline, e.at)
		}
	}
	if e.State != Incomplete {
		return e.MAC, true
	}
	if c.waiting >= maxPendingAll {
		return mac, false
	}
	if len(e.pending) >= maxPending {
		e.pending = e.pending[1:] // the oldest is lost: RFC 4861, 7.2.2
		c.waiting--
	}
	e.pending = append(e.pending, p)
	c.waiting++
	return mac, false
}

func (c *Cache[P]) reachable(addr netip.Addr) Time {
	if c.ReachableFor > 0 && addr.Is6() {
		return c.ReachableFor
	}
	return reachableFor
}

func (c *Cache[P]) retransmit(addr netip.Addr) Time {
	if c.Retransmit > 0 && addr.Is6() {
		return c.Retransmit
	}
	return retransmit
}

// Fresh gives the address of a neighbour that may be used without a further
// thought.
func (c *Cache[P]) Fresh(now Time, addr netip.Addr) (mac [6]byte, ok bool) {
	e := c.entries[addr]
	if e == nil || e.State != Permanent && (e.State != Reachable || now >= e.at) {
		return mac, false
	}
	e.used = now
	return e.MAC, true
}

// Known gives the address of a neighbour that has one, fresh or not.
func (c *Cache[P]) Known(addr netip.Addr) (mac [6]byte, ok bool) {
	e := c.entries[addr]
	if e == nil || e.State&(Incomplete|Failed) != 0 {
		return mac, false
	}
	return e.MAC, true
}

// add makes an entry, in the place of one that is not in use if there are many.
func (c *Cache[P]) add(now Time, addr netip.Addr) *Entry[P] {
	if c.entries == nil {
		c.entries = map[netip.Addr]*Entry[P]{}
		c.deadline = Never
	}
	if len(c.entries) >= maxEntries && !c.evict() {
		return nil
	}
	e := &Entry[P]{Addr: addr, at: Never, used: now}
	c.entries[addr] = e
	return e
}

// evict drops the entry that was used least lately and for which nothing waits.
func (c *Cache[P]) evict() bool {
	var oldest *Entry[P]
	for _, e := range c.entries {
		if e.State != Permanent && len(e.pending) == 0 && (oldest == nil || e.used < oldest.used) {
			oldest = e
		}
	}
	if oldest != nil {
		delete(c.entries, oldest.Addr)
		c.Generation++
	}
	return oldest != nil
}

// become moves an entry to a state, where something is due at a time.
func (c *Cache[P]) become(e *Entry[P], st State, at Time) {
	if e.State != st {
		c.Generation++
	}
	e.State, e.at = st, at
}

// ask begins to solicit.
func (c *Cache[P]) ask(now Time, e *Entry[P], as State) {
	e.solicits = 0
	c.become(e, as, now)
	c.solicit(now, e)
}

func (c *Cache[P]) solicit(now Time, e *Entry[P]) {
	e.solicits++
	e.at = now + c.retransmit(e.Addr)
	c.deadline = min(c.deadline, e.at)
	c.events = append(c.events, Event[P]{Kind: Solicit, Addr: e.Addr, MAC: e.MAC, Unicast: e.State == Probe})
}

// Heard learns from a neighbour that spoke without being asked: the sender of a
// request or solicitation. create makes an entry if there is none.
func (c *Cache[P]) Heard(now Time, addr netip.Addr, mac [6]byte, create bool) {
	e := c.entries[addr]
	if e == nil {
		if !create {
			return
		}
		if e = c.add(now, addr); e == nil {
			return
		}
		e.MAC = mac
		c.become(e, Stale, Never)
		return
	}
	switch {
	case e.State == Permanent:
	case e.State == Incomplete || e.State == Failed:
		c.settle(e, mac, Stale, Never)
	case e.MAC != mac:
		e.MAC = mac
		c.Generation++
		c.become(e, Stale, Never)
	}
}

// SetRouter notes that a neighbour is a router.
func (c *Cache[P]) SetRouter(addr netip.Addr) {
	if e := c.entries[addr]; e != nil {
		e.Router = true
	}
}

// Answer is what an advertisement or an ARP reply says.
type Answer struct {
	MAC       [6]byte
	HasMAC    bool
	Solicited bool
	Override  bool
	Router    bool
}

// Answered takes an answer: RFC 4861, section 7.2.5. One for a neighbour that
// nobody asked about changes nothing.
func (c *Cache[P]) Answered(now Time, addr netip.Addr, a Answer) {
	e := c.entries[addr]
	if e == nil || e.State == Permanent {
		return
	}
	if e.State == Incomplete || e.State == Failed {
		if !a.HasMAC {
			return
		}
		e.Router = a.Router
		if a.Solicited {
			c.settle(e, a.MAC, Reachable, now+c.reachable(addr))
		} else {
			c.settle(e, a.MAC, Stale, Never)
		}
		return
	}
	differs := a.HasMAC && a.MAC != e.MAC
	if differs && !a.Override {
		if e.State == Reachable {
			c.become(e, Stale, Never)
		}
		return
	}
	if a.HasMAC {
		e.MAC = a.MAC
	}
	if differs {
		c.Generation++
	}
	e.Router = a.Router
	switch {
	case a.Solicited:
		c.become(e, Reachable, now+c.reachable(addr))
	case differs:
		c.become(e, Stale, Never)
	}
}

// settle ends a resolution.
func (c *Cache[P]) settle(e *Entry[P], mac [6]byte, st State, at Time) {
	e.MAC = mac
	c.Generation++
	c.become(e, st, at)
	if len(e.pending) > 0 {
		c.events = append(c.events, Event[P]{Kind: Release, Addr: e.Addr, MAC: mac, Pending: e.pending})
		c.waiting -= len(e.pending)
		e.pending = nil
	}
}

// Confirm says that packets reach the neighbour: an upper layer saw progress
// (RFC 4861, section 7.3.1).
func (c *Cache[P]) Confirm(now Time, addr netip.Addr) {
	if e := c.entries[addr]; e != nil && e.State&(Reachable|Stale|Delay|Probe) != 0 {
		c.become(e, Reachable, now+c.reachable(addr))
	}
}

// Set makes a permanent entry: ip-neighbour(8).
func (c *Cache[P]) Set(now Time, addr netip.Addr, mac [6]byte) {
	e := c.entries[addr]
	if e == nil {
		if e = c.add(now, addr); e == nil {
			return
		}
	}
	c.settle(e, mac, Permanent, Never)
}

// Delete forgets a neighbour.
func (c *Cache[P]) Delete(addr netip.Addr) bool {
	e := c.entries[addr]
	if e == nil {
		return false
	}
	c.fail(e)
	delete(c.entries, addr)
	c.Generation++
	return true
}

// Entries are all neighbours, in no order.
func (c *Cache[P]) Entries() []Entry[P] {
	out := make([]Entry[P], 0, len(c.entries))
	for _, e := range c.entries {
		out = append(out, Entry[P]{Addr: e.Addr, MAC: e.MAC, State: e.State, Router: e.Router})
	}
	return out
}

func (c *Cache[P]) fail(e *Entry[P]) {
	if len(e.pending) > 0 {
		c.events = append(c.events, Event[P]{Kind: Fail, Addr: e.Addr, Pending: e.pending})
		c.waiting -= len(e.pending)
		e.pending = nil
	}
}

// Deadline is when Poll is to be called at the latest.
func (c *Cache[P]) Deadline() Time {
	if c.entries == nil {
		return Never
	}
	return c.deadline
}

// Poll carries out what is due and gives the events since the last call.
func (c *Cache[P]) Poll(now Time) []Event[P] {
	if c.entries != nil && c.deadline <= now {
		c.deadline = Never
		for _, e := range c.entries {
			if e.at <= now {
				c.due(now, e)
			}
			if e.State&(Incomplete|Delay|Probe) != 0 {
				c.deadline = min(c.deadline, e.at)
			}
		}
	}
	out := c.events
	c.events = nil
	return out
}

func (c *Cache[P]) due(now Time, e *Entry[P]) {
	switch e.State {
	case Delay:
		c.ask(now, e, Probe)
	case Incomplete, Probe:
		if e.solicits < maxSolicits {
			c.solicit(now, e)
			return
		}
		c.become(e, Failed, now+failedFor)
		c.events = append(c.events, Event[P]{Kind: Fail, Addr: e.Addr, Pending: e.pending})
		c.waiting -= len(e.pending)
		e.pending = nil
	case Reachable:
		c.become(e, Stale, Never)
	}
}
