package egress

import (
	"log/slog"
	"net/netip"
	"testing"

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
