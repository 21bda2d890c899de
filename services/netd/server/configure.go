package server

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/neigh"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/wire"
)

// configuration answers what is about no socket: nil if the request is not that.
func (s *server) configuration(req *netdv1.Request) *netdv1.Response {
	switch op := req.Op.(type) {
	case *netdv1.Request_Interfaces:
		return &netdv1.Response{Interfaces: s.interfaces()}
	case *netdv1.Request_Routes:
		return s.routes()
	case *netdv1.Request_Tuning:
		return errno(s.stack.TuneLocked(op.Tuning.Name, op.Tuning.Values))
	case *netdv1.Request_Connections:
		return s.connections()
	case *netdv1.Request_Destroy:
		if isSpace(req.Socket) {
			return errno(s.destroy(op.Destroy))
		}
	case *netdv1.Request_Watch:
		s.stack.WatchLocked(s.changed)
		return &netdv1.Response{}
	case *netdv1.Request_Statistics:
		return &netdv1.Response{Statistics: s.stack.StatisticsLocked()}
	case *netdv1.Request_Path:
		return s.path(op.Path)
	case *netdv1.Request_Stations:
		return s.stations()
	case *netdv1.Request_Netfilter:
		return s.rulesRequest(op.Netfilter)
	case *netdv1.Request_Change:
		return errno(s.change(op.Change))
	}
	return nil
}

func neighbourMessage(n *stack.Neighbour) *netdv1.NeighbourEntry {
	m := &netdv1.NeighbourEntry{Interface: uint32(n.Interface), Address: bytesOf(n.Addr), State: nudOf(n.State)}
	if n.MAC != [6]byte{} {
		m.Mac = n.MAC[:]
	}
	return m
}

// changed tells the sentry of a change of the configuration.
func (s *server) changed(c stack.Change) {
	m := &netdv1.Changed{Removed: c.Removed, Replaced: c.Replaced}
	switch {
	case c.Route != nil:
		m.What = &netdv1.Changed_Route{Route: s.routeMessage(c.Route)}
	case c.Neighbour != nil:
		m.What = &netdv1.Changed_Neighbour{Neighbour: neighbourMessage(c.Neighbour)}
	case c.Address != nil:
		i := s.interfaceMessage(c.Link)
		i.Addresses = []*netdv1.InterfaceAddress{s.addressMessage(c.Link, *c.Address)}
		m.What = &netdv1.Changed_Address{Address: i}
	default:
		m.What = &netdv1.Changed_Link{Link: s.interfaceMessage(c.Link)}
	}
	s.queue(&netdv1.Notice{Event: &netdv1.Notice_Changed{Changed: m}}, nil)
}

// secondsTo is how long it is until a point in time of the stack's, a second at
// least; 0 if there is none.
func (s *server) secondsTo(at int64) uint32 {
	if at == 0 {
		return 0
	}
	return uint32(max(s.stack.RemainingLocked(at)/time.Second, 1))
}

// secondary is the flag of an IPv4 address that is not the first of its network.
const secondary = 0x01

// isSecondary says whether an interface has another address of the network before a.
func isSecondary(i *ip.Interface, a netip.Prefix) bool {
	for _, o := range i.Addresses {
		if o.Prefix == a {
			return false
		}
		if o.Masked() == a.Masked() {
			return a.Addr().Is4()
		}
	}
	return false
}

// addressMessage is an interface's address as the sentry is told it.
func (s *server) addressMessage(i *ip.Interface, a ip.Address) *netdv1.InterfaceAddress {
	m := &netdv1.InterfaceAddress{Address: a.Addr().AsSlice(), Bits: uint32(a.Bits()), Flags: uint32(a.Flags), Valid: wire.NDForever, Preferred: wire.NDForever}
	if isSecondary(i, a.Prefix) {
		m.Flags |= secondary
	}
	if a.Peer.IsValid() {
		m.Peer = a.Peer.AsSlice()
	}
	if a.Broadcast.IsValid() {
		m.Broadcast = a.Broadcast.AsSlice()
	}
	if a.Valid != 0 {
		m.Valid = s.secondsTo(a.Valid)
	} else if !a.Is(ip.Autonomous) {
		m.Flags |= uint32(ip.Permanent)
	}
	if a.Is(ip.Deprecated) {
		m.Preferred = 0
	} else if a.Preferred != 0 {
		m.Preferred = s.secondsTo(a.Preferred)
	}
	return m
}

// nudOf is a state's NUD_ bit: linux/neighbour.h.
func nudOf(s neigh.State) uint32 {
	switch s {
	case neigh.Incomplete:
		return 0x01
	case neigh.Reachable:
		return 0x02
	case neigh.Stale:
		return 0x04
	case neigh.Delay:
		return 0x08
	case neigh.Probe:
		return 0x10
	case neigh.Failed:
		return 0x20
	}
	return 0x80 // permanent
}

func prefix(p netip.Prefix) *netdv1.Prefix {
	if !p.IsValid() {
		return nil
	}
	return &netdv1.Prefix{Address: p.Addr().AsSlice(), Bits: uint32(p.Bits())}
}

func bytesOf(a netip.Addr) []byte {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

// parsePrefix checks one: EINVAL.
func parsePrefix(m *netdv1.Prefix) (netip.Prefix, error) {
	if m == nil {
		return netip.Prefix{}, linux.EINVAL
	}
	a, ok := netip.AddrFromSlice(m.Address)
	if !ok || m.Bits > uint32(a.BitLen()) {
		return netip.Prefix{}, linux.EINVAL
	}
	return netip.PrefixFrom(a, int(m.Bits)), nil
}

// parseOptional checks an address that may be missing.
func parseOptional(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok && len(b) > 0 {
		return a, linux.EINVAL
	}
	return a, nil
}

// change configures one thing: rtnetlink(7).
func (s *server) change(c *netdv1.Change) error {
	switch w := c.What.(type) {
	case *netdv1.Change_Address:
		p, err := parsePrefix(w.Address.Prefix)
		if err != nil {
			return err
		}
		if w.Address.Remove {
			return s.stack.RemoveAddressLocked(int(w.Address.Index), p.Addr())
		}
		return s.addAddress(w.Address, p)
	case *netdv1.Change_Route:
		return s.changeRoute(w.Route)
	case *netdv1.Change_Station:
		return s.changeStation(w.Station)
	case *netdv1.Change_Nexthop:
		return s.changeNexthop(w.Nexthop)
	case *netdv1.Change_Rule:
		return s.changeRule(w.Rule)
	case *netdv1.Change_Ipv6:
		if w.Ipv6.Ipv6 == nil {
			return linux.EINVAL
		}
		return s.stack.SetIPv6Locked(int(w.Ipv6.Index), SettingsOf(w.Ipv6.Ipv6))
	case *netdv1.Change_Neighbour:
		n := w.Neighbour
		a, ok := netip.AddrFromSlice(n.Address)
		if !ok || len(n.Mac) != 0 && len(n.Mac) != 6 {
			return linux.EINVAL
		}
		var mac [6]byte
		copy(mac[:], n.Mac)
		return s.stack.SetNeighbourLocked(int(n.Interface), a, mac, len(n.Mac) == 0)
	}
	return linux.EOPNOTSUPP
}

// SettingsOf are the settings of a message.
func SettingsOf(c *netdv1.Autoconfiguration) neigh.Settings {
	milliseconds := func(n uint32) int64 { return int64(n) * int64(time.Millisecond) }
	return neigh.Settings{Enabled: true, AcceptRA: c.AcceptRa, AcceptRAAlways: c.AcceptRaAlways, Autoconf: c.Autoconf, AcceptRedirects: c.AcceptRedirects,
		DADTransmits: int(c.DadTransmits), RouterSolicits: int(c.RouterSolicitations),
		SolicitationWait: milliseconds(c.SolicitationDelay), Retransmit: milliseconds(c.Retransmit)}
}

// settingsMessage is its opposite; nil if nothing is done there.
func settingsMessage(c neigh.Settings) *netdv1.Autoconfiguration {
	if !c.Enabled {
		return nil
	}
	milliseconds := func(t int64) uint32 { return uint32(t / int64(time.Millisecond)) }
	return &netdv1.Autoconfiguration{AcceptRa: c.AcceptRA, AcceptRaAlways: c.AcceptRAAlways, Autoconf: c.Autoconf, AcceptRedirects: c.AcceptRedirects,
		DadTransmits: uint32(c.DADTransmits), RouterSolicitations: int32(c.RouterSolicits),
		SolicitationDelay: milliseconds(c.SolicitationWait), Retransmit: milliseconds(c.Retransmit)}
}

// settable are the flags of an address that RTM_NEWADDR may say.
const settable = ip.NoDAD | ip.NoPrefixRoute

// addAddress adds or changes one: EINVAL, and what the stack says.
func (s *server) addAddress(c *netdv1.AddressChange, p netip.Prefix) error {
	a := ip.Address{Prefix: p, Flags: ip.AddressFlags(c.Flags) & settable, Valid: int64(c.Valid) * int64(time.Second)}
	for _, x := range []struct {
		to   *netip.Addr
		from []byte
	}{{&a.Peer, c.Peer}, {&a.Broadcast, c.Broadcast}} {
		if len(x.from) == 0 {
			continue
		}
		b, ok := netip.AddrFromSlice(x.from)
		if !ok || b.Is4() != p.Addr().Is4() {
			return linux.EINVAL
		}
		*x.to = b
	}
	if a.Preferred = a.Valid; c.Preferred != nil {
		// What is not preferred at all is not any more from now on.
		a.Preferred = max(int64(*c.Preferred)*int64(time.Second), 1)
		if *c.Preferred == wire.NDForever {
			a.Preferred = 0
		}
		if c.Valid != 0 && (a.Preferred == 0 || a.Preferred > a.Valid) {
			return linux.EINVAL
		}
	}
	return s.stack.AddAddressLocked(int(c.Index), a, c.Replace)
}

// program reads a Filter's: nil if it is empty, EINVAL.
func program(f *netdv1.Filter) ([]stack.FilterInstruction, error) {
	if len(f.Program)%8 != 0 || len(f.Program) > 8*4096 {
		return nil, linux.EINVAL
	}
	var out []stack.FilterInstruction
	for b := f.Program; len(b) > 0; b = b[8:] {
		out = append(out, stack.FilterInstruction{Op: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])})
	}
	return out, nil
}
