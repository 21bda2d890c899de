// Package netlink has the sockets of AF_NETLINK: the route family's questions
// about interfaces and addresses, which getifaddrs(3), if_nameindex(3) and `ip
// addr` ask, and its orders to change addresses, routes, neighbours and what can
// be set of a link; and ss(8)'s questions about the sandbox's sockets. netd
// answers the former and obeys, the sentry the latter. Who joins the route family's
// groups is told of changes: netlink(7), rtnetlink(7), sock_diag(7).
package netlink

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Protocols of netlink(7).
const (
	protoRoute     = 0
	protoDiag      = 4
	protoNetfilter = 12
	protoUevent    = 15
)

// Source tells what interfaces there are.
type Source interface {
	Interfaces() ([]*netdv1.Interface, error)
}

// Family makes the sockets.
type Family struct {
	source  Source
	sockets func() []socket.Socket
	hub     *hub
	filter  *hub // of NETLINK_NETFILTER
	// Others finds the namespaces that a caller names; nil: there are none.
	Others func(ctx vfs.Context) Namespaces
}

// New makes the family. sockets lists those that processes of the sandbox have, for
// sock_diag(7).
func New(source Source, sockets func() []socket.Socket) Family {
	return Family{source: source, sockets: sockets, hub: &hub{source: source}, filter: &hub{source: source, filter: true}}
}

// Socket makes a route socket, one of sock_diag(7), or one of kernel events that
// never has any.
func (f Family) Socket(ctx vfs.Context, typ, protocol int) (socket.Socket, error) {
	if typ != linux.SOCK_RAW && typ != linux.SOCK_DGRAM {
		return nil, linux.ESOCKTNOSUPPORT
	}
	if protocol != protoRoute && protocol != protoDiag && protocol != protoNetfilter && protocol != protoUevent {
		return nil, linux.EPROTONOSUPPORT
	}
	s := &Socket{source: f.source, sockets: f.sockets, hub: f.hub, others: f.Others}
	if protocol == protoNetfilter {
		s.hub = f.filter
	}
	s.mu.buffer = defaultBuffer
	s.Init(linux.AF_NETLINK, typ, protocol)
	return s, nil
}

// Socket is one netlink socket.
type Socket struct {
	socket.Base
	source  Source
	sockets func() []socket.Socket
	hub     *hub
	others  func(vfs.Context) Namespaces

	mu struct {
		sync.Mutex
		port      uint32 // nl_pid, 0 before it has one
		groups    groups
		answers   []datagram
		waiting   int // what notifications among them cost of the buffer
		buffer    int // SO_RCVBUF
		overrun   bool
		congested bool     // no notification is taken until all is read
		passCreds bool     // SO_PASSCRED
		options   [16]bool // of SOL_NETLINK, by number
	}
}

// rules says whether the caller has CAP_NET_ADMIN over a network.
func rules(ctx vfs.Context, source Source) bool {
	if r, ok := source.(interface {
		Rules(vfs.Context, linux.Cap) bool
	}); ok {
		return r.Rules(ctx, linux.CAP_NET_ADMIN)
	}
	return ctx.Creds().Has(linux.CAP_NET_ADMIN)
}

// Space is the number of the namespace of the network that the socket is of.
func (s *Socket) Space() uint32 {
	if r, ok := s.hub.source.(interface{ Space() uint32 }); ok {
		return r.Space()
	}
	return 0
}

// maxAnswers bounds what a socket that nobody reads may pile up.
const maxAnswers = 256

// lastPort is the newest port that is not a process's id.
var lastPort atomic.Uint32

// portLocked gives the socket a port: the process's id for its first socket on
// Linux, a number of its own here.
func (s *Socket) portLocked() uint32 {
	if s.mu.port == 0 {
		s.mu.port = 0xffff0000 ^ lastPort.Add(1)
	}
	return s.mu.port
}

func sockaddr(port, groups uint32) []byte {
	b := make([]byte, linux.SizeofSockaddrNetlink)
	binary.LittleEndian.PutUint16(b, linux.AF_NETLINK)
	binary.LittleEndian.PutUint32(b[4:], port)
	binary.LittleEndian.PutUint32(b[8:], groups)
	return b
}

// parse checks a struct sockaddr_nl.
func parse(sa []byte) (port, groups uint32, err error) {
	if len(sa) < linux.SizeofSockaddrNetlink || linux.SockaddrFamily(sa) != linux.AF_NETLINK {
		return 0, 0, linux.EINVAL
	}
	return binary.LittleEndian.Uint32(sa[4:]), binary.LittleEndian.Uint32(sa[8:]), nil
}

// Bind gives the socket its port and groups.
func (s *Socket) Bind(ctx vfs.Context, sa []byte) error {
	port, wanted, err := parse(sa)
	if err != nil {
		return err
	}
	if wanted != 0 && !s.mayJoin(ctx) {
		return linux.EPERM
	}
	s.mu.Lock()
	if s.mu.port != 0 && port != 0 && port != s.mu.port {
		s.mu.Unlock()
		return linux.EINVAL
	}
	if port != 0 {
		s.mu.port = port
	}
	s.portLocked()
	g := s.mu.groups&^(1<<32-1) | groups(wanted) // those above 32 stay
	s.mu.Unlock()
	s.joinGroups(g)
	return nil
}

// mayJoin says whether who asks may join groups: those of NETLINK_NETFILTER are for
// CAP_NET_ADMIN.
func (s *Socket) mayJoin(ctx vfs.Context) bool {
	return s.Protocol() != protoNetfilter || rules(ctx, s.source)
}

func (s *Socket) Listen(vfs.Context, int) error { return linux.EOPNOTSUPP }

func (s *Socket) Accept(vfs.Context) (socket.Socket, []byte, error) {
	return nil, nil, linux.EOPNOTSUPP
}

// Connect takes the kernel for a peer, which it is already.
func (s *Socket) Connect(ctx vfs.Context, sa []byte, _ bool) error {
	if linux.SockaddrFamily(sa) == linux.AF_UNSPEC {
		return nil
	}
	port, _, err := parse(sa)
	if err != nil {
		return err
	}
	if port != 0 {
		return linux.EPERM
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.portLocked()
	return nil
}

func (s *Socket) Shutdown(vfs.Context, int) error { return linux.EOPNOTSUPP }

func (s *Socket) SockName(vfs.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sockaddr(s.mu.port, uint32(s.mu.groups)), nil
}

func (s *Socket) PeerName(vfs.Context) ([]byte, error) { return sockaddr(0, 0), nil }

// Release drops what nobody read.
func (s *Socket) Release() {
	if s.hub != nil {
		s.hub.leave(s)
	}
}

// Poll is whether there are answers.
func (s *Socket) Poll() wait.Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev := wait.Out
	if len(s.mu.answers) > 0 {
		ev |= wait.In
	}
	if s.mu.overrun {
		ev |= wait.In | wait.Err
	}
	return ev
}

// ReadStream is read(2).
func (s *Socket) ReadStream(ctx vfs.Context, p []byte) (int, error) {
	return s.RecvMsg(ctx, &socket.Msg{Data: [][]byte{p}})
}

// WriteStream is write(2).
func (s *Socket) WriteStream(ctx vfs.Context, p []byte) (int, error) {
	if err := budget.Check(); err != nil {
		return 0, err
	}
	return s.SendMsg(ctx, &socket.Msg{Data: [][]byte{p}})
}

// RecvMsg takes one datagram of answers.
func (s *Socket) RecvMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.overrun {
		s.mu.overrun = false
		return 0, linux.ENOBUFS
	}
	if len(s.mu.answers) == 0 {
		return 0, linux.EAGAIN
	}
	d := s.mu.answers[0]
	b := d.b
	at := 0
	for _, p := range m.Data {
		at += copy(p, b[at:])
	}
	if m.Flags&linux.MSG_PEEK == 0 {
		s.takeLocked()
	}
	m.Addr, m.Out = sockaddr(0, 0), 0
	if d.group > 0 && d.group <= 32 {
		m.Addr = sockaddr(0, 1<<(d.group-1))
	}
	m.Control = socket.Control{}
	if s.mu.options[linux.NETLINK_PKTINFO] {
		m.Control.Other = []linux.Cmsg{{Level: linux.SOL_NETLINK, Type: linux.NETLINK_PKTINFO, Data: le.AppendUint32(nil, uint32(d.group))}}
	}
	if s.mu.passCreds {
		m.Control.Creds = &linux.Ucred{} // the kernel's
	}
	if at < len(b) {
		m.Out = linux.MSG_TRUNC
		if m.Flags&linux.MSG_TRUNC != 0 {
			return len(b), nil
		}
	}
	return at, nil
}

// maxRequest bounds what is read of one request in bytes.
const maxRequest = 64 << 10

// maxRules and maxRulesAnswers are maxRequest and maxAnswers of the packet filter,
// whose rules are set and read at once.
const (
	maxRules        = 4 << 20
	maxRulesAnswers = 1 << 14
)

// Filter is a Source that has a packet filter: nft(8), iptables-nft(8).
type Filter interface {
	RulesMessage(b []byte, port uint32, admin bool) ([][]byte, error)
}

// SendMsg takes requests to the kernel; other peers do not exist.
func (s *Socket) SendMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	n := m.Len()
	if n > maxRequest && (s.Protocol() != protoNetfilter || n > maxRules) {
		return 0, linux.EMSGSIZE
	}
	if m.Addr != nil {
		port, groups, err := parse(m.Addr)
		if err != nil {
			return 0, err
		}
		if port != 0 || groups != 0 {
			return 0, linux.ECONNREFUSED
		}
	}
	b := make([]byte, 0, n)
	for _, p := range m.Data {
		b = append(b, p...)
	}
	s.mu.Lock()
	port, details := s.portLocked(), s.mu.options[linux.NETLINK_EXT_ACK]
	s.mu.Unlock()
	source := s.source
	if !rules(ctx, s.source) {
		source = reader{source}
	}
	var answers [][]byte
	room := maxAnswers
	switch s.Protocol() {
	case protoDiag:
		answers = diagnose(ctx, s.source, s.sockets, port, b)
	case protoNetfilter:
		f, ok := s.source.(Filter)
		if !ok {
			return 0, linux.ECONNREFUSED
		}
		var err error
		if answers, err = f.RulesMessage(b, port, rules(ctx, s.source)); err != nil {
			return 0, err
		}
		if !details {
			for i := range answers {
				answers[i] = plain(answers[i])
			}
		}
		room = maxRulesAnswers
	default:
		var others Namespaces
		if s.others != nil {
			others = s.others(ctx)
		}
		answers = answerIn(source, s.Space(), others, port, b, s.option(linux.NETLINK_CAP_ACK))
	}
	s.mu.Lock()
	for _, a := range answers {
		if len(s.mu.answers) < room {
			s.mu.answers = append(s.mu.answers, datagram{b: a})
		}
	}
	s.mu.Unlock()
	if len(answers) > 0 {
		s.Queue().Notify(wait.In)
	}
	return n, nil
}

// plain takes from an error's message what only those understand who have asked for
// it.
func plain(b []byte) []byte {
	const size, typeError, flagTLVs = 36, 2, 0x200
	le := binary.LittleEndian
	if len(b) <= size || le.Uint16(b[4:]) != typeError || le.Uint16(b[6:])&flagTLVs == 0 {
		return b
	}
	le.PutUint32(b, size)
	le.PutUint16(b[6:], le.Uint16(b[6:])&^flagTLVs)
	return b[:size]
}

// devices is a Source that answers ioctls about interfaces: netdevice(7).
type devices interface {
	DeviceIoctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error)
}

// Ioctl knows FIONREAD, and what every socket does of interfaces.
func (s *Socket) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	if cmd != linux.FIONREAD {
		if d, ok := s.source.(devices); ok {
			return d.DeviceIoctl(ctx, cmd, arg)
		}
		return 0, linux.ENOTTY
	}
	s.mu.Lock()
	n := 0
	if len(s.mu.answers) > 0 {
		n = len(s.mu.answers[0].b)
	}
	s.mu.Unlock()
	return 0, ctx.CopyOut(arg, binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// Tell gives the socket a datagram of the kernel's: mq_notify(3), SIGEV_THREAD.
func (s *Socket) Tell(b []byte) {
	s.mu.Lock()
	if len(s.mu.answers) < maxAnswers {
		s.mu.answers = append(s.mu.answers, datagram{b: append([]byte(nil), b...)})
	}
	s.mu.Unlock()
	s.Queue().Notify(wait.In)
}
