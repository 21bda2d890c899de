package main

import (
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("unix.pair", unixPair)
	program("unix.stream", unixStream)
	program("unix.dgram", unixDgram)
	program("unix.seqpacket", unixSeqpacket)
	program("unix.rights", unixRights)
	program("unix.abstract", unixAbstract)
	program("unix.errors", unixErrors)
	program("unix.shutdown", unixShutdown)
	program("unix.bulk", unixBulk)
}

func (t *T) socket(domain, typ int) int {
	fd, err := unix.Socket(domain, typ, 0)
	t.Must("socket", err)
	return fd
}

func unixPair(t *T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socketpair", err)
	n, err := unix.Write(p[0], []byte("hello "))
	t.N("write", n, err)
	unix.Write(p[0], []byte("world"))
	b := make([]byte, 100)
	n, err = unix.Read(p[1], b)
	t.Say("%q %s", b[:n], errName(err))
	n, _, err = unix.Recvfrom(p[1], b, unix.MSG_DONTWAIT)
	t.N("nothing", n, err)
	unix.Write(p[0], []byte("peek"))
	n, _, err = unix.Recvfrom(p[1], b, unix.MSG_PEEK)
	t.Say("%q %s", b[:n], errName(err))
	n, _, err = unix.Recvfrom(p[1], b[:2], 0)
	t.Say("%q %s", b[:n], errName(err))
	q, err := unix.IoctlGetInt(p[1], unix.TIOCINQ)
	t.N("FIONREAD", q, err)
	cred, err := unix.GetsockoptUcred(p[0], unix.SOL_SOCKET, unix.SO_PEERCRED)
	t.Say("peer is me %v uid %d %s", cred != nil && int(cred.Pid) == os.Getpid(), cred.Uid, errName(err))
	groups, err := os.Getgroups()
	t.Must("groups", err)
	var theirs [64]uint32
	size := uint32(len(theirs) * 4)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(p[0]), unix.SOL_SOCKET, unix.SO_PEERGROUPS, uintptr(unsafe.Pointer(&theirs)), uintptr(unsafe.Pointer(&size)), 0)
	same := errno == 0 && int(size) == 4*len(groups)
	for i, g := range groups {
		same = same && int(theirs[i]) == g
	}
	t.Say("the peer's groups are mine %v, errno %d", same, errno)
	for _, o := range []struct {
		name string
		opt  int
	}{{"TYPE", unix.SO_TYPE}, {"DOMAIN", unix.SO_DOMAIN}, {"PROTOCOL", unix.SO_PROTOCOL}, {"ACCEPTCONN", unix.SO_ACCEPTCONN}, {"ERROR", unix.SO_ERROR}, {"REUSEADDR", unix.SO_REUSEADDR}} {
		v, err := unix.GetsockoptInt(p[0], unix.SOL_SOCKET, o.opt)
		t.N("SO_"+o.name, v, err)
	}
	unix.Close(p[0])
	n, err = unix.Read(p[1], b)
	t.Say("rest %q %s", b[:n], errName(err))
	n, err = unix.Read(p[1], b)
	t.N("end", n, err)
	_, err = unix.Write(p[1], b)
	t.Err("write to closed", err)
	_, err = unix.Socketpair(unix.AF_INET, unix.SOCK_STREAM, 0)
	t.Err("pair of inet", err)
	p, _ = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	unix.Write(p[1], []byte("unread"))
	unix.Close(p[0])
	_, err = unix.Read(p[1], b)
	t.Err("peer closed with data unread", err)
	var st unix.Stat_t
	unix.Fstat(p[1], &st)
	t.Say("mode %o", st.Mode)
}

func unixStream(t *T) {
	l := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("bind", unix.Bind(l, &unix.SockaddrUnix{Name: "s"}))
	c := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("connect before listen", unix.Connect(c, &unix.SockaddrUnix{Name: "s"}))
	t.Err("listen", unix.Listen(l, 2))
	t.Err("connect", unix.Connect(c, &unix.SockaddrUnix{Name: "s"}))
	t.Err("connect again", unix.Connect(c, &unix.SockaddrUnix{Name: "s"}))
	s, sa, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	t.Err("accept", err)
	t.Say("peer %q", sa.(*unix.SockaddrUnix).Name)
	unix.Write(c, []byte("ping"))
	b := make([]byte, 100)
	n, _ := unix.Read(s, b)
	t.Say("%q", b[:n])
	name, _ := unix.Getsockname(s)
	t.Say("server name %q", name.(*unix.SockaddrUnix).Name)
	name, _ = unix.Getpeername(c)
	t.Say("client's peer %q", name.(*unix.SockaddrUnix).Name)
	name, _ = unix.Getsockname(c)
	t.Say("client name %q", name.(*unix.SockaddrUnix).Name)
	v, err := unix.GetsockoptInt(l, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	t.N("accepting", v, err)
	_, err = unix.Read(l, b)
	t.Err("read of listener", err)
	l2 := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("bind in use", unix.Bind(l2, &unix.SockaddrUnix{Name: "s"}))
	unix.Close(l)
	c2 := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("connect to closed", unix.Connect(c2, &unix.SockaddrUnix{Name: "s"}))
	t.Write("plain", "")
	t.Err("connect to a file", unix.Connect(c2, &unix.SockaddrUnix{Name: "plain"}))
	t.Err("connect to none", unix.Connect(c2, &unix.SockaddrUnix{Name: "none"}))
	var st unix.Stat_t
	unix.Lstat("s", &st)
	t.Say("mode %o", st.Mode&unix.S_IFMT)
	t.Err("unlink", unix.Unlink("s"))
	t.Err("bind again", unix.Bind(l2, &unix.SockaddrUnix{Name: "s"}))
	t.Err("bind twice", unix.Bind(l2, &unix.SockaddrUnix{Name: "s2"}))
	unix.SetNonblock(l2, true)
	unix.Listen(l2, 1)
	_, _, err = unix.Accept(l2)
	t.Err("nothing to accept", err)
	go func() { time.Sleep(20 * time.Millisecond); unix.Connect(c2, &unix.SockaddrUnix{Name: "s"}) }()
	fds := []unix.PollFd{{Fd: int32(l2), Events: unix.POLLIN}}
	n, err = poll(fds, 2000)
	t.Say("poll %d %#x %s", n, fds[0].Revents, errName(err))
	t.tree()
}

func unixDgram(t *T) {
	a, b := t.socket(unix.AF_UNIX, unix.SOCK_DGRAM), t.socket(unix.AF_UNIX, unix.SOCK_DGRAM)
	t.Err("bind", unix.Bind(a, &unix.SockaddrUnix{Name: "a"}))
	t.Err("bind", unix.Bind(b, &unix.SockaddrUnix{Name: "b"}))
	t.Err("sendto", unix.Sendto(a, []byte("one"), 0, &unix.SockaddrUnix{Name: "b"}))
	t.Err("sendto", unix.Sendto(a, []byte("longer"), 0, &unix.SockaddrUnix{Name: "b"}))
	t.Err("sendto none", unix.Sendto(a, []byte("x"), 0, &unix.SockaddrUnix{Name: "c"}))
	buf := make([]byte, 100)
	n, from, err := unix.Recvfrom(b, buf, 0)
	t.Say("%q from %q %s", buf[:n], from.(*unix.SockaddrUnix).Name, errName(err))
	n, _, err = unix.Recvfrom(b, buf[:3], unix.MSG_TRUNC)
	t.Say("truncated %d %q %s", n, buf[:3], errName(err))
	_, err = unix.Write(a, []byte("x"))
	t.Err("not connected", err)
	t.Err("connect", unix.Connect(a, &unix.SockaddrUnix{Name: "b"}))
	n, err = unix.Write(a, nil)
	t.N("empty datagram", n, err)
	n, err = unix.Read(b, buf)
	t.N("received", n, err)
	unix.Close(b)
	_, err = unix.Write(a, []byte("x"))
	t.Err("peer gone", err)
	t.Err("listen", unix.Listen(a, 1))
}

func unixSeqpacket(t *T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	t.Must("pair", err)
	unix.Write(p[0], []byte("first"))
	unix.Write(p[0], []byte("second"))
	b := make([]byte, 4)
	n, _, flags, _, err := unix.Recvmsg(p[1], b, nil, 0)
	t.Say("%q flags %#x %s", b[:n], flags, errName(err))
	b = make([]byte, 40)
	n, _, flags, _, err = unix.Recvmsg(p[1], b, nil, 0)
	t.Say("%q flags %#x %s", b[:n], flags, errName(err))
	unix.Close(p[0])
	n, err = unix.Read(p[1], b)
	t.N("end", n, err)
}

func unixRights(t *T) {
	t.Write("f", "content of f")
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	t.Must("pair", err)
	f := t.Open("f", unix.O_RDONLY, 0)
	r, w := t.pipe(0)
	t.Err("send", unix.Sendmsg(p[0], []byte("x"), unix.UnixRights(f, w), nil, 0))
	unix.Close(f)
	unix.Close(w)
	b, oob := make([]byte, 100), make([]byte, 100)
	n, on, flags, _, err := unix.Recvmsg(p[1], b, oob, unix.MSG_CMSG_CLOEXEC)
	t.Say("%d %d flags %#x %s", n, on, flags, errName(err))
	msgs, _ := unix.ParseSocketControlMessage(oob[:on])
	fds, _ := unix.ParseUnixRights(&msgs[0])
	t.Say("%d descriptors", len(fds))
	n, _ = unix.Read(fds[0], b)
	t.Say("%q", b[:n])
	fl, _ := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0)
	t.Say("cloexec %d", fl)
	unix.Write(fds[1], []byte("through"))
	n, _ = unix.Read(r, b)
	t.Say("%q", b[:n])
	unix.Close(fds[1])
	n, err = unix.Read(r, b)
	t.N("all writers closed", n, err)

	// What does not fit is closed, and the flag says so.
	unix.Sendmsg(p[0], []byte("y"), unix.UnixRights(fds[0], fds[0], fds[0]), nil, 0)
	n, on, flags, _, err = unix.Recvmsg(p[1], b, make([]byte, unix.CmsgSpace(4)), 0)
	t.Say("short control: %d %d flags %#x %s", n, on, flags, errName(err))
	// A message with descriptors is not merged with the next.
	unix.Write(p[0], []byte("aa"))
	unix.Sendmsg(p[0], []byte("bb"), unix.UnixRights(fds[0]), nil, 0)
	unix.Write(p[0], []byte("cc"))
	for range 2 {
		n, on, _, _, err = unix.Recvmsg(p[1], b, oob, unix.MSG_DONTWAIT)
		t.Say("%q control %v %s", b[:n], on > 0, errName(err))
	}
	t.Err("bad descriptor", unix.Sendmsg(p[0], []byte("x"), unix.UnixRights(99), nil, 0))
	// A read without room for control drops the descriptors.
	unix.Sendmsg(p[0], []byte("z"), unix.UnixRights(fds[0]), nil, 0)
	n, err = unix.Read(p[1], b)
	t.Say("%q %s", b[:n], errName(err))
	// Credentials.
	unix.SetsockoptInt(p[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	unix.Write(p[0], []byte("who"))
	n, on, _, _, _ = unix.Recvmsg(p[1], b, oob, 0)
	msgs, _ = unix.ParseSocketControlMessage(oob[:on])
	if len(msgs) == 1 {
		c, err := unix.ParseUnixCredentials(&msgs[0])
		t.Say("%q from me %v uid %d %s", b[:n], int(c.Pid) == os.Getpid(), c.Uid, errName(err))
	}
	// A socket in flight in itself.
	q, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	t.Err("itself", unix.Sendmsg(q[0], []byte("x"), unix.UnixRights(q[0], q[1]), nil, 0))
	unix.Close(q[0])
	unix.Close(q[1])
}

func unixAbstract(t *T) {
	name := "@bulkhead-test-" + t.dir[strings.LastIndex(t.dir, "/")+1:]
	l := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("bind", unix.Bind(l, &unix.SockaddrUnix{Name: name}))
	t.Err("listen", unix.Listen(l, 5))
	l2 := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("in use", unix.Bind(l2, &unix.SockaddrUnix{Name: name}))
	c := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("connect", unix.Connect(c, &unix.SockaddrUnix{Name: name}))
	sa, _ := unix.Getpeername(c)
	t.Say("peer %v", sa.(*unix.SockaddrUnix).Name == name)
	unix.Close(l)
	t.Err("free again", unix.Bind(l2, &unix.SockaddrUnix{Name: name}))
	c2 := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("refused", unix.Connect(c2, &unix.SockaddrUnix{Name: name}))
	t.Err("none", unix.Connect(c2, &unix.SockaddrUnix{Name: name + "x"}))
	auto := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	t.Err("autobind", unix.Bind(auto, &unix.SockaddrUnix{}))
	sa, _ = unix.Getsockname(auto)
	t.Say("autobound %d", len(sa.(*unix.SockaddrUnix).Name))
}

func unixErrors(t *T) {
	_, err := unix.Socket(99, unix.SOCK_STREAM, 0)
	t.Err("bad family", err)
	_, err = unix.Socket(unix.AF_UNIX, 99, 0)
	t.Err("bad type", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 7)
	t.Err("bad protocol", err)
	s := t.socket(unix.AF_UNIX, unix.SOCK_STREAM)
	b := make([]byte, 9)
	_, err = unix.Read(s, b)
	t.Err("read unconnected", err)
	_, err = unix.Write(s, b)
	t.Err("write unconnected", err)
	t.Err("listen unbound", unix.Listen(s, 1))
	_, _, err = unix.Accept(s)
	t.Err("accept unbound", err)
	_, err = unix.Getpeername(s)
	t.Err("getpeername", err)
	t.Err("shutdown", unix.Shutdown(s, unix.SHUT_RD))
	t.Err("bad option", unix.SetsockoptInt(s, unix.SOL_SOCKET, 9999, 1))
	t.Err("bad level", unix.SetsockoptInt(s, 9999, 1, 1))
	_, err = unix.GetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	t.Err("tcp option", err)
	t.Err("bind on file", unix.Bind(s, &unix.SockaddrUnix{Name: t.dir}))
	t.Err("bind in none", unix.Bind(s, &unix.SockaddrUnix{Name: "none/s"}))
	f := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	t.Err("listen of file", unix.Listen(f, 1))
	_, err = unix.GetsockoptInt(f, unix.SOL_SOCKET, unix.SO_TYPE)
	t.Err("getsockopt of file", err)
	t.Err("connect bad fd", unix.Connect(77, &unix.SockaddrUnix{Name: "x"}))
	t.Err("listen bad fd", unix.Listen(77, 1))
	_, _, e := unix.Syscall(unix.SYS_BIND, uintptr(s), 8, 20)
	t.Err("bind bad address", errnoErr(e))
	_, _, e = unix.Syscall(unix.SYS_BIND, uintptr(s), 8, 500)
	t.Err("bind long address", errnoErr(e))
	_, _, err = unix.Recvfrom(s, b, 0x10000000)
	t.Err("recv odd flag", err)
}

func unixShutdown(t *T) {
	p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	ev := func(what string) {
		fds := []unix.PollFd{{Fd: int32(p[0]), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}, {Fd: int32(p[1]), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
		poll(fds, 0)
		t.Say("%s: %#x %#x", what, fds[0].Revents, fds[1].Revents)
	}
	ev("open")
	t.Err("shut write", unix.Shutdown(p[0], unix.SHUT_WR))
	ev("after")
	n, err := unix.Read(p[1], make([]byte, 4))
	t.N("peer reads", n, err)
	_, err = unix.Write(p[0], []byte("x"))
	t.Err("write", err)
	n, err = unix.Write(p[1], []byte("back"))
	t.N("other way", n, err)
	t.Err("shut both", unix.Shutdown(p[1], unix.SHUT_RDWR))
	ev("end")
	b := make([]byte, 9)
	n, err = unix.Read(p[0], b)
	t.Say("still reads %q %s", b[:n], errName(err))
	t.Err("bad how", unix.Shutdown(p[0], 9))
	p, _ = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	go func() { time.Sleep(20 * time.Millisecond); unix.Shutdown(p[0], unix.SHUT_RD) }()
	n, err = unix.Read(p[0], b)
	t.N("shutdown wakes a reader", n, err)
}

func unixBulk(t *T) {
	p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	const total = 64 << 20
	go func() {
		b := []byte(strings.Repeat("0123456789abcde\n", 8192))
		for left := total; left > 0; left -= len(b) {
			for rest := b; len(rest) > 0; { // a signal of Go's run-time may cut a write short
				n, err := unix.Write(p[0], rest)
				if err != nil {
					return
				}
				rest = rest[n:]
			}
		}
		unix.Close(p[0])
	}()
	n, s, b := 0, uint32(0), make([]byte, 100000)
	for {
		m, err := unix.Read(p[1], b)
		if m <= 0 || err != nil {
			break
		}
		for _, c := range b[:m] {
			s = s*131 + uint32(c)
		}
		n += m
	}
	t.Say("%d bytes, sum %x", n, s)
}
