package unix

import (
	"bytes"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

const (
	stream    = linux.SOCK_STREAM
	dgram     = linux.SOCK_DGRAM
	seqpacket = linux.SOCK_SEQPACKET
)

var types = map[string]int{"stream": stream, "dgram": dgram, "seqpacket": seqpacket}

// each runs the test for the given types.
func each(t *testing.T, f func(t *testing.T, fam *Family, typ int), only ...int) {
	for name, typ := range types {
		for _, o := range only {
			if o == typ {
				t.Run(name, func(t *testing.T) { f(t, NewFamily(nil), typ) })
			}
		}
	}
}

func newSocket(t *testing.T, fam *Family, typ int) *Socket {
	t.Helper()
	s, err := fam.Socket(kernel, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Socket)
}

func pair(t *testing.T, fam *Family, typ int) (a, b *Socket) {
	t.Helper()
	x, y, err := fam.Pair(kernel, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	return x.(*Socket), y.(*Socket)
}

func addr(name string) []byte { return linux.AppendSockaddrUnix(nil, name) }

func bind(t *testing.T, s *Socket, name string) {
	t.Helper()
	if err := s.Bind(kernel, addr(name)); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, s *Socket, data string, want error) {
	t.Helper()
	n, err := s.WriteStream(kernel, []byte(data))
	if err != want || err == nil && n != len(data) {
		t.Fatalf("send %q: %d, %v; want %v", data, n, err, want)
	}
}

func recv(t *testing.T, s *Socket, want string, wantErr error) {
	t.Helper()
	b := make([]byte, 100)
	n, err := s.ReadStream(kernel, b)
	if err != wantErr || string(b[:n]) != want {
		t.Fatalf("received %q, %v; want %q, %v", b[:n], err, want, wantErr)
	}
}

// The expectations below are what Linux gave to the same steps.

func TestUnconnected(t *testing.T) {
	for typ, want := range map[int]struct {
		recv, send, accept, listen error
		poll                       wait.Events
	}{
		stream:    {linux.EINVAL, linux.ENOTCONN, linux.EINVAL, linux.EINVAL, wait.Out | wait.Hup},
		dgram:     {linux.EAGAIN, linux.ENOTCONN, linux.EOPNOTSUPP, linux.EOPNOTSUPP, wait.Out},
		seqpacket: {linux.ENOTCONN, linux.ENOTCONN, linux.EINVAL, linux.EINVAL, wait.Out | wait.Hup},
	} {
		s := newSocket(t, NewFamily(nil), typ)
		recv(t, s, "", want.recv)
		send(t, s, "x", want.send)
		if _, _, err := s.Accept(kernel); err != want.accept {
			t.Errorf("type %d: accept: %v", typ, err)
		}
		if err := s.Listen(kernel, 1); err != want.listen {
			t.Errorf("type %d: listen: %v", typ, err)
		}
		if ev := s.Poll(); ev != want.poll {
			t.Errorf("type %d: poll %#x", typ, ev)
		}
		if _, err := s.PeerName(kernel); err != linux.ENOTCONN {
			t.Errorf("type %d: peer name: %v", typ, err)
		}
		if name, _ := s.SockName(kernel); !bytes.Equal(name, addr("")) {
			t.Errorf("type %d: name % x", typ, name)
		}
	}
}

func TestPeerCloses_stream(t *testing.T) {
	a, b := pair(t, NewFamily(nil), stream)
	send(t, b, "hello", nil)
	b.Release()
	if ev := a.Poll(); ev != wait.In|wait.Out|wait.Hup|wait.RDHup {
		t.Errorf("poll %#x", ev)
	}
	send(t, a, "x", linux.EPIPE)
	recv(t, a, "hello", nil)
	recv(t, a, "", nil)
	if _, err := a.PeerName(kernel); err != nil {
		t.Errorf("peer name: %v", err)
	}
}

func TestPeerCloses_unread(t *testing.T) {
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		send(t, a, "unread", nil)
		b.Release()
		if ev := a.Poll(); ev&(wait.Err|wait.Hup) != wait.Err|wait.Hup {
			t.Errorf("poll %#x", ev)
		}
		if typ == stream {
			send(t, a, "x", linux.EPIPE)
		}
		recv(t, a, "", linux.ECONNRESET)
		recv(t, a, "", nil)
	}, stream, seqpacket)
}

func TestPeerCloses_seqpacketSendTakesTheError(t *testing.T) {
	a, b := pair(t, NewFamily(nil), seqpacket)
	send(t, a, "unread", nil)
	b.Release()
	send(t, a, "x", linux.ECONNRESET)
	recv(t, a, "", nil)
	send(t, a, "x", linux.EPIPE)
}

func TestPeerCloses_dgram(t *testing.T) {
	a, b := pair(t, NewFamily(nil), dgram)
	send(t, b, "hello", nil)
	b.Release()
	if ev := a.Poll(); ev != wait.In|wait.Out {
		t.Errorf("poll %#x", ev)
	}
	send(t, a, "x", linux.ECONNREFUSED)
	recv(t, a, "", linux.EAGAIN)
	send(t, a, "x", linux.ENOTCONN)
}

func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		send(t, a, "last", nil)
		a.Shutdown(kernel, linux.SHUT_WR)
		if ev := b.Poll(); ev != wait.In|wait.Out|wait.RDHup {
			t.Errorf("b polls %#x", ev)
		}
		if ev := a.Poll(); ev&wait.Hup != 0 {
			t.Errorf("a polls %#x", ev)
		}
		send(t, a, "x", linux.EPIPE)
		recv(t, b, "last", nil)
		recv(t, b, "", nil)
		send(t, b, "back", nil)
		recv(t, a, "back", nil)
	}, stream, seqpacket)
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		b.Shutdown(kernel, linux.SHUT_RD)
		send(t, a, "x", linux.EPIPE)
		recv(t, b, "", nil)
		if err := b.Shutdown(kernel, 3); err != linux.EINVAL {
			t.Error(err)
		}
	}, stream, seqpacket, dgram)
}

func TestBounds(t *testing.T) {
	a, b := pair(t, NewFamily(nil), stream)
	send(t, a, "one", nil)
	send(t, a, "two", nil)
	recv(t, b, "onetwo", nil)
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		send(t, a, "one", nil)
		send(t, a, "", nil)
		send(t, a, "three", nil)
		recv(t, b, "one", nil)
		recv(t, b, "", nil)
		m := socket.Msg{Data: [][]byte{make([]byte, 2), make([]byte, 1)}, Flags: linux.MSG_PEEK | linux.MSG_TRUNC}
		for range 2 {
			n, err := b.RecvMsg(kernel, &m)
			if n != 5 || err != nil || m.Out != linux.MSG_TRUNC || string(m.Data[0])+string(m.Data[1]) != "thr" {
				t.Errorf("%d, %v, %+v", n, err, m)
			}
			m.Flags = linux.MSG_TRUNC
		}
		recv(t, b, "", linux.EAGAIN)
		if _, err := a.WriteStream(kernel, make([]byte, 300000)); err != linux.EMSGSIZE {
			t.Error(err)
		}
	}, dgram, seqpacket)
}

func TestFull(t *testing.T) {
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		total := 0
		for {
			n, err := a.WriteStream(kernel, make([]byte, 1000))
			total += n
			if err == linux.EAGAIN {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if total < 90000 || total > defaultBuffer {
			t.Errorf("took %d", total)
		}
		if a.Poll() != 0 {
			t.Errorf("poll %#x", a.Poll())
		}
		woken := false
		e := wait.Entry{Mask: wait.Out, Wake: func(wait.Events, wait.Sleeper) { woken = true }}
		a.Queue().Register(&e)
		defer a.Queue().Unregister(&e)
		for got := 0; got < total; {
			n, err := b.ReadStream(kernel, make([]byte, 5000))
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		if !woken || a.Poll() != wait.Out {
			t.Errorf("woken %v, poll %#x", woken, a.Poll())
		}
	}, stream, dgram, seqpacket)
}

func TestFull_strangersQueue(t *testing.T) {
	fam := NewFamily(nil)
	to, from := newSocket(t, fam, dgram), newSocket(t, fam, dgram)
	bind(t, to, "\x00to")
	if err := from.Connect(kernel, addr("\x00to"), false); err != nil {
		t.Fatal(err)
	}
	for range maxQueue + 1 {
		send(t, from, "x", nil)
	}
	send(t, from, "x", linux.EAGAIN)
	if from.Poll() != 0 {
		t.Error("writable")
	}
	woken := false
	e := wait.Entry{Mask: wait.Out, Wake: func(wait.Events, wait.Sleeper) { woken = true }}
	from.Queue().Register(&e)
	recv(t, to, "x", nil)
	from.Queue().Unregister(&e)
	if !woken || from.Poll() != wait.Out {
		t.Errorf("woken %v, poll %#x", woken, from.Poll())
	}
}

func TestListen(t *testing.T) {
	each(t, func(t *testing.T, fam *Family, typ int) {
		l := newSocket(t, fam, typ)
		bind(t, l, "\x00l")
		if err := l.Listen(kernel, 1); err != nil {
			t.Fatal(err)
		}
		if l.Poll() != 0 {
			t.Errorf("poll %#x", l.Poll())
		}
		if err := l.Connect(kernel, addr("\x00l"), true); err != linux.EINVAL {
			t.Errorf("listener connects: %v", err)
		}
		send(t, l, "x", linux.ENOTCONN)
		var clients []*Socket
		for i := range 3 {
			c := newSocket(t, fam, typ)
			want := map[bool]error{true: linux.EAGAIN}[i == 2]
			if err := c.Connect(kernel, addr("\x00l"), true); err != want {
				t.Fatalf("client %d: %v", i, err)
			}
			clients = append(clients, c)
		}
		bind(t, clients[0], "\x00c")
		if l.Poll() != wait.In {
			t.Errorf("poll %#x", l.Poll())
		}
		s, peer, err := l.Accept(kernel)
		if err != nil || !bytes.Equal(peer, addr("\x00c")) {
			t.Fatalf("% x, %v", peer, err)
		}
		if name, _ := s.SockName(kernel); !bytes.Equal(name, addr("\x00l")) {
			t.Errorf("server's name % x", name)
		}
		send(t, clients[0], "to server", nil)
		recv(t, s.(*Socket), "to server", nil)
		if err := clients[0].Connect(kernel, addr("\x00l"), true); err != linux.EISCONN {
			t.Error(err)
		}
		l.Release()
		send(t, clients[0], "still", nil)
		recv(t, clients[1], "", linux.ECONNRESET)
		recv(t, clients[1], "", nil)
		send(t, clients[1], "x", linux.EPIPE)
		if err := clients[2].Connect(kernel, addr("\x00l"), true); err != linux.ECONNREFUSED {
			t.Error(err)
		}
	}, stream, seqpacket)
}

func TestBind(t *testing.T) {
	fam := NewFamily(nil)
	a, b, c := newSocket(t, fam, stream), newSocket(t, fam, stream), newSocket(t, fam, dgram)
	bind(t, a, "\x00n")
	bind(t, c, "\x00n") // of another type: another name
	if err := b.Bind(kernel, addr("\x00n")); err != linux.EADDRINUSE {
		t.Error(err)
	}
	if err := a.Bind(kernel, addr("\x00m")); err != linux.EINVAL {
		t.Error(err)
	}
	if err := b.Bind(kernel, addr("")); err != nil {
		t.Error(err)
	}
	if name, _ := b.SockName(kernel); len(name) != 8 || name[2] != 0 {
		t.Errorf("autobind gave % x", name)
	}
	for _, bad := range [][]byte{nil, {1}, {2, 0, 1}, append(addr(""), make([]byte, 109)...)} {
		if err := newSocket(t, fam, stream).Bind(kernel, bad); err != linux.EINVAL {
			t.Errorf("% x: %v", bad, err)
		}
	}
	a.Release()
	if err := newSocket(t, fam, stream).Bind(kernel, addr("\x00n")); err != nil {
		t.Error(err)
	}
}

func TestPath(t *testing.T) {
	root := vfs.NewNamespace(tmpfs.New(tmpfs.Options{}), 0).Root()
	fam := NewFamily(func(vfs.Context) (r, cwd vfs.Path, umask uint32) { return root, root, 0o22 })
	l := newSocket(t, fam, stream)
	bind(t, l, "/sock")
	l.Listen(kernel, 5)
	p, err := vfs.Walk(kernel, root, root, "sock", 0)
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := vfs.Stat(kernel, p); a.Mode != linux.S_IFSOCK|0o755 {
		t.Errorf("mode %o", a.Mode)
	}
	if err := newSocket(t, fam, stream).Bind(kernel, addr("sock")); err != linux.EADDRINUSE {
		t.Error(err)
	}
	user := vfs.WithCreds(kernel, vfs.UserCreds(7, 7))
	for _, c := range []struct {
		ctx  vfs.Context
		typ  int
		name string
		err  error
	}{
		{kernel, stream, "sock", nil},
		{user, stream, "sock", linux.EACCES},
		{kernel, dgram, "sock", linux.EPROTOTYPE},
		{kernel, stream, "none", linux.ENOENT},
		{kernel, stream, "/", linux.ECONNREFUSED},
	} {
		if err := newSocket(t, fam, c.typ).Connect(c.ctx, addr(c.name), true); err != c.err {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	l.Release()
	if err := newSocket(t, fam, stream).Connect(kernel, addr("sock"), true); err != linux.ECONNREFUSED {
		t.Error(err)
	}
}

func TestDatagram_addresses(t *testing.T) {
	fam := NewFamily(nil)
	d, e, f := newSocket(t, fam, dgram), newSocket(t, fam, dgram), newSocket(t, fam, dgram)
	bind(t, d, "\x00d")
	bind(t, e, "\x00e")
	if err := d.Connect(kernel, addr("\x00e"), false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SendMsg(kernel, &socket.Msg{Data: [][]byte{[]byte("x")}, Addr: addr("\x00d")}); err != linux.EPERM {
		t.Errorf("to one that talks to another: %v", err)
	}
	if err := f.Connect(kernel, addr("\x00d"), false); err != linux.EPERM {
		t.Error(err)
	}
	if _, err := e.SendMsg(kernel, &socket.Msg{Data: [][]byte{[]byte("hi")}, Addr: addr("\x00d")}); err != nil {
		t.Fatal(err)
	}
	m := socket.Msg{Data: [][]byte{make([]byte, 9)}}
	if n, err := d.RecvMsg(kernel, &m); n != 2 || err != nil || !bytes.Equal(m.Addr, addr("\x00e")) {
		t.Errorf("%d, %v, % x", n, err, m.Addr)
	}
	e.Release()
	send(t, d, "x", linux.ECONNREFUSED)
	send(t, d, "x", linux.ENOTCONN)
	if err := d.Connect(kernel, []byte{0, 0}, false); err != nil {
		t.Errorf("AF_UNSPEC: %v", err)
	}
}

func TestStream_addressed(t *testing.T) {
	a, _ := pair(t, NewFamily(nil), stream)
	m := &socket.Msg{Data: [][]byte{[]byte("x")}, Addr: addr("\x00e")}
	if _, err := a.SendMsg(kernel, m); err != linux.EISCONN {
		t.Error(err)
	}
	if _, err := newSocket(t, NewFamily(nil), stream).SendMsg(kernel, m); err != linux.EOPNOTSUPP {
		t.Error(err)
	}
}

// eventually waits for what may come after a rest: collect.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}

func TestCredentials(t *testing.T) {
	each(t, func(t *testing.T, fam *Family, typ int) {
		a, b := pair(t, fam, typ)
		b.SetSockOpt(kernel, linux.SOL_SOCKET, linux.SO_PASSCRED, socket.Int(1))
		claim := linux.Ucred{PID: 9, UID: 8, GID: 7}
		a.SendMsg(kernel, &socket.Msg{Data: [][]byte{[]byte("x")}, Control: socket.Control{Creds: &claim}})
		a.WriteStream(vfs.WithCreds(kernel, vfs.UserCreds(5, 6)), []byte("y"))
		for _, want := range []linux.Ucred{claim, {PID: 0, UID: 5, GID: 6}} {
			m := socket.Msg{Data: [][]byte{make([]byte, 9)}}
			if n, err := b.RecvMsg(kernel, &m); n != 1 || err != nil || m.Control.Creds == nil || *m.Control.Creds != want {
				t.Errorf("%d, %v, %+v; want %+v", n, err, m.Control.Creds, want)
			}
		}
	}, stream, dgram, seqpacket)
	user := vfs.WithCreds(kernel, vfs.UserCreds(5, 6))
	a, _, _ := NewFamily(nil).Pair(user, stream, 0)
	if v, err := a.SockOpt(kernel, linux.SOL_SOCKET, linux.SO_PEERCRED, 12); err != nil || !bytes.Equal(v, linux.Ucred{UID: 5, GID: 6}.Bytes()) {
		t.Errorf("% x, %v", v, err)
	}
}

func TestOptions(t *testing.T) {
	s := newSocket(t, NewFamily(nil), stream)
	if err := s.SetSockOpt(kernel, linux.SOL_SOCKET, linux.SO_SNDBUF, socket.Int(10000)); err != nil {
		t.Error(err)
	}
	if v, err := s.SockOpt(kernel, linux.SOL_SOCKET, linux.SO_SNDBUF, 4); err != nil || !bytes.Equal(v, socket.Int(20000)) {
		t.Error(v, err)
	}
	if _, err := s.SockOpt(kernel, linux.SOL_SOCKET, 9999, 4); err != linux.ENOPROTOOPT {
		t.Error(err)
	}
	if err := s.SetSockOpt(kernel, linux.SOL_SOCKET, linux.SO_PASSCRED, nil); err != linux.EINVAL {
		t.Error(err)
	}
	if _, err := s.SockOpt(kernel, linux.IPPROTO_TCP, 1, 4); err != linux.EOPNOTSUPP {
		t.Error(err)
	}
}
