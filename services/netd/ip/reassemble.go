package ip

import (
	"net/netip"
	"slices"
)

// FragmentKey names the datagram that a fragment belongs to: RFC 791, section
// 3.2; RFC 8200, section 4.5 (where the protocol does not count and is 0).
type FragmentKey struct {
	Src, Dst netip.Addr
	Proto    uint8
	ID       uint32
}

// Piece is a fragment: More says that others follow, Offset is in bytes, Data is
// what is behind the headers.
type Piece struct {
	Offset int
	More   bool
	Data   []byte
	// First is what a complaint about the datagram quotes: the packet, as far
	// as it is of use. It counts for the piece with Offset 0.
	First []byte
}

// Bounds of reassembly: what Linux calls ipfrag_high_thresh, ipfrag_time and
// the like.
const (
	fragmentMemory  = 4 << 20 // bytes
	fragmentPieces  = 64 + 65536/1280
	fragmentLasts4  = 30 * 1e9 // ns
	fragmentLasts6  = 60 * 1e9 // RFC 8200, 4.5
	fragmentsAtOnce = 1024
	never           = int64(1<<63 - 1)
)

// Reassembler puts datagrams together again. Pieces that overlap end the whole
// datagram, for IPv6 by RFC 5722, for IPv4 as Linux does; an exact copy of one
// is ignored.
type Reassembler struct {
	held   map[FragmentKey]*datagram
	order  []*datagram // the oldest first
	memory int
}

type datagram struct {
	key    FragmentKey
	pieces []Piece // ascending, apart from each other
	total  int     // -1: not known
	have   int
	until  int64
	first  []byte
	dead   bool // a wrong piece came: the rest is swallowed until the end
}

// Add takes a piece, whose bytes are copied, at now (ns). It gives the whole
// when nothing is missing any more; first is that piece's First.
func (r *Reassembler) Add(now int64, key FragmentKey, p Piece) (whole, first []byte, ok bool) {
	end := p.Offset + len(p.Data)
	d := r.held[key]
	if d == nil {
		d = r.begin(now, key)
	}
	if d.dead {
		return nil, nil, false
	}
	if p.More && len(p.Data)%8 != 0 || end > 65535 || len(p.Data) == 0 || !d.fits(&p) {
		r.kill(d)
		return nil, nil, false
	}
	at, copied, clash := d.place(&p)
	switch {
	case copied:
		return nil, nil, false
	case clash || len(d.pieces) >= fragmentPieces:
		r.kill(d)
		return nil, nil, false
	}
	if p.Offset == 0 {
		d.first = slices.Clone(p.First)
	}
	if !p.More {
		d.total = end
	}
	d.pieces = slices.Insert(d.pieces, at, Piece{Offset: p.Offset, More: p.More, Data: slices.Clone(p.Data)})
	d.have += len(p.Data)
	r.memory += len(p.Data)
	if d.have == d.total {
		whole := make([]byte, 0, d.total)
		for _, q := range d.pieces {
			whole = append(whole, q.Data...)
		}
		first := d.first
		r.drop(d)
		return whole, first, true
	}
	r.shrink()
	return nil, nil, false
}

// fits says whether p agrees with what is known of the end.
func (d *datagram) fits(p *Piece) bool {
	end := p.Offset + len(p.Data)
	if d.total >= 0 {
		return end <= d.total && (p.More || end == d.total)
	}
	if p.More || len(d.pieces) == 0 {
		return true
	}
	last := d.pieces[len(d.pieces)-1]
	return last.Offset+len(last.Data) <= end
}

// place finds where p goes: RFC 815's holes seen from the other side.
func (d *datagram) place(p *Piece) (at int, copied, clash bool) {
	at, found := slices.BinarySearchFunc(d.pieces, p.Offset, func(q Piece, off int) int { return q.Offset - off })
	if found {
		return at, len(d.pieces[at].Data) == len(p.Data), true
	}
	if at > 0 && d.pieces[at-1].Offset+len(d.pieces[at-1].Data) > p.Offset {
		return at, false, true
	}
	return at, false, at < len(d.pieces) && p.Offset+len(p.Data) > d.pieces[at].Offset
}

func (r *Reassembler) begin(now int64, key FragmentKey) *datagram {
	if r.held == nil {
		r.held = map[FragmentKey]*datagram{}
	}
	if len(r.order) >= fragmentsAtOnce {
		r.drop(r.order[0])
	}
	d := &datagram{key: key, total: -1, until: now + fragmentLasts4}
	if key.Src.Is6() {
		d.until = now + fragmentLasts6
	}
	r.held[key] = d
	r.order = append(r.order, d)
	return d
}

// kill frees what d holds, but remembers that it is spoilt.
func (r *Reassembler) kill(d *datagram) {
	for _, q := range d.pieces {
		r.memory -= len(q.Data)
	}
	d.pieces, d.first, d.dead = nil, nil, true
}

func (r *Reassembler) drop(d *datagram) {
	r.kill(d)
	delete(r.held, d.key)
	if at := slices.Index(r.order, d); at >= 0 {
		r.order = slices.Delete(r.order, at, at+1)
	}
}

// shrink drops the oldest ones until the rest fits the memory.
func (r *Reassembler) shrink() {
	for r.memory > fragmentMemory && len(r.order) > 0 {
		r.drop(r.order[0])
	}
}

// Deadline is when Expire is to be called, at the latest.
func (r *Reassembler) Deadline() int64 {
	at := never
	for _, d := range r.order {
		at = min(at, d.until)
	}
	return at
}

// Expire drops what took too long, and gives the First of those whose first
// piece had come: their senders are told (RFC 1122, 3.3.2; RFC 8200, 4.5).
func (r *Reassembler) Expire(now int64) (quotes [][]byte) {
	for i := 0; i < len(r.order); {
		d := r.order[i]
		if d.until > now {
			i++
			continue
		}
		if d.first != nil {
			quotes = append(quotes, d.first)
		}
		r.drop(d)
	}
	return quotes
}

// Memory is how many bytes are held.
func (r *Reassembler) Memory() int { return r.memory }
