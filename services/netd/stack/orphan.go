package stack

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/tcp"
)

// OrphansLocked are the connections that their users have closed, or do not have yet:
// those in the handshake, those that end, and all in TIME-WAIT.
func (s *Stack) OrphansLocked() (list []*TCP) {
	for _, e := range s.conns {
		if e.closed || e.owner == nil || e.parent != nil && !e.announced || e.conn.State() == tcp.TimeWait {
			list = append(list, e)
		}
	}
	return list
}

// UIDLocked is the user who made the socket, or the one that took the connection.
func (e *TCP) UIDLocked() uint32 { return e.place.opts.UID }

// V6Locked says whether it is of an AF_INET6 socket.
func (e *TCP) V6Locked() bool { return e.place.v6 }

// PathMTULocked is what the path to the peer takes in bytes, 0 without one.
func (e *TCP) PathMTULocked() int {
	if e.conn == nil {
		return 0
	}
	if p := e.path(); p != nil {
		return p.MTU
	}
	return 0
}

// DestroyLocked ends the connection, or what listens, with a reset; its user gets
// ECONNABORTED.
func (e *TCP) DestroyLocked() {
	switch {
	case e.listening:
		e.stopListening()
		e.err = linux.ECONNABORTED
		e.changed()
	case e.conn == nil || e.conn.State() == tcp.Closed:
	case e.conn.State() == tcp.TimeWait:
		e.drop()
	default:
		e.err = linux.ECONNABORTED
		e.conn.Abort()
		e.process(nil)
	}
}

// AgeLocked is how long a point in time of the stack's is past.
func (s *Stack) AgeLocked(at tcp.Time) time.Duration {
	return time.Duration(max(s.now-at, 0))
}
