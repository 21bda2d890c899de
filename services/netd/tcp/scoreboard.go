package tcp

// piece is a part of the stream that was sent at once, and what is known of it.
// It is in flight unless it is sacked, or lost without having been sent again.
type piece struct {
	start, end Seq  // FIN counts
	at         Time // when it was sent last
	sacked     bool // the peer has it
	lost       bool // it, as sent first, is gone
	again      bool // it was sent more than once
	inAir      bool // lost, and sent again since
	probed     bool // one of the times was a tail loss probe
	limited    bool // the sender had nothing else then

	// What was delivered when it was sent: the beginning of a rate sample.
	delivered   uint64
	deliveredAt Time
	firstAt     Time

	older, newer *piece // by time of sending; both nil and not `oldest`: not listed
}

func (p *piece) len() int { return int(p.end - p.start) }

// scoreboard is what was sent and is not acknowledged: in the order of the
// stream, and of those in flight also in the order of sending.
type scoreboard struct {
	list           []*piece // list[head:], ascending and without gaps
	head           int
	oldest, newest *piece
	free           *piece // linked by newer
	frees          int

	// Bytes, of the pieces in each condition.
	sacked, lost, inAir int
	// hint: no piece before it is lost and not sent again.
	hint Seq
}

// keepFree is how many pieces are kept for later; so many an idle connection
// holds.
const keepFree = 4

func (b *scoreboard) pieces() []*piece { return b.list[b.head:] }

// Bounds of how many pieces there are. A peer that says of every second byte that it has
// it would have us keep a piece, of some hundred bytes, for each byte in flight, and go
// through all of them with each segment of its.
const (
	maxPieces  = 1 << 14 // with so many nothing new is sent; a window has fewer of the least segments
	fewPieces  = 1 << 10
	perSegment = 2
)

// crumbled says that there are so many pieces that none is cut for what the peer says
// any more.
func (c *Conn) crumbled() bool {
	return len(c.board.pieces()) > fewPieces+perSegment*int(c.nxt-c.una)/c.mss
}

// find gives the index, in pieces, of the one that holds seq, or of the first
// one after it.
func (b *scoreboard) find(seq Seq) int {
	ps := b.pieces()
	lo, hi := 0, len(ps)
	for lo < hi {
		mid := (lo + hi) / 2
		if ps[mid].end.Leq(seq) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (b *scoreboard) take() *piece {
	p := b.free
	if p == nil {
		return &piece{}
	}
	b.free = p.newer
	b.frees--
	*p = piece{}
	return p
}

func (b *scoreboard) give(p *piece) {
	if b.frees >= 64 || b.frees >= keepFree && b.head == len(b.list) {
		return
	}
	p.older, p.newer = nil, b.free
	b.free = p
	b.frees++
}

// trim gives memory back when nothing is in flight.
func (b *scoreboard) trim() {
	for b.frees > keepFree {
		b.free = b.free.newer
		b.frees--
	}
	if cap(b.list) > 64 {
		b.list = nil
	}
}

// push adds what is sent for the first time.
func (b *scoreboard) push(now Time, start, end Seq) *piece {
	p := b.take()
	p.start, p.end, p.at = start, end, now
	if b.head > 32 && b.head > len(b.list)/2 {
		n := copy(b.list, b.list[b.head:])
		clear(b.list[n:])
		b.list, b.head = b.list[:n], 0
	}
	b.list = append(b.list, p)
	b.enlist(p)
	return p
}

func (b *scoreboard) enlist(p *piece) {
	p.older, p.newer = b.newest, nil
	if b.newest != nil {
		b.newest.newer = p
	} else {
		b.oldest = p
	}
	b.newest = p
}

// relist puts p back where it was by its time.
func (b *scoreboard) relist(p *piece) {
	next := (*piece)(nil)
	prev := b.newest
	for prev != nil && sentAfter(prev.at, prev.end, p.at, p.end) {
		next, prev = prev, prev.older
	}
	p.older, p.newer = prev, next
	if prev != nil {
		prev.newer = p
	} else {
		b.oldest = p
	}
	if next != nil {
		next.older = p
	} else {
		b.newest = p
	}
}

func (b *scoreboard) delist(p *piece) {
	if p.older == nil && b.oldest != p {
		return
	}
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		b.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		b.newest = p.older
	}
	p.older, p.newer = nil, nil
}

// split cuts the piece at index i, of pieces, in two at seq.
func (b *scoreboard) split(i int, seq Seq) {
	p := b.pieces()[i]
	q := b.take()
	*q = *p
	q.start, p.end = seq, seq
	if p.older != nil || b.oldest == p { // behind p in time, too
		q.older, q.newer = p, p.newer
		if p.newer != nil {
			p.newer.older = q
		} else {
			b.newest = q
		}
		p.newer = q
	}
	at := b.head + i + 1
	b.list = append(b.list, nil)
	copy(b.list[at+1:], b.list[at:])
	b.list[at] = q
}

// pop drops the first piece; what it counted for is not counted any more.
func (b *scoreboard) pop() {
	p := b.list[b.head]
	b.uncount(p)
	b.delist(p)
	b.list[b.head] = nil
	b.head++
	if b.head == len(b.list) {
		b.list, b.head = b.list[:0], 0
	}
	b.give(p)
}

// cutFront drops the first bytes of the first piece, up to seq.
func (b *scoreboard) cutFront(seq Seq) {
	p := b.list[b.head]
	b.uncount(p)
	p.start = seq
	b.count(p)
}

func (b *scoreboard) count(p *piece)   { b.tally(p, p.len()) }
func (b *scoreboard) uncount(p *piece) { b.tally(p, -p.len()) }

func (b *scoreboard) tally(p *piece, n int) {
	if p.sacked {
		b.sacked += n
	}
	if p.lost {
		b.lost += n
	}
	if p.inAir {
		b.inAir += n
	}
}

// markSacked notes that the peer holds p.
func (b *scoreboard) markSacked(p *piece) {
	b.uncount(p)
	p.sacked, p.lost, p.inAir = true, false, false
	b.count(p)
	b.delist(p)
}

// markLost notes that p, as sent last, is gone.
func (b *scoreboard) markLost(p *piece) {
	if p.sacked {
		return
	}
	b.uncount(p)
	p.lost, p.inAir = true, false
	b.count(p)
	b.delist(p)
	b.hint = minSeq(b.hint, p.start)
}

// markAgain notes that p has been sent again.
func (b *scoreboard) markAgain(now Time, p *piece) {
	b.uncount(p)
	p.again = true
	p.inAir = p.lost
	p.at = now
	b.count(p)
	b.delist(p)
	b.enlist(p)
}

// markFound takes back that p was lost.
func (b *scoreboard) markFound(p *piece) {
	if !p.lost {
		return
	}
	b.uncount(p)
	listed := p.inAir
	p.lost, p.inAir = false, false
	b.count(p)
	if !listed {
		b.relist(p)
	}
}

// nextLost is the index of the first piece that is lost and not sent again, or
// -1.
func (b *scoreboard) nextLost() int {
	if b.lost == b.inAir {
		return -1
	}
	ps := b.pieces()
	for i := b.find(b.hint); i < len(ps); i++ {
		if ps[i].lost && !ps[i].inAir {
			b.hint = ps[i].start
			return i
		}
	}
	return -1
}
