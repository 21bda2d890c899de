package inet

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync/atomic"

	"bulkhead/proto/linux"
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

// binaryFlag is a flag that takes 0 and 1 only: EINVAL.
func binaryFlag(field func(*settings) *bool) option {
	o := flag(field, true)
	set := o.set
	o.set = func(c *settings, v int) error {
		if v != 0 && v != 1 {
			return linux.EINVAL
		}
		return set(c, v)
	}
	return o
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

// sent is a number that netd has to know; unset is what it is when it is 0, if anything
// is.
func sent(field func(*settings) *uint32, low, high int, unset func(*tuning) *atomic.Int64) option {
	return option{
		get: func(c *settings) int {
			switch v := int(*field(c)); {
			case v != 0:
				return v
			case unset != nil:
				return int(unset(c.tuning).Load())
			}
			return 0
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
		return int(c.tuning.hops.Load())
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
		if c.stream { // whose two lowest bits are ECN's
			v = v&^3 | int(c.o.TrafficClass&3)
		}
		c.o.TrafficClass = uint32(v & 0xff)
		return nil
	}, told: true,
}

// class6 is IPV6_TCLASS: -1 is the default.
var class6 = option{
	get: class.get,
	set: func(c *settings, v int) error {
		if v < -1 || v > 255 {
			return linux.EINVAL
		}
		return class.set(c, max(v, 0))
	}, told: true,
}

// linger2 is TCP_LINGER2: two minutes at most; below 0 there is no FIN-WAIT-2 at all,
// which netd takes for the least.
var linger2 = option{
	get: func(c *settings) int {
		switch {
		case c.noLinger2:
			return -1
		case c.o.Linger2 == 0:
			return int(c.tuning.linger2.Load())
		}
		return int(c.o.Linger2)
	},
	set: func(c *settings, v int) error {
		if c.noLinger2 = v < 0; c.noLinger2 {
			v = 1
		}
		c.o.Linger2 = uint32(min(v, 120))
		return nil
	}, told: true,
}

// maxSegment is TCP_MAXSEG: 0 is what the route allows.
var maxSegment = option{
	get: func(c *settings) int {
		if c.o.MaxSegment == 0 {
			return 536
		}
		return int(c.o.MaxSegment)
	},
	set: func(c *settings, v int) error {
		if v != 0 && (v < 88 || v > 32767) {
			return linux.EINVAL
		}
		c.o.MaxSegment = uint32(v)
		return nil
	}, told: true,
}

// bounded is an option that netd is told of, with what it is at first: EINVAL beyond its bounds.
func bounded(of func(*settings) *uint32, first, least, most int) option {
	return option{
		get: func(c *settings) int {
			if n := *of(c); n != 0 {
				return int(n)
			}
			return first
		},
		set: func(c *settings, v int) error {
			if v < least || v > most {
				return linux.EINVAL
			}
			*of(c) = uint32(v)
			return nil
		}, told: true,
	}
}

// lowat is SO_RCVLOWAT: one byte at least, and all there can be for what is below 0; of
// a stream, half of what its buffer can become.
var lowat = option{
	get: func(c *settings) int { return c.lowat },
	set: func(c *settings, v int) error {
		if v < 0 {
			v = maxInt
		}
		if c.stream {
			most := mostLowat
			if c.receive > 0 {
				most = c.receive / 2
			}
			v = min(v, most)
		}
		c.lowat = max(v, 1)
		return nil
	},
}

var (
	discover      = reported(number(func(c *settings) *int { return &c.discover }, 0, 5))
	multicastHops = option{
		get: func(c *settings) int { return c.multicastHops },
		set: func(c *settings, v int) error {
			if v < -1 || v > 255 {
				return linux.EINVAL
			}
			if c.multicastHops = v; v == -1 {
				c.multicastHops = 1
			}
			return nil
		}, told: true,
	}
	multicastLoop  = flag(func(c *settings) *bool { return &c.multicastLoop }, true)
	multicastLoop6 = binaryFlag(func(c *settings) *bool { return &c.multicastLoop })
	multicastAll   = binaryFlag(func(c *settings) *bool { return &c.multicastAll })
	multicastAll6  = flag(func(c *settings) *bool { return &c.multicastAll }, true)
	receiveErrors  = flag(func(c *settings) *bool { return &c.o.ReceiveErrors }, true)
	receivePktInfo = flag(func(c *settings) *bool { return &c.receivePacketInfo }, false)
	receiveHops    = flag(func(c *settings) *bool { return &c.receiveHops }, false)
	receiveClass   = flag(func(c *settings) *bool { return &c.receiveClass }, false)
	minHops        = sent(func(c *settings) *uint32 { return &c.o.MinHops }, 0, 255, nil)
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
	{linux.SOL_SOCKET, linux.SO_RCVLOWAT}:    lowat,
	{linux.SOL_SOCKET, linux.SO_RCVBUF}:      buffer(true),
	{linux.SOL_SOCKET, linux.SO_SNDBUF}:      buffer(false),

	{linux.IPPROTO_IP, linux.IP_TTL}:                  hops,
	{linux.IPPROTO_IP, linux.IP_TOS}:                  class,
	{linux.IPPROTO_IP, linux.IP_MINTTL}:               minHops,
	{linux.IPPROTO_IPV6, linux.IPV6_MINHOPCOUNT}:      minHops,
	{linux.IPPROTO_IP, linux.IP_MTU_DISCOVER}:         discover,
	{linux.IPPROTO_IP, linux.IP_MULTICAST_TTL}:        multicastHops,
	{linux.IPPROTO_IP, linux.IP_MULTICAST_LOOP}:       multicastLoop,
	{linux.IPPROTO_IP, linux.IP_MULTICAST_ALL}:        multicastAll,
	{linux.IPPROTO_IP, linux.IP_HDRINCL}:              headerIncluded4,
	{linux.IPPROTO_IPV6, linux.IPV6_HDRINCL}:          headerIncluded6,
	{linux.SOL_RAW, linux.IPV6_HDRINCL}:               headerIncluded6,
	{linux.IPPROTO_IP, linux.IP_RECVERR}:              receiveErrors,
	{linux.IPPROTO_IP, linux.IP_PKTINFO}:              receivePktInfo,
	{linux.IPPROTO_IP, linux.IP_RECVTTL}:              receiveHops,
	{linux.IPPROTO_IP, linux.IP_RECVTOS}:              receiveClass,
	{linux.IPPROTO_IP, linux.IP_RECVOPTS}:             flag(func(c *settings) *bool { return &c.receiveOptions }, true),
	{linux.IPPROTO_IP, linux.IP_RETOPTS}:              flag(func(c *settings) *bool { return &c.returnOptions }, true),
	{linux.IPPROTO_IP, linux.IP_FREEBIND}:             freeBind,
	{linux.IPPROTO_IP, linux.IP_BIND_ADDRESS_NO_PORT}: flag(func(c *settings) *bool { return &c.noPortOnBind }, false),

	{linux.IPPROTO_IPV6, linux.IPV6_V6ONLY}:         flag(func(c *settings) *bool { return &c.o.V6Only }, true),
	{linux.IPPROTO_IPV6, linux.IPV6_UNICAST_HOPS}:   hops,
	{linux.IPPROTO_IPV6, linux.IPV6_TCLASS}:         class6,
	{linux.IPPROTO_IPV6, linux.IPV6_MTU_DISCOVER}:   discover,
	{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_HOPS}: multicastHops,
	{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_LOOP}: multicastLoop6,
	{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_ALL}:  multicastAll6,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVERR}:        receiveErrors,
	{linux.IPPROTO_IPV6, linux.IPV6_FREEBIND}:       freeBind,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVPKTINFO}:    receivePktInfo,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVHOPLIMIT}:   receiveHops,
	{linux.IPPROTO_IPV6, linux.IPV6_RECVTCLASS}:     receiveClass,

	{linux.IPPROTO_UDP, linux.UDP_SEGMENT}: number(func(c *settings) *int { return &c.segment }, 0, 65535),
	{linux.IPPROTO_UDP, linux.UDP_GRO}:     flag(func(c *settings) *bool { return &c.o.Segments }, true),

	{linux.IPPROTO_UDPLITE, linux.UDPLITE_SEND_CSCOV}: coverage(func(c *settings) *uint32 { return &c.o.SendCoverage }, func(*settings) {}),
	{linux.IPPROTO_UDPLITE, linux.UDPLITE_RECV_CSCOV}: coverage(func(c *settings) *uint32 { return &c.o.ReceiveCoverage },
		func(c *settings) { c.o.CheckCoverage = true }),

	{linux.IPPROTO_TCP, linux.TCP_NODELAY}:   flag(func(c *settings) *bool { return &c.o.NoDelay }, true),
	{linux.IPPROTO_TCP, linux.TCP_CORK}:      flag(func(c *settings) *bool { return &c.o.Cork }, true),
	{linux.IPPROTO_TCP, linux.TCP_KEEPIDLE}:  sent(func(c *settings) *uint32 { return &c.o.KeepIdle }, 1, 32767, func(t *tuning) *atomic.Int64 { return &t.keepIdle }),
	{linux.IPPROTO_TCP, linux.TCP_KEEPINTVL}: sent(func(c *settings) *uint32 { return &c.o.KeepInterval }, 1, 32767, func(t *tuning) *atomic.Int64 { return &t.keepEvery }),
	{linux.IPPROTO_TCP, linux.TCP_KEEPCNT}:   sent(func(c *settings) *uint32 { return &c.o.KeepCount }, 1, 127, func(t *tuning) *atomic.Int64 { return &t.keepProbes }),
	{linux.IPPROTO_TCP, linux.TCP_SYNCNT}:    sent(func(c *settings) *uint32 { return &c.o.SynCount }, 1, 127, func(t *tuning) *atomic.Int64 { return &t.synTry }),
	{linux.IPPROTO_TCP, linux.TCP_LINGER2}:   linger2,

	{linux.IPPROTO_TCP, linux.TCP_IS_MPTCP}:      {get: func(*settings) int { return 0 }, set: func(*settings, int) error { return linux.ENOPROTOOPT }},
	{linux.IPPROTO_TCP, linux.TCP_RTO_MAX_MS}:    bounded(func(c *settings) *uint32 { return &c.o.RtoMax }, 120_000, 1000, 120_000),
	{linux.IPPROTO_TCP, linux.TCP_RTO_MIN_US}:    bounded(func(c *settings) *uint32 { return &c.o.RtoMin }, 200_000, 8000, 200_000),
	{linux.IPPROTO_TCP, linux.TCP_DELACK_MAX_US}: bounded(func(c *settings) *uint32 { return &c.o.DelackMax }, 200_000, 8000, 200_000),

	{linux.IPPROTO_TCP, linux.TCP_USER_TIMEOUT}: sent(func(c *settings) *uint32 { return &c.o.UserTimeout }, 0, maxInt, nil),
	{linux.IPPROTO_TCP, linux.TCP_MAXSEG}:       maxSegment,
	{linux.IPPROTO_TCP, linux.TCP_FASTOPEN}: {
		get: func(c *settings) int { return int(c.o.FastOpen) },
		set: func(c *settings, v int) error {
			if v < 0 {
				return linux.EINVAL
			}
			c.o.FastOpen = uint32(min(v, linux.SOMAXCONN))
			return nil
		}, told: true,
	},
	{linux.IPPROTO_TCP, linux.TCP_FASTOPEN_CONNECT}: binaryFlag(func(c *settings) *bool { return &c.fastConnect }),
	{linux.IPPROTO_TCP, linux.TCP_INQ}:              binaryFlag(func(c *settings) *bool { return &c.inq }),
	{linux.SOL_SOCKET, linux.SO_ZEROCOPY}:           binaryFlag(func(c *settings) *bool { return &c.zerocopy }),
	{linux.SOL_SOCKET, linux.SO_TIMESTAMP_NEW}:      flag(func(c *settings) *bool { return &c.timestamp }, false),
	{linux.SOL_SOCKET, linux.SO_TIMESTAMPNS_NEW}:    flag(func(c *settings) *bool { return &c.timestampNS }, false),
	{linux.IPPROTO_TCP, linux.TCP_QUICKACK}: {
		get: func(c *settings) int { return boolInt(!c.quickAckOff) },
		set: func(c *settings, v int) error { c.quickAckOff, c.o.QuickAck = v == 0, v != 0; return nil }, told: true,
	},
}

// headerIncluded is IP_HDRINCL or IPV6_HDRINCL, which raw sockets alone of that family can set.
func headerIncluded(raw func(*settings) bool) option {
	return option{
		get: func(c *settings) int { return boolInt(c.o.HeaderIncluded && raw(c)) },
		set: func(c *settings, v int) error {
			if !raw(c) {
				return linux.ENOPROTOOPT
			}
			c.o.HeaderIncluded = v != 0
			return nil
		}, told: true,
	}
}

var (
	headerIncluded4 = headerIncluded(func(c *settings) bool { return c.raw4 })
	headerIncluded6 = headerIncluded(func(c *settings) bool { return c.raw6 })
)

// headless says whether a packet that is to begin with its own IP header cannot have one.
func (c *settings) headless(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.HeaderIncluded && (size < 20 || c.v6 && size < 40)
}

// buffer is SO_RCVBUF or SO_SNDBUF: the kernel doubles what it is given.
func buffer(receive bool) option {
	field := func(c *settings) (size *int, told *uint32, least, unset, most int) {
		if receive {
			return &c.receive, &c.o.ReceiveBuffer, minReceive, defaultReceive, int(c.tuning.mostReceive.Load())
		}
		return &c.send, &c.o.SendBuffer, minSend, defaultSend, int(c.tuning.mostSend.Load())
	}
	return option{
		get: func(c *settings) int {
			size, _, _, unset, _ := field(c)
			if *size == 0 {
				return unset
			}
			return *size
		},
		set: func(c *settings, v int) error {
			size, told, least, _, most := field(c)
			if v < 0 {
				v = most // it is unsigned there
			}
			*size = min(v, most) * 2
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
		if raw && (v6 || protocol == linux.IPPROTO_ICMP) {
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
	if reading && !v6 {
		return linux.EOPNOTSUPP
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
		if copy(b, c.o.Congestion); c.o.Congestion == "" {
			copy(b, defaultCongestion)
		}
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
	case optionKey{linux.IPPROTO_IP, linux.IP_OPTIONS}, optionKey{linux.IPPROTO_IPV6, linux.IPV6_HOPOPTS},
		optionKey{linux.IPPROTO_IPV6, linux.IPV6_DSTOPTS}, optionKey{linux.IPPROTO_IPV6, linux.IPV6_RTHDRDSTOPTS}:
		return append([]byte{}, c.sticky[optionKey{level, name}]...), nil
	}
	if level == linux.IPPROTO_IPV6 && name == linux.IPV6_FLOWLABEL_MGR {
		return nil, linux.EINVAL
	}
	return c.getKept(optionKey{level, name})
}

// defaultCongestion is what netd goes by if nobody names an algorithm.
const defaultCongestion = "cubic"

// set changes an option; told says that netd has to know.
func (c *settings) set(ctx vfs.Context, level, name int, v []byte) (told bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := options[optionKey{level, name}]; ok {
		n, err := intOf(optionKey{level, name}, v)
		if err != nil {
			return false, err
		}
		return o.told, o.set(c, n)
	}
	if k := (optionKey{level, name}); isSticky(k) {
		return true, c.setStickyLocked(ctx, k, v)
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
		if len(v) == 0 {
			return false, linux.EINVAL
		}
		if name != "reno" && name != "cubic" && name != "bbr" {
			return false, linux.ENOENT
		}
		c.o.Congestion = name
		return true, nil
	case optionKey{linux.IPPROTO_IPV6, linux.IPV6_FLOWLABEL_MGR}:
		return false, c.setLabelLocked(v)
	case optionKey{linux.SOL_SOCKET, linux.SO_ACCEPTCONN}, optionKey{linux.SOL_SOCKET, linux.SO_ERROR}:
		return false, linux.ENOPROTOOPT
	}
	told = isAhead(level, name)
	if level == linux.IPPROTO_IPV6 {
		told = told || name == linux.IPV6_DONTFRAG || name == linux.IPV6_MTU || name == linux.IPV6_AUTOFLOWLABEL
	}
	return told, c.setKept(ctx, optionKey{level, name}, v)
}
