package unix

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// message is what one send left in a socket's inbox, or of a stream a piece of it.
type message struct {
	next  *message
	data  []byte // not read yet; part of store
	store []byte
	files []*vfs.File // the message holds a reference to each
	creds linux.Ucred
	from  string // the sender's name
	cost  int    // what it counts against the sender's limit, in bytes
	mark  bool   // of the urgent byte: urgent.go
}

// overhead is what a message costs beyond its bytes, so that a great many small
// ones, or empty ones with files, do not get in.
const overhead = 768

// Sizes of the stores that are used again, in bytes. A longer message of a
// datagram socket has a store of its own.
const (
	smallStore = 4096
	largeStore = 32768
)

var (
	smallMessages = sync.Pool{New: func() any { return &message{store: make([]byte, smallStore)} }}
	largeMessages = sync.Pool{New: func() any { return &message{store: make([]byte, largeStore)} }}
)

// newMessage makes one with room for n bytes.
func newMessage(n int) *message {
	var m *message
	switch {
	case n <= smallStore:
		m = smallMessages.Get().(*message)
	case n <= largeStore:
		m = largeMessages.Get().(*message)
	default:
		m = &message{store: make([]byte, n)}
	}
	m.data = m.store[:0]
	return m
}

// free gives the store back. The files are the caller's by then.
func (m *message) free() {
	*m = message{store: m.store}
	switch len(m.store) {
	case smallStore:
		smallMessages.Put(m)
	case largeStore:
		largeMessages.Put(m)
	}
}

// room is how many bytes fit behind the data.
func (m *message) room() int { return cap(m.data) - len(m.data) }

// inbox is a queue of messages. It has no lock.
type inbox struct {
	head, tail *message
	urgent     *message // whose byte MSG_OOB takes
	count      int
	bytes      int // of data
	cost       int
}

func (q *inbox) empty() bool { return q.head == nil }

func (q *inbox) push(m *message) {
	if q.tail != nil {
		q.tail.next = m
	} else {
		q.head = m
	}
	q.tail = m
	q.count++
	q.bytes += len(m.data)
	q.cost += m.cost
}

// pop takes the first off, which the caller frees.
func (q *inbox) pop() *message {
	m := q.head
	if q.urgent == m {
		q.urgent = nil
	}
	if q.head = m.next; q.head == nil {
		q.tail = nil
	}
	m.next = nil
	q.count--
	q.bytes -= len(m.data)
	q.cost -= m.cost
	return m
}

// consume takes n bytes off the front of the first message.
func (q *inbox) consume(n int) {
	m := q.head
	m.data = m.data[n:]
	q.bytes -= n
	c := min(n, m.cost)
	m.cost -= c
	q.cost -= c
}

// drain takes all out and gives the files that were in it, whose references are
// the caller's to drop, with no lock held.
func (q *inbox) drain() (files []*vfs.File) {
	for !q.empty() {
		m := q.pop()
		files = append(files, m.files...)
		m.free()
	}
	flight(files, -1)
	return files
}

// cursor walks through the pieces of a Msg.
type cursor struct {
	pieces [][]byte
	at     int // in the first piece
}

// read copies from the pieces to p, as many bytes as there are.
func (c *cursor) read(p []byte) (n int) {
	for n < len(p) && len(c.pieces) > 0 {
		k := copy(p[n:], c.pieces[0][c.at:])
		n += k
		c.advance(k)
	}
	return n
}

// write copies from p to the pieces, as many bytes as there is room for.
func (c *cursor) write(p []byte) (n int) {
	for n < len(p) && len(c.pieces) > 0 {
		k := copy(c.pieces[0][c.at:], p[n:])
		n += k
		c.advance(k)
	}
	return n
}

// advance moves k bytes on within the first piece.
func (c *cursor) advance(k int) {
	if c.at += k; c.at == len(c.pieces[0]) {
		c.pieces, c.at = c.pieces[1:], 0
	}
}

// left is the number of bytes in the pieces.
func (c *cursor) left() int {
	n := -c.at
	for _, p := range c.pieces {
		n += len(p)
	}
	return n
}
