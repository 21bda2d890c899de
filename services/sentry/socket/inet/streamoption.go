package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// SockOpt gives an option's value.
func (s *Stream) SockOpt(ctx vfs.Context, level, name, max int) ([]byte, error) {
	if err := applies(s.v6, false, linux.IPPROTO_TCP, level, true); err != nil {
		return nil, err
	}
	if level == linux.SOL_SOCKET {
		switch name {
		case linux.SO_ERROR:
			if h := s.direct.Load(); h != nil {
				return errorOption(h.takeError()), nil
			}
			return errorOption(s.errors.take(s.n, s.end.Load())), nil
		case linux.SO_ACCEPTCONN:
			s.queue.Lock()
			defer s.queue.Unlock()
			return socket.Bool(s.queue.listening), nil
		}
		if v, ok := s.SockOptBase(name); ok {
			return v, nil
		}
	}
	switch {
	case level == linux.IPPROTO_TCP && name == linux.TCP_INFO:
		return s.info(ctx)
	case level == linux.IPPROTO_TCP && name == linux.TCP_SAVED_SYN:
		return s.takeSyn(max)
	case level == linux.IPPROTO_TCP && name == linux.TCP_MAXSEG:
		if _, err := s.PeerName(ctx); err == nil {
			b, _ := s.Diagnose(ctx)
			return b[16:20], nil // tcpi_snd_mss
		}
	case level == linux.IPPROTO_IP && name == linux.IP_MTU || level == linux.IPPROTO_IPV6 && name == linux.IPV6_MTU:
		return s.mtu(ctx)
	case name == optOriginalDst && (level == linux.IPPROTO_IP || level == linux.IPPROTO_IPV6):
		return s.original()
	}
	v, err := s.conf.get(level, name)
	if err == linux.ENOPROTOOPT && level == linux.SOL_SOCKET {
		return s.Kept(name, max)
	}
	return v, err
}

// errorOption is SO_ERROR's value.
func errorOption(err error) []byte {
	if e, ok := err.(linux.Errno); ok {
		return socket.Int(int(e))
	}
	return socket.Int(0)
}

// SetSockOpt sets an option.
func (s *Stream) SetSockOpt(ctx vfs.Context, level, name int, value []byte) error {
	if err := applies(s.v6, false, linux.IPPROTO_TCP, level, false); err != nil {
		return err
	}
	if level == linux.SOL_SOCKET {
		if known, err := s.SetSockOptBase(name, value); known {
			return err
		}
	}
	if level == linux.IPPROTO_IPV6 && name == linux.IPV6_V6ONLY {
		s.mu.Lock()
		bound := s.mu.bound
		s.mu.Unlock()
		if bound {
			return linux.EINVAL
		}
	}
	if _, ok := isSourceFilter(level, name); ok {
		return linux.EINVAL
	}
	if m, err := membership(level, name, value); err != nil {
		if level == linux.IPPROTO_IP && (name == linux.IP_ADD_MEMBERSHIP || name == linux.IP_DROP_MEMBERSHIP) {
			return linux.EPROTO
		}
		return err
	} else if m != nil {
		return linux.EPROTO // ip(7): datagrams alone have groups
	}
	if k := (optionKey{level, name}); k == (optionKey{linux.IPPROTO_IP, linux.IP_MULTICAST_TTL}) {
		return linux.EINVAL
	} else if k == (optionKey{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_HOPS}) {
		return linux.ENOPROTOOPT
	}
	told, err := s.n.setDevice(ctx, &s.conf, false, level, name, value)
	if !told {
		told, err = s.conf.set(ctx, level, name, value)
	}
	if err == linux.ENOPROTOOPT && level == linux.SOL_SOCKET {
		err = s.Keep(ctx, name, value)
		switch {
		case err != nil:
		case name == linux.SO_MAX_PACING_RATE:
			told = true
			s.conf.pace(s.KeptInt(name))
		case name == linux.SO_MARK:
			told = true
			s.conf.mark(s.KeptInt(name))
		}
	}
	if err == nil && level == linux.SOL_SOCKET && name == linux.SO_RCVLOWAT {
		s.lowat.Store(int64(s.conf.lowWater()))
		s.Queue().Notify(s.Poll())
	}
	if err == nil && level == linux.IPPROTO_TCP && name == linux.TCP_INQ {
		s.conf.mu.Lock()
		s.inq.Store(s.conf.inq)
		s.conf.mu.Unlock()
	}
	if level == linux.IPPROTO_TCP && (name == linux.TCP_DEFER_ACCEPT || name == linux.TCP_SAVE_SYN) {
		told = true
	}
	if e := s.end.Load(); err == nil && told && e != nil {
		s.n.post(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Options{Options: s.conf.message()}})
	}
	return err
}

// mtu is IP_MTU, what the path to the peer takes: ENOTCONN without one.
func (s *Stream) mtu(ctx vfs.Context) ([]byte, error) {
	if _, err := s.PeerName(ctx); err != nil {
		return nil, linux.ENOTCONN
	}
	mtu := 65536
	if s.direct.Load() == nil {
		b, err := s.info(ctx)
		if err != nil {
			return nil, err
		}
		mtu = int(binary.LittleEndian.Uint32(b[60:]))
	}
	if !s.v6 {
		mtu = min(mtu, 65535) // IP_MAX_MTU
	}
	return socket.Int(mtu), nil
}

// info is TCP_INFO: the first bytes of struct tcp_info.
func (s *Stream) info(ctx vfs.Context) ([]byte, error) {
	b, _ := s.Diagnose(ctx)
	return b, nil
}

// LowWater is SO_RCVLOWAT.
func (s *Stream) LowWater() int { return max(int(s.lowat.Load()), 1) }

// readable is how many bytes in its ring make the socket readable: SO_RCVLOWAT, but no
// more than leave room for the peer to go on.
func (s *Stream) readable(e *end) int {
	if n := s.LowWater(); n > 1 {
		return min(n, s.conf.receiveLimit(e.down.Size())/2)
	}
	return 1
}
