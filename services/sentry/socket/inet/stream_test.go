package inet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand"
	"net/netip"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

func TestStreamEcho(t *testing.T) {
	f, _ := network(t)
	client, srv := pair(t, f)
	send(t, client, "hello")
	if got := recv(t, srv, linux.MSG_PEEK); got != "hello" {
		t.Fatalf("peeked %q", got)
	}
	if got := recv(t, srv, 0); got != "hello" {
		t.Fatalf("got %q", got)
	}
	send(t, srv, "world")
	if got := recv(t, client, 0); got != "world" {
		t.Fatalf("got %q", got)
	}
	wantErr(t, "nothing there", recvErr(client, linux.MSG_DONTWAIT), linux.EAGAIN)
	a, err := client.PeerName(ctx)
	must(t, err)
	b, err := srv.SockName(ctx)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Errorf("peer %v, server %v", a, b)
	}
	client.Release()
	if got := recv(t, srv, 0); got != "" {
		t.Fatalf("got %q at the end", got)
	}
	srv.Release()
}

func TestStreamHalfClose(t *testing.T) {
	f, _ := network(t)
	client, srv := pair(t, f)
	eventually(t, srv, wait.Out)
	send(t, client, "request")
	must(t, client.Shutdown(ctx, linux.SHUT_WR))
	eventually(t, srv, wait.In|wait.Out|wait.RDHup)
	if got := recv(t, srv, linux.MSG_WAITALL); got != "request" {
		t.Fatalf("got %q", got)
	}
	_, err := client.SendMsg(ctx, &socket.Msg{Data: [][]byte{{1}}})
	wantErr(t, "send after shutdown", err, linux.EPIPE)
	send(t, srv, "answer")
	must(t, srv.Shutdown(ctx, linux.SHUT_WR))
	if got := recv(t, client, linux.MSG_WAITALL); got != "answer" {
		t.Fatalf("got %q", got)
	}
	eventually(t, client, wait.In|wait.Out|wait.RDHup|wait.Hup)
	client.Release()
	srv.Release()
}

func TestStreamErrors(t *testing.T) {
	f, _ := network(t)
	l, addr := listen(t, f, "127.0.0.1:0", 1)
	dup := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	wantErr(t, "bind to a port in use", dup.Bind(ctx, addr), linux.EADDRINUSE)
	wantErr(t, "bind to a foreign address", dup.Bind(ctx, sa("192.0.2.1:0")), linux.EADDRNOTAVAIL)
	wantErr(t, "bind with the wrong family", dup.Bind(ctx, sa("[::1]:0")), linux.EAFNOSUPPORT)
	wantErr(t, "short address", dup.Bind(ctx, addr[:8]), linux.EINVAL)
	wantErr(t, "bind twice", l.Bind(ctx, sa("127.0.0.1:0")), linux.EINVAL)
	wantErr(t, "connect a listener", l.Connect(ctx, addr, false), linux.EISCONN)
	wantErr(t, "read unconnected", recvErr(dup, 0), linux.ENOTCONN)
	_, _, err := dup.Accept(ctx)
	wantErr(t, "accept without listen", err, linux.EINVAL)
	_, _, err = socket.Accept(ctx, l, true)
	wantErr(t, "accept nothing", err, linux.EAGAIN)
	l.Release()
	for end := time.Now().Add(20 * time.Second); ; { // netd hears of it by the bell
		c := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
		err := c.Connect(ctx, addr, false)
		c.Release()
		if err == linux.ECONNREFUSED {
			break
		} else if time.Now().After(end) {
			t.Fatalf("connect to a listener that is closed: %v", err)
		}
	}
	wantErr(t, "connect to nobody", dup.Connect(ctx, addr, false), linux.ECONNREFUSED)
	wantErr(t, "and again", dup.Connect(ctx, addr, false), linux.ECONNREFUSED)
	wantErr(t, "connect to an unreachable address", dup.Connect(ctx, sa("192.0.2.1:80"), false), linux.ENETUNREACH)

	nb := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	err = nb.Connect(ctx, addr, true)
	if err == linux.EINPROGRESS {
		eventually(t, nb, wait.In|wait.Out|wait.RDHup|wait.Hup|wait.Err)
		v, _ := nb.SockOpt(ctx, linux.SOL_SOCKET, linux.SO_ERROR, 4)
		err = linux.Errno(binary.LittleEndian.Uint32(v))
	}
	wantErr(t, "connect without waiting", err, linux.ECONNREFUSED)
}

func TestStreamReset(t *testing.T) {
	f, _ := network(t)
	client, srv := pair(t, f)
	must(t, client.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0}))
	client.Release()
	eventually(t, srv, wait.In|wait.Out|wait.RDHup|wait.Hup|wait.Err)
	wantErr(t, "read after a reset", recvErr(srv, 0), linux.ECONNRESET)
	wantErr(t, "and again", recvErr(srv, 0), nil)
	_, err := srv.SendMsg(ctx, &socket.Msg{Data: [][]byte{{1}}})
	wantErr(t, "write after a reset", err, linux.EPIPE)

	// Closing with bytes unread resets too.
	client, srv = pair(t, f)
	send(t, client, "never read")
	eventually(t, srv, wait.In|wait.Out)
	srv.Release()
	eventually(t, client, wait.In|wait.Out|wait.RDHup|wait.Hup|wait.Err)
	v, err := client.SockOpt(ctx, linux.SOL_SOCKET, linux.SO_ERROR, 4)
	must(t, err)
	if linux.Errno(v[0]) != linux.ECONNRESET {
		t.Errorf("SO_ERROR %d", v[0])
	}
}

func TestListenerBacklogAndClose(t *testing.T) {
	f, _ := network(t)
	l, addr := listen(t, f, "127.0.0.1:0", 1)
	var cs []socket.Socket
	for i := 0; i < 2; i++ {
		c := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
		must(t, c.Connect(ctx, addr, false))
		cs = append(cs, c)
	}
	late := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	wantErr(t, "beyond the backlog", late.Connect(ctx, addr, true), linux.EINPROGRESS)
	wantErr(t, "and again", late.Connect(ctx, addr, true), linux.EALREADY)
	s, _, err := socket.Accept(ctx, l, false)
	must(t, err)
	must(t, late.Connect(ctx, addr, false)) // the SYN goes out again after a second
	l.Release()
	eventually(t, cs[1], wait.In|wait.Out|wait.RDHup|wait.Hup|wait.Err)
	wantErr(t, "a connection that was never accepted", recvErr(cs[1], 0), linux.ECONNRESET)
	send(t, s, "the accepted one lives")
	if recv(t, cs[0], 0) == "" {
		t.Error("it does not")
	}
}

func TestDualStack(t *testing.T) {
	f, _ := network(t)
	l, addr := listen(t, f, "[::]:0", 5)
	port := binary.BigEndian.Uint16(addr[2:])
	four := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	must(t, four.Connect(ctx, sa(fmt.Sprintf("127.0.0.1:%d", port)), false))
	s, peer, err := socket.Accept(ctx, l, false)
	must(t, err)
	a, _, _ := linux.ParseSockaddrInet(peer)
	if a.Addr() != netip.MustParseAddr("::ffff:127.0.0.1") {
		t.Error("peer", a)
	}
	if got := name(t, s); got.Addr() != netip.MustParseAddr("::ffff:127.0.0.1") {
		t.Error("name", got)
	}
	six := open(t, f, linux.AF_INET6, linux.SOCK_STREAM)
	must(t, six.Connect(ctx, sa(fmt.Sprintf("[::1]:%d", port)), false))
	mapped := open(t, f, linux.AF_INET6, linux.SOCK_STREAM)
	must(t, mapped.Connect(ctx, sa(fmt.Sprintf("[::ffff:127.0.0.1]:%d", port)), false))
	other := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	wantErr(t, "0.0.0.0 beside ::", other.Bind(ctx, sa(fmt.Sprintf("0.0.0.0:%d", port))), linux.EADDRINUSE)

	only := open(t, f, linux.AF_INET6, linux.SOCK_STREAM)
	must(t, only.SetSockOpt(ctx, linux.IPPROTO_IPV6, linux.IPV6_V6ONLY, socket.Int(1)))
	must(t, only.Bind(ctx, sa("[::]:0")))
	must(t, only.Listen(ctx, 1))
	wantErr(t, "IPv4 to IPv6 alone", open(t, f, linux.AF_INET, linux.SOCK_STREAM).Connect(ctx, sa(fmt.Sprintf("127.0.0.1:%d", name(t, only).Port())), false), linux.ECONNREFUSED)
}

func TestReuseAddr(t *testing.T) {
	f, _ := network(t)
	l, addr := listen(t, f, "127.0.0.1:0", 5)
	c := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	must(t, c.Connect(ctx, addr, false))
	s, _, err := socket.Accept(ctx, l, false)
	must(t, err)
	s.Release() // this side closes first and stays in TIME-WAIT
	recv(t, c, 0)
	c.Release()
	l.Release()
	time.Sleep(20 * time.Millisecond)
	again := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	wantErr(t, "a port in TIME-WAIT", again.Bind(ctx, addr), linux.EADDRINUSE)
}

func TestTransfer100MB(t *testing.T) {
	f, _ := network(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, a := listen(t, f, addr, 5)
		c := open(t, f, l.Domain(), linux.SOCK_STREAM)
		must(t, c.Connect(ctx, a, false))
		s, _, err := socket.Accept(ctx, l, false)
		must(t, err)
		const total = 100 << 20
		want := make(chan [32]byte, 1)
		start := time.Now()
		go func() {
			rnd := rand.New(rand.NewSource(7))
			sum := sha256.New()
			b := make([]byte, 64<<10)
			for sent := 0; sent < total; {
				n := min(1+rnd.Intn(len(b)), total-sent)
				binary.LittleEndian.PutUint64(b, rnd.Uint64())
				sum.Write(b[:n])
				if k, err := socket.Send(ctx, c, &socket.Msg{Data: [][]byte{b[:n/2], b[n/2 : n]}}, false); k != n || err != nil {
					t.Errorf("send: %d, %v", k, err)
					break
				}
				sent += n
			}
			c.Release()
			want <- [32]byte(sum.Sum(nil))
		}()
		sum := sha256.New()
		b := make([]byte, 64<<10)
		got := 0
		for {
			n, err := socket.Recv(ctx, s, &socket.Msg{Data: [][]byte{b}}, false)
			if n == 0 || err != nil {
				must(t, err)
				break
			}
			sum.Write(b[:n])
			got += n
		}
		if [32]byte(sum.Sum(nil)) != <-want || got != total {
			t.Fatalf("%s: %d bytes, wrong sum", addr, got)
		}
		t.Logf("%s: %.0f MB/s with two checksums", addr, total/1e6/time.Since(start).Seconds())
		s.Release()
		l.Release()
	}
}

func TestSmallBuffers(t *testing.T) {
	f, _ := network(t)
	l, addr := listen(t, f, "127.0.0.1:0", 5)
	must(t, l.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_RCVBUF, socket.Int(4096)))
	c := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	must(t, c.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_SNDBUF, socket.Int(4096)))
	must(t, c.Connect(ctx, addr, false))
	s, _, err := socket.Accept(ctx, l, false)
	must(t, err)
	v, _ := s.SockOpt(ctx, linux.SOL_SOCKET, linux.SO_RCVBUF, 4)
	if binary.LittleEndian.Uint32(v) != 8192 {
		t.Error("SO_RCVBUF", v)
	}
	full := 0
	// It is full when nothing has fitted for a while; netd takes its time.
	for end, refused := time.Now().Add(20*time.Second), 0; full < 8192 || refused < 50 || c.Poll() != 0; {
		n, err := c.SendMsg(ctx, &socket.Msg{Data: [][]byte{make([]byte, 1000)}})
		full += n
		if refused++; err != linux.EAGAIN {
			refused = 0
		}
		if full > 3*8192 || time.Now().After(end) {
			t.Fatalf("%d bytes fit, ready for %#x", full, c.Poll())
		}
		time.Sleep(time.Millisecond)
	}
	got := 0
	for got < full {
		got += len(recv(t, s, 0))
	}
	eventually(t, c, wait.Out)
	go socket.Send(ctx, c, &socket.Msg{Data: [][]byte{make([]byte, 200000)}}, false)
	for got = 0; got < 200000; {
		got += len(recv(t, s, 0))
	}
}

func TestTimeouts(t *testing.T) {
	f, _ := network(t)
	c, _ := pair(t, f)
	tv := make([]byte, 16)
	tv[8], tv[9] = 0x20, 0x4e // 20 ms
	must(t, c.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_RCVTIMEO, tv))
	start := time.Now()
	wantErr(t, "read", recvErr(c, 0), linux.EAGAIN)
	if d := time.Since(start); d < 15*time.Millisecond || d > 20*time.Second {
		t.Error("after", d)
	}
}

func TestManyConnections(t *testing.T) {
	f, _ := network(t)
	l, addr := listen(t, f, "127.0.0.1:0", 100)
	for i := 0; i < 600; i++ {
		c := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
		must(t, c.Connect(ctx, addr, false))
		s, _, err := socket.Accept(ctx, l, false)
		must(t, err)
		send(t, c, "x")
		if got := recv(t, s, 0); got != "x" {
			t.Fatalf("%d: %q", i, got)
		}
		if i%2 == 0 {
			c.Release()
			recv(t, s, 0)
			s.Release()
		} else {
			s.Release()
			recv(t, c, 0)
			c.Release()
		}
	}
}

// A byte goes back and forth: a doorbell that is lost once would end it.
func TestPingPongLosesNoDoorbell(t *testing.T) {
	f, _ := network(t)
	c, s := pair(t, f)
	go func() {
		p := make([]byte, 1)
		for {
			if n, err := socket.Recv(ctx, s, &socket.Msg{Data: [][]byte{p}}, false); n == 0 || err != nil {
				return
			}
			socket.Send(ctx, s, &socket.Msg{Data: [][]byte{p}}, false)
		}
	}()
	tv := make([]byte, 16)
	tv[0] = 10 // seconds
	must(t, c.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_RCVTIMEO, tv))
	for i := 0; i < 20000; i++ {
		send(t, c, "x")
		if got := recv(t, c, 0); got != "x" {
			t.Fatalf("%d: %q", i, got)
		}
	}
}
