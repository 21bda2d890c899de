package stack

import (
	"net/netip"
	"testing"

	"bulkhead/services/netd/link"
	"bulkhead/services/netd/tcp"
	"bulkhead/services/netd/wire"
)

// listening is a socket that listens on host b of a pair.
func listening(t *testing.T, b *Stack, at netip.AddrPort, backlog int, o Options) *user {
	l := &user{}
	l.e = b.NewTCP(false, o, tcp.Config{ReceiveBuffer: 65536}, l, l, inbox{l})
	b.do(t, "bind", nil, func() error { return l.e.BindLocked(at) })
	b.do(t, "listen", nil, func() error { return l.e.ListenLocked(backlog) })
	return l
}

// A flood of SYNs fills the backlog; who means it still gets a connection, and
// bytes through it.
func TestListen_synCookies(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, true, link.Features{})
	at := netip.MustParseAddrPort("10.0.0.2:80")
	l := listening(t, b, at, 4, Options{})
	path, _ := a.findPath(at.Addr(), netip.Addr{}, 0)
	for i := range 100 {
		a.Do(func() {
			// From addresses where nobody is, as a flood's are.
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + i%100)}), uint16(i+1))
			p := path
			a.sendTCP(tuple{from, at}, &p, &tcp.Segment{Seq: tcp.Seq(i), Flags: wire.SYN, Options: wire.TCPOptions{WindowScale: -1}}, nil)
		})
		pump(ca, cb)
	}
	if len(b.conns) > 5 {
		t.Fatal("the flood fills the table:", len(b.conns))
	}
	k := a.testTCP()
	a.do(t, "connect", nil, func() error { return k.e.ConnectLocked(at) })
	pump(ca, cb)
	k.out = []byte("hello")
	a.Do(k.e.KickLocked)
	pump(ca, cb)
	if len(l.accepted) != 1 || string(l.accepted[0].got) != "hello" {
		t.Fatalf("%d accepted, %v", len(l.accepted), k.e.conn.State())
	}
}

// The second connection to a server carries its data in the SYN, and the server
// has it before the handshake is over.
func TestConnect_fastOpen(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, true, link.Features{})
	at := netip.MustParseAddrPort("10.0.0.2:80")
	l := listening(t, b, at, 4, Options{FastOpen: 4})
	open := func(data string) *user {
		k := &user{out: []byte(data)}
		k.e = a.NewTCP(false, Options{}, tcp.Config{ReceiveBuffer: 65536}, k, k, inbox{k})
		a.do(t, "connect", nil, func() error { return k.e.ConnectFastLocked(at) })
		return k
	}
	open("first")
	pump(ca, cb)
	if len(a.cookies) != 1 {
		t.Fatal("no cookie learnt")
	}
	k := open("second")
	syn := ca.take()
	cb.sink(syn)
	if len(l.accepted) != 2 || string(l.accepted[1].got) != "second" || !l.accepted[1].e.StatusLocked().Connected {
		t.Fatalf("%d accepted", len(l.accepted))
	}
	pump(ca, cb)
	if !k.e.StatusLocked().Connected || len(k.out) != 0 || string(l.accepted[0].got) != "first" {
		t.Errorf("%+v %q", k.e.StatusLocked(), k.out)
	}
	// Without data nothing goes out yet, and a close leaves nothing behind.
	k = open("")
	if got := ca.take(); len(got) != 0 || !k.e.StatusLocked().Deferred {
		t.Fatalf("deferred: %d packets, %+v", len(got), k.e.StatusLocked())
	}
	k.out = []byte("later")
	a.Do(k.e.KickLocked)
	cb.sink(ca.take())
	if len(l.accepted) != 3 || string(l.accepted[2].got) != "later" || k.e.StatusLocked().Deferred {
		t.Fatalf("%d accepted, %+v", len(l.accepted), k.e.StatusLocked())
	}
	pump(ca, cb)
	unused := open("")
	a.Do(func() { unused.e.CloseLocked(false) })
	if got := ca.take(); len(got) != 0 || !unused.released {
		t.Errorf("closed: %d packets, released %v", len(got), unused.released)
	}
	a.Do(func() { a.learnFast(at.Addr(), tcp.FastOpenLearned{Cookie: []byte("wrong555"), MSS: 1460}) })
	k = open("third")
	pump(ca, cb)
	a.Do(k.e.KickLocked)
	pump(ca, cb)
	if len(l.accepted) != 4 || string(l.accepted[3].got) != "third" {
		t.Error("a wrong cookie ends in an ordinary handshake:", len(l.accepted))
	}
	if p := a.cookies[at.Addr()]; string(p.cookie) == "wrong555" {
		t.Error("the right cookie was not learnt again")
	}
	// Twice only the SYN without data came through: the server is left alone for a while.
	for range 2 {
		a.Do(func() { a.learnFast(at.Addr(), tcp.FastOpenLearned{MSS: 1460, Dropped: true}) })
	}
	if k = open(""); k.e.StatusLocked().Deferred || len(ca.take()) != 1 {
		t.Error("a server that gets no data is sent some again")
	}
}

// ICMP's "too big" narrows the path; a forged one does nothing.
func TestPathMTU(t *testing.T) {
	a, b, ca, cb := pair(t, 1500, true, link.Features{TCPOffload: true})
	at := netip.MustParseAddrPort("10.0.0.2:80")
	l := listening(t, b, at, 4, Options{})
	k := a.testTCP()
	a.do(t, "connect", nil, func() error { return k.e.ConnectLocked(at) })
	pump(ca, cb)
	tell := func(seq uint32) {
		quote := make([]byte, 28)
		(&wire.IPv4Header{PayloadLen: 1480, TTL: 60, Protocol: wire.ProtoTCP, Src: netip.MustParseAddr("10.0.0.1"), Dst: at.Addr(), DontFragment: true}).Put(quote)
		h := quote[20:]
		h[0], h[1] = byte(k.e.LocalLocked().Port()>>8), byte(k.e.LocalLocked().Port())
		h[3], h[4], h[5], h[6], h[7] = 80, byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		b.Do(func() {
			b.sendICMP(netip.Addr{}, netip.MustParseAddr("10.0.0.1"), 0, wire.ICMPHeader{Type: 3, Code: 4, Rest: 1000}, quote)
		})
		ca.take() // what a timer sends meanwhile is held too: else all might be acknowledged by then
		ca.sink(cb.take())
	}
	k.out = make([]byte, 20000)
	a.Do(k.e.KickLocked)
	held := ca.out
	ca.out = nil
	nxt := uint32(k.e.conn.Sent())
	tell(nxt + 100000)
	if len(a.narrows) != 0 {
		t.Error("a forged message is believed")
	}
	tell(nxt - 1000)
	if n := a.narrows[at.Addr()]; n.mtu != 1000 {
		t.Fatal("not narrowed:", n)
	}
	if k.e.InfoLocked().MSS > 960 {
		t.Error("MSS", k.e.InfoLocked().MSS)
	}
	_ = held
	pump(ca, cb)
	for range 20 {
		a.Do(k.e.KickLocked)
		pump(ca, cb)
	}
	if len(l.accepted[0].got) != 20000 {
		t.Error("what was too big is not sent again:", len(l.accepted[0].got))
	}
}
