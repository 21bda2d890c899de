package netlink

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Router is a Source that knows routes and neighbours, what bridges have learned, and how a
// packet would leave.
type Router interface {
	Routes() (*netdv1.Response, error)
	Stations() (*netdv1.Response, error)
	Path(*netdv1.PathQuery) (*netdv1.RouteEntry, error)
}

// Changer is a Source that can be configured.
type Changer interface {
	Change(*netdv1.Change) error
}

// reader is a Source for those without CAP_NET_ADMIN.
type reader struct{ Source }

// Routes hides all of the Source but what can be read.
func (r reader) Routes() (*netdv1.Response, error) {
	if s, ok := r.Source.(Router); ok {
		return s.Routes()
	}
	return &netdv1.Response{}, nil
}

// Stations and Path do likewise.
func (r reader) Stations() (*netdv1.Response, error) {
	if s, ok := r.Source.(Router); ok {
		return s.Stations()
	}
	return &netdv1.Response{}, nil
}

func (r reader) Path(q *netdv1.PathQuery) (*netdv1.RouteEntry, error) {
	if s, ok := r.Source.(Router); ok {
		return s.Path(q)
	}
	return nil, linux.ENETUNREACH
}

// More messages of rtnetlink(7).
const (
	delLink  = 17
	setLink  = 19
	delAddr  = 21
	newRoute = 24
	delRoute = 25
	newNeigh = 28
	delNeigh = 29

	flagReplace = 0x100
	flagCreate  = 0x400
)

// tables answers RTM_GETROUTE, RTM_GETNEXTHOP and RTM_GETNEIGH dumps.
func (r *request) tables(source Source) ([]byte, error) {
	s, ok := source.(Router)
	if !ok {
		return nil, nil
	}
	wanted := byte(0)
	if len(r.body) > 0 {
		wanted = r.body[0]
	}
	if r.typ == getNeigh && wanted == familyBridge {
		devices, err := source.Interfaces()
		if err != nil {
			return nil, err
		}
		return r.stations(s, devices)
	}
	all, err := s.Routes()
	if err != nil {
		return nil, err
	}
	var b []byte
	if r.typ == getRoute {
		devices, err := source.Interfaces()
		if err != nil {
			return nil, err
		}
		r.devices = devices
		slices.SortStableFunc(all.Routes, listedBefore)
		for _, m := range all.Routes {
			b = r.route(b, m, wanted)
		}
		for _, m := range localRoutes(devices) {
			b = r.route(b, m, wanted)
		}
		return b, nil
	}
	if r.typ == getNexthop {
		for _, m := range all.Nexthops {
			b = r.nexthop(b, m)
		}
		return b, nil
	}
	for _, m := range all.Neighbours {
		b = r.neighbour(b, m, wanted)
	}
	return b, nil
}

// listedBefore is the order of a dump: by table, then as Linux's tries are walked.
func listedBefore(a, b *netdv1.RouteEntry) int {
	x, y := a.Destination.GetAddress(), b.Destination.GetAddress()
	if n := cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(len(x), len(y))); n != 0 {
		return n
	}
	longer := cmp.Compare(b.Destination.GetBits(), a.Destination.GetBits())
	if len(x) == 16 { // what lies within a prefix comes before it
		p, ok1 := prefixOf(a.Destination)
		q, ok2 := prefixOf(b.Destination)
		if ok1 && ok2 && longer != 0 && p.Overlaps(q) {
			return longer
		}
	}
	return cmp.Or(bytes.Compare(x, y), longer, cmp.Compare(b.Tos, a.Tos), cmp.Compare(a.Metric, b.Metric))
}

func prefixOf(m *netdv1.Prefix) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(m.GetAddress())
	if !ok || m.GetBits() > uint32(a.BitLen()) {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, int(m.GetBits())), true
}

// listed are the flags of a message: one of a dump's, or a notification's.
func (r *request) listed() uint16 {
	if r.flags&flagDump == flagDump {
		return flagMulti
	}
	return r.flags & flagReplace
}

func familyOf(a []byte) byte {
	switch len(a) {
	case 4:
		return linux.AF_INET
	case 16:
		return linux.AF_INET6
	}
	return 0
}

// route appends RTM_NEWROUTE, if the family that is asked for is m's.
func (r *request) route(b []byte, m *netdv1.RouteEntry, wanted byte) []byte {
	dst := m.Destination.GetAddress()
	family := familyOf(dst)
	if family == 0 || wanted != 0 && wanted != family {
		return b
	}
	table := m.Table
	if table == 0 {
		table = 254
	}
	small := byte(0)
	if table < 256 {
		small = byte(table)
	}
	kind, scope := byte(m.Kind), byte(m.Scope)
	if kind == 0 {
		kind = 1
	}
	if family == linux.AF_INET6 {
		scope = 0 // its routes have none
	}
	body := []byte{family, byte(m.Destination.Bits), 0, byte(m.Tos), small, byte(m.Protocol), scope, kind, 0, 0, 0, 0}
	body[8] = r.stateOf(m.Interface)
	if m.OnLink {
		body[8] |= onLink
	}
	body = attribute(body, 15, le.AppendUint32(nil, table))
	if m.Destination.Bits > 0 {
		body = attribute(body, 1, dst)
	}
	if len(m.Source) > 0 {
		body = attribute(body, 7, m.Source)
	}
	if m.Metric > 0 || family == linux.AF_INET6 {
		body = attribute(body, 6, le.AppendUint32(nil, m.Metric))
	}
	body = r.waysOf(body, m)
	if metrics := metricsOf(m); metrics != nil {
		body = attribute(body, routeMetrics, metrics)
	}
	if family == linux.AF_INET6 {
		// struct rta_cacheinfo: the third word is when it expires, in hundredths of a second.
		info := le.AppendUint32(make([]byte, 8), uint32(min(uint64(m.Expires)*100, 1<<31-1)))
		body = attribute(body, 12, append(info, make([]byte, 20)...))
		body = attribute(body, 20, []byte{preferenceOf(m.Preference)})
	}
	return r.message(b, r.kind(newRoute), r.listed(), body)
}

// preferenceOf is a router's as two bits: RFC 4191, section 2.1.
func preferenceOf(p int32) byte {
	switch {
	case p > 0:
		return 1
	case p < 0:
		return 3
	}
	return 0
}

// neighbour appends RTM_NEWNEIGH, likewise.
func (r *request) neighbour(b []byte, m *netdv1.NeighbourEntry, wanted byte) []byte {
	family := familyOf(m.Address)
	if family == 0 || wanted != 0 && wanted != family {
		return b
	}
	body := le.AppendUint32([]byte{family, 0, 0, 0}, m.Interface)
	body = append(le.AppendUint16(body, uint16(m.State)), 0, 1)
	body = attribute(body, 1, m.Address)
	if len(m.Mac) == 6 {
		body = attribute(body, 2, m.Mac)
	}
	return r.message(b, r.kind(newNeigh), r.listed(), body)
}

// attributes are those behind the first n bytes of the body; of several of one
// type the last counts.
func (r *request) attributes(n int) map[uint16][]byte {
	return attributesOf(r.body[min(n, len(r.body)):])
}

// attributesOf are those in b.
func attributesOf(b []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	for len(b) >= 4 {
		k := int(le.Uint16(b))
		if k < 4 || k > len(b) {
			break
		}
		out[le.Uint16(b[2:])&0x3fff] = b[4:k]
		b = b[min((k+3)&^3, len(b)):]
	}
	return out
}

func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return le.Uint32(b)
}

// change carries out an order: 0 for success.
func (r *request) change(source Source, all []*netdv1.Interface) linux.Errno {
	s, ok := source.(Changer)
	if !ok {
		return linux.EPERM
	}
	var c *netdv1.Change
	var err linux.Errno
	switch r.typ {
	case newLink, setLink, delLink:
		c, err = r.linkChange(all)
	case newAddr, delAddr:
		c, err = r.addressChange()
	case newRoute, delRoute:
		c, err = r.routeChange()
	case newNeigh, delNeigh:
		c, err = r.neighbourChange()
	case newRule, delRule:
		c, err = r.ruleChange()
	case newNexthop, delNexthop:
		c, err = r.nexthopChange()
	default:
		err = linux.EOPNOTSUPP
	}
	if err != 0 {
		return err
	}
	switch e := s.Change(c).(type) {
	case nil:
		return 0
	case linux.Errno:
		return e
	}
	return linux.EIO
}

// addressChange reads a struct ifaddrmsg.
func (r *request) addressChange() (*netdv1.Change, linux.Errno) {
	if len(r.body) < 8 {
		return nil, linux.EINVAL
	}
	a := r.attributes(8)
	addr := a[2] // IFA_LOCAL
	if addr == nil {
		addr = a[1]
	}
	if familyOf(addr) != r.body[0] {
		return nil, linux.EINVAL
	}
	m := &netdv1.AddressChange{
		Index: le.Uint32(r.body[4:]), Prefix: &netdv1.Prefix{Address: addr, Bits: uint32(r.body[1])}, Remove: r.typ == delAddr,
		Replace: r.flags&flagReplace != 0, Flags: uint32(r.body[2]),
	}
	if peer := a[1]; a[2] != nil && len(peer) == len(addr) && !bytes.Equal(peer, addr) { // IFA_ADDRESS
		m.Peer = peer
	}
	if v := a[4]; len(v) == 4 && len(addr) == 4 { // IFA_BROADCAST
		m.Broadcast = v
	}
	if v := a[8]; len(v) >= 4 {
		m.Flags = le.Uint32(v)
	}
	if v := a[6]; len(v) >= 8 { // struct ifa_cacheinfo
		preferred, valid := le.Uint32(v), le.Uint32(v[4:])
		if valid == 0 || preferred > valid {
			return nil, linux.EINVAL
		}
		if m.Preferred = &preferred; valid != 1<<32-1 {
			m.Valid = valid
		}
	}
	return &netdv1.Change{What: &netdv1.Change_Address{Address: m}}, 0
}

// routeChange reads a struct rtmsg.
func (r *request) routeChange() (*netdv1.Change, linux.Errno) {
	if len(r.body) < 12 {
		return nil, linux.EINVAL
	}
	a := r.attributes(12)
	dst := a[1]
	if dst == nil {
		switch r.body[0] {
		case linux.AF_INET:
			dst = make([]byte, 4)
		case linux.AF_INET6:
			dst = make([]byte, 16)
		}
	}
	if familyOf(dst) != r.body[0] || r.body[0] == 0 {
		return nil, linux.EINVAL
	}
	table := number(a[15])
	if table == 0 {
		table = uint32(r.body[4])
	}
	m := &netdv1.RouteEntry{
		Destination: &netdv1.Prefix{Address: dst, Bits: uint32(r.body[1])}, Gateway: gatewayOf(a), Interface: number(a[4]), Source: a[7],
		Metric: number(a[6]), Table: table, Kind: uint32(r.body[7]), Protocol: uint32(r.body[5]), Scope: uint32(r.body[6]), Tos: uint32(r.body[3]),
		OnLink: le.Uint32(r.body[8:])&onLink != 0, Nexthop: number(a[routeNexthop]), Expires: number(a[routeExpires]),
	}
	if err := ways(m, a); err != 0 {
		return nil, err
	}
	return &netdv1.Change{What: &netdv1.Change_Route{Route: &netdv1.RouteChange{
		Route: m, Remove: r.typ == delRoute, Replace: r.typ == newRoute && r.flags&flagReplace != 0,
	}}}, 0
}

// neighbourChange reads a struct ndmsg.
func (r *request) neighbourChange() (*netdv1.Change, linux.Errno) {
	if len(r.body) < 12 {
		return nil, linux.EINVAL
	}
	if r.body[0] == familyBridge {
		return r.stationChange()
	}
	a := r.attributes(12)
	if familyOf(a[1]) == 0 || r.typ == newNeigh && len(a[2]) != 6 {
		return nil, linux.EINVAL
	}
	m := &netdv1.NeighbourEntry{Interface: le.Uint32(r.body[4:]), Address: a[1]}
	if r.typ == newNeigh {
		m.Mac = a[2]
	}
	return &netdv1.Change{What: &netdv1.Change_Neighbour{Neighbour: m}}, 0
}
