package unix

import "bulkhead/services/sentry/socket"

// Report tells how the socket is: unix(7), sock_diag(7).
func (s *Socket) Report() (r socket.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.State = socket.StateClose
	switch s.mu.state {
	case listening:
		r.State, r.Receive, r.Send = socket.StateListen, len(s.mu.pending), s.mu.backlog
		return r
	case connected:
		r.State = socket.StateEstablished
	}
	r.Receive = s.mu.inbox.bytes
	if s.mu.noRead {
		r.Shut |= 1
	}
	if s.mu.noWrite {
		r.Shut |= 2
	}
	if s.mu.peer != nil {
		r.Peer = s.mu.peer.Ino()
	}
	return r
}
