package netfilter

import "net/netip"

// This file has the expressions that remember: counters, limits, quotas.

// Stateful is an expression with a state of its own, which an element of a set or
// an object can have.
type Stateful interface {
	Expr
	// Fresh is the same expression at its start.
	Fresh() Stateful
}

// Counter counts packets and bytes.
type Counter struct{ Packets, Bytes uint64 }

func (e *Counter) count(p *Packet) {
	e.Packets++
	e.Bytes += uint64(p.size())
}
func (e *Counter) eval(v *evaluation) { e.count(v.p) }
func (e *Counter) Fresh() Stateful    { return &Counter{} }

// Limit goes on for Rate packets (or bytes) in each Unit of seconds at most; with
// Over, for those above.
type Limit struct {
	Rate, Unit uint64
	Burst      uint32
	Bytes      bool
	Over       bool

	tokens, full, last int64 // ns; full is 0 before the first packet
}

func (e *Limit) Fresh() Stateful {
	return &Limit{Rate: e.Rate, Unit: e.Unit, Burst: e.Burst, Bytes: e.Bytes, Over: e.Over}
}

func (e *Limit) eval(v *evaluation) {
	if e.allow(v.now, v.p.size()) == e.Over {
		v.verdict = Break
	}
}

// allow takes a packet of size bytes out of the bucket.
func (e *Limit) allow(now int64, size int) bool {
	period := float64(e.Unit) * 1e9
	cost := nanoseconds(period / float64(e.Rate))
	if e.Bytes {
		cost = nanoseconds(period / float64(e.Rate) * float64(size))
	}
	if e.full == 0 {
		n := float64(e.Burst)
		if e.Bytes {
			n += float64(e.Rate)
		} else if e.Burst == 0 {
			n = 1
		}
		e.full = max(nanoseconds(period/float64(e.Rate)*n), 1)
		e.tokens, e.last = e.full, now
	}
	e.tokens = min(e.tokens+max(now-e.last, 0), e.full)
	e.last = now
	if e.tokens < cost {
		return false
	}
	e.tokens -= cost
	return true
}

// nanoseconds keeps a time from overflowing, and its sum with another one.
func nanoseconds(t float64) int64 { return int64(min(t, 1<<61)) }

// Quota goes on until so many bytes have passed; with Over, from then on.
type Quota struct {
	Limit, Consumed uint64
	Over            bool
}

func (e *Quota) Fresh() Stateful { return &Quota{Limit: e.Limit, Over: e.Over} }

func (e *Quota) eval(v *evaluation) {
	e.Consumed += uint64(v.p.size())
	if e.Consumed > e.Limit != e.Over {
		v.verdict = Break
	}
}

// ConnLimit goes on while no more than Count connections have met it; with Over,
// when more have.
type ConnLimit struct {
	Count uint32
	Over  bool
	met   meetings
}

func (e *ConnLimit) Fresh() Stateful   { return &ConnLimit{Count: e.Count, Over: e.Over} }
func (*ConnLimit) needsTracking() bool { return true }

func (e *ConnLimit) eval(v *evaluation) {
	f := v.p.track.flow
	if f == nil {
		v.verdict = Drop
		return
	}
	if e.met.meet(v.now, netip.Addr{}, f) > e.Count != e.Over {
		v.verdict = Break
	}
}

// meetings are the flows that have been met, of each address or of all.
type meetings struct {
	of    map[netip.Addr]map[*flow]struct{}
	total int
	swept int64
}

// meet adds a flow to those of an address, forgets those that are over, and counts
// the rest.
func (m *meetings) meet(now int64, who netip.Addr, f *flow) uint32 {
	if m.of == nil {
		m.of = map[netip.Addr]map[*flow]struct{}{}
	}
	if m.total >= maxFlows || now-m.swept > 60*second {
		m.swept = now
		for a := range m.of {
			m.forget(now, a, maxFlows)
		}
	}
	if _, known := m.of[who][f]; !known && m.total < maxFlows {
		m.forget(now, who, 64)
		if m.of[who] == nil {
			m.of[who] = map[*flow]struct{}{}
		}
		m.of[who][f] = struct{}{}
		m.total++
	}
	return uint32(len(m.of[who]))
}

// forget looks at n of an address's flows.
func (m *meetings) forget(now int64, who netip.Addr, n int) {
	for o := range m.of[who] {
		if !o.confirmed || o.expires <= now || o.tcp >= tcpTimeWait {
			delete(m.of[who], o)
			m.total--
		}
		if n--; n == 0 {
			break
		}
	}
	if len(m.of[who]) == 0 {
		delete(m.of, who)
	}
}

// Last remembers when a packet met it, in milliseconds since.
type Last struct {
	Set  bool
	When int64 // ns
}

func (e *Last) Fresh() Stateful    { return &Last{} }
func (e *Last) eval(v *evaluation) { e.Set, e.When = true, v.now }

// Log is there to be read back: as in every network namespace but the host's
// first, nothing is written to the kernel's log.
type Log struct {
	Prefix       string
	Level, Flags uint32
	Group, Queue uint16
	Snap         uint32
	Has          uint8 // which of them came: bits in the order above but Prefix
}

func (*Log) eval(*evaluation) {}

// Object is a named counter, quota or limit: stateful objects of nft(8).
type Object struct {
	Table    *Table
	Name     string
	Handle   uint64
	Type     uint32
	State    Stateful
	UserData []byte

	use int
}

// Use is how many rules and elements refer to it.
func (o *Object) Use() int { return o.use }

// ObjectRef meets an object: a certain one, or the one that a map gives for a key.
type ObjectRef struct {
	Object *Object
	Set    *Set
	Src    Reg
}

func (e *ObjectRef) refs() []*int {
	if e.Set != nil {
		return []*int{&e.Set.use}
	}
	return []*int{&e.Object.use}
}

func (e *ObjectRef) eval(v *evaluation) {
	o := e.Object
	if e.Set != nil {
		el := e.Set.find(v.now, v.load(e.Src, e.Set.KeyLen))
		if el == nil || el.Object == nil {
			v.verdict = Break
			return
		}
		o = el.Object
	}
	o.State.eval(v)
}
