package inet

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// urgent is TCP's one urgent byte, tcp(7), "MSG_OOB", of a stream of which `have` bytes
// can be read from `place` on. It lies in the stream, and is passed over by who reads on
// unless SO_OOBINLINE: tcp_recvmsg.
type urgent struct {
	marked  bool   // there is a mark at `at`, not passed yet
	present bool   // its byte was not read
	at      uint64 // place in the stream
}

// mark moves the mark. It gives how many bytes are to be dropped: an older urgent byte
// that reading has come to is passed over now, as tcp_check_urg does.
func (u *urgent) mark(at, place uint64, have int, inline bool) (drop int) {
	if u.marked && u.at == place && have > 0 && !inline {
		drop = 1
	}
	*u = urgent{marked: true, present: true, at: at}
	return drop
}

// here says whether the byte has come.
func (u *urgent) here(place uint64, have int) bool {
	return u.present && u.at >= place && u.at-place < uint64(have)
}

// before is how many bytes can be read in one go from place on: up to the mark.
func (u *urgent) before(place uint64) int {
	if !u.marked || place >= u.at {
		return 1 << 30
	}
	return int(min(u.at-place, 1<<30))
}

// hole is how many bytes lie at place that are not there to be read: the urgent one.
func (u *urgent) hole(place uint64, have int, inline bool) int {
	if u.marked && u.at == place && have > 0 && !inline {
		return 1
	}
	return 0
}

// passed takes the mark away once reading has gone beyond.
func (u *urgent) passed(place uint64) {
	if u.marked && u.at < place {
		u.marked, u.present = false, false
	}
}

// unread is SIOCINQ: up to the mark.
func (u *urgent) unread(place uint64, have int, inline bool) int {
	if u.marked && u.at >= place && !inline {
		return min(have, int(min(u.at-place, 1<<30)))
	}
	return have
}

// receive is recv(2) with MSG_OOB of the byte that at gives: EINVAL if there is none, or
// it was read, or lies in the stream; EAGAIN while it is only announced.
func (u *urgent) receive(m *socket.Msg, place uint64, have int, inline, ended bool, at func(off int) byte) (int, error) {
	switch {
	case !u.present || inline || u.at < place:
		return 0, linux.EINVAL
	case u.here(place, have):
	case ended:
		return 0, nil
	default:
		return 0, linux.EAGAIN
	}
	b := at(int(u.at - place))
	if m.Flags&linux.MSG_PEEK == 0 {
		u.present = false
	}
	m.Out |= linux.MSG_OOB
	for _, p := range m.Data {
		if len(p) > 0 {
			if m.Flags&linux.MSG_TRUNC == 0 {
				p[0] = b
			}
			return 1, nil
		}
	}
	m.Out |= linux.MSG_TRUNC
	return 0, nil
}

// holeLocked is how many bytes a read passes over at the urgent byte: none that a peek
// does not leave there.
func (h *half) holeLocked(flags int) int {
	hole := h.urgent.hole(h.consumed, h.in.size, h.owner.conf.inline())
	if hole > 0 && flags&linux.MSG_PEEK == 0 {
		h.consumeLocked(hole)
		return 0
	}
	return hole
}

// consumeLocked is done with n bytes.
func (h *half) consumeLocked(n int) {
	h.in.read(n)
	h.consumed += uint64(n)
	h.urgent.passed(h.consumed)
}

// receiveUrgent is recv(2) with MSG_OOB.
func (h *half) receiveUrgent(m *socket.Msg) (int, error) {
	h.d.Lock()
	defer h.d.Unlock()
	return h.urgent.receive(m, h.consumed, h.in.size, h.owner.conf.inline(), h.shutRead || h.over(), func(off int) byte { return h.in.at(off, 1)[0] })
}

// AtMark is SIOCATMARK: reading has come to the urgent byte.
func (s *Stream) AtMark() bool {
	if h := s.direct.Load(); h != nil {
		h.d.Lock()
		defer h.d.Unlock()
		return h.urgent.marked && h.consumed == h.urgent.at
	}
	e := s.end.Load()
	if e == nil {
		return false
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.haveLocked(e)
	return s.urgent.marked && s.urgent.at == e.down.Read()
}

// haveLocked is how many bytes lie in the ring down. It takes note of an urgent one.
func (s *Stream) haveLocked(e *end) (int, error) {
	n, err := e.down.Len()
	if at := e.down.Urgent(); at != s.urgedAt && err == nil {
		s.urgedAt = at
		if place := e.down.Read(); at > place {
			drop := s.urgent.mark(at-1, place, n, s.conf.inline())
			e.down.Consume(drop)
			n -= drop
			s.urged.Store(true)
		}
	}
	return n, err
}

// receiveUrgentLocked is recv(2) with MSG_OOB of bytes that come by netd.
func (s *Stream) receiveUrgentLocked(e *end, m *socket.Msg) (int, error) {
	n, err := s.haveLocked(e)
	if err != nil {
		return 0, linux.ECONNRESET
	}
	ended := s.state(e)&closed != 0 || s.shutRead.Load()
	return s.urgent.receive(m, e.down.Read(), n, s.conf.inline(), ended, func(off int) byte { return e.down.Slice(off, 1)[0] })
}

// consumeLocked is done with n bytes of the ring down.
func (s *Stream) consumeLocked(e *end, n int) {
	e.down.Consume(n)
	s.urgent.passed(e.down.Read())
}

// tellUrgent signals SIGURG, once for each urgent byte that was announced.
func (s *Stream) tellUrgent() {
	if s.urged.Load() && s.urged.Swap(false) {
		s.Queue().Notify(wait.Urg)
	}
}
