package egress

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"bulkhead/services/netd/link"
	"bulkhead/services/netd/policy"
	"bulkhead/services/netd/wire"
)

// device counts what it is given, and has no Ethernet header.
type device struct{ sent int }

func (d *device) Send(b []*link.Packet)   { d.sent += len(b) }
func (d *device) Start(link.Sink) error   { return nil }
func (d *device) Close() error            { return nil }
func (d *device) MTU() int                { return 1500 }
func (d *device) MAC() ([6]byte, bool)    { return [6]byte{}, false }
func (d *device) Features() link.Features { return link.Features{} }

func guarded(rules ...string) (*device, *guard) {
	p, err := policy.Parse(rules)
	if err != nil {
		panic(err)
	}
	d := &device{}
	return d, Guard(d, p, slog.New(slog.DiscardHandler)).(*guard)
}

func udp(src, dst string, srcPort, dstPort byte) *link.Packet {
	h := wire.IPv4Header{PayloadLen: 8, TTL: 64, Protocol: wire.ProtoUDP, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}
	b := make([]byte, wire.IPv4Size+8)
	h.Put(b)
	b[21], b[23], b[25] = srcPort, dstPort, 8
	return &link.Packet{Header: b}
}

func TestAnswersMayLeave(t *testing.T) {
	d, g := guarded("allow udp:10.0.0.9:53")
	g.Send([]*link.Packet{udp("10.0.0.1", "10.0.0.9", 7, 53), udp("10.0.0.1", "10.0.0.9", 7, 54), udp("10.0.0.1", "10.0.0.8", 7, 53)})
	if d.sent != 1 {
		t.Errorf("%d packets left, one may", d.sent)
	}
	g.note(udp("10.0.0.8", "10.0.0.1", 53, 7))
	g.Send([]*link.Packet{udp("10.0.0.1", "10.0.0.8", 7, 53), udp("10.0.0.1", "10.0.0.8", 8, 53)})
	if d.sent != 2 {
		t.Errorf("%d packets left, the answer and one more may", d.sent)
	}
}

// message is a DNS message in a datagram; known are the addresses that an answer
// gives to the name, by way of an alias.
func message(src, dst string, srcPort, dstPort uint16, id uint16, name string, answer bool, known ...string) *link.Packet {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: answer}, Questions: []dnsmessage.Question{q}}
	alias := dnsmessage.MustNewName("alias.of.it.")
	for _, a := range known {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: alias, Class: dnsmessage.ClassINET, TTL: 5}, Body: &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()}})
	}
	if answer {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 5}, Body: &dnsmessage.CNAMEResource{CNAME: alias}})
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	h := wire.IPv4Header{PayloadLen: 8 + len(b), TTL: 64, Protocol: wire.ProtoUDP, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}
	head := make([]byte, wire.IPv4Size+8)
	h.Put(head)
	(&wire.UDPHeader{SrcPort: srcPort, DstPort: dstPort, PayloadLen: len(b)}).Put(head[wire.IPv4Size:])
	return &link.Packet{Header: head, Payload: b}
}

// An address may be reached once a resolver has said, asked by the guest, that an
// allowed name stands for it, and for as long as that counts.
func TestNames(t *testing.T) {
	d, g := guarded("allow udp:good.example:9", "resolver 10.0.0.9")
	now := time.Unix(1e9, 0)
	g.names.now = func() time.Time { return now }
	left := func(want int, what string, p *link.Packet) {
		t.Helper()
		d.sent = 0
		g.Send([]*link.Packet{p})
		if d.sent != want {
			t.Errorf("%s: %d left, want %d", what, d.sent, want)
		}
	}
	const guest, resolver, there = "10.0.0.1", "10.0.0.9", "10.0.7.7"
	left(0, "before the name is known", udp(guest, there, 7, 9))
	g.note(message(resolver, guest, 53, 1000, 5, "good.example", true, there))
	left(0, "an answer without a question", udp(guest, there, 7, 9))
	left(0, "a question for another name", message(guest, resolver, 1000, 53, 5, "evil.example", false))
	left(1, "the question", message(guest, resolver, 1000, 53, 5, "GOOD.example", false))
	left(0, "a question to somebody else", message(guest, "10.0.0.8", 1000, 53, 5, "good.example", false))
	g.note(message("10.0.0.8", guest, 53, 1000, 5, "good.example", true, "10.0.6.6"))
	g.note(message(resolver, guest, 53, 1000, 6, "good.example", true, "10.0.6.6"))
	left(0, "an answer of somebody else, or to another question", udp(guest, "10.0.6.6", 7, 9))
	g.note(message(resolver, guest, 53, 1000, 5, "good.example", true, there))
	left(1, "afterwards", udp(guest, there, 7, 9))
	left(0, "another port", udp(guest, there, 7, 10))
	now = now.Add(time.Hour)
	left(1, "the same flow later", udp(guest, there, 7, 9))
	left(0, "a new one, later", udp(guest, there, 8, 9))
	if g.policy.Rules[0].Name != "good.example" {
		t.Error(g.policy)
	}
}

// What may not leave is answered.
func TestRefusals(t *testing.T) {
	_, g := guarded("allow tcp:good.example", "resolver 10.0.0.9")
	g.Send([]*link.Packet{udp("10.0.0.1", "10.0.7.7", 7, 9), message("10.0.0.1", "10.0.0.9", 1000, 53, 5, "evil.example", false)})
	b := <-g.answers
	h, err := wire.ParseIPv4(b, len(b))
	if err != nil || h.Src() != netip.MustParseAddr("10.0.7.7") || h.Dst() != netip.MustParseAddr("10.0.0.1") || b[20] != wire.ICMPUnreachable || b[21] != 13 {
		t.Errorf("%v: %x", err, b)
	}
	b = <-g.answers
	var m dnsmessage.Message
	if err := m.Unpack(b[28:]); err != nil || m.ID != 5 || m.RCode != dnsmessage.RCodeRefused || !m.Response {
		t.Errorf("%v: %+v", err, m)
	}
	u := wire.UDP(b[20:28])
	if sum := wire.PseudoSum(netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.1"), wire.ProtoUDP, len(b)-20); wire.Fold(wire.Sum(sum, b[20:])) != 0 || u.DstPort() != 1000 {
		t.Error("the datagram is wrong")
	}
}

// segmentOf is a packet of TCP.
func segmentOf(src, dst string, srcPort, dstPort uint16, flags uint8, seq uint32, payload []byte) *link.Packet {
	t := wire.TCPHeader{SrcPort: srcPort, DstPort: dstPort, Seq: seq, Flags: flags, Options: wire.TCPOptions{WindowScale: -1}}
	b := make([]byte, wire.IPv4Size+t.Size())
	(&wire.IPv4Header{PayloadLen: t.Size() + len(payload), TTL: 64, Protocol: wire.ProtoTCP, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}).Put(b)
	t.Put(b[wire.IPv4Size:])
	return &link.Packet{Header: append(b, payload...)}
}

// What a resolver answers over TCP counts too, in however many segments, if the guest
// asked for it there.
func TestNamesOverTCP(t *testing.T) {
	const guest, resolver, good = "10.0.0.1", "10.0.0.9", "198.51.100.7"
	prefixed := func(p *link.Packet) []byte {
		b := p.Payload
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	for _, c := range []struct {
		name   string
		asked  string // what the guest asks for
		cut    int    // where the answer is cut in two
		gap    uint32 // lost before the second part
		learns bool
	}{
		{"in one", "good.example", 0, 0, true}, {"in two", "good.example", 1, 0, true}, {"cut later", "good.example", 30, 0, true},
		{"with a gap", "good.example", 30, 5, false}, {"not asked for", "other.example", 0, 0, false},
	} {
		d, g := guarded("allow good.example", "allow tcp:"+resolver+":53", "resolver "+resolver)
		q := prefixed(message(guest, resolver, 700, 53, 9, c.asked, false))
		a := prefixed(message(resolver, guest, 53, 700, 9, "good.example", true, good))
		g.Send([]*link.Packet{segmentOf(guest, resolver, 700, 53, wire.SYN, 100, nil)})
		g.note(segmentOf(resolver, guest, 53, 700, wire.SYN|wire.ACK, 900, nil))
		g.Send([]*link.Packet{segmentOf(guest, resolver, 700, 53, wire.ACK, 101, q)})
		g.note(segmentOf(resolver, guest, 53, 700, wire.ACK, 901, a[:c.cut]))
		g.note(segmentOf(resolver, guest, 53, 700, wire.ACK, 901+uint32(c.cut)+c.gap, a[c.cut:]))
		before := d.sent
		g.Send([]*link.Packet{segmentOf(guest, good, 701, 443, wire.SYN, 1, nil)})
		if learnt := d.sent > before; learnt != c.learns {
			t.Errorf("%s: learnt: %v", c.name, learnt)
		}
	}
}

// Whatever comes over TCP, what is kept of it is bounded.
func FuzzNamesOverTCP(f *testing.F) {
	f.Add(uint32(901), uint8(wire.ACK), []byte{0, 1, 2}, true)
	f.Fuzz(func(t *testing.T, seq uint32, flags uint8, b []byte, out bool) {
		_, g := guarded("allow good.example", "allow tcp:10.0.0.9:53", "resolver 10.0.0.9")
		g.Send([]*link.Packet{segmentOf("10.0.0.1", "10.0.0.9", 700, 53, wire.SYN, 100, nil)})
		g.note(segmentOf("10.0.0.9", "10.0.0.1", 53, 700, wire.SYN|wire.ACK, 900, nil))
		for range 3 {
			if out {
				g.Send([]*link.Packet{segmentOf("10.0.0.1", "10.0.0.9", 700, 53, flags, seq, b)})
			} else {
				g.note(segmentOf("10.0.0.9", "10.0.0.1", 53, 700, flags, seq, b))
			}
			seq += uint32(len(b))
		}
		for _, s := range g.names.streams {
			if len(s.in.held) > 4*maxPending || len(s.out.held) > 4*maxPending {
				t.Error("too much is kept")
			}
		}
		if len(g.names.addresses) > 0 {
			t.Error("learnt what nobody asked for")
		}
	})
}

// Whatever a resolver says, reading it ends, and only what was asked for is learnt.
func FuzzNames(f *testing.F) {
	a := message("10.0.0.9", "10.0.0.1", 53, 1000, 5, "good.example", true, "10.0.7.7")
	f.Add(a.Payload, false)
	f.Add(message("10.0.0.1", "10.0.0.9", 1000, 53, 5, "good.example", false).Payload, true)
	f.Fuzz(func(t *testing.T, b []byte, out bool) {
		if len(b) > 60000 {
			return
		}
		_, g := guarded("allow tcp:good.example", "resolver 10.0.0.9")
		g.Send([]*link.Packet{message("10.0.0.1", "10.0.0.9", 1000, 53, 5, "good.example", false)})
		src, dst, sp, dp := "10.0.0.9", "10.0.0.1", uint16(53), uint16(1000)
		if out {
			src, dst, sp, dp = dst, src, dp, sp
		}
		h := wire.IPv4Header{PayloadLen: 8 + len(b), TTL: 64, Protocol: wire.ProtoUDP, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}
		head := make([]byte, wire.IPv4Size+8)
		h.Put(head)
		(&wire.UDPHeader{SrcPort: sp, DstPort: dp, PayloadLen: len(b)}).Put(head[wire.IPv4Size:])
		p := &link.Packet{Header: head, Payload: b}
		if out {
			g.Send([]*link.Packet{p})
			if len(g.names.addresses) > 0 {
				t.Error("learnt from the guest")
			}
			return
		}
		g.note(p)
		for _, of := range g.names.addresses {
			for name := range of {
				if name != "good.example" {
					t.Errorf("learnt %q", name)
				}
			}
		}
	})
}

// Whatever the bytes, reading them ends, and what cannot be read stays.
func FuzzGuard(f *testing.F) {
	f.Add(udp("10.0.0.1", "10.0.0.9", 7, 53).Header, []byte(nil))
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		d, g := guarded("deny *")
		p := &link.Packet{Header: head, Payload: rest}
		if _, kind := g.read(p); kind == chores {
			return
		}
		g.Send([]*link.Packet{p})
		if d.sent != 0 {
			t.Error("it left")
		}
		g.note(p)
	})
}

// ip6 is a packet with extension headers, if there are any, before body.
func ip6(src, dst string, hops, next uint8, extensions, body []byte) *link.Packet {
	h := wire.IPv6Header{PayloadLen: len(extensions) + len(body), NextHeader: next, HopLimit: hops, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}
	b := make([]byte, wire.IPv6Size)
	h.Put(b)
	return &link.Packet{Header: append(append(b, extensions...), body...)}
}

// TestDiscoveryStaysOnTheLink: it is no way to talk to the world.
func TestDiscoveryStaysOnTheLink(t *testing.T) {
	solicit := func(dst string) *link.Packet {
		return ip6("2001:db8::1", dst, 255, wire.ProtoICMPv6, nil, append([]byte{135, 0, 0, 0}, "anything at all"...))
	}
	d, g := guarded("allow tcp:*:443")
	for dst, left := range map[string]int{"ff02::1:ff00:9": 1, "fe80::9": 1, "2001:db8::9": 0, "ff05::9": 0, "2600::1": 0} {
		d.sent = 0
		if g.Send([]*link.Packet{solicit(dst)}); d.sent != left {
			t.Errorf("to %s: %d left, want %d", dst, d.sent, left)
		}
	}
	// A neighbour that has asked is told, by discovery alone. Only a neighbour has 255.
	g.note(ip6("2001:db8::8", "2001:db8::1", 254, wire.ProtoICMPv6, nil, []byte{135, 0, 0, 0}))
	g.note(ip6("2001:db8::9", "ff02::1:ff00:1", 255, wire.ProtoICMPv6, nil, []byte{135, 0, 0, 0}))
	d.sent = 0
	echo := ip6("2001:db8::1", "2001:db8::9", 64, wire.ProtoICMPv6, nil, []byte{128, 0, 0, 0, 0, 0, 0, 0})
	if g.Send([]*link.Packet{solicit("2001:db8::8"), solicit("2001:db8::9"), echo}); d.sent != 1 {
		t.Errorf("%d left, want what the neighbour is told", d.sent)
	}
}

// TestRoutingHeader: where a packet goes next is not where it goes.
func TestRoutingHeader(t *testing.T) {
	d, g := guarded("allow [2001:db8::9]")
	datagram := []byte{0, 7, 0, 53, 0, 8, 0, 0}
	routing := append([]byte{wire.ProtoUDP, 2, 4, 1, 0, 0, 0, 0}, netip.MustParseAddr("2600::1").AsSlice()...)
	options := []byte{wire.ProtoRouting, 0, 1, 4, 0, 0, 0, 0}
	for i, c := range []struct {
		next       uint8
		extensions []byte
		left       int
	}{
		{wire.ProtoUDP, nil, 1},
		{wire.ProtoDestOpts, []byte{wire.ProtoUDP, 0, 1, 4, 0, 0, 0, 0}, 1},
		{wire.ProtoRouting, routing, 0},
		{wire.ProtoHopByHop, append(options, routing...), 0},
	} {
		d.sent = 0
		if g.Send([]*link.Packet{ip6("2001:db8::1", "2001:db8::9", 64, c.next, c.extensions, datagram)}); d.sent != c.left {
			t.Errorf("%d: %d left, want %d", i, d.sent, c.left)
		}
	}
}

// TestManyPeers: whoever comes after many others is answered, and who goes on is kept.
func TestManyPeers(t *testing.T) {
	d, g := guarded("allow tcp:*:443")
	note := func(i int) {
		h := head{protocol: wire.ProtoUDP}
		g.know(&h, netip.AddrFrom4([4]byte{10, 1, byte(i >> 16), byte(i >> 8)}), uint16(i), 53)
	}
	g.note(udp("10.0.0.8", "10.0.0.1", 9, 7))
	for i := range 3 * maxPeers {
		if note(i); i%1000 == 0 {
			d.sent = 0
			if g.Send([]*link.Packet{udp("10.0.0.1", "10.0.0.8", 7, 9)}); d.sent != 1 {
				t.Fatalf("after %d others an answer no longer leaves", i)
			}
		}
	}
	d.sent = 0
	g.note(udp("10.0.0.9", "10.0.0.1", 9, 7))
	if g.Send([]*link.Packet{udp("10.0.0.1", "10.0.0.9", 7, 9)}); d.sent != 1 {
		t.Error("who came last is not answered")
	}
	if n := len(g.peers) + len(g.before); n > maxPeers {
		t.Errorf("%d are kept", n)
	}
}

// TestSumElsewhere: the checksum that a device fills in is not written over what was looked at.
func TestSumElsewhere(t *testing.T) {
	d, g := guarded("allow 10.0.0.9", "allow [2001:db8::9]", "allow udp:10.0.0.8:53")
	datagram := udp("10.0.0.1", "10.0.0.9", 7, 53)
	later := udp("10.0.0.1", "10.0.0.9", 7, 53)
	later.Header[7] = 1 // its offset
	segment := segmentOf("10.0.0.1", "10.0.0.9", 7, 443, wire.SYN, 1, nil)
	datagram6 := ip6("2001:db8::1", "2001:db8::9", 64, wire.ProtoDestOpts, []byte{wire.ProtoUDP, 0, 1, 4, 0, 0, 0, 0}, []byte{0, 7, 0, 53, 0, 8, 0, 0})
	neighbour := ip6("fe80::1", "fe80::9", 255, wire.ProtoICMPv6, nil, append([]byte{135, 0, 0, 0}, "anything at all"...))
	for i, c := range []struct {
		p             *link.Packet
		start, offset uint16
		left          int
	}{
		{datagram, 20, 6, 1}, {datagram, 20, 2, 0}, {datagram, 14, 2, 0}, {datagram, 16, 6, 0}, {datagram, 20, 16, 0},
		{udp("10.0.0.1", "10.0.0.8", 7, 53), 20, 2, 0},
		{segment, 20, 16, 1}, {segment, 20, 6, 0}, {segment, 0, 16, 0},
		{later, 20, 6, 0}, {later, 0, 16, 0},
		{datagram6, 48, 6, 1}, {datagram6, 40, 6, 0},
		{neighbour, 40, 2, 0},
	} {
		d.sent = 0
		c.p.Offload = link.Offload{SumDue: true, SumStart: c.start, SumOffset: c.offset}
		if g.Send([]*link.Packet{c.p}); d.sent != c.left {
			t.Errorf("%d: %d left, want %d", i, d.sent, c.left)
		}
	}
}
