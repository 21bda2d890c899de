package syscalls

import (
	"encoding/binary"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"

	"golang.org/x/sys/unix"
)

func TestDup(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", linux.O_CREAT|linux.O_RDWR)
	g.t.Group().SetLimit(unix.RLIMIT_NOFILE, task.Rlimit{Cur: 64, Max: 64})
	for _, c := range []struct {
		name     string
		old, new linux.FD
		flags    linux.OpenFlags
		want     error
	}{
		{"same fd", 3, 3, 0, linux.EINVAL},
		{"flags", fd, 9, linux.O_NONBLOCK, linux.EINVAL},
		{"flags before descriptors", 99, 99, linux.O_NONBLOCK, linux.EINVAL},
		{"no such file", 40, 9, 0, linux.EBADF},
		{"beyond the limit", fd, 64, 0, linux.EBADF},
		{"negative", fd, -1, 0, linux.EBADF},
		{"free", fd, 9, linux.O_CLOEXEC, nil},
		{"taken", fd, 9, 0, nil},
	} {
		n, err := dup3(g.t, c.old, c.new, c.flags)
		g.fails(c.name, c.want, n, err)
	}
	g.fails2("dup2 to itself", nil)(dup2(g.t, fd, fd))
	g.fails2("dup2 of nothing to itself", linux.EBADF)(dup2(g.t, 40, 40))
	if n := g.must(fcntl(g.t, fd, linux.F_DUPFD_CLOEXEC, 20)); n != 20 {
		t.Errorf("F_DUPFD gave %d", n)
	}
	if n := g.must(fcntl(g.t, 20, linux.F_GETFD, 0)); n != linux.FD_CLOEXEC {
		t.Errorf("F_GETFD gave %d", n)
	}
	g.fails2("beyond the limit", linux.EINVAL)(fcntl(g.t, fd, linux.F_DUPFD, 64))
	g.fails2("unknown", linux.EINVAL)(fcntl(g.t, fd, 9999, 0))
	g.must(close_range(g.t, 9, 30, 0))
	g.fails2("closed", linux.EBADF)(fcntl(g.t, 20, linux.F_GETFD, 0))
	g.fails2("order", linux.EINVAL)(close_range(g.t, 9, 8, 0))
	g.must(close_range(g.t, 0, ^uint32(0), linux.CLOSE_RANGE_CLOEXEC))
	if n := g.must(fcntl(g.t, fd, linux.F_GETFD, 0)); n != linux.FD_CLOEXEC {
		t.Errorf("F_GETFD gave %d", n)
	}
}

func TestFcntl_flags(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", linux.O_CREAT|linux.O_RDWR|linux.O_APPEND)
	if n := g.must(fcntl(g.t, fd, linux.F_GETFL, 0)); linux.OpenFlags(n) != linux.O_RDWR|linux.O_APPEND|linux.O_LARGEFILE {
		t.Errorf("F_GETFL gave %#o", n)
	}
	g.must(fcntl(g.t, fd, linux.F_SETFL, uint64(linux.O_NONBLOCK|linux.O_WRONLY)))
	if n := g.must(fcntl(g.t, fd, linux.F_GETFL, 0)); linux.OpenFlags(n) != linux.O_RDWR|linux.O_NONBLOCK|linux.O_LARGEFILE {
		t.Errorf("F_GETFL gave %#o", n)
	}
	path := g.open("f", linux.O_PATH)
	g.fails2("F_SETFL of a path", linux.EBADF)(fcntl(g.t, path, linux.F_SETFL, 0))
	g.fails2("F_GETFL of a path", nil)(fcntl(g.t, path, linux.F_GETFL, 0))
}

func TestFcntl_locks(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", linux.O_CREAT|linux.O_RDWR)
	ro := g.open("f", linux.O_RDONLY)
	addr, b := g.room(linux.SizeofFlock)
	lock := func(typ int16) uint64 {
		linux.Flock{Type: typ, Start: 0, Len: 10}.Put(b)
		return addr
	}
	g.must(fcntl(g.t, fd, linux.F_OFD_SETLK, lock(linux.F_WRLCK)))
	g.fails2("taken", linux.EAGAIN)(fcntl(g.t, fd, linux.F_SETLK, lock(linux.F_WRLCK)))
	g.must(fcntl(g.t, fd, linux.F_GETLK, lock(linux.F_RDLCK)))
	if l := linux.ReadFlock(b); l.Type != linux.F_WRLCK || l.PID != -1 || l.Len != 10 {
		t.Errorf("F_GETLK gave %+v", l)
	}
	g.must(fcntl(g.t, fd, linux.F_OFD_SETLK, lock(linux.F_UNLCK)))
	g.fails2("write lock to read", linux.EBADF)(fcntl(g.t, ro, linux.F_SETLK, lock(linux.F_WRLCK)))
	g.fails2("type", linux.EINVAL)(fcntl(g.t, fd, linux.F_SETLK, lock(7)))
	g.fails2("flock operation", linux.EINVAL)(flock(g.t, 99, 77))
	g.fails2("flock of nothing", linux.EBADF)(flock(g.t, 99, linux.LOCK_SH))
	g.must(flock(g.t, fd, linux.LOCK_EX))
	g.fails2("flock taken", linux.EAGAIN)(flock(g.t, ro, linux.LOCK_SH|linux.LOCK_NB))
}

func TestPoll(t *testing.T) {
	g := newGuest(t)
	r, w := g.pipe()
	addr, b := g.room(3 * linux.SizeofPollFD)
	set := func() {
		linux.PollFD{FD: int32(r), Events: linux.POLLIN}.Put(b)
		linux.PollFD{FD: int32(w), Events: linux.POLLOUT}.Put(b[8:])
		linux.PollFD{FD: 77, Events: linux.POLLIN}.Put(b[16:])
	}
	set()
	if n := g.must(poll(g.t, addr, 2, -1)); n != 1 || linux.ReadPollFD(b[8:]).Revents != linux.POLLOUT {
		t.Errorf("poll gave %d %x", n, b)
	}
	g.must(write(g.t, w, g.str("x"), 1))
	set()
	if n := g.must(poll(g.t, addr, 3, 0)); n != 3 || linux.ReadPollFD(b).Revents != linux.POLLIN || linux.ReadPollFD(b[16:]).Revents != linux.POLLNVAL {
		t.Errorf("poll gave %d %x", n, b)
	}
	g.fails2("bad address", linux.EFAULT)(poll(g.t, bad, 1, 0))
	g.fails2("too many", linux.EINVAL)(poll(g.t, addr, 1<<20, 0))
	g.fails2("bad timeout", linux.EINVAL)(ppoll(g.t, addr, 1, g.words(0, 1e9), 0, 0))
	g.fails2("bad mask size", linux.EINVAL)(ppoll(g.t, addr, 1, 0, addr, 4))
	if n := g.must(ppoll(g.t, addr, 1, g.words(0, 1000), g.words(0), 8)); n != 1 {
		t.Errorf("ppoll gave %d", n)
	}
}

func TestSelect(t *testing.T) {
	g := newGuest(t)
	r, w := g.pipe()
	in, bi := g.room(16)
	out, bo := g.room(16)
	bit := func(b []byte, fd linux.FD) { b[fd/8] |= 1 << (fd % 8) }
	bit(bi, r)
	bit(bo, w)
	if n := g.must(select_(g.t, 10, in, out, 0, g.words(0, 1000))); n != 1 || bi[0] != 0 || bo[0] != 1<<w {
		t.Errorf("select gave %d %x %x", n, bi[0], bo[0])
	}
	bit(bi, 50)
	g.fails2("not open", linux.EBADF)(select_(g.t, 64, in, 0, 0, 0))
	if n := g.must(select_(g.t, 10, in, 0, 0, g.words(0, 0))); n != 0 {
		t.Errorf("select gave %d", n)
	}
	g.fails2("count", linux.EINVAL)(select_(g.t, -1, in, 0, 0, 0))
	g.fails2("timeout", linux.EINVAL)(select_(g.t, 1, in, 0, 0, g.words(1<<63, 0)))
}

func TestEpoll(t *testing.T) {
	g := newGuest(t)
	ep := linux.FD(g.must(epoll_create1(g.t, 0)))
	r, w := g.pipe()
	file := g.open("f", linux.O_CREAT|linux.O_RDWR)
	ev, b := g.room(4 * linux.SizeofEpollEvent)
	linux.EpollEvent{Events: linux.EPOLLIN, Data: 42}.Put(b)
	g.fails2("create size", linux.EINVAL)(epoll_create(g.t, 0))
	g.fails2("bad address", linux.EFAULT)(epoll_ctl(g.t, 99, linux.EPOLL_CTL_ADD, r, bad))
	g.fails2("no epoll", linux.EBADF)(epoll_ctl(g.t, 99, linux.EPOLL_CTL_ADD, r, ev))
	g.fails2("no file", linux.EBADF)(epoll_ctl(g.t, ep, linux.EPOLL_CTL_ADD, 99, ev))
	g.fails2("a regular file", linux.EPERM)(epoll_ctl(g.t, ep, linux.EPOLL_CTL_ADD, file, ev))
	g.fails2("not an epoll", linux.EINVAL)(epoll_ctl(g.t, w, linux.EPOLL_CTL_ADD, r, ev))
	g.fails2("itself", linux.EINVAL)(epoll_ctl(g.t, ep, linux.EPOLL_CTL_ADD, ep, ev))
	g.fails2("not there", linux.ENOENT)(epoll_ctl(g.t, ep, linux.EPOLL_CTL_MOD, r, ev))
	g.must(epoll_ctl(g.t, ep, linux.EPOLL_CTL_ADD, r, ev))
	g.fails2("twice", linux.EEXIST)(epoll_ctl(g.t, ep, linux.EPOLL_CTL_ADD, r, ev))
	g.fails2("how many", linux.EINVAL)(epoll_wait(g.t, ep, ev, 0, 0))
	if n := g.must(epoll_wait(g.t, ep, ev, 4, 0)); n != 0 {
		t.Errorf("%d events", n)
	}
	g.must(write(g.t, w, g.str("x"), 1))
	clear(b)
	if n := g.must(epoll_pwait(g.t, ep, ev, 4, -1, 0, 8)); n != 1 || linux.ReadEpollEvent(b) != (linux.EpollEvent{Events: linux.EPOLLIN, Data: 42}) {
		t.Errorf("%d events: %x", n, b)
	}
	g.must(epoll_ctl(g.t, ep, linux.EPOLL_CTL_DEL, r, 0))
}

func TestCounters(t *testing.T) {
	g := newGuest(t)
	e := linux.FD(g.must(eventfd2(g.t, 3, linux.O_NONBLOCK)))
	addr, b := g.room(8)
	if g.must(read(g.t, e, addr, 8)); binary.LittleEndian.Uint64(b) != 3 {
		t.Errorf("count %x", b)
	}
	g.fails2("empty", linux.EAGAIN)(read(g.t, e, addr, 8))
	g.fails2("flags", linux.EINVAL)(eventfd2(g.t, 0, 1<<20))
	g.fails2("clock", linux.EINVAL)(timerfd_create(g.t, 77, 0))
	tfd := linux.FD(g.must(timerfd_create(g.t, linux.CLOCK_MONOTONIC, 0)))
	g.must(timerfd_settime(g.t, tfd, 0, g.words(0, 0, 0, 1), 0))
	if g.must(read(g.t, tfd, addr, 8)); binary.LittleEndian.Uint64(b) != 1 {
		t.Errorf("expired %x times", b)
	}
	g.fails2("not a timer", linux.EINVAL)(timerfd_settime(g.t, e, 0, g.words(0, 0, 0, 0), 0))
	g.fails2("mask size", linux.EINVAL)(signalfd4(g.t, -1, addr, 4, 0))
	sfd := linux.FD(g.must(signalfd4(g.t, -1, g.words(uint64(linux.SigSetOf(linux.SIGUSR1))), 8, linux.O_NONBLOCK)))
	info, ib := g.room(128)
	g.fails2("no signal", linux.EAGAIN)(read(g.t, sfd, info, 128))
	g.t.SetMask(linux.SigSetOf(linux.SIGUSR1))
	g.t.Send(g.t.UserSignal(linux.SIGUSR1, linux.SI_USER))
	if n := g.must(read(g.t, sfd, info, 128)); n != 128 || binary.LittleEndian.Uint32(ib) != uint32(linux.SIGUSR1) {
		t.Errorf("signal %d %x", n, ib[:4])
	}
}

func TestInotify(t *testing.T) {
	g := newGuest(t)
	g.must(mkdir(g.t, g.str("d"), 0o755))
	fd := linux.FD(g.must(inotify_init1(g.t, linux.O_NONBLOCK)))
	g.fails2("flags", linux.EINVAL)(inotify_init1(g.t, 1))
	g.fails2("no events", linux.EINVAL)(inotify_add_watch(g.t, 99, bad, 0))
	g.fails2("not open", linux.EBADF)(inotify_add_watch(g.t, 99, bad, linux.IN_CREATE))
	g.fails2("not one", linux.EINVAL)(inotify_add_watch(g.t, g.open("f", linux.O_CREAT), bad, linux.IN_CREATE))
	g.fails2("bad address", linux.EFAULT)(inotify_add_watch(g.t, fd, bad, linux.IN_CREATE))
	g.fails2("not a directory", linux.ENOTDIR)(inotify_add_watch(g.t, fd, g.str("f"), linux.IN_CREATE|linux.IN_ONLYDIR))
	wd := g.must(inotify_add_watch(g.t, fd, g.str("d"), linux.IN_CREATE))
	g.file("d/new", "")
	addr, b := g.room(64)
	if n := g.must(read(g.t, fd, addr, 64)); n < 16 || binary.LittleEndian.Uint32(b) != uint32(wd) || string(b[16:19]) != "new" {
		t.Errorf("read %d %q", n, b)
	}
	g.must(inotify_rm_watch(g.t, fd, int32(wd)))
	g.fails2("no watch", linux.EINVAL)(inotify_rm_watch(g.t, fd, int32(wd)))
}

func TestMemfd_seals(t *testing.T) {
	g := newGuest(t)
	fd := linux.FD(g.must(memfd_create(g.t, g.str("m"), linux.MFD_ALLOW_SEALING|linux.MFD_CLOEXEC)))
	plain := linux.FD(g.must(memfd_create(g.t, g.str("m"), 0)))
	r, _ := g.pipe()
	g.must(write(g.t, fd, g.str("hello"), 5))
	g.must(fcntl(g.t, fd, linux.F_ADD_SEALS, linux.F_SEAL_SHRINK))
	if n := g.must(fcntl(g.t, fd, linux.F_GET_SEALS, 0)); n != linux.F_SEAL_SHRINK {
		t.Errorf("seals %#x", n)
	}
	g.fails2("sealed", linux.EPERM)(ftruncate(g.t, fd, 1))
	g.fails2("sealing not allowed", linux.EPERM)(fcntl(g.t, plain, linux.F_ADD_SEALS, linux.F_SEAL_GROW))
	g.fails2("no memfd", linux.EINVAL)(fcntl(g.t, r, linux.F_GET_SEALS, 0))
	g.fails2("unknown flags", linux.EINVAL)(memfd_create(g.t, g.str("m"), 1<<20))
	g.fails2("long name", linux.EINVAL)(memfd_create(g.t, g.str(strings.Repeat("x", 250)), 0))
	if n := g.must(fcntl(g.t, fd, linux.F_GETFD, 0)); n != linux.FD_CLOEXEC {
		t.Errorf("F_GETFD gave %d", n)
	}
}
