package server

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/wire"
)

func change(n uint32, c *netdv1.Change) *netdv1.Request {
	return &netdv1.Request{Socket: n << spaceShift, Op: &netdv1.Request_Change{Change: c}}
}

func newLink(kind, name string, at uint32, peer string, peerAt uint32) *netdv1.Change {
	m := &netdv1.NewLink{Kind: kind, Link: &netdv1.NewInterface{Name: name, Space: at}}
	if peer != "" {
		m.Peer = &netdv1.NewInterface{Name: peer, Space: peerAt}
	}
	return &netdv1.Change{What: &netdv1.Change_NewLink{NewLink: m}}
}

func setLink(c *netdv1.LinkChange) *netdv1.Change {
	return &netdv1.Change{What: &netdv1.Change_Link{Link: c}}
}

func addAddress(index uint32, bits uint32, a ...byte) *netdv1.Change {
	return &netdv1.Change{What: &netdv1.Change_Address{Address: &netdv1.AddressChange{Index: index, Prefix: &netdv1.Prefix{Address: a, Bits: bits}}}}
}

// links are the interfaces of a space by name.
func (s *sentry) links(n uint32) map[string]*netdv1.Interface {
	resp, _ := s.ask(&netdv1.Request{Socket: n << spaceShift, Op: &netdv1.Request_Interfaces{Interfaces: &netdv1.InterfaceQuery{}}})
	out := map[string]*netdv1.Interface{}
	for _, i := range resp.Interfaces {
		out[i.Name] = i
	}
	return out
}

// A pair between two spaces carries datagrams, and goes with either.
func TestPairBetweenSpaces(t *testing.T) {
	s := start(t)
	s.want("space", space(1, false), 0)
	s.want("no such space", change(0, newLink("veth", "a", 0, "b", 9)), linux.EINVAL)
	s.want("pair", change(0, newLink("veth", "a", 0, "b", 1)), 0)
	s.want("again", change(0, newLink("veth", "a", 0, "c", 1)), linux.EEXIST)
	a, b := s.links(0)["a"], s.links(1)["b"]
	if a == nil || b == nil || a.Peer != b.Index || a.PeerNamespace != 1 || len(s.links(1)) != 2 || b.Kind != "veth" {
		t.Fatalf("%v and %v", a, b)
	}
	up := true
	s.want("up", change(0, setLink(&netdv1.LinkChange{Index: a.Index, Up: &up})), 0)
	if f := s.links(0)["a"].Flags; f&unix.IFF_RUNNING != 0 {
		t.Errorf("it has a carrier while the other end is down: %#x", f)
	}
	s.want("up", change(1, setLink(&netdv1.LinkChange{Index: b.Index, Up: &up})), 0)
	if f := s.links(0)["a"].Flags; f&unix.IFF_RUNNING == 0 {
		t.Errorf("it has no carrier: %#x", f)
	}
	s.want("address", change(0, addAddress(a.Index, 24, 10, 8, 0, 1)), 0)
	s.want("address", change(1, addAddress(b.Index, 24, 10, 8, 0, 2)), 0)
	s.want("listen", &netdv1.Request{Socket: 1<<spaceShift | 1, Open: tcpOpen(), Op: bindTo([]byte{10, 8, 0, 2}, 80)}, 0)
	s.want("listen", &netdv1.Request{Socket: 1<<spaceShift | 1, Op: &netdv1.Request_Listen{Listen: &netdv1.Listen{Backlog: 5}}}, 0)
	s.want("connect", &netdv1.Request{Socket: 1, Open: tcpOpen(), Op: connectTo([]byte{10, 8, 0, 2}, 80)}, linux.EINPROGRESS)
	if n := <-s.notices; n.Listener != 1<<spaceShift|1 {
		t.Error(n)
	}
	s.want("end", space(1, true), 0)
	if l := s.links(0); len(l) != 1 {
		t.Errorf("its other end has stayed: %v", l)
	}
}

// An interface that moves keeps its index where that is free, and its other end.
func TestMove(t *testing.T) {
	s := start(t)
	s.want("space", space(1, false), 0)
	s.want("pair", change(0, newLink("veth", "a", 0, "b", 0)), 0)
	s.want("dummy", change(1, newLink("dummy", "a", 1, "", 0)), 0)
	there, name := uint32(1), "c"
	i := s.links(0)["a"].Index
	s.want("its name is taken", change(0, setLink(&netdv1.LinkChange{Index: i, Space: &there})), linux.EEXIST)
	s.want("move", change(0, setLink(&netdv1.LinkChange{Index: i, Space: &there, Name: &name})), 0)
	if c := s.links(1)["c"]; c == nil || c.Index != i || c.Peer != s.links(0)["b"].Index || s.links(0)["a"] != nil {
		t.Errorf("%v", s.links(1))
	}
	s.want("the loopback", change(0, setLink(&netdv1.LinkChange{Index: 1, Space: &there})), linux.EINVAL)
	s.want("a bad name", change(1, setLink(&netdv1.LinkChange{Index: i, Name: new(string)})), linux.EINVAL)
	s.want("remove", change(1, &netdv1.Change{What: &netdv1.Change_RemoveLink{RemoveLink: &netdv1.LinkRemoval{Index: i}}}), 0)
	s.want("remove the loopback", change(1, &netdv1.Change{What: &netdv1.Change_RemoveLink{RemoveLink: &netdv1.LinkRemoval{Index: 1}}}), linux.EOPNOTSUPP)
	if len(s.links(0)) != 1 || len(s.links(1)) != 2 {
		t.Errorf("%v, %v", s.links(0), s.links(1))
	}
}

func TestLinksAreBounded(t *testing.T) {
	s := start(t)
	for range maxMade {
		s.want("make", change(0, newLink("dummy", "", 0, "", 0)), 0)
	}
	s.want("one more", change(0, newLink("dummy", "", 0, "", 0)), linux.ENOSPC)
	s.want("a pair", change(0, newLink("veth", "", 0, "%d", 0)), linux.ENOSPC)
	s.want("a strange one", change(0, newLink("vxlan", "", 0, "", 0)), linux.EOPNOTSUPP)
}

func tunnelOpen() *netdv1.Open { return &netdv1.Open{Family: familyTunnel} }

func attachTo(name string, tap, admin bool) *netdv1.Request_Tunnel {
	return &netdv1.Request_Tunnel{Tunnel: &netdv1.Tunnel{Attach: &name, Tap: tap, Admin: admin, Uid: 5}}
}

// Who may join an interface, and when it goes.
func TestTunnel(t *testing.T) {
	s := start(t)
	s.want("without rights", &netdv1.Request{Socket: 1, Open: tunnelOpen(), Op: attachTo("t0", false, false)}, linux.EPERM)
	s.want("make", &netdv1.Request{Socket: 1, Op: attachTo("t0", false, true)}, 0)
	s.want("twice", &netdv1.Request{Socket: 1, Op: attachTo("t1", false, true)}, linux.EINVAL)
	s.want("busy", &netdv1.Request{Socket: 2, Open: tunnelOpen(), Op: attachTo("t0", false, true)}, linux.EBUSY)
	s.want("another kind", &netdv1.Request{Socket: 2, Op: attachTo("t0", true, true)}, linux.EINVAL)
	s.want("what is no socket of this kind", &netdv1.Request{Socket: 3, Open: tcpOpen(), Op: attachTo("t2", true, true)}, linux.EPROTO)
	stay, owner := true, uint32(5)
	s.want("stay", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Tunnel{Tunnel: &netdv1.Tunnel{Persist: &stay, Owner: &owner}}}, 0)
	s.want("close", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}}, 0)
	if i := s.links(0)["t0"]; i == nil || !i.Persist || i.Owner != 5 {
		t.Fatalf("it has gone, or changed: %v", i)
	}
	s.want("its owner joins", &netdv1.Request{Socket: 2, Op: attachTo("t0", false, false)}, 0)
	stay = false
	s.want("go", &netdv1.Request{Socket: 2, Op: &netdv1.Request_Tunnel{Tunnel: &netdv1.Tunnel{Persist: &stay}}}, 0)
	s.want("close", &netdv1.Request{Socket: 2, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}}, 0)
	if l := s.links(0); len(l) != 1 {
		t.Errorf("it has stayed: %v", l)
	}
}

// FuzzTunnel has arbitrary frames arrive at a TUN interface of a host that forwards, to an
// interface that takes packets unfinished and to one that does not.
func FuzzTunnel(f *testing.F) {
	s := start(f)
	r := s.want("make", &netdv1.Request{Socket: 1, Open: tunnelOpen(), Op: attachTo("t0", false, true)}, 0)
	s.want("pair", change(0, newLink("veth", "a", 0, "b", 0)), 0)
	s.want("dummy", change(0, newLink("dummy", "d", 0, "", 0)), 0)
	up := true
	for i, name := range []string{"t0", "a", "b", "d"} {
		index := s.links(0)[name].Index
		s.want("up", change(0, setLink(&netdv1.LinkChange{Index: index, Up: &up})), 0)
		s.want("address", change(0, addAddress(index, 24, 10, 8, byte(i), 1)), 0)
	}
	s.want("forward", &netdv1.Request{Op: &netdv1.Request_Tuning{Tuning: &netdv1.Tuning{Name: "ipv4/ip_forward", Values: []int64{1}}}}, 0)
	m := s.rings[r.Rings.Id]
	ring, _ := m.Client()
	packet := []byte{0x45, 0, 0, 60, 0, 1, 0, 0, 64, 6, 0, 0, 10, 8, 0, 9, 10, 8, 3, 9}
	packet = append(packet, 0, 80, 0, 90, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0)
	packet = append(packet, make([]byte, 20)...)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, packet, byte(0))
	f.Add([]byte{1, 1, 40, 0, 48, 0, 20, 0, 16, 0}, packet, byte(withVirtio))
	f.Add([]byte{1, 4, 60, 0, 48, 0, 40, 0, 16, 0}, packet, byte(withVirtio))
	f.Add([]byte{1, 5, 28, 0, 48, 0, 20, 0, 6, 0}, packet, byte(withVirtio))
	f.Fuzz(func(t *testing.T, virtio, b []byte, bits byte) {
		b = append(virtio[:min(len(virtio), 10)], b[:min(len(b), 8192)]...)
		if len(b) >= 30 && b[10] == 0x45 && bits&withVirtio != 0 { // it is about more than checksums of headers
			binary.BigEndian.PutUint16(b[12:], uint16(len(b)-10))
			b[20], b[21] = 0, 0
			binary.BigEndian.PutUint16(b[20:], wire.Fold(wire.Sum(0, b[10:30])))
		}
		n := gramHeader + padded(len(b))
		if free, err := ring.Free(); err != nil || free < n {
			t.Fatal("it is not taken", err)
		}
		clear(ring.Slice(0, n))
		binary.LittleEndian.PutUint32(ring.Slice(0, 4), uint32(len(b)))
		ring.Slice(7, 1)[0] = bits
		copy(ring.Slice(gramHeader, len(b)), b)
		ring.Publish(n)
		s.t = t
		if m.Head.Told.Swap(1) == 0 {
			s.bell.Post(1)
		}
		s.bell.Ring()
		for end := time.Now().Add(20 * time.Second); m.Head.Told.Load() != 0; time.Sleep(time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("nobody hears the bell")
			}
		}
		s.want("still there", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Tunnel{Tunnel: &netdv1.Tunnel{}}}, 0)
	})
}

// What goes by a router may be far away, and has larger rings than a neighbour.
func TestFarRings(t *testing.T) {
	s := start(t)
	up := true
	s.want("link", change(0, newLink("dummy", "d", 0, "", 0)), 0)
	d := s.links(0)["d"].Index
	s.want("up", change(0, setLink(&netdv1.LinkChange{Index: d, Up: &up})), 0)
	s.want("address", change(0, addAddress(d, 24, 10, 8, 0, 1)), 0)
	s.want("route", change(0, &netdv1.Change{What: &netdv1.Change_Route{Route: &netdv1.RouteChange{Route: &netdv1.RouteEntry{
		Destination: &netdv1.Prefix{Address: make([]byte, 4)}, Gateway: []byte{10, 8, 0, 254}, Interface: d, Table: 254, Kind: 1}}}}), 0)
	for i, c := range []struct {
		to   []byte
		size uint32
	}{{[]byte{10, 8, 0, 9}, RingSize}, {[]byte{192, 0, 2, 1}, FarRingSize}} {
		r := s.want("connect", &netdv1.Request{Socket: uint32(i) + 1, Open: tcpOpen(), Op: connectTo(c.to, 80)}, linux.EINPROGRESS)
		if r.Rings.GetSize() != c.size {
			t.Errorf("rings of %d bytes to %v, want %d", r.Rings.GetSize(), c.to, c.size)
		}
	}
}
