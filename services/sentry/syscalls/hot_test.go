package syscalls

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/devfs"
	"bulkhead/services/sentry/mm"
)

// hot is a call that programs make so often that its handler may not allocate,
// and whose time counts beside a crossing of 150 ns. Its benchmark is
// BenchmarkHot/name: the handlers alone, no crossing.
type hot struct {
	name  string
	calls []hotCall // made in turn; each must succeed
}

type hotCall struct {
	nr   uint64
	args [6]uint64
}

func call(nr uint64, args ...uint64) hotCall {
	c := hotCall{nr: nr}
	copy(c.args[:], args)
	return c
}

// hotGuest is a guest with some files, and the calls on them. What the calls read
// of its memory has been carried, as the stub would.
func hotGuest(tb testing.TB) (*guest, []hot) {
	g := newGuest(tb)
	buf, b := g.room(64 << 10)
	binary.LittleEndian.PutUint64(b, 1) // for eventfd
	out, _ := g.room(4096)
	g.must(mkdirat(g.t, linux.AtFDCWD, g.str("dir"), 0o755))
	g.file("dir/file", string(make([]byte, 8192)))
	path, dir := g.str("/dir/file"), g.str("dir/file")
	file := uint64(g.open("dir/file", linux.O_RDWR))
	zero := hotZero(g)
	pr, pw := g.twoFDs(func(at mm.Addr) (uint64, error) { return pipe2(g.t, at, 0) })
	sa, sb := g.twoFDs(func(at mm.Addr) (uint64, error) { return socketpair(g.t, unix.AF_UNIX, unix.SOCK_STREAM, 0, at) })
	ev := g.must(eventfd2(g.t, 1, 0))
	ep, edge := g.epollOf(ev, linux.EPOLLIN), g.epollOf(ev, linux.EPOLLIN|linux.EPOLLET)
	polled := g.words(ev | linux.POLLIN<<32)
	set := g.words(1)
	next := uint64(g.open("dir/file", 0))
	g.must(close_(g.t, linux.FD(next)))

	for addr, n := range map[mm.Addr]int{path: 10, dir: 9, polled: 8, set: 8} {
		g.th.Carry(addr, n)
	}
	g.th.Carry(buf, 4096)
	return g, []hot{
		{"getppid", []hotCall{call(unix.SYS_GETPPID)}},
		{"read-zero", []hotCall{call(unix.SYS_READ, zero, buf, 1)}},
		{"read-1", []hotCall{call(unix.SYS_PREAD64, file, buf, 1, 0)}},
		{"read-4k", []hotCall{call(unix.SYS_PREAD64, file, buf, 4096, 0)}},
		{"write-4k", []hotCall{call(unix.SYS_PWRITE64, file, buf, 4096, 0)}},
		{"lseek+read-1", []hotCall{call(unix.SYS_LSEEK, file, 0, 0), call(unix.SYS_READ, file, buf, 1)}},
		{"lseek", []hotCall{call(unix.SYS_LSEEK, file, 0, 0)}},
		{"fstat", []hotCall{call(unix.SYS_FSTAT, file, out)}},
		{"stat", []hotCall{call(unix.SYS_STAT, path, out)}},
		{"stat-relative", []hotCall{call(unix.SYS_NEWFSTATAT, uint64(uint32(0xffffff9c)), dir, out, 0)}},
		{"statx", []hotCall{call(unix.SYS_STATX, uint64(uint32(0xffffff9c)), dir, 0, linux.STATX_BASIC_STATS, out)}},
		{"pipe", []hotCall{call(unix.SYS_WRITE, pw, buf, 1), call(unix.SYS_READ, pr, out, 1)}},
		{"socketpair", []hotCall{call(unix.SYS_WRITE, sa, buf, 1), call(unix.SYS_READ, sb, out, 1)}},
		{"eventfd", []hotCall{call(unix.SYS_WRITE, ev, buf, 8), call(unix.SYS_READ, ev, out, 8), call(unix.SYS_WRITE, ev, buf, 8)}},
		{"epoll_wait", []hotCall{call(unix.SYS_EPOLL_WAIT, ep, out, 8, 1000)}},
		{"eventfd+epoll", []hotCall{call(unix.SYS_WRITE, ev, buf, 8), call(unix.SYS_EPOLL_WAIT, edge, out, 8, ^uint64(0)), call(unix.SYS_READ, ev, out, 8), call(unix.SYS_WRITE, ev, buf, 8)}},
		{"poll", []hotCall{call(unix.SYS_POLL, polled, 1, 1000)}},
		{"fcntl-getfl", []hotCall{call(unix.SYS_FCNTL, file, linux.F_GETFL)}},
		{"rt_sigprocmask", []hotCall{call(unix.SYS_RT_SIGPROCMASK, linux.SIG_BLOCK, set, out, 8)}},
		{"clock_gettime", []hotCall{call(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, out)}},
		{"open+close", []hotCall{call(unix.SYS_OPEN, path, 0), call(unix.SYS_CLOSE, next)}},
	}
}

// hotZero is an open /dev/zero.
func hotZero(g *guest) uint64 {
	g.must(mknodat(g.t, linux.AtFDCWD, g.str("zero"), linux.S_IFCHR|0o666, 1<<8|5))
	return uint64(g.open("zero", linux.O_RDWR))
}

// twoFDs makes two descriptors at once.
func (g *guest) twoFDs(make func(at mm.Addr) (uint64, error)) (a, b uint64) {
	g.Helper()
	at, mem := g.room(8)
	g.must(make(at))
	return uint64(binary.LittleEndian.Uint32(mem)), uint64(binary.LittleEndian.Uint32(mem[4:]))
}

// epollOf is an epoll instance with one file in it.
func (g *guest) epollOf(fd uint64, events uint32) uint64 {
	g.Helper()
	ep := linux.FD(g.must(epoll_create1(g.t, 0)))
	var raw [linux.SizeofEpollEvent]byte
	linux.EpollEvent{Events: events, Data: fd}.Put(raw[:])
	g.must(epoll_ctl(g.t, ep, linux.EPOLL_CTL_ADD, linux.FD(fd), g.str(string(raw[:]))))
	return uint64(ep)
}

// run makes the calls once.
func (h *hot) run(g *guest) {
	for i := range h.calls {
		c := &h.calls[i]
		if _, err := Dispatch(g.t, c.nr, c.args); err != nil {
			g.Fatalf("%s: call %d: %v", h.name, i, err)
		}
		g.th.Forget()
	}
}

func init() { devfs.Register(nil, nil) }

func TestHotCallsDoNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes pools forget")
	}
	g, list := hotGuest(t)
	for _, h := range list {
		if h.name == "open+close" {
			continue // makes a file
		}
		if n := testing.AllocsPerRun(200, func() { h.run(g) }); n > 0 {
			t.Errorf("%s: %v allocations", h.name, n)
		}
	}
}

// BenchmarkHot is what the handlers take, without the crossing.
func BenchmarkHot(b *testing.B) {
	g, list := hotGuest(b)
	for _, h := range list {
		b.Run(h.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.run(g)
			}
		})
	}
}
