package inet

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// ReadStream is read(2).
func (s *Stream) ReadStream(ctx vfs.Context, p []byte) (int, error) {
	m := socket.Msg{Data: [][]byte{p}}
	return s.RecvMsg(ctx, &m)
}

// WriteStream is write(2).
func (s *Stream) WriteStream(ctx vfs.Context, p []byte) (int, error) {
	if err := budget.Check(); err != nil {
		return 0, err
	}
	m := socket.Msg{Data: [][]byte{p}}
	return s.SendMsg(ctx, &m)
}

// ReadDirect implements vfs.DirectReader: put takes the bytes from the ring itself.
// netd may change them meanwhile, which is as good as having sent others.
func (s *Stream) ReadDirect(ctx vfs.Context, n int, put func(p []byte) (int, error)) (int, error) {
	e := s.end.Load()
	if e == nil || s.direct.Load() != nil {
		return 0, vfs.ErrIndirect
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	have, err := s.unread(e, 0)
	if have == 0 || err != nil {
		return 0, err
	}
	got, err := put(e.down.Slice(0, min(n, have, s.urgent.before(e.down.Read()))))
	if got > 0 {
		s.consumeLocked(e, got)
		s.freed(e)
		s.Received(0, got)
	}
	return got, err
}

// WriteDirect implements vfs.DirectWriter.
func (s *Stream) WriteDirect(ctx vfs.Context, n int, get func(p []byte) (int, error)) (int, error) {
	e := s.end.Load()
	if e == nil || s.direct.Load() != nil {
		return 0, vfs.ErrIndirect
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	room, err := s.writable(e, true)
	if err != nil {
		return 0, err
	}
	e.up.Restart()
	got, err := get(e.up.Slice(0, min(room, n)))
	s.sent(e, got, false)
	return got, err
}

// RecvMsg takes bytes out of the ring down.
func (s *Stream) RecvMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	m.Out = 0
	if m.Flags&linux.MSG_ERRQUEUE != 0 {
		return s.done.receive(m, s.v6, false)
	}
	if s.inq.Load() {
		defer s.tellLeft(m)
	}
	if h := s.direct.Load(); h != nil {
		return h.receive(m)
	}
	e := s.end.Load()
	if e == nil {
		return 0, linux.ENOTCONN
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	if m.Flags&linux.MSG_OOB != 0 {
		return s.receiveUrgentLocked(e, m)
	}
	n, err := s.unread(e, m.Flags)
	if n == 0 || err != nil {
		return 0, err
	}
	skip := s.PeekFrom(m.Flags) + s.urgent.hole(e.down.Read(), n, s.conf.inline())
	if n -= skip; n <= 0 {
		if s.state(e)&(peerClosed|closed) != 0 || s.shutRead.Load() {
			return 0, nil
		}
		e.head.WantDown.Store(1)
		if n, err = s.haveLocked(e); err != nil || n <= skip {
			return 0, linux.EAGAIN
		}
		n -= skip
	}
	n = min(n, m.Len(), s.urgent.before(e.down.Read()+uint64(skip)))
	if m.Flags&linux.MSG_TRUNC == 0 {
		at := 0
		for _, p := range m.Data {
			at += copy(p, e.down.Slice(skip+at, min(len(p), n-at)))
		}
	}
	s.Received(m.Flags, n)
	if m.Flags&linux.MSG_PEEK == 0 && n > 0 {
		s.consumeLocked(e, n)
		s.freed(e)
	}
	return n, nil
}

// tellLeft puts TCP_CM_INQ into a message: how many bytes may be read at once still. The
// end, which is read too, counts as one.
func (s *Stream) tellLeft(m *socket.Msg) {
	n := s.left()
	if s.atEnd() {
		n++
	}
	m.Control.Other = []linux.Cmsg{{Level: linux.IPPROTO_TCP, Type: linux.TCP_INQ, Data: socket.Int(n)}}
}

// atEnd says whether the peer has sent its last byte and end.
func (s *Stream) atEnd() bool {
	if h := s.direct.Load(); h != nil {
		h.d.Lock()
		defer h.d.Unlock()
		return h.peer.finSent
	}
	e := s.end.Load()
	return e != nil && s.state(e)&peerClosed != 0
}

// unread is how many bytes there are, with the receiving lock held, and an urgent one
// passed that reading has come to. With none it gives the reason: EAGAIN, the end (nil),
// or an error.
func (s *Stream) unread(e *end, flags int) (int, error) {
	for armed := false; ; armed = true {
		st := s.state(e)
		n, err := s.haveLocked(e)
		if hole := s.urgent.hole(e.down.Read(), n, s.conf.inline()); hole > 0 && (n == hole || flags&linux.MSG_PEEK == 0) {
			n -= hole
			if flags&linux.MSG_PEEK == 0 {
				s.consumeLocked(e, hole)
			}
		}
		switch {
		case err != nil:
			return 0, linux.ECONNRESET
		case n > 0:
			return n, nil
		}
		if s.errors.is(e, linux.EPIPE) {
			return 0, nil // a reset after the FIN: it is for who writes
		}
		if err := s.errors.take(s.n, e); err != nil {
			return 0, err
		}
		switch {
		case st&(peerClosed|closed) != 0, s.shutRead.Load():
			return 0, nil
		case st&(connected|connecting) == 0:
			return 0, linux.ENOTCONN
		case armed:
			return 0, linux.EAGAIN
		}
		e.head.WantDown.Store(1)
	}
}

// freed tells netd of room in the ring down, if it waits for that and it is
// worth it.
func (s *Stream) freed(e *end) {
	w := &e.head.WantRoom
	if w.Load() == 0 {
		return
	}
	if n, err := e.down.Len(); err == nil && n > s.conf.receiveLimit(e.down.Size())/4 {
		return
	}
	if w.Swap(0) != 0 {
		s.n.ring(e.head, e.id)
	}
}

// SendMsg puts bytes into the ring up.
func (s *Stream) SendMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	if h := s.direct.Load(); h != nil {
		return h.send(ctx, m)
	}
	e := s.end.Load()
	if e == nil {
		return 0, linux.EPIPE
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	want := m.Len()
	room, err := s.writable(e, want > 0)
	if err != nil {
		return 0, err
	}
	n := min(room, want)
	at := 0
	e.up.Restart()
	for _, p := range m.Data {
		k := min(len(p), n-at)
		at += copy(e.up.Slice(at, k), p)
	}
	if m.Flags&linux.MSG_OOB != 0 && n > 0 {
		e.up.Urge(n - 1)
	}
	s.sent(e, n, m.Flags&linux.MSG_MORE != 0)
	return n, nil
}

// writable is how many bytes can be written now, with the sending lock held: EAGAIN
// if none and need, EPIPE, or the socket's error.
func (s *Stream) writable(e *end, need bool) (int, error) {
	if err := s.errors.take(s.n, e); err != nil {
		return 0, err
	}
	st := s.state(e)
	switch {
	case s.shutWrite.Load(), st&(sendClosed|closed) != 0:
		return 0, linux.EPIPE
	case st&deferred != 0:
		return s.roomWithin(e, need, int(s.synRoom.Load()))
	case st&connecting != 0:
		s.blocked.Store(true)
		e.head.WantDown.Store(1)
		if s.state(e)&connecting != 0 {
			return 0, linux.EAGAIN
		}
	case st&connected == 0:
		return 0, linux.EPIPE
	}
	return s.roomWithin(e, need, s.sendLimit(e))
}

// sendLimit is how much of the ring up may be used: SO_SNDBUF, or what netd would have.
func (s *Stream) sendLimit(e *end) int {
	return s.conf.sendLimit(e.up.Size(), int(e.head.SendSpace.Load()))
}

// sent makes n bytes of the ring up netd's, and rings if it sleeps. With more their last may
// wait for others.
func (s *Stream) sent(e *end, n int, more bool) {
	if n <= 0 {
		return
	}
	switch had := e.head.More.Load() != 0; {
	case more && !had:
		e.head.More.Store(1)
	case had && !more:
		e.head.More.Store(0)
	}
	e.up.Publish(n)
	if w := &e.head.WantUp; w.Load() != 0 && w.Swap(0) != 0 {
		s.n.ring(e.head, e.id)
	}
}

// roomWithin is how many bytes the ring up takes now if it is to hold limit, with the
// sending lock held: EAGAIN if none and need.
func (s *Stream) roomWithin(e *end, need bool, limit int) (int, error) {
	for armed := false; ; armed = true {
		used, err := e.up.Used()
		if err != nil {
			return 0, linux.EPIPE
		}
		if room := limit - used; room > 0 {
			return room, nil
		}
		if !need {
			return 0, nil
		}
		if armed {
			return 0, linux.EAGAIN
		}
		s.blocked.Store(true)
		e.head.WantSpace.Store(1)
	}
}

// Poll is what the socket is ready for; netd tells of changes from then on.
func (s *Stream) Poll() wait.Events {
	if s.released.Load() {
		return wait.Hup
	}
	told := wait.Events(0)
	if s.done.waiting() {
		told = wait.Err
	}
	if h := s.direct.Load(); h != nil {
		return h.ready() | told
	}
	s.queue.Lock()
	listening, waiting := s.queue.listening, len(s.queue.waiting)
	s.queue.Unlock()
	e := s.end.Load()
	switch {
	case listening && waiting > 0:
		return wait.In
	case listening && s.n.dead.Load():
		return gone
	case listening:
		return 0
	case e == nil:
		return wait.Out | wait.Hup
	}
	e.head.WantDown.Store(1)
	ev := s.ready(e)
	if ev&wait.Out == 0 {
		s.blocked.Store(true)
		e.head.WantSpace.Store(1)
		ev = s.ready(e)
	}
	return ev | told
}

// ready computes readiness from shared memory alone, as tcp_poll does.
func (s *Stream) ready(e *end) wait.Events {
	var ev wait.Events
	if s.errors.pending(s.n, e) {
		ev |= wait.Err
	}
	st := s.state(e)
	switch {
	case st&deferred != 0:
		return ev | wait.Out
	case st&connecting != 0:
		return ev
	case st&closed != 0:
		return ev | wait.In | wait.Out | wait.RDHup | wait.Hup
	case st&connected == 0:
		return ev | wait.Out | wait.Hup
	}
	s.receiving.Lock()
	n, err := s.haveLocked(e)
	if s.urgent.present && !s.urgent.here(e.down.Read(), n) {
		e.head.WantDown.Store(1)
		n, err = s.haveLocked(e)
	}
	if s.urgent.here(e.down.Read(), n) {
		ev |= wait.Pri
	}
	n -= s.urgent.hole(e.down.Read(), n, s.conf.inline())
	s.receiving.Unlock()
	if n > 0 && n >= s.readable(e) || err != nil {
		ev |= wait.In
	}
	shutRead, shutWrite := s.shutRead.Load(), s.shutWrite.Load() || st&sendClosed != 0
	if st&peerClosed != 0 || shutRead {
		ev |= wait.In | wait.RDHup
		if shutWrite {
			ev |= wait.Hup
		}
	}
	if shutWrite {
		return ev | wait.Out
	}
	s.sending.Lock()
	used, err := e.up.Used()
	s.sending.Unlock()
	if err != nil || used <= s.sendLimit(e)*2/3 {
		ev |= wait.Out
	}
	return ev
}

// told is called when netd has rung: bytes came, room is there, the state or the
// error has changed. Out is told only to those who found it missing.
func (s *Stream) told() {
	e := s.end.Load()
	if e == nil || s.direct.Load() != nil {
		return
	}
	e.head.ToldClient.Store(0)
	ev := s.ready(e)
	s.tellUrgent()
	if ev&wait.In == 0 {
		// netd took the flag down for bytes that somebody has read by now, and
		// may have taken it from one who waits for the next.
		e.head.WantDown.Store(1)
		ev = s.ready(e)
	}
	if s.lowat.Load() > 1 {
		// Who reads and has taken a part may need less than what poll(2) waits for.
		ev |= wait.In
	}
	if ev&wait.Out == 0 && s.blocked.Load() {
		e.head.WantSpace.Store(1) // not enough room yet
		ev = s.ready(e)
	}
	if ev&wait.Out != 0 && ev&(wait.Err|wait.Hup) == 0 && !s.blocked.Swap(false) {
		ev &^= wait.Out
	}
	if ev != 0 {
		s.Queue().Notify(ev)
	}
}

// died is called when netd is gone. A connection within the sentry goes on.
func (s *Stream) died() {
	if s.direct.Load() == nil {
		s.Queue().Notify(gone)
	}
}
