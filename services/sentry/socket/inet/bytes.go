package inet

import (
	"sync"
)

// Sizes of the pieces that bytes wait in.
const (
	smallPiece = 4 << 10
	largePiece = 64 << 10
)

// piece is a part of a byteQueue: r <= w <= len(mem). What lies before w is only
// read any more, and what lies behind it belongs to the one who writes.
type piece struct {
	next *piece
	mem  []byte
	r, w int
}

var (
	smallPieces = sync.Pool{New: func() any { return &piece{mem: make([]byte, smallPiece)} }}
	largePieces = sync.Pool{New: func() any { return &piece{mem: make([]byte, largePiece)} }}
)

func newPiece(small bool) *piece {
	if small {
		return smallPieces.Get().(*piece)
	}
	return largePieces.Get().(*piece)
}

func (p *piece) free() {
	p.next, p.r, p.w = nil, 0, 0
	if len(p.mem) == smallPiece {
		smallPieces.Put(p)
	} else {
		largePieces.Put(p)
	}
}

// byteQueue carries the bytes of one direction. Its methods are called with the
// lock of its owner held; the memory that room and first give is copied to and
// from without it, by one writer and one reader at a time. With nothing in it, it
// holds no memory.
type byteQueue struct {
	head, tail *piece
	size       int  // bytes that can be read
	writing    bool // between room and wrote
}

// room is memory for some of the n bytes that are to come.
func (q *byteQueue) room(n int) []byte {
	t := q.tail
	if t == nil || t.w == len(t.mem) {
		p := newPiece(t == nil && n <= smallPiece)
		if t == nil {
			q.head = p
		} else {
			t.next = p
		}
		q.tail, t = p, p
	}
	q.writing = true
	return t.mem[t.w:min(len(t.mem), t.w+n)]
}

// wrote makes n bytes of what room gave readable.
func (q *byteQueue) wrote(n int) {
	q.tail.w += n
	q.size += n
	q.writing = false
}

// at is memory that holds some of up to n bytes, off bytes behind the first.
func (q *byteQueue) at(off, n int) []byte {
	p := q.head
	for p != nil && off >= p.w-p.r {
		off -= p.w - p.r
		p = p.next
	}
	if p == nil {
		return nil
	}
	return p.mem[p.r+off : min(p.w, p.r+off+n)]
}

// read takes n bytes off the front; there are as many.
func (q *byteQueue) read(n int) {
	q.size -= n
	for p := q.head; p != nil; p = q.head {
		k := min(n, p.w-p.r)
		p.r += k
		n -= k
		if p.r < p.w || p == q.tail && q.writing {
			return
		}
		if q.head = p.next; q.head == nil {
			q.tail = nil
		}
		p.free()
	}
}
