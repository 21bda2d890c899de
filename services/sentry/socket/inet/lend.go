package inet

// Arrived implements vfs.Lendable.
func (s *Stream) Arrived(p []byte) int {
	e := s.lendable()
	if e == nil || s.lowat.Load() > 1 || s.shutRead.Load() {
		return 0
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	n, err := s.haveLocked(e)
	if err != nil || n > len(p) || s.urgent.present {
		return 0
	}
	return copy(p, e.down.Slice(0, n))
}

// Taken implements vfs.Lendable.
func (s *Stream) Taken(n int) {
	e := s.end.Load()
	if e == nil {
		return
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	if have, err := s.haveLocked(e); err == nil && n <= have {
		s.consumeLocked(e, n)
		s.freed(e)
		s.Received(0, n)
	}
}

// Credit implements vfs.Lendable.
func (s *Stream) Credit() int {
	e := s.lendable()
	if e == nil || s.shutWrite.Load() {
		return 0
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	used, err := e.up.Used()
	if err != nil {
		return 0
	}
	return max(s.sendLimit(e)-used, 0)
}

// Written implements vfs.Lendable.
func (s *Stream) Written(p []byte) {
	e := s.end.Load()
	if e == nil || s.shutWrite.Load() || s.state(e)&(sendClosed|closed) != 0 {
		return
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	if free, err := e.up.Free(); err != nil || len(p) > free {
		return
	}
	e.up.Restart()
	s.sent(e, copy(e.up.Slice(0, len(p)), p), false)
}

// lendable gives the end of a connection by netd that is there, with nothing to report; or
// nil.
func (s *Stream) lendable() *end {
	e := s.end.Load()
	if e == nil || s.direct.Load() != nil || s.errors.pending(s.n, e) || s.done.waiting() {
		return nil
	}
	if st := s.state(e); st&connected == 0 || st&(connecting|deferred|closed|sendClosed) != 0 {
		return nil
	}
	return e
}
