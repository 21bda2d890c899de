package channel

import (
	"errors"
	"sync/atomic"
)

// ErrCorrupt says that the peer wrote an index into shared memory that no
// honest peer writes. Whoever finds it gives the rings up.
var ErrCorrupt = errors.New("corrupt ring index")

// A ring carries bytes from one producer to one consumer through shared memory.
//
// Both indexes count bytes from the beginning and never wrap; the place of byte
// i is i modulo the size, a power of two. The producer owns `written`, the
// consumer owns `read`, and
//
//	read <= written <= read + size
//
// holds between honest peers. Each side keeps its own index in private memory
// and copies the other's exactly once per look, checks it against the equation
// and against what it saw before (an index never goes back), and only then uses
// it. The memory is mapped twice in a row, so that any piece of a ring is one
// slice. What the bytes say is the peer's business: read each of them once.

// Producer is the writing end of a ring. It is not safe for concurrent use.
type Producer struct {
	mem      []byte // twice the size: the same memory twice
	size     uint64
	own      *atomic.Uint64 // written
	peer     *atomic.Uint64 // read
	written  uint64
	lastRead uint64
}

// Size is the ring's capacity in bytes.
func (p *Producer) Size() int { return int(p.size) }

// Free is how many bytes the ring has room for.
func (p *Producer) Free() (int, error) {
	read := p.peer.Load()
	if p.written-read > p.written-p.lastRead {
		return 0, ErrCorrupt
	}
	p.lastRead = read
	return int(p.size - (p.written - read)), nil
}

// Used is how many bytes are published and not yet consumed.
func (p *Producer) Used() (int, error) {
	free, err := p.Free()
	return int(p.size) - free, err
}

// Slice is the room for n bytes, off bytes past the published end. off+n must be
// within what Free gave; beyond the ring's size it is empty.
func (p *Producer) Slice(off, n int) []byte {
	if off < 0 || n < 0 || uint64(off)+uint64(n) > p.size {
		return nil
	}
	at := (p.written + uint64(off)) & (p.size - 1)
	return p.mem[at : at+uint64(n) : at+uint64(n)]
}

// Publish makes the next n bytes visible to the consumer.
func (p *Producer) Publish(n int) {
	p.written += uint64(n)
	p.own.Store(p.written)
}

// Written is how many bytes were published since the beginning.
func (p *Producer) Written() uint64 { return p.written }

// Consumer is the reading end of a ring. It is not safe for concurrent use.
type Consumer struct {
	mem         []byte
	size        uint64
	own         *atomic.Uint64 // read
	peer        *atomic.Uint64 // written
	read        uint64
	lastWritten uint64
}

// Size is the ring's capacity in bytes.
func (c *Consumer) Size() int { return int(c.size) }

// Len is how many bytes can be read.
func (c *Consumer) Len() (int, error) {
	written := c.peer.Load()
	n := written - c.read
	if n > c.size || n < c.lastWritten-c.read {
		return 0, ErrCorrupt
	}
	c.lastWritten = written
	return int(n), nil
}

// Slice is n bytes, off bytes past the first unread one. off+n must be within
// what Len gave; beyond the ring's size it is empty.
func (c *Consumer) Slice(off, n int) []byte {
	if off < 0 || n < 0 || uint64(off)+uint64(n) > c.size {
		return nil
	}
	at := (c.read + uint64(off)) & (c.size - 1)
	return c.mem[at : at+uint64(n) : at+uint64(n)]
}

// Consume gives the first n bytes back to the producer.
func (c *Consumer) Consume(n int) {
	c.read += uint64(n)
	c.own.Store(c.read)
}

// Read is how many bytes were consumed since the beginning.
func (c *Consumer) Read() uint64 { return c.read }
