package unix

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Bounds of SO_SNDBUF in bytes: socket(7).
const (
	minBuffer  = 4608
	minReceive = 2304
	maxBuffer  = 2 * 212992 // twice /proc/sys/net/core/wmem_max
)

// SO_PASSPIDFD is the option of unix(7) that tells who has sent something by a pidfd.
const SO_PASSPIDFD = 76

// tellsSender says that with each message it is told whose it is.
func (s *Socket) tellsSender() bool { return s.passCreds.Load() || s.passPIDFD.Load() }

// SockOpt is getsockopt(2).
func (s *Socket) SockOpt(_ vfs.Context, level, name, room int) ([]byte, error) {
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
	case linux.SO_PEERGROUPS:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.mu.peerCred.groupsIn(room)
	case linux.SO_PASSCRED:
		return socket.Bool(s.passCreds.Load()), nil
	case SO_PASSPIDFD:
		return socket.Bool(s.passPIDFD.Load()), nil
	case linux.SO_SNDBUF:
		return socket.Int(int(s.sendLimit.Load())), nil
	case linux.SO_RCVBUF:
		return socket.Int(int(s.recvLimit.Load())), nil
	case linux.SO_RCVLOWAT:
		return socket.Int(max(int(s.lowat.Load()), 1)), nil
	case linux.SO_LINGER:
		return make([]byte, 8), nil
	}
	if v, ok := s.SockOptBase(name); ok {
		return v, nil
	}
	return s.Kept(name, room)
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
	case linux.SO_LINGER:
		if len(value) < 8 {
			return linux.EINVAL
		}
		return nil
	}
	v, err := socket.ParseInt(value)
	if err != nil {
		return err
	}
	switch name {
	case linux.SO_PASSCRED:
		s.passCreds.Store(v != 0)
	case SO_PASSPIDFD:
		s.passPIDFD.Store(v != 0)
	case linux.SO_RCVLOWAT: // poll(2) does not go by it
		if v < 0 {
			v = 1<<31 - 1
		}
		s.lowat.Store(int64(v))
	case linux.SO_SNDBUF:
		s.sendLimit.Store(int64(max(minBuffer, min(maxBuffer, 2*max(v, 0)))))
	case linux.SO_RCVBUF:
		s.recvLimit.Store(int64(max(minReceive, min(maxBuffer, 2*max(v, 0)))))
	case linux.SO_SNDBUFFORCE, linux.SO_RCVBUFFORCE:
		if !ctx.Creds().Has(linux.CAP_NET_ADMIN) {
			return linux.EPERM
		}
	default:
		return s.Keep(ctx, name, value)
	}
	return nil
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
	case siocatmark:
		if s.AtMark() {
			n = 1
		}
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

// groupsIn is SO_PEERGROUPS: ENODATA without a peer, ERANGE where they do not fit.
func (c *caller) groupsIn(room int) ([]byte, error) {
	if c.UID == ^uint32(0) {
		return nil, linux.ENODATA
	}
	if room < 4*len(c.groups) {
		return nil, linux.ERANGE
	}
	b := []byte{}
	for _, g := range c.groups {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	return b, nil
}

// LowWater is SO_RCVLOWAT.
func (s *Socket) LowWater() int {
	if !s.stream() {
		return 1
	}
	return max(int(s.lowat.Load()), 1)
}
