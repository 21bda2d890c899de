package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/stack"
)

// sentry is the other end of a server, which a test makes as hostile as it
// likes.
type sentry struct {
	t       testing.TB
	client  *channel.Client
	bell    *channel.Bell
	mu      sync.Mutex // held while the maps change: by who asks, and by notices
	rings   map[uint32]*channel.Rings
	heads   map[uint32]*channel.Heads
	keep    bool  // the descriptors of shared memory
	kept    []int // those
	notices chan *netdv1.Accepted
	done    chan error
}

func start(t testing.TB) *sentry {
	t.Helper()
	return startWith(t, nil)
}

// startWith is start with what else Serve takes.
func startWith(t testing.TB, setup func(*stack.Stack) error, options ...Option) *sentry {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	s := &sentry{t: t, rings: map[uint32]*channel.Rings{}, heads: map[uint32]*channel.Heads{}, notices: make(chan *netdv1.Accepted, 100), done: make(chan error, 1)}
	go func() { s.done <- Serve(theirs, setup, slog.New(slog.NewTextHandler(io.Discard, nil)), options...) }()
	conn, err := channel.New(ours)
	if err != nil {
		t.Fatal(err)
	}
	s.client = channel.NewClient(conn, s.notice)
	resp, fds := s.ask(&netdv1.Request{Op: &netdv1.Request_Hello{Hello: &netdv1.Hello{}}})
	if resp.Error != 0 || len(fds) != 3 {
		t.Fatalf("hello: %v, %d descriptors", resp, len(fds))
	}
	memory, err := channel.MapRings(fds[0], channel.BellRing)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fds[0])
	if s.bell, err = channel.NewBell(memory, true, fds[1], fds[2]); err != nil {
		t.Fatal(err)
	}
	go s.bell.Listen(s)
	t.Cleanup(func() {
		s.bell.Close()
		s.client.Close()
		select {
		case err := <-s.done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server outlives its sentry")
		}
	})
	return s
}

func (s *sentry) Told(uint32) {}

// Letter takes a notice without a descriptor. That it comes after the frames before it
// is the other test's matter: here nothing is made but by the one before.
func (s *sentry) Letter(p []byte) {
	var n netdv1.Notice
	if len(p) < 4 || proto.Unmarshal(p[4:], &n) != nil {
		s.t.Errorf("letter %q", p)
	} else if a := n.GetAccepted(); a != nil {
		s.notices <- a
	}
}

func (s *sentry) notice(f *channel.Frame) {
	defer f.Release()
	var n netdv1.Notice
	if f.Unmarshal(&n) != nil {
		return
	}
	if h := n.GetHeads(); h != nil && len(f.FDs) == 1 {
		m, err := channel.MapHeads(f.FDs[0])
		if err != nil {
			s.t.Error(err)
		}
		s.mu.Lock()
		s.heads[h.Id] = m
		s.keepFD(f.FDs[0])
		s.mu.Unlock()
	}
	a := n.GetAccepted()
	if a == nil {
		return
	}
	if len(f.FDs) == 1 {
		s.mapRings(a.Rings, f.FDs[0]) // the test reads it after it has the notice
	}
	s.notices <- a
}

func (s *sentry) mapRings(r *netdv1.Rings, fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heads[r.Heads]
	if h == nil {
		s.t.Errorf("rings %d have heads %d, which did not come before", r.Id, r.Heads)
		return
	}
	m, err := h.MapRings(fd, int(r.Head), int(r.Size))
	if err != nil {
		s.t.Error(err)
	}
	s.rings[r.Id] = m
	s.keepFD(fd)
}

func (s *sentry) keepFD(fd int) {
	if s.keep {
		own, err := unix.Dup(fd)
		if err != nil {
			s.t.Error(err)
		}
		s.kept = append(s.kept, own)
	}
}

func (s *sentry) ask(req *netdv1.Request) (*netdv1.Response, []int) {
	s.t.Helper()
	var resp netdv1.Response
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fds, err := s.client.Call(ctx, req, nil, &resp)
	if err != nil {
		s.t.Fatal("no answer:", err)
	}
	if r := resp.Rings; r != nil && len(fds) == 1 {
		s.mapRings(r, fds[0])
		unix.Close(fds[0])
	}
	return &resp, fds
}

func (s *sentry) want(what string, req *netdv1.Request, errno linux.Errno) *netdv1.Response {
	s.t.Helper()
	resp, _ := s.ask(req)
	if linux.Errno(resp.Error) != errno {
		s.t.Errorf("%s: error %v, want %v", what, linux.Errno(resp.Error), errno)
	}
	return resp
}

func tcpOpen() *netdv1.Open {
	return &netdv1.Open{Family: linux.AF_INET, Type: linux.SOCK_STREAM, Protocol: linux.IPPROTO_TCP}
}

func udpOpen() *netdv1.Open {
	return &netdv1.Open{Family: linux.AF_INET, Type: linux.SOCK_DGRAM, Protocol: linux.IPPROTO_UDP}
}

func bindTo(ip []byte, port uint32) *netdv1.Request_Bind {
	return &netdv1.Request_Bind{Bind: &netdv1.Bind{Address: &netdv1.Address{Ip: ip, Port: port}}}
}

func connectTo(ip []byte, port uint32) *netdv1.Request_Connect {
	return &netdv1.Request_Connect{Connect: &netdv1.Connect{Address: &netdv1.Address{Ip: ip, Port: port}}}
}

var lo = []byte{127, 0, 0, 1}

func TestRequestsThatMakeNoSense(t *testing.T) {
	s := start(t)
	bind := bindTo(lo, 0)
	s.want("a second hello", &netdv1.Request{Op: &netdv1.Request_Hello{Hello: &netdv1.Hello{}}}, linux.EALREADY)
	s.want("no socket", &netdv1.Request{Socket: 9, Op: bind}, linux.EBADF)
	s.want("number 0", &netdv1.Request{Open: tcpOpen(), Op: bind}, linux.EINVAL)
	s.want("our number", &netdv1.Request{Socket: accepted | 5, Open: tcpOpen(), Op: bind}, linux.EINVAL)
	s.want("family", &netdv1.Request{Socket: 1, Open: &netdv1.Open{Family: 99}, Op: bind}, linux.EAFNOSUPPORT)
	s.want("type", &netdv1.Request{Socket: 1, Open: &netdv1.Open{Family: linux.AF_INET, Type: 3}, Op: bind}, linux.EPROTONOSUPPORT)
	s.want("none of them was made", &netdv1.Request{Socket: 1, Op: bind}, linux.EBADF)
	s.want("an address of 3 bytes", &netdv1.Request{Socket: 1, Open: tcpOpen(), Op: bindTo([]byte{1, 2, 3}, 0)}, linux.EINVAL)
	s.want("a port of 17 bits", &netdv1.Request{Socket: 1, Op: bindTo(lo, 65536)}, linux.EINVAL)
	s.want("no address", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Bind{Bind: &netdv1.Bind{}}}, linux.EINVAL)
	s.want("shutdown unconnected", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Shutdown{Shutdown: &netdv1.Shutdown{Write: true}}}, linux.ENOTCONN)
	s.want("route of a stream", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Route{Route: &netdv1.RouteQuery{Address: &netdv1.Address{Ip: lo}}}}, linux.EOPNOTSUPP)
	s.want("listen of a datagram socket", &netdv1.Request{Socket: 2, Open: udpOpen(), Op: &netdv1.Request_Listen{Listen: &netdv1.Listen{}}}, linux.EOPNOTSUPP)
	s.want("close", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}}, 0)
	s.want("close again", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}}, linux.EBADF)
}

// connected gives the two ends' rings of a connection.
func (s *sentry) connected() (client, peer uint32, a, b *channel.Rings) {
	s.t.Helper()
	l := s.want("listen", &netdv1.Request{Socket: 1, Open: tcpOpen(), Op: &netdv1.Request_Listen{Listen: &netdv1.Listen{Backlog: 5}}}, 0)
	c := s.want("connect", &netdv1.Request{Socket: 2, Open: tcpOpen(), Op: connectTo(lo, l.Local.Port)}, 0)
	n := <-s.notices
	if n.Listener != 1 || n.Socket&accepted == 0 || n.Remote.Port != c.Local.Port {
		s.t.Fatalf("%v", n)
	}
	return 2, n.Socket, s.rings[c.Rings.Id], s.rings[n.Rings.Id]
}

func (s *sentry) state(id uint32) uint32 {
	r, _ := s.ask(&netdv1.Request{Socket: id, Op: &netdv1.Request_Info{Info: &netdv1.Info{}}})
	return r.GetInfo().GetState()
}

// A spoilt index costs the sentry that connection and nothing else.
func TestSpoiltRingEndsItsConnection(t *testing.T) {
	for name, spoil := range map[string]func(r *channel.Rings){
		"too much written": func(r *channel.Rings) { up, _ := r.Client(); up.Publish(1 << 30) },
		"read backwards": func(r *channel.Rings) {
			_, down := r.Client()
			down.Consume(-5)
		},
		"read what is not there": func(r *channel.Rings) { _, down := r.Client(); down.Consume(1000) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			client, _, a, _ := s.connected()
			spoil(a)
			// Any request that has netd look at the rings will do.
			s.ask(&netdv1.Request{Socket: client, Op: &netdv1.Request_Options{Options: &netdv1.Options{NoDelay: true}}})
			if st := s.state(client); st != 7 {
				t.Errorf("state %d, want closed", st)
			}
			s.want("the others live", &netdv1.Request{Socket: 77, Open: udpOpen(), Op: bindTo(lo, 0)}, 0)
		})
	}
}

func TestCloseAbortsTheUnread(t *testing.T) {
	s := start(t)
	client, peer, a, b := s.connected()
	up, _ := a.Client()
	copy(up.Slice(0, 5), "hello")
	up.Publish(5)
	s.ask(&netdv1.Request{Socket: client, Op: &netdv1.Request_Options{Options: &netdv1.Options{}}})
	_, down := b.Client()
	if n, err := down.Len(); n != 5 || err != nil || string(down.Slice(0, 5)) != "hello" {
		t.Fatal(n, err)
	}
	s.want("close", &netdv1.Request{Socket: peer, Op: &netdv1.Request_Close{Close: &netdv1.Close{}}}, 0)
	if st := s.state(client); st != 7 {
		t.Errorf("state %d", st)
	}
	if e := a.Head.Error.Load(); linux.Errno(e) != linux.ECONNRESET || a.Head.ErrorCount.Load() != 1 {
		t.Errorf("error %d", e)
	}
}

// FuzzDatagramRing writes arbitrary bytes into a UDP socket's ring up.
func FuzzDatagramRing(f *testing.F) {
	s := start(f)
	r := s.want("route", &netdv1.Request{Socket: 1, Open: udpOpen(), Op: connectTo(lo, 9)}, 0)
	m := s.rings[r.Rings.Id]
	up, _ := m.Client()
	head := make([]byte, gramHeader)
	head[0], head[6] = 8, 1
	f.Add(append(head, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(head)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 4096)]
		if n, err := up.Free(); err != nil || n < len(b) {
			t.Skip("full of the beginning of a datagram")
		}
		copy(up.Slice(0, len(b)), b)
		up.Publish(len(b))
		s.t = t
		if m.Head.Told.Swap(1) == 0 {
			s.bell.Post(1)
		}
		s.bell.Ring()
		for end := time.Now().Add(20 * time.Second); m.Head.Told.Load() != 0; time.Sleep(time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("nobody hears the bell")
			}
		}
		s.want("still there", &netdv1.Request{Socket: 1, Op: &netdv1.Request_Options{Options: &netdv1.Options{}}}, 0)
	})
}

// FuzzRequest sends arbitrary bytes as requests.
func FuzzRequest(f *testing.F) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		f.Fatal(err)
	}
	go Serve(theirs, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	conn, err := channel.New(ours)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{8, 1, 18, 6, 8, 2, 16, 1, 24, 6, 42, 4, 10, 2, 8, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := conn.Send(1, b[:min(len(b), channel.MaxBody)]); err != nil {
			t.Fatal(err)
		}
		for {
			fr, err := conn.Recv()
			if err != nil {
				t.Fatal("it hung up:", err)
			}
			id := fr.ID
			fr.Release()
			if id == 1 {
				return
			}
		}
	})
}
