package unix

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/socket"
)

func TestConnect_waitsForRoom(t *testing.T) {
	fam := NewFamily(nil)
	l := newSocket(t, fam, stream)
	bind(t, l, "\x00l")
	l.Listen(kernel, 0)
	for range 2 {
		go newSocket(t, fam, stream).Connect(kernel, addr("\x00l"), false)
	}
	for range 2 {
		if _, _, err := socket.Accept(kernel, l, false); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBlocking moves a stream of bytes through sockets whose ends block.
func TestBlocking(t *testing.T) {
	a, b := pair(t, NewFamily(nil), stream)
	fa, fb := socket.NewFile(a, linux.O_RDWR), socket.NewFile(b, linux.O_RDWR)
	const total = 4 << 20
	var wg sync.WaitGroup
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(5, 6))
		for sent := 0; sent < total; {
			p := make([]byte, min(total-sent, 1+rnd.IntN(100000)))
			for i := range p {
				p[i] = byte((sent + i) * 7)
			}
			n, err := fa.Write(kernel, p)
			if n != len(p) || err != nil {
				t.Error(n, err)
				return
			}
			sent += n
		}
		fa.DecRef(kernel)
	})
	got := 0
	for p := make([]byte, 70001); ; {
		n, err := fb.Read(kernel, p)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for i := range p[:n] {
			if p[i] != byte((got+i)*7) {
				t.Fatalf("byte %d differs", got+i)
			}
		}
		got += n
	}
	wg.Wait()
	if got != total {
		t.Errorf("%d bytes", got)
	}
}

// TestManySenders has datagrams from several blocking senders, none of which may
// be lost or torn.
func TestManySenders(t *testing.T) {
	const senders, each = 4, 300
	fam := NewFamily(nil)
	to := newSocket(t, fam, dgram)
	bind(t, to, "\x00to")
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			s := newSocket(t, fam, dgram)
			for j := range each {
				m := &socket.Msg{Data: [][]byte{fmt.Appendf(nil, "%d %d", i, j)}, Addr: addr("\x00to")}
				if _, err := socket.Send(kernel, s, m, false); err != nil {
					t.Error(err)
					return
				}
			}
			s.Release()
		})
	}
	next := [senders]int{}
	for range senders * each {
		m := socket.Msg{Data: [][]byte{make([]byte, 50)}}
		n, err := socket.Recv(kernel, to, &m, false)
		if err != nil {
			t.Fatal(err)
		}
		var i, j int
		fmt.Sscan(string(m.Data[0][:n]), &i, &j)
		if j != next[i] {
			t.Fatalf("sender %d: message %d, want %d", i, j, next[i])
		}
		next[i]++
	}
	wg.Wait()
}

func TestRecv_interruptedByClose(t *testing.T) {
	a, b := pair(t, NewFamily(nil), stream)
	go func() {
		time.Sleep(2 * time.Millisecond)
		a.Release()
	}()
	m := socket.Msg{Data: [][]byte{make([]byte, 1)}}
	if n, err := socket.Recv(kernel, b, &m, false); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestAllocs(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool forgets on purpose under the race detector")
	}
	a, b := pair(t, NewFamily(nil), stream)
	p := make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() {
		a.WriteStream(kernel, p)
		b.ReadStream(kernel, p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkStream(b *testing.B) {
	for _, size := range []int{1, 4096, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x, y, _ := NewFamily(nil).Pair(kernel, stream, 0)
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				x.WriteStream(kernel, p)
				y.ReadStream(kernel, p)
			}
		})
	}
}
