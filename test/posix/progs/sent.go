package main

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	program("inet.zerocopy", inetZerocopy)
	program("inet.stamps", inetStamps)
	program("inet.left", inetLeft)
	program("inet.target", inetTarget)
	program("inet.sources", inetSources)
	program("inet.fastopen", inetFastOpen)
}

// tcpPair is a connection over the loopback: what connected, and what was accepted.
func tcpPair(t *T) (a, b int) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	defer unix.Close(l)
	t.Must("bind", unix.Bind(l, loopback(unix.AF_INET, 0)))
	t.Must("listen", unix.Listen(l, 1))
	a, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Must("connect", unix.Connect(a, loopback(unix.AF_INET, sockPort(l))))
	b, _, err = unix.Accept(l)
	t.Must("accept", err)
	return a, b
}

// controls says what control messages came, and the numbers of those of the error queue.
func controls(t *T, oob []byte) {
	list, err := unix.ParseSocketControlMessage(oob)
	t.Must("control messages", err)
	for _, c := range list {
		if c.Header.Level == unix.IPPROTO_IP && c.Header.Type == unix.IP_RECVERR {
			le := binary.LittleEndian
			t.Say("error queue: errno %d origin %d type %d info %d data %d", le.Uint32(c.Data), c.Data[4], c.Data[5], le.Uint32(c.Data[8:]), le.Uint32(c.Data[12:]))
			continue
		}
		t.Say("level %d type %d of %d bytes", c.Header.Level, c.Header.Type, len(c.Data))
	}
}

// inetZerocopy: each call that sends with MSG_ZEROCOPY has a number, and is told of
// when its bytes are the sender's again. Linux's msg_zerocopy.rst.
func inetZerocopy(t *T) {
	a, b := tcpPair(t)
	t.Err("without SO_ZEROCOPY", unix.Sendto(a, []byte("one"), unix.MSG_ZEROCOPY, nil))
	oob, p := make([]byte, 256), make([]byte, 100)
	_, _, _, _, err := unix.Recvmsg(a, p, oob, unix.MSG_ERRQUEUE)
	t.Err("nothing is told", err)
	t.Err("SO_ZEROCOPY", unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1))
	for range 3 {
		t.Err("send", unix.Sendto(a, []byte("more"), unix.MSG_ZEROCOPY, nil))
	}
	n, err := unix.Read(b, p)
	t.N("read", n, err)
	fds := []unix.PollFd{{Fd: int32(a)}}
	_, err = unix.Poll(fds, 1000)
	t.Err("poll", err)
	t.Say("events %#x", fds[0].Revents&unix.POLLERR)
	told := uint32(0)
	for told < 3 {
		n, m, flags, _, err := unix.Recvmsg(a, p, oob, unix.MSG_ERRQUEUE)
		if err != nil {
			t.Err("told", err)
			break
		}
		list, _ := unix.ParseSocketControlMessage(oob[:m])
		c := list[0].Data
		le := binary.LittleEndian
		t.Say("%d bytes, flags %#x, level %d type %d, errno %d, origin %d", n, flags, list[0].Header.Level, list[0].Header.Type, le.Uint32(c), c[4])
		if low := le.Uint32(c[8:]); low != told {
			t.Say("from %d", low)
		}
		told = le.Uint32(c[12:]) + 1
		if told < 3 {
			t.Say("in several")
		}
	}
	t.Say("told of %d", told)
}

// inetStamps: SO_TIMESTAMPING with stamps of the kernel's own.
func inetStamps(t *T) {
	const send, receive, software, id, only = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 11
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Must("bind", unix.Bind(fd, loopback(unix.AF_INET, 0)))
	t.Err("SO_TIMESTAMPING", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, receive|software))
	oob, p := make([]byte, 512), make([]byte, 100)
	to := loopback(unix.AF_INET, sockPort(fd))
	m := 0
	for try := 0; m == 0 && try < 100; try++ { // Linux begins to stamp a while after it was asked to
		t.Must("send", unix.Sendto(fd, []byte("stamped"), 0, to))
		_, m, _, _, err = unix.Recvmsg(fd, p, oob, 0)
		t.Must("receive", err)
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
	controls(t, oob[:m])
	t.Err("stamps of what is sent", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, send|software|id|only))
	for range 2 {
		t.Err("send", unix.Sendto(fd, []byte("stamped"), 0, to))
		t.Must("wait", waitFor(fd, unix.POLLERR))
		n, m, flags, _, err := unix.Recvmsg(fd, p, oob, unix.MSG_ERRQUEUE)
		t.N("told", n, err)
		t.Say("flags %#x", flags&unix.MSG_ERRQUEUE)
		controls(t, oob[:m])
	}
}

// waitFor waits a second for an event.
func waitFor(fd int, events int16) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, 1000)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.ETIMEDOUT
		}
		return err
	}
}

// inetLeft: TCP_INQ, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD.
func inetLeft(t *T) {
	a, b := tcpPair(t)
	t.Err("TCP_INQ", unix.SetsockoptInt(b, unix.IPPROTO_TCP, unix.TCP_INQ, 1))
	n, err := unix.Write(a, make([]byte, 1000))
	t.N("write", n, err)
	t.Must("wait", waitFor(b, unix.POLLIN))
	oob, p := make([]byte, 256), make([]byte, 300)
	n, m, _, _, err := unix.Recvmsg(b, p, oob, 0)
	t.N("received", n, err)
	list, err := unix.ParseSocketControlMessage(oob[:m])
	t.Must("control messages", err)
	for _, c := range list {
		t.Say("level %d type %d: %d", c.Header.Level, c.Header.Type, binary.LittleEndian.Uint32(c.Data))
	}
	for _, q := range []uint{unix.SIOCINQ, unix.SIOCOUTQ, 0x894b} {
		v, err := unix.IoctlGetInt(b, q)
		t.N("left", v, err)
	}
}

// inetTarget: IP_RECVORIGDSTADDR says where a datagram was sent to.
func inetTarget(t *T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Must("bind", unix.Bind(fd, loopback(unix.AF_INET, 0)))
	t.Err("IP_RECVORIGDSTADDR", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, 1))
	t.Err("send", unix.Sendto(fd, []byte("x"), 0, loopback(unix.AF_INET, sockPort(fd))))
	oob, p := make([]byte, 256), make([]byte, 10)
	n, m, _, _, err := unix.Recvmsg(fd, p, oob, 0)
	t.N("received", n, err)
	list, err := unix.ParseSocketControlMessage(oob[:m])
	t.Must("control messages", err)
	for _, c := range list {
		t.Say("level %d type %d: own port %v, %d", c.Header.Level, c.Header.Type, int(binary.BigEndian.Uint16(c.Data[2:])) == sockPort(fd), c.Data[4:8])
	}
}

// inetSources: IP_MSFILTER sets and tells the sources of a membership.
func inetSources(t *T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	group, local := [4]byte{239, 7, 7, 7}, [4]byte{127, 0, 0, 1}
	filter := func(mode uint32, sources ...[4]byte) string {
		b := append(append([]byte(nil), group[:]...), local[:]...)
		b = binary.LittleEndian.AppendUint32(b, mode)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(sources)))
		for _, s := range sources {
			b = append(b, s[:]...)
		}
		return string(b)
	}
	const msfilter, exclude, include = 41, 0, 1
	set := func(what, v string) { t.Err(what, unix.SetsockoptString(fd, unix.IPPROTO_IP, msfilter, v)) }
	one, two := [4]byte{192, 0, 2, 1}, [4]byte{192, 0, 2, 2}
	set("before joining", filter(exclude, one))
	t.Err("join", unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group, Interface: local}))
	set("exclude two", filter(exclude, one, two))
	set("an odd mode", filter(7, one))
	set("include one", filter(include, two))
	set("too short", filter(include, two)[:17])
	set("none at all", filter(include))
	set("after that", filter(exclude, one))
	t.Err("join again", unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group, Interface: local}))
}

// inetFastOpen: sendto(2) with MSG_FASTOPEN connects and sends.
func inetFastOpen(t *T) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Must("bind", unix.Bind(l, loopback(unix.AF_INET, 0)))
	t.Err("TCP_FASTOPEN", unix.SetsockoptInt(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5))
	t.Must("listen", unix.Listen(l, 1))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Err("send", unix.Sendto(fd, []byte("first"), unix.MSG_FASTOPEN, loopback(unix.AF_INET, sockPort(l))))
	t.Err("send more", unix.Sendto(fd, []byte("second"), 0, nil))
	s, _, err := unix.Accept(l)
	t.Must("accept", err)
	got := make([]byte, 11)
	n := 0
	for n < len(got) {
		k, err := unix.Read(s, got[n:])
		if err != nil || k == 0 {
			t.N("read", k, err)
			break
		}
		n += k
	}
	t.Say("%q", got[:n])
	t.Err("again", unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, loopback(unix.AF_INET, sockPort(l))))
}
