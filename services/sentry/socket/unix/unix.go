// Package unix provides sockets between the processes of a sandbox: unix(7).
//
// A socket has an inbox that its peers put messages into. A stream is messages
// whose bounds nobody sees, except around files and, with SO_PASSCRED, between
// senders. A Family is a name space of abstract names; sockets bound to a path are
// found by the node at that path.
//
// Lock order: one Socket.mu at a time, but that Connect takes the caller's under
// the listener's (a socket that connects is no listener). Nothing is notified and
// no reference dropped with one held.
//
// Not supported: SO_PEERSEC, diagnostics by netlink.
package unix

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// defaultBuffer is what a socket may have in flight:
// /proc/sys/net/core/wmem_default.
const defaultBuffer = 212992

// maxQueue is how many datagrams may wait in an inbox, beyond the first, from
// senders that it does not talk back to: /proc/sys/net/unix/max_dgram_qlen.
const maxQueue = 10

// state is where a socket stands in its life.
//
//	unconnected -> listening
//	unconnected -> connecting -> connected      (stream, seqpacket)
//	unconnected <-> connected                   (dgram)
//	any -> closed
type state int

const (
	unconnected state = iota
	connecting
	connected
	listening
	closed
)

// Socket is one socket. It implements socket.Socket.
type Socket struct {
	socket.Base
	family *Family

	sendLimit atomic.Int64 // SO_SNDBUF, in bytes
	recvLimit atomic.Int64 // SO_RCVBUF, which means nothing
	lowat     atomic.Int64 // SO_RCVLOWAT, likewise
	passCreds atomic.Bool  // SO_PASSCRED
	passPIDFD atomic.Bool  // SO_PASSPIDFD

	mu struct {
		sync.Mutex
		state    state
		peer     *Socket
		peerCred caller // of SO_PEERCRED and SO_PEERGROUPS
		inbox    inbox
		dropped  []*vfs.File // until unlockDropping
		err      linux.Errno // SO_ERROR
		// noRead, noWrite: shutdown(2), or the peer is gone.
		noRead, noWrite bool
		name            string // as bound
		node            vfs.Node

		backlog int
		pending []*Socket // connections that nobody has accepted

		// blocked are datagram sockets that found the inbox full.
		blocked map[*Socket]struct{}
	}
}

func (f *Family) newSocket(typ, protocol int) *Socket {
	s := &Socket{family: f}
	s.Init(linux.AF_UNIX, typ, protocol)
	s.sendLimit.Store(defaultBuffer)
	s.recvLimit.Store(defaultBuffer)
	s.mu.peerCred = caller{Ucred: linux.Ucred{PID: 0, UID: ^uint32(0), GID: ^uint32(0)}}
	return s
}

// stream says that the bounds of messages do not count, connects that it has a
// peer for good.
func (s *Socket) stream() bool   { return s.Type() == linux.SOCK_STREAM }
func (s *Socket) connects() bool { return s.Type() != linux.SOCK_DGRAM }

// credsOf are the caller's as a control message tells them; effective are those
// that SO_PEERCRED tells.
func credsOf(ctx vfs.Context) linux.Ucred {
	c := ctx.Creds()
	return linux.Ucred{PID: ctx.TGID(), UID: c.UID, GID: c.GID}
}

func effective(ctx vfs.Context) linux.Ucred {
	c := ctx.Creds()
	return linux.Ucred{PID: ctx.TGID(), UID: c.EUID, GID: c.EGID}
}

// caller is who made a socket's other end.
type caller struct {
	linux.Ucred
	groups []uint32 // supplementary
}

func callerOf(ctx vfs.Context) caller { return caller{effective(ctx), ctx.Creds().Groups} }

// closing is what is left to do after a lock was released.
type closing struct {
	files  []*vfs.File
	wakeUp []*Socket
}

func (c *closing) run() {
	for _, s := range c.wakeUp {
		s.Queue().Notify(wait.All)
	}
	for _, f := range c.files {
		f.DecRef(vfs.KernelContext())
	}
}

// Release closes the socket: the peer reads to the end and then gets 0, or
// ECONNRESET if something that it sent was not read.
func (s *Socket) Release() {
	s.release(false)
	collect()
}

// release closes; embryo is a connection that nobody accepted.
func (s *Socket) release(embryo bool) {
	s.family.unbind(s)
	var after closing
	s.mu.Lock()
	unread := !s.mu.inbox.empty()
	peer, pending := s.mu.peer, s.mu.pending
	s.mu.state, s.mu.pending = closed, nil
	s.mu.noRead, s.mu.noWrite = true, true
	after.files = s.mu.inbox.drain()
	after.wakeUp = append(s.takeBlockedLocked(), s)
	s.mu.Unlock()
	for _, p := range pending {
		p.release(true)
	}
	if peer != nil && s.connects() {
		peer.mu.Lock()
		peer.mu.noRead, peer.mu.noWrite = true, true
		if unread || embryo {
			peer.mu.err = linux.ECONNRESET
		}
		peer.mu.Unlock()
		after.wakeUp = append(after.wakeUp, peer)
	}
	after.run()
}

// takeBlockedLocked gives the senders to wake because there is room.
func (s *Socket) takeBlockedLocked() (list []*Socket) {
	for b := range s.mu.blocked {
		list = append(list, b)
	}
	s.mu.blocked = nil
	return list
}

// Shutdown is shutdown(2). A connected peer is cut off the other way round.
func (s *Socket) Shutdown(_ vfs.Context, how int) error {
	if how < linux.SHUT_RD || how > linux.SHUT_RDWR {
		return linux.EINVAL
	}
	read, write := how != linux.SHUT_WR, how != linux.SHUT_RD
	s.mu.Lock()
	s.mu.noRead = s.mu.noRead || read
	s.mu.noWrite = s.mu.noWrite || write
	peer := s.mu.peer
	s.mu.Unlock()
	if peer != nil && s.connects() {
		peer.mu.Lock()
		peer.mu.noRead = peer.mu.noRead || write
		peer.mu.noWrite = peer.mu.noWrite || read
		peer.mu.Unlock()
		peer.Queue().Notify(wait.All)
	}
	s.Queue().Notify(wait.All)
	return nil
}

// Poll is poll(2).
func (s *Socket) Poll() wait.Events {
	s.mu.Lock()
	var ev wait.Events
	st, peer := s.mu.state, s.mu.peer
	if !s.mu.inbox.empty() || st == listening && len(s.mu.pending) > 0 {
		ev |= wait.In
	}
	if s.mu.noRead {
		ev |= wait.In | wait.RDHup
		if s.mu.noWrite {
			ev |= wait.Hup
		}
	}
	if s.mu.err != 0 {
		ev |= wait.Err
	}
	if s.mu.inbox.urgent != nil {
		ev |= wait.Pri
	}
	if s.connects() && (st == unconnected || st == connecting) {
		ev |= wait.Hup
	}
	s.mu.Unlock()
	if st != listening && (peer == nil || peer.hasRoom(s)) {
		ev |= wait.Out
	}
	return ev
}

// hasRoom says that s has room for more from from; a datagram socket without
// room remembers to tell.
func (s *Socket) hasRoom(from *Socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state == closed {
		return true
	}
	if s.connects() || s.mu.peer == from {
		if s.roomyLocked(from) {
			return true
		}
	} else if s.mu.inbox.count <= maxQueue {
		return true
	}
	s.blockLocked(from)
	return false
}

// roomyLocked says that a quarter of from's limit at most is in the inbox: before
// that, a writer is not woken.
func (s *Socket) roomyLocked(from *Socket) bool {
	return int64(s.mu.inbox.cost)*4 <= from.sendLimit.Load()
}

// blockLocked remembers that from waits for room. A stream's peer is told anyway.
func (s *Socket) blockLocked(from *Socket) {
	if s.connects() {
		return
	}
	if s.mu.blocked == nil {
		s.mu.blocked = map[*Socket]struct{}{}
	}
	s.mu.blocked[from] = struct{}{}
}
