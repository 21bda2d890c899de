// Package egress holds what leaves a sandbox against its policy, in front of a
// device, where nothing that the guest asks of the stack goes past it.
//
// What answers somebody outside who spoke first may leave in any case. A packet
// that cannot be read may not. Who sent what may not leave is told so by ICMP, or by
// DNS where it was a question, and the log has each flow once.
package egress

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"sync"

	"bulkhead/services/netd/link"
	"bulkhead/services/netd/policy"
	"bulkhead/services/netd/wire"
)

// maxPeers bounds what is kept of those outside who spoke first, and of flows that a
// name has let out: beyond it those go that were quiet for longest. maxLogged is how
// much that was refused is logged once.
const (
	maxPeers  = 1 << 17
	maxLogged = 1 << 12
)

// Guard puts p before d. Each refusal is logged, once for a flow.
func Guard(d link.Device, p policy.Policy, log *slog.Logger) link.Device {
	if len(p.Rules) == 0 {
		return d
	}
	g := &guard{Device: d, policy: p, log: log, peers: map[key]struct{}{}, logged: map[flow]struct{}{}, answers: make(chan []byte, maxAnswers), done: make(chan struct{})}
	if p.Named() {
		g.names = newNames(p)
	}
	return g
}

type guard struct {
	link.Device
	policy policy.Policy
	log    *slog.Logger
	out    []*link.Packet // of one Send, which its caller serialises
	logged map[flow]struct{}
	names  *names // nil without rules by name

	answers chan []byte // frames for the guest
	done    chan struct{}
	ended   sync.WaitGroup

	mu     sync.Mutex // guards these
	peers  map[key]struct{}
	before map[key]struct{} // peers, until there were half of maxPeers
}

// flow is what is logged once; the zero one is what cannot be read.
type flow struct {
	protocol uint8
	to       netip.Addr
	port     uint16
	name     string
}

// key names a flow by its outer and inner ends. A neighbour that has spoken may be told
// by neighbour discovery, and nothing else.
type key struct {
	protocol     uint8
	neighbour    bool
	outer        netip.Addr
	port, inPort uint16
}

// key is that of a packet with these ends.
func (h *head) key(outer netip.Addr, port, inPort uint16) key {
	return key{h.protocol, h.discovery, outer, port, inPort}
}

// Send sends what may leave.
func (g *guard) Send(batch []*link.Packet) {
	g.out = g.out[:0]
	for _, p := range batch {
		if g.allows(p) {
			g.out = append(g.out, p)
		}
	}
	if len(g.out) > 0 {
		g.Device.Send(g.out)
	}
	clear(g.out)
}

// Start notes who speaks first.
func (g *guard) Start(sink link.Sink) error {
	g.ended.Add(1)
	go g.answer(sink)
	return g.Device.Start(func(batch []*link.Packet) {
		for _, p := range batch {
			g.note(p)
		}
		sink(batch)
	})
}

func (g *guard) allows(p *link.Packet) bool {
	h, kind := g.read(p)
	switch {
	case kind == unreadable || p.Offload.SumDue && !h.summed(p):
		g.refused(flow{})
		return false
	case kind == chores:
		return true
	}
	f := policy.Flow{Protocol: h.protocol, To: h.dst, Port: h.dstPort}
	if g.names != nil && g.names.asked(&h) {
		return g.question(p, &h, f)
	}
	if g.knows(&h) {
		return true
	}
	if g.names != nil {
		f.Names = g.names.of(h.dst)
	}
	if g.policy.Allows(f) {
		if g.names != nil {
			g.names.readAlong(&h, true)
		}
		if len(f.Names) > 0 {
			g.know(&h, h.dst, h.dstPort, h.srcPort) // it goes on when the answer is too old
		}
		return true
	}
	g.refused(flow{protocol: f.Protocol, to: f.To, port: f.Port})
	g.prohibit(&h)
	return false
}

// question lets a question to a resolver pass if it is for a name that the rules
// allow, or the resolver is allowed everything; else it answers that it is refused.
func (g *guard) question(p *link.Packet, h *head, f policy.Flow) bool {
	f.Names = g.names.of(h.dst)
	q, ok := parseQuestion(h, p.Offload.GSO != link.GSONone)
	if ok {
		g.names.expect(h, q)
		if g.policy.Resolves(q.name) {
			return true
		}
	}
	if g.policy.Allows(f) {
		return true
	}
	g.refused(flow{protocol: f.Protocol, to: f.To, port: f.Port, name: q.name})
	if ok {
		g.refuse(h, q)
	} else {
		g.prohibit(h)
	}
	return false
}

// refused logs a flow that may not leave, once.
func (g *guard) refused(f flow) {
	if _, done := g.logged[f]; done || len(g.logged) > maxLogged {
		return
	}
	g.logged[f] = struct{}{}
	switch {
	case len(g.logged) > maxLogged:
		g.log.Warn("egress refused", "why", "many flows; no other is logged")
	case f.name != "":
		g.log.Warn("egress refused", "name", f.name, "resolver", f.to)
	case !f.to.IsValid():
		g.log.Warn("egress refused", "why", "a packet that cannot be read")
	default:
		g.log.Warn("egress refused", "protocol", f.protocol, "to", f.to, "port", f.port)
	}
}

// knows says whether a packet of the guest's belongs to a flow that know was told of.
func (g *guard) knows(h *head) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := h.key(h.dst, h.dstPort, h.srcPort)
	if _, known := g.peers[k]; known {
		return true
	}
	_, known := g.before[k]
	if known {
		g.knowLocked(k)
	}
	return known
}

// know takes note of a flow whose packets may leave from now on.
func (g *guard) know(h *head, outer netip.Addr, port, inPort uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.knowLocked(h.key(outer, port, inPort))
}

// knowLocked forgets, when there are many, those that nothing was sent to since the last
// time: whoever floods the sandbox, or ever so many clients, must not keep others out.
func (g *guard) knowLocked(k key) {
	if _, known := g.peers[k]; !known && len(g.peers) >= maxPeers/2 {
		g.before, g.peers = g.peers, make(map[key]struct{})
	}
	g.peers[k] = struct{}{}
}

func (g *guard) note(p *link.Packet) {
	h, kind := g.read(p)
	if g.names != nil && kind == packet {
		if g.names.learn(&h) {
			return
		}
		g.names.readAlong(&h, false)
	}
	if kind == chores && h.near && h.src.IsValid() { // its global address, by a message to our local one
		h.discovery, h.opens, kind = true, true, packet
	}
	if kind != packet || h.protocol == policy.TCP && !h.opens || h.protocol != policy.TCP && h.protocol != policy.UDP && !h.opens {
		return
	}
	g.know(&h, h.src, h.srcPort, h.dstPort)
}

// head is what of a packet counts.
type head struct {
	protocol         uint8
	src, dst         netip.Addr
	srcPort, dstPort uint16
	opens            bool // TCP: SYN alone; ICMP: asks for an answer; a neighbour's discovery
	discovery        bool // neighbour discovery that could leave the link
	near             bool // it has not been forwarded, or cannot be: RFC 4861, section 3.1

	at         int    // where what follows the IP headers begins in the packet's Header
	ip         []byte // from the IP header on, as far as it is in one piece
	body, rest []byte // what follows the IP headers, in two pieces
}

// What read has read.
const (
	packet     = iota
	chores     // of the link: ARP, neighbour discovery
	unreadable // and therefore suspect
)

func (g *guard) read(p *link.Packet) (h head, kind int) {
	b := p.Header
	if _, ok := g.MAC(); ok {
		e, err := wire.ParseEthernet(b)
		if err != nil {
			return h, unreadable
		}
		switch b = b[wire.EthernetSize:]; e.Type() {
		case wire.EtherARP:
			return h, chores
		case wire.EtherIPv4, wire.EtherIPv6:
		default:
			return h, unreadable
		}
	}
	if len(b) == 0 {
		return h, unreadable
	}
	size, later, whole := len(b)+len(p.Payload), false, b
	switch b[0] >> 4 {
	case 4:
		ip, err := wire.ParseIPv4(b, size)
		// A route that the sender writes would lead past the address.
		if err != nil || len(ip) > wire.IPv4Size && ip.Protocol() != wire.ProtoIGMP {
			return h, unreadable
		}
		h = head{protocol: ip.Protocol(), src: ip.Src(), dst: ip.Dst()}
		later, b = ip.FragmentOffset() > 0, b[len(ip):]
	case 6:
		ip, err := wire.ParseIPv6(b, size)
		if err != nil {
			return h, unreadable
		}
		proto, n, err := wire.Extensions(ip.NextHeader(), b[wire.IPv6Size:])
		if err != nil || proto == wire.ProtoFragment {
			return h, unreadable
		}
		if routed(ip.NextHeader(), b[wire.IPv6Size:][:n]) {
			return h, unreadable // as in IPv4
		}
		h = head{protocol: proto, src: ip.Src(), dst: ip.Dst(), near: ip.HopLimit() == 255}
		b = b[wire.IPv6Size+n:]
	default:
		return h, unreadable
	}
	h.ip, h.at = whole, len(p.Header)-len(b)
	if later {
		return h, packet // its first piece, which has the ports, decides
	}
	return h.transport(b, p.Payload)
}

// summed says whether the checksum that the device is to fill in is that of the transport
// header. Elsewhere it would be written over what was looked at: an interface of the
// guest's own lets a program say where.
func (h *head) summed(p *link.Packet) bool {
	place := map[uint8]uint16{wire.ProtoTCP: 16, wire.ProtoUDP: 6}[h.protocol]
	return place > 0 && h.body != nil && int(p.Offload.SumStart) == h.at && p.Offload.SumOffset == place
}

// routed says whether one of the extension headers in b, which have been checked, is a
// routing header: RFC 8200, section 4.4.
func routed(next uint8, b []byte) bool {
	for len(b) > 0 && next != wire.ProtoRouting {
		next, b = b[0], b[8+int(b[1])*8:]
	}
	return len(b) > 0
}

// transport reads what follows the IP header; rest is read where b ends there.
func (h head) transport(b, rest []byte) (head, int) {
	if len(b) == 0 {
		b, rest = rest, nil
	}
	h.body, h.rest = b, rest
	switch h.protocol {
	case wire.ProtoTCP:
		if len(b) < 14 {
			return h, unreadable
		}
		h.opens = b[13]&(wire.SYN|wire.ACK) == wire.SYN
	case wire.ProtoUDP:
		if len(b) < 4 {
			return h, unreadable
		}
	case wire.ProtoICMPv6:
		if len(b) == 0 {
			return h, unreadable
		}
		if b[0] >= 133 && b[0] <= 137 { // RFC 4861
			// What no router forwards is the link's. The rest is for neighbours who
			// have been heard of, and for others if the rules say so.
			if h.dst.IsLinkLocalUnicast() || h.dst.IsLinkLocalMulticast() {
				return h, chores
			}
			h.discovery, h.opens = true, h.near
			return h, packet
		}
		h.opens = b[0] == 128
		return h, packet
	case wire.ProtoICMP:
		h.opens = len(b) > 0 && b[0] == 8 // echo: RFC 792
		return h, packet
	default:
		return h, packet
	}
	h.srcPort, h.dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return h, packet
}
