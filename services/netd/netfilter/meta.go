package netfilter

import (
	"net/netip"
	"time"

	"bulkhead/services/netd/ip"
)

// This file has the expressions that look beside the packet: at its interfaces and
// socket, its flow, the routes.

// Keys of Meta: enum nft_meta_keys.
const (
	MetaLen      = 0
	MetaProtocol = 1
	MetaPriority = 2
	MetaMark     = 3
	MetaIIF      = 4
	MetaOIF      = 5
	MetaIIFName  = 6
	MetaOIFName  = 7
	MetaIIFType  = 8
	MetaOIFType  = 9
	MetaSKUID    = 10
	MetaSKGID    = 11
	MetaTrace    = 12
	MetaNFProto  = 15
	MetaL4Proto  = 16
	MetaPktType  = 19
	MetaCPU      = 20
	MetaIIFGroup = 21
	MetaOIFGroup = 22
	MetaPRandom  = 24
	MetaIIFKind  = 26
	MetaOIFKind  = 27
	MetaTimeNS   = 30
	MetaTimeDay  = 31
	MetaTimeHour = 32
)

// Meta loads what is known of a packet beside its bytes, or with Write sets it.
type Meta struct {
	Reg   Reg
	Key   uint32
	Write bool
}

// MetaLength is a key's size in bytes; 0: it is not known here.
func MetaLength(key uint32) int {
	switch key {
	case MetaLen, MetaPriority, MetaMark, MetaIIF, MetaOIF, MetaSKUID, MetaSKGID, MetaCPU, MetaIIFGroup, MetaOIFGroup, MetaPRandom, MetaTimeHour:
		return 4
	case MetaProtocol, MetaIIFType, MetaOIFType:
		return 2
	case MetaIIFName, MetaOIFName, MetaIIFKind, MetaOIFKind:
		return 16
	case MetaTrace, MetaNFProto, MetaL4Proto, MetaPktType, MetaTimeDay:
		return 1
	case MetaTimeNS:
		return 8
	}
	return 0
}

// MetaWritable says whether a key can be set.
func MetaWritable(key uint32) bool {
	return key == MetaMark || key == MetaPriority || key == MetaTrace
}

const (
	hardwareEthernet = 1
	hardwareLoopback = 772
)

func (e *Meta) eval(v *evaluation) {
	p := v.p
	if e.Write {
		if e.Key == MetaMark {
			p.Mark = v.get32(e.Reg)
		}
		return
	}
	switch e.Key {
	case MetaLen:
		v.put32(e.Reg, uint32(p.size()))
	case MetaProtocol:
		if p.V6 {
			v.put(e.Reg, []byte{0x86, 0xdd})
		} else {
			v.put(e.Reg, []byte{0x08, 0x00})
		}
	case MetaMark:
		v.put32(e.Reg, p.Mark)
	case MetaIIF:
		v.put32(e.Reg, indexOf(p.In))
	case MetaOIF:
		v.put32(e.Reg, indexOf(p.Out))
	case MetaIIFName:
		v.name(e.Reg, p.In)
	case MetaOIFName:
		v.name(e.Reg, p.Out)
	case MetaIIFType:
		v.kind(e.Reg, p.In)
	case MetaOIFType:
		v.kind(e.Reg, p.Out)
	case MetaSKUID, MetaSKGID:
		if p.Owner == nil {
			v.verdict = Break
			return
		}
		id := p.Owner.UID
		if e.Key == MetaSKGID {
			id = p.Owner.GID
		}
		v.put32(e.Reg, id)
	case MetaNFProto:
		v.put(e.Reg, []byte{p.family()})
	case MetaL4Proto:
		v.put(e.Reg, []byte{p.Proto})
	case MetaPktType:
		v.put(e.Reg, []byte{p.kind()})
	case MetaPRandom:
		v.put32(e.Reg, v.f.host.Random())
	case MetaTimeNS:
		v.put(e.Reg, le.AppendUint64(nil, uint64(v.f.host.Wall())))
	case MetaTimeDay:
		v.put(e.Reg, []byte{byte(v.wall().Weekday())})
	case MetaTimeHour:
		now := v.wall()
		v.put32(e.Reg, uint32(now.Hour()*3600+now.Minute()*60+now.Second()))
	case MetaIIFKind, MetaOIFKind:
		v.verdict = Break // no interface here is of a kind that has a name
	default:
		v.put32(e.Reg, 0)
	}
}

func (v *evaluation) wall() time.Time { return time.Unix(0, v.f.host.Wall()).UTC() }

func (p *Packet) family() uint8 {
	if p.V6 {
		return FamilyIPv6
	}
	return FamilyIPv4
}

// kind is PACKET_* of linux/if_packet.h.
func (p *Packet) kind() uint8 {
	switch {
	case p.Dst().IsMulticast():
		return 2
	case p.ToMany:
		return 1
	}
	return 0
}

func indexOf(i *ip.Interface) uint32 {
	if i == nil {
		return 0
	}
	return uint32(i.Index)
}

func nameOf(i *ip.Interface) string {
	if i == nil {
		return ""
	}
	return i.Name
}

func (v *evaluation) name(r Reg, i *ip.Interface) {
	var b [16]byte
	copy(b[:15], nameOf(i))
	v.put(r, b[:])
}

func (v *evaluation) kind(r Reg, i *ip.Interface) {
	if i == nil {
		v.verdict = Break
		return
	}
	n := uint16(hardwareEthernet)
	if i.Loopback {
		n = hardwareLoopback
	}
	v.put(r, le.AppendUint16(nil, n))
}

// Keys of Flow: enum nft_ct_keys.
const (
	CtState      = 0
	CtDirection  = 1
	CtStatus     = 2
	CtMark       = 3
	CtExpiration = 5
	CtL3Protocol = 7
	CtSrc        = 8
	CtDst        = 9
	CtProtocol   = 10
	CtProtoSrc   = 11
	CtProtoDst   = 12
	CtPackets    = 14
	CtBytes      = 15
	CtAvgPacket  = 16
	CtZone       = 17
	CtSrcIP      = 19
	CtDstIP      = 20
	CtSrcIP6     = 21
	CtDstIP6     = 22
	CtID         = 23
)

// Flow loads what tracking knows of the packet's connection (ct), or with Write
// sets its mark.
type Flow struct {
	Reg   Reg
	Key   uint32
	Dir   int // 0, 1; -1: not said
	Write bool
}

func (e *Flow) needsTracking() bool { return true }

// counts says whether it asks how much has been carried.
func (e *Flow) counts() bool { return e.Key == CtPackets || e.Key == CtBytes || e.Key == CtAvgPacket }

// FlowLength is a key's size in bytes; 0: it is not known here.
func FlowLength(key uint32) int {
	switch key {
	case CtState, CtStatus, CtMark, CtExpiration, CtID, CtSrcIP, CtDstIP:
		return 4
	case CtDirection, CtL3Protocol, CtProtocol:
		return 1
	case CtSrc, CtDst, CtSrcIP6, CtDstIP6:
		return 16
	case CtProtoSrc, CtProtoDst, CtZone:
		return 2
	case CtPackets, CtBytes, CtAvgPacket:
		return 8
	}
	return 0
}

func (e *Flow) eval(v *evaluation) {
	k := &v.p.track
	if e.Key == CtState && !e.Write {
		v.put32(e.Reg, k.state())
		return
	}
	f := k.flow
	if f == nil {
		v.verdict = Break
		return
	}
	if e.Write {
		if e.Key == CtMark {
			f.mark = v.get32(e.Reg)
		}
		return
	}
	dir := original
	if e.Dir >= 0 {
		dir = e.Dir
	} else if k.reply {
		dir = reply
	}
	t := f.tuples[dir]
	switch e.Key {
	case CtDirection:
		n := byte(original)
		if k.reply {
			n = reply
		}
		v.put(e.Reg, []byte{n})
	case CtStatus:
		v.put32(e.Reg, f.status())
	case CtMark:
		v.put32(e.Reg, f.mark)
	case CtExpiration:
		v.put32(e.Reg, uint32(max(f.expires-v.now, 0)/1e6))
	case CtL3Protocol:
		v.put(e.Reg, []byte{v.p.family()})
	case CtProtocol:
		v.put(e.Reg, []byte{t.proto})
	case CtSrc, CtSrcIP, CtSrcIP6:
		v.addr(e.Reg, t.src, e.Key)
	case CtDst, CtDstIP, CtDstIP6:
		v.addr(e.Reg, t.dst, e.Key)
	case CtProtoSrc:
		v.put(e.Reg, be.AppendUint16(nil, t.sport))
	case CtProtoDst:
		v.put(e.Reg, be.AppendUint16(nil, t.dport))
	case CtID:
		v.put32(e.Reg, f.id)
	case CtPackets, CtBytes, CtAvgPacket:
		packets, n := f.packets[dir], f.bytes[dir]
		if e.Dir < 0 {
			packets, n = f.packets[0]+f.packets[1], f.bytes[0]+f.bytes[1]
		}
		switch {
		case e.Key == CtPackets:
			n = packets
		case e.Key == CtAvgPacket && packets > 0:
			n /= packets
		}
		v.put(e.Reg, le.AppendUint64(nil, n))
	default:
		v.put32(e.Reg, 0)
	}
}

// addr puts an address of a flow; a key of the other family ends the rule.
func (v *evaluation) addr(r Reg, a netip.Addr, key uint32) {
	if a.Is4() && (key == CtSrcIP6 || key == CtDstIP6) || a.Is6() && (key == CtSrcIP || key == CtDstIP) {
		v.verdict = Break
		return
	}
	v.put(r, a.AsSlice())
}

// NoTrack keeps the packet from being tracked.
type NoTrack struct{}

func (*NoTrack) eval(v *evaluation) {
	if v.p.track.flow == nil {
		v.p.track.untracked = true
	}
}
func (*NoTrack) needsTracking() bool { return true }

// Results and flags of FIB: linux/netfilter/nf_tables.h.
const (
	FIBOif      = 1
	FIBOifName  = 2
	FIBAddrType = 3

	FIBSource  = 1
	FIBDest    = 2
	FIBIIF     = 8
	FIBPresent = 32
)

// FIB asks the routes about the packet's source or destination.
type FIB struct {
	Dst    Reg
	Result uint32
	Flags  uint32
}

// Kinds of addresses: RTN_* of linux/rtnetlink.h.
const (
	rtnUnspec    = 0
	rtnUnicast   = 1
	rtnLocal     = 2
	rtnBroadcast = 3
	rtnMulticast = 5
	rtnUnreach   = 7
)

// typeOf is an address's kind.
func (f *Filter) typeOf(a netip.Addr) uint32 {
	switch {
	case a.IsMulticast():
		return rtnMulticast
	case a.IsUnspecified():
		if a.Is4() {
			return rtnBroadcast
		}
		return rtnUnspec
	case f.host.Local(a):
		return rtnLocal
	case f.host.Broadcast(a):
		return rtnBroadcast
	}
	if _, _, _, ok := f.host.Route(a, netip.Addr{}); !ok {
		return rtnUnreach
	}
	return rtnUnicast
}

func (e *FIB) eval(v *evaluation) {
	a := v.p.Dst()
	if e.Flags&FIBSource != 0 {
		a = v.p.Src()
	}
	if e.Result == FIBAddrType {
		v.put32(e.Dst, v.f.typeOf(a))
		return
	}
	out, _, _, ok := v.f.host.Route(a, netip.Addr{})
	if !ok || e.Flags&FIBIIF != 0 && out != v.p.In {
		out = nil
	}
	switch {
	case e.Flags&FIBPresent != 0:
		n := byte(0)
		if out != nil {
			n = 1
		}
		v.put(e.Dst, []byte{n})
	case e.Result == FIBOifName:
		v.name(e.Dst, out)
	default:
		v.put32(e.Dst, indexOf(out))
	}
}

// Keys of Route: enum nft_rt_keys.
const (
	RouteNext4  = 1
	RouteNext6  = 2
	RouteTCPMSS = 3
)

// Route loads of the packet's way out.
type Route struct {
	Dst Reg
	Key uint32
}

func (e *Route) eval(v *evaluation) {
	_, mtu, next, ok := v.f.host.Route(v.p.Dst(), netip.Addr{})
	if !ok || next.Is4() && e.Key == RouteNext6 || next.Is6() && e.Key == RouteNext4 {
		v.verdict = Break
		return
	}
	if e.Key == RouteTCPMSS {
		v.put(e.Dst, le.AppendUint16(nil, segmentSize(mtu, v.p.V6)))
		return
	}
	v.put(e.Dst, next.AsSlice())
}

// segmentSize is the TCP payload that fits an MTU.
func segmentSize(mtu int, v6 bool) uint16 {
	head := 40
	if v6 {
		head = 60
	}
	return uint16(min(max(mtu-head, 0), 65535))
}
