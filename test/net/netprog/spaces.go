package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// spacePort is what the program in each namespace listens on.
const spacePort = "127.0.0.1:7999"

// crashSpaces is crash in two namespaces of the network that the program makes: it prints
// "ready" once somebody waits in each, and then what each of them says.
func crashSpaces() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var programs []*exec.Cmd
	var said []*bufio.Scanner
	for _, name := range []string{"one", "two"} {
		c := exec.Command(self, "space", name)
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		c.Stderr = os.Stdout
		out, err := c.StdoutPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		programs, said = append(programs, c), append(said, bufio.NewScanner(out))
	}
	for _, s := range said {
		if !s.Scan() || s.Text() != "ready" {
			return fmt.Errorf("a program in a namespace says %q", s.Text())
		}
	}
	fmt.Println("ready")
	for i, s := range said {
		for s.Scan() {
			fmt.Println(s.Text())
		}
		err = errors.Join(err, programs[i].Wait())
	}
	return err
}

// space waits in a namespace of its own until netd ends, and says how the namespace is
// when there is another.
func space(name string) error {
	say := func(format string, args ...any) { fmt.Printf(name+": "+format+"\n", args...) }
	if err := loopbackUp(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", spacePort)
	if err != nil {
		return err
	}
	told := make(chan error)
	go func() {
		_, err := l.Accept()
		told <- err
	}()
	fmt.Println("ready")
	if err := <-told; !errors.Is(err, unix.ENETDOWN) {
		return fmt.Errorf("accept: %w", err)
	}
	say("accept: network is down")
	if err := awaitStack(); err != nil {
		return err
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	say("lo: %v", lo.Flags)
	_, err = net.Dial("tcp", spacePort)
	say("unreachable: %v", errors.Is(err, unix.ENETUNREACH))
	if err := loopbackUp(); err != nil {
		return err
	}
	if l, err = net.Listen("tcp", spacePort); err != nil {
		return err
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprintln(c, name)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", spacePort)
	if err != nil {
		return err
	}
	text, err := bufio.NewReader(c).ReadString('\n')
	say("reached %s", strings.TrimSpace(text))
	return err
}

// loopbackUp is "ip link set lo up".
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
