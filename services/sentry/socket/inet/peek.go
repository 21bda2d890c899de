package inet

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
)

// peekOn is MSG_PEEK under SO_PEEK_OFF: it passes over so many bytes of the datagrams
// that wait, and then over what it has seen. The receiving lock is held. EAGAIN when
// they have all been seen.
func (d *Dgram) peekOn(e *end, m *socket.Msg) (int, error) {
	if g, _, err := d.await(e); err != nil || !g.from.IsValid() {
		return 0, err
	}
	off := d.PeekOffset()
	for p := d.mail.first(); p != nil; p = d.mail.after(p) {
		if off >= p.size && off > 0 {
			off -= p.size
			continue
		}
		n := 0
		for _, b := range m.Data {
			n += copy(b, p.data[off+n:])
		}
		return d.peeked(m, p.gram, p.at, off, n), nil
	}
	for at := 0; ; {
		h, size, err := e.header(at, mostRecord)
		if err == linux.EAGAIN {
			e.head.WantDown.Store(1)
			h, size, err = e.header(at, mostRecord)
		}
		if err != nil {
			return 0, err
		}
		g := readGram(h, size)
		if off >= g.size && off > 0 {
			off -= g.size
			at += gramHeader + padded(size)
			continue
		}
		n := e.fill(m.Data, at+g.ahead+off, g.size-off)
		return d.peeked(m, g, time.Time{}, off, n), nil
	}
}

// peeked finishes a message of whose datagram n bytes behind off were copied. It counts
// as cut even where it was seen to its end and no further byte would have fitted, as
// on Linux.
func (d *Dgram) peeked(m *socket.Msg, g gram, at time.Time, off, n int) int {
	m.Addr = scopedSockaddr(d.v6, g.from, g.index)
	m.Control.Other = d.control(g, at)
	if m.Out = 0; m.Len() <= g.size-off && n < g.size {
		m.Out = linux.MSG_TRUNC
	}
	if m.Flags&linux.MSG_TRUNC != 0 {
		n = g.size
	}
	d.Received(linux.MSG_PEEK, n)
	return n
}
