package stack

import (
	"encoding/binary"
	"math/rand"
	"net/netip"
	"testing"

	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/wire"
)

// station is what is at the other side of a port.
type station struct {
	cable *link.Cable
	index int
	got   [][]byte
}

// bridged makes a stack with a bridge of three ports, the last of which takes no offload.
func withBridge(t testing.TB) (s *Stack, f *link.Fabric, br int, ports []*station) {
	s, f = New(), &link.Fabric{}
	s.Drive()
	add := func(c *link.Cable, kind ip.Kind, name string) int {
		index, err := s.AddInterface(InterfaceConfig{Name: name, Device: c, Kind: kind, MTU: 1500})
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	br = add(f.Dummy(link.Wiring{MAC: wire.MAC{2, 0, 0, 0, 0, 99}, Ether: true, Inside: true}), ip.Bridge, "br0")
	s.Do(func() { s.MakeBridgeLocked(br, true, false) })
	for n := range 3 {
		k := &station{}
		kind, mac := ip.Veth, wire.MAC{2, 0, 0, 0, 1, byte(n)}
		take := func(batch []*link.Packet) {
			for _, p := range batch {
				k.got = append(k.got, append(append([]byte(nil), p.Header...), p.Payload...))
			}
		}
		if n < 2 {
			near, far := f.Pair(link.Wiring{MAC: mac, Ether: true}, link.Wiring{MAC: wire.MAC{2, 0, 0, 0, 2, byte(n)}, Ether: true})
			far.Start(take)
			k.cable, k.index = far, add(near, kind, "p"+string(rune('0'+n)))
		} else {
			kind = ip.TAP
			k.cable = f.Program(link.Wiring{MAC: mac, Ether: true}, take)
			k.index = add(k.cable, kind, "tap0")
		}
		s.Do(func() {
			if err := s.JoinLocked(k.index, br); err != nil {
				t.Fatal(err)
			}
		})
		ports = append(ports, k)
	}
	return s, f, br, ports
}

func (k *station) send(f *link.Fabric, p *link.Packet) {
	if k.index > 0 && p != nil {
		k.cable.Send([]*link.Packet{p})
	}
	for f.Carry(1000) {
	}
}

// superFrame is a frame that stands for several segments, whose checksum is left to the device.
func superFrame(dst wire.MAC, payload int) *link.Packet {
	const n = wire.EthernetSize + wire.IPv4Size + wire.TCPSize
	b := make([]byte, n+payload)
	(&wire.EthernetHeader{Dst: dst, Src: wire.MAC{2, 0, 0, 0, 2, 0}, Type: wire.EtherIPv4}).Put(b)
	src, to := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	(&wire.IPv4Header{PayloadLen: wire.TCPSize + payload, TTL: 64, Protocol: wire.ProtoTCP, Src: src, Dst: to}).Put(b[wire.EthernetSize:])
	(&wire.TCPHeader{SrcPort: 1, DstPort: 2, Flags: wire.ACK, Options: wire.TCPOptions{WindowScale: -1}}).Put(b[n-wire.TCPSize:])
	binary.BigEndian.PutUint16(b[n-wire.TCPSize+16:], ^wire.Fold(wire.PseudoSum(src, to, wire.ProtoTCP, wire.TCPSize+payload)))
	return &link.Packet{Header: b, Offload: link.Offload{GSO: link.GSOTCP4, SegmentSize: 1000, HeaderSize: n, SumDue: true, SumStart: n - wire.TCPSize, SumOffset: 16}}
}

// A large segment passes whole between ports that take it, and is cut for one that does not.
func TestBridgeOffload(t *testing.T) {
	s, f, br, ports := withBridge(t)
	ports[0].send(f, superFrame(wire.MAC{2, 0, 0, 0, 2, 1}, 2500)) // to all: nobody has spoken yet
	if len(ports[1].got) != 1 || len(ports[1].got[0]) != 54+2500 {
		t.Error("to a port that takes it whole:", len(ports[1].got))
	}
	if len(ports[2].got) != 3 {
		t.Fatal("cut into", len(ports[2].got))
	}
	for i, b := range ports[2].got {
		h, err := wire.ParseIPv4(b[14:], len(b)-14)
		if err != nil || wire.Fold(wire.Sum(wire.PseudoSum(h.Src(), h.Dst(), wire.ProtoTCP, len(b)-34), b[34:])) != 0 {
			t.Error("piece", i, err)
		}
		if seq := binary.BigEndian.Uint32(b[38:]); seq != uint32(1000*i) {
			t.Error("piece", i, "at", seq)
		}
	}
	if len(ports[0].got) != 0 {
		t.Error("it comes back")
	}
	s.Do(func() { s.RemoveInterfaceLocked(br) })
	ports[0].send(f, superFrame(wire.Broadcast, 10))
	if len(ports[1].got) != 1 {
		t.Error("a bridge that is gone passes frames on")
	}
}

// FuzzBridgeFrames has any frames with any offloads come to ports, to a VLAN and to a macvlan.
func FuzzBridgeFrames(f *testing.F) {
	for _, p := range []*link.Packet{superFrame(wire.Broadcast, 100), superFrame(wire.MAC{2, 0, 0, 0, 0, 99}, 0)} {
		f.Add(p.Header, uint16(1000), uint16(54), uint16(34), uint16(16), byte(1))
		f.Add(append(append(append([]byte(nil), p.Header[:12]...), 0x81, 0, 0, 5), p.Header[12:]...), uint16(9), uint16(58), uint16(38), uint16(16), byte(2))
	}
	f.Fuzz(func(t *testing.T, frame []byte, segment, head, start, offset uint16, kind byte) {
		s, fabric, _, ports := withBridge(t)
		defer s.Close()
		near, far := fabric.Pair(link.Wiring{Ether: true}, link.Wiring{Ether: true, Plain: true})
		vlan := &Upper{VLAN: 5, MAC: func() [6]byte { return [6]byte{} }, Near: near}
		macNear, macFar := fabric.Pair(link.Wiring{Ether: true}, link.Wiring{Ether: true})
		mac := &Upper{Mode: MacvlanBridge, MAC: func() [6]byte { return [6]byte{2, 0, 0, 0, 2, 1} }, Near: macNear}
		s.Do(func() {
			s.LayLocked(ports[0].index, vlan)
			s.LayLocked(ports[1].index, vlan)
			s.JoinLocked(ports[1].index, 0)
			s.LayLocked(ports[1].index, mac)
		})
		r := rand.New(rand.NewSource(int64(kind)))
		for _, c := range []*link.Cable{ports[0].cable, ports[1].cable, far, macFar} {
			o := link.Offload{GSO: link.GSO(kind % 4), SegmentSize: segment, HeaderSize: head, SumDue: kind&4 != 0, SumStart: start, SumOffset: offset}
			cut := 0
			if len(frame) > 0 {
				cut = r.Intn(len(frame) + 1)
			}
			c.Send([]*link.Packet{{Header: frame[:cut], Payload: frame[cut:], Offload: o}, {Header: frame, Offload: o}})
			for range 100 {
				if !fabric.Carry(1000) {
					break
				}
			}
		}
	})
}
