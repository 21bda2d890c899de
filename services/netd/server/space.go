package server

import (
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/stack"
)

// A namespace of the network that the guest makes is a space: a server beside the
// first, with a stack and sockets of its own, on the same channel, bell, memory and
// goroutine. The sentry numbers spaces; a socket's number has that of its space in it.

// spaceShift is where the number of a space begins in those of its sockets.
const spaceShift = 24

// maxSpaces is how many there are at most besides the first.
const maxSpaces = 127

// spaceOf is the space of a socket, 0 for the first.
func spaceOf(socket uint32) uint32 { return socket &^ accepted >> spaceShift }

// isSpace says whether a number means a space itself, and no socket.
func isSpace(socket uint32) bool { return socket&(1<<spaceShift-1) == 0 }

// posted is what the bell had for another space: a request, or the number of a socket
// that was rung for.
type posted struct {
	request *netdv1.Request
	socket  uint32
}

// changeSpace makes a space, or ends one: EEXIST, ENOENT, ENOSPC.
func (s *server) changeSpace(n uint32, end bool) error {
	sub := s.spaces[n]
	switch {
	case end && sub == nil:
		return linux.ENOENT
	case end:
		s.removeLinksOf(sub)
		sub.end()
		delete(s.spaces, n)
		return nil
	case sub != nil:
		return linux.EEXIST
	case len(s.spaces) >= maxSpaces:
		return linux.ENOSPC
	}
	sub = &server{first: s, space: n, stack: s.stack.Beside(), log: s.log, sockets: map[uint32]*socket{}, nextID: accepted | n<<spaceShift, pool: s.pool}
	sub.bell.Store(s.bell.Load())
	sub.stack.Drive()
	sub.stack.Leave = s.flush
	if s.spaces == nil {
		s.spaces = map[uint32]*server{}
	}
	s.spaces[n] = sub
	return nil
}

// end ends all sockets of a space, and its stack.
func (s *server) end() {
	s.stack.Do(func() {
		for _, k := range s.sockets {
			k.close(true)
		}
	})
	s.stack.Close()
}

// in gives the server of a request's space, nil if there is none.
func (s *server) in(socket uint32) *server {
	if n := spaceOf(socket); n != 0 {
		return s.spaces[n]
	}
	return s
}

// deliver carries out what the bell had for other spaces than the first, in order.
func (s *server) deliver() {
	for len(s.posted) > 0 {
		list := s.posted
		s.posted = nil
		for _, p := range list {
			if sub := s.in(p.socket); sub != nil {
				sub.stack.Do(func() { sub.take(p) })
			}
		}
	}
}

// take carries out one of them, with the stack's lock held.
func (s *server) take(p posted) {
	if p.request == nil {
		s.told(p.socket)
	} else if _, file := s.request(p.request); file != nil {
		file.Close()
	}
}

// stacks calls f with every stack there is.
func (s *server) stacks(f func(*stack.Stack)) {
	f(s.stack)
	for _, sub := range s.spaces {
		f(sub.stack)
	}
}

// count is how many sockets there are in all spaces.
func (s *server) count() int {
	if s.first != nil {
		s = s.first
	}
	n := len(s.sockets)
	for _, sub := range s.spaces {
		n += len(sub.sockets)
	}
	return n
}
