package inet

import (
	"bytes"
	"encoding/binary"
	"sync"

	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	netdv1 "bulkhead/proto/netd/v1"
)

// hearer hears netd's bell.
type hearer struct{ n *Network }

// Told tells one socket.
func (h hearer) Told(id uint32) {
	n := h.n.in(id &^ theirs >> spaceShift)
	if n == nil {
		return
	}
	n.mu.Lock()
	m := n.sockets[id]
	n.mu.Unlock()
	if m != nil {
		m.told()
	}
}

// Letter takes a notice.
func (h hearer) Letter(p []byte) { h.n.letter(p) }

// letters recycles the buffers of outgoing letters.
var letters = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// post asks without an answer: by a letter, if it fits.
func (n *Network) post(req *netdv1.Request) {
	if n.ready() != nil {
		return
	}
	b := letters.Get().(*[]byte)
	defer letters.Put(b)
	if p, err := (proto.MarshalOptions{}).MarshalAppend((*b)[:0], req); err == nil {
		*b = p
		if n.bell.Send(p) {
			n.bell.Ring()
			return
		}
	}
	n.client.Notify(req)
}

// notices keeps what netd says unasked in order, though it comes two ways: as frames,
// with descriptors, and as letters, which may be seen earlier than frames that were
// sent before them. Its lock is held while a notice is taken.
type notices struct {
	sync.Mutex
	frames  uint32   // those that have come
	waiting [][]byte // letters that some are missing before
	size    int      // of all of them
}

// maxWaiting bounds what letters may wait for frames, in bytes.
const maxWaiting = 1 << 20

// letter takes a notice by the bell: the number of frames before it, and itself.
func (n *Network) letter(p []byte) {
	q := &n.notices
	q.Lock()
	defer q.Unlock()
	if len(q.waiting) == 0 && n.openLocked(p) {
		return
	}
	if q.size += len(p); q.size > maxWaiting {
		go n.client.Close() // not from within the bell
		return
	}
	q.waiting = append(q.waiting, bytes.Clone(p))
}

// openLocked takes the notice in a letter, unless frames before it are missing.
func (n *Network) openLocked(p []byte) bool {
	if len(p) < 4 {
		return true
	}
	if int32(binary.LittleEndian.Uint32(p)-n.notices.frames) > 0 {
		return false
	}
	var m netdv1.Notice
	if proto.Unmarshal(p[4:], &m) == nil {
		n.noticed(&m, nil)
	}
	return true
}

// notice takes what netd says unasked in a frame.
func (n *Network) notice(f *channel.Frame) {
	defer f.Release()
	q := &n.notices
	q.Lock()
	defer q.Unlock()
	var m netdv1.Notice
	if f.Unmarshal(&m) == nil {
		fds := append([]int(nil), f.FDs...)
		f.FDs = nil
		n.noticed(&m, fds)
	}
	q.frames++
	for len(q.waiting) > 0 && n.openLocked(q.waiting[0]) {
		q.size -= len(q.waiting[0])
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
	}
}

// noticed takes a notice with the lock of notices held. What is of a space that is gone
// goes with it.
func (n *Network) noticed(m *netdv1.Notice, fds []int) {
	if n = n.in(m.Space); n == nil {
		closeAll(fds)
		return
	}
	switch e := m.Event.(type) {
	case *netdv1.Notice_Accepted:
		n.accepted(e.Accepted, fds)
		return
	case *netdv1.Notice_Heads:
		n.lead().takeHeads(e.Heads, fds)
		return
	case *netdv1.Notice_Forgotten:
		n.lead().forget(e.Forgotten.Rings)
	case *netdv1.Notice_Changed:
		if tell := n.watcher.Load(); tell != nil {
			(*tell)(e.Changed)
		}
	case *netdv1.Notice_Filter:
		if tell := n.filterWatcher.Load(); tell != nil {
			(*tell)(int(e.Filter.Group), e.Filter.Messages)
		}
	case *netdv1.Notice_Error:
		n.mu.Lock()
		d, _ := n.sockets[e.Error.Socket].(*Dgram)
		n.mu.Unlock()
		if d != nil {
			d.report(e.Error)
		}
	}
	closeAll(fds)
}

// accepted puts a new connection into its listening socket's queue.
func (n *Network) accepted(a *netdv1.Accepted, fds []int) {
	mem, err := n.take(a.Rings, fds)
	if err != nil || a.Socket&theirs == 0 {
		return
	}
	n.mu.Lock()
	l, _ := n.sockets[a.Listener].(*Stream)
	_, taken := n.sockets[a.Socket]
	n.mu.Unlock()
	if taken {
		n.drop(0, mem)
		return
	}
	if l == nil || !l.incoming(a, mem) {
		n.drop(0, mem)
		n.post(closing(a.Socket, true))
	}
}
