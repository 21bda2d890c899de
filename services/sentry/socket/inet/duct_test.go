package inet_test

import (
	"fmt"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// What holds of connections through netd holds of those that do without it.
func TestWithin(t *testing.T) {
	within = true
	t.Cleanup(func() { within = false })
	for name, test := range map[string]func(*testing.T){
		"echo": TestStreamEcho, "half close": TestStreamHalfClose, "errors": TestStreamErrors, "reset": TestStreamReset,
		"backlog": TestListenerBacklogAndClose, "dual stack": TestDualStack, "small buffers": TestSmallBuffers,
		"timeouts": TestTimeouts, "many": TestManyConnections, "transfer": TestTransfer100MB,
		"udp": TestUDP, "packet info": TestUDPPacketInfo, "ping": TestPing, "udp flood": TestUDPFlood,
	} {
		t.Run(name, test)
	}
}

func direct(t testing.TB) socket.Families {
	f, n := network(t)
	n.Direct(true)
	return f
}

func errorOf(t testing.TB, s socket.Socket) linux.Errno {
	t.Helper()
	v, err := s.SockOpt(ctx, linux.SOL_SOCKET, linux.SO_ERROR, 4)
	must(t, err)
	return linux.Errno(v[0])
}

// A connection within the sentry outlives netd, because netd has no part in it.
func TestDuct_netdDies(t *testing.T) {
	f, n := network(t)
	n.Direct(true)
	c, s := pair(t, f)
	n.Close()
	for _, err := f.Socket(ctx, linux.AF_INET, linux.SOCK_STREAM, 0); err != linux.ENETDOWN; {
		_, err = f.Socket(ctx, linux.AF_INET, linux.SOCK_STREAM, 0)
	}
	send(t, c, "still here")
	if got := recv(t, s, 0); got != "still here" {
		t.Errorf("got %q", got)
	}
}

// Who writes to one that has closed gets through once; then it is EPIPE.
func TestDuct_writeToClosed(t *testing.T) {
	c, s := pair(t, direct(t))
	s.Release()
	eventually(t, c, wait.In|wait.Out|wait.RDHup)
	send(t, c, "nobody reads this")
	eventually(t, c, wait.In|wait.Out|wait.RDHup|wait.Hup|wait.Err)
	if err := errorOf(t, c); err != linux.EPIPE {
		t.Errorf("SO_ERROR %v", err)
	}
	_, err := c.SendMsg(ctx, &socket.Msg{Data: [][]byte{{1}}})
	wantErr(t, "the second write", err, linux.EPIPE)
	wantErr(t, "the end", recvErr(c, 0), nil)
}

// What came before a reset can still be read.
func TestDuct_dataBeforeReset(t *testing.T) {
	c, s := pair(t, direct(t))
	must(t, s.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0}))
	send(t, s, "last words")
	s.Release()
	if got := recv(t, c, 0); got != "last words" {
		t.Errorf("got %q", got)
	}
	wantErr(t, "then", recvErr(c, 0), linux.ECONNRESET)
	wantErr(t, "and then", recvErr(c, 0), nil)
}

func TestDuct_urgent(t *testing.T) {
	c, s := pair(t, direct(t))
	send(t, c, "ab")
	_, err := c.SendMsg(ctx, &socket.Msg{Data: [][]byte{[]byte("c!")}, Flags: linux.MSG_OOB})
	must(t, err)
	send(t, c, "de")
	eventually(t, s, wait.In|wait.Out|wait.Pri)
	if got := recv(t, s, linux.MSG_OOB); got != "!" {
		t.Errorf("urgent %q", got)
	}
	wantErr(t, "once", recvErr(s, linux.MSG_OOB), linux.EINVAL)
	if got := recv(t, s, 0); got != "abc" {
		t.Errorf("up to the mark %q", got)
	}
	if got := recv(t, s, 0); got != "de" {
		t.Errorf("after the mark %q", got)
	}
	must(t, s.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_OOBINLINE, socket.Int(1)))
	_, err = c.SendMsg(ctx, &socket.Msg{Data: [][]byte{[]byte("x!")}, Flags: linux.MSG_OOB})
	must(t, err)
	wantErr(t, "in the stream", recvErr(s, linux.MSG_OOB), linux.EINVAL)
	if a, b := recv(t, s, 0), recv(t, s, 0); a != "x" || b != "!" {
		t.Errorf("inline %q %q", a, b)
	}
}

// A port that only a connection within the sentry holds is taken nonetheless.
func TestDuct_portHeld(t *testing.T) {
	f := direct(t)
	l, addr := listen(t, f, "127.0.0.1:0", 5)
	c := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	must(t, c.Connect(ctx, addr, false))
	s, _, err := socket.Accept(ctx, l, false)
	must(t, err)
	l.Release()
	again := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	wantErr(t, "the server's port", again.Bind(ctx, addr), linux.EADDRINUSE)
	mine := fmt.Sprintf("127.0.0.1:%d", name(t, c).Port())
	wantErr(t, "the client's port", again.Bind(ctx, sa(mine)), linux.EADDRINUSE)
	s.Release()
	c.Release()
	must(t, again.Bind(ctx, sa(mine)))
	again.Release()
}

func TestDuct_nonblockingConnect(t *testing.T) {
	f := direct(t)
	l, addr := listen(t, f, "[::1]:0", 5)
	c := open(t, f, linux.AF_INET6, linux.SOCK_STREAM)
	wantErr(t, "first", c.Connect(ctx, addr, true), linux.EINPROGRESS)
	eventually(t, c, wait.Out)
	eventually(t, l, wait.In)
	wantErr(t, "second", c.Connect(ctx, addr, true), nil)
	wantErr(t, "third", c.Connect(ctx, addr, true), linux.EISCONN)
	must(t, c.Connect(ctx, []byte{0, 0}, false))
	wantErr(t, "disconnected", recvErr(c, 0), linux.ENOTCONN)
	s, _, err := socket.Accept(ctx, l, false)
	must(t, err)
	wantErr(t, "its peer", recvErr(s, 0), linux.ECONNRESET)
	must(t, c.Connect(ctx, addr, false))
	wantErr(t, "a listening one", l.Connect(ctx, addr, false), linux.EISCONN)
}

// Nothing in a connection's queues is memory.
func TestDuct_infoAndQueues(t *testing.T) {
	c, s := pair(t, direct(t))
	send(t, c, "12345")
	v, err := s.SockOpt(ctx, linux.IPPROTO_TCP, linux.TCP_INFO, 248)
	must(t, err)
	if v[0] != 1 || len(v) != 248 {
		t.Errorf("state %d of %d bytes", v[0], len(v))
	}
	must(t, c.Shutdown(ctx, linux.SHUT_WR))
	for i, want := range []byte{5, 8} {
		v, err := []socket.Socket{c, s}[i].SockOpt(ctx, linux.IPPROTO_TCP, linux.TCP_INFO, 248)
		must(t, err)
		if v[0] != want {
			t.Errorf("state %d, want %d", v[0], want)
		}
	}
}

// A write that is taken in part is followed by the edge of room, as after EAGAIN.
func TestDuct_edgeAfterPart(t *testing.T) {
	client, srv := pair(t, direct(t))
	edges := 0
	e := wait.Entry{Mask: wait.Out, Wake: func(ev wait.Events, _ wait.Sleeper) {
		if ev&wait.Out != 0 {
			edges++
		}
	}}
	client.Queue().Register(&e)
	defer client.Queue().Unregister(&e)
	big := make([]byte, 1<<20)
	n, err := client.SendMsg(ctx, &socket.Msg{Data: [][]byte{big}})
	if err != nil || n == 0 || n == len(big) {
		t.Fatalf("sent %d: %v; wanted a part", n, err)
	}
	if _, err := srv.RecvMsg(ctx, &socket.Msg{Data: [][]byte{big}}); err != nil || edges != 1 {
		t.Errorf("received: %v; %d edges", err, edges)
	}
}
