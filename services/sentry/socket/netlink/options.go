package netlink

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// option is one of SOL_NETLINK that is on or off.
func (s *Socket) option(name int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.options[name]
}

// switchable says whether an option of SOL_NETLINK is one that is on or off: netlink(7).
// All of them are remembered; NETLINK_PKTINFO, NETLINK_NO_ENOBUFS and NETLINK_CAP_ACK
// act.
func switchable(name int) bool {
	switch name {
	case linux.NETLINK_PKTINFO, linux.NETLINK_BROADCAST_ERROR, linux.NETLINK_NO_ENOBUFS, linux.NETLINK_LISTEN_ALL_NSID,
		linux.NETLINK_CAP_ACK, linux.NETLINK_EXT_ACK, linux.NETLINK_GET_STRICT_CHK:
		return true
	}
	return false
}

// SockOpt gives an option's value.
func (s *Socket) SockOpt(ctx vfs.Context, level, name, max int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case level == linux.SOL_NETLINK && name == linux.NETLINK_LIST_MEMBERSHIPS:
		if s.mu.groups == 0 {
			return []byte{}, nil
		}
		return le.AppendUint64(nil, uint64(s.mu.groups)), nil
	case level == linux.SOL_NETLINK && switchable(name) && max < 4:
		return nil, linux.EINVAL
	case level == linux.SOL_NETLINK && switchable(name):
		return socket.Bool(s.mu.options[name]), nil
	case level != linux.SOL_SOCKET:
		return nil, linux.ENOPROTOOPT
	}
	if v, ok := s.SockOptBase(name); ok {
		return v, nil
	}
	switch name {
	case linux.SO_RCVBUF:
		return socket.Int(s.mu.buffer), nil
	case linux.SO_SNDBUF:
		return socket.Int(defaultBuffer), nil
	case linux.SO_PASSCRED:
		return socket.Bool(s.mu.passCreds), nil
	case linux.SO_ERROR:
		if s.mu.overrun {
			s.mu.overrun = false
			return socket.Int(int(linux.ENOBUFS)), nil
		}
		return socket.Int(0), nil
	case linux.SO_ACCEPTCONN:
		return socket.Int(0), nil
	case linux.SO_RCVLOWAT:
		return socket.Int(1), nil
	case linux.SO_LINGER:
		return make([]byte, 8), nil
	}
	return s.Kept(name, max)
}

// SetSockOpt sets an option.
func (s *Socket) SetSockOpt(ctx vfs.Context, level, name int, value []byte) error {
	if level == linux.SOL_NETLINK {
		if name == linux.NETLINK_ADD_MEMBERSHIP && !s.mayJoin(ctx) {
			return linux.EPERM
		}
		return s.setOption(name, value)
	}
	if level != linux.SOL_SOCKET {
		return linux.ENOPROTOOPT
	}
	if known, err := s.SetSockOptBase(name, value); known {
		return err
	}
	switch name {
	case linux.SO_RCVBUF, linux.SO_RCVBUFFORCE:
		n, err := socket.ParseInt(value)
		if err != nil {
			return err
		}
		if name == linux.SO_RCVBUFFORCE {
			if !rules(ctx, s.source) {
				return linux.EPERM
			}
			n = min(max(n, 0), mostForced)
		} else {
			n = min(max(n, 0), defaultBuffer)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.buffer = max(2*n, leastBuffer)
		return nil
	case linux.SO_PASSCRED:
		n, err := socket.ParseInt(value)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.passCreds = n != 0
		return err
	case linux.SO_LINGER:
		if len(value) < 8 {
			return linux.EINVAL
		}
		return nil
	case linux.SO_ATTACH_FILTER: // taken, and all passes: who sets one looks again
		if len(value) < 16 {
			return linux.EINVAL
		}
		return nil
	case linux.SO_SNDBUF, linux.SO_SNDBUFFORCE:
		return nil
	}
	return s.Keep(ctx, name, value)
}

// Bounds of SO_RCVBUF and SO_RCVBUFFORCE in bytes: SOCK_MIN_RCVBUF, and what one socket
// may take of the sentry.
const (
	leastBuffer = 2304
	mostForced  = 4 << 20
)

// setOption sets one of SOL_NETLINK.
func (s *Socket) setOption(name int, value []byte) error {
	n := 0
	if len(value) >= 4 {
		n, _ = socket.ParseInt(value)
	}
	switch {
	case name == linux.NETLINK_ADD_MEMBERSHIP || name == linux.NETLINK_DROP_MEMBERSHIP:
		return s.membership(n, name == linux.NETLINK_ADD_MEMBERSHIP)
	case !switchable(name):
		return linux.ENOPROTOOPT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.options[name] = n != 0
	if name == linux.NETLINK_NO_ENOBUFS && n != 0 {
		s.mu.congested = false
	}
	return nil
}
