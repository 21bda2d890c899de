package unix

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Listen is listen(2): EOPNOTSUPP for datagrams, EINVAL without a name or with a
// peer.
func (s *Socket) Listen(ctx vfs.Context, backlog int) error {
	if !s.connects() {
		return linux.EOPNOTSUPP
	}
	if backlog < 0 || backlog > linux.SOMAXCONN {
		backlog = linux.SOMAXCONN
	}
	s.mu.Lock()
	if s.mu.name == "" || s.mu.state != unconnected && s.mu.state != listening {
		s.mu.Unlock()
		return linux.EINVAL
	}
	s.mu.state, s.mu.backlog = listening, backlog
	s.mu.peerCred = callerOf(ctx)
	s.mu.Unlock()
	s.Queue().Notify(wait.Out)
	return nil
}

// Accept gives the next connection, and the address of who made it.
func (s *Socket) Accept(vfs.Context) (socket.Socket, []byte, error) {
	if !s.connects() {
		return nil, nil, linux.EOPNOTSUPP
	}
	s.mu.Lock()
	switch {
	case s.mu.state != listening:
		s.mu.Unlock()
		return nil, nil, linux.EINVAL
	case len(s.mu.pending) == 0:
		down := s.mu.noRead
		s.mu.Unlock()
		if down {
			return nil, nil, linux.EINVAL
		}
		return nil, nil, linux.EAGAIN
	}
	c := s.mu.pending[0]
	s.mu.pending = s.mu.pending[1:]
	s.mu.Unlock()
	s.Queue().Notify(wait.Out)
	addr, err := c.PeerName(nil)
	if err != nil {
		addr = linux.AppendSockaddrUnix(nil, "")
	}
	return c, addr, nil
}

// Connect is connect(2). A stream waits for room in the listener's backlog, or with
// nonblock gives EAGAIN. A datagram socket may change its peer, or with AF_UNSPEC
// lose it.
func (s *Socket) Connect(ctx vfs.Context, addr []byte, nonblock bool) error {
	if !s.connects() {
		return s.connectDatagram(ctx, addr)
	}
	if err := checkAddr(addr); err != nil {
		return err
	}
	if s.tellsSender() && !s.bound() {
		if err := s.autobind(); err != nil {
			return err
		}
	}
	_, timeout := s.Timeouts()
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	for {
		l, err := s.family.find(ctx, addr, s.Type())
		if err != nil {
			return err
		}
		err = s.connectTo(ctx, l)
		if err != linux.EAGAIN || nonblock {
			return err
		}
		err = wait.Until(ctx, l.Queue(), wait.Out|wait.Hup, deadline, func() (bool, error) { return l.takesMore(), nil })
		if err == linux.ETIMEDOUT {
			return linux.EAGAIN
		}
		if err != nil {
			return err
		}
	}
}

// takesMore says that l has room for a connection, or is no listener any more.
func (l *Socket) takesMore() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.state != listening || len(l.mu.pending) <= l.mu.backlog
}

// connectTo makes a connection from s to the listener l: EAGAIN if its backlog is
// full.
func (s *Socket) connectTo(ctx vfs.Context, l *Socket) error {
	if err := s.begin(); err != nil {
		return err
	}
	server := s.family.newSocket(s.Type(), s.Protocol())
	l.mu.Lock()
	switch {
	case l.mu.state != listening || l.mu.noRead:
		l.mu.Unlock()
		s.end(nil, caller{})
		return linux.ECONNREFUSED
	case len(l.mu.pending) > l.mu.backlog:
		l.mu.Unlock()
		s.end(nil, caller{})
		return linux.EAGAIN
	}
	server.mu.state, server.mu.peer, server.mu.peerCred = connected, s, callerOf(ctx)
	server.mu.name = l.mu.name
	server.passCreds.Store(l.passCreds.Load())
	server.passPIDFD.Store(l.passPIDFD.Load())
	s.end(server, l.mu.peerCred)
	l.mu.pending = append(l.mu.pending, server)
	l.mu.Unlock()
	l.Queue().Notify(wait.In)
	s.Queue().Notify(wait.Out)
	return nil
}

// begin lets one thread at a time connect s.
func (s *Socket) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.mu.state {
	case unconnected:
		s.mu.state = connecting
		return nil
	case connected:
		return linux.EISCONN
	case connecting:
		return linux.EALREADY
	}
	return linux.EINVAL
}

// end gives s its peer, or none.
func (s *Socket) end(peer *Socket, cred caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.state != connecting {
		return // closed meanwhile
	}
	s.mu.state = unconnected
	if peer != nil {
		s.mu.state, s.mu.peer, s.mu.peerCred = connected, peer, cred
	}
}

func (s *Socket) connectDatagram(ctx vfs.Context, addr []byte) error {
	if len(addr) >= 2 && linux.SockaddrFamily(addr) == linux.AF_UNSPEC {
		s.setPeer(nil)
		return nil
	}
	if err := checkAddr(addr); err != nil {
		return err
	}
	if s.tellsSender() && !s.bound() {
		if err := s.autobind(); err != nil {
			return err
		}
	}
	to, err := s.family.find(ctx, addr, s.Type())
	if err != nil {
		return err
	}
	to.mu.Lock()
	stranger := to.mu.peer != nil && to.mu.peer != s
	to.mu.Unlock()
	if stranger {
		return linux.EPERM
	}
	s.setPeer(to)
	return nil
}

// setPeer changes who a datagram socket talks to; what came from somebody else
// before is dropped.
func (s *Socket) setPeer(to *Socket) {
	var after closing
	s.mu.Lock()
	if s.mu.peer != nil && s.mu.peer != to {
		after.files = s.mu.inbox.drain()
	}
	s.mu.peer, s.mu.state = to, connected
	if to == nil {
		s.mu.state = unconnected
	}
	after.wakeUp = append(s.takeBlockedLocked(), s)
	s.mu.Unlock()
	after.run()
}

// SockName is getsockname(2).
func (s *Socket) SockName(vfs.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return linux.AppendSockaddrUnix(nil, s.mu.name), nil
}

// PeerName is getpeername(2).
func (s *Socket) PeerName(ctx vfs.Context) ([]byte, error) {
	s.mu.Lock()
	peer := s.mu.peer
	s.mu.Unlock()
	if peer == nil {
		return nil, linux.ENOTCONN
	}
	return peer.SockName(ctx)
}
