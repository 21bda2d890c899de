package inet

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// parcel is a datagram from another socket of this sentry.
type parcel struct {
	gram
	data []byte
	at   time.Time
	next *parcel
}

// parcelOverhead is what a parcel costs of a receive buffer beyond its bytes.
const parcelOverhead = 256

// untunedGrams is SO_RCVBUF of a datagram socket that nobody has tuned: rmem_default.
const untunedGrams = 212992

// mailbox holds the parcels that wait in a datagram socket.
type mailbox struct {
	sync.Mutex
	head, tail *parcel
	cost       int
	shut       bool
}

// first is the one that is next, or nil.
func (b *mailbox) first() *parcel {
	b.Lock()
	defer b.Unlock()
	return b.head
}

// after is the one behind p, or nil.
func (b *mailbox) after(p *parcel) *parcel {
	b.Lock()
	defer b.Unlock()
	return p.next
}

// pop takes the first off.
func (b *mailbox) pop() {
	b.Lock()
	defer b.Unlock()
	p := b.head
	b.cost -= len(p.data) + parcelOverhead
	if b.head = p.next; b.head == nil {
		b.tail = nil
	}
}

// put adds p, or loses it: without room, or when the socket is shut for reading.
func (b *mailbox) put(p *parcel, limit int) bool {
	b.Lock()
	defer b.Unlock()
	if b.shut || b.cost > 0 && b.cost+len(p.data) > limit {
		return false
	}
	if b.tail == nil {
		b.head = p
	} else {
		b.tail.next = p
	}
	b.tail = p
	b.cost += len(p.data) + parcelOverhead
	return true
}

// spot is a datagram socket's place as the registry knows it, guarded by its lock.
type spot struct {
	local  netip.AddrPort // unmapped; not valid Addr: any
	remote netip.AddrPort // unmapped; not valid: none
}

// settle tells the registry of the socket's addresses, with d.mu held.
func (d *Dgram) settleLocked() {
	if !d.udp() {
		return
	}
	r := &d.n.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.spot.local.Port() == 0 && d.mu.local.Port() != 0 && !d.released.Load() {
		add(r.grams, d.mu.local.Port(), d)
	}
	d.spot = spot{local: d.mu.local, remote: unmapped(d.mu.remote)}
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// vanish takes the socket off the registry's list.
func (d *Dgram) vanish() {
	r := &d.n.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := d.spot.local.Port(); p != 0 {
		remove(r.grams, p, d)
		d.spot = spot{}
	}
}

// receiver finds the socket for a datagram, as Linux scores them: of several
// alike SO_REUSEPORT spreads by the sender, else the one bound last has it.
func (r *registry) receiver(from, to netip.AddrPort) *Dgram {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best []*Dgram
	top := 0
	for _, d := range r.grams[to.Port()] {
		n := score(d.v6, d.conf.only6(), d.spot.local.Addr(), to.Addr())
		if n == 0 {
			continue
		}
		if d.spot.remote.IsValid() {
			if d.spot.remote != from {
				continue
			}
			n += 8
		}
		switch {
		case n > top:
			top, best = n, append(best[:0], d)
		case n == top:
			best = append(best, d)
		}
	}
	if len(best) == 0 {
		return nil
	}
	if _, port := best[0].conf.reuse(); port {
		a := from.Addr().As16()
		h := binary.LittleEndian.Uint32(a[12:])*31 + uint32(from.Port())
		return best[(h*0x9e3779b1>>16)%uint32(len(best))]
	}
	return best[len(best)-1]
}

// sendWithin delivers a datagram to a socket of this sentry: false if it is for
// none, and netd has to see to it. to is not valid for the peer.
// segment is UDP_SEGMENT's, 0 for one datagram.
func (d *Dgram) sendWithin(m *socket.Msg, to netip.AddrPort, size, segment int) bool {
	if !d.udp() || len(m.Control.Other) > 0 || d.conf.hasAhead() {
		return false
	}
	d.mu.Lock()
	local := d.mu.local
	if !to.IsValid() {
		to = d.mu.remote
	}
	d.mu.Unlock()
	if local.Port() == 0 {
		return false
	}
	to, from, ok := d.n.destination(d.v6, d.conf.only6(), local.Addr(), to, d.conf.boundDevice())
	if !ok {
		return false
	}
	source := netip.AddrPortFrom(from, local.Port())
	r := d.n.registry.receiver(source, to)
	if r == nil || r.filtered.Load() { // netd runs the filter
		return false
	}
	data := make([]byte, size)
	at, now := 0, time.Now()
	for _, b := range m.Data {
		at += copy(data[at:], b)
	}
	hops, class := d.conf.header()
	limit, _ := r.conf.buffers()
	if limit == 0 {
		limit = untunedGrams
	}
	g := gram{from: source, to: to.Addr(), hops: hops, class: class, index: 1}
	if segment > 0 && r.conf.takesSegments() {
		g.segment, segment = uint16(segment), 0
	}
	if segment == 0 {
		segment = size
	}
	arrived := false
	for more := true; more; more = len(data) > 0 {
		g.size = min(segment, len(data))
		put := r.mail.put(&parcel{gram: g, data: data[:g.size], at: now}, limit)
		d.n.within.datagram(to.Addr(), put)
		arrived = arrived || put
		data = data[g.size:]
	}
	if arrived {
		r.Queue().Notify(wait.In)
	}
	return true
}
