package inet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

func TestUDP(t *testing.T) {
	f, _ := network(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		domain := linux.AF_INET
		if addr[0] == '[' {
			domain = linux.AF_INET6
		}
		srv, cl := open(t, f, domain, linux.SOCK_DGRAM), open(t, f, domain, linux.SOCK_DGRAM)
		must(t, srv.Bind(ctx, sa(addr)))
		to, _ := srv.SockName(ctx)
		_, err := cl.SendMsg(ctx, &socket.Msg{Data: [][]byte{{1}}})
		wantErr(t, "send nowhere", err, linux.EDESTADDRREQ)
		for _, size := range []int{0, 1, 1400, 65000} {
			if n, err := socket.Send(ctx, cl, &socket.Msg{Data: [][]byte{bytes.Repeat([]byte{7}, size)}, Addr: to}, false); n != size || err != nil {
				t.Fatalf("send %d: %d, %v", size, n, err)
			}
			b := make([]byte, 66000)
			m := socket.Msg{Data: [][]byte{b}}
			n, err := socket.Recv(ctx, srv, &m, false)
			if n != size || err != nil || !bytes.Equal(b[:n], bytes.Repeat([]byte{7}, size)) {
				t.Fatalf("receive %d: %d, %v", size, n, err)
			}
			from, _ := cl.SockName(ctx)
			if fa, _, _ := linux.ParseSockaddrInet(m.Addr); fa.Port() != binary.BigEndian.Uint16(from[2:]) {
				t.Error("from", fa)
			}
		}
		_, err = cl.SendMsg(ctx, &socket.Msg{Data: [][]byte{make([]byte, 70000)}, Addr: to})
		wantErr(t, "too long", err, linux.EMSGSIZE)

		must(t, cl.Connect(ctx, to, false))
		send(t, cl, "cut me short")
		m := socket.Msg{Data: [][]byte{make([]byte, 3)}, Flags: linux.MSG_TRUNC}
		n, err := socket.Recv(ctx, srv, &m, false)
		if n != 12 || err != nil || m.Out != linux.MSG_TRUNC {
			t.Errorf("cut: %d %v %#x", n, err, m.Out)
		}
		srv.Release()
		send(t, cl, "is anybody there")
		eventually(t, cl, wait.Out|wait.Err)
		wantErr(t, "nobody listens", recvErr(cl, 0), linux.ECONNREFUSED)
	}
}

func TestUDPPacketInfo(t *testing.T) {
	f, _ := network(t)
	srv, cl := open(t, f, linux.AF_INET, linux.SOCK_DGRAM), open(t, f, linux.AF_INET, linux.SOCK_DGRAM)
	must(t, srv.Bind(ctx, sa("0.0.0.0:0")))
	must(t, srv.SetSockOpt(ctx, linux.IPPROTO_IP, linux.IP_PKTINFO, socket.Int(1)))
	to := sa(fmt.Sprintf("127.0.0.5:%d", name(t, srv).Port()))
	_, err := cl.SendMsg(ctx, &socket.Msg{Data: [][]byte{{1}}, Addr: to})
	must(t, err)
	m := socket.Msg{Data: [][]byte{make([]byte, 3)}}
	_, err = socket.Recv(ctx, srv, &m, false)
	must(t, err)
	if len(m.Control.Other) != 1 || !bytes.Equal(m.Control.Other[0].Data[8:12], []byte{127, 0, 0, 5}) {
		t.Errorf("%+v", m.Control.Other)
	}
}

func TestPing(t *testing.T) {
	f, _ := network(t)
	for _, c := range []struct {
		domain, proto int
		addr          string
		req, reply    byte
	}{{linux.AF_INET, linux.IPPROTO_ICMP, "127.0.0.1:0", 8, 0}, {linux.AF_INET6, linux.IPPROTO_ICMPV6, "[::1]:0", 128, 129}} {
		s, err := f.Socket(ctx, c.domain, linux.SOCK_DGRAM, c.proto)
		must(t, err)
		_, err = s.SendMsg(ctx, &socket.Msg{Data: [][]byte{{c.req, 0, 0, 0, 0, 0, 0, 9, 'h', 'i'}}, Addr: sa(c.addr)})
		must(t, err)
		got := recv(t, s, 0)
		if len(got) != 10 || got[0] != c.reply || got[7] != 9 || got[8:] != "hi" {
			t.Errorf("%q", got)
		}
	}
}

// Many datagrams at once: those that are sent beyond the buffer wait, and what
// the receiver has no room for is lost whole.
func TestUDPFlood(t *testing.T) {
	f, _ := network(t)
	srv, cl := open(t, f, linux.AF_INET, linux.SOCK_DGRAM), open(t, f, linux.AF_INET, linux.SOCK_DGRAM)
	must(t, srv.Bind(ctx, sa("127.0.0.1:0")))
	to, _ := srv.SockName(ctx)
	must(t, cl.Connect(ctx, to, false))
	must(t, cl.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_SNDBUF, socket.Int(10000)))
	const n = 3000
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := 0; i < n; i++ {
			b := bytes.Repeat([]byte{byte(i)}, 1+i%8000)
			if k, err := socket.Send(ctx, cl, &socket.Msg{Data: [][]byte{b}}, false); k != len(b) || err != nil {
				t.Errorf("send: %d, %v", k, err)
				return
			}
		}
	}()
	got := 0
	for end := false; !end; {
		select {
		case <-done:
			end = true
		default:
		}
		b := make([]byte, 9000)
		for {
			k, err := srv.RecvMsg(ctx, &socket.Msg{Data: [][]byte{b}})
			if err != nil {
				break
			}
			if got++; !bytes.Equal(b[:k], bytes.Repeat(b[:1], k)) {
				t.Fatal("a datagram is mixed up")
			}
		}
	}
	if got < 20 {
		t.Errorf("%d of %d arrived", got, n)
	}
	eventually(t, cl, wait.Out)
}
