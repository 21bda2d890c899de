package inet

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Buffer sizes of socket(7), in bytes: what SO_RCVBUF and SO_SNDBUF say of a
// socket that nobody has tuned, and the least and most that they can be set to.
// An untuned socket may use the whole of its rings.
const (
	defaultReceive = 131072
	defaultSend    = 16384
	minReceive     = 2304
	minSend        = 4608
	maxBuffer      = 212992 * 2
	mostLowat      = 3 << 20 // half of tcp_rmem's most
)

// settings are a socket's options.
type settings struct {
	tuning *tuning // set before the socket is shared

	mu sync.Mutex
	o  netdv1.Options

	receive, send int  // SO_RCVBUF, SO_SNDBUF as the guest sees them; 0: untuned
	raw4          bool // of a raw IPv4 socket
	raw6          bool // of a raw IPv6 socket
	v6            bool // of an AF_INET6 socket
	stream        bool // of a TCP socket
	kept          map[optionKey]int
	labels        map[uint32]bool // of IPV6_FLOWLABEL_MGR; true: nobody else may have it
	lowat         int
	oobInline     bool
	timestamp     bool
	timestampNS   bool

	receivePacketInfo bool
	receiveHops       bool
	receiveOptions    bool
	returnOptions     bool
	sticky            map[optionKey][]byte // headers of all that is sent: see ahead.go
	receiveClass      bool
	discover          int // IP_MTU_DISCOVER
	multicastHops     int
	multicastLoop     bool
	quickAckOff       bool
	inq               bool // TCP_INQ
	fastConnect       bool // TCP_FASTOPEN_CONNECT
	noLinger2         bool // TCP_LINGER2 is below 0
	zerocopy          bool // SO_ZEROCOPY
	noPortOnBind      bool
	device            string     // SO_BINDTODEVICE
	multicastAddr     netip.Addr // of IP_MULTICAST_IF, if it was given so
	multicastAll      bool
	segment           int // UDP_SEGMENT in bytes
}

func (c *settings) init(t *tuning) {
	c.tuning = t
	c.o.V6Only = t.v6Only.Load()
	if name := *t.congestion.Load(); name != defaultCongestion {
		c.o.Congestion = name
	}
	c.lowat, c.discover, c.multicastHops, c.multicastLoop = 1, 1, 1, true
	c.multicastAll = true
}

// copy takes what a listening socket's connections inherit.
func (c *settings) copy(from *settings) {
	from.mu.Lock()
	defer from.mu.Unlock()
	c.receive, c.send, c.lowat, c.oobInline, c.zerocopy = from.receive, from.send, from.lowat, from.oobInline, from.zerocopy
	c.kept = maps.Clone(from.kept)
	c.o = *cloneOptions(&from.o)
}

// cloneOptions copies the fields; the message's own state stays behind.
func cloneOptions(o *netdv1.Options) *netdv1.Options {
	return &netdv1.Options{
		ReuseAddress: o.ReuseAddress, ReusePort: o.ReusePort, V6Only: o.V6Only, NoDelay: o.NoDelay, Cork: o.Cork, KeepAlive: o.KeepAlive,
		KeepIdle: o.KeepIdle, KeepInterval: o.KeepInterval, KeepCount: o.KeepCount, UserTimeout: o.UserTimeout,
		ReceiveBuffer: o.ReceiveBuffer, SendBuffer: o.SendBuffer, Linger: o.Linger, LingerSeconds: o.LingerSeconds,
		HopLimit: o.HopLimit, TrafficClass: o.TrafficClass, MaxSegment: o.MaxSegment, Broadcast: o.Broadcast,
		ReceiveErrors: o.ReceiveErrors, Uid: o.Uid, Gid: o.Gid, FreeBind: o.FreeBind, Linger2: o.Linger2, SynCount: o.SynCount,
		Device: o.Device, MulticastDevice: o.MulticastDevice, Segments: o.Segments,
		SendCoverage: o.SendCoverage, CheckCoverage: o.CheckCoverage, ReceiveCoverage: o.ReceiveCoverage,
		HeaderIncluded: o.HeaderIncluded, BlockedTypes: o.BlockedTypes,
		Congestion: o.Congestion, QuickAck: o.QuickAck, FastOpen: o.FastOpen, MaxPacing: o.MaxPacing,
		ChecksumAt: o.ChecksumAt, MinHops: o.MinHops, Mark: o.Mark, UnicastDevice: o.UnicastDevice,
		RtoMin: o.RtoMin, RtoMax: o.RtoMax, DelackMax: o.DelackMax,
	}
}

// mark is SO_MARK.
func (c *settings) mark(v int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Mark = uint32(v)
}

// setOwner takes note of who makes the socket.
func (c *settings) setOwner(uid, gid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Uid, c.o.Gid = uid, gid
}

// message is what netd is told.
func (c *settings) message() *netdv1.Options {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := cloneOptions(&c.o)
	o.MulticastHops, o.MulticastInside = uint32(max(c.multicastHops, 0)), c.multicastHops == 0
	o.FreeBind = o.FreeBind || c.kept[optionKey{linux.IPPROTO_IP, linux.IP_TRANSPARENT}] != 0 || c.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_TRANSPARENT}] != 0
	o.NoMulticastLoop, o.JoinedOnly = !c.multicastLoop, !c.multicastAll
	if c.stream {
		c.tuneStream(o)
	}
	o.NoDiscover, o.NeverFragment = c.discover == 0, c.discover == 2 || c.discover == 3
	if c.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_DONTFRAG}] != 0 {
		o.NeverFragment = true
	}
	o.AutoLabel = c.autoLabel()
	if !c.stream {
		o.PieceSize = uint32(c.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_MTU}])
	}
	o.Headers = c.aheadLocked(c.v6)
	o.ReceiveHeaders = !c.stream && c.wantsAheadLocked()
	return o
}

// tuneStream puts what /proc/sys/net/ipv4 says in the place of what nobody has set.
func (c *settings) tuneStream(o *netdv1.Options) {
	t := c.tuning
	o.DeferAccept = uint32(c.kept[optionKey{linux.IPPROTO_TCP, linux.TCP_DEFER_ACCEPT}])
	o.SaveSyn = c.kept[optionKey{linux.IPPROTO_TCP, linux.TCP_SAVE_SYN}] != 0
	if t.fastOpen.Load()&2 == 0 {
		o.FastOpen = 0
	}
	for _, x := range []struct {
		to   *uint32
		from *atomic.Int64
	}{{&o.KeepIdle, &t.keepIdle}, {&o.KeepInterval, &t.keepEvery}, {&o.KeepCount, &t.keepProbes}, {&o.SynCount, &t.synTry}, {&o.Linger2, &t.linger2}} {
		if *x.to == 0 {
			*x.to = uint32(x.from.Load())
		}
	}
}

// resets says whether close(2) resets: SO_LINGER with no time.
func (c *settings) resets() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Linger && c.o.LingerSeconds == 0
}

// untoldSend is how much of a ring up is used if the guest has set no SO_SNDBUF, in bytes.
const untoldSend = 1 << 20

// receiveLimit and sendLimit are how much of a ring may be used; tuned is what netd would
// have of a ring up, or 0.
func (c *settings) receiveLimit(ring int) int { return c.bufferLimit(&c.receive, ring, ring) }
func (c *settings) sendLimit(ring, tuned int) int {
	return c.bufferLimit(&c.send, ring, max(tuned, untoldSend))
}

// buffers are SO_RCVBUF and SO_SNDBUF; 0 is untuned.
func (c *settings) buffers() (receive, send int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.receive, c.send
}

// reuse is SO_REUSEADDR and SO_REUSEPORT.
func (c *settings) reuse() (addr, port bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.ReuseAddress, c.o.ReusePort
}

// lowWater is SO_RCVLOWAT.
func (c *settings) lowWater() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lowat
}

// only6 is IPV6_V6ONLY.
func (c *settings) only6() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.V6Only
}

// boundDevice is SO_BINDTODEVICE.
func (c *settings) boundDevice() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.device
}

// header is the hop limit and the traffic class of what is sent.
func (c *settings) header() (hops, class uint8) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.HopLimit == 0 {
		return uint8(c.tuning.hops.Load()), uint8(c.o.TrafficClass)
	}
	return uint8(c.o.HopLimit), uint8(c.o.TrafficClass)
}

// receivesErrors is IP_RECVERR.
func (c *settings) receivesErrors() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.ReceiveErrors
}

// takesSegments is UDP_GRO.
func (c *settings) takesSegments() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Segments
}

// inline is SO_OOBINLINE.
func (c *settings) inline() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.oobInline
}

func (c *settings) bufferLimit(size *int, ring, untold int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *size == 0 {
		return min(untold, ring)
	}
	return min(*size, ring)
}

// untuned says whether SO_RCVBUF or SO_SNDBUF was never set.
func (c *settings) untuned(name int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name == linux.SO_RCVBUF {
		return c.receive == 0
	}
	return c.send == 0
}

// pace is SO_MAX_PACING_RATE, in bytes a second; below 0: none.
func (c *settings) pace(rate int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.MaxPacing = uint64(max(rate, 0))
}
