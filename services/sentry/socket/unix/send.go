package unix

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// outgoing is what goes with the bytes of a message on its way. (The bytes are a
// cursor beside it, not in it: the compiler can then see that they do not outlive
// the call.)
type outgoing struct {
	files []*vfs.File
	creds linux.Ucred
	from  string
	by    wait.Sleeper // whose call it is
	// urgent: the last byte is, MSG_OOB.
	urgent bool
}

// SendMsg is sendmsg(2).
func (s *Socket) SendMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	urgent := m.Flags&linux.MSG_OOB != 0
	if urgent && s.Type() != linux.SOCK_STREAM {
		return 0, linux.EOPNOTSUPP
	}
	if n := len(m.Control.Files); n > linux.SCM_MAX_FD {
		return 0, linux.EINVAL
	} else if n > 0 && tooMuchFlight(n) {
		collect() // some of it may be garbage since a socket was closed that others keep
		if tooMuchFlight(n) && !ctx.Creds().Has(linux.CAP_SYS_RESOURCE) {
			return 0, linux.ETOOMANYREFS
		}
	}
	data, out := cursor{pieces: m.Data}, outgoing{files: m.Control.Files, by: ctx, urgent: urgent}
	if m.Control.Creds != nil {
		out.creds = *m.Control.Creds
	} else {
		out.creds = credsOf(ctx)
	}
	switch s.Type() {
	case linux.SOCK_STREAM:
		if m.Addr != nil {
			return 0, s.addressed()
		}
		return s.sendStream(&data, &out)
	case linux.SOCK_SEQPACKET:
		return s.sendPacket(&data, &out)
	}
	return s.sendDatagram(ctx, m.Addr, &data, &out)
}

// addressed is the error of sendto(2) on a stream.
func (s *Socket) addressed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state == connected {
		return linux.EISCONN
	}
	return linux.EOPNOTSUPP
}

// WriteStream is write(2).
func (s *Socket) WriteStream(ctx vfs.Context, p []byte) (int, error) {
	if err := budget.Check(); err != nil {
		return 0, err
	}
	pieces := [1][]byte{p}
	data, out := cursor{pieces: pieces[:]}, outgoing{creds: credsOf(ctx), by: ctx}
	switch s.Type() {
	case linux.SOCK_STREAM:
		return s.sendStream(&data, &out)
	case linux.SOCK_SEQPACKET:
		return s.sendPacket(&data, &out)
	}
	return s.sendDatagram(ctx, nil, &data, &out)
}

// route gives the peer and the name to send with. takesErr says that a pending
// error comes before the check of the shut-down side.
func (s *Socket) route(takesErr bool) (peer *Socket, name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case takesErr && s.mu.err != 0:
		err = s.mu.err
		s.mu.err = 0
		return nil, "", err
	case s.mu.noWrite:
		return nil, "", linux.EPIPE
	case s.mu.state != connected:
		return nil, "", linux.ENOTCONN
	}
	return s.mu.peer, s.mu.name, nil
}

// sendStream puts what there is room for into the peer's inbox.
func (s *Socket) sendStream(data *cursor, out *outgoing) (int, error) {
	peer, name, err := s.route(false)
	if err != nil {
		return 0, err
	}
	want := data.left()
	if want == 0 {
		if out.urgent {
			return 0, linux.EOPNOTSUPP
		}
		return 0, nil
	}
	out.from = name
	limit := int(s.sendLimit.Load())
	peer.mu.Lock()
	if peer.mu.noRead || peer.mu.state == closed {
		peer.mu.Unlock()
		return 0, linux.EPIPE
	}
	n, plain, told := 0, want, wait.In
	if out.urgent {
		plain--
	}
	for n < plain && peer.mu.inbox.cost < limit {
		n += peer.mu.inbox.appendStream(data, out, min(plain-n, limit-peer.mu.inbox.cost))
	}
	if n == plain && n < want && peer.mu.inbox.cost < limit {
		peer.mu.inbox.pushUrgent(data, out)
		n, told = want, wait.In|wait.Pri|wait.Urg
	}
	peer.mu.Unlock()
	if n == 0 {
		return 0, linux.EAGAIN
	}
	peer.Queue().NotifyBy(out.by, told)
	return n, nil
}

// appendStream adds at most n bytes of data, above 0: beside what the last message
// holds if they may not be told apart, else in a message of their own. The files
// go with the first bytes.
func (q *inbox) appendStream(data *cursor, out *outgoing, n int) int {
	m := q.tail
	if m == nil || m.room() == 0 || m.mark || len(m.files) > 0 || len(out.files) > 0 || m.creds != out.creds {
		n = min(n, largeStore)
		m = newMessage(n)
		m.creds, m.from, m.files = out.creds, out.from, hold(out.files)
		if out.files != nil {
			m.cost = overhead
			out.files = nil
		}
		q.push(m)
	}
	end := len(m.data)
	k := data.read(m.data[end:min(end+n, cap(m.data))])
	m.data = m.data[:end+k]
	m.cost += k
	q.bytes += k
	q.cost += k
	return k
}

// hold takes a reference to each file, for a message.
func hold(files []*vfs.File) []*vfs.File {
	if len(files) == 0 {
		return nil
	}
	for _, f := range files {
		f.IncRef()
	}
	flight(files, 1)
	return append([]*vfs.File(nil), files...)
}

// sendPacket sends one message to the peer that s is connected to.
func (s *Socket) sendPacket(data *cursor, out *outgoing) (int, error) {
	if int64(data.left()) > s.sendLimit.Load()-32 {
		return 0, linux.EMSGSIZE
	}
	peer, name, err := s.route(true)
	if err != nil {
		return 0, err
	}
	out.from = name
	return s.deliver(peer, data, out)
}

// sendDatagram sends one message to addr, or to the peer if that is nil.
func (s *Socket) sendDatagram(ctx vfs.Context, addr []byte, data *cursor, out *outgoing) (int, error) {
	if addr != nil {
		if err := checkAddr(addr); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	peer, name, noWrite := s.mu.peer, s.mu.name, s.mu.noWrite
	s.mu.Unlock()
	if addr == nil && peer == nil {
		return 0, linux.ENOTCONN
	}
	if int64(data.left()) > s.sendLimit.Load()-32 {
		return 0, linux.EMSGSIZE
	}
	if name == "" && s.tellsSender() {
		if err := s.autobind(); err != nil {
			return 0, err
		}
	}
	if noWrite {
		return 0, linux.EPIPE
	}
	out.from = name
	to := peer
	if addr != nil {
		var err error
		if to, err = s.family.find(ctx, addr, s.Type()); err != nil {
			return 0, err
		}
	}
	n, err := s.deliver(to, data, out)
	if err == linux.ECONNREFUSED && to == peer {
		s.disconnect()
	}
	return n, err
}

// deliver puts data whole into to's inbox. ECONNREFUSED if to is gone, EPERM if it
// talks to another only, EPIPE if it does not read any more, EAGAIN without room.
func (s *Socket) deliver(to *Socket, data *cursor, out *outgoing) (int, error) {
	size := data.left()
	m := newMessage(size)
	m.data = m.store[:data.read(m.store[:size])]
	m.creds, m.from, m.cost = out.creds, out.from, size+overhead

	to.mu.Lock()
	err := s.mayDeliverLocked(to, m)
	if err == nil {
		m.files = hold(out.files)
		to.mu.inbox.push(m)
	}
	to.mu.Unlock()
	if err != nil {
		m.free()
		return 0, err
	}
	to.Queue().NotifyBy(out.by, wait.In)
	return size, nil
}

func (s *Socket) mayDeliverLocked(to *Socket, m *message) error {
	talksBack := to.mu.peer == s
	switch {
	case to.mu.state == closed && !s.connects():
		return linux.ECONNREFUSED
	case to.mu.peer != nil && !talksBack:
		return linux.EPERM
	case to.mu.noRead:
		return linux.EPIPE
	case !talksBack && to.mu.inbox.count > maxQueue,
		to.mu.inbox.cost > 0 && int64(to.mu.inbox.cost+m.cost) > s.sendLimit.Load():
		to.blockLocked(s)
		return linux.EAGAIN
	}
	return nil
}

// disconnect forgets a datagram peer that is gone, and what it had sent.
func (s *Socket) disconnect() {
	var after closing
	s.mu.Lock()
	if s.mu.state == connected {
		s.mu.state, s.mu.peer = unconnected, nil
	}
	after.files = s.mu.inbox.drain()
	after.wakeUp = s.takeBlockedLocked()
	s.mu.Unlock()
	after.run()
}
