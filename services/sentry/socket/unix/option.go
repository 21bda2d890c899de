package unix

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Bounds of SO_SNDBUF in bytes: socket(7).
const (
	minBuffer = 4608
	maxBuffer = 2 * 212992 // twice /proc/sys/net/core/wmem_max
)

// SockOpt is getsockopt(2).
func (s *Socket) SockOpt(_ vfs.Context, level, name, _ int) ([]byte, error) {
	if level != linux.SOL_SOCKET {
		return nil, linux.EOPNOTSUPP
	}
	switch name {
	case linux.SO_ERROR:
		s.mu.Lock()
		defer s.mu.Unlock()
		err := s.mu.err
		s.mu.err = 0
		return socket.Int(int(err)), nil
	case linux.SO_ACCEPTCONN:
		s.mu.Lock()
		defer s.mu.Unlock()
		return socket.Bool(s.mu.state == listening), nil
	case linux.SO_PEERCRED:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.mu.peerCred.Bytes(), nil
	case linux.SO_PASSCRED:
		return socket.Bool(s.passCreds.Load()), nil
	case linux.SO_SNDBUF:
		return socket.Int(int(s.sendLimit.Load())), nil
	case linux.SO_RCVBUF:
		return socket.Int(int(s.recvLimit.Load())), nil
	case linux.SO_RCVLOWAT, linux.SO_SNDLOWAT:
		return socket.Int(1), nil
	case linux.SO_LINGER:
		return make([]byte, 8), nil
	}
	if v, ok := s.SockOptBase(name); ok {
		return v, nil
	}
	if meaningless(name) {
		return socket.Int(0), nil
	}
	return nil, linux.ENOPROTOOPT
}

// SetSockOpt is setsockopt(2).
func (s *Socket) SetSockOpt(ctx vfs.Context, level, name int, value []byte) error {
	if level != linux.SOL_SOCKET {
		return linux.EOPNOTSUPP
	}
	if known, err := s.SetSockOptBase(name, value); known {
		return err
	}
	switch name {
	case linux.SO_PEERCRED, linux.SO_ACCEPTCONN, linux.SO_ERROR:
		return linux.ENOPROTOOPT
	case linux.SO_LINGER, linux.SO_RCVLOWAT:
		return nil
	}
	v, err := socket.ParseInt(value)
	if err != nil {
		return err
	}
	switch name {
	case linux.SO_PASSCRED:
		s.passCreds.Store(v != 0)
	case linux.SO_SNDBUF:
		s.sendLimit.Store(int64(max(minBuffer, min(maxBuffer, 2*max(v, 0)))))
	case linux.SO_RCVBUF:
		s.recvLimit.Store(int64(max(minBuffer, min(maxBuffer, 2*max(v, 0)))))
	case linux.SO_SNDBUFFORCE, linux.SO_RCVBUFFORCE:
		if !ctx.Creds().Has(linux.CAP_NET_ADMIN) {
			return linux.EPERM
		}
	default:
		if !meaningless(name) {
			return linux.ENOPROTOOPT
		}
	}
	return nil
}

// meaningless are options that any socket takes and these do nothing with.
func meaningless(name int) bool {
	switch name {
	case linux.SO_DEBUG, linux.SO_REUSEADDR, linux.SO_DONTROUTE, linux.SO_BROADCAST, linux.SO_KEEPALIVE,
		linux.SO_OOBINLINE, linux.SO_NO_CHECK, linux.SO_PRIORITY, linux.SO_REUSEPORT, linux.SO_TIMESTAMP,
		linux.SO_TIMESTAMPNS, linux.SO_MARK, linux.SO_RXQ_OVFL, linux.SO_BUSY_POLL:
		return true
	}
	return false
}

// Ioctl answers FIONREAD, the bytes (of a datagram socket: of the first message)
// that wait, and SIOCOUTQ, those that the peer has not read.
func (s *Socket) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	n := 0
	switch cmd {
	case linux.FIONREAD:
		s.mu.Lock()
		switch {
		case s.mu.state == listening:
			s.mu.Unlock()
			return 0, linux.EINVAL
		case s.connects():
			n = s.mu.inbox.bytes
		case !s.mu.inbox.empty():
			n = len(s.mu.inbox.head.data)
		}
		s.mu.Unlock()
	case linux.TIOCOUTQ:
		s.mu.Lock()
		peer := s.mu.peer
		s.mu.Unlock()
		if peer != nil {
			peer.mu.Lock()
			n = peer.mu.inbox.cost
			peer.mu.Unlock()
		}
	default:
		if s.family.Devices != nil {
			return s.family.Devices(ctx, cmd, arg)
		}
		return 0, linux.ENOTTY
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return 0, ctx.CopyOut(arg, b[:])
}
