package main

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	program("inet.udplite4", func(t *T) { inetUDPLite(t, unix.AF_INET) })
	program("inet.udplite6", func(t *T) { inetUDPLite(t, unix.AF_INET6) })
	program("inet.segments", inetSegments)
	program("inet.multicast", inetMulticast)
	program("inet.device", inetDevice)
}

// shortWait bounds how long fd waits for what should not come.
func (t *T) shortWait(fd int) {
	tv := unix.NsecToTimeval(int64(100 * time.Millisecond))
	t.Must("timeout", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

// recvfrom is recvfrom(2), which with a timeout is not restarted after the signals that
// Go's scheduler sends.
func recvfrom(fd int, p []byte, flags int) (n int, from unix.Sockaddr, err error) {
	for {
		if n, from, err = unix.Recvfrom(fd, p, flags); err != unix.EINTR {
			return n, from, err
		}
	}
}

func inetUDPLite(t *T, family int) {
	open := func() int {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDPLITE)
		t.Must("socket", err)
		return fd
	}
	a, b := open(), open()
	t.Must("bind", unix.Bind(a, loopback(family, 0)))
	p := sockPort(a)
	v, err := unix.GetsockoptInt(a, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	t.N("protocol", v, err)
	// UDP's ports are others.
	u, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Err("the port for udp", unix.Bind(u, loopback(family, p)))
	t.Err("connect", unix.Connect(b, loopback(family, p)))
	msg := bytes.Repeat([]byte("lite"), 300)
	n, err := unix.Write(b, msg)
	t.N("write", n, err)
	got := make([]byte, 4096)
	n, from, err := recvfrom(a, got, 0)
	t.N("read", n, err)
	t.Say("whole %v, from b %v", bytes.Equal(got[:max(n, 0)], msg), port(from) == sockPort(b))

	const level, send, receive = unix.IPPROTO_UDPLITE, 10, 11
	for _, c := range []int{0, 1, 8, 20, 100000, -1} {
		t.Err("set coverage", unix.SetsockoptInt(b, level, send, c))
		v, err := unix.GetsockoptInt(b, level, send)
		t.N("coverage", v, err)
	}
	t.Err("cover 20", unix.SetsockoptInt(b, level, send, 20))
	t.Err("want 16", unix.SetsockoptInt(a, level, receive, 16))
	n, err = unix.Write(b, msg)
	t.N("write", n, err)
	n, _, err = recvfrom(a, got, 0)
	t.N("read", n, err)
	t.Err("want 40", unix.SetsockoptInt(a, level, receive, 40))
	t.shortWait(a)
	n, err = unix.Write(b, msg)
	t.N("write", n, err)
	_, _, err = recvfrom(a, got, 0)
	t.Err("not covered enough", err)
	n, err = unix.Write(b, msg[:10]) // all of it is covered
	t.N("write", n, err)
	n, _, err = recvfrom(a, got, 0)
	t.N("read", n, err)
	unix.Close(a)
	n, err = unix.Write(b, msg)
	t.N("to nobody", n, err)
	time.Sleep(20 * time.Millisecond)
	_, err = unix.Write(b, msg)
	t.Err("again", err)
	v, err = unix.GetsockoptInt(b, unix.IPPROTO_IP, unix.IP_MTU)
	if family == unix.AF_INET6 {
		v, err = unix.GetsockoptInt(b, unix.IPPROTO_IPV6, unix.IPV6_MTU)
	}
	t.N("mtu", v, err)
	_, err = unix.GetsockoptInt(u, unix.IPPROTO_IP, unix.IP_MTU)
	t.Err("mtu without a peer", err)
	_, err = unix.GetsockoptInt(u, level, send)
	t.Err("coverage of udp", err)
}

func inetSegments(t *T) {
	const segment, gro = unix.UDP_SEGMENT, unix.UDP_GRO
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		a, b := t.socket(family, unix.SOCK_DGRAM), t.socket(family, unix.SOCK_DGRAM)
		t.Must("bind", unix.Bind(a, loopback(family, 0)))
		t.Must("connect", unix.Connect(b, loopback(family, sockPort(a))))
		t.shortWait(a)
		t.Err("segment", unix.SetsockoptInt(b, unix.IPPROTO_UDP, segment, 1000))
		v, err := unix.GetsockoptInt(b, unix.IPPROTO_UDP, segment)
		t.N("segment", v, err)
		t.Err("too large", unix.SetsockoptInt(b, unix.IPPROTO_UDP, segment, 70000))
		msg := bytes.Repeat([]byte("0123456789"), 350)
		n, err := unix.Write(b, msg)
		t.N("write", n, err)
		got := make([]byte, 65536)
		for range 4 {
			n, _, err = recvfrom(a, got, 0)
			t.N("datagram", n, err)
		}
		_, _, err = recvfrom(a, got, 0)
		t.Err("no more", err)
		// A control message overrules the option.
		t.Err("off", unix.SetsockoptInt(b, unix.IPPROTO_UDP, segment, 0))
		oob := make([]byte, unix.CmsgSpace(2))
		binary.LittleEndian.PutUint64(oob, uint64(unix.CmsgLen(2)))
		binary.LittleEndian.PutUint32(oob[8:], unix.IPPROTO_UDP)
		binary.LittleEndian.PutUint32(oob[12:], segment)
		binary.LittleEndian.PutUint16(oob[16:], 1200)
		n, err = unix.SendmsgN(b, msg, oob, nil, 0)
		t.N("sendmsg", n, err)
		for range 3 {
			n, _, err = recvfrom(a, got, 0)
			t.N("datagram", n, err)
		}
		binary.LittleEndian.PutUint16(oob[16:], 4)
		_, err = unix.SendmsgN(b, msg, oob, nil, 0)
		t.Err("too many", err)
		// The receiver may take them at once.
		t.Err("gro", unix.SetsockoptInt(a, unix.IPPROTO_UDP, gro, 1))
		t.Err("segment", unix.SetsockoptInt(b, unix.IPPROTO_UDP, segment, 1000))
		n, err = unix.Write(b, msg)
		t.N("write", n, err)
		in := make([]byte, 64)
		n, oobn, _, _, err := unix.Recvmsg(a, got, in, 0)
		t.N("all", n, err)
		msgs, err := unix.ParseSocketControlMessage(in[:oobn])
		t.Must("control", err)
		for _, m := range msgs {
			t.Say("level %d type %d value %d", m.Header.Level, m.Header.Type, binary.LittleEndian.Uint32(m.Data))
		}
	}
}

func inetMulticast(t *T) {
	group := [4]byte{239, 77, 1, 2}
	lo := [4]byte{127, 0, 0, 1}
	a, b := t.socket(unix.AF_INET, unix.SOCK_DGRAM), t.socket(unix.AF_INET, unix.SOCK_DGRAM)
	t.Must("bind", unix.Bind(a, &unix.SockaddrInet4{}))
	t.shortWait(a)
	mreq := &unix.IPMreq{Multiaddr: group, Interface: lo}
	t.Err("leave what was not joined", unix.SetsockoptIPMreq(a, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq))
	t.Err("join", unix.SetsockoptIPMreq(a, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
	t.Err("join again", unix.SetsockoptIPMreq(a, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
	t.Err("join what is none", unix.SetsockoptIPMreq(a, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: [4]byte{10, 1, 1, 1}, Interface: lo}))
	t.Err("join nowhere", unix.SetsockoptIPMreq(a, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group, Interface: [4]byte{192, 0, 2, 77}}))
	t.Err("short", unix.SetsockoptInt(a, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, 1))
	s := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	t.Err("a stream", unix.SetsockoptIPMreq(s, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))

	t.Err("interface", unix.SetsockoptInet4Addr(b, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, lo))
	addr, err := unix.GetsockoptInet4Addr(b, unix.IPPROTO_IP, unix.IP_MULTICAST_IF)
	t.Say("interface %v %v", addr, err)
	t.Err("no such interface", unix.SetsockoptInet4Addr(b, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, [4]byte{192, 0, 2, 77}))
	to := &unix.SockaddrInet4{Port: sockPort(a), Addr: group}
	t.Err("send", unix.Sendto(b, []byte("hello, group"), 0, to))
	got := make([]byte, 100)
	n, _, err := recvfrom(a, got, 0)
	t.N("receive", n, err)
	t.Say("%q", got[:max(n, 0)])
	t.Err("leave", unix.SetsockoptIPMreq(a, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq))
	t.Err("send", unix.Sendto(b, []byte("nobody?"), 0, to))
	_, _, err = recvfrom(a, got, 0)
	t.Err("left", err)

	src := append(append(group[:], lo[:]...), lo[:]...)
	t.Err("join a source", unix.SetsockoptString(a, unix.IPPROTO_IP, unix.IP_ADD_SOURCE_MEMBERSHIP, string(src)))
	t.Err("send", unix.Sendto(b, []byte("from the source"), 0, to))
	n, _, err = recvfrom(a, got, 0)
	t.N("receive", n, err)
	t.Err("leave the source", unix.SetsockoptString(a, unix.IPPROTO_IP, unix.IP_DROP_SOURCE_MEMBERSHIP, string(src)))

	// The same by RFC 3678, for both families.
	request := make([]byte, 136)
	request[0] = 1
	sockaddr := append([]byte{unix.AF_INET, 0, 0, 0}, group[:]...)
	copy(request[8:], sockaddr)
	const join, leave = 42, 45
	t.Err("join by request", unix.SetsockoptString(a, unix.IPPROTO_IP, join, string(request)))
	t.Err("send", unix.Sendto(b, []byte("by request"), 0, to))
	n, _, err = recvfrom(a, got, 0)
	t.N("receive", n, err)
	t.Err("leave by request", unix.SetsockoptString(a, unix.IPPROTO_IP, leave, string(request)))
	t.Err("leave by request again", unix.SetsockoptString(a, unix.IPPROTO_IP, leave, string(request)))
	t.Err("short request", unix.SetsockoptString(a, unix.IPPROTO_IP, join, string(request[:100])))

	v, err := unix.GetsockoptInt(b, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL)
	t.N("all", v, err)
	six, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	t.Must("socket", err)
	t.Err("interface 1", unix.SetsockoptInt(six, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, 1))
	v, err = unix.GetsockoptInt(six, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF)
	t.N("interface", v, err)
	t.Err("interface 99", unix.SetsockoptInt(six, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, 9999))
	t.Must("bind", unix.Bind(six, &unix.SockaddrInet6{}))
	t.shortWait(six)
	mreq6 := &unix.IPv6Mreq{Multiaddr: [16]byte{0xff, 0x11, 15: 0x77}, Interface: 1}
	t.Err("join", unix.SetsockoptIPv6Mreq(six, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, mreq6))
	t.Err("leave", unix.SetsockoptIPv6Mreq(six, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, mreq6))
}

func inetDevice(t *T) {
	for _, typ := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
		fd := t.socket(unix.AF_INET, typ)
		t.Err("none", unix.BindToDevice(fd, "nothing0"))
		t.Err("lo", unix.BindToDevice(fd, "lo"))
		name, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		t.Say("device %q %v", name, err)
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
		t.N("index", v, err)
		t.Err("away", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 0))
		t.Err("index 9999", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 9999))
		t.Err("header included", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1))
	}
}

func init() {
	program("inet.errqueue4", func(t *T) { inetErrQueue(t, unix.AF_INET) })
	program("inet.errqueue6", func(t *T) { inetErrQueue(t, unix.AF_INET6) })
}

// inetErrQueue sends to a port that nobody has, and reads what came of it.
func inetErrQueue(t *T, family int) {
	level, name := unix.IPPROTO_IP, unix.IP_RECVERR
	if family == unix.AF_INET6 {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	for _, connected := range []bool{false, true} {
		a := t.socket(family, unix.SOCK_DGRAM)
		t.Must("bind", unix.Bind(a, loopback(family, 0)))
		to := loopback(family, sockPort(a))
		unix.Close(a)
		b := t.socket(family, unix.SOCK_DGRAM)
		t.Err("errors", unix.SetsockoptInt(b, level, name, 1))
		_, _, _, _, err := unix.Recvmsg(b, nil, nil, unix.MSG_ERRQUEUE)
		t.Err("none yet", err)
		if connected {
			t.Must("connect", unix.Connect(b, to))
			_, err = unix.Write(b, []byte("anybody?"))
		} else {
			err = unix.Sendto(b, []byte("anybody?"), 0, to)
		}
		t.Err("send", err)
		fds := []unix.PollFd{{Fd: int32(b), Events: unix.POLLIN}}
		n, err := poll(fds, 2000)
		t.N("poll", n, err)
		t.Say("events %#x", fds[0].Revents)
		buf, oob := make([]byte, 100), make([]byte, 200)
		n, oobn, flags, from, err := unix.Recvmsg(b, buf, oob, unix.MSG_ERRQUEUE)
		t.N("read", n, err)
		t.Say("%q, flags %#x, to there %v", buf[:max(n, 0)], flags, port(from) == port(to))
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		t.Must("control", err)
		for _, m := range msgs {
			t.Say("level %d type %d: %x", m.Header.Level, m.Header.Type, m.Data)
		}
		_, _, _, _, err = unix.Recvmsg(b, buf, oob, unix.MSG_ERRQUEUE)
		t.Err("no more", err)
		v, err := unix.GetsockoptInt(b, unix.SOL_SOCKET, unix.SO_ERROR)
		t.N("SO_ERROR", v, err)
	}
}

func init() { program("inet.raw", inetRaw) }

// inetRaw pings the loopback by raw sockets: what they filter, and a header of the
// sender's own.
func inetRaw(t *T) {
	raw := func(protocol int) int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		t.Must("socket", err)
		t.shortWait(fd)
		return fd
	}
	a := raw(unix.IPPROTO_ICMP)
	id := uint16(unix.Getpid())
	echo := func(seq byte) []byte {
		b := []byte{8, 0, 0, 0, byte(id >> 8), byte(id), 0, seq, 'p', 'i', 'n', 'g'}
		sum := uint32(0)
		for i := 0; i < len(b); i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
		sum = ^(sum>>16 + sum&0xffff)
		b[2], b[3] = byte(sum>>8), byte(sum)
		return b
	}
	// heard are the types of what comes back with our number, and their hops.
	heard := func(fd int, seq byte) {
		b := make([]byte, 200)
		for {
			n, _, err := recvfrom(fd, b, 0)
			if err != nil {
				t.Err("no more", err)
				return
			}
			if n >= 32 && b[24] == byte(id>>8) && b[25] == byte(id) && b[27] == seq {
				t.Say("type %d code %d, %d hops, %q", b[20], b[21], b[8], b[28:n])
			}
		}
	}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	t.N("port", sockPort(a), nil)
	t.Err("send", unix.Sendto(a, echo(1), 0, to))
	heard(a, 1)
	mask := func(m uint32) string { return string(binary.LittleEndian.AppendUint32(nil, m)) }
	const solRaw, icmpFilter = 255, 1
	t.Err("filter all but replies", unix.SetsockoptString(a, solRaw, icmpFilter, mask(^uint32(1))))
	v, err := unix.GetsockoptInt(a, solRaw, icmpFilter)
	t.N("filter", v, err)
	t.Err("send", unix.Sendto(a, echo(2), 0, to))
	heard(a, 2)
	t.Err("filter all", unix.SetsockoptString(a, solRaw, icmpFilter, mask(^uint32(0))))
	t.Err("send", unix.Sendto(a, echo(3), 0, to))
	heard(a, 3)
	t.Err("filter nothing", unix.SetsockoptString(a, solRaw, icmpFilter, mask(0)))

	t.Err("header of our own", unix.SetsockoptInt(a, unix.IPPROTO_IP, unix.IP_HDRINCL, 1))
	head := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 33, unix.IPPROTO_ICMP, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1}
	t.Err("send", unix.Sendto(a, append(head, echo(4)...), 0, to))
	heard(a, 4)
	t.Err("connect", unix.Connect(a, to))
	_, err = unix.Getpeername(a)
	t.Err("peer", err)
	u := t.socket(unix.AF_INET, unix.SOCK_DGRAM)
	t.Err("filter of udp", unix.SetsockoptString(u, solRaw, icmpFilter, mask(0)))
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, 1000)
	t.Err("no such protocol", err)
}
