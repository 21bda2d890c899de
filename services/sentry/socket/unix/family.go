package unix

import (
	"fmt"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Family makes the sockets of one name space of abstract names.
type Family struct {
	// Places says where the caller's paths start, and its umask.
	Places func(ctx vfs.Context) (root, cwd vfs.Path, umask uint32)

	// Devices answers ioctls about interfaces, which is every socket's business;
	// nil where there are none. It is set at start-up.
	Devices func(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error)

	// Space is the number of the family's namespace of the network.
	Space func() uint32

	names    *paths
	mu       sync.Mutex
	abstract map[abstractName]*Socket
	lastAuto uint32
}

// paths are the sockets that have a path, which all namespaces of the network share.
type paths struct {
	sync.Mutex
	nodes map[vfs.Node]*Socket
}

// Beside is the family of another namespace of the network: abstract names are its own.
func (f *Family) Beside() *Family {
	return &Family{Places: f.Places, names: f.names, abstract: map[abstractName]*Socket{}}
}

// Space is the number of the namespace of the network that the socket was made in.
func (s *Socket) Space() uint32 {
	if s.family.Space == nil {
		return 0
	}
	return s.family.Space()
}

// abstractName is a name with the type of socket that has it: types do not share.
type abstractName struct {
	name string
	typ  int
}

// NewFamily is an empty name space. places may be nil: then there are no paths.
func NewFamily(places func(ctx vfs.Context) (root, cwd vfs.Path, umask uint32)) *Family {
	return &Family{Places: places, abstract: map[abstractName]*Socket{}, names: &paths{nodes: map[vfs.Node]*Socket{}}}
}

func checkType(typ, protocol int) (int, error) {
	if protocol != 0 && protocol != linux.AF_UNIX {
		return 0, linux.EPROTONOSUPPORT
	}
	switch typ {
	case linux.SOCK_STREAM, linux.SOCK_DGRAM, linux.SOCK_SEQPACKET:
		return typ, nil
	case linux.SOCK_RAW: // as Linux has it, for old BSD programs
		return linux.SOCK_DGRAM, nil
	}
	return 0, linux.ESOCKTNOSUPPORT
}

// Socket is socket(2).
func (f *Family) Socket(_ vfs.Context, typ, protocol int) (socket.Socket, error) {
	typ, err := checkType(typ, protocol)
	if err != nil {
		return nil, err
	}
	return f.newSocket(typ, protocol), nil
}

// Pair is socketpair(2).
func (f *Family) Pair(ctx vfs.Context, typ, protocol int) (socket.Socket, socket.Socket, error) {
	typ, err := checkType(typ, protocol)
	if err != nil {
		return nil, nil, err
	}
	a, b := f.newSocket(typ, protocol), f.newSocket(typ, protocol)
	for _, p := range [2][2]*Socket{{a, b}, {b, a}} {
		p[0].mu.state, p[0].mu.peer, p[0].mu.peerCred = connected, p[1], callerOf(ctx)
	}
	return a, b, nil
}

// checkAddr refuses what cannot name a socket.
func checkAddr(addr []byte) error {
	if len(addr) <= 2 || len(addr) > linux.SizeofSockaddrUn || linux.SockaddrFamily(addr) != linux.AF_UNIX {
		return linux.EINVAL
	}
	return nil
}

// find gives the socket that addr names, for a socket of type typ. ECONNREFUSED if
// there is none, EPROTOTYPE if the one at the path is of another type; errors of
// the path.
func (f *Family) find(ctx vfs.Context, addr []byte, typ int) (*Socket, error) {
	if err := checkAddr(addr); err != nil {
		return nil, err
	}
	name, err := linux.ParseSockaddrUnix(addr)
	if err != nil {
		return nil, err
	}
	if name == "" || name[0] == 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		if s := f.abstract[abstractName{name, typ}]; s != nil {
			return s, nil
		}
		return nil, linux.ECONNREFUSED
	}
	if f.Places == nil {
		return nil, linux.ENOENT
	}
	root, cwd, _ := f.Places(ctx)
	p, err := vfs.Walk(ctx, root, cwd, name, 0)
	if err != nil {
		return nil, err
	}
	if err := vfs.Access(ctx, p, vfs.MayWrite); err != nil {
		return nil, err
	}
	f.names.Lock()
	s := f.names.nodes[p.Node()]
	f.names.Unlock()
	switch {
	case s == nil:
		return nil, linux.ECONNREFUSED
	case s.Type() != typ:
		return nil, linux.EPROTOTYPE
	}
	return s, nil
}

// Bind is bind(2). An address that is only a family gets a free abstract name.
func (s *Socket) Bind(ctx vfs.Context, addr []byte) error {
	name, err := linux.ParseSockaddrUnix(addr)
	if err != nil {
		return err
	}
	if len(addr) == 2 {
		return s.autobind()
	}
	if s.bound() {
		return linux.EINVAL
	}
	if name == "" || name[0] == 0 {
		return s.bindAbstract(name)
	}
	return s.bindPath(ctx, name)
}

func (s *Socket) bound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.name != ""
}

// take gives s the name, unless it has one or is closed.
func (s *Socket) take(name string, node vfs.Node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.name != "" || s.mu.state == closed {
		return false
	}
	s.mu.name, s.mu.node = name, node
	return true
}

func (s *Socket) bindAbstract(name string) error {
	f := s.family
	f.mu.Lock()
	defer f.mu.Unlock()
	k := abstractName{name, s.Type()}
	if f.abstract[k] != nil {
		return linux.EADDRINUSE
	}
	if !s.take(name, nil) {
		return linux.EINVAL
	}
	f.abstract[k] = s
	return nil
}

// autobind gives s a name of five hexadecimal digits, unless it has one.
func (s *Socket) autobind() error {
	f := s.family
	f.mu.Lock()
	defer f.mu.Unlock()
	for range 1 << 20 {
		f.lastAuto = (f.lastAuto + 1) & 0xfffff
		k := abstractName{fmt.Sprintf("\x00%05x", f.lastAuto), s.Type()}
		if f.abstract[k] == nil {
			if s.take(k.name, nil) {
				f.abstract[k] = s
			}
			return nil
		}
	}
	return linux.ENOSPC
}

func (s *Socket) bindPath(ctx vfs.Context, name string) error {
	f := s.family
	if f.Places == nil {
		return linux.ENOENT
	}
	root, cwd, umask := f.Places(ctx)
	dir, last, mustDir, err := vfs.WalkParent(ctx, root, cwd, name, 0)
	if err != nil {
		return err
	}
	if mustDir {
		return linux.ENOENT
	}
	err = vfs.Mknod(ctx, dir, last, linux.S_IFSOCK|0o777&^umask, 0)
	if err == linux.EEXIST {
		return linux.EADDRINUSE
	}
	if err != nil {
		return err
	}
	p, err := vfs.Walk(ctx, root, dir, last, vfs.NoFollow)
	if err != nil {
		return err
	}
	f.names.Lock()
	defer f.names.Unlock()
	if !s.take(name, p.Node()) {
		return linux.EINVAL
	}
	f.names.nodes[p.Node()] = s
	return nil
}

// unbind takes the name of s out of the tables; the node stays.
func (f *Family) unbind(s *Socket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names.Lock()
	defer f.names.Unlock()
	s.mu.Lock()
	name, node := s.mu.name, s.mu.node
	s.mu.Unlock()
	if k := (abstractName{name, s.Type()}); f.abstract[k] == s {
		delete(f.abstract, k)
	}
	if node != nil && f.names.nodes[node] == s {
		delete(f.names.nodes, node)
	}
}
