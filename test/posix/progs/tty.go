package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	program("tty.defaults", ttyDefaults)
	program("tty.lines", ttyLines)
	program("tty.raw", ttyRaw)
	program("tty.errors", ttyErrors)
	program("tty.closing", ttyClosing)
	program("tty.packets", ttyPackets)
	program("tty.session", ttySession)
	child("ttysession", ttySessionChild)
}

// pty opens a pair of terminals, neither of which becomes a controlling one.
func pty(t *T) (master, slave int) {
	master = t.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	t.Must("unlock", unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	t.Must("TIOCGPTN", err)
	return master, t.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
}

// settle waits for input that the kernel works off in the background.
func settle() { time.Sleep(30 * time.Millisecond) }

// take reads what is there, and prints it.
func take(t *T, what string, fd int) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLPRI}}
	poll(p, 500)
	t.Say("%s events %#x", what, p[0].Revents)
	if p[0].Revents == 0 {
		return
	}
	b := make([]byte, 4096)
	n, err := unix.Read(fd, b)
	if err != nil {
		t.Err(what, err)
		return
	}
	t.Say("%s %q", what, b[:n])
}

func keys(t *T, fd int, s string) {
	n, err := unix.Write(fd, []byte(s))
	t.N("keys", n, err)
	settle()
}

func change(t *T, fd int, f func(*unix.Termios)) {
	m, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	t.Must("TCGETS", err)
	f(m)
	t.Must("TCSETS", unix.IoctlSetTermios(fd, unix.TCSETS, m))
}

func ttyDefaults(t *T) {
	master, slave := pty(t)
	for _, fd := range []int{master, slave} {
		m, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		t.Must("TCGETS", err)
		t.Say("%#x %#x %#x %#x %d % x", m.Iflag, m.Oflag, m.Cflag, m.Lflag, m.Line, m.Cc)
		w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		t.Say("size %v %s", *w, errName(err))
		n, err := unix.IoctlGetInt(fd, unix.TIOCGETD)
		t.N("discipline", n, err)
		m2, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		t.Say("speeds %d %d %s", m2.Ispeed, m2.Ospeed, errName(err))
	}
	var st unix.Stat_t
	t.Must("fstat", unix.Fstat(slave, &st))
	t.Say("slave type %o major %d links %d", st.Mode&unix.S_IFMT, unix.Major(st.Rdev), st.Nlink)
	t.Must("fstat", unix.Fstat(master, &st))
	t.Say("master type %o device %d:%d", st.Mode&unix.S_IFMT, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	t.Must("TIOCSWINSZ", unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: 5, Col: 6}))
	w, _ := unix.IoctlGetWinsize(slave, unix.TIOCGWINSZ)
	t.Say("size %v", *w)
}

func ttyLines(t *T) {
	master, slave := pty(t)
	for _, s := range []string{"plain\r", "eras\x7fe\r", "ki\x15ll\r", "two words\x17word\r", "end\x04", "\x04", "lit\x16\x03\r",
		"re\x12print\r", "\ttab\x7f\x7f\x7f\x7f\r", "st\x13op\x11\r"} {
		keys(t, master, s)
		take(t, "screen", master)
		n, err := unix.IoctlGetInt(slave, unix.TIOCINQ)
		t.N("waiting", n, err)
		take(t, "line", slave)
	}
	n, err := unix.Write(slave, []byte("a\nb\tc\n"))
	t.N("write", n, err)
	take(t, "screen", master)
	keys(t, master, "unread\r")
	t.Err("flush", unix.IoctlSetInt(slave, unix.TCFLSH, 0))
	n, err = unix.IoctlGetInt(slave, unix.TIOCINQ)
	t.N("waiting", n, err)
}

func ttyRaw(t *T) {
	master, slave := pty(t)
	raw := func(vmin, vtime uint8) {
		change(t, slave, func(m *unix.Termios) {
			m.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG
			m.Iflag &^= unix.ICRNL | unix.IXON
			m.Oflag &^= unix.OPOST
			m.Cc[unix.VMIN], m.Cc[unix.VTIME] = vmin, vtime
		})
	}
	b := make([]byte, 10)
	for _, c := range [][2]uint8{{1, 0}, {0, 0}, {0, 1}, {2, 0}, {5, 1}} {
		raw(c[0], c[1])
		keys(t, master, "a\x03\r")
		n, err := unix.Read(slave, b)
		t.Say("min %d time %d: %q %s", c[0], c[1], b[:max(n, 0)], errName(err))
	}
	raw(0, 1)
	start := time.Now()
	n, err := unix.Read(slave, b)
	t.Say("nothing: %d %s, waited %v", n, errName(err), time.Since(start) > 80*time.Millisecond)
	raw(3, 0)
	keys(t, master, "xy")
	p := []unix.PollFd{{Fd: int32(slave), Events: unix.POLLIN | unix.POLLOUT}}
	poll(p, 0)
	t.Say("2 of 3: events %#x", p[0].Revents)
	t.Must("nonblock", unix.SetNonblock(slave, true))
	n, err = unix.Read(slave, b)
	t.Say("without blocking %d %s", n, errName(err))
	n, err = unix.Read(slave, b)
	t.N("again", n, err)
	n, err = unix.Write(slave, []byte("a\nb"))
	t.N("write", n, err)
	take(t, "screen", master)
}

func ttyErrors(t *T) {
	master, slave := pty(t)
	for _, c := range []struct {
		name string
		fd   int
		req  uint
	}{
		{"TIOCGPGRP slave", slave, unix.TIOCGPGRP}, {"TIOCGPGRP master", master, unix.TIOCGPGRP},
		{"TIOCGSID slave", slave, unix.TIOCGSID}, {"TIOCGSID master", master, unix.TIOCGSID},
		{"TIOCGPTN slave", slave, unix.TIOCGPTN}, {"TIOCMGET", slave, unix.TIOCMGET}, {"no request", slave, 0x1234},
		{"TIOCOUTQ", slave, unix.TIOCOUTQ},
	} {
		v, err := unix.IoctlGetInt(c.fd, c.req)
		if c.name == "TIOCGPGRP master" {
			t.Say("%s %d %s", c.name, v, errName(err))
			continue
		}
		t.Err(c.name, err)
	}
	t.Err("TIOCSPGRP", unix.IoctlSetPointerInt(slave, unix.TIOCSPGRP, unix.Getpgrp()))
	t.Err("TIOCNOTTY", unix.IoctlSetInt(slave, unix.TIOCNOTTY, 0))
	t.Err("TCFLSH 9", unix.IoctlSetInt(slave, unix.TCFLSH, 9))
	t.Err("TCXONC 9", unix.IoctlSetInt(slave, unix.TCXONC, 9))
	t.Err("TIOCSETD", unix.IoctlSetPointerInt(slave, unix.TIOCSETD, 99))
	t.Err("TCSBRK", unix.IoctlSetInt(slave, unix.TCSBRK, 1))
	_, err := unix.Seek(slave, 0, 0)
	t.Err("lseek", err)
	_, err = unix.Pread(slave, make([]byte, 1), 0)
	t.Err("pread", err)
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(slave), unix.TCGETS, 8)
	t.Err("TCGETS to nowhere", errnoErr(e))
	locked := t.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	n, _ := unix.IoctlGetInt(locked, unix.TIOCGPTN)
	_, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY, 0)
	t.Err("locked slave", err)
	t.Must("unlock", unix.IoctlSetPointerInt(locked, unix.TIOCSPTLCK, 0))
	fd, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(locked), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	t.Err("TIOCGPTPEER", errnoErr(e))
	keys(t, locked, "peer\r")
	take(t, "peer", int(fd))
	_, err = unix.Open("/dev/pts/nosuch", unix.O_RDWR, 0)
	t.Err("no such slave", err)
}

func ttyClosing(t *T) {
	master, slave := pty(t)
	unix.Write(slave, []byte("last"))
	unix.Close(slave)
	take(t, "master", master)
	take(t, "master", master)
	n, err := unix.Write(master, []byte("x"))
	t.N("write", n, err)
	unix.Close(master)
	master, slave = pty(t)
	name := fmt.Sprintf("/proc/self/fd/%d", slave)
	keys(t, master, "lost\r")
	unix.Close(master)
	take(t, "slave", slave)
	_, err = unix.Write(slave, []byte("x"))
	t.Err("slave write", err)
	_, err = unix.IoctlGetTermios(slave, unix.TCGETS)
	t.Err("slave TCGETS", err)
	_, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY, 0)
	t.Err("open again", err)
}

func ttyPackets(t *T) {
	master, slave := pty(t)
	t.Must("TIOCPKT", unix.IoctlSetPointerInt(master, unix.TIOCPKT, 1))
	unix.Write(slave, []byte("data"))
	take(t, "data", master)
	keys(t, master, "\x13")
	take(t, "stop", master)
	keys(t, master, "\x11")
	take(t, "start", master)
	t.Err("flush", unix.IoctlSetInt(slave, unix.TCFLSH, 0))
	take(t, "flush", master)
	change(t, slave, func(m *unix.Termios) { m.Iflag &^= unix.IXON })
	take(t, "no stop", master)
	change(t, slave, func(m *unix.Termios) { m.Iflag |= unix.IXON })
	take(t, "do stop", master)
}

func ttySession(t *T) {
	master, slave := pty(t)
	exe, err := os.Executable()
	t.Must("executable", err)
	cmd := exec.Command(exe, "+ttysession")
	tty := os.NewFile(uintptr(slave), "tty")
	cmd.Stdin, cmd.Stderr = tty, os.Stderr
	out, err := cmd.StdoutPipe()
	t.Must("pipe", err)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	t.Must("start", cmd.Start())
	tty.Close()
	next := func() {
		b := make([]byte, 1000)
		n, _ := out.Read(b)
		fmt.Print(string(b[:n]))
	}
	next() // its line "ready"
	settle()
	group, err := unix.IoctlGetInt(master, unix.TIOCGPGRP)
	t.Say("foreground is the child %v %s", group == cmd.Process.Pid, errName(err))
	session, err := unix.IoctlGetInt(master, unix.TIOCGSID)
	t.Say("session is the child %v %s", session == cmd.Process.Pid, errName(err))
	for _, key := range []string{"\x03", "\x1c", "\x1a"} {
		keys(t, master, key)
		next()
	}
	t.Must("size", unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: 9, Col: 9}))
	next()
	unix.Close(master)
	next()
	settle()
	t.Say("wait %v", cmd.Wait())
}

// ttySessionChild leads a session on the terminal that is its input. It prints
// a line for each signal, and ends at SIGHUP.
func ttySessionChild([]string) int {
	all := make(chan os.Signal, 10)
	signal.Notify(all, unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH, unix.SIGHUP)
	fd, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
	group := 0
	if err == nil {
		group, _ = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	}
	again := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0)
	bad := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, 999999)
	init := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, -1)
	fmt.Printf("ready: /dev/tty %s, in the foreground %v, TIOCSCTTY again %s, TIOCSPGRP of nobody %s, of -1 %s\n",
		errName(err), group == unix.Getpid(), errName(again), errName(bad), errName(init))
	for s := range all {
		var w unix.Winsize
		unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCGWINSZ, uintptr(unsafe.Pointer(&w)))
		fmt.Printf("got %s, rows %d\n", unix.SignalName(s.(unix.Signal)), w.Row)
		if s == unix.SIGHUP {
			_, err := unix.Open("/dev/tty", unix.O_RDWR, 0)
			if err != unix.ENXIO && err != unix.EIO {
				return 1
			}
			return 3
		}
	}
	return 0
}
