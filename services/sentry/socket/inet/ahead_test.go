package inet_test

import (
	"fmt"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/wait"
)

// places has a test run on what waits in the sentry, and on what waits in netd's rings.
func places(t *testing.T, f func(t *testing.T, fam socket.Families)) {
	for name, direct := range map[string]bool{"sentry": true, "rings": false} {
		t.Run(name, func(t *testing.T) {
			fam, n := network(t)
			n.Direct(direct)
			f(t, fam)
		})
	}
}

// arrived waits until so many bytes are there, or in a datagram socket any.
func arrived(t *testing.T, s socket.Socket, want string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b := make([]byte, 100)
		if n, _ := s.RecvMsg(ctx, &socket.Msg{Data: [][]byte{b}, Flags: linux.MSG_PEEK}); string(b[:n]) == want {
			return
		}
	}
	t.Fatalf("%q has not arrived", want)
}

// look is a peek with room for so many bytes.
func look(s socket.Socket, room int) string {
	b := make([]byte, room)
	m := socket.Msg{Data: [][]byte{b}, Flags: linux.MSG_PEEK}
	n, err := s.RecvMsg(ctx, &m)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %#x", b[:n], m.Out)
}

func TestPeekOffset(t *testing.T) {
	places(t, func(t *testing.T, f socket.Families) {
		c, s := pair(t, f)
		defer c.Release()
		defer s.Release()
		send(t, c, "abcdef")
		arrived(t, s, "abcdef")
		must(t, s.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_PEEK_OFF, socket.Int(1)))
		for _, want := range []string{"bcd 0x0", "ef 0x0", linux.EAGAIN.Error()} {
			if got := look(s, 3); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if got := recv(t, s, 0); got != "abcdef" {
			t.Error(got)
		}
		if got, _ := s.SockOpt(ctx, linux.SOL_SOCKET, linux.SO_PEEK_OFF, 4); string(got) != string(socket.Int(0)) {
			t.Errorf("the offset is % x", got)
		}
	})
}

func TestPeekOffset_datagrams(t *testing.T) {
	places(t, func(t *testing.T, f socket.Families) {
		s, c := open(t, f, linux.AF_INET, linux.SOCK_DGRAM), open(t, f, linux.AF_INET, linux.SOCK_DGRAM)
		defer c.Release()
		defer s.Release()
		must(t, s.Bind(ctx, sa("127.0.0.1:0")))
		to, err := s.SockName(ctx)
		must(t, err)
		must(t, c.Connect(ctx, to, false))
		send(t, c, "abcdef")
		send(t, c, "ghi")
		arrived(t, s, "abcdef")
		time.Sleep(50 * time.Millisecond) // and the other
		must(t, s.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_PEEK_OFF, socket.Int(1)))
		for _, want := range []string{"bcde 0x20", "f 0x0", "ghi 0x0", linux.EAGAIN.Error()} {
			if got := look(s, 4); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if a, b := recv(t, s, 0), recv(t, s, 0); a != "abcdef" || b != "ghi" {
			t.Errorf("%q, %q", a, b)
		}
	})
}

func TestLowWater(t *testing.T) {
	places(t, func(t *testing.T, f socket.Families) {
		c, s := pair(t, f)
		defer c.Release()
		defer s.Release()
		must(t, s.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_RCVLOWAT, socket.Int(6)))
		send(t, c, "abc")
		arrived(t, s, "abc")
		if ev := s.Poll(); ev&wait.In != 0 {
			t.Errorf("three bytes: %#x", ev)
		}
		go func() {
			for _, b := range []string{"d", "ef", "g"} {
				time.Sleep(20 * time.Millisecond)
				socket.Send(ctx, c, &socket.Msg{Data: [][]byte{[]byte(b)}}, false)
			}
		}()
		if got := recv(t, s, linux.MSG_PEEK); got != "abcdef" {
			t.Errorf("a look: %q", got)
		}
		if ev := s.Poll(); ev&wait.In == 0 {
			t.Errorf("six bytes: %#x", ev)
		}
		if got := recv(t, s, 0); len(got) < 6 {
			t.Errorf("%q", got)
		}
	})
}
