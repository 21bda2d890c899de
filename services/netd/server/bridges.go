package server

import (
	"time"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/bridge"
	"bulkhead/services/netd/ip"
)

// setting is what a value of a bridge's may be, by what it is at first.
type setting struct{ first, least, most uint32 }

// Values of a bridge's: IFLA_BR_ of linux/if_link.h. Times are in hundredths of a second. Those
// of the spanning tree and of multicast's querier, which there are not, are only remembered.
const (
	ageingTime = 4
	priority   = 6
)

var bridgeSettings = map[uint32]setting{
	1: {1500, 0, 1 << 31}, 2: {200, 100, 1000}, 3: {2000, 600, 4000}, // forward delay, hello time, greatest age
	ageingTime: {30000, 0, 1 << 31},
	5:          {0, 0, 0}, // the tree's state
	priority:   {32768, 0, 65535},
	7:          {0, 0, 0}, // VLANs are told apart
	9:          {0, 0, 0}, // which of the link's own groups are passed on
	22:         {1, 0, 2}, // multicast routers; the next: whether memberships are listened to, who asks
	23:         {1, 0, 1},
	24:         {0, 0, 0},
	25:         {0, 0, 0},
	36:         {0, 0, 0}, // the packet filter is asked: for IPv4, IPv6, ARP
	37:         {0, 0, 0},
	38:         {0, 0, 0},
	39:         {1, 0, 4094}, // the VLAN of what has none
	41:         {0, 0, 0},    // statistics
	42:         {0, 0, 0},
	43:         {2, 2, 3}, // versions of IGMP and MLD
	44:         {1, 1, 2},
}

// portSetting is how a value of a port's is read and written: IFLA_BRPORT_.
type portSetting struct {
	setting
	read  func(*bridge.Port) uint32
	write func(*bridge.Port, uint32)
}

// flag is a value of a port's that is a boolean of the bridge's, or its opposite.
func flag(of func(*bridge.Port) *bool, opposite bool) portSetting {
	first := uint32(0)
	if opposite {
		first = 1
	}
	return portSetting{setting{first, 0, 1}, func(p *bridge.Port) uint32 {
		if *of(p) != opposite {
			return 1
		}
		return 0
	}, func(p *bridge.Port, v uint32) { *of(p) = (v != 0) != opposite }}
}

// fixedAt is a value that cannot be changed.
func fixedAt(v uint32) portSetting {
	return portSetting{setting{v, v, v}, func(*bridge.Port) uint32 { return v }, func(*bridge.Port, uint32) {}}
}

var portSettings = map[uint32]portSetting{
	1: {setting{3, 3, 3}, func(p *bridge.Port) uint32 { // forwarding, or disabled
		if p.Closed {
			return 0
		}
		return 3
	}, func(*bridge.Port, uint32) {}},
	2: {setting{32, 0, 63}, func(p *bridge.Port) uint32 { return uint32(p.Priority) }, func(p *bridge.Port, v uint32) { p.Priority = int(v) }},
	3: {setting{2, 1, 65535}, func(p *bridge.Port) uint32 { return uint32(p.Cost) }, func(p *bridge.Port, v uint32) { p.Cost = int(v) }},
	4: flag(func(p *bridge.Port) *bool { return &p.Hairpin }, false),
	5: fixedAt(0), 6: fixedAt(0), 7: fixedAt(0), // guards of the tree, leaving groups fast
	8:  flag(func(p *bridge.Port) *bool { return &p.Deaf }, true),
	9:  flag(func(p *bridge.Port) *bool { return &p.NoFlood }, true),
	10: fixedAt(0), 12: fixedAt(0), // answering for others
	18: {setting{1, 1, 0}, func(p *bridge.Port) uint32 { return uint32(p.Number) }, nil},
	25: fixedAt(1), // a multicast router
	27: flag(func(p *bridge.Port) *bool { return &p.NoGroups }, true),
	28: fixedAt(0), 29: fixedAt(0),
	30: flag(func(p *bridge.Port) *bool { return &p.NoAll }, true),
	31: fixedAt(0), 32: fixedAt(0),
	33: flag(func(p *bridge.Port) *bool { return &p.Isolated }, false),
	38: fixedAt(0), 39: fixedAt(0), // locked
}

// checkBridge checks values of a bridge's: EOPNOTSUPP of what there is not, ERANGE.
func checkBridge(values map[uint32]uint32) error {
	for n, v := range values {
		s, ok := bridgeSettings[n]
		switch {
		case !ok, s.least == s.most && v != s.first:
			return linux.EOPNOTSUPP
		case v < s.least || v > s.most:
			return linux.ERANGE
		}
	}
	return nil
}

// setBridge sets values of a bridge that the guest has made, which are checked, with the stack's
// lock held.
func (m *made) setBridge(values map[uint32]uint32) {
	if m.settings == nil {
		m.settings = map[uint32]uint32{}
		for n, s := range bridgeSettings {
			m.settings[n] = s.first
		}
	}
	for n, v := range values {
		m.settings[n] = v
	}
	if b := m.at.stack.BridgeLocked(m.index); b != nil {
		b.Ageing = int64(m.settings[ageingTime]) * int64(10*time.Millisecond)
	}
}

// changePort sets values of a bridge's port, with the stack's lock held: EINVAL, EOPNOTSUPP,
// ERANGE.
func changePort(p *bridge.Port, values map[uint32]uint32) error {
	for n, v := range values {
		s, ok := portSettings[n]
		switch {
		case p == nil:
			return linux.EOPNOTSUPP
		case !ok || s.write == nil, s.least == s.most && v != s.first:
			return linux.EOPNOTSUPP
		case v < s.least || v > s.most:
			return linux.ERANGE
		}
	}
	for n, v := range values {
		portSettings[n].write(p, v)
	}
	return nil
}

// describeBridge says of an interface what it has to do with bridges, with the stack's lock held.
func (s *server) describeBridge(i *netdv1.Interface, m *made) {
	if p := s.stack.BridgePortLocked(int(i.Index)); p != nil {
		i.Port = map[uint32]uint32{}
		for n, v := range portSettings {
			i.Port[n] = v.read(p)
		}
	}
	if m != nil && m.kind == ip.Bridge {
		i.Bridge = m.settings
	}
}

// stations answers a StationDump.
func (s *server) stations() *netdv1.Response {
	resp := &netdv1.Response{}
	s.stack.StationsLocked(func(index int, st bridge.Station, age int64) {
		m := &netdv1.Station{Bridge: uint32(index), Interface: uint32(index), Mac: st.MAC[:], Local: st.Local, Fixed: st.Fixed}
		if st.Port != nil {
			m.Interface = uint32(st.Port.Interface)
		}
		if !st.Local {
			m.Age = uint32(age / int64(time.Second))
		}
		resp.Stations = append(resp.Stations, m)
	})
	return resp
}

// changeStation carries out a StationChange: EINVAL, and what the stack says.
func (s *server) changeStation(c *netdv1.StationChange) error {
	m := c.Station
	if m == nil || len(m.Mac) != 6 || m.Mac[0]&1 != 0 || [6]byte(m.Mac) == [6]byte{} {
		return linux.EINVAL
	}
	return s.stack.StationLocked(index(m.Interface), bridge.Station{MAC: [6]byte(m.Mac), Local: m.Local, Fixed: m.Fixed}, c.Remove, c.Replace)
}
