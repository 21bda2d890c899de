package inet_test

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/inet"
)

// impostor is a netd that answers as a test tells it to.
type impostor struct {
	t      testing.TB
	conn   *channel.Conn
	answer func(req *netdv1.Request) (*netdv1.Response, *os.File)
}

func imposture(t testing.TB, answer func(*netdv1.Request) (*netdv1.Response, *os.File)) (socket.Families, *impostor) {
	t.Helper()
	ours, theirs, err := channel.Pair()
	must(t, err)
	conn, err := channel.New(theirs)
	must(t, err)
	p := &impostor{t, conn, answer}
	done := make(chan error, 1)
	go func() { done <- channel.Serve(conn, 1, p.handle) }()
	n, err := inet.New(ours)
	must(t, err)
	t.Cleanup(func() { n.Close(); <-done })
	f := socket.Families{}
	n.Register(f)
	return f, p
}

func (p *impostor) handle(f *channel.Frame) channel.Answer {
	var req netdv1.Request
	if f.Unmarshal(&req) != nil || f.ID == 0 {
		return channel.Answer{}
	}
	if req.GetHello() != nil {
		r, memory, _ := channel.CreateRings("bell", channel.BellRing)
		r.Unmap()
		a, _ := channel.NewEventFD()
		b, _ := channel.NewEventFD()
		return channel.Answer{Message: &netdv1.Response{Rings: &netdv1.Rings{Size: channel.BellRing}},
			FDs: []int{int(memory.Fd()), a, b}, Done: func() { memory.Close(); unix.Close(a); unix.Close(b) }}
	}
	resp, file := p.answer(&req)
	a := channel.Answer{Message: resp}
	if file != nil {
		a.FDs, a.Done = []int{int(file.Fd())}, func() { file.Close() }
	}
	return a
}

// connected answers a Connect with rings that spoil has been at.
func connected(t testing.TB, spoil func(r *channel.Rings)) func(*netdv1.Request) (*netdv1.Response, *os.File) {
	id := uint32(0)
	return func(*netdv1.Request) (*netdv1.Response, *os.File) {
		r, f, err := channel.CreateRings("x", 65536)
		must(t, err)
		r.Head.State.Store(uint32(netdv1.SocketState_SOCKET_STATE_CONNECTED))
		spoil(r)
		id++
		return &netdv1.Response{Rings: &netdv1.Rings{Id: id, Size: 65536}}, f
	}
}

func TestHostileNetdRings(t *testing.T) {
	for name, spoil := range map[string]func(r *channel.Rings){
		"more than fits": func(r *channel.Rings) { down, _ := r.Service(); down.Publish(1 << 20) },
		"less than none": func(r *channel.Rings) { down, _ := r.Service(); down.Publish(-1) },
		"nonsense": func(r *channel.Rings) {
			down, _ := r.Service()
			binary.LittleEndian.PutUint32(down.Slice(0, 48), 1<<31)
			down.Publish(48)
		},
		"an odd error": func(r *channel.Rings) { r.Head.Error.Store(1 << 30); r.Head.ErrorCount.Store(3) },
		"an odd state": func(r *channel.Rings) { r.Head.State.Store(^uint32(0)) },
		"sent back":    func(r *channel.Rings) { _, up := r.Service(); up.Consume(1 << 40) },
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := imposture(t, connected(t, spoil))
			for _, typ := range []int{linux.SOCK_STREAM, linux.SOCK_DGRAM} {
				s := open(t, f, linux.AF_INET, typ)
				s.Connect(ctx, sa("127.0.0.1:9"), true)
				s.Poll()
				recvErr(s, linux.MSG_DONTWAIT)
				s.SendMsg(ctx, &socket.Msg{Data: [][]byte{make([]byte, 100)}})
				s.Poll()
				s.Ioctl(ctx, linux.FIONREAD, 0)
				s.PeerName(ctx)
				s.Release()
			}
		})
	}
}

func TestHostileNetdAnswers(t *testing.T) {
	// Cleanups, not defers: a late answer may still be using these until the
	// impostors, whose cleanups come first, have ended.
	rings, file, err := channel.CreateRings("x", 65536)
	must(t, err)
	t.Cleanup(func() { rings.Unmap(); file.Close() })
	null, err := os.Open(os.DevNull)
	must(t, err)
	t.Cleanup(func() { null.Close() })
	dup := func(f *os.File) *os.File {
		r, err := os.Open("/proc/self/fd/" + itoa(int(f.Fd())))
		must(t, err)
		return r
	}
	for name, answer := range map[string]func() (*netdv1.Response, *os.File){
		"nothing": func() (*netdv1.Response, *os.File) { return &netdv1.Response{}, nil },
		"no descriptor": func() (*netdv1.Response, *os.File) {
			return &netdv1.Response{Rings: &netdv1.Rings{Id: 9, Size: 65536}}, nil
		},
		"an odd size": func() (*netdv1.Response, *os.File) { return &netdv1.Response{Rings: &netdv1.Rings{Size: 5}}, dup(file) },
		"the wrong size": func() (*netdv1.Response, *os.File) {
			return &netdv1.Response{Rings: &netdv1.Rings{Size: 131072}}, dup(file)
		},
		"not a memfd": func() (*netdv1.Response, *os.File) {
			return &netdv1.Response{Rings: &netdv1.Rings{Size: 65536}}, dup(null)
		},
		"an unknown error": func() (*netdv1.Response, *os.File) { return &netdv1.Response{Error: 99999}, nil },
	} {
		f, _ := imposture(t, func(*netdv1.Request) (*netdv1.Response, *os.File) { return answer() })
		s := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
		s.Bind(ctx, sa("127.0.0.1:0"))
		s.Poll()
		s.SockName(ctx)
		if err := recvErr(s, linux.MSG_DONTWAIT); err == nil {
			t.Errorf("%s: read something", name)
		}
		s.Release()
	}
}

func TestHostileNetdNotices(t *testing.T) {
	f, p := imposture(t, connected(t, func(r *channel.Rings) {
		r.Head.State.Store(uint32(netdv1.SocketState_SOCKET_STATE_LISTENING))
	}))
	l := open(t, f, linux.AF_INET, linux.SOCK_STREAM)
	must(t, l.Listen(ctx, 5))
	file := func() *os.File {
		r, f, err := channel.CreateRings("y", 65536)
		must(t, err)
		r.Unmap()
		return f
	}
	_, heads, err := channel.CreateHeads("z")
	must(t, err)
	defer heads.Close()
	for id, f := range []*os.File{file(), heads, heads} { // the first is no memory for heads
		must(t, p.conn.SendMessage(0, &netdv1.Notice{Event: &netdv1.Notice_Heads{Heads: &netdv1.Heads{Id: uint32(min(id, 1))}}}, int(f.Fd())))
	}
	for _, a := range []*netdv1.Accepted{
		{Listener: 1, Socket: 1 << 31, Rings: &netdv1.Rings{Id: 1, Size: 65536}}, // in use
		{Listener: 99, Socket: 1<<31 | 1, Rings: &netdv1.Rings{Id: 51, Size: 65536}},
		{Listener: 1, Socket: 7, Rings: &netdv1.Rings{Id: 52, Size: 65536}}, // our number
		{Listener: 1, Socket: 1<<31 | 2},
		{Listener: 1, Socket: 1<<31 | 3, Rings: &netdv1.Rings{Id: 53, Size: 4}},
		{Listener: 1, Socket: 1<<31 | 4, Rings: &netdv1.Rings{Id: 54, Size: 65536, Heads: 9}},
		{Listener: 1, Socket: 1<<31 | 5, Rings: &netdv1.Rings{Id: 55, Size: 65536, Heads: 1, Head: 1 << 31}},
	} {
		fd := file()
		must(t, p.conn.SendMessage(0, &netdv1.Notice{Event: &netdv1.Notice_Accepted{Accepted: a}}, int(fd.Fd())))
		fd.Close()
	}
	must(t, p.conn.SendMessage(0, &netdv1.Notice{Event: &netdv1.Notice_Forgotten{Forgotten: &netdv1.Forgotten{Rings: 1}}}))
	must(t, p.conn.Send(0, []byte{0xff, 0xff, 0xff}))
	fd := file()
	defer fd.Close()
	must(t, p.conn.SendMessage(0, &netdv1.Notice{Event: &netdv1.Notice_Accepted{Accepted: &netdv1.Accepted{
		Listener: 1, Socket: 1<<31 | 9, Rings: &netdv1.Rings{Id: 60, Size: 65536}, Remote: &netdv1.Address{Ip: []byte{1}, Port: 1 << 20},
	}}}, int(fd.Fd())))
	tv := make([]byte, 16)
	tv[0] = 5
	must(t, l.SetSockOpt(ctx, linux.SOL_SOCKET, linux.SO_RCVTIMEO, tv))
	if _, _, err := socket.Accept(ctx, l, false); err != nil {
		t.Fatal("the one that made sense:", err)
	}
	time.Sleep(time.Millisecond)
	if _, _, err := socket.Accept(ctx, l, true); err != linux.EAGAIN {
		t.Error("one that made none was accepted:", err)
	}
	l.Release()
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}
