package pipe

import "sync"

// PageSize is what one slot of a ring holds, in bytes. It is also PIPE_BUF, the
// most that a write moves in one piece: pipe(7).
const PageSize = 4096

type page [PageSize]byte

var pages = sync.Pool{New: func() any { return new(page) }}

// slot is one buffer of a ring: len bytes of data from off on. As in Linux a
// write of at most PageSize bytes goes into one slot, beside what is there or
// into a fresh one, and so is never torn.
type slot struct {
	page     *page
	off, len int
	packet   bool // a read takes at most this, and drops the rest of it: O_DIRECT
}

// ring is the bytes in a pipe: a queue of slots. It has no lock and no clock.
//
//	used == head - tail <= limit
//	slot i of the queue is slots[i % len(slots)], and len(slots) a power of two
type ring struct {
	slots      []slot
	head, tail uint32
	limit      uint32 // slots that may be used, a power of two
	bytes      int    // in all slots
	spare      *page  // the page freed last
	wasPacket  bool   // what was read last
}

func (r *ring) used() uint32 { return r.head - r.tail }
func (r *ring) empty() bool  { return r.head == r.tail }
func (r *ring) full() bool   { return r.used() >= r.limit }

func (r *ring) at(i uint32) *slot { return &r.slots[i&uint32(len(r.slots)-1)] }

// write moves what fits of p into the ring and says how much that was.
func (r *ring) write(p []byte, packet bool) int {
	n := r.merge(p)
	for n < len(p) && !r.full() {
		s := r.push()
		s.len = copy(s.page[:], p[n:])
		s.packet = packet
		n += s.len
		r.bytes += s.len
	}
	return n
}

// merge puts the odd bytes at the start of p beside what the last slot holds,
// if they all fit there: what remains of p then fills whole slots.
func (r *ring) merge(p []byte) int {
	odd := len(p) % PageSize
	if odd == 0 || r.empty() {
		return 0
	}
	s := r.at(r.head - 1)
	end := s.off + s.len
	if s.packet || end+odd > PageSize {
		return 0
	}
	copy(s.page[end:], p[:odd])
	s.len += odd
	r.bytes += odd
	return odd
}

// push makes the next slot, empty; the ring is not full.
func (r *ring) push() *slot {
	if r.used() == uint32(len(r.slots)) {
		r.resize(max(1, 2*len(r.slots)))
	}
	s := r.at(r.head)
	r.head++
	pg := r.spare
	r.spare = nil
	if pg == nil {
		pg = pages.Get().(*page)
	}
	*s = slot{page: pg}
	return s
}

// read moves bytes into p, at most one packet, and says how many.
func (r *ring) read(p []byte) int {
	n := 0
	for n < len(p) && !r.empty() {
		s := r.at(r.tail)
		c := copy(p[n:], s.page[s.off:s.off+s.len])
		n += c
		r.bytes -= c
		s.off += c
		s.len -= c
		if r.wasPacket = s.packet; s.packet {
			r.pop()
			return n
		}
		if s.len == 0 {
			r.pop()
		}
	}
	return n
}

// unread puts p, which was read last, before all that is there, past the limit if need be.
func (r *ring) unread(p []byte) {
	for len(p) > 0 {
		if r.used() == uint32(len(r.slots)) {
			r.resize(max(1, 2*len(r.slots)))
		}
		from := (len(p) - 1) / PageSize * PageSize
		s := slot{page: pages.Get().(*page), packet: r.wasPacket}
		s.len = copy(s.page[:], p[from:])
		r.tail--
		*r.at(r.tail) = s
		r.bytes += s.len
		p = p[:from]
	}
}

// peek copies what read would move, and leaves it.
func (r *ring) peek(p []byte) int {
	n := 0
	for i := r.tail; n < len(p) && i != r.head; i++ {
		s := r.at(i)
		n += copy(p[n:], s.page[s.off:s.off+s.len])
		if s.packet {
			break
		}
	}
	return n
}

// pop frees the first slot.
func (r *ring) pop() {
	s := r.at(r.tail)
	r.bytes -= s.len
	if r.spare == nil {
		r.spare = s.page
	} else {
		pages.Put(s.page)
	}
	*s = slot{}
	r.tail++
}

// resize gives the ring n slots, a power of two and at least used.
func (r *ring) resize(n int) {
	slots := make([]slot, n)
	used := r.used()
	for i := range used {
		slots[i] = *r.at(r.tail + i)
	}
	r.slots, r.tail, r.head = slots, 0, used
}

// setLimit changes how many slots may be used; false if more are.
func (r *ring) setLimit(n uint32) bool {
	if r.used() > n {
		return false
	}
	r.limit = n
	if uint32(len(r.slots)) > n {
		r.resize(int(n))
	}
	return true
}

// drop frees all.
func (r *ring) drop() {
	for !r.empty() {
		r.pop()
	}
	if r.spare != nil {
		pages.Put(r.spare)
	}
	r.slots, r.spare = nil, nil
}
