package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	program("lock.flock", lockFlock)
	program("lock.fcntl", lockFcntl)
	program("lock.ofd", lockOFD)
	program("lock.wait", lockWait)
	child("locker", childLocker)
}

// childLocker takes commands on standard input, one a line, and answers each
// with one line: it is the other process that holds or wants a lock.
func childLocker([]string) int {
	fd, err := unix.Open("f", unix.O_RDWR, 0)
	if err != nil {
		return 1
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		fmt.Println(lockStep(fd, f))
	}
	return 0
}

// lockStep does one of: flock sh|ex|un; lock r|w|u START LEN; test r|w START LEN;
// ofd ...; wait r|w START LEN (blocks).
func lockStep(fd int, f []string) string {
	if f[0] == "flock" {
		how := map[string]int{"sh": unix.LOCK_SH, "ex": unix.LOCK_EX, "un": unix.LOCK_UN}[f[1]]
		return errName(unix.Flock(fd, how|unix.LOCK_NB))
	}
	l := unix.Flock_t{Type: map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK, "u": unix.F_UNLCK}[f[1]]}
	fmt.Sscan(f[2], &l.Start)
	fmt.Sscan(f[3], &l.Len)
	cmd := map[string]int{"lock": unix.F_SETLK, "wait": unix.F_SETLKW, "test": unix.F_GETLK, "ofd": unix.F_OFD_SETLK, "ofdtest": unix.F_OFD_GETLK}[f[0]]
	err := unix.FcntlFlock(uintptr(fd), cmd, &l)
	if (f[0] == "test" || f[0] == "ofdtest") && err == nil {
		return fmt.Sprintf("type %d whence %d start %d len %d by-someone %v", l.Type, l.Whence, l.Start, l.Len, l.Pid != 0)
	}
	return errName(err)
}

// A peer is a locker child.
type peer struct {
	in   io.WriteCloser
	out  *bufio.Reader
	wait func() error
}

func (t *T) peer() *peer {
	c := t.command("+locker")
	c.Stdin, c.Stdout = nil, nil
	in, err := c.StdinPipe()
	t.Must("pipe", err)
	out, err := c.StdoutPipe()
	t.Must("pipe", err)
	t.Must("start", c.Start())
	return &peer{in, bufio.NewReader(out), c.Wait}
}

func (p *peer) do(cmd string) string {
	fmt.Fprintln(p.in, cmd)
	s, err := p.out.ReadString('\n')
	if err != nil {
		return "lost: " + err.Error()
	}
	return strings.TrimSpace(s)
}

// both runs a script of lines "me CMD" and "it CMD" and prints every answer.
func (t *T) both(fd int, p *peer, script ...string) {
	for _, s := range script {
		who, cmd, _ := strings.Cut(s, " ")
		if who == "it" {
			t.Say("%s: %s", s, p.do(cmd))
			continue
		}
		t.Say("%s: %s", s, lockStep(fd, strings.Fields(cmd)))
	}
}

func lockFlock(t *T) {
	t.Write("f", "")
	fd := t.Open("f", unix.O_RDWR, 0)
	p := t.peer()
	t.both(fd, p, "me flock ex", "it flock sh", "it flock ex", "me flock sh", "it flock sh", "it flock ex", "me flock un", "it flock ex", "me flock sh")
	p.in.Close()
	p.wait()
	t.both(fd, p, "me flock ex")
	d, _ := unix.Dup(fd)
	t.Err("through dup", unix.Flock(d, unix.LOCK_EX|unix.LOCK_NB))
	other := t.Open("f", unix.O_RDONLY, 0)
	t.Err("other description", unix.Flock(other, unix.LOCK_SH|unix.LOCK_NB))
	unix.Close(fd)
	t.Err("dup still holds", unix.Flock(other, unix.LOCK_SH|unix.LOCK_NB))
	unix.Close(d)
	t.Err("all closed", unix.Flock(other, unix.LOCK_SH|unix.LOCK_NB))
	t.Err("bad op", unix.Flock(other, 77))
}

func lockFcntl(t *T) {
	t.Write("f", "0123456789")
	fd := t.Open("f", unix.O_RDWR, 0)
	p := t.peer()
	t.both(fd, p, "me lock w 0 10", "it lock r 5 1", "it test w 0 0", "it lock w 10 5", "me test w 0 0", "me test r 12 1",
		"me lock u 3 4", "it lock w 3 4", "it lock w 2 1", "it test w 0 3", "it test w 7 3", "me lock r 0 3", "it lock r 0 2", "me lock w 0 3",
		"it lock u 0 0", "me lock w 0 0", "it test r 100 1")
	other := t.Open("f", unix.O_RDWR, 0)
	unix.Close(other)
	t.both(fd, p, "it lock w 0 0")
	p.in.Close()
	p.wait()
	t.both(fd, p, "me lock w 0 0")
	ro := t.Open("f", unix.O_RDONLY, 0)
	t.Say("write lock on RDONLY: %s", lockStep(ro, []string{"lock", "w", "0", "1"}))
	bad := unix.Flock_t{Type: 9}
	t.Err("bad type", unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &bad))
	bad = unix.Flock_t{Type: unix.F_RDLCK, Start: -5}
	t.Err("negative start", unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &bad))
	bad = unix.Flock_t{Type: unix.F_RDLCK, Whence: 7}
	t.Err("bad whence", unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &bad))
}

func lockOFD(t *T) {
	t.Write("f", "0123456789")
	fd := t.Open("f", unix.O_RDWR, 0)
	p := t.peer()
	t.both(fd, p, "me ofd w 0 5", "it ofd w 0 1", "it lock w 0 1", "it ofdtest w 0 1", "it lock w 5 5", "me lock w 5 1", "me ofd u 0 0", "it ofd w 0 5")
	other := t.Open("f", unix.O_RDWR, 0)
	t.Say("same process, other description: %s", lockStep(other, []string{"ofd", "r", "0", "1"}))
	p.in.Close()
	p.wait()
	t.Say("then: %s", lockStep(other, []string{"ofd", "w", "0", "0"}))
	t.Say("and: %s", lockStep(fd, []string{"ofd", "r", "0", "1"}))
}

func lockWait(t *T) {
	t.Write("f", "0123456789")
	fd := t.Open("f", unix.O_RDWR, 0)
	p := t.peer()
	t.both(fd, p, "me lock w 0 1", "it lock w 1 1")
	got := make(chan string)
	go func() { got <- p.do("wait w 0 1") }()
	time.Sleep(50 * time.Millisecond)
	t.Say("me waits for what it holds: %s", lockStep(fd, []string{"wait", "w", "1", "1"}))
	t.Say("unlock: %s", lockStep(fd, []string{"lock", "u", "0", "1"}))
	t.Say("it got: %s", <-got)
	p.in.Close()
	p.wait()
}
