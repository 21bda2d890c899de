package netlink

import (
	"bytes"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Messages about bridges are those about links and neighbours, of the family AF_BRIDGE:
// linux/if_bridge.h, linux/neighbour.h.
const (
	familyBridge = 7

	linkProtInfo  = 12
	infoSlaveKind = 4
	infoSlaveData = 5

	neighAddress = 2
	neighCache   = 3
	neighVLAN    = 5
	neighMaster  = 9

	toMaster = 4 // NTF_MASTER
	toSelf   = 2 // NTF_SELF

	nudReachable, nudFixed, nudPermanent = 0x02, 0x40, 0x80 // NUD_
)

// value is an attribute of a bridge's or of a port's: its number and its size in bytes.
type value struct {
	number uint16
	size   int
}

// bridgeValues are those that can be set and told of: IFLA_BR_.
var bridgeValues = []value{{1, 4}, {2, 4}, {3, 4}, {4, 4}, {5, 4}, {6, 2}, {7, 1}, {9, 2}, {22, 1}, {23, 1}, {24, 1}, {25, 1}, {36, 1}, {37, 1}, {38, 1}, {39, 2}, {41, 1},
	{42, 1}, {43, 1}, {44, 1}}

// portValues are a port's: IFLA_BRPORT_. It is told of more.
var portValues = []value{{1, 1}, {2, 2}, {3, 4}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {8, 1}, {9, 1}, {10, 1}, {12, 1}, {25, 1}, {27, 1}, {28, 1}, {29, 1}, {30, 1}, {31, 2}, {32, 1},
	{33, 1}, {38, 1}, {39, 1}}

// bridgeConstants are what is told of a bridge whose multicast nobody tunes, in the sizes that
// it is told in: IFLA_BR_MCAST_.
var bridgeConstants = []struct {
	value
	is uint64
}{{value{26, 4}, 16}, {value{27, 4}, 4096}, {value{28, 4}, 2}, {value{29, 4}, 2}, {value{30, 8}, 100}, {value{31, 8}, 26000}, {value{32, 8}, 25500}, {value{33, 8}, 12500},
	{value{34, 8}, 1000}, {value{35, 8}, 3124}}

// sized is a number in so many bytes.
func sized(n uint64, size int) []byte { return le.AppendUint64(nil, n)[:size] }

// valuesOf reads attributes: EOPNOTSUPP of one that is not known, ERANGE.
func valuesOf(b []byte, known []value) (map[uint32]uint32, linux.Errno) {
	out := map[uint32]uint32{}
	for t, v := range attributesOf(b) {
		size := 0
		for _, k := range known {
			if k.number == t {
				size = k.size
			}
		}
		if size == 0 {
			return nil, linux.EOPNOTSUPP
		}
		if len(v) < size {
			return nil, linux.ERANGE
		}
		var whole [4]byte
		copy(whole[:], v[:size])
		out[uint32(t)] = le.Uint32(whole[:])
	}
	return out, 0
}

// bridgeID is a bridge's number and address: 802.1D, 9.2.5.
func bridgeID(priority uint32, mac []byte) []byte {
	id := []byte{byte(priority >> 8), byte(priority)}
	return append(id, append(bytes.Clone(mac), make([]byte, 6)...)[:6]...)
}

// bridgeData is what is told of a bridge.
func bridgeData(i *netdv1.Interface) (data []byte) {
	for _, v := range bridgeValues {
		data = attribute(data, v.number, sized(uint64(i.Bridge[uint32(v.number)]), v.size))
	}
	id := bridgeID(i.Bridge[6], i.Mac)
	data = attribute(data, 8, []byte{0x81, 0}) // the VLAN protocol, in network order
	data = attribute(data, 10, id)             // the root, which it is itself; the bridge; the root's port and cost
	data = attribute(data, 11, id)
	data = attribute(data, 12, make([]byte, 2))
	data = attribute(data, 13, make([]byte, 4))
	data = attribute(data, 14, []byte{0}) // changes of the topology
	data = attribute(data, 15, []byte{0})
	for n := uint16(16); n <= 19; n++ { // timers
		data = attribute(data, n, make([]byte, 8))
	}
	data = attribute(data, 20, []byte{1, 0x80, 0xc2, 0, 0, 0})
	for _, v := range bridgeConstants {
		data = attribute(data, v.number, sized(v.is, v.size))
	}
	return attribute(data, 46, le.AppendUint32(make([]byte, 4), 15)) // IFLA_BR_MULTI_BOOLOPT: all off
}

// portData is what is told of a port of a bridge's.
func portData(i, master *netdv1.Interface) (data []byte) {
	for _, v := range portValues {
		data = attribute(data, v.number, sized(uint64(i.Port[uint32(v.number)]), v.size))
	}
	number := i.Port[18]
	id := bridgeID(32768, nil)
	if master != nil {
		id = bridgeID(master.Bridge[6], master.Mac)
	}
	data = attribute(data, 13, id)
	data = attribute(data, 14, id)
	port := uint16(i.Port[2]<<10 | number)
	data = attribute(data, 15, le.AppendUint16(nil, port))
	data = attribute(data, 16, make([]byte, 2))
	data = attribute(data, 17, le.AppendUint16(nil, port))
	data = attribute(data, 18, le.AppendUint16(nil, uint16(number)))
	data = attribute(data, 19, []byte{0})
	data = attribute(data, 20, []byte{0})
	for n := uint16(21); n <= 23; n++ { // timers
		data = attribute(data, n, make([]byte, 8))
	}
	return data
}

// numbered is the interface of a list with an index, or nil.
func numbered(all []*netdv1.Interface, index uint32) *netdv1.Interface {
	for _, i := range all {
		if i.Index == index {
			return i
		}
	}
	return nil
}

// ports answers a dump of the links of AF_BRIDGE: bridge-link(8).
func (r *request) ports(all []*netdv1.Interface) (b []byte) {
	for _, i := range all {
		if i.Master == 0 {
			continue
		}
		body := []byte{familyBridge, 0}
		body = le.AppendUint16(body, uint16(hardwareOf(i)))
		body = le.AppendUint32(body, i.Index)
		body = le.AppendUint32(body, i.Flags)
		body = le.AppendUint32(body, 0)
		body = attribute(body, linkName, text(i.Name))
		body = attribute(body, linkMaster, le.AppendUint32(nil, i.Master))
		body = attribute(body, linkMTU, le.AppendUint32(nil, i.Mtu))
		body = attribute(body, 16, []byte{operational(i)})
		body = attribute(body, linkAddress, i.Mac)
		if i.Peer != 0 {
			body = attribute(body, linkLink, le.AppendUint32(nil, i.Peer))
		}
		body = attribute(body, linkProtInfo|1<<15, portData(i, numbered(all, i.Master)))
		b = r.message(b, r.kind(newLink), flagMulti, body)
	}
	return b
}

// portChange reads a struct ifinfomsg of AF_BRIDGE, of RTM_SETLINK.
func (r *request) portChange(index uint32) (*netdv1.Change, linux.Errno) {
	port, err := valuesOf(r.attributes(sizeofIfinfomsg)[linkProtInfo], portValues)
	if err != 0 {
		return nil, err
	}
	return &netdv1.Change{What: &netdv1.Change_Link{Link: &netdv1.LinkChange{Index: index, Port: port}}}, 0
}

// stations answers a dump of the neighbours of AF_BRIDGE: bridge-fdb(8).
func (r *request) stations(s Router, all []*netdv1.Interface) ([]byte, error) {
	known, err := s.Stations()
	if err != nil {
		return nil, err
	}
	var b []byte
	for _, i := range all {
		for _, m := range known.Stations {
			if m.Interface == i.Index {
				b = r.station(b, m)
			}
		}
		for _, mac := range groupStations(i) {
			body := le.AppendUint32([]byte{familyBridge, 0, 0, 0}, i.Index)
			body = append(le.AppendUint16(body, nudPermanent), toSelf, 0)
			b = r.message(b, newNeigh, flagMulti, attribute(body, neighAddress, mac))
		}
	}
	return b, nil
}

// groupStations are the Ethernet addresses of the groups that an interface listens to.
func groupStations(i *netdv1.Interface) (out [][]byte) {
	if hardwareOf(i) != 1 {
		return nil
	}
	for _, g := range i.Groups {
		switch a := g.Address; {
		case len(a) == 4:
			out = append(out, []byte{1, 0, 0x5e, a[1] & 0x7f, a[2], a[3]})
		case len(a) == 16 && a[1]&0xf != 1: // not of this host alone
			out = append(out, []byte{0x33, 0x33, a[12], a[13], a[14], a[15]})
		}
	}
	return out
}

// station appends RTM_NEWNEIGH.
func (r *request) station(b []byte, m *netdv1.Station) []byte {
	state := uint16(nudReachable)
	switch {
	case m.Local:
		state = nudPermanent
	case m.Fixed:
		state = nudFixed
	}
	body := le.AppendUint32([]byte{familyBridge, 0, 0, 0}, m.Interface)
	body = append(le.AppendUint16(body, state), 0, 0)
	body = attribute(body, neighAddress, m.Mac)
	body = attribute(body, neighMaster, le.AppendUint32(nil, m.Bridge))
	age := le.AppendUint32(nil, m.Age*100)
	body = attribute(body, neighCache, append(append(append(make([]byte, 4), age...), age...), 0, 0, 0, 0)) // struct nda_cacheinfo
	return r.message(b, r.kind(newNeigh), r.listed(), body)
}

// stationChange reads a struct ndmsg of AF_BRIDGE.
func (r *request) stationChange() (*netdv1.Change, linux.Errno) {
	a := r.attributes(12)
	state, flags := le.Uint16(r.body[8:]), r.body[10]
	m := &netdv1.Station{Interface: le.Uint32(r.body[4:]), Mac: a[neighAddress]}
	if v := a[neighVLAN]; len(v) >= 2 && le.Uint16(v) != 0 {
		return nil, linux.EOPNOTSUPP
	}
	if len(m.Mac) != 6 || m.Interface == 0 {
		return nil, linux.EINVAL
	}
	switch {
	case flags&toMaster == 0:
		return nil, linux.EOPNOTSUPP
	case state&nudPermanent != 0:
		m.Local, m.Fixed = true, true
	case state&nudFixed != 0:
		m.Fixed = true
	}
	return &netdv1.Change{What: &netdv1.Change_Station{Station: &netdv1.StationChange{Station: m, Remove: r.typ == delNeigh,
		Replace: r.flags&flagReplace != 0}}}, 0
}

// bridging reads of which bridge an interface is to be a port, and what a bridge or a port is
// to be like.
func bridging(m *netdv1.LinkChange, a map[uint16][]byte) (err linux.Errno) {
	if v := a[linkMaster]; len(v) >= 4 {
		master := number(v)
		m.Master = &master
	}
	info := attributesOf(a[linkInfo])
	switch data := info[infoData]; {
	case data == nil:
	case cString(info[infoKind]) == "macvlan" && attributesOf(data)[macvlanMode] != nil:
		mode := number(attributesOf(data)[macvlanMode])
		m.Mode = &mode
	case cString(info[infoKind]) != "bridge":
		return linux.EOPNOTSUPP
	default:
		if m.Bridge, err = valuesOf(data, bridgeValues); err != 0 {
			return err
		}
	}
	if data := info[infoSlaveData]; data != nil {
		if kind := cString(info[infoSlaveKind]); kind != "" && kind != "bridge" {
			return linux.EINVAL
		}
		m.Port, err = valuesOf(data, portValues)
	}
	return err
}
