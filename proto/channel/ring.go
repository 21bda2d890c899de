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
// i is i+shift modulo the size, a power of two. The producer owns `written`, the
// consumer owns `read`, and
//
//	read <= written <= read + size
//
// holds between honest peers. The producer owns `shift` too, and changes it only
// while the ring is empty, before it publishes; the consumer looks at it when it
// finds the first byte of a ring that was empty. So a ring that runs dry now and
// then starts over and uses a few pages only, which are mapped and in the cache.
// Any shift is as good as any other: a wrong one gives other bytes.
//
// One byte of a ring may be urgent: the producer says behind which, counted from the
// beginning, before it publishes it, so that who sees the byte sees that too.
//
// Each side keeps its own index in private memory
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
	told     *atomic.Uint64 // shift
	urgent   *atomic.Uint64
	written  uint64
	shift    uint64
	lastRead uint64
	reach    uint64
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
	at := (p.written + p.shift + uint64(off)) & (p.size - 1)
	return p.mem[at : at+uint64(n) : at+uint64(n)]
}

// Restart has an empty ring start over, so that the next byte lies at its begin. Empty
// is what Free or Used found last; nothing may lie beyond what is published.
func (p *Producer) Restart() {
	if p.lastRead == p.written && (p.written+p.shift)&(p.size-1) != 0 {
		p.shift = -p.written
		p.told.Store(p.shift)
	}
}

// Urge makes the byte urgent that lies off bytes past the published end, whether it is
// there yet or not.
func (p *Producer) Urge(off int) { p.urgent.Store(p.written + uint64(off) + 1) }

// Publish makes the next n bytes visible to the consumer.
func (p *Producer) Publish(n int) {
	p.reach = max(p.reach, (p.written+p.shift)&(p.size-1)+uint64(n))
	p.written += uint64(n)
	p.own.Store(p.written)
}

// Reach is how many bytes of the ring's memory have been used since the beginning, at
// most.
func (p *Producer) Reach() int { return int(min(p.reach, p.size)) }

// Written is how many bytes were published since the beginning.
func (p *Producer) Written() uint64 { return p.written }

// Consumer is the reading end of a ring. It is not safe for concurrent use.
type Consumer struct {
	mem         []byte
	size        uint64
	own         *atomic.Uint64 // read
	peer        *atomic.Uint64 // written
	told        *atomic.Uint64 // shift
	urgent      *atomic.Uint64
	read        uint64
	shift       uint64
	lastWritten uint64
	reach       uint64
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
	if c.lastWritten == c.read && n > 0 {
		c.shift = c.told.Load()
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
	at := (c.read + c.shift + uint64(off)) & (c.size - 1)
	return c.mem[at : at+uint64(n) : at+uint64(n)]
}

// Consume gives the first n bytes back to the producer.
func (c *Consumer) Consume(n int) {
	c.reach = max(c.reach, (c.read+c.shift)&(c.size-1)+uint64(n))
	c.read += uint64(n)
	c.own.Store(c.read)
}

// Urgent is how many bytes from the beginning on end with the last one that was made
// urgent, which may not be there yet; 0 if none ever was. It is any number if the peer
// means harm. Ask after Len.
func (c *Consumer) Urgent() uint64 { return c.urgent.Load() }

// Read is how many bytes were consumed since the beginning.
func (c *Consumer) Read() uint64 { return c.read }

// Reach is how many bytes of the ring's memory have been read since the beginning, at
// most.
func (c *Consumer) Reach() int { return int(min(c.reach, c.size)) }
