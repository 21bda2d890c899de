package inet_test

import (
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
)

func BenchmarkConnectAcceptClose(b *testing.B) {
	f, _ := network(b)
	l, addr := listen(b, f, "127.0.0.1:0", 100)
	for b.Loop() {
		c := open(b, f, linux.AF_INET, linux.SOCK_STREAM)
		must(b, c.Connect(ctx, addr, false))
		s, _, err := socket.Accept(ctx, l, false)
		must(b, err)
		c.Release()
		s.Release()
	}
}

func BenchmarkPingPong(b *testing.B) {
	f, _ := network(b)
	c, s := pair(b, f)
	go func() {
		p := make([]byte, 1)
		for {
			if n, err := socket.Recv(ctx, s, &socket.Msg{Data: [][]byte{p}}, false); n == 0 || err != nil {
				return
			}
			socket.Send(ctx, s, &socket.Msg{Data: [][]byte{p}}, false)
		}
	}()
	for b.Loop() {
		send(b, c, "x")
		recv(b, c, 0)
	}
}

func BenchmarkStream(b *testing.B) {
	f, _ := network(b)
	c, s := pair(b, f)
	go func() {
		p := make([]byte, 64<<10)
		for {
			if _, err := socket.Send(ctx, c, &socket.Msg{Data: [][]byte{p}}, false); err != nil {
				return
			}
		}
	}()
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := socket.Recv(ctx, s, &socket.Msg{Data: [][]byte{p}, Flags: linux.MSG_WAITALL}, false); err != nil {
			b.Fatal(err)
		}
	}
}
