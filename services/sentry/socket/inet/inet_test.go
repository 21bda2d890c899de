package inet_test

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	"bulkhead/services/netd/server"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/inet"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var ctx = vfs.KernelContext()

// within says whether sockets of one network talk to each other without netd.
var within = false

// network is a sentry's network with a netd in this process.
func network(t testing.TB) (socket.Families, *inet.Network) {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(theirs, nil, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	n, err := inet.New(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Close()
		if err := <-done; err != nil {
			t.Error("netd:", err)
		}
	})
	n.Direct(within)
	f := socket.Families{}
	n.Register(f)
	return f, n
}

func sa(s string) []byte {
	a := netip.MustParseAddrPort(s)
	if a.Addr().Is4() {
		return linux.AppendSockaddrInet4(nil, a)
	}
	return linux.AppendSockaddrInet6(nil, a, 0)
}

func open(t testing.TB, f socket.Families, domain, typ int) socket.Socket {
	t.Helper()
	s, err := f.Socket(ctx, domain, typ, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func name(t testing.TB, s socket.Socket) netip.AddrPort {
	t.Helper()
	b, err := s.SockName(ctx)
	must(t, err)
	a, _, err := linux.ParseSockaddrInet(b)
	must(t, err)
	return a
}

// listen is a listening socket on a free port of addr.
func listen(t testing.TB, f socket.Families, addr string, backlog int) (socket.Socket, []byte) {
	t.Helper()
	a := netip.MustParseAddrPort(addr)
	domain := linux.AF_INET
	if !a.Addr().Is4() {
		domain = linux.AF_INET6
	}
	l := open(t, f, domain, linux.SOCK_STREAM)
	must(t, l.Bind(ctx, sa(addr)))
	must(t, l.Listen(ctx, backlog))
	b, err := l.SockName(ctx)
	must(t, err)
	return l, b
}

// pair is a connection over 127.0.0.1.
func pair(t testing.TB, f socket.Families) (client, srv socket.Socket) {
	t.Helper()
	l, addr := listen(t, f, "127.0.0.1:0", 5)
	defer l.Release()
	client = open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	must(t, client.Connect(ctx, addr, false))
	srv, _, err := socket.Accept(ctx, l, false)
	must(t, err)
	return client, srv
}

func send(t testing.TB, s socket.Socket, b string) {
	t.Helper()
	if n, err := socket.Send(ctx, s, &socket.Msg{Data: [][]byte{[]byte(b)}}, false); n != len(b) || err != nil {
		t.Fatalf("send: %d, %v", n, err)
	}
}

func recv(t testing.TB, s socket.Socket, flags int) string {
	t.Helper()
	b := make([]byte, 65536)
	n, err := socket.Recv(ctx, s, &socket.Msg{Data: [][]byte{b}, Flags: flags}, false)
	must(t, err)
	return string(b[:min(n, len(b))])
}

func recvErr(s socket.Socket, flags int) error {
	_, err := socket.Recv(ctx, s, &socket.Msg{Data: [][]byte{make([]byte, 10)}, Flags: flags}, false)
	return err
}

// eventually waits until s is ready for exactly events, for a while.
func eventually(t testing.TB, s socket.Socket, events wait.Events) {
	t.Helper()
	var got wait.Events
	err := wait.Until(ctx, s.Queue(), wait.All, time.Now().Add(20*time.Second), func() (bool, error) {
		got = s.Poll()
		return got == events, nil
	})
	if err != nil {
		t.Fatalf("poll: %#x, want %#x (%v)", got, events, err)
	}
}

func TestNetdDies(t *testing.T) {
	f, n := network(t)
	client, srv := pair(t, f)
	l, _ := listen(t, f, "127.0.0.1:0", 1)
	u := open(t, f, linux.AF_INET, linux.SOCK_DGRAM)
	must(t, u.Bind(ctx, sa("127.0.0.1:0")))
	blocked := make(chan error, 1)
	go func() { blocked <- recvErr(client, 0) }()
	time.Sleep(10 * time.Millisecond)
	n.Close()
	wantErr(t, "a blocked read", <-blocked, linux.ECONNRESET)
	wantErr(t, "a read", recvErr(srv, 0), linux.ECONNRESET)
	wantErr(t, "and again", recvErr(srv, 0), nil)
	_, _, err := socket.Accept(ctx, l, false)
	wantErr(t, "accept", err, linux.ENETDOWN)
	_, err = f.Socket(ctx, linux.AF_INET, linux.SOCK_STREAM, 0)
	wantErr(t, "socket", err, linux.ENETDOWN)
	wantErr(t, "udp", recvErr(u, 0), linux.ENETDOWN)
	for _, s := range []socket.Socket{client, srv, l, u} {
		s.Poll()
		s.Release()
	}
}
