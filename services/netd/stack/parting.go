package stack

import "bulkhead/services/netd/tcp"

// Parting says whether a peer outside has not yet got all that a closed
// connection had to send.
func (s *Stack) Parting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, e := range s.conns {
		if t.remote.Addr().IsLoopback() || e.conn == nil || !e.closed {
			continue
		}
		switch e.conn.State() {
		case tcp.FinWait1, tcp.Closing, tcp.LastAck:
			return true
		}
	}
	return false
}
