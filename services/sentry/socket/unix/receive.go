package unix

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// incoming is room for what is received, and what came with the bytes.
type incoming struct {
	cursor
	peek      bool
	wantCreds bool
	peekOn    bool // SO_PEEK_OFF: behind what was seen already

	files     []*vfs.File // the receiver owns a reference to each
	creds     linux.Ucred
	from      string
	truncated bool
	whole     int // length of the message
}

// RecvMsg is recvmsg(2).
func (s *Socket) RecvMsg(_ vfs.Context, m *socket.Msg) (int, error) {
	if m.Flags&(linux.MSG_OOB|linux.MSG_ERRQUEUE) != 0 {
		if m.Flags&linux.MSG_OOB != 0 {
			return s.recvUrgent(m)
		}
		return 0, linux.EAGAIN
	}
	in := incoming{cursor: cursor{pieces: m.Data}, peek: m.Flags&linux.MSG_PEEK != 0, wantCreds: s.tellsSender()}
	in.peekOn = in.peek && s.PeekOffset() >= 0
	n, err := s.receive(&in)
	if err != nil {
		return 0, err
	}
	m.Addr, m.Out = nil, 0
	if in.from != "" {
		m.Addr = linux.AppendSockaddrUnix(nil, in.from)
	}
	m.Control = socket.Control{Files: in.files}
	if in.wantCreds && in.creds != (linux.Ucred{}) {
		if s.passCreds.Load() {
			m.Control.Creds = &in.creds
		}
		if s.passPIDFD.Load() {
			m.Control.Sender = in.creds.PID
		}
	}
	if in.truncated {
		m.Out |= linux.MSG_TRUNC
		if m.Flags&linux.MSG_TRUNC != 0 {
			return in.whole, nil
		}
	}
	return n, nil
}

// ReadStream is read(2). Files that come with the bytes are dropped.
func (s *Socket) ReadStream(ctx vfs.Context, p []byte) (int, error) {
	pieces := [1][]byte{p}
	in := incoming{cursor: cursor{pieces: pieces[:]}}
	n, err := s.receive(&in)
	for _, f := range in.files {
		f.DecRef(ctx)
	}
	return n, err
}

// receive takes, or with peek copies, what is in the inbox, and wakes who waits
// for room in it.
func (s *Socket) receive(in *incoming) (int, error) {
	s.mu.Lock()
	if err := s.mayReceiveLocked(); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	if s.stream() && in.left() == 0 {
		s.mu.Unlock()
		return 0, nil
	}
	if s.mu.inbox.empty() {
		err := s.endLocked()
		s.mu.Unlock()
		return 0, err
	}
	peer := s.mu.peer
	wasRoomy := peer == nil || s.roomyLocked(peer)
	var n int
	switch {
	case in.peekOn:
		var seen bool
		if n, seen = s.peekOnLocked(in); !seen {
			err := s.endLocked()
			s.mu.Unlock()
			return 0, err
		}
	case s.stream():
		if n = s.takeStreamLocked(in); n == 0 { // there was nothing but a mark
			err := s.endLocked()
			s.unlockDropping()
			return 0, err
		}
		s.receivedLocked(in, n)
	default:
		n = s.takeMessageLocked(in)
		s.receivedLocked(in, in.whole)
	}
	roomy := peer == nil || s.roomyLocked(peer)
	var blocked []*Socket
	if roomy && !in.peek {
		blocked = s.takeBlockedLocked()
	}
	s.unlockDropping()
	if !in.peek {
		flight(in.files, -1)
	}
	if roomy && !wasRoomy && peer != nil {
		peer.Queue().Notify(wait.Out)
	}
	for _, b := range blocked {
		b.Queue().Notify(wait.Out)
	}
	return n, nil
}

func (s *Socket) mayReceiveLocked() error {
	if !s.connects() || s.mu.state == connected {
		return nil
	}
	if s.stream() {
		return linux.EINVAL
	}
	return linux.ENOTCONN
}

// endLocked is the answer of an empty inbox: a pending error, the end, or EAGAIN.
// (Linux gives a datagram socket that is shut down and does not block EAGAIN.)
func (s *Socket) endLocked() error {
	if err := s.mu.err; err != 0 {
		s.mu.err = 0
		return err
	}
	if s.mu.noRead {
		return nil
	}
	return linux.EAGAIN
}

// takeStreamLocked reads bytes up to the end of those that came with files or,
// where credentials are asked for, of those that one sender sent.
func (s *Socket) takeStreamLocked(in *incoming) (n int) {
	q := &s.mu.inbox
	first := true
	for m := q.head; m != nil && (first || in.left() > 0); { // files of what is not read yet stay
		if m.mark {
			var stop bool
			if m, stop = s.passMark(in, m, n); stop {
				return n
			}
		}
		if first {
			in.creds, in.from = m.creds, m.from
			first = false
		} else if in.wantCreds && m.creds != in.creds {
			return n
		}
		k := in.write(m.data)
		n += k
		in.takeFiles(m)
		stop := k < len(m.data) || len(in.files) > 0
		if in.peek {
			m = m.next
		} else {
			q.consume(k)
			if len(m.data) == 0 {
				q.pop().free()
			}
			m = q.head
		}
		if stop {
			return n
		}
	}
	return n
}

// takeMessageLocked reads the first message, and drops what there is no room for.
func (s *Socket) takeMessageLocked(in *incoming) int {
	q := &s.mu.inbox
	m := q.head
	in.creds, in.from, in.whole = m.creds, m.from, len(m.data)
	n := in.write(m.data)
	in.truncated = n < len(m.data)
	in.takeFiles(m)
	if !in.peek {
		q.pop().free()
	}
	return n
}

// takeFiles moves the files of m to the receiver; peek gives it further references.
func (in *incoming) takeFiles(m *message) {
	if len(m.files) == 0 {
		return
	}
	if in.peek {
		for _, f := range m.files {
			f.IncRef()
		}
		in.files = append([]*vfs.File(nil), m.files...)
		return
	}
	in.files, m.files = m.files, nil
}
