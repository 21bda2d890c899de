package stack

import (
	"fmt"
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/route"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// InterfaceConfig describes an interface to the outside.
type InterfaceConfig struct {
	Name      string
	Index     int          // as the guest sees it; 0: the next one
	Addresses []ip.Address // their lifetimes are from now on
	IPv6      neigh.Settings
	Device    link.Device

	// Of interfaces that the guest makes; the zero values are those of others.
	Kind ip.Kind
	MTU  int // 0: the device's
	Down bool
	Lost bool // without a carrier
	// Numbered, unless it is nil, is told the index before anybody hears of the interface.
	Numbered func(index int)
}

// iface is an interface in the stack: its device and what is known of its link.
// Loopback has no device.
type iface struct {
	*ip.Interface
	s     *Stack
	dev   link.Device
	feats link.Features
	mac   wire.MAC
	ether bool
	quiet bool // IFF_NOARP: nobody is asked for addresses
	gone  bool // it was removed

	tx      []*link.Packet // until the entry ends
	cache   neigh.Cache[*link.Packet]
	groups  map[netip.Addr]int // joined, by how many sockets
	managed managed
	auto    neigh.Autoconf
	stats   InterfaceStats
	bridged
	uppers []*Upper
}

// InterfaceStats count packets and bytes with their link headers: what
// /proc/net/dev shows.
type InterfaceStats struct {
	ReceivedPackets, ReceivedBytes, SentPackets, SentBytes uint64
	ReceiveErrors, ReceiveDrops, SendDrops, Multicast      uint64
}

// AddInterface adds an interface, and begins to receive from its device. Routes
// to the networks of its addresses come with it; others are AddRoute's matter.
func (s *Stack) AddInterface(c InterfaceConfig) (index int, err error) {
	i := &iface{Interface: &ip.Interface{Index: c.Index, Name: c.Name, MTU: c.Device.MTU(), Kind: c.Kind, Down: c.Down, Lost: c.Lost, Used: !c.Down},
		s: s, dev: c.Device, feats: c.Device.Features()}
	if c.MTU > 0 {
		i.MTU = c.MTU
	}
	i.feats.SumOffload = i.feats.SumOffload || i.feats.TCPOffload || i.feats.UDPOffload
	var mac [6]byte
	mac, i.ether = c.Device.MAC()
	i.mac, i.MAC, i.NoEther = mac, mac, !i.ether
	i.quiet = c.Kind == ip.Dummy
	s.enter()
	if err := s.numberLocked(i.Interface); err != nil {
		s.leave()
		return 0, err
	}
	if c.Numbered != nil {
		c.Numbered(i.Index)
	}
	for _, a := range c.Addresses {
		i.Addresses = append(i.Addresses, s.starting(a))
	}
	i.auto.Settings = c.IPv6
	s.ifaces = append(s.ifaces, i)
	s.table.AddInterface(i.Interface)
	i.manage()
	i.autoconfigure()
	s.leave()
	if err := c.Device.Start(func(batch []*link.Packet) { s.receive(i, batch) }); err != nil {
		return 0, fmt.Errorf("receive from %s: %w", c.Name, err)
	}
	return i.Index, nil
}

// AddRoute adds a route: EEXIST, ENODEV.
func (s *Stack) AddRoute(r route.Route) error {
	s.enter()
	defer s.leave()
	if r.Kind <= route.Unicast && s.iface(r.Interface) == nil {
		return linux.ENODEV
	}
	if s.table.Add(metricOf(r)) != nil {
		return linux.EEXIST
	}
	return nil
}

// AddNeighbor makes a permanent neighbour: ENODEV.
func (s *Stack) AddNeighbor(index int, addr netip.Addr, mac [6]byte) error {
	s.enter()
	defer s.leave()
	i := s.iface(index)
	if i == nil || !i.ether {
		return linux.ENODEV
	}
	i.cache.Set(int64(s.now), addr, mac)
	return nil
}

func (s *Stack) iface(index int) *iface {
	for _, i := range s.ifaces {
		if i.Index == index {
			return i
		}
	}
	return nil
}

// receive takes a batch from a device.
func (s *Stack) receive(i *iface, batch []*link.Packet) {
	s.enter()
	defer s.leave()
	if s.closed || i.Down || i.gone {
		return
	}
	s.gathers = len(batch) > 1
	for _, p := range batch {
		i.stats.ReceivedPackets++
		i.stats.ReceivedBytes += uint64(p.Size())
		i.frame(p)
	}
	s.answerGathered()
}

// frame takes one frame or packet from the device.
func (i *iface) frame(p *link.Packet) {
	s := i.s
	o := &p.Offload
	p.Trusted = o.SumGood || o.SumDue
	if !i.ether {
		s.tap(i, p, false)
		s.input(i, p)
		return
	}
	h, err := wire.ParseEthernet(p.Header)
	if err != nil {
		i.stats.ReceiveErrors++
		return
	}
	s.tap(i, p, false)
	if len(i.uppers) > 0 && i.above(p, h) {
		return
	}
	if i.port != nil {
		i.atPort(p, h)
		return
	}
	if dst := h.Dst(); dst != i.mac && !dst.Multicast() {
		return // another host's, which a promiscuous device shows
	}
	i.take(p, h)
}

// take takes a frame that is for this host.
func (i *iface) take(p *link.Packet, h wire.Ethernet) {
	s := i.s
	whole := p.Header
	switch h.Type() {
	case wire.EtherARP:
		i.inputARP(p.Header[wire.EthernetSize:])
	case wire.EtherIPv4, wire.EtherIPv6:
		p.Header, p.Link = whole[wire.EthernetSize:], whole[:wire.EthernetSize]
		s.input(i, p)
	}
	p.Header, p.Link = whole, nil
}

// transmit sends a packet with its IP header to a neighbour. The packet is the
// stack's to recycle from here on.
func (i *iface) transmit(p *link.Packet, next netip.Addr) {
	if i.dev == nil || i.Down {
		i.s.recycle(p)
		return
	}
	if i.Lost {
		i.stats.SendDrops++
		i.s.recycle(p)
		return
	}
	if !i.ether {
		i.queue(p)
		return
	}
	mac, ok := i.stationOf(next)
	if ok {
		i.frameTo(p, mac)
		return
	}
	// It outlives this entry: its payload must not stay in somebody's ring.
	if len(p.Payload) > 0 {
		p.Payload = append([]byte(nil), p.Payload...)
	}
	if mac, ok = i.cache.Resolve(int64(i.s.now), next, p); ok {
		i.frameTo(p, mac)
	}
	i.neighbours()
}

// stationOf is the Ethernet address of what needs no asking, or is known and
// fresh.
func (i *iface) stationOf(next netip.Addr) (mac wire.MAC, ok bool) {
	switch {
	case next.Is4() && next.IsMulticast(): // RFC 1112, 6.4
		a := next.As4()
		return wire.MAC{1, 0, 0x5e, a[1] & 0x7f, a[2], a[3]}, true
	case next.Is4() && (next == ip.BroadcastAll || i.Broadcast(next)):
		return wire.Broadcast, true
	case next.IsMulticast(): // RFC 2464, 7
		a := next.As16()
		return wire.MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}, true
	case i.quiet:
		return i.mac, true
	}
	return i.cache.Fresh(int64(i.s.now), next)
}

// frameTo puts the Ethernet header before p and queues it.
func (i *iface) frameTo(p *link.Packet, mac wire.MAC) {
	h := wire.EthernetHeader{Dst: mac, Src: i.mac, Type: wire.EtherIPv4}
	if p.Header[0]>>4 == 6 {
		h.Type = wire.EtherIPv6
	}
	h.Put(p.Prepend(wire.EthernetSize))
	i.queue(p)
}

// txBatch is how many packets wait for the end of an entry at most.
const txBatch = 64

func (i *iface) queue(p *link.Packet) {
	i.stats.SentPackets++
	i.stats.SentBytes += uint64(p.Size())
	i.s.tap(i, p, true)
	if i.bridge != nil {
		i.fromBridge(p)
		return
	}
	i.tx = append(i.tx, p)
	if len(i.tx) >= txBatch {
		i.flush()
	}
}

// flush gives what is queued to the device.
func (i *iface) flush() {
	if len(i.tx) == 0 {
		return
	}
	i.dev.Send(i.tx)
	for k, p := range i.tx {
		i.s.recycle(p)
		i.tx[k] = nil
	}
	i.tx = i.tx[:0]
}

func (s *Stack) flush() {
	for _, i := range s.ifaces {
		i.flush()
	}
}

// chores is when the interfaces want chore to be called.
func (s *Stack) chores() tcp.Time {
	at := int64(tcp.Never)
	for _, i := range s.ifaces {
		at = min(at, i.cache.Deadline(), i.managed.v4.Deadline(), i.managed.v6.Deadline(), i.auto.Deadline())
	}
	return min(tcp.Time(at), tcp.Time(s.fragments.Deadline()))
}

// chore does what is due at the interfaces.
func (s *Stack) chore() {
	s.expireFragments()
	for _, i := range s.ifaces {
		if i.dev == nil {
			continue
		}
		i.configure()
		i.neighbours()
		i.report()
	}
}
