package unix

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Of a stream, the last byte of what is sent with MSG_OOB is urgent, until another is.
// It has a message of its own, at which reading stops, and which reading then passes
// over, unless SO_OOBINLINE; taken by MSG_OOB it leaves the message there, empty, as
// a mark. unix(7) has nothing of it; the order of things is Linux's manage_oob.

// siocatmark is SIOCATMARK of sockatmark(3).
const siocatmark = 0x8905

// pushUrgent puts the urgent byte in.
func (q *inbox) pushUrgent(data *cursor, out *outgoing) {
	m := newMessage(1)
	m.data = m.store[:data.read(m.store[:1])]
	m.creds, m.from, m.files = out.creds, out.from, hold(out.files)
	out.files = nil
	m.cost = len(m.data)
	if len(m.files) > 0 {
		m.cost += overhead
	}
	if q.urgent != nil {
		q.urgent.mark = false // a byte like others now
	}
	m.mark = true
	q.push(m)
	q.urgent = m
}

// takeUrgentLocked is MSG_OOB: EINVAL if there is no urgent byte, or it is read inline.
func (s *Socket) takeUrgentLocked(in *incoming) (int, error) {
	q := &s.mu.inbox
	m := q.urgent
	if !s.stream() {
		return 0, linux.EOPNOTSUPP
	}
	if err := s.mayReceiveLocked(); err != nil {
		return 0, err
	}
	if m == nil || s.inline() {
		return 0, linux.EINVAL
	}
	n := in.write(m.data)
	if !in.peek {
		m.data = m.data[len(m.data):]
		m.cost--
		q.bytes--
		q.cost--
		q.urgent = nil
	}
	return n, nil
}

// passMark is where reading is that comes to m, having taken n bytes: the next message
// with bytes for it. stop says to end here.
func (s *Socket) passMark(in *incoming, m *message, n int) (next *message, stop bool) {
	q := &s.mu.inbox
	for m != nil && m.mark {
		taken := len(m.data) == 0
		switch {
		case n > 0 && (m == q.urgent || q.urgent == nil):
			return m, true
		case !taken && s.inline():
			if !in.peek {
				q.urgent, m.mark = nil, false
			}
			return m, false
		case in.peek:
			m = m.next
		default:
			if m == q.urgent {
				q.urgent = nil
			}
			s.mu.dropped = append(s.mu.dropped, m.files...)
			q.pop().free()
			m = q.head
		}
	}
	return m, m == nil
}

// unlockDropping releases s.mu, and then the files that came with urgent bytes which
// reading has passed over.
func (s *Socket) unlockDropping() {
	files := s.mu.dropped
	s.mu.dropped = nil
	s.mu.Unlock()
	flight(files, -1)
	for _, f := range files {
		f.DecRef(vfs.KernelContext())
	}
}

// inline is SO_OOBINLINE.
func (s *Socket) inline() bool {
	v, err := s.Kept(linux.SO_OOBINLINE, 4)
	return err == nil && len(v) == 4 && binary.LittleEndian.Uint32(v) != 0
}

// AtMark is SIOCATMARK: reading has come to the urgent byte, or to where it was.
func (s *Socket) AtMark() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.mu.inbox
	m := q.head
	if m == nil || !m.mark {
		return false
	}
	return m == q.urgent || len(m.data) == 0 && (q.urgent == nil || m.next == q.urgent)
}

// recvUrgent is RecvMsg with MSG_OOB.
func (s *Socket) recvUrgent(m *socket.Msg) (int, error) {
	in := incoming{cursor: cursor{pieces: m.Data}, peek: m.Flags&linux.MSG_PEEK != 0}
	s.mu.Lock()
	n, err := s.takeUrgentLocked(&in)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	m.Addr, m.Control, m.Out = nil, socket.Control{}, linux.MSG_OOB
	return n, nil
}
