package server

import (
	"net/netip"
	"slices"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// socket is one of the sentry's sockets: the stack's end, and the shared memory.
// All of it is guarded by the stack's lock.
type socket struct {
	s     *server
	id    uint32
	entry *entry
	rings *channel.Rings
	down  *channel.Producer
	up    *channel.Consumer

	tcp   *stack.TCP
	gram  *stack.Datagram
	raw   *stack.Raw
	pack  *stack.Packet
	end   *tunnelEnd
	tally tally // of a packet socket

	receiveLimit, sendLimit int
	untold                  int  // either limit, if the user sets none
	broken                  bool // the sentry spoilt an index
	seen                    int  // bytes of the ring up at the last look
	ahead                   int  // bytes in the ring down beyond what is published

	queued   uint32 // of a listening socket: announced so far
	lingers  bool
	options  *netdv1.Options
	v6       bool
	protocol uint8
}

// open makes a socket; far says that it is for a connection that goes by a router.
func (s *server) open(id uint32, o *netdv1.Open, far bool) (*socket, error) {
	if isSpace(id) || id&accepted != 0 {
		return nil, linux.EINVAL
	}
	v6, packet := o.Family == linux.AF_INET6, o.Family == linux.AF_PACKET
	if !v6 && !packet && o.Family != linux.AF_INET && o.Family != familyTunnel {
		return nil, linux.EAFNOSUPPORT
	}
	size := RingSize
	if o.Type == linux.SOCK_STREAM && far {
		size = FarRingSize
	}
	k, err := s.newSocket(id, v6, size)
	if err != nil {
		return nil, err
	}
	if o.Type != linux.SOCK_STREAM {
		k.untold = datagramLimit
	}
	stackOpts, cfg := k.apply(o.Options)
	switch {
	case o.Family == familyTunnel:
		k.end, k.receiveLimit = &tunnelEnd{}, RingSize
		k.rings.Head.WantUp.Store(1)
	case packet && (o.Type == linux.SOCK_RAW || o.Type == linux.SOCK_DGRAM) && o.Protocol <= 0xffff:
		k.pack = s.stack.NewPacket(o.Type == linux.SOCK_DGRAM, uint16(o.Protocol), k)
		k.rings.Head.WantUp.Store(1)
	case packet:
		s.pool.give(k.entry, 0)
		return nil, linux.ESOCKTNOSUPPORT
	case o.Type == linux.SOCK_STREAM && o.Protocol == linux.IPPROTO_TCP:
		k.tcp = s.stack.NewTCP(v6, stackOpts, cfg, k, (*sendQueue)(k), (*receiveQueue)(k))
	case o.Type == linux.SOCK_DGRAM && (o.Protocol == linux.IPPROTO_UDP || o.Protocol == linux.IPPROTO_UDPLITE || o.Protocol == linux.IPPROTO_ICMP && !v6 || o.Protocol == linux.IPPROTO_ICMPV6 && v6):
		k.gram = s.stack.NewDatagram(uint8(o.Protocol), v6, stackOpts, k)
		k.rings.Head.WantUp.Store(1)
	case o.Type == linux.SOCK_RAW && o.Protocol > 0 && o.Protocol < 256:
		k.raw = s.stack.NewRaw(uint8(o.Protocol), v6, stackOpts, k)
		k.applyRaw()
		k.rings.Head.WantUp.Store(1)
	default:
		s.pool.give(k.entry, 0)
		return nil, linux.EPROTONOSUPPORT
	}
	k.protocol = uint8(o.Protocol)
	s.sockets[id] = k
	return k, nil
}

// newSocket makes one with rings of size bytes.
func (s *server) newSocket(id uint32, v6 bool, size int) (*socket, error) {
	if s.count() >= maxSockets {
		return nil, linux.ENFILE
	}
	e, err := s.pool.take(size)
	if err != nil {
		s.log.Error("socket memory", "error", err)
		return nil, linux.ENOBUFS
	}
	k := &socket{s: s, id: id, entry: e, rings: e.rings, v6: v6, untold: size, receiveLimit: size, sendLimit: size}
	k.down, k.up = e.rings.Service()
	return k, nil
}

// apply translates options.
func (k *socket) apply(o *netdv1.Options) (stack.Options, tcp.Config) {
	if o == nil {
		o = &netdv1.Options{}
	}
	k.options = o
	k.receiveLimit, k.sendLimit = k.limit(o.ReceiveBuffer), k.limit(o.SendBuffer)
	k.lingers = o.Linger
	seconds := func(n uint32) tcp.Time { return tcp.Time(min(n, 32767)) * tcp.Second }
	return stack.Options{
			ReuseAddr: o.ReuseAddress, ReusePort: o.ReusePort, V6Only: o.V6Only, FreeBind: o.FreeBind, Broadcast: o.Broadcast,
			ReceiveErrors: o.ReceiveErrors, UID: o.Uid, GID: o.Gid, HopLimit: uint8(min(o.HopLimit, 255)), TrafficClass: uint8(o.TrafficClass),
			Device: index(o.Device), MulticastDevice: index(o.MulticastDevice), MulticastHops: uint8(min(o.MulticastHops, 255)),
			NoMulticastLoop: o.NoMulticastLoop, JoinedOnly: o.JoinedOnly, NoDiscover: o.NoDiscover, NeverFragment: o.NeverFragment,
			FastOpen: int(min(o.FastOpen, linux.SOMAXCONN)), MulticastInside: o.MulticastInside, FlowLabel: o.FlowLabel & 0xfffff, AutoLabel: stack.AutoLabel(min(o.AutoLabel, 2)), PieceSize: uint16(min(o.PieceSize, 65535)), MinHops: uint8(min(o.MinHops, 255)), DeferAccept: seconds(o.DeferAccept), SaveSyn: o.SaveSyn,
			Mark: o.Mark, UnicastDevice: index(o.UnicastDevice), Ahead: k.sticky(o.Headers), ReceiveHeaders: o.ReceiveHeaders,
			Segments: o.Segments, SendCoverage: int(min(o.SendCoverage, 65535)), CheckCoverage: o.CheckCoverage, ReceiveCoverage: int(min(o.ReceiveCoverage, 65535)),
		}, tcp.Config{
			MSS: int(min(o.MaxSegment, 65535)), ReceiveBuffer: k.rings.Size(), ReceiveLimit: k.receiveLimit, NoDelay: o.NoDelay, Cork: o.Cork,
			KeepAlive: o.KeepAlive, KeepIdle: seconds(o.KeepIdle), KeepInterval: seconds(o.KeepInterval), KeepCount: int(min(o.KeepCount, 127)),
			UserTimeout: tcp.Time(o.UserTimeout) * tcp.Millisecond, SynRetries: int(min(o.SynCount, 127)), Linger2: seconds(o.Linger2),
			Congestion: congestion(o.Congestion), QuickAck: o.QuickAck, MaxPacing: o.MaxPacing,
			Bounds:   bounds(o),
			DelayAck: tcp.Time(min(o.DelackMax, 200_000)) * tcp.Millisecond / 1000,
		}
}

// bounds are those of a connection's timers, nil if nobody has set them.
func bounds(o *netdv1.Options) *tcp.Bounds {
	if o.RtoMin == 0 && o.RtoMax == 0 {
		return nil
	}
	return &tcp.Bounds{LeastRTO: tcp.Time(min(o.RtoMin, 120_000_000)) * tcp.Millisecond / 1000, MostRTO: tcp.Time(min(o.RtoMax, 120_000)) * tcp.Millisecond}
}

// sticky are the headers that all packets of a socket have; nil without any, or if they are
// nonsense.
func (k *socket) sticky(b []byte) *wire.Ahead {
	if len(b) == 0 {
		return nil
	}
	a, err := wire.ParseAhead(k.v6, b)
	if err != nil {
		return nil
	}
	return a
}

// congestion is the name of a controller that there is, or "" for the default.
func congestion(name string) string {
	if slices.Contains(tcp.Controllers, name) {
		return name
	}
	return ""
}

// noAddress is that of no peer.
var noAddress netip.AddrPort

// index is an interface's, which an int may hold.
func index(n uint32) int { return int(min(n, 1<<31-1)) }

// applyRaw translates the options of raw sockets alone.
func (k *socket) applyRaw() {
	o, r := k.options, k.raw
	r.HeaderIncluded = o.HeaderIncluded
	r.Blocked = [8]uint32{}
	if o.ChecksumAt > 0 && k.v6 && k.protocol != linux.IPPROTO_ICMPV6 {
		r.SumOffset = int(min(o.ChecksumAt, 1<<16)) - 1
	}
	if len(o.BlockedTypes) == len(r.Blocked) {
		copy(r.Blocked[:], o.BlockedTypes)
	}
}

// limit is how much of a ring a buffer size lets be used.
func (k *socket) limit(n uint32) int {
	if n == 0 {
		return k.untold
	}
	return min(int(max(n, 2048)), k.rings.Size())
}

// farFrom says whether a connection that is asked for, if it is, goes by a router.
func (s *server) farFrom(c *netdv1.Connect) bool {
	to, err := parseAddress(c.GetAddress())
	return err == nil && s.far(to.Addr())
}

// far says whether what goes to an address goes by a router.
func (s *server) far(to netip.Addr) bool {
	if !to.IsValid() {
		return false
	}
	path, _, v := s.stack.RouteLocked(route.Query{Dst: to.Unmap()})
	return v == route.Found && path.Next != to.Unmap() && path.Next.IsValid()
}

// do carries out one operation.
func (k *socket) do(req *netdv1.Request) error {
	if k.end != nil {
		return k.end.do(k, req)
	}
	switch op := req.Op.(type) {
	case *netdv1.Request_Bind:
		if k.pack != nil {
			return k.bindPacket(op.Bind.Address)
		}
		a, err := parseAddress(op.Bind.Address)
		if err != nil || !a.IsValid() {
			return linux.EINVAL
		}
		switch {
		case k.tcp != nil:
			return k.tcp.BindLocked(a)
		case k.raw != nil:
			return k.raw.BindLocked(a.Addr())
		}
		return k.gram.BindLocked(a)
	case *netdv1.Request_Connect:
		return k.connect(op.Connect)
	case *netdv1.Request_Listen:
		if k.tcp == nil {
			return linux.EOPNOTSUPP
		}
		return k.tcp.ListenLocked(int(min(op.Listen.Backlog, linux.SOMAXCONN)))
	case *netdv1.Request_Shutdown:
		if k.tcp != nil {
			return k.tcp.ShutdownLocked(op.Shutdown.Read, op.Shutdown.Write)
		}
		if op.Shutdown.Read && k.gram != nil {
			k.gram.ShutLocked()
		}
	case *netdv1.Request_Close:
		k.close(op.Close.Abort)
	case *netdv1.Request_Options:
		o, cfg := k.apply(op.Options)
		switch {
		case k.tcp != nil:
			k.tcp.SetOptionsLocked(o, cfg)
		case k.raw != nil:
			k.raw.SetOptionsLocked(o)
			k.applyRaw()
		case k.pack != nil:
			k.pack.IgnoreOutgoing = op.Options.GetIgnoreOutgoing()
		default:
			k.gram.SetOptionsLocked(o)
		}
	case *netdv1.Request_Membership:
		return k.membership(op.Membership)
	case *netdv1.Request_Filter:
		return k.filter(op.Filter)
	case *netdv1.Request_Destroy:
		return k.destroy()
	case *netdv1.Request_Info, *netdv1.Request_Route, *netdv1.Request_OriginalDestination, *netdv1.Request_SourceFilter, nil:
	default:
		return linux.EPROTO
	}
	return nil
}

func (k *socket) connect(c *netdv1.Connect) error {
	if k.pack != nil {
		return linux.EOPNOTSUPP
	}
	a, err := parseAddress(c.Address)
	if err != nil {
		return err
	}
	switch {
	case k.gram != nil:
		return k.gram.ConnectLocked(a)
	case k.raw != nil:
		return k.raw.ConnectLocked(a.Addr())
	case !a.IsValid():
		return k.tcp.DisconnectLocked()
	}
	if c.Fast {
		return k.tcp.ConnectFastLocked(a)
	}
	return k.tcp.ConnectLocked(a)
}

// close ends the socket for the sentry; the stack may need the rings for longer.
func (k *socket) close(abort bool) {
	delete(k.s.sockets, k.id)
	if k.tcp == nil {
		k.kick() // what it wrote last still goes out
		switch {
		case k.raw != nil:
			k.raw.CloseLocked()
		case k.pack != nil:
			k.pack.CloseLocked()
		case k.end != nil:
			k.end.close(k)
		default:
			k.gram.CloseLocked()
		}
		k.s.stack.Later(k.Released)
		return
	}
	if unread, err := k.down.Used(); err != nil || unread > 0 {
		abort = true // RFC 9293, 3.6.1; RFC 2525, 2.17
		k.s.stack.CountLocked(mib.AbortOnClose)
	} else if abort {
		k.s.stack.CountLocked(mib.AbortOnData)
	}
	k.tcp.CloseLocked(abort)
}

func (k *socket) addresses() (local, remote netip.AddrPort) {
	if k.tcp != nil {
		return k.tcp.LocalLocked(), k.tcp.RemoteLocked()
	}
	if k.raw != nil {
		return netip.AddrPortFrom(k.raw.LocalLocked(), 0), netip.AddrPortFrom(k.raw.RemoteLocked(), 0)
	}
	if k.pack != nil || k.end != nil {
		return local, remote
	}
	return k.gram.LocalLocked(), k.gram.RemoteLocked()
}

// kick looks at what the sentry has done to the rings.
func (k *socket) kick() {
	if k.tcp != nil {
		k.tcp.KickLocked()
	} else {
		k.pump()
	}
}

// tell posts the socket to the sentry's bell, which rings when the stack is left.
func (k *socket) tell() {
	if b := k.s.bell.Load(); b != nil && k.rings.Head.ToldClient.Swap(1) == 0 {
		b.Post(k.id)
	}
}

// tellDown tells of bytes in the ring down when the sentry wants to hear of it.
func (k *socket) tellDown() {
	if w := &k.rings.Head.WantDown; w.Load() != 0 && w.Swap(0) != 0 {
		k.tell()
	}
}

// sendSpace is how much of the ring up is to be used: SO_SNDBUF, or as much as a stream's
// window needs, of which the sentry hears (tcp_sndbuf_expand).
func (k *socket) sendSpace() int {
	if k.tcp == nil || k.options.GetSendBuffer() != 0 {
		return k.sendLimit
	}
	n := min(max(k.tcp.SendSpaceLocked(), RingSize), k.sendLimit)
	k.rings.Head.SendSpace.Store(uint32(n))
	return n
}

// tellSpace tells of room in the ring up, once there is a worthwhile piece.
func (k *socket) tellSpace() {
	w := &k.rings.Head.WantSpace
	if w.Load() == 0 {
		return
	}
	if n, err := k.up.Len(); err == nil && n > k.sendSpace()*2/3 {
		return
	}
	if w.Swap(0) != 0 {
		k.tell()
	}
}

// Failed sets the socket's error: SO_ERROR.
func (k *socket) Failed(err linux.Errno) {
	h := k.rings.Head
	h.Error.Store(uint32(err))
	h.ErrorCount.Add(1)
	k.tell()
}

// Released returns the rings.
func (k *socket) Released() {
	if k.entry == nil {
		return
	}
	e := k.entry
	k.entry = nil
	if !k.s.pool.give(e, k.down.Reach()+k.up.Reach()) {
		k.s.queue(&netdv1.Notice{Event: &netdv1.Notice_Forgotten{Forgotten: &netdv1.Forgotten{Rings: e.id}}}, nil)
	}
}

func (k *socket) info() *netdv1.InfoResult {
	if k.pack != nil {
		return &netdv1.InfoResult{Frames: k.tally.frames, FramesLost: k.tally.lost}
	}
	if k.tcp == nil {
		return nil
	}
	return k.s.infoOf(k.tcp, k.receiveLimit)
}
