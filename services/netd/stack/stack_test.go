package stack

import (
	"net/netip"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// user owns sockets in a test; its queues are plain memory.
type user struct {
	e        *TCP
	out, got []byte
	ahead    []byte
	changes  int
	accepted []*user
	released bool
	urgent   int // of out
	mark     int // of got
	failed   linux.Errno
	grams    []string
}

func (u *user) Len() int                { return len(u.out) }
func (u *user) Slice(off, n int) []byte { return u.out[off : off+n] }
func (u *user) Discard(n int)           { u.out, u.urgent = u.out[n:], max(u.urgent-n, 0) }
func (u *user) Seen() int               { return len(u.out) }
func (u *user) Arm() bool               { return false }
func (u *user) Urgent() int             { return u.urgent }
func (u *user) More() bool              { return false }
func (u *user) Broken() bool            { return false }

// inbox is the receiving side, whose Broken would clash.
type inbox struct{ *user }

func (q inbox) Room() int { return 65536 - len(q.got) }
func (q inbox) Put(off int, p []byte) {
	if n := off + len(p); n > len(q.ahead) {
		q.user.ahead = append(q.user.ahead, make([]byte, n-len(q.ahead))...)
	}
	copy(q.user.ahead[off:], p)
}
func (q inbox) Commit(n int) {
	q.user.got = append(q.user.got, q.ahead[:n]...)
	q.user.ahead = q.user.ahead[n:]
}
func (q inbox) Urge(off int) { q.user.mark = len(q.got) + off }
func (q inbox) ArmRoom()     {}

func (u *user) Changed() { u.changes++ }
func (u *user) Incoming(child *TCP) (TCPOwner, SendQueue, ReceiveQueue, error) {
	c := &user{e: child}
	return c, c, inbox{c}, nil
}
func (u *user) Accepted(child *TCP) { u.accepted = append(u.accepted, child.OwnerLocked().(*user)) }
func (u *user) Pending() int        { return len(u.accepted) }
func (u *user) Released()           { u.released = true }
func (u *user) Deliver(m Meta, head, body []byte) bool {
	u.grams = append(u.grams, string(head)+string(body))
	return true
}
func (u *user) Failed(err linux.Errno) { u.failed = err }

func (s *Stack) testTCP() *user {
	u := &user{}
	u.e = s.NewTCP(false, Options{}, tcp.Config{ReceiveBuffer: 65536}, u, u, inbox{u})
	return u
}

var home = netip.MustParseAddrPort("127.0.0.1:80")

func newStack(t testing.TB) *Stack {
	s := New()
	t.Cleanup(s.Close)
	return s
}

func (s *Stack) do(t testing.TB, what string, want error, f func() error) {
	t.Helper()
	var err error
	s.Do(func() { err = f() })
	if err != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// Within one entry a connection over the loopback is made and its bytes are
// there.
func TestConnectionWithinOneEntry(t *testing.T) {
	s := newStack(t)
	l, c := s.testTCP(), s.testTCP()
	s.do(t, "bind", nil, func() error { return l.e.BindLocked(home) })
	s.do(t, "listen", nil, func() error { return l.e.ListenLocked(1) })
	s.do(t, "connect", nil, func() error { return c.e.ConnectLocked(home) })
	if len(l.accepted) != 1 || !c.e.StatusLocked().Connected {
		t.Fatalf("%d accepted, %+v", len(l.accepted), c.e.StatusLocked())
	}
	p := l.accepted[0]
	c.out = make([]byte, 200000)
	for len(p.got) < 200000 {
		s.Do(c.e.KickLocked)
		n := len(p.got)
		if n == 0 {
			t.Fatal("nothing arrives")
		}
		all := p.got
		p.got = nil
		s.Do(p.e.KickLocked)
		p.got = append(all, p.got...)
		if len(p.got) > 131072 {
			break
		}
	}
	if p.e.RemoteLocked() != c.e.LocalLocked() {
		t.Error(p.e.RemoteLocked(), c.e.LocalLocked())
	}
}

func TestCloseReleasesQueuesAndPorts(t *testing.T) {
	s := newStack(t)
	l, c := s.testTCP(), s.testTCP()
	s.do(t, "bind", nil, func() error { return l.e.BindLocked(home) })
	s.do(t, "listen", nil, func() error { return l.e.ListenLocked(1) })
	s.do(t, "connect", nil, func() error { return c.e.ConnectLocked(home) })
	p := l.accepted[0]
	s.Do(func() { c.e.CloseLocked(false) })
	if !c.released || !p.e.StatusLocked().PeerClosed {
		t.Errorf("released %v, %+v", c.released, p.e.StatusLocked())
	}
	s.Do(func() { p.e.CloseLocked(false) })
	s.Do(func() { l.e.CloseLocked(false) })
	if !p.released || !l.released || len(s.conns) != 1 || len(s.listen) != 0 {
		t.Errorf("%v %v, %d connections, %d listening", p.released, l.released, len(s.conns), len(s.listen))
	}
	if c.e.conn.State() != tcp.TimeWait {
		t.Error("whoever closes first is in TIME-WAIT:", c.e.conn.State())
	}
	s.mu.Lock()
	s.now += tcp.DefaultTimeWait + tcp.Second
	c.e.process(nil)
	s.mu.Unlock()
	if len(s.conns) != 0 || len(s.timers) != 0 {
		t.Error("TIME-WAIT does not end")
	}
	for port := range 65536 {
		if !s.portsOf(wire.ProtoTCP).Free(&ip.Binding{Families: ip.V4 | ip.V6, Port: uint16(port)}) {
			t.Error("still held: port", port)
		}
	}
}

func TestRefusedThenAgain(t *testing.T) {
	s := newStack(t)
	c := s.testTCP()
	for i := 0; i < 2; i++ {
		s.do(t, "connect", nil, func() error { return c.e.ConnectLocked(home) })
		if c.e.ErrorLocked() != linux.ECONNREFUSED {
			t.Fatal(c.e.ErrorLocked())
		}
	}
	s.do(t, "connect outside", linux.ENETUNREACH, func() error { return c.e.ConnectLocked(netip.MustParseAddrPort("192.0.2.1:1")) })
}

func TestPortUnreachable(t *testing.T) {
	s := newStack(t)
	u := &user{}
	d := s.NewDatagram(wire.ProtoUDP, false, Options{}, u)
	s.do(t, "connect", nil, func() error { return d.ConnectLocked(home) })
	s.do(t, "send", nil, func() error { return d.SendLocked(netip.AddrPort{}, netip.Addr{}, 0, 0, []byte("x")) })
	if u.failed != linux.ECONNREFUSED {
		t.Error(u.failed)
	}
	s.Do(d.CloseLocked)
	if len(s.grams) != 0 {
		t.Error("still listed")
	}
}

// FuzzInput gives a stack with sockets arbitrary packets, as if from a wire.
func FuzzInput(f *testing.F) {
	s := newStack(f)
	l := s.testTCP()
	s.do(f, "bind", nil, func() error { return l.e.BindLocked(home) })
	s.do(f, "listen", nil, func() error { return l.e.ListenLocked(4) })
	u := &user{}
	d := s.NewDatagram(wire.ProtoUDP, false, Options{}, u)
	s.do(f, "bind", nil, func() error { return d.BindLocked(home) })

	src, dst := netip.MustParseAddr("10.0.0.9"), home.Addr()
	seed := func(proto uint8, n int, put func(b []byte)) {
		b := make([]byte, wire.IPv4Size+n)
		(&wire.IPv4Header{PayloadLen: n, TTL: 9, Protocol: proto, Src: src, Dst: dst}).Put(b)
		put(b[wire.IPv4Size:])
		f.Add(b, true)
		f.Add(b, false)
	}
	seed(wire.ProtoTCP, 28, func(b []byte) {
		(&wire.TCPHeader{SrcPort: 5, DstPort: 80, Flags: wire.SYN, Options: wire.TCPOptions{WindowScale: 2, MSS: 99}}).Put(b)
	})
	seed(wire.ProtoUDP, 12, func(b []byte) { (&wire.UDPHeader{SrcPort: 5, DstPort: 80, PayloadLen: 4}).Put(b) })
	seed(wire.ProtoUDP, 12, func(b []byte) { (&wire.UDPHeader{SrcPort: 5, DstPort: 81, PayloadLen: 4}).Put(b) })
	seed(wire.ProtoICMP, 12, func(b []byte) { (&wire.ICMPHeader{Type: wire.ICMPEchoRequest}).Put(b) })
	seed(99, 12, func([]byte) {})
	f.Fuzz(func(t *testing.T, b []byte, trusted bool) {
		if len(b) >= wire.IPv4Size && b[0] == 0x45 {
			b[10], b[11] = 0, 0
			sum := wire.Fold(wire.Sum(0, b[:wire.IPv4Size]))
			b[10], b[11] = byte(sum>>8), byte(sum)
		}
		for _, cut := range []int{len(b), len(b) / 2} {
			s.Do(func() {
				s.input(s.ifaces[0], &link.Packet{Header: b[:cut], Payload: b[cut:], Trusted: trusted})
			})
		}
		if len(s.conns) > 16 {
			t.Fatal("the backlog does not hold:", len(s.conns))
		}
		u.grams, l.accepted = nil, nil
	})
}
