package netfilter

import (
	"net/netip"

	"bulkhead/services/netd/wire"
)

// This file tracks connections: what a packet belongs to, and whether that is new.

// tuple names one direction of a flow. An echo's identifier is both of its ports;
// what has no ports has zeros.
type tuple struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
}

func (t tuple) inverse() tuple {
	return tuple{src: t.dst, dst: t.src, sport: t.dport, dport: t.sport, proto: t.proto}
}

// A flow's directions.
const (
	original = 0
	reply    = 1
)

// flow is a tracked connection: nf_conntrack.
type flow struct {
	tuples    [2]tuple
	id        uint32
	mark      uint32
	expires   int64 // ns
	stream    int64 // of UDP: when an exchange that goes on is a stream, ns
	seenReply bool
	assured   bool
	confirmed bool
	natSrc    bool // its source is rewritten
	natDst    bool
	srcDone   bool // it has been decided whether
	dstDone   bool
	tcp       tcpState
	packets   [2]uint64
	bytes     [2]uint64
}

// side is an entry of the table.
type side struct {
	f   *flow
	dir int
}

// maxFlows bounds the table: net.netfilter.nf_conntrack_max of a machine with
// 4 GiB.
const maxFlows = 65536

// tracker is the table of flows.
type tracker struct {
	flows  map[tuple]side
	count  int
	lastID uint32
	swept  int64
	tell   func(FlowEvent, *flow) // nil: nobody wants to know
}

const second = int64(1e9)

// tcpState is a connection's as both sides' segments show it, for its timeout.
type tcpState uint8

const (
	tcpNone tcpState = iota
	tcpSynSent
	tcpSynReceived
	tcpEstablished
	tcpFinWait
	tcpCloseWait
	tcpLastAck
	tcpTimeWait
	tcpClose
)

// tcpTimeouts are those of Linux, in seconds.
var tcpTimeouts = [...]int64{tcpNone: 300, tcpSynSent: 120, tcpSynReceived: 60, tcpEstablished: 432000, tcpFinWait: 120, tcpCloseWait: 60,
	tcpLastAck: 30, tcpTimeWait: 120, tcpClose: 10}

// tupleOf names the flow of a packet; ok is false for what cannot be tracked.
func tupleOf(p *Packet) (t tuple, ok bool) {
	t = tuple{src: p.Src(), dst: p.Dst(), proto: p.Proto}
	switch p.Proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite, protoSCTP, protoDCCP:
		t.sport, t.dport, ok = p.ports()
		return t, ok
	case wire.ProtoICMP, wire.ProtoICMPv6:
		b := p.transport()
		if len(b) < wire.ICMPSize || !tracked(p.Proto, b[0]) {
			return t, false
		}
		t.sport = be.Uint16(b[4:])
		t.dport = t.sport
		return t, true
	}
	return t, true
}

// tracked says whether an ICMP type is of a question or its answer.
func tracked(proto, typ uint8) bool {
	if proto == wire.ProtoICMPv6 {
		return typ == wire.ICMPv6EchoRequest || typ == wire.ICMPv6EchoReply
	}
	switch typ {
	case wire.ICMPEchoReply, wire.ICMPEchoRequest, 13, 14, 15, 16, 17, 18: // timestamp, information, address mask
		return true
	}
	return false
}

// question says whether an ICMP type asks: only that begins a flow.
func question(proto, typ uint8) bool {
	if proto == wire.ProtoICMPv6 {
		return typ == wire.ICMPv6EchoRequest
	}
	return typ == wire.ICMPEchoRequest || typ == 13 || typ == 15 || typ == 17
}

func isICMP(proto uint8) bool { return proto == wire.ProtoICMP || proto == wire.ProtoICMPv6 }

// isError says whether the packet is an ICMP error, which quotes another.
func isError(p *Packet) bool {
	t := p.transport()
	if !isICMP(p.Proto) || p.Later || len(t) < wire.ICMPSize {
		return false
	}
	if p.V6 {
		return t[0] >= 1 && t[0] <= 4
	}
	return t[0] == 3 || t[0] == 4 || t[0] == 5 || t[0] == 11 || t[0] == 12
}

// control says whether the packet is the link's own: neighbour and listener
// discovery are not tracked.
func control(p *Packet) bool {
	t := p.transport()
	return p.Proto == wire.ProtoICMPv6 && len(t) > 0 && (t[0] >= 130 && t[0] <= 137 || t[0] == 143)
}

// find looks a tuple up.
func (t *tracker) find(now int64, k tuple) (side, bool) {
	s, ok := t.flows[k]
	if ok && s.f.expires <= now {
		t.remove(s.f)
		return side{}, false
	}
	return s, ok
}

func (t *tracker) remove(f *flow) {
	if !f.confirmed {
		return
	}
	t.event(FlowGone, f)
	f.confirmed = false
	delete(t.flows, f.tuples[original])
	delete(t.flows, f.tuples[reply])
	t.count--
}

// assign finds or begins the packet's flow.
func (t *tracker) assign(now int64, p *Packet) {
	k := &p.track
	if k.flow != nil || k.untracked {
		return
	}
	if control(p) {
		k.untracked = true
		return
	}
	k.invalid = false
	if isError(p) {
		t.relate(now, p)
		return
	}
	name, ok := tupleOf(p)
	if !ok {
		k.invalid = true
		return
	}
	s, found := t.find(now, name)
	if found && s.f.over(p) {
		t.remove(s.f)
		found = false
	}
	if !found {
		f := t.begin(p, name)
		if f == nil {
			k.invalid = true
			return
		}
		k.flow = f
		f.account(now, p, original)
		return
	}
	k.flow, k.reply = s.f, s.dir == reply
	before, was := s.f.status(), s.f.tcp
	if k.reply {
		s.f.seenReply = true
	}
	s.f.account(now, p, s.dir)
	if s.f.status() != before || s.f.tcp != was {
		t.event(FlowChanged, s.f)
	}
}

// over says whether a packet begins anew what is over.
func (f *flow) over(p *Packet) bool {
	if p.Proto != wire.ProtoTCP || f.tcp < tcpTimeWait {
		return false
	}
	t := p.transport()
	return len(t) >= wire.TCPSize && t[13]&(wire.SYN|wire.ACK|wire.RST) == wire.SYN
}

// begin makes a flow, which counts once the packet has come through.
func (t *tracker) begin(p *Packet, name tuple) *flow {
	b := p.transport()
	switch p.Proto {
	case wire.ProtoTCP:
		if len(b) < wire.TCPSize || b[13]&wire.RST != 0 || b[13]&(wire.SYN|wire.ACK) == 0 {
			return nil
		}
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if !question(p.Proto, b[0]) {
			return nil
		}
	}
	t.lastID++
	return &flow{tuples: [2]tuple{name, name.inverse()}, id: t.lastID}
}

// relate finds the flow that an ICMP error is about.
func (t *tracker) relate(now int64, p *Packet) {
	p.gather()
	k := &p.track
	inner, ok := quoted(p)
	if !ok || p.Sum == SumWhole && wire.ICMPSum(p.V6, p.Src(), p.Dst(), p.transport(), nil) != 0 {
		k.invalid = true // what is rewritten gets a new sum, which must not mend it
		return
	}
	name, ok := tupleOf(inner)
	if !ok {
		k.invalid = true
		return
	}
	s, found := t.find(now, name.inverse())
	if !found {
		k.invalid = true
		return
	}
	k.flow, k.reply, k.related = s.f, s.dir == reply, true
}

// quoted is the packet that an ICMP error quotes, whose Header is a part of p's.
func quoted(p *Packet) (*Packet, bool) {
	at := p.Transport + wire.ICMPSize
	if len(p.Header) < at {
		return nil, false
	}
	b := p.Header[at:]
	q := &Packet{V6: p.V6, Header: b}
	if p.V6 {
		if len(b) < wire.IPv6Size || b[0]>>4 != 6 {
			return nil, false
		}
		proto, n, err := wire.Extensions(b[6], b[wire.IPv6Size:])
		if err != nil {
			return nil, false
		}
		q.Proto, q.Transport = proto, wire.IPv6Size+n
	} else {
		if len(b) < wire.IPv4Size || b[0]>>4 != 4 {
			return nil, false
		}
		n := int(b[0]&0xf) * 4
		if n < wire.IPv4Size || n > len(b) || be.Uint16(b[6:])&0x1fff != 0 {
			return nil, false
		}
		q.Proto, q.Transport = b[9], n
	}
	return q, true
}

// account counts a packet of a flow and sets its timeout.
func (f *flow) account(now int64, p *Packet, dir int) {
	f.packets[dir]++
	f.bytes[dir] += uint64(p.size())
	life := int64(600)
	switch p.Proto {
	case wire.ProtoTCP:
		f.segment(p.transport(), dir)
		life = tcpTimeouts[f.tcp]
	case wire.ProtoUDP, wire.ProtoUDPLite:
		// An exchange that goes on for two seconds is a stream: nf_conntrack_udp_packet.
		if life = 30; !f.confirmed {
			f.stream = now + 2*second
		}
		if f.seenReply && now > f.stream {
			life = 120
			f.assured = true
		}
	case wire.ProtoICMP, wire.ProtoICMPv6:
		life = 30
	}
	f.expires = now + life*second
}

// segment follows a connection by its flags.
func (f *flow) segment(t []byte, dir int) {
	if len(t) < wire.TCPSize {
		return
	}
	flags := t[13]
	switch {
	case flags&wire.RST != 0:
		f.tcp = tcpClose
	case flags&wire.SYN != 0 && flags&wire.ACK == 0:
		if f.tcp == tcpNone {
			f.tcp = tcpSynSent
		}
	case flags&wire.SYN != 0:
		if f.tcp <= tcpSynSent {
			f.tcp = tcpSynReceived
		}
	case flags&wire.FIN != 0:
		switch f.tcp {
		case tcpFinWait, tcpCloseWait:
			f.tcp = tcpLastAck
		case tcpLastAck, tcpTimeWait, tcpClose:
		default:
			f.tcp = tcpFinWait
		}
	case flags&wire.ACK != 0:
		switch f.tcp {
		case tcpNone, tcpSynReceived:
			f.tcp = tcpEstablished
			f.assured = f.seenReply
		case tcpEstablished:
			f.assured = f.assured || f.seenReply
		case tcpFinWait:
			if dir == reply {
				f.tcp = tcpCloseWait
			}
		case tcpLastAck:
			f.tcp = tcpTimeWait
		}
	}
}

// confirm puts a flow into the table, once its first packet has come through;
// false if there is no room, or another one has taken its name.
func (t *tracker) confirm(now int64, p *Packet) bool {
	f := p.track.flow
	if f == nil || f.confirmed || p.track.related {
		return true
	}
	if p.track.reply {
		return true // it was removed meanwhile
	}
	for _, k := range f.tuples {
		if s, taken := t.find(now, k); taken && s.f != f {
			return false
		}
	}
	if t.count >= maxFlows && !t.shrink(now) {
		return false
	}
	if t.flows == nil {
		t.flows = map[tuple]side{}
	}
	f.confirmed = true
	t.flows[f.tuples[original]] = side{f, original}
	t.flows[f.tuples[reply]] = side{f, reply}
	t.count++
	t.event(FlowNew, f)
	if now-t.swept > 60*second {
		t.sweep(now)
	}
	return true
}

// shrink makes room: by what has expired, or one that nobody has answered.
func (t *tracker) shrink(now int64) bool {
	if now-t.swept > second {
		t.sweep(now)
	}
	if t.count < maxFlows {
		return true
	}
	n := 0
	for _, s := range t.flows {
		if !s.f.assured {
			t.remove(s.f)
			return true
		}
		if n++; n > 64 {
			break
		}
	}
	return false
}

func (t *tracker) sweep(now int64) {
	t.swept = now
	for _, s := range t.flows {
		if s.f.expires <= now {
			t.remove(s.f)
		}
	}
}

// ctState is the packet's state as a bit of NF_CT_STATE_*.
func (k *Track) state() uint32 {
	switch {
	case k.untracked:
		return stateUntracked
	case k.flow == nil:
		return stateInvalid
	case k.related:
		return stateRelated
	case k.reply || k.flow.seenReply:
		return stateEstablished
	}
	return stateNew
}

const (
	stateInvalid     = 1
	stateEstablished = 2
	stateRelated     = 4
	stateNew         = 8
	stateUntracked   = 64
)

// status is a flow's: IPS_* of linux/netfilter/nf_conntrack_common.h.
func (f *flow) status() uint32 {
	var v uint32
	for i, on := range []bool{false, f.seenReply, f.assured, f.confirmed, f.natSrc, f.natDst, false, f.srcDone, f.dstDone} {
		if on {
			v |= 1 << i
		}
	}
	return v
}
