package stack

import (
	"net/netip"
	"strconv"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/mib"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// Options are what a socket's options say; those of TCP are in tcp.Config.
type Options struct {
	ReuseAddr, ReusePort bool
	V6Only               bool
	FreeBind             bool
	Broadcast            bool
	ReceiveErrors        bool
	UID, GID             uint32
	Device               int       // the interface it is bound to; 0: none
	NoDiscover           bool      // IP_PMTUDISC_DONT: may be fragmented on the way
	NeverFragment        bool      // IP_PMTUDISC_DO: EMSGSIZE for what does not fit
	FastOpen             int       // TCP_FASTOPEN: how many may be open so before their handshake ends
	Segments             bool      // UDP_GRO: takes several datagrams at once
	JoinedOnly           bool      // IP_MULTICAST_ALL is off
	NoMulticastLoop      bool      // IP_MULTICAST_LOOP is off
	MulticastInside      bool      // IP_MULTICAST_TTL is 0
	MulticastHops        uint8     // IP_MULTICAST_TTL; 0: 1
	MulticastDevice      int       // IP_MULTICAST_IF
	SendCoverage         int       // UDPLITE_SEND_CSCOV; 0: all
	CheckCoverage        bool      // UDPLITE_RECV_CSCOV was set
	ReceiveCoverage      int       // to what; 0: all
	HopLimit             uint8     // 0: the default
	AutoLabel            AutoLabel // IPV6_AUTOFLOWLABEL
	PieceSize            uint16    // IPV6_MTU: bytes that a piece of a datagram has at most; 0: what the path takes
	FlowLabel            uint32    // of IPv6; 0: by AutoLabel
	DeferAccept          tcp.Time  // TCP_DEFER_ACCEPT
	SaveSyn              bool      // TCP_SAVE_SYN
	MinHops              uint8     // of TCP: what came with less is dropped
	TrafficClass         uint8
	Mark                 uint32      // SO_MARK: rules of routing go by it
	UnicastDevice        int         // IP_UNICAST_IF: the interface of what is to one; 0: the routes say
	Ahead                *wire.Ahead // IP_OPTIONS or extension headers that stick; nil: none
	ReceiveHeaders       bool        // it wants to see those of what arrives
}

// AutoLabel is whether packets of IPv6 have a flow label that nobody has asked for.
type AutoLabel uint8

// The choices.
const (
	AutoLabelUnset AutoLabel = iota // what net.ipv6.auto_flowlabels says
	AutoLabelOff
	AutoLabelOn
)

// defaultHops is IP's default time to live.
const defaultHops = 64

// place is a socket's local end.
type place struct {
	v6    bool // an AF_INET6 socket
	opts  Options
	bind  *ip.Binding
	local netip.AddrPort // unmapped; not valid Addr: any
	auto  bool           // the address was not chosen by bind
	wide  uint8          // families of bind before it was narrowed; 0: it is not
}

// narrow has the port held at one address only: that of a connection, while it lasts.
func (p *place) narrow(addr netip.Addr) {
	if b := p.bind; b != nil && !b.Addr.IsValid() && addr.IsValid() && !addr.IsUnspecified() {
		p.wide, b.Addr = b.Families, addr
		if addr.Is4() {
			b.Families = ip.V4
		}
	}
}

// widen takes that back.
func (p *place) widen() {
	if p.wide != 0 && p.bind != nil {
		p.bind.Addr, p.bind.Families = netip.Addr{}, p.wide
	}
	p.wide = 0
}

// pin sets the device, if index is not 0, and what comes before the payload, if that is not
// nil, until the function is called.
func (o *Options) pin(index int, ahead *wire.Ahead) func() {
	device, sticky := o.Device, o.Ahead
	if index != 0 {
		o.Device = index
	}
	if ahead != nil {
		o.Ahead = ahead
	}
	return func() { o.Device, o.Ahead = device, sticky }
}

// bindTo checks a wanted address and holds a port for it: bind(2).
func (s *Stack) bindTo(p *place, proto uint8, datagram bool, want netip.AddrPort) error {
	if p.bind != nil {
		return linux.EINVAL
	}
	addr := want.Addr()
	b := &ip.Binding{Port: want.Port(), ReuseAddr: p.opts.ReuseAddr, ReusePort: p.opts.ReusePort, UID: p.opts.UID, Datagram: datagram}
	switch {
	case !p.v6:
		b.Families = ip.V4
	case addr.Is4In6():
		if p.opts.V6Only {
			return linux.EINVAL
		}
		b.Families, b.Mapped = ip.V4, true
		addr = addr.Unmap()
	case p.opts.V6Only || !addr.IsUnspecified():
		b.Families = ip.V6
	default:
		b.Families = ip.V4 | ip.V6
	}
	if !addr.IsUnspecified() {
		if _, local := s.table.Local(addr); !local && !p.opts.FreeBind && !(addr.Is4() && s.tuned.nonlocal4 || addr.Is6() && s.tuned.nonlocal6) && !addr.IsMulticast() && !s.table.Broadcast(addr) {
			return linux.EADDRNOTAVAIL
		}
		b.Addr = addr
	}
	ports := s.portsOf(proto)
	if b.Port == 0 {
		if !ports.Ephemeral(b, s.rand32(), nil) {
			return linux.EADDRINUSE
		}
	} else if !ports.Free(b) {
		return linux.EADDRINUSE
	}
	ports.Hold(b)
	p.bind = b
	p.local = netip.AddrPortFrom(b.Addr, b.Port)
	return nil
}

// unbind gives the port up.
func (s *Stack) unbind(p *place, proto uint8) {
	if p.bind != nil {
		s.portsOf(proto).Drop(p.bind)
		p.bind = nil
	}
}

// destination checks an address to send to and finds the path: the address
// unmapped, EADDRNOTAVAIL, ENETUNREACH, EAFNOSUPPORT. The unspecified address is
// this host.
func (s *Stack) destination(p *place, proto uint8, to netip.AddrPort) (netip.AddrPort, route.Path, error) {
	addr := to.Addr()
	if !p.v6 && !addr.Is4() {
		return to, route.Path{}, linux.EAFNOSUPPORT
	}
	if p.v6 && addr.Is4In6() {
		if p.opts.V6Only {
			return to, route.Path{}, linux.ENETUNREACH
		}
		addr = addr.Unmap()
	}
	if addr.IsUnspecified() {
		switch {
		case p.local.Addr().IsValid() && p.local.Addr().Is4() == addr.Is4():
			addr = p.local.Addr()
		case addr.Is4():
			addr = ip.LocalhostV4
		default:
			addr = ip.LocalhostV6
			if p.bind != nil && p.bind.Families == ip.V4 {
				addr = ip.LocalhostV4
			}
		}
	}
	if p.bind != nil {
		if addr.Is4() && p.bind.Families&ip.V4 == 0 || !addr.Is4() && p.bind.Families&ip.V6 == 0 {
			return to, route.Path{}, linux.ENETUNREACH
		}
	}
	src := netip.Addr{}
	if !p.auto {
		src = p.local.Addr()
	}
	path, err := s.pathTo(addr, src, &p.opts, route.Query{Protocol: proto, SourcePort: p.local.Port(), DstPort: to.Port()})
	if err != nil {
		return to, path, err
	}
	if src.IsLoopback() && !path.Out.Loopback {
		return to, path, linux.EINVAL
	}
	return netip.AddrPortFrom(addr.WithZone(""), to.Port()), path, nil
}

// families is the binding's families of an unbound socket.
func (p *place) families(to netip.Addr) uint8 {
	if to.Is4() {
		return ip.V4
	}
	return ip.V6
}

// pathTo finds the path to an address, whose zone is an interface's index or
// name, for a socket with options. The query has what else of it rules go by.
func (s *Stack) pathTo(addr, src netip.Addr, o *Options, q route.Query) (route.Path, error) {
	device := o.Device
	switch {
	case device != 0:
	case addr.IsMulticast():
		device = o.MulticastDevice
	default:
		device = o.UnicastDevice
	}
	if z := addr.Zone(); z != "" && device == 0 {
		for _, i := range s.ifaces {
			if z == i.Name || z == strconv.Itoa(i.Index) {
				device = i.Index
			}
		}
	}
	addr = addr.WithZone("")
	q.Dst, q.Source, q.Out, q.Mark, q.UID, q.TOS = addr, src, device, o.Mark, o.UID, o.TrafficClass
	path, v := s.table.Find(q)
	switch v {
	case route.Found:
		path.MTU = s.pathMTU(addr, path.MTU)
	case route.NoRoute:
		s.counts.Inc(mib.Of(addr.Is6(), mib.OutNoRoutes))
	}
	return path, ErrnoOf(v)
}
