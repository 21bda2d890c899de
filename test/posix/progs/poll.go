package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sort"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("poll.poll", pollPoll)
	program("poll.select", pollSelect)
	program("poll.epoll", pollEpoll)
	program("poll.epoll-edge", pollEpollEdge)
	program("poll.epoll-nested", pollEpollNested)
	program("poll.epoll-many", pollEpollMany)
	program("poll.eventfd", pollEventfd)
	program("poll.timerfd", pollTimerfd)
	program("poll.signalfd", pollSignalfd)
	program("poll.inotify", pollInotify)
	program("poll.memfd", pollMemfd)
	program("poll.pidfd", pollPidfd)
}

// pollEpollMany has more ready than fits the room that one usually has.
func pollEpollMany(t *T) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	t.Must("epoll_create1", err)
	for i := range 700 {
		fd, err := unix.Eventfd(uint(i%7), unix.EFD_CLOEXEC) // every seventh is empty
		t.Must("eventfd", err)
		t.Must("epoll_ctl", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Pad: int32(i)}))
	}
	for _, room := range []int{100, 300, 600, 5000} {
		seen, sum := map[int32]bool{}, 0
		events := make([]unix.EpollEvent, room)
		n, err := unix.EpollWait(ep, events, -1)
		for err == unix.EINTR {
			n, err = unix.EpollWait(ep, events, -1)
		}
		for _, e := range events[:max(n, 0)] {
			seen[e.Pad] = true
			sum += int(e.Pad)
		}
		t.Say("room for %d: %d %s, %d of them different", room, n, errName(err), len(seen))
	}
}

func pollPoll(t *T) {
	r, w := t.pipe(0)
	p := func(what string, timeout int, fds ...unix.PollFd) {
		n, err := poll(fds, timeout)
		for err == unix.EINTR { // a signal of Go's run-time
			n, err = poll(fds, timeout)
		}
		var ev []string
		for _, f := range fds {
			ev = append(ev, fmt.Sprintf("%#x", f.Revents))
		}
		t.Say("%s: %d %s %v", what, n, errName(err), ev)
	}
	in, out := unix.PollFd{Fd: int32(r), Events: unix.POLLIN}, unix.PollFd{Fd: int32(w), Events: unix.POLLOUT}
	p("empty", 0, in, out)
	unix.Write(w, []byte("x"))
	p("full", 0, in, out)
	p("timeout", 10, unix.PollFd{Fd: int32(w), Events: unix.POLLIN})
	p("bad", 0, unix.PollFd{Fd: 77, Events: unix.POLLIN}, unix.PollFd{Fd: -1, Events: unix.POLLIN})
	unix.Close(w)
	p("closed writer", 0, in)
	unix.Read(r, make([]byte, 9))
	p("drained", 0, in)
	r, w = t.pipe(0)
	unix.Close(r)
	p("closed reader", 0, unix.PollFd{Fd: int32(w), Events: unix.POLLOUT})
	f := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	p("file", 0, unix.PollFd{Fd: int32(f), Events: unix.POLLIN | unix.POLLOUT | unix.POLLPRI})
	start := time.Now()
	p("nothing for 30 ms", 30)
	t.Say("waited %v", time.Since(start) >= 29*time.Millisecond)
	r, w = t.pipe(0)
	go func() { time.Sleep(20 * time.Millisecond); unix.Write(w, []byte("z")) }()
	p("woken", -1, unix.PollFd{Fd: int32(r), Events: unix.POLLIN})
	_, _, e := unix.Syscall(unix.SYS_POLL, 8, 1, 0)
	t.Err("bad address", errnoErr(e))
	ts := unix.Timespec{Nsec: 2e9}
	_, err := unix.Ppoll([]unix.PollFd{in}, &ts, nil)
	t.Err("bad timeout", err)
}

func pollSelect(t *T) {
	r, w := t.pipe(0)
	var rd, wr unix.FdSet
	rd.Set(r)
	wr.Set(w)
	n, err := unix.Select(max(r, w)+1, &rd, &wr, nil, &unix.Timeval{})
	t.Say("%d %s read %v write %v", n, errName(err), rd.IsSet(r), wr.IsSet(w))
	unix.Write(w, []byte("x"))
	rd.Set(r)
	n, err = unix.Select(max(r, w)+1, &rd, nil, nil, nil)
	t.Say("%d %s read %v", n, errName(err), rd.IsSet(r))
	// Linux looks at no number beyond its table of descriptors, and waits for
	// ever; a table that once held 90 goes to 127.
	t.Must("dup2", unix.Dup2(r, 90))
	unix.Close(90)
	rd.Zero()
	rd.Set(77)
	_, err = unix.Select(78, &rd, nil, nil, nil)
	t.Err("bad fd", err)
	_, err = unix.Select(-1, nil, nil, nil, nil)
	t.Err("negative", err)
	n, err = unix.Pselect(0, nil, nil, nil, &unix.Timespec{Nsec: 1e6}, nil)
	t.N("sleep", n, err)
	rd.Zero()
	rd.Set(w)
	tv := unix.Timeval{Usec: 5000}
	n, err = unix.Select(w+1, &rd, nil, nil, &tv)
	t.Say("%d %s left %d", n, errName(err), tv.Usec)
}

func (t *T) epollWait(what string, ep, timeout int) {
	ev := make([]unix.EpollEvent, 8)
	n, err := unix.EpollWait(ep, ev, timeout)
	for err == unix.EINTR { // a signal of Go's run-time
		n, err = unix.EpollWait(ep, ev, timeout)
	}
	var got []string
	for _, e := range ev[:max(n, 0)] {
		got = append(got, fmt.Sprintf("%d:%#x", e.Pad, e.Events))
	}
	sort.Strings(got)
	t.Say("%s: %d %s %v", what, n, errName(err), got)
}

func (t *T) ctl(what string, ep, op, fd int, events uint32, data int32) {
	t.Err(what, unix.EpollCtl(ep, op, fd, &unix.EpollEvent{Events: events, Pad: data}))
}

func pollEpoll(t *T) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	t.Must("create", err)
	r, w := t.pipe(0)
	t.ctl("add", ep, unix.EPOLL_CTL_ADD, r, unix.EPOLLIN, 1)
	t.ctl("add", ep, unix.EPOLL_CTL_ADD, w, unix.EPOLLOUT, 2)
	t.ctl("add again", ep, unix.EPOLL_CTL_ADD, r, unix.EPOLLIN, 1)
	t.epollWait("writable", ep, 0)
	unix.Write(w, []byte("x"))
	t.epollWait("both", ep, -1)
	t.epollWait("level: both again", ep, -1)
	t.ctl("mod", ep, unix.EPOLL_CTL_MOD, w, 0, 2)
	t.epollWait("readable", ep, 0)
	t.ctl("oneshot", ep, unix.EPOLL_CTL_MOD, r, unix.EPOLLIN|unix.EPOLLONESHOT, 3)
	t.epollWait("once", ep, 0)
	t.epollWait("no more", ep, 0)
	t.ctl("rearm", ep, unix.EPOLL_CTL_MOD, r, unix.EPOLLIN|unix.EPOLLONESHOT, 4)
	t.epollWait("once", ep, 0)
	t.ctl("del", ep, unix.EPOLL_CTL_DEL, r, 0, 0)
	t.ctl("del again", ep, unix.EPOLL_CTL_DEL, r, 0, 0)
	t.ctl("mod missing", ep, unix.EPOLL_CTL_MOD, r, 0, 0)
	t.ctl("bad op", ep, 9, r, 0, 0)
	t.ctl("bad fd", ep, unix.EPOLL_CTL_ADD, 77, 0, 0)
	t.ctl("itself", ep, unix.EPOLL_CTL_ADD, ep, 0, 0)
	f := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	t.ctl("regular file", ep, unix.EPOLL_CTL_ADD, f, unix.EPOLLIN, 0)
	t.ctl("not epoll", r, unix.EPOLL_CTL_ADD, w, 0, 0)
	_, err = unix.EpollWait(r, make([]unix.EpollEvent, 1), 0)
	t.Err("wait on pipe", err)
	_, err = unix.EpollCreate(0)
	t.Err("create 0", err)
	_, err = unix.EpollCreate1(1)
	t.Err("create bad flag", err)
	_, _, e := unix.Syscall6(unix.SYS_EPOLL_WAIT, uintptr(ep), 8, 0, 0, 0, 0)
	t.Err("wait for 0", errnoErr(e))
	r2, w2 := t.pipe(0)
	t.ctl("add", ep, unix.EPOLL_CTL_ADD, r2, unix.EPOLLIN|unix.EPOLLRDHUP, 5)
	unix.Close(w2)
	t.epollWait("hang up", ep, 0)
	unix.Close(r2)
	t.epollWait("closed leaves the set", ep, 0)
	r3, w3 := t.pipe(0)
	t.ctl("add", ep, unix.EPOLL_CTL_ADD, r3, unix.EPOLLIN, 6)
	d, _ := unix.Dup(r3)
	unix.Close(r3)
	unix.Write(w3, []byte("x"))
	t.epollWait("a duplicate keeps it", ep, 0)
	unix.Close(d)
	t.epollWait("none", ep, 5)
	start := time.Now()
	t.epollWait("timeout", ep, 30)
	t.Say("waited %v", time.Since(start) >= 29*time.Millisecond)
}

func pollEpollEdge(t *T) {
	ep, err := unix.EpollCreate1(0)
	t.Must("create", err)
	r, w := t.pipe(unix.O_NONBLOCK)
	t.ctl("add", ep, unix.EPOLL_CTL_ADD, r, unix.EPOLLIN|-unix.EPOLLET&0xffffffff, 1)
	t.epollWait("none", ep, 0)
	unix.Write(w, []byte("abc"))
	t.epollWait("edge", ep, 0)
	t.epollWait("no new edge", ep, 0)
	unix.Read(r, make([]byte, 1))
	t.epollWait("partial read", ep, 0)
	unix.Write(w, []byte("d"))
	t.epollWait("new data", ep, 0)
	t.ctl("mod rearms", ep, unix.EPOLL_CTL_MOD, r, unix.EPOLLIN|-unix.EPOLLET&0xffffffff, 2)
	t.epollWait("again", ep, 0)
	unix.Close(w)
	t.epollWait("hang up", ep, 0)
	t.epollWait("once", ep, 0)
}

func pollEpollNested(t *T) {
	outer, _ := unix.EpollCreate1(0)
	inner, _ := unix.EpollCreate1(0)
	r, w := t.pipe(0)
	t.ctl("inner in outer", outer, unix.EPOLL_CTL_ADD, inner, unix.EPOLLIN, 1)
	t.ctl("pipe in inner", inner, unix.EPOLL_CTL_ADD, r, unix.EPOLLIN, 2)
	t.ctl("a loop", inner, unix.EPOLL_CTL_ADD, outer, unix.EPOLLIN, 3)
	t.epollWait("quiet", outer, 0)
	unix.Write(w, []byte("x"))
	t.epollWait("outer", outer, 0)
	t.epollWait("inner", inner, 0)
	fds := []unix.PollFd{{Fd: int32(inner), Events: unix.POLLIN}}
	n, err := poll(fds, 0)
	t.Say("poll of epoll %d %s %#x", n, errName(err), fds[0].Revents)
	unix.Read(r, make([]byte, 1))
	t.epollWait("outer", outer, 0)
	go func() { time.Sleep(20 * time.Millisecond); unix.Write(w, []byte("y")) }()
	t.epollWait("woken through both", outer, 2000)
}

func pollEventfd(t *T) {
	fd, err := unix.Eventfd(3, unix.EFD_NONBLOCK)
	t.Must("eventfd", err)
	b := make([]byte, 8)
	rd := func(what string) {
		n, err := unix.Read(fd, b)
		t.Say("%s: %d %s %d", what, n, errName(err), binary.LittleEndian.Uint64(b))
	}
	wr := func(what string, v uint64) {
		n, err := unix.Write(fd, binary.LittleEndian.AppendUint64(nil, v))
		t.N(what, n, err)
	}
	rd("initial")
	_, err = unix.Read(fd, b)
	t.Err("empty", err)
	wr("5", 5)
	wr("6", 6)
	rd("sum")
	wr("max", 1<<64-2)
	wr("overflow", 1)
	wr("all ones", 1<<64-1)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}
	poll(fds, 0)
	t.Say("poll at max %#x", fds[0].Revents)
	rd("max")
	_, err = unix.Write(fd, b[:4])
	t.Err("short write", err)
	_, err = unix.Read(fd, b[:4])
	t.Err("short read", err)
	fd, err = unix.Eventfd(2, unix.EFD_SEMAPHORE|unix.EFD_NONBLOCK)
	t.Must("semaphore", err)
	rd("one")
	rd("two")
	_, err = unix.Read(fd, b)
	t.Err("three", err)
	_, err = unix.Eventfd(0, 0x40)
	t.Err("bad flag", err)
	fd, _ = unix.Eventfd(0, 0)
	go func() { time.Sleep(20 * time.Millisecond); unix.Write(fd, []byte{9, 0, 0, 0, 0, 0, 0, 0}) }()
	rd("blocking")
}

func pollTimerfd(t *T) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
	t.Must("create", err)
	b := make([]byte, 8)
	_, err = unix.Read(fd, b)
	t.Err("disarmed", err)
	set := func(value, interval time.Duration, flags int) error {
		return unix.TimerfdSettime(fd, flags, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(value)), Interval: unix.NsecToTimespec(int64(interval))}, nil)
	}
	t.Err("set", set(20*time.Millisecond, 0, 0))
	_, err = unix.Read(fd, b)
	t.Err("too early", err)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := poll(fds, 1000)
	t.N("poll", n, err)
	n, err = unix.Read(fd, b)
	t.Say("%d %s %d expirations", n, errName(err), binary.LittleEndian.Uint64(b))
	t.Err("interval", set(5*time.Millisecond, 5*time.Millisecond, 0))
	time.Sleep(60 * time.Millisecond)
	unix.Read(fd, b)
	t.Say("several %v", binary.LittleEndian.Uint64(b) >= 8)
	var cur unix.ItimerSpec
	t.Err("gettime", unix.TimerfdGettime(fd, &cur))
	t.Say("interval %d left %v", cur.Interval.Nsec, cur.Value.Nsec <= 5e6)
	t.Err("disarm", set(0, 0, 0))
	t.Err("absolute past", set(1, 0, unix.TFD_TIMER_ABSTIME))
	n, _ = poll(fds, 100)
	t.Say("at once %d", n)
	_, err = unix.Read(fd, b[:4])
	t.Err("short read", err)
	_, err = unix.TimerfdCreate(99, 0)
	t.Err("bad clock", err)
	t.Err("bad nsec", unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.Timespec{Nsec: 2e9}}, nil))
	_, err = unix.Write(fd, b)
	t.Err("write", err)
}

func pollSignalfd(t *T) { t.Say("exit %d", t.runChild("+signalfd")) }

func init() {
	child("signalfd", func([]string) int {
		t := &T{}
		block(unix.SIGUSR1)
		block(unix.SIGUSR2)
		var set unix.Sigset_t
		set.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1)
		fd, err := unix.Signalfd(-1, &set, unix.SFD_NONBLOCK)
		t.Must("signalfd", err)
		b := make([]byte, 128*3)
		_, err = unix.Read(fd, b)
		t.Err("none", err)
		tid := unix.Gettid()
		unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR2)
		unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR1)
		unix.Tgkill(unix.Getpid(), tid, unix.SIGUSR1)
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := poll(fds, 1000)
		t.N("poll", n, err)
		n, err = unix.Read(fd, b)
		t.N("read", n, err)
		for i := 0; i+128 <= n; i += 128 {
			si := (*unix.SignalfdSiginfo)(unsafe.Pointer(&b[i]))
			t.Say("signo %d code %d from me %v", si.Signo, si.Code, si.Pid == uint32(unix.Getpid()))
		}
		_, err = unix.Read(fd, b[:100])
		t.Err("short", err)
		_, err = unix.Signalfd(-1, &set, 7)
		t.Err("bad flags", err)
		return 0
	})
}

func pollInotify(t *T) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK)
	if err != nil {
		t.Err("init", err)
		return
	}
	unix.Mkdir("d", 0o755)
	_, err = unix.InotifyAddWatch(fd, "d", unix.IN_ALL_EVENTS)
	t.Err("watch", err)
	_, err = unix.InotifyAddWatch(fd, "none", unix.IN_ALL_EVENTS)
	t.Err("watch none", err)
	_, err = unix.Read(fd, make([]byte, 1000))
	t.Err("none", err)
	t.Write("d/f", "x")
	unix.Rename("d/f", "d/g")
	unix.Chmod("d/g", 0o600)
	unix.Unlink("d/g")
	unix.Mkdir("d/sub", 0o755)
	unix.Rmdir("d/sub")
	b := make([]byte, 10000)
	n, err := unix.Read(fd, b)
	t.Err("read", err)
	var cookies [2]uint32
	for o := 0; o+16 <= n; {
		ev := (*unix.InotifyEvent)(unsafe.Pointer(&b[o]))
		name := strings.TrimRight(string(b[o+16:o+16+int(ev.Len)]), "\x00")
		t.Say("%#x %s cookie %v", ev.Mask, name, ev.Cookie != 0)
		if ev.Mask&unix.IN_MOVED_FROM != 0 {
			cookies[0] = ev.Cookie
		}
		if ev.Mask&unix.IN_MOVED_TO != 0 {
			cookies[1] = ev.Cookie
		}
		o += 16 + int(ev.Len)
	}
	t.Say("cookies match %v", cookies[0] == cookies[1])
	_, err = unix.InotifyRmWatch(fd, 99)
	t.Err("rm unknown", err)
}

func pollMemfd(t *T) {
	fd, err := unix.MemfdCreate("name", unix.MFD_ALLOW_SEALING)
	t.Must("memfd", err)
	unix.Write(fd, []byte("hello"))
	t.size(fd)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	t.Err("seal", err)
	t.Err("shrink", unix.Ftruncate(fd, 1))
	_, err = unix.Pwrite(fd, []byte("beyond"), 3)
	t.Err("grow", err)
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	t.N("seals", n, err)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	t.Err("seal write", err)
	_, err = unix.Pwrite(fd, []byte("x"), 0)
	t.Err("write", err)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
	t.Err("seal sealed", err)
	b := make([]byte, 50)
	n, _ = unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), b)
	t.Say("%q", b[:max(0, n)])
	_, err = unix.MemfdCreate("x", 0x4000)
	t.Err("bad flag", err)
	fd, _ = unix.MemfdCreate("x", 0)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)
	t.Err("sealing not allowed", err)
}

func pollPidfd(t *T) {
	c := t.startChild("+cat")
	in, _ := c.StdinPipe()
	t.Must("start", c.Start())
	fd, err := unix.PidfdOpen(c.Process.Pid, 0)
	t.Must("pidfd_open", err)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := poll(fds, 0)
	t.N("running", n, err)
	t.Err("signal 0", unix.PidfdSendSignal(fd, 0, nil, 0))
	dir, err := unix.Open(fmt.Sprintf("/proc/%d", c.Process.Pid), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	t.Must("open /proc/PID", err)
	t.Err("signal 0 by directory", unix.PidfdSendSignal(dir, 0, nil, 0))
	other, err := unix.Open("/proc", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	t.Must("open /proc", err)
	t.Err("signal by another directory", unix.PidfdSendSignal(other, 0, nil, 0))
	in.Close()
	n, err = poll(fds, 2000)
	t.N("exited", n, err)
	var si unix.Siginfo
	t.Err("waitid", unix.Waitid(unix.P_PIDFD, fd, &si, unix.WEXITED, nil))
	t.Say("signo %d code %d", si.Signo, si.Code)
	t.Err("signal after", unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0))
	t.Err("signal by directory after", unix.PidfdSendSignal(dir, unix.SIGTERM, nil, 0))
	_, err = unix.PidfdOpen(1<<22-1, 0)
	t.Err("no such process", err)
	_, err = unix.PidfdOpen(-1, 0)
	t.Err("negative", err)
}

func init() { program("poll.sigio", pollSigio) }

// pollSigio has the kernel tell by signals what can be read and written.
func pollSigio(t *T) {
	runtime.LockOSThread()
	for _, sig := range []int{0, int(unix.SIGUSR2)} {
		want := unix.SIGIO
		if sig != 0 {
			want = unix.Signal(sig)
		}
		var set unix.Sigset_t
		set.Val[0] = 1 << (uint(want) - 1)
		t.Must("block", unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil))
		for _, kind := range []string{"pipe", "unix", "udp"} {
			var r, w int
			switch kind {
			case "pipe":
				var p [2]int
				t.Must("pipe", unix.Pipe2(p[:], unix.O_CLOEXEC))
				r, w = p[0], p[1]
			case "unix":
				p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				t.Must("socketpair", err)
				r, w = p[0], p[1]
			default:
				r, w = t.socket(unix.AF_INET, unix.SOCK_DGRAM), t.socket(unix.AF_INET, unix.SOCK_DGRAM)
				t.Must("bind", unix.Bind(r, loopback(unix.AF_INET, 0)))
				t.Must("connect", unix.Connect(w, loopback(unix.AF_INET, sockPort(r))))
			}
			n, err := unix.FcntlInt(uintptr(r), unix.F_GETOWN, 0)
			t.N("no owner", n, err)
			_, err = unix.FcntlInt(uintptr(r), unix.F_SETOWN, 1<<22-1)
			t.Err("nobody", err)
			ex := [2]int32{0, int32(unix.Gettid())} // F_OWNER_TID
			_, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(r), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&ex)))
			t.Err("owner", errnoErr(e))
			_, err = unix.FcntlInt(uintptr(r), unix.F_SETSIG, sig)
			t.Err("signal", err)
			n, err = unix.FcntlInt(uintptr(r), unix.F_GETSIG, 0)
			t.N("signal", n, err)
			_, err = unix.FcntlInt(uintptr(r), unix.F_SETFL, unix.O_ASYNC|unix.O_NONBLOCK)
			t.Err("async", err)
			for range 2 {
				unix.Write(w, []byte("x"))
				info, err := sigTimedWait(&set, time.Second)
				t.Err(kind+" told", err)
				if err == nil {
					t.Say("signal %d code %d of the descriptor %v", info.Signo, info.Code, sig == 0 || int(binary.LittleEndian.Uint32(unsafe.Slice((*byte)(unsafe.Pointer(&info)), 128)[24:])) == r)
				}
				unix.Read(r, make([]byte, 10))
				for err == nil { // what else there is to tell
					_, err = sigTimedWait(&set, 20*time.Millisecond)
				}
			}
			_, err = unix.FcntlInt(uintptr(r), unix.F_SETFL, unix.O_NONBLOCK)
			t.Err("no more", err)
			unix.Write(w, []byte("x"))
			_, err = sigTimedWait(&set, 50*time.Millisecond)
			t.Err("told", err)
			unix.Close(r)
			unix.Close(w)
		}
	}
}

func sigTimedWait(set *unix.Sigset_t, d time.Duration) (info unix.Siginfo, err error) {
	ts := unix.NsecToTimespec(int64(d))
	for {
		// Another signal, like those that Go sends itself, is no answer.
		_, _, e := unix.Syscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&ts)), 8, 0, 0)
		if e != unix.EINTR {
			return info, errnoErr(e)
		}
	}
}

func init() {
	child("cat", func([]string) int {
		b := make([]byte, 4096)
		for {
			n, err := unix.Read(0, b)
			if n <= 0 || err != nil {
				return 0
			}
			unix.Write(1, b[:n])
		}
	})
}
