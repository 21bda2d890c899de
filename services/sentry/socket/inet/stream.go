package inet

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// The bits of a head's state.
const (
	connected  = uint32(netdv1.SocketState_SOCKET_STATE_CONNECTED)
	connecting = uint32(netdv1.SocketState_SOCKET_STATE_CONNECTING)
	peerClosed = uint32(netdv1.SocketState_SOCKET_STATE_PEER_CLOSED)
	sendClosed = uint32(netdv1.SocketState_SOCKET_STATE_SEND_CLOSED)
	closed     = uint32(netdv1.SocketState_SOCKET_STATE_CLOSED)
	deferred   = uint32(netdv1.SocketState_SOCKET_STATE_DEFERRED)
)

// Stream is a TCP socket.
type Stream struct {
	socket.Base
	n  *Network
	v6 bool

	// end is set once, when netd has made the socket.
	end    atomic.Pointer[end]
	errors errorState
	// direct is set while the peer is a socket of this sentry, whether or not
	// netd knows this one.
	direct atomic.Pointer[half]

	shutRead, shutWrite atomic.Bool
	blocked             atomic.Bool // somebody waits for room, or to be connected
	renewed             atomic.Bool // an attempt has failed, and connect(2) has told so: as if it had never been
	released            atomic.Bool
	lowat               atomic.Int64 // SO_RCVLOWAT; 0 is 1
	synRoom             atomic.Int64 // while it is deferred

	// mu is held while netd is asked, so that one thing happens at a time.
	mu struct {
		sync.Mutex
		phase         phase
		bound         bool
		local, remote netip.AddrPort
		place         *hold // of our port, in the registry
		met           *hold // of a connection within the sentry that we began
		autoPort      bool  // its port was chosen for it
	}
	conf settings

	// As the registry knows it, guarded by its lock.
	listenPort uint16
	listenAddr netip.Addr

	sending   sync.Mutex // guards end.up
	receiving sync.Mutex // guards end.down, urgent and urgedAt
	urgent    urgent     // of end.down
	urgedAt   uint64     // what the ring said last of it
	urged     atomic.Bool

	syn  atomic.Pointer[[]byte] // TCP_SAVED_SYN, until it is read
	done completions
	inq  atomic.Bool // TCP_INQ

	queue struct {
		sync.Mutex
		listening bool
		backlog   int
		waiting   []*Stream // accepted by netd or met, not by the guest
	}
}

// phase is how far connect(2) has got.
type phase uint8

const (
	unconnected phase = iota
	underway
	established
)

func newStream(n *Network, v6 bool) *Stream {
	s := &Stream{n: n, v6: v6}
	domain := linux.AF_INET
	if v6 {
		domain = linux.AF_INET6
	}
	s.Init(domain, linux.SOCK_STREAM, linux.IPPROTO_TCP)
	s.conf.stream, s.conf.v6 = true, v6
	s.conf.init(n.tuning)
	return s
}

// incoming adds a connection to the queue; false if this does not listen.
func (s *Stream) incoming(a *netdv1.Accepted, mem *memory) bool {
	s.queue.Lock()
	if !s.queue.listening || s.released.Load() {
		s.queue.Unlock()
		return false
	}
	c := newStream(s.n, s.v6)
	c.conf.copy(&s.conf)
	c.lowat.Store(s.lowat.Load())
	c.mu.phase = established
	c.mu.bound = true
	c.mu.local, c.mu.remote = address(a.Local), address(a.Remote)
	if scope := a.Remote.GetScope(); scope != 0 && c.conf.o.Device == 0 {
		c.conf.o.Device = scope
	}
	if len(a.Syn) > 0 {
		c.saveSyn(a.Syn)
	}
	c.end.Store(newEnd(a.Socket, mem))
	s.n.mu.Lock()
	s.n.sockets[a.Socket] = c
	s.n.mu.Unlock()
	c.end.Load().listen()
	s.queue.waiting = append(s.queue.waiting, c)
	s.queue.Unlock()
	s.Queue().Notify(wait.In)
	return true
}

// ask sends a request about the socket, with mu held, and makes it first if need
// be.
func (s *Stream) askLocked(ctx vfs.Context, req *netdv1.Request) (*netdv1.Response, error) {
	resp, e, err := ask(s.n, s, s.end.Load(), req, s.open(ctx))
	if e != nil && s.end.Load() == nil {
		s.end.Store(e)
		e.listen()
	}
	if resp != nil {
		if a := address(resp.Local); a.Port() != 0 {
			s.mu.local = a
			s.mu.bound = true
			s.heldLocked()
		}
	}
	return resp, err
}

func (s *Stream) open(ctx vfs.Context) *netdv1.Open {
	s.conf.setOwner(ctx.Creds().EUID, ctx.Creds().EGID)
	return &netdv1.Open{Family: uint32(s.Domain()), Type: linux.SOCK_STREAM, Protocol: linux.IPPROTO_TCP, Options: s.conf.message()}
}

// ask sends a request about m, whose memory is e once netd has made it.
func ask(n *Network, m member, e *end, req *netdv1.Request, open *netdv1.Open) (*netdv1.Response, *end, error) {
	if err := n.ready(); err != nil {
		return nil, nil, err
	}
	if e != nil {
		req.Socket = e.id
	} else {
		req.Socket = n.newID(m)
		req.Open = open
	}
	resp, fds, err := n.call(req)
	if e != nil || err != nil || resp.Rings == nil {
		closeAll(fds)
		if e == nil {
			n.drop(req.Socket, nil)
		}
		if err != nil {
			return nil, nil, err
		}
		return resp, nil, errnoOf(resp.Error)
	}
	mem, err := n.take(resp.Rings, fds)
	if err != nil {
		n.drop(req.Socket, nil)
		n.post(closing(req.Socket, true))
		return nil, nil, err
	}
	return resp, newEnd(req.Socket, mem), errnoOf(resp.Error)
}

// Bind gives the socket its address.
func (s *Stream) Bind(ctx vfs.Context, sa []byte) error {
	a, scope, err := s.n.bindAddress(ctx, s.v6, sa)
	if err == nil {
		err = s.conf.within(a.Addr(), scope, false)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.bound || s.mu.phase != unconnected {
		return linux.EINVAL
	}
	if reuse, reusePort := s.conf.reuse(); s.n.registry.taken(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), s.v6 && s.conf.only6(), reuse, reusePort) {
		return linux.EADDRINUSE
	}
	_, err = s.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Bind{Bind: &netdv1.Bind{Address: message(s.v6, a, scope)}}})
	return err
}

// bindAddress checks an address for bind(2).
func (n *Network) bindAddress(ctx vfs.Context, v6 bool, sa []byte) (netip.AddrPort, uint32, error) {
	if !v6 && len(sa) >= linux.SizeofSockaddrIn && linux.SockaddrFamily(sa) == linux.AF_UNSPEC {
		// Compatibility: AF_UNSPEC is AF_INET if the address is any.
		sa = append([]byte{linux.AF_INET, 0}, sa[2:]...)
		if a, _, err := parseSockaddr(v6, sa); err != nil || !a.Addr().IsUnspecified() {
			return a, 0, linux.EAFNOSUPPORT
		}
	}
	a, scope, err := parseSockaddr(v6, sa)
	if err == nil && a.Port() > 0 && int64(a.Port()) < n.tuning.unprivileged.Load() && !n.mayRule(ctx, linux.CAP_NET_BIND_SERVICE) {
		err = linux.EACCES
	}
	return a, scope, err
}

// Listen makes the socket take connections.
func (s *Stream) Listen(ctx vfs.Context, backlog int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.phase != unconnected {
		return linux.EINVAL
	}
	if most := int(min(s.n.tuning.backlog.Load(), linux.SOMAXCONN)); backlog < 0 || backlog > most {
		backlog = most
	}
	s.queue.Lock()
	was := s.queue.listening
	s.queue.listening, s.queue.backlog = true, backlog
	s.queue.Unlock()
	_, err := s.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Listen{Listen: &netdv1.Listen{Backlog: uint32(backlog)}}})
	if err != nil && !was {
		s.queue.Lock()
		s.queue.listening = false
		s.queue.Unlock()
	}
	if err == nil {
		s.startListeningLocked()
	}
	return err
}

// Accept takes a connection off the queue.
func (s *Stream) Accept(ctx vfs.Context) (socket.Socket, []byte, error) {
	s.queue.Lock()
	defer s.queue.Unlock()
	switch {
	case !s.queue.listening:
		return nil, nil, linux.EINVAL
	case len(s.queue.waiting) > 0:
	case s.n.dead.Load():
		return nil, nil, linux.ENETDOWN
	default:
		return nil, nil, linux.EAGAIN
	}
	c := s.queue.waiting[0]
	s.queue.waiting[0] = nil
	s.queue.waiting = s.queue.waiting[1:]
	s.end.Load().head.Taken.Add(1) // of those that netd knows nothing of too: see push
	return c, scopedSockaddr(c.v6, c.mu.remote, c.conf.link()), nil
}

// Connect begins a connection and waits for it unless nonblock.
func (s *Stream) Connect(ctx vfs.Context, sa []byte, nonblock bool) error {
	return s.connect(ctx, sa, nonblock, s.conf.fast())
}

func (s *Stream) connect(ctx vfs.Context, sa []byte, nonblock, fast bool) error {
	if len(sa) < 2 {
		return linux.EINVAL
	}
	if linux.SockaddrFamily(sa) == linux.AF_UNSPEC {
		return s.disconnect(ctx)
	}
	a, scope, err := parseSockaddr(s.v6, sa)
	if err != nil {
		return err
	}
	if a.Addr().IsMulticast() {
		return linux.ENETUNREACH
	}
	if err := s.conf.within(a.Addr(), scope, false); err != nil {
		return err
	}
	if err := s.label(ctx, sa); err != nil {
		return err
	}
	err = s.beginConnect(ctx, a, scope, nonblock, fast)
	switch {
	case err != linux.EINPROGRESS && err != linux.EALREADY:
		return err
	case s.Deferred() && err == linux.EALREADY:
		return linux.EISCONN
	case s.Deferred():
		return nil
	case nonblock:
		return err
	}
	return socket.AwaitConnect(ctx, s, s.connectDone)
}

// beginConnect starts the attempt. Over the loopback it has mostly ended when
// netd answers; whoever does not wait is told by poll nonetheless, as on Linux.
func (s *Stream) beginConnect(ctx vfs.Context, a netip.AddrPort, scope uint32, nonblock, fast bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.mu.phase {
	case established:
		return linux.EISCONN
	case underway:
		if done, err := s.settleLocked(); done {
			return err
		}
		return linux.EALREADY
	}
	if s.isListening() {
		return linux.EISCONN
	}
	if met, err := s.meetLocked(a); met {
		if err != nil {
			return err
		}
		if !nonblock {
			s.mu.phase = established
			return nil
		}
		s.mu.phase = underway
		s.Queue().Notify(wait.Out)
		return linux.EINPROGRESS
	}
	s.blocked.Store(true)
	resp, err := s.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Connect{Connect: &netdv1.Connect{Address: message(s.v6, a, scope), Fast: fast}}})
	s.renewed.Store(false)
	if resp != nil {
		s.synRoom.Store(int64(min(resp.Mtu, 1<<16)))
	}
	if nonblock && (err == nil || s.errors.pending(s.n, s.end.Load())) && resp != nil {
		err = linux.EINPROGRESS
	}
	switch err {
	case nil:
		s.mu.phase = established
		s.mu.remote = address(resp.Remote)
	case linux.EINPROGRESS:
		s.mu.phase = underway
		s.mu.remote = address(resp.Remote)
	default:
		if e := s.end.Load(); e != nil {
			s.errors.skip(e)
			s.renewed.Store(s.state(e)&closed != 0)
		}
	}
	return err
}

// connectDone says whether the attempt has ended, and how.
func (s *Stream) connectDone() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settleLocked()
}

func (s *Stream) settleLocked() (bool, error) {
	if s.mu.phase != underway {
		return true, nil
	}
	if s.direct.Load() != nil {
		s.mu.phase = established
		return true, nil
	}
	e := s.end.Load()
	e.head.WantDown.Store(1)
	st := s.state(e)
	if st&connecting != 0 {
		return false, nil
	}
	if st&closed != 0 {
		err := s.errors.take(s.n, e)
		if err == nil && e.head.ErrorCount.Load() != 0 {
			err = linux.ECONNABORTED // SO_ERROR has told why
		}
		if err != nil {
			s.mu.phase = unconnected
			s.renewed.Store(true)
			return true, err
		}
	}
	s.mu.phase = established
	return true, nil
}

// state is the head's state, and what netd's death makes of it.
func (s *Stream) state(e *end) uint32 {
	st := e.head.State.Load()
	switch {
	case s.n.dead.Load():
		st = st&^(connecting|deferred) | closed
	case s.renewed.Load():
		st = 0
	}
	return st
}

// disconnect is connect(2) with AF_UNSPEC.
func (s *Stream) disconnect(ctx vfs.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct.Load() != nil {
		s.partLocked(true)
		s.direct.Store(nil)
		if !s.mu.autoPort {
			s.narrowLocked(netip.AddrPortFrom(netip.IPv6Unspecified(), s.mu.local.Port()))
		}
		s.mu.phase, s.mu.remote = unconnected, netip.AddrPort{}
		if s.mu.autoPort {
			s.mu.local, s.mu.bound = netip.AddrPort{}, false
		}
		return nil
	}
	if s.end.Load() == nil {
		return nil
	}
	_, err := s.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Connect{Connect: &netdv1.Connect{}}})
	s.mu.phase = unconnected
	s.mu.remote = netip.AddrPort{}
	return err
}

// Shutdown shuts halves of the connection.
func (s *Stream) Shutdown(ctx vfs.Context, how int) error {
	if how < linux.SHUT_RD || how > linux.SHUT_RDWR {
		return linux.EINVAL
	}
	read, write := how != linux.SHUT_WR, how != linux.SHUT_RD
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.direct.Load(); h != nil {
		return h.shutdown(read, write)
	}
	e := s.end.Load()
	if e == nil {
		return linux.ENOTCONN
	}
	s.queue.Lock()
	listening := s.queue.listening
	if listening && read {
		s.queue.listening = false
	}
	s.queue.Unlock()
	if listening && read {
		s.stopListening()
	}
	if st := s.state(e); !listening && (st&(connected|connecting) == 0 || st&closed != 0) {
		return linux.ENOTCONN
	}
	_, err := s.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Shutdown{Shutdown: &netdv1.Shutdown{Read: read, Write: write}}})
	if err == nil && !listening {
		if read {
			s.shutRead.Store(true)
		}
		if write {
			s.shutWrite.Store(true)
		}
	}
	s.Queue().Notify(s.ready(e) | wait.In)
	return err
}

// SockName is the local address.
func (s *Stream) SockName(vfs.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return scopedSockaddr(s.v6, s.mu.local, s.conf.link()), nil
}

// PeerName is the peer's address.
func (s *Stream) PeerName(vfs.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.end.Load(); e == nil || s.state(e)&closed == 0 {
		s.settleLocked() // but how the attempt has failed is not told here
	}
	if h := s.direct.Load(); h != nil {
		if h.state() == stateClose {
			return nil, linux.ENOTCONN
		}
		return scopedSockaddr(s.v6, s.mu.remote, s.conf.link()), nil
	}
	e := s.end.Load()
	if s.mu.phase != established || e == nil || s.state(e)&closed != 0 {
		return nil, linux.ENOTCONN
	}
	return scopedSockaddr(s.v6, s.mu.remote, s.conf.link()), nil
}

// Release ends the socket. What was written is still sent.
func (s *Stream) Release() {
	s.released.Store(true)
	s.mu.Lock()
	s.leaveLocked()
	s.mu.Unlock()
	s.queue.Lock()
	waiting := s.queue.waiting
	s.queue.waiting, s.queue.listening = nil, false
	s.queue.Unlock()
	for _, c := range waiting {
		c.abort()
	}
	s.close(s.conf.resets())
}

func (s *Stream) abort() {
	s.released.Store(true)
	s.close(true)
}

func (s *Stream) close(abort bool) {
	s.mu.Lock()
	s.leaveLocked()
	s.partLocked(abort)
	s.mu.Unlock()
	if e := s.end.Load(); e != nil {
		s.n.drop(e.id, e.mem)
		s.n.post(closing(e.id, abort))
	}
}
