package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// Families are the address families that socket(2) knows in the first namespace of the
// network. Set at start-up.
var Families socket.Families

// Networker is what Net.Network of package task is in the others.
type Networker interface{ Families() socket.Families }

// familiesOf are the families of the caller's network.
func familiesOf(t *task.Task) socket.Families {
	if n, ok := t.Net().Network.(Networker); ok {
		return n.Families()
	}
	return Families
}

// optionMax is the longest option value that is read, in bytes.
const optionMax = 64 << 10

// socketType takes the flags off the type that socket(2) gets: EINVAL for
// unknown ones.
func socketType(typ int32) (kind int, flags linux.OpenFlags, err error) {
	flags = linux.OpenFlags(typ &^ linux.SOCK_TYPE_MASK)
	if flags&^fdFlags != 0 {
		return 0, 0, linux.EINVAL
	}
	return int(typ & linux.SOCK_TYPE_MASK), flags, nil
}

// socket makes an endpoint of communication: socket(2).
func socket_(t *task.Task, domain, typ, protocol int32) (uint64, error) {
	kind, flags, err := socketType(typ)
	if err != nil {
		return 0, err
	}
	s, err := familiesOf(t).Socket(t, int(domain), kind, int(protocol))
	if err != nil {
		return 0, err
	}
	return install(t, socket.NewFile(s, linux.O_RDWR|flags&linux.O_NONBLOCK), flags)
}

// socketpair makes two that are connected: socketpair(2).
func socketpair(t *task.Task, domain, typ, protocol int32, fds mm.Addr) (uint64, error) {
	kind, flags, err := socketType(typ)
	if err != nil {
		return 0, err
	}
	a, b, err := familiesOf(t).Pair(t, int(domain), kind, int(protocol))
	if err != nil {
		return 0, err
	}
	mode := linux.O_RDWR | flags&linux.O_NONBLOCK
	return 0, installPair(t, socket.NewFile(a, mode), socket.NewFile(b, mode), fds, flags)
}

// socketOf gives the socket behind fd and its file, which the caller releases:
// EBADF, ENOTSOCK.
func socketOf(t *task.Task, fd linux.FD) (socket.Socket, *vfs.File, error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, nil, err
	}
	s, err := socket.Of(f)
	if err != nil {
		f.DecRef(t)
		return nil, nil, err
	}
	return s, f, nil
}

func nonblocking(f *vfs.File) bool { return f.Flags()&linux.O_NONBLOCK != 0 }

// copyInSockaddr reads an address of n bytes: EINVAL if no address is that long.
func copyInSockaddr(t *task.Task, addr mm.Addr, n int32) ([]byte, error) {
	if n < 0 || n > linux.SizeofSockaddrStorage {
		return nil, linux.EINVAL
	}
	b := make([]byte, n)
	return b, t.CopyIn(addr, b)
}

// copyOutSockaddr writes as much of sa to addr as the int at lenAddr has room
// for, and there its true length. Nothing is wanted if addr is 0.
func copyOutSockaddr(t *task.Task, addr, lenAddr mm.Addr, sa []byte) error {
	if addr == 0 {
		return nil
	}
	room, err := copyInInt32(t, lenAddr)
	if err != nil {
		return err
	}
	if room < 0 {
		return linux.EINVAL
	}
	if err := t.CopyOutLater(addr, sa[:min(len(sa), int(room))]); err != nil {
		return err
	}
	return copyOutInt32(t, lenAddr, int32(len(sa)))
}

func copyInInt32(t *task.Task, addr mm.Addr) (int32, error) {
	var b [4]byte
	err := t.CopyIn(addr, b[:])
	return int32(binary.LittleEndian.Uint32(b[:])), err
}

func copyOutInt32(t *task.Task, addr mm.Addr, v int32) error {
	out := newAnswer(t, 4)
	binary.LittleEndian.PutUint32(out.bytes, uint32(v))
	return out.copyOut(t, addr)
}

// bind gives a socket its address: bind(2).
func bind(t *task.Task, fd linux.FD, addr mm.Addr, n int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	sa, err := copyInSockaddr(t, addr, n)
	if err != nil {
		return 0, err
	}
	return 0, s.Bind(t, sa)
}

// listen makes a socket accept connections: listen(2). A backlog beyond what
// the kernel allows is cut.
func listen(t *task.Task, fd linux.FD, backlog int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if uint32(backlog) > linux.SOMAXCONN {
		backlog = linux.SOMAXCONN
	}
	return 0, s.Listen(t, int(backlog))
}

// accept takes a connection: accept(2).
func accept(t *task.Task, fd linux.FD, addr, n mm.Addr) (uint64, error) {
	return accept4(t, fd, addr, n, 0)
}

// accept4 is accept with flags for the new descriptor.
func accept4(t *task.Task, fd linux.FD, addr, n mm.Addr, flags linux.OpenFlags) (uint64, error) {
	if flags&^fdFlags != 0 {
		return 0, linux.EINVAL
	}
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	conn, peer, err := socket.Accept(t, s, nonblocking(f))
	if err != nil {
		return 0, err
	}
	file := socket.NewFile(conn, linux.O_RDWR|flags&linux.O_NONBLOCK)
	if err := copyOutSockaddr(t, addr, n, peer); err != nil {
		file.DecRef(t)
		return 0, err
	}
	return install(t, file, flags)
}

// connect gives a socket its peer: connect(2).
func connect(t *task.Task, fd linux.FD, addr mm.Addr, n int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	sa, err := copyInSockaddr(t, addr, n)
	if err != nil {
		return 0, err
	}
	return 0, s.Connect(t, sa, nonblocking(f))
}

// getsockname tells a socket's address: getsockname(2).
func getsockname(t *task.Task, fd linux.FD, addr, n mm.Addr) (uint64, error) {
	return sockaddrOf(t, fd, addr, n, socket.Socket.SockName)
}

// getpeername tells its peer's: getpeername(2).
func getpeername(t *task.Task, fd linux.FD, addr, n mm.Addr) (uint64, error) {
	return sockaddrOf(t, fd, addr, n, socket.Socket.PeerName)
}

func sockaddrOf(t *task.Task, fd linux.FD, addr, n mm.Addr, name func(socket.Socket, vfs.Context) ([]byte, error)) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	sa, err := name(s, t)
	if err != nil {
		return 0, err
	}
	if addr == 0 {
		return 0, linux.EFAULT
	}
	return 0, copyOutSockaddr(t, addr, n, sa)
}

// shutdown ends one direction of a connection or both: shutdown(2).
func shutdown(t *task.Task, fd linux.FD, how int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if how < linux.SHUT_RD || how > linux.SHUT_RDWR {
		return 0, linux.EINVAL
	}
	return 0, s.Shutdown(t, int(how))
}

// setsockopt sets an option: setsockopt(2).
func setsockopt(t *task.Task, fd linux.FD, level, name int32, value mm.Addr, n int32) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	most := optionMax
	if l, ok := s.(interface{ MaxOption(level, name int) int }); ok {
		most = max(most, l.MaxOption(int(level), int(name)))
	}
	if n < 0 || int(n) > most {
		return 0, linux.EINVAL
	}
	if level == linux.SOL_SOCKET && name != linux.SO_BINDTODEVICE && n < 4 {
		return 0, linux.EINVAL
	}
	b := make([]byte, n)
	if err := t.CopyIn(value, b); err != nil {
		return 0, err
	}
	return 0, s.SetSockOpt(t, int(level), int(name), b)
}

// sockOpt gives an option's value, by way of the one there is already where that is
// a part of the question.
func sockOpt(t *task.Task, s socket.Socket, level, name int, value mm.Addr, room int) ([]byte, error) {
	if a, ok := s.(socket.Asker); ok {
		asked := make([]byte, min(room, 144)) // struct group_filter's is the longest
		if t.CopyIn(value, asked) == nil {
			if b, known, err := a.Ask(t, level, name, asked); known {
				return b, err
			}
		}
	}
	const peerPIDFDOption = 77 // SO_PEERPIDFD
	if level == linux.SOL_SOCKET && name == peerPIDFDOption {
		return peerPIDFD(t, s)
	}
	if level == linux.SOL_SOCKET && name == linux.SO_PEERNAME {
		return peerName(t, s, room)
	}
	if level == linux.SOL_SOCKET && name == linux.SO_COOKIE && room < 8 {
		return nil, linux.EINVAL
	}
	return s.SockOpt(t, level, name, room)
}

// peerName is SO_PEERNAME: EINVAL where there is more room than it takes.
func peerName(t *task.Task, s socket.Socket, room int) ([]byte, error) {
	b, err := s.PeerName(t)
	if err != nil {
		return nil, linux.ENOTCONN
	}
	if len(b) < room {
		return nil, linux.EINVAL
	}
	return b, nil
}

// showPeer gives what SO_PEERCRED and SO_PEERGROUPS tell with the numbers of the
// caller's namespaces.
func showPeer(t *task.Task, name int, b []byte) []byte {
	ns, le := t.Creds().UserNS, binary.LittleEndian
	switch {
	case ns == nil && t.PIDNamespace() == nil:
	case name == linux.SO_PEERCRED && len(b) == linux.SizeofUcred:
		if u := linux.ReadUcred(b); u.UID != ^uint32(0) {
			u.PID = t.ShowPID(u.PID)
			u.UID, u.GID = ns.ShowUID(u.UID), ns.ShowGID(u.GID)
			return u.Bytes()
		}
	case name == linux.SO_PEERGROUPS:
		for at := 0; at+4 <= len(b); at += 4 {
			le.PutUint32(b[at:], ns.ShowGID(le.Uint32(b[at:])))
		}
	}
	return b
}

// getsockopt tells an option's value, cut to the length that the guest has room
// for: getsockopt(2).
func getsockopt(t *task.Task, fd linux.FD, level, name int32, value, lenAddr mm.Addr) (uint64, error) {
	s, f, err := socketOf(t, fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	room, err := copyInInt32(t, lenAddr)
	if err != nil {
		return 0, err
	}
	if room < 0 {
		return 0, linux.EINVAL
	}
	b, err := sockOpt(t, s, int(level), int(name), value, int(room))
	if err != nil {
		return 0, err
	}
	if level == linux.SOL_SOCKET {
		b = showPeer(t, int(name), b)
	}
	b = b[:min(len(b), int(room))]
	if err := t.CopyOutLater(value, b); err != nil {
		return 0, err
	}
	return 0, copyOutInt32(t, lenAddr, int32(len(b)))
}
