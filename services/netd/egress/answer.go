package egress

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"

	"bulkhead/services/netd/icmp"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// maxAnswers is how many answers to what may not leave wait; those beyond are lost.
const maxAnswers = 64

// answer gives the guest's stack what it is told, apart from the device's own
// goroutine and from the stack's, which is at its Send when the answer is made.
func (g *guard) answer(sink link.Sink) {
	defer g.ended.Done()
	for {
		select {
		case b := <-g.answers:
			sink([]*link.Packet{{Header: b}})
		case <-g.done:
			return
		}
	}
}

// Close ends the device and the answers.
func (g *guard) Close() error {
	err := g.Device.Close()
	select {
	case <-g.done:
	default:
		close(g.done)
	}
	g.ended.Wait()
	return err
}

// prohibit says by ICMP that a packet may not leave, where an error may be sent: RFC
// 1122, section 3.2.2.
func (g *guard) prohibit(h *head) {
	v6 := h.src.Is6()
	if !h.src.IsValid() || h.src.IsUnspecified() || h.dst.IsMulticast() || h.dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || icmp.IsError(v6, h.ip) {
		return
	}
	quote := append(append([]byte(nil), h.ip...), h.rest...)
	limit := icmp.Quote4
	if v6 {
		limit = icmp.Quote6
	}
	quote = quote[:min(len(quote), limit)]
	m := make([]byte, wire.ICMPSize, wire.ICMPSize+len(quote))
	e := icmp.ErrorHeader(v6, icmp.Prohibited)
	e.Put(m)
	m = append(m, quote...)
	proto := uint8(wire.ProtoICMP)
	if v6 {
		proto = wire.ProtoICMPv6
	}
	wire.ICMP(m).PutChecksum(wire.ICMPSum(v6, h.dst, h.src, m, nil))
	g.give(h, proto, m)
}

// refuse answers a question: REFUSED, of RFC 1035, section 4.1.1.
func (g *guard) refuse(h *head, q question) {
	b := dnsmessage.NewBuilder(make([]byte, wire.UDPSize, 512), dnsmessage.Header{ID: q.id, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: dnsmessage.RCodeRefused})
	if b.StartQuestions() != nil || b.Question(q.asked) != nil {
		return
	}
	m, err := b.Finish()
	if err != nil {
		return
	}
	(&wire.UDPHeader{SrcPort: h.dstPort, DstPort: h.srcPort, PayloadLen: len(m) - wire.UDPSize}).Put(m)
	sum := wire.PseudoSum(h.dst, h.src, wire.ProtoUDP, len(m))
	wire.UDP(m[:wire.UDPSize]).PutChecksum(wire.Fold(wire.Sum(sum, m)))
	g.give(h, wire.ProtoUDP, m)
}

// give has the guest receive a message from where h was going.
func (g *guard) give(h *head, proto uint8, m []byte) {
	room, size := 0, wire.IPv4Size
	mac, ether := g.MAC()
	if ether {
		room = wire.EthernetSize
	}
	if h.src.Is6() {
		size = wire.IPv6Size
	}
	b := make([]byte, room+size, room+size+len(m))
	e := wire.EthernetHeader{Dst: mac, Src: mac, Type: wire.EtherIPv4}
	if h.src.Is6() {
		e.Type = wire.EtherIPv6
		(&wire.IPv6Header{PayloadLen: len(m), NextHeader: proto, HopLimit: 64, Src: h.dst, Dst: h.src}).Put(b[room:])
	} else {
		(&wire.IPv4Header{PayloadLen: len(m), TTL: 64, Protocol: proto, Src: h.dst, Dst: h.src}).Put(b[room:])
	}
	if ether {
		e.Put(b)
	}
	select {
	case g.answers <- append(b, m...):
	default:
	}
}
