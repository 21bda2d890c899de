package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	program("inet.tcp4", func(t *T) { inetTCP(t, unix.AF_INET) })
	program("inet.tcp6", func(t *T) { inetTCP(t, unix.AF_INET6) })
	program("inet.udp4", func(t *T) { inetUDP(t, unix.AF_INET) })
	program("inet.udp6", func(t *T) { inetUDP(t, unix.AF_INET6) })
	program("inet.nonblock", inetNonblock)
	program("inet.errors", inetErrors)
	program("inet.options", inetOptions)
	program("inet.shutdown", inetShutdown)
	program("inet.reset", inetReset)
	program("inet.dual", inetDual)
	program("inet.gonet", inetGoNet)
	program("inet.bulk", inetBulk)
	program("inet.epoll", inetEpoll)
}

// loopback is an address of the family on the loopback, with any port.
func loopback(family, port int) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	}
	return &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}
}

func port(sa unix.Sockaddr) int {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return a.Port
	case *unix.SockaddrInet6:
		return a.Port
	}
	return -1
}

func sockPort(fd int) int {
	sa, _ := unix.Getsockname(fd)
	return port(sa)
}

// listener is a TCP listener on the loopback with its port.
func (t *T) listener(family int) (fd, p int) {
	l := t.socket(family, unix.SOCK_STREAM)
	t.Must("bind", unix.Bind(l, loopback(family, 0)))
	t.Must("listen", unix.Listen(l, 8))
	return l, sockPort(l)
}

// connected is both ends of a TCP connection.
func (t *T) connected(family int) (c, s int) {
	l, p := t.listener(family)
	defer unix.Close(l)
	c = t.socket(family, unix.SOCK_STREAM)
	t.Must("connect", unix.Connect(c, loopback(family, p)))
	s, _, err := unix.Accept(l)
	t.Must("accept", err)
	return c, s
}

func inetTCP(t *T, family int) {
	l, p := t.listener(family)
	t.Say("has a port %v", p > 0)
	c := t.socket(family, unix.SOCK_STREAM)
	t.Err("connect", unix.Connect(c, loopback(family, p)))
	s, from, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	t.Err("accept", err)
	t.Say("client's port %v", port(from) == sockPort(c))
	pn, err := unix.Getpeername(c)
	t.Say("peer's port %v %s", port(pn) == p, errName(err))
	n, err := unix.Write(c, []byte("request"))
	t.N("write", n, err)
	b := make([]byte, 100)
	n, err = unix.Read(s, b)
	t.Say("%q %s", b[:max(n, 0)], errName(err))
	n, err = unix.Write(s, []byte("answer"))
	t.N("write", n, err)
	n, _, err = unix.Recvfrom(c, b, unix.MSG_PEEK)
	t.Say("peek %q %s", b[:max(n, 0)], errName(err))
	n, _, err = unix.Recvfrom(c, b[:6], unix.MSG_WAITALL)
	t.Say("%q %s", b[:max(n, 0)], errName(err))
	_, _, err = unix.Recvfrom(c, b, unix.MSG_DONTWAIT)
	t.Err("nothing", err)
	unix.Close(c)
	n, err = unix.Read(s, b)
	t.N("end", n, err)
	c2 := t.socket(family, unix.SOCK_STREAM)
	unix.Close(l)
	t.Err("connect to closed port", unix.Connect(c2, loopback(family, p)))
}

func inetUDP(t *T, family int) {
	a, b := t.socket(family, unix.SOCK_DGRAM), t.socket(family, unix.SOCK_DGRAM)
	t.Must("bind", unix.Bind(a, loopback(family, 0)))
	t.Must("bind", unix.Bind(b, loopback(family, 0)))
	t.Err("sendto", unix.Sendto(a, []byte("datagram one"), 0, loopback(family, sockPort(b))))
	t.Err("sendto", unix.Sendto(a, nil, 0, loopback(family, sockPort(b))))
	buf := make([]byte, 2000)
	n, from, err := unix.Recvfrom(b, buf, 0)
	t.Say("%q from a %v %s", buf[:max(n, 0)], port(from) == sockPort(a), errName(err))
	n, _, err = unix.Recvfrom(b, buf, 0)
	t.N("empty", n, err)
	unix.Sendto(a, []byte("truncated"), 0, loopback(family, sockPort(b)))
	n, _, fl, _, err := unix.Recvmsg(b, buf[:4], nil, 0)
	t.Say("%q flags %#x %s", buf[:max(n, 0)], fl, errName(err))
	_, err = unix.Write(a, []byte("x"))
	t.Err("no destination", err)
	t.Err("connect", unix.Connect(a, loopback(family, sockPort(b))))
	n, err = unix.Write(a, []byte("connected"))
	t.N("write", n, err)
	n, _, err = unix.Recvfrom(b, buf, 0)
	t.Say("%q %s", buf[:max(n, 0)], errName(err))
	t.Err("too large", unix.Sendto(a, make([]byte, 66000), 0, loopback(family, sockPort(b))))
	p := sockPort(b)
	unix.Close(b)
	unix.Write(a, []byte("nobody"))
	fds := []unix.PollFd{{Fd: int32(a), Events: unix.POLLIN}}
	poll(fds, 500)
	_, err = unix.Read(a, buf)
	t.Err("refused", err)
	c := t.socket(family, unix.SOCK_DGRAM)
	t.Err("port is free", unix.Bind(c, loopback(family, p)))
}

func inetNonblock(t *T) {
	l, p := t.listener(unix.AF_INET)
	unix.SetNonblock(l, true)
	_, _, err := unix.Accept(l)
	t.Err("accept", err)
	c := t.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	err = unix.Connect(c, loopback(unix.AF_INET, p))
	t.Say("connect %v", err == nil || err == unix.EINPROGRESS)
	fds := []unix.PollFd{{Fd: int32(c), Events: unix.POLLOUT}}
	n, err := poll(fds, 2000)
	t.Say("poll %d %#x %s", n, fds[0].Revents, errName(err))
	v, err := unix.GetsockoptInt(c, unix.SOL_SOCKET, unix.SO_ERROR)
	t.N("SO_ERROR", v, err)
	fds[0] = unix.PollFd{Fd: int32(l), Events: unix.POLLIN}
	poll(fds, 2000)
	s, _, err := unix.Accept(l)
	t.Err("accept", err)
	_, err = unix.Read(c, make([]byte, 5))
	t.Err("read", err)
	total := 0
	for {
		n, err = unix.Write(c, make([]byte, 65536))
		if err != nil {
			break
		}
		total += n
	}
	t.Say("fills %v then %s", total > 65536, errName(err))
	fds[0] = unix.PollFd{Fd: int32(c), Events: unix.POLLOUT | unix.POLLIN}
	n, _ = poll(fds, 0)
	t.Say("full poll %d", n)
	got := 0
	for got < total {
		n, err := unix.Read(s, make([]byte, 1<<17))
		if err != nil || n == 0 {
			break
		}
		got += n
	}
	t.Say("drained %v", got == total)
	n, _ = poll(fds, 2000)
	t.Say("writable %d %#x", n, fds[0].Revents)
	unix.Close(l)
	c2 := t.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
	err = unix.Connect(c2, loopback(unix.AF_INET, p))
	if err == unix.EINPROGRESS {
		fds[0] = unix.PollFd{Fd: int32(c2), Events: unix.POLLOUT}
		poll(fds, 2000)
		v, _ := unix.GetsockoptInt(c2, unix.SOL_SOCKET, unix.SO_ERROR)
		err = unix.Errno(v)
	}
	t.Err("refused", err)
}

func inetErrors(t *T) {
	l, p := t.listener(unix.AF_INET)
	s := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	t.Err("address in use", unix.Bind(s, loopback(unix.AF_INET, p)))
	t.Err("address not here", unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}}))
	_, err := unix.Read(s, make([]byte, 4))
	t.Err("read unconnected", err)
	_, err = unix.Write(s, make([]byte, 4))
	t.Err("write unconnected", err)
	_, err = unix.Getpeername(s)
	t.Err("getpeername", err)
	t.Err("shutdown unconnected", unix.Shutdown(s, unix.SHUT_WR))
	_, _, err = unix.Accept(s)
	t.Err("accept", err)
	t.Err("connect of listener", unix.Connect(l, loopback(unix.AF_INET, p)))
	t.Err("bind wrong family", unix.Bind(s, loopback(unix.AF_INET6, 0)))
	t.Err("connect", unix.Connect(s, loopback(unix.AF_INET, p)))
	t.Err("connect twice", unix.Connect(s, loopback(unix.AF_INET, p)))
	t.Err("listen connected", unix.Listen(s, 1))
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_SEQPACKET, 0)
	t.Err("inet seqpacket", err)
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_UDP)
	t.Err("stream of udp", err)
	u := t.socket(unix.AF_INET, unix.SOCK_DGRAM)
	t.Err("listen of udp", unix.Listen(u, 1))
	_, _, err = unix.Accept(u)
	t.Err("accept of udp", err)
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(u), 8, 16)
	t.Err("connect bad address", errnoErr(e))
	_, _, e = unix.Syscall(unix.SYS_CONNECT, uintptr(u), 8, 1)
	t.Err("connect short address", errnoErr(e))
	t.Err("bad option", unix.SetsockoptInt(s, unix.IPPROTO_TCP, 9999, 1))
}

func inetOptions(t *T) {
	s := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	for _, o := range []struct {
		name       string
		level, opt int
		set        int
	}{
		{"REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {"REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{"KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {"NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30}, {"KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
		{"KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3}, {"TTL", unix.IPPROTO_IP, unix.IP_TTL, 33}, {"TOS", unix.IPPROTO_IP, unix.IP_TOS, 0x10},
		{"BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
	} {
		before, err := unix.GetsockoptInt(s, o.level, o.opt)
		err2 := unix.SetsockoptInt(s, o.level, o.opt, o.set)
		after, err3 := unix.GetsockoptInt(s, o.level, o.opt)
		t.Say("%s: %d %s set %s then %d %s", o.name, before, errName(err), errName(err2), after, errName(err3))
	}
	t.Err("SNDBUF", unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_SNDBUF, 50000))
	v, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_SNDBUF)
	t.N("doubled", v, err)
	t.Err("linger", unix.SetsockoptLinger(s, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3}))
	t.Err("rcvtimeo", unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}))
	c, _ := t.connected(unix.AF_INET)
	unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
	start := time.Now()
	_, err = unix.Read(c, make([]byte, 1))
	t.Say("%s after a while %v", errName(err), time.Since(start) > 15*time.Millisecond)
	for _, o := range []int{unix.SO_TYPE, unix.SO_DOMAIN, unix.SO_PROTOCOL, unix.SO_ACCEPTCONN, unix.SO_ERROR} {
		v, err := unix.GetsockoptInt(c, unix.SOL_SOCKET, o)
		t.N(fmt.Sprint("option ", o), v, err)
	}
}

func inetShutdown(t *T) {
	c, s := t.connected(unix.AF_INET)
	unix.Write(c, []byte("last words"))
	t.Err("shut write", unix.Shutdown(c, unix.SHUT_WR))
	_, err := unix.Write(c, []byte("x"))
	t.Err("write", err)
	b := make([]byte, 100)
	n, err := unix.Read(s, b)
	t.Say("%q %s", b[:max(0, n)], errName(err))
	n, err = unix.Read(s, b)
	t.N("end", n, err)
	fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
	poll(fds, 1000)
	t.Say("poll %#x", fds[0].Revents)
	n, err = unix.Write(s, []byte("reply"))
	t.N("half open", n, err)
	n, err = unix.Read(c, b)
	t.Say("%q %s", b[:max(0, n)], errName(err))
	unix.Shutdown(s, unix.SHUT_RDWR)
	n, err = unix.Read(c, b)
	t.N("end", n, err)
	c, s = t.connected(unix.AF_INET)
	go func() { time.Sleep(20 * time.Millisecond); unix.Shutdown(c, unix.SHUT_RD) }()
	n, err = unix.Read(c, b)
	t.N("shut read wakes", n, err)
	_ = s
}

func inetReset(t *T) {
	c, s := t.connected(unix.AF_INET)
	unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(c)
	fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}
	poll(fds, 1000)
	_, err := unix.Read(s, make([]byte, 1))
	t.Err("reset", err)
	n, err := unix.Read(s, make([]byte, 1))
	t.N("then", n, err)
	_, err = unix.Write(s, []byte("x"))
	t.Err("write", err)
	c, s = t.connected(unix.AF_INET)
	unix.Write(s, []byte("unread"))
	fds[0].Fd = int32(c)
	poll(fds, 1000)
	unix.Close(c)
	fds[0].Fd = int32(s)
	poll(fds, 1000)
	_, err = unix.Read(s, make([]byte, 1))
	t.Err("closed with data unread", err)
}

func inetDual(t *T) {
	l := t.socket(unix.AF_INET6, unix.SOCK_STREAM)
	v, err := unix.GetsockoptInt(l, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	t.N("v6only", v, err)
	t.Err("bind any", unix.Bind(l, &unix.SockaddrInet6{}))
	t.Err("listen", unix.Listen(l, 1))
	c := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	t.Err("connect by IPv4", unix.Connect(c, loopback(unix.AF_INET, sockPort(l))))
	_, from, err := unix.Accept(l)
	t.Err("accept", err)
	t.Say("mapped %v", from.(*unix.SockaddrInet6).Addr[10:15])
	l2 := t.socket(unix.AF_INET6, unix.SOCK_STREAM)
	t.Err("set v6only", unix.SetsockoptInt(l2, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	t.Err("bind", unix.Bind(l2, &unix.SockaddrInet6{}))
	t.Err("listen", unix.Listen(l2, 1))
	c = t.socket(unix.AF_INET, unix.SOCK_STREAM)
	t.Err("refused by IPv4", unix.Connect(c, loopback(unix.AF_INET, sockPort(l2))))
	any4 := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	c4 := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	unix.Bind(any4, &unix.SockaddrInet4{})
	unix.Listen(any4, 1)
	t.Err("any means here", unix.Connect(c4, &unix.SockaddrInet4{Port: sockPort(any4)}))
	c127 := t.socket(unix.AF_INET, unix.SOCK_STREAM)
	t.Err("127.9.9.9 is loopback", unix.Connect(c127, &unix.SockaddrInet4{Port: sockPort(any4), Addr: [4]byte{127, 9, 9, 9}}))
}

func inetGoNet(t *T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.Must("listen", err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	var wg sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for i := range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			defer c.Close()
			msg := bytes.Repeat([]byte{byte(i)}, 30000)
			go func() { c.Write(msg); c.(*net.TCPConn).CloseWrite() }()
			got, err := io.ReadAll(c)
			if err == nil && bytes.Equal(got, msg) {
				mu.Lock()
				good++
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	t.Say("%d of 50 echoed", good)
	c, err := net.Dial("tcp", l.Addr().String())
	t.Must("dial", err)
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	ne, ok := err.(net.Error)
	t.Say("deadline %v", ok && ne.Timeout())
	p, err := net.ListenPacket("udp", "[::1]:0")
	t.Must("listen", err)
	u, err := net.Dial("udp", p.LocalAddr().String())
	t.Must("dial", err)
	u.Write([]byte("datagram"))
	b := make([]byte, 100)
	n, from, err := p.ReadFrom(b)
	t.Say("%q from the dialer %v", b[:n], err == nil && from.String() == u.LocalAddr().String())
}

func inetBulk(t *T) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		c, s := t.connected(family)
		const total = 100 << 20
		go func() {
			b := make([]byte, 1<<17)
			for i := range b {
				b[i] = byte(i * i >> 3)
			}
			for left := total; left > 0; {
				n, err := unix.Write(c, b[:min(left, len(b))])
				if err != nil {
					return
				}
				left -= n
			}
			unix.Close(c)
		}()
		h, n, b := crc32.NewIEEE(), 0, make([]byte, 100003)
		for {
			m, err := unix.Read(s, b)
			if m <= 0 || err != nil {
				break
			}
			h.Write(b[:m])
			n += m
		}
		t.Say("%d bytes, crc %x", n, h.Sum32())
		unix.Close(s)
	}
}

func inetEpoll(t *T) {
	ep, _ := unix.EpollCreate1(0)
	c, s := t.connected(unix.AF_INET)
	t.ctl("add", ep, unix.EPOLL_CTL_ADD, s, unix.EPOLLIN|unix.EPOLLRDHUP|-unix.EPOLLET&0xffffffff, 1)
	t.epollWait("quiet", ep, 0)
	unix.Write(c, []byte("abc"))
	t.epollWait("data", ep, 1000)
	t.epollWait("no new edge", ep, 0)
	unix.Write(c, []byte("d"))
	t.epollWait("more", ep, 1000)
	unix.Close(c)
	t.epollWait("closed", ep, 1000)
	n, err := unix.Read(s, make([]byte, 9))
	t.N("read", n, err)
}
