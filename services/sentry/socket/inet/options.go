package inet

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// optionKey names an option.
type optionKey struct{ level, name int }

// option is how one option of C's type int is read and set. Both are called with
// settings.mu held.
type option struct {
	get func(*settings) int
	// set is nil for what is accepted and changes nothing here.
	set func(*settings, int) error
	// told says that netd has to know.
	told bool
}

func flag(field func(*settings) *bool, told bool) option {
	return option{
		get: func(c *settings) int { return boolInt(*field(c)) },
		set: func(c *settings, v int) error { *field(c) = v != 0; return nil }, told: told,
	}
}

// number is an option between low and high; EINVAL otherwise.
func number(field func(*settings) *int, low, high int) option {
	return option{
		get: func(c *settings) int { return *field(c) },
		set: func(c *settings, v int) error {
			if v < low || v > high {
				return linux.EINVAL
			}
			*field(c) = v
			return nil
		},
	}
}

// sent is a number that netd has to know; unset is what it is when it is 0.
func sent(field func(*settings) *uint32, low, high, unset int) option {
	return option{
		get: func(c *settings) int {
			if v := int(*field(c)); v != 0 {
				return v
			}
			return unset
		},
		set: func(c *settings, v int) error {
			if v < low || v > high {
				return linux.EINVAL
			}
			*field(c) = uint32(v)
			return nil
		}, told: true,
	}
}

// reported is o, of which netd has to know.
func reported(o option) option {
	o.told = true
	return o
}

// coverage is an option of UDP-Lite: 0 is all, else the header at least is covered.
func coverage(field func(*settings) *uint32, set func(*settings)) option {
	return option{
		get: func(c *settings) int { return int(*field(c)) },
		set: func(c *settings, v int) error {
			if v != 0 {
				v = min(max(v, 8), 65535)
			}
			*field(c) = uint32(v)
			set(c)
			return nil
		}, told: true,
	}
}

func boolInt(v bool) int {
	if v {
		return 1
	}
	return 0
}

const maxInt = 1<<31 - 1

// hops sets a hop limit: -1 is the default.
var hops = option{
	get: func(c *settings) int {
		if c.o.HopLimit != 0 {
			return int(c.o.HopLimit)
		}
		return 64
	},
	set: func(c *settings, v int) error {
		if v == -1 {
			v = 0
		} else if v < 1 || v > 255 {
			return linux.EINVAL
		}
		c.o.HopLimit = uint32(v)
		return nil
	}, told: true,
}

var class = option{
	get: func(c *settings) int { return int(c.o.TrafficClass) },
	set: func(c *settings, v int) error {
		if v == -1 {
			v = 0
		}
		c.o.TrafficClass = uint32(v & 0xff)
		return nil
	}, told: true,
}

var (
	discover       = reported(number(func(c *settings) *int { return &c.discover }, 0, 5))
	multicastHops  = reported(number(func(c *settings) *int { return &c.multicastHops }, -1, 255))
	multicastLoop  = flag(func(c *settings) *bool { return &c.multicastLoop }, true)
	multicastAll   = flag(func(c *settings) *bool { return &c.multicastAll }, true)
	receiveErrors  = flag(func(c *settings) *bool { return &c.o.ReceiveErrors }, true)
	receivePktInfo = flag(func(c *settings) *bool { return &c.receivePacketInfo }, false)
	receiveHops    = flag(func(c *settings) *bool { return &c.receiveHops }, false)
	receiveClass   = flag(func(c *settings) *bool { return &c.receiveClass }, false)
	freeBind       = flag(func(c *settings) *bool { return &c.o.FreeBind }, true)
)

// options are the options of C's type int, of every level: socket(7), ip(7),
// ipv6(7), tcp(7).
var options = map[optionKey]option{
	{linux.SOL_SOCKET, linux.SO_REUSEADDR}:   flag(func(c *settings) *bool { return &c.o.ReuseAddress }, true),
	{linux.SOL_SOCKET, linux.SO_REUSEPORT}:   flag(func(c *settings) *bool { return &c.o.ReusePort }, true),
	{linux.SOL_SOCKET, linux.SO_BROADCAST}:   flag(func(c *settings) *bool { return &c.o.Broadcast }, true),
	{linux.SOL_SOCKET, linux.SO_KEEPALIVE}:   flag(func(c *settings) *bool { return &c.o.KeepAlive }, true),
	{linux.SOL_SOCKET, linux.SO_OOBINLINE}:   flag(func(c *settings) *bool { return &c.oobInline }, false),
	{linux.SOL_SOCKET, linux.SO_TIMESTAMP}:   flag(func(c *settings) *bool { return &c.timestamp }, false),
	{linux.SOL_SOCKET, linux.SO_TIMESTAMPNS}: flag(func(c *settings) *bool { return &c.timestampNS }, false),
	{linux.SOL_SOCKET, linux.SO_PRIORITY}:    number(func(c *settings) *int { return &c.priority }, 0, maxInt),
	{linux.SOL_SOCKET, linux.SO_MARK}:        number(func(c *settings) *int { return &c.mark }, -1<<31, maxInt),
	{linux.SOL_SOCKET, linux.SO_RCVLOWAT}:    number(func(c *settings) *int { return &c.lowat }, 0, maxInt),
	{linux.SOL_SOCKET, linux.SO_RCVBUF}:      buffer(true),
	{linux.SOL_SOCKET, linux.SO_SNDBUF}:      buffer(false),

	{linux.IPPROTO_IP, linux.IP_TTL}:                  hops,
	{linux.IPPROTO_IP, linux.IP_TOS}:                  class,
	{linux.IPPROTO_IP, linux.IP_MTU_DISCOVER}:         discover,
	{linux.IPPROTO_IP, linux.IP_MULTICAST_TTL}:        multicastHops,
	{linux.IPPROTO_IP, linux.IP_MULTICAST_LOOP}:       multicastLoop,
	{linux.IPPROTO_IP, linux.IP_MULTICAST_ALL}:        multicastAll,
	{linux.IPPROTO_IP, linux.IP_HDRINCL}:              headerIncluded,
	{linux.IPPROTO_IP, linux.IP_RECVERR}:              receiveErrors,
	{linux.IPPROTO_IP, linux.IP_PKTINFO}:              receivePktInfo,
	{linux.IPPROTO_IP, linux.IP_RECVTTL}:              receiveHops,
	{linux.IPPROTO_IP, linux.IP_RECVTOS}:              receiveClass,
	{linux.IPPROTO_IP, linux.IP_RECVOPTS}:             flag(func(c *settings) *bool { return &c.receiveOptions }, false),
	{linux.IPPROTO_IP, linux.IP_RETOPTS}:              flag(func(c *settings) *bool { return &c.returnOptions }, false),
	{linux.IPPROTO_IP, linux.IP_FREEBIND}:             freeBind,
	{linux.IPPROTO_IP, linux.IP_BIND_ADDRESS_NO_PORT}: flag(func(c *settings) *bool { return &c.noPortOnBind }, false),

	{linux.IPPROTO_IPV6, linux.IPV6_V6ONLY}:         flag(func(c *settings) *bool { return &c.o.V6Only }, true),
	{linux.IPPROTO_IPV6, linux.IPV6_UNICAST_HOPS}:   hops,
	{linux.IPPROTO_IPV6, linux.IPV6_TCLASS}:         class,
	{linux.IPPROTO_IPV6, linux.IPV6_MTU_DISCOVER}:   discover,
	{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_HOPS}: multicastHops,
	{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_LOOP}: multicastLoop,
	{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_ALL}:  multicastAll,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVERR}:        receiveErrors,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVPKTINFO}:    receivePktInfo,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVHOPLIMIT}:   receiveHops,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVTCLASS}:     receiveClass,

	{linux.IPPROTO_UDP, linux.UDP_SEGMENT}: number(func(c *settings) *int { return &c.segment }, 0, 65535),
	{linux.IPPROTO_UDP, linux.UDP_GRO}:     flag(func(c *settings) *bool { return &c.o.Segments }, true),

	{linux.IPPROTO_UDPLITE, linux.UDPLITE_SEND_CSCOV}: coverage(func(c *settings) *uint32 { return &c.o.SendCoverage }, func(*settings) {}),
	{linux.IPPROTO_UDPLITE, linux.UDPLITE_RECV_CSCOV}: coverage(func(c *settings) *uint32 { return &c.o.ReceiveCoverage },
		func(c *settings) { c.o.CheckCoverage = true }),

	{linux.IPPROTO_TCP, linux.TCP_NODELAY}:       flag(func(c *settings) *bool { return &c.o.NoDelay }, true),
	{linux.IPPROTO_TCP, linux.TCP_CORK}:          flag(func(c *settings) *bool { return &c.o.Cork }, true),
	{linux.IPPROTO_TCP, linux.TCP_KEEPIDLE}:      sent(func(c *settings) *uint32 { return &c.o.KeepIdle }, 1, 32767, 7200),
	{linux.IPPROTO_TCP, linux.TCP_KEEPINTVL}:     sent(func(c *settings) *uint32 { return &c.o.KeepInterval }, 1, 32767, 75),
	{linux.IPPROTO_TCP, linux.TCP_KEEPCNT}:       sent(func(c *settings) *uint32 { return &c.o.KeepCount }, 1, 127, 9),
	{linux.IPPROTO_TCP, linux.TCP_SYNCNT}:        sent(func(c *settings) *uint32 { return &c.o.SynCount }, 1, 127, 6),
	{linux.IPPROTO_TCP, linux.TCP_LINGER2}:       sent(func(c *settings) *uint32 { return &c.o.Linger2 }, 0, maxInt, 60),
	{linux.IPPROTO_TCP, linux.TCP_USER_TIMEOUT}:  sent(func(c *settings) *uint32 { return &c.o.UserTimeout }, 0, maxInt, 0),
	{linux.IPPROTO_TCP, linux.TCP_MAXSEG}:        sent(func(c *settings) *uint32 { return &c.o.MaxSegment }, 88, 32767, 536),
	{linux.IPPROTO_TCP, linux.TCP_WINDOW_CLAMP}:  number(func(c *settings) *int { return &c.windowClamp }, 0, maxInt),
	{linux.IPPROTO_TCP, linux.TCP_DEFER_ACCEPT}:  number(func(c *settings) *int { return &c.deferAccept }, 0, maxInt),
	{linux.IPPROTO_TCP, linux.TCP_NOTSENT_LOWAT}: number(func(c *settings) *int { return &c.notsentLowat }, -1<<31, maxInt),
	{linux.IPPROTO_TCP, linux.TCP_FASTOPEN}:      number(func(c *settings) *int { return &c.fastOpen }, 0, maxInt),
	{linux.IPPROTO_TCP, linux.TCP_QUICKACK}: {
		get: func(c *settings) int { return boolInt(!c.quickAckOff) },
		set: func(c *settings, v int) error { c.quickAckOff = v == 0; return nil },
	},
}

// headerIncluded is IP_HDRINCL, which raw IPv4 sockets alone can set.
var headerIncluded = option{
	get: func(c *settings) int { return boolInt(c.o.HeaderIncluded) },
	set: func(c *settings, v int) error {
		if !c.raw4 {
			return linux.ENOPROTOOPT
		}
		c.o.HeaderIncluded = v != 0
		return nil
	}, told: true,
}

// buffer is SO_RCVBUF or SO_SNDBUF: the kernel doubles what it is given.
func buffer(receive bool) option {
	field := func(c *settings) (size *int, told *uint32, least, unset int) {
		if receive {
			return &c.receive, &c.o.ReceiveBuffer, minReceive, defaultReceive
		}
		return &c.send, &c.o.SendBuffer, minSend, defaultSend
	}
	return option{
		get: func(c *settings) int {
			size, _, _, unset := field(c)
			if *size == 0 {
				return unset
			}
			return *size
		},
		set: func(c *settings, v int) error {
			size, told, least, _ := field(c)
			*size = min(max(v, 0), maxBuffer/2) * 2
			*size = max(*size, least)
			*told = uint32(*size)
			return nil
		}, told: true,
	}
}

// applies says whether a socket of that kind has options of the level.
func applies(v6, raw bool, protocol, level int, reading bool) error {
	switch level {
	case linux.SOL_SOCKET, linux.IPPROTO_IP:
		return nil
	case linux.IPPROTO_IPV6:
		if v6 {
			return nil
		}
		if reading {
			return linux.EOPNOTSUPP
		}
		return linux.ENOPROTOOPT
	case linux.SOL_RAW:
		if raw {
			return nil
		}
	case protocol:
		return nil
	case linux.IPPROTO_UDP:
		if protocol == linux.IPPROTO_UDPLITE {
			return nil
		}
	case linux.IPPROTO_UDPLITE:
		if protocol == linux.IPPROTO_UDP && reading {
			return nil
		}
	}
	return linux.ENOPROTOOPT
}

// get answers what is kept in settings alone.
func (c *settings) get(level, name int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := options[optionKey{level, name}]; ok {
		return socket.Int(o.get(c)), nil
	}
	switch (optionKey{level, name}) {
	case optionKey{linux.SOL_SOCKET, linux.SO_LINGER}:
		b := binary.LittleEndian.AppendUint32(nil, uint32(boolInt(c.o.Linger)))
		return binary.LittleEndian.AppendUint32(b, c.o.LingerSeconds), nil
	case optionKey{linux.IPPROTO_TCP, linux.TCP_CONGESTION}:
		b := make([]byte, 16)
		copy(b, c.congestion)
		return b, nil
	case optionKey{linux.SOL_SOCKET, linux.SO_BINDTODEVICE}:
		if c.device == "" {
			return []byte{}, nil
		}
		return append([]byte(c.device), 0), nil
	case optionKey{linux.SOL_SOCKET, linux.SO_BINDTOIFINDEX}:
		return socket.Int(int(c.o.Device)), nil
	case optionKey{linux.IPPROTO_IP, linux.IP_MULTICAST_IF}:
		a := netip.IPv4Unspecified()
		if c.multicastAddr.Is4() {
			a = c.multicastAddr
		}
		return a.AsSlice(), nil
	case optionKey{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_IF}:
		return socket.Int(int(c.o.MulticastDevice)), nil
	case optionKey{linux.SOL_SOCKET, linux.SO_SNDLOWAT}:
		return socket.Int(1), nil
	case optionKey{linux.SOL_SOCKET, linux.SO_DONTROUTE}, optionKey{linux.SOL_SOCKET, linux.SO_NO_CHECK},
		optionKey{linux.SOL_SOCKET, linux.SO_DEBUG}, optionKey{linux.SOL_SOCKET, linux.SO_INCOMING_CPU},
		optionKey{linux.SOL_SOCKET, linux.SO_BUSY_POLL}, optionKey{linux.SOL_SOCKET, linux.SO_ZEROCOPY}:
		return socket.Int(0), nil
	case optionKey{linux.IPPROTO_IP, linux.IP_OPTIONS}:
		return []byte{}, nil
	}
	return nil, linux.ENOPROTOOPT
}

// set changes an option; told says that netd has to know.
func (c *settings) set(ctx vfs.Context, level, name int, v []byte) (told bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := options[optionKey{level, name}]; ok {
		n, err := socket.ParseInt(v)
		if err != nil {
			if level == linux.IPPROTO_IP && len(v) == 1 {
				n = int(v[0]) // ip(7) takes a byte too
			} else {
				return false, err
			}
		}
		return o.told, o.set(c, n)
	}
	switch (optionKey{level, name}) {
	case optionKey{linux.SOL_SOCKET, linux.SO_LINGER}:
		if len(v) < 8 {
			return false, linux.EINVAL
		}
		c.o.Linger = binary.LittleEndian.Uint32(v) != 0
		c.o.LingerSeconds = binary.LittleEndian.Uint32(v[4:])
		return true, nil
	case optionKey{linux.SOL_SOCKET, linux.SO_RCVBUFFORCE}, optionKey{linux.SOL_SOCKET, linux.SO_SNDBUFFORCE}:
		if !ctx.Creds().Has(linux.CAP_NET_ADMIN) {
			return false, linux.EPERM
		}
		n, err := socket.ParseInt(v)
		if err != nil {
			return false, err
		}
		return true, buffer(name == linux.SO_RCVBUFFORCE).set(c, n)
	case optionKey{linux.IPPROTO_TCP, linux.TCP_CONGESTION}:
		name, _, _ := strings.Cut(string(v), "\x00")
		if name != "reno" && name != "cubic" {
			return false, linux.ENOENT
		}
		c.congestion = name
		return false, nil
	case optionKey{linux.SOL_SOCKET, linux.SO_DONTROUTE}, optionKey{linux.SOL_SOCKET, linux.SO_NO_CHECK},
		optionKey{linux.SOL_SOCKET, linux.SO_DEBUG}, optionKey{linux.SOL_SOCKET, linux.SO_INCOMING_CPU},
		optionKey{linux.SOL_SOCKET, linux.SO_BUSY_POLL}, optionKey{linux.SOL_SOCKET, linux.SO_ZEROCOPY},
		optionKey{linux.SOL_SOCKET, linux.SO_BSDCOMPAT}:
		return false, nil
	case optionKey{linux.SOL_SOCKET, linux.SO_ACCEPTCONN}, optionKey{linux.SOL_SOCKET, linux.SO_ERROR}:
		return false, linux.ENOPROTOOPT
	}
	return false, linux.ENOPROTOOPT
}

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
	case name == optOriginalDst && (level == linux.IPPROTO_IP || level == linux.IPPROTO_IPV6):
		return s.original()
	}
	return s.conf.get(level, name)
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
	if m, err := membership(level, name, value); m != nil || err != nil {
		return linux.EPROTO // ip(7): datagrams alone have groups
	}
	told, err := s.n.setDevice(ctx, &s.conf, false, level, name, value)
	if !told {
		told, err = s.conf.set(ctx, level, name, value)
	}
	if e := s.end.Load(); err == nil && told && e != nil {
		s.n.post(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Options{Options: s.conf.message()}})
	}
	return err
}

// info is TCP_INFO: the first 232 bytes of struct tcp_info.
func (s *Stream) info(ctx vfs.Context) ([]byte, error) {
	b := make([]byte, 232)
	if h := s.direct.Load(); h != nil {
		h.info(b)
		return b, nil
	}
	e := s.end.Load()
	if e == nil {
		b[0] = 7 // TCP_CLOSE
		return b, nil
	}
	resp, fds, err := s.n.call(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Info{Info: &netdv1.Info{}}})
	closeAll(fds)
	if err != nil || resp.Info == nil {
		b[0] = 7
		return b, nil
	}
	i := resp.Info
	b[0] = byte(i.State)
	b[2] = byte(i.Retransmits)
	b[5] = 1 | 2 | 4 // timestamps, SACK, window scaling
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	put(8, i.Rto)
	put(12, 40000)
	put(16, i.SendMss)
	put(20, i.ReceiveMss)
	put(24, i.Unacked)
	put(60, i.SendMss)
	put(68, i.Rtt)
	put(72, i.RttVariation)
	put(76, i.SlowStartThreshold)
	put(80, i.CongestionWindow)
	put(84, i.SendMss)
	put(96, i.ReceiveSpace)
	put(100, i.TotalRetransmits)
	binary.LittleEndian.PutUint64(b[120:], i.BytesAcked)
	binary.LittleEndian.PutUint64(b[128:], i.BytesReceived)
	put(136, i.SegmentsOut)
	put(140, i.SegmentsIn)
	return b, nil
}
