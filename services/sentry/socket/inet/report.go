package inet

import (
	"net/netip"

	"bulkhead/services/sentry/socket"
)

// Report tells how the connection is, from what the sentry sees of it.
func (s *Stream) Report() (r socket.Report) {
	if s.shutRead.Load() {
		r.Shut |= 1
	}
	if s.shutWrite.Load() {
		r.Shut |= 2
	}
	r.Device = s.conf.link()
	s.queue.Lock()
	listening, waiting, backlog := s.queue.listening, len(s.queue.waiting), s.queue.backlog
	s.queue.Unlock()
	h, e := s.direct.Load(), s.end.Load()
	switch {
	case listening:
		r.State, r.Receive, r.Send = socket.StateListen, waiting, backlog
	case h != nil:
		r.State = h.state()
		r.Receive, r.Send = h.queued()
		h.d.Lock()
		if h.shutRead {
			r.Shut |= 1
		}
		if h.finSent {
			r.Shut |= 2
		}
		h.d.Unlock()
	case e == nil:
		r.State = socket.StateClose
	default:
		r.State = streamState(s.state(e))
		s.receiving.Lock()
		r.Receive, _ = e.down.Len()
		s.receiving.Unlock()
		s.sending.Lock()
		r.Send, _ = e.up.Used()
		s.sending.Unlock()
	}
	return r
}

// streamState is what the bits of a head's state come to.
func streamState(st uint32) int {
	switch {
	case st&closed != 0:
		return socket.StateClose
	case st&connecting != 0:
		return socket.StateSynSent
	case st&connected == 0:
		return socket.StateClose
	case st&peerClosed != 0 && st&sendClosed != 0:
		return socket.StateLastAck
	case st&peerClosed != 0:
		return socket.StateCloseWait
	case st&sendClosed != 0:
		return socket.StateFinWait2
	}
	return socket.StateEstablished
}

// Report tells what waits in the socket.
func (d *Dgram) Report() (r socket.Report) {
	d.mu.Lock()
	linked := d.mu.remote != (netip.AddrPort{})
	d.mu.Unlock()
	r.State, r.Device = socket.StateClose, d.conf.link()
	if linked {
		r.State = socket.StateEstablished
	}
	if d.shutRead.Load() {
		r.Shut |= 1
	}
	if d.shutWrite.Load() {
		r.Shut |= 2
	}
	e := d.end.Load()
	if e == nil {
		return r
	}
	d.receiving.Lock()
	r.Receive, _ = e.down.Len()
	d.receiving.Unlock()
	d.mail.Lock()
	r.Receive += d.mail.cost
	d.mail.Unlock()
	d.sending.Lock()
	r.Send, _ = e.up.Used()
	d.sending.Unlock()
	return r
}
