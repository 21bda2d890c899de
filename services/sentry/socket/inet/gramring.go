package inet

import (
	"encoding/binary"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// This file moves what comes in pieces with a header each, datagrams and frames,
// between the guest and the rings: proto/netd/v1.

// gramHeader is the size of a header in a ring, in bytes.
const gramHeader = 48

func padded(n int) int { return (n + 7) &^ 7 }

// first reads the header of what comes next and its size, of most bytes. The
// receiving lock is held. EAGAIN if there is none, EIO for nonsense.
func (e *end) first(most int) (h [gramHeader]byte, size int, err error) { return e.header(0, most) }

// header is first of what lies at bytes behind the first.
func (e *end) header(at, most int) (h [gramHeader]byte, size int, err error) {
	n, err := e.down.Len()
	if err != nil {
		return h, 0, linux.EIO
	}
	if n-at < gramHeader {
		return h, 0, linux.EAGAIN
	}
	copy(h[:], e.down.Slice(at, gramHeader))
	size = int(binary.LittleEndian.Uint32(h[:]))
	if size > most || at+gramHeader+padded(size) > n {
		e.down.Consume(n) // all of it goes
		return h, 0, linux.EIO
	}
	return h, size, nil
}

// fill copies the size bytes that lie from behind the header to data, as far as there
// is room, and says how far.
func (e *end) fill(data [][]byte, from, size int) int {
	at := 0
	for _, p := range data {
		at += copy(p, e.down.Slice(from+gramHeader+at, min(len(p), size-at)))
	}
	return at
}

// skip is done with the first, of size bytes.
func (e *end) skip(size int) { e.down.Consume(gramHeader + padded(size)) }

// room waits for nothing: EAGAIN if the ring up has no room for need bytes, in which
// case netd tells of room and blocked is set. The sending lock is held.
func (e *end) room(c *settings, blocked *atomic.Bool, need int) error {
	for armed := false; ; armed = true {
		used, err := e.up.Used()
		if err != nil {
			return linux.EIO
		}
		if used == 0 && need <= e.up.Size() || used+need <= c.sendLimit(e.up.Size(), 0) {
			return nil
		}
		if armed {
			return linux.EAGAIN
		}
		blocked.Store(true)
		e.head.WantSpace.Store(1)
	}
}

// put sends h and size bytes of data up, for which there is room, and wakes netd if it
// sleeps. The sending lock is held.
func (e *end) put(n *Network, h *[gramHeader]byte, data [][]byte, size int) {
	e.up.Restart()
	copy(e.up.Slice(0, gramHeader), h[:])
	at := 0
	for _, p := range data {
		at += copy(e.up.Slice(gramHeader+at, min(len(p), size-at)), p)
	}
	e.up.Publish(gramHeader + padded(size))
	if w := &e.head.WantUp; w.Load() != 0 && w.Swap(0) != 0 {
		n.ring(e.head, e.id)
	}
}

// takeGram is take for sockets without connections: netd's death is ENETDOWN.
func (x *errorState) takeGram(n *Network, e *end) error {
	err := x.take(n, e)
	if err == linux.ECONNRESET {
		err = linux.ENETDOWN
	}
	return err
}

// truncated is what recvmsg(2) answers of at bytes taken out of size.
func truncated(flags, at, size int) (n, out int) {
	switch {
	case at == size:
		return at, 0
	case flags&linux.MSG_TRUNC != 0:
		return size, linux.MSG_TRUNC
	}
	return at, linux.MSG_TRUNC
}
