package netfilter

import (
	"net/netip"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/wire"
)

// FlowInfo is what is known of a flow, for who lists them.
type FlowInfo struct {
	ID, Status, Mark uint32
	Counted          bool   // somebody wants to know what Directions have carried
	Seconds          uint32 // until it is forgotten
	State            uint8  // of TCP: enum tcp_conntrack
	Directions       [2]Direction
}

// Direction is one way of a flow. An echo has Type, and its identifier for a port.
type Direction struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto, Type      uint8
	Packets, Bytes   uint64
}

// Family is the flow's: FamilyIPv4 or FamilyIPv6.
func (f *FlowInfo) Family() uint8 {
	if f.Directions[0].Src.Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}

func (f *flow) info(now int64, counted bool) *FlowInfo {
	out := &FlowInfo{Counted: counted, ID: f.id, Status: f.status(), Mark: f.mark, Seconds: uint32(max(f.expires-now, 0) / second), State: uint8(f.tcp)}
	for i, t := range f.tuples {
		out.Directions[i] = Direction{Src: t.src, Dst: t.dst, SrcPort: t.sport, DstPort: t.dport, Proto: t.proto, Packets: f.packets[i], Bytes: f.bytes[i]}
		d := &out.Directions[i]
		switch {
		case t.proto == wire.ProtoICMP && i == original:
			d.Type = wire.ICMPEchoRequest
		case t.proto == wire.ProtoICMPv6 && i == original:
			d.Type = wire.ICMPv6EchoRequest
		case t.proto == wire.ProtoICMPv6:
			d.Type = wire.ICMPv6EchoReply
		}
	}
	return out
}

// Flows calls show for each flow.
func (f *Filter) Flows(show func(*FlowInfo)) {
	now := f.host.Now()
	for k, s := range f.tracker.flows {
		if k == s.f.tuples[original] && s.f.expires > now {
			show(s.f.info(now, f.counts))
		}
	}
}

// FlowEvent is what has become of a flow.
type FlowEvent uint8

// The events.
const (
	FlowNew FlowEvent = iota
	FlowChanged
	FlowGone
)

// WatchFlows has tell called for each event of a flow from now on. It must not come back.
func (f *Filter) WatchFlows(tell func(FlowEvent, *FlowInfo)) {
	f.tracker.tell = func(e FlowEvent, l *flow) { tell(e, l.info(f.host.Now(), f.counts)) }
}

func (t *tracker) event(e FlowEvent, f *flow) {
	if t.tell != nil && f.confirmed {
		t.tell(e, f)
	}
}

// Forget forgets the flows that which says yes to, and whether there were any.
func (f *Filter) Forget(which func(*FlowInfo) bool) (any bool) {
	now := f.host.Now()
	for k, s := range f.tracker.flows {
		if k == s.f.tuples[original] && which(s.f.info(now, f.counts)) {
			f.tracker.remove(s.f)
			any = true
		}
	}
	return any
}

// Original is where a flow's first packet was going, given a protocol and the two
// ends of the answers: ENOENT.
func (f *Filter) Original(proto uint8, remote, local netip.AddrPort) (netip.AddrPort, error) {
	t := tuple{src: local.Addr(), dst: remote.Addr(), sport: local.Port(), dport: remote.Port(), proto: proto}
	s, ok := f.tracker.find(f.host.Now(), t)
	if !ok {
		return netip.AddrPort{}, linux.ENOENT
	}
	o := s.f.tuples[original]
	return netip.AddrPortFrom(o.dst, o.dport), nil
}

// Answer is the Track of an error that answers a packet: it is related to the
// packet's flow, the other way.
func (t Track) Answer() Track {
	if t.flow == nil {
		return Track{}
	}
	return Track{flow: t.flow, reply: !t.reply, related: true}
}
