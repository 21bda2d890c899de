package netlink

import (
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// teller is a source that tells of changes.
type teller struct {
	fixed
	tell func(*netdv1.Changed)
}

func (t *teller) Watch(tell func(*netdv1.Changed)) error { t.tell = tell; return nil }

func (t *teller) mtu(n uint32) {
	t.tell(&netdv1.Changed{What: &netdv1.Changed_Link{Link: &netdv1.Interface{Index: 2, Name: "eth0", Mtu: n, Mac: make([]byte, 6)}}})
}

func member(t *testing.T, source Source) *Socket {
	s, err := New(source, nil).Socket(nil, linux.SOCK_RAW, protoRoute)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetSockOpt(nil, linux.SOL_NETLINK, linux.NETLINK_ADD_MEMBERSHIP, socket.Int(groupLink)); err != nil {
		t.Fatal(err)
	}
	return s.(*Socket)
}

func receive(s *Socket) ([]byte, *socket.Msg, error) {
	b := make([]byte, 8192)
	m := &socket.Msg{Data: [][]byte{b}}
	n, err := s.RecvMsg(nil, m)
	return b[:n], m, err
}

// A member of a group gets its messages, from the kernel and as of that group; others
// do not, and it does not once it has left.
func TestNotification(t *testing.T) {
	source := &teller{}
	s := member(t, source)
	s.SetSockOpt(nil, linux.SOL_NETLINK, linux.NETLINK_PKTINFO, socket.Int(1))
	if v, err := s.SockOpt(nil, linux.SOL_NETLINK, linux.NETLINK_LIST_MEMBERSHIPS, 8); err != nil || le.Uint64(v) != 1 {
		t.Error(v, err)
	}
	source.tell(&netdv1.Changed{What: &netdv1.Changed_Neighbour{Neighbour: &netdv1.NeighbourEntry{Interface: 2, Address: []byte{10, 0, 0, 1}}}})
	if s.Poll()&wait.In != 0 {
		t.Error("a message of a group that it is not in")
	}
	source.mtu(1400)
	b, m, err := receive(s)
	if err != nil || le.Uint16(b[4:]) != newLink || le.Uint32(b[8:]) != 0 || le.Uint32(b[12:]) != 0 {
		t.Fatal(b, err)
	}
	if len(m.Addr) != 12 || le.Uint32(m.Addr[4:]) != 0 || le.Uint32(m.Addr[8:]) != 1 {
		t.Error("from", m.Addr)
	}
	if c := m.Control.Other; len(c) != 1 || c[0].Type != linux.NETLINK_PKTINFO || c[0].Data[0] != groupLink {
		t.Error(c)
	}
	if msgs, err := syscall.ParseNetlinkMessage(b); err != nil || len(msgs) != 1 {
		t.Error(msgs, err)
	}
	s.SetSockOpt(nil, linux.SOL_NETLINK, linux.NETLINK_DROP_MEMBERSHIP, socket.Int(groupLink))
	source.mtu(1300)
	if s.Poll()&wait.In != 0 {
		t.Error("a message after it has left")
	}
	if err := s.SetSockOpt(nil, linux.SOL_NETLINK, linux.NETLINK_ADD_MEMBERSHIP, socket.Int(1000)); err != linux.EINVAL {
		t.Error(err)
	}
}

// What was removed is told as removed, and what took another's place as that.
func TestNotificationKinds(t *testing.T) {
	to := &netdv1.Prefix{Address: []byte{10, 0, 0, 0}, Bits: 8}
	route := &netdv1.Changed_Route{Route: &netdv1.RouteEntry{Destination: to, Interface: 2}}
	address := &netdv1.Changed_Address{Address: &netdv1.Interface{Index: 2, Addresses: []*netdv1.InterfaceAddress{{Address: make([]byte, 16), Bits: 64}}}}
	for _, c := range []struct {
		change     *netdv1.Changed
		group      int
		typ, flags uint16
	}{
		{&netdv1.Changed{What: route}, groupRoutes4, newRoute, 0},
		{&netdv1.Changed{What: route, Replaced: true}, groupRoutes4, newRoute, flagReplace},
		{&netdv1.Changed{What: route, Removed: true}, groupRoutes4, delRoute, 0},
		{&netdv1.Changed{What: address}, groupAddresses6, newAddr, 0},
		{&netdv1.Changed{What: address, Removed: true}, groupAddresses6, delAddr, 0},
	} {
		group, b := notification(c.change)
		if group != c.group || le.Uint16(b[4:]) != c.typ || le.Uint16(b[6:]) != c.flags {
			t.Errorf("%v: group %d, type %d, flags %#x", c.change, group, le.Uint16(b[4:]), le.Uint16(b[6:]))
		}
	}
	for _, odd := range []*netdv1.Changed{{}, {What: &netdv1.Changed_Address{Address: &netdv1.Interface{}}}, {What: &netdv1.Changed_Route{Route: &netdv1.RouteEntry{}}}} {
		if _, b := notification(odd); len(b) > 0 {
			t.Error("an odd change makes", b)
		}
	}
}

// Who does not read is told so once, and gets the next after all that is there.
func TestOverrun(t *testing.T) {
	source := &teller{}
	s := member(t, source)
	s.SetSockOpt(nil, linux.SOL_SOCKET, linux.SO_RCVBUF, socket.Int(4000))
	for n := range uint32(100) {
		source.mtu(1000 + n)
	}
	if s.Poll()&(wait.In|wait.Err) != wait.In|wait.Err {
		t.Error("no error to see")
	}
	if _, _, err := receive(s); err != linux.ENOBUFS {
		t.Error(err)
	}
	got := 0
	for {
		if _, _, err := receive(s); err != nil {
			if err != linux.EAGAIN {
				t.Error(err)
			}
			break
		}
		got++
	}
	if got < 2 || got > 20 {
		t.Errorf("%d messages fit", got)
	}
	source.mtu(9000)
	if _, _, err := receive(s); err != nil {
		t.Error("nothing after it has read all:", err)
	}
	s.SetSockOpt(nil, linux.SOL_NETLINK, linux.NETLINK_NO_ENOBUFS, socket.Int(1))
	for n := range uint32(100) {
		source.mtu(1000 + n)
	}
	if _, _, err := receive(s); err != nil {
		t.Error("with NETLINK_NO_ENOBUFS:", err)
	}
}

// What netd tells makes whole messages or none, whatever it tells.
func FuzzNotification(f *testing.F) {
	for _, c := range []*netdv1.Changed{
		{What: &netdv1.Changed_Link{Link: &netdv1.Interface{Index: 2, Name: "eth0"}}, Removed: true},
		{What: &netdv1.Changed_Route{Route: &netdv1.RouteEntry{Destination: &netdv1.Prefix{Address: make([]byte, 16)}}}},
		{What: &netdv1.Changed_Neighbour{Neighbour: &netdv1.NeighbourEntry{Address: make([]byte, 4), Mac: make([]byte, 7)}}},
	} {
		b, _ := proto.Marshal(c)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c netdv1.Changed
		if proto.Unmarshal(b, &c) != nil {
			return
		}
		if _, out := notification(&c); len(out) > 0 && len(out) < 1<<15 {
			if _, err := syscall.ParseNetlinkMessage(out); err != nil {
				t.Fatal(err)
			}
		}
	})
}
