package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// outcome is how one who waited was told.
type outcome struct{ name, what string }

// crash holds a socket of each kind, with somebody waiting in each way, prints "ready",
// and then how each was told that the stack is gone; then "again" once there is another,
// with what works on it.
func crash(peer, echo string) error {
	told := make(chan outcome, 32)
	waiting, err := waiters(peer, told)
	if err != nil {
		return err
	}
	down := make(chan struct{}) // a new socket was refused, because there is no stack
	go func() {
		for {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err == unix.ENETDOWN {
				close(down)
				return
			}
			unix.Close(fd)
			time.Sleep(time.Millisecond)
		}
	}()
	time.Sleep(100 * time.Millisecond) // all of them wait
	fmt.Println("ready")
	got := map[string]string{}
	for range waiting {
		select {
		case o := <-told:
			got[o.name] = o.what
		case <-time.After(20 * time.Second):
			return fmt.Errorf("of %d who waited only these were told: %v", len(waiting), got)
		}
	}
	for _, name := range waiting {
		fmt.Printf("%s: %s\n", name, got[name])
	}
	select {
	case <-down:
		fmt.Println("new socket: network is down")
	case <-time.After(20 * time.Second):
		return errors.New("new sockets were never refused")
	}
	return again(echo)
}

// awaitStack waits until there is another stack.
func awaitStack() error {
	begun := time.Now()
	for {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			return unix.Close(fd)
		}
		if time.Since(begun) > 20*time.Second {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// again waits for another stack, and tries it.
func again(peer string) error {
	if err := awaitStack(); err != nil {
		return err
	}
	fmt.Println("again")
	if err := datagramsWithin("127.0.0.1:0", 2); err != nil {
		return err
	}
	if err := connectWithin(); err != nil {
		return err
	}
	fmt.Println("within")
	if peer == "" {
		return nil
	}
	for range 50 { // the peer may still have the old neighbour
		if err := exchange(peer, 100_000, false); err == nil {
			fmt.Println("outside")
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	list, err := net.InterfaceAddrs()
	fmt.Println(len(list) > 2, err)
	return err
}

// waiters are those who wait, by name.
func waiters(peer string, told chan<- outcome) (names []string, err error) {
	fail := func(e error) {
		if err == nil {
			err = e
		}
	}
	wait := func(name string, f func() error) {
		names = append(names, name)
		go func() { told <- outcome{name, oneLine(f())} }()
	}
	bound := func(typ int) int {
		fd, e := unix.Socket(unix.AF_INET, typ, 0)
		fail(e)
		fail(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		return fd
	}
	listener := bound(unix.SOCK_STREAM)
	fail(unix.Listen(listener, 5))
	wait("accept", func() error { _, _, e := unix.Accept(listener); return e })
	polled := bound(unix.SOCK_STREAM)
	fail(unix.Listen(polled, 5))
	wait("poll of a listener", func() error {
		p := []unix.PollFd{{Fd: int32(polled), Events: unix.POLLIN}}
		_, e := unix.Poll(p, -1)
		for e == unix.EINTR { // by a signal of Go's
			_, e = unix.Poll(p, -1)
		}
		return errors.Join(e, fmt.Errorf("events %#x", p[0].Revents&(unix.POLLERR|unix.POLLHUP)))
	})
	d := bound(unix.SOCK_DGRAM)
	wait("recv of datagrams", func() error { _, _, e := unix.Recvfrom(d, make([]byte, 10), 0); return e })
	if peer == "" {
		return names, err
	}
	connect := func() int {
		fd, e := dialRaw(peer)
		fail(e)
		return fd
	}
	reader, writer, epolled := connect(), connect(), connect()
	wait("read", func() error { _, e := unix.Read(reader, make([]byte, 10)); return e })
	wait("write", func() error {
		for {
			if _, e := unix.Write(writer, make([]byte, 1<<20)); e != nil {
				return e
			}
		}
	})
	ep, e := unix.EpollCreate1(0)
	fail(e)
	fail(unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, epolled, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET | unix.EPOLLRDHUP, Fd: int32(epolled)}))
	wait("epoll", func() error {
		ev := make([]unix.EpollEvent, 1)
		_, e := unix.EpollWait(ep, ev, -1)
		for e == unix.EINTR {
			_, e = unix.EpollWait(ep, ev, -1)
		}
		if e != nil {
			return e
		}
		v, e := unix.GetsockoptInt(epolled, unix.SOL_SOCKET, unix.SO_ERROR)
		return errors.Join(e, fmt.Errorf("events %#x, then %w", ev[0].Events&(unix.EPOLLERR|unix.EPOLLHUP), unix.Errno(v)))
	})
	c, e := net.Dial("tcp", peer)
	fail(e)
	wait("Go's reader", func() error { _, e := io.ReadFull(c, make([]byte, 1)); return errors.Unwrap(errors.Unwrap(e)) })
	return names, err
}

// oneLine is an error on one line.
func oneLine(err error) string {
	if err == nil {
		return "no error"
	}
	text := ""
	for _, r := range err.Error() {
		if r == '\n' {
			r = ' '
		}
		text += string(r)
	}
	return text
}

func dialRaw(peer string) (int, error) {
	host, port, err := net.SplitHostPort(peer)
	if err != nil {
		return -1, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(host).To4()), Port: n})
}

// sink takes connections and reads nothing of them.
func sink(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		kept = append(kept, c)
	}
}
