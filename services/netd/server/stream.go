package server

import (
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/stack"
)

// sendQueue is a socket's ring up as the stack sees it.
type sendQueue socket

// Len is how many bytes there are. After the sentry has spoilt its index it
// stays what it was.
func (q *sendQueue) Len() int {
	n, err := q.up.Len()
	if err != nil {
		q.broken = true
		return q.seen
	}
	q.seen = n
	return n
}

// Urgent is where an urgent byte ends; 0 for a place that the sentry cannot mean.
func (q *sendQueue) Urgent() int {
	if n := q.up.Urgent() - q.up.Read(); n <= uint64(q.seen) {
		return int(n)
	}
	return 0
}

// More is whether the last write promised another: MSG_MORE.
func (q *sendQueue) More() bool { return q.rings.Head.More.Load() != 0 }

func (q *sendQueue) Slice(off, n int) []byte { return q.up.Slice(off, n) }

func (q *sendQueue) Discard(n int) {
	q.up.Consume(n)
	q.seen -= n
	(*socket)(q).tellSpace()
}

// Arm asks the sentry to ring when it writes.
func (q *sendQueue) Arm() bool {
	before := q.seen
	q.rings.Head.WantUp.Store(1)
	return q.Len() > before
}

// Seen is what Len gave last.
func (q *sendQueue) Seen() int { return q.seen }

func (q *sendQueue) Broken() bool { return q.broken }

// receiveQueue is a socket's ring down as the stack sees it.
type receiveQueue socket

// Room is what the ring has room for, within SO_RCVBUF.
func (q *receiveQueue) Room() int {
	free, err := q.down.Free()
	if err != nil {
		q.broken = true
		return 0
	}
	used := q.down.Size() - free
	return max(min(free, q.receiveLimit-used), 0)
}

func (q *receiveQueue) Put(off int, p []byte) {
	if q.ahead == 0 {
		q.down.Free() // what is wrong with it is found at the next look for room
		q.down.Restart()
	}
	copy(q.down.Slice(off, len(p)), p)
	q.ahead = max(q.ahead, off+len(p))
}

func (q *receiveQueue) Commit(n int) {
	q.ahead -= n
	q.down.Publish(n)
	(*socket)(q).tellDown()
}

// Urge says that a byte is urgent, whether the sentry waits for bytes or not: SIGURG.
func (q *receiveQueue) Urge(off int) {
	q.down.Urge(off)
	(*socket)(q).tell()
}

// ArmRoom asks the sentry to ring when it reads.
func (q *receiveQueue) ArmRoom() { q.rings.Head.WantRoom.Store(1) }

func (q *receiveQueue) Broken() bool { return q.broken }

// Changed publishes a stream's state.
func (k *socket) Changed() {
	st := k.tcp.StatusLocked()
	var bits netdv1.SocketState
	for _, b := range [...]struct {
		on  bool
		bit netdv1.SocketState
	}{
		{st.Connected || st.Closed, netdv1.SocketState_SOCKET_STATE_CONNECTED},
		{st.Connecting, netdv1.SocketState_SOCKET_STATE_CONNECTING},
		{st.Listening, netdv1.SocketState_SOCKET_STATE_LISTENING},
		{st.PeerClosed, netdv1.SocketState_SOCKET_STATE_PEER_CLOSED},
		{st.SendClosed, netdv1.SocketState_SOCKET_STATE_SEND_CLOSED},
		{st.Closed, netdv1.SocketState_SOCKET_STATE_CLOSED},
		{st.Drained, netdv1.SocketState_SOCKET_STATE_DRAINED},
		{st.Deferred, netdv1.SocketState_SOCKET_STATE_DEFERRED},
	} {
		if b.on {
			bits |= b.bit
		}
	}
	h := k.rings.Head
	if err := k.tcp.ErrorLocked(); err != 0 && st.Closed {
		h.Error.Store(uint32(err))
		h.ErrorCount.Add(1)
	}
	h.State.Store(uint32(bits))
	k.tell()
}

// Incoming makes the socket of a connection in the handshake.
func (k *socket) Incoming(child *stack.TCP) (stack.TCPOwner, stack.SendQueue, stack.ReceiveQueue, error) {
	s := k.s
	for s.advance(); s.sockets[s.nextID] != nil; s.advance() {
	}
	size := RingSize
	if s.far(child.RemoteLocked().Addr()) {
		size = FarRingSize
	}
	c, err := s.newSocket(s.nextID, k.v6, size)
	if err != nil {
		return nil, nil, nil, err
	}
	c.tcp = child
	c.options, c.protocol, c.lingers = k.options, k.protocol, k.lingers
	c.receiveLimit, c.sendLimit = c.limit(k.options.GetReceiveBuffer()), c.limit(k.options.GetSendBuffer())
	return c, (*sendQueue)(c), (*receiveQueue)(c), nil
}

// advance makes nextID the next number of ours.
func (s *server) advance() {
	if n := (s.nextID + 1) & (1<<spaceShift - 1); n != 0 {
		s.nextID = accepted | s.space<<spaceShift | n
	} else {
		s.nextID = accepted | s.space<<spaceShift | 1
	}
}

// Accepted announces a connection.
func (k *socket) Accepted(child *stack.TCP) {
	c, ok := child.OwnerLocked().(*socket)
	if !ok {
		return
	}
	k.s.sockets[c.id] = c
	k.queued++
	k.rings.Head.Queued.Store(k.queued)
	rings, file := c.entry.message()
	k.s.queue(&netdv1.Notice{Event: &netdv1.Notice_Accepted{Accepted: &netdv1.Accepted{
		Listener: k.id, Socket: c.id, Local: address(child.LocalLocked()), Remote: remoteOf(child), Rings: rings,
		Syn: child.SynLocked(),
	}}}, file)
}

// remoteOf is a connection's peer, with the interface if its address is one of a link.
func remoteOf(e *stack.TCP) *netdv1.Address {
	m := address(e.RemoteLocked())
	if a := e.RemoteLocked().Addr(); a.Is6() && a.IsLinkLocalUnicast() {
		m.Scope = uint32(e.InterfaceLocked())
	}
	return m
}

// Pending is how many announced connections nobody has taken. The count that the
// sentry keeps is believed only where it is possible.
func (k *socket) Pending() int {
	n := k.queued - k.rings.Head.Taken.Load()
	if n > linux.SOMAXCONN+1 {
		return linux.SOMAXCONN + 1
	}
	return int(n)
}
