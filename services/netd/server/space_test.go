package server

import (
	"testing"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// space is the request that makes the nth, or ends it.
func space(n uint32, end bool) *netdv1.Request {
	return &netdv1.Request{Socket: n << spaceShift, Op: &netdv1.Request_Space{Space: &netdv1.Space{End: end}}}
}

var everywhere = []byte{0, 0, 0, 0}

func loopbackUp(n uint32) *netdv1.Request {
	up := true
	return &netdv1.Request{Socket: n << spaceShift, Op: &netdv1.Request_Change{Change: &netdv1.Change{
		What: &netdv1.Change_Link{Link: &netdv1.LinkChange{Index: 1, Up: &up}},
	}}}
}

// Each space has ports and connections of its own, and a loopback that is down at first.
func TestSpacesAreApart(t *testing.T) {
	s := start(t)
	listen := &netdv1.Request_Listen{Listen: &netdv1.Listen{Backlog: 5}}
	s.want("bind in the first", &netdv1.Request{Socket: 1, Open: tcpOpen(), Op: bindTo(lo, 80)}, 0)
	s.want("listen in the first", &netdv1.Request{Socket: 1, Op: listen}, 0)
	for n := uint32(1); n <= 2; n++ {
		at := n << spaceShift
		s.want("none yet", &netdv1.Request{Socket: at | 1, Open: tcpOpen(), Op: bindTo(everywhere, 80)}, linux.ENETDOWN)
		s.want("make", space(n, false), 0)
		s.want("make again", space(n, false), linux.EEXIST)
		s.want("bind", &netdv1.Request{Socket: at | 1, Open: tcpOpen(), Op: bindTo(everywhere, 80)}, 0)
		s.want("listen", &netdv1.Request{Socket: at | 1, Op: listen}, 0)
		s.want("connect while it is down", &netdv1.Request{Socket: at | 2, Open: tcpOpen(), Op: connectTo(lo, 80)}, linux.ENETUNREACH)
		s.want("up", loopbackUp(n), 0)
		c := s.want("connect", &netdv1.Request{Socket: at | 2, Op: connectTo(lo, 80)}, 0)
		a := <-s.notices
		if a.Listener != at|1 || spaceOf(a.Socket) != n || a.Socket&accepted == 0 || a.Remote.Port != c.Local.Port {
			t.Fatalf("space %d: %v", n, a)
		}
		if resp, _ := s.ask(&netdv1.Request{Socket: at, Op: &netdv1.Request_Interfaces{Interfaces: &netdv1.InterfaceQuery{}}}); len(resp.Interfaces) != 1 || len(resp.Interfaces[0].Addresses) != 2 {
			t.Errorf("space %d: %v", n, resp.Interfaces)
		}
	}
	s.want("end", space(1, true), 0)
	s.want("its socket", &netdv1.Request{Socket: 1<<spaceShift | 1, Op: listen}, linux.ENETDOWN)
	s.want("end again", space(1, true), linux.ENOENT)
	s.want("the other's socket", &netdv1.Request{Socket: 2<<spaceShift | 3, Open: tcpOpen(), Op: connectTo(lo, 80)}, 0)
	<-s.notices
	s.want("the first's", &netdv1.Request{Socket: 2, Open: tcpOpen(), Op: connectTo(lo, 80)}, 0)
	if a := <-s.notices; a.Listener != 1 || spaceOf(a.Socket) != 0 {
		t.Error("the first's connection:", a)
	}
}

func TestSpacesThatMakeNoSense(t *testing.T) {
	s := start(t)
	s.want("the first", space(0, false), linux.EINVAL)
	s.want("a socket", &netdv1.Request{Socket: 1<<spaceShift | 1, Op: space(0, false).Op}, linux.EINVAL)
	s.want("no such", loopbackUp(5), linux.ENETDOWN)
	for n := uint32(1); n <= maxSpaces; n++ {
		s.want("make", space(n, false), 0)
	}
	for n := uint32(1); n <= maxSpaces; n++ {
		s.want("a number of none of its", &netdv1.Request{Socket: n << spaceShift, Open: tcpOpen(), Op: bindTo(everywhere, 80)}, linux.EINVAL)
		s.want("end", space(n, true), 0)
	}
	s.want("make once more", space(1, false), 0)
}

// What comes by the bell for a space is carried out there, and for none is dropped.
func TestLettersToSpaces(t *testing.T) {
	s := start(t)
	at := uint32(1) << spaceShift
	s.want("make", space(1, false), 0)
	s.want("bind", &netdv1.Request{Socket: at | 1, Open: udpOpen(), Op: bindTo(everywhere, 53)}, 0)
	s.client.Notify(&netdv1.Request{Socket: 9<<spaceShift | 1, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}})
	s.bell.Post(9<<spaceShift | 1)
	s.bell.Post(at | 1)
	s.bell.Post(at | 7)
	s.bell.Ring()
	s.want("bind again", &netdv1.Request{Socket: at | 2, Open: udpOpen(), Op: bindTo(everywhere, 53)}, linux.EADDRINUSE)
	s.client.Notify(&netdv1.Request{Socket: at | 1, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}})
	s.want("once it is closed", &netdv1.Request{Socket: at | 2, Op: bindTo(everywhere, 53)}, 0)
}
