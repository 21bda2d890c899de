package main

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	program("pipe.basic", pipeBasic)
	program("pipe.block", pipeBlock)
	program("pipe.size", pipeSize)
	program("pipe.fifo", pipeFifo)
	program("pipe.sigpipe", pipeSigpipe)
	program("pipe.bulk", pipeBulk)
	child("sigpipe", func([]string) int {
		sa := sigaction{}
		rawSigaction(unix.SIGPIPE, &sa)
		var p [2]int
		unix.Pipe(p[:])
		unix.Close(p[0])
		unix.Write(p[1], []byte("x"))
		return 9
	})
}

func (t *T) pipe(flags int) (r, w int) {
	var p [2]int
	t.Must("pipe2", unix.Pipe2(p[:], flags))
	return p[0], p[1]
}

func pipeBasic(t *T) {
	r, w := t.pipe(unix.O_CLOEXEC | unix.O_NONBLOCK)
	b := make([]byte, 100)
	_, err := unix.Read(r, b)
	t.Err("empty", err)
	n, err := unix.Write(w, []byte("hello"))
	t.N("write", n, err)
	n, err = unix.IoctlGetInt(r, unix.TIOCINQ)
	t.N("FIONREAD", n, err)
	n, err = unix.Read(r, b[:2])
	t.Say("%q %s", b[:n], errName(err))
	_, err = unix.Read(w, b)
	t.Err("read the write end", err)
	_, err = unix.Write(r, b)
	t.Err("write the read end", err)
	_, err = unix.Seek(r, 0, 0)
	t.Err("seek", err)
	_, err = unix.Pread(r, b, 0)
	t.Err("pread", err)
	unix.Close(w)
	n, err = unix.Read(r, b)
	t.Say("%q %s", b[:n], errName(err))
	n, err = unix.Read(r, b)
	t.N("end of file", n, err)
	r, w = t.pipe(0)
	unix.Close(r)
	_, err = unix.Write(w, b)
	t.Err("no reader", err)
	_, err = unix.Write(w, nil)
	t.Err("no reader, nothing", err)
	var st unix.Stat_t
	unix.Fstat(w, &st)
	t.Say("mode %o", st.Mode)
	var p [2]int
	t.Err("bad flag", unix.Pipe2(p[:], 1))
	_, _, e := unix.Syscall(unix.SYS_PIPE2, 8, 0, 0)
	t.Err("bad address", errnoErr(e))
	fl, _ := unix.FcntlInt(uintptr(w), unix.F_GETFL, 0)
	t.Say("flags %#x", fl)
}

func pipeBlock(t *T) {
	r, w := t.pipe(0)
	start := time.Now()
	go func() { time.Sleep(30 * time.Millisecond); unix.Write(w, []byte("late")) }()
	b := make([]byte, 10)
	n, err := unix.Read(r, b)
	t.Say("%q %s waited %v", b[:n], errName(err), time.Since(start) > 25*time.Millisecond)
	go func() { time.Sleep(30 * time.Millisecond); unix.Close(w) }()
	n, err = unix.Read(r, b)
	t.N("end of file after close", n, err)
	r, w = t.pipe(0)
	big := make([]byte, 200000)
	got := make(chan int)
	go func() {
		total := 0
		for {
			time.Sleep(time.Millisecond)
			n, err := unix.Read(r, make([]byte, 30000))
			if n <= 0 || err != nil {
				break
			}
			total += n
		}
		got <- total
	}()
	written := 0
	for written < len(big) { // a signal of Go's run-time may cut a write short
		n, err = unix.Write(w, big[written:])
		if n <= 0 || err != nil && err != unix.EINTR {
			t.Err("blocking write", err)
			break
		}
		written += n
	}
	t.Say("wrote %d", written)
	unix.Close(w)
	t.Say("read %d", <-got)
}

func pipeSize(t *T) {
	r, w := t.pipe(unix.O_NONBLOCK)
	n, err := unix.FcntlInt(uintptr(r), unix.F_GETPIPE_SZ, 0)
	t.N("size", n, err)
	total := 0
	for {
		n, err = unix.Write(w, make([]byte, 4096))
		if err != nil {
			break
		}
		total += n
	}
	t.Say("holds %d then %s", total, errName(err))
	_, err = unix.Write(w, make([]byte, 1))
	t.Err("one more", err)
	unix.Read(r, make([]byte, 4096))
	n, err = unix.Write(w, make([]byte, 5000))
	t.N("over PIPE_BUF takes what fits", n, err)
	_, err = unix.Write(w, make([]byte, 100))
	t.Err("full", err)
	n, err = unix.FcntlInt(uintptr(r), unix.F_SETPIPE_SZ, 200000)
	t.N("grow", n, err)
	n, err = unix.Write(w, make([]byte, 100))
	t.N("fits", n, err)
	_, err = unix.FcntlInt(uintptr(r), unix.F_SETPIPE_SZ, 4096)
	t.Err("shrink below content", err)
	r, w = t.pipe(unix.O_NONBLOCK)
	unix.Write(w, make([]byte, 61440))
	_, err = unix.Write(w, make([]byte, 4097))
	t.Err("4097 where 4096 fit", err)
	r, w = t.pipe(unix.O_NONBLOCK)
	unix.Write(w, make([]byte, 63000))
	_, err = unix.Write(w, make([]byte, 4000))
	t.Err("atomic write that does not fit", err)
	_ = r
}

func pipeFifo(t *T) {
	t.Must("mkfifo", unix.Mkfifo("p", 0o644))
	_, err := unix.Open("p", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	t.Err("writer without reader", err)
	r, err := unix.Open("p", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	t.Err("reader", err)
	n, err := unix.Read(r, make([]byte, 5))
	t.N("no writer", n, err)
	w, err := unix.Open("p", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	t.Err("writer", err)
	_, err = unix.Read(r, make([]byte, 5))
	t.Err("empty", err)
	unix.Write(w, []byte("abc"))
	b := make([]byte, 9)
	n, err = unix.Read(r, b)
	t.Say("%q %s", b[:n], errName(err))
	unix.Close(w)
	unix.Close(r)
	opened := make(chan error)
	go func() {
		fd, err := unix.Open("p", unix.O_WRONLY, 0)
		unix.Write(fd, []byte("met"))
		unix.Close(fd)
		opened <- err
	}()
	time.Sleep(20 * time.Millisecond)
	r = t.Open("p", unix.O_RDONLY, 0)
	t.Err("blocking open of both ends", <-opened)
	n, err = unix.Read(r, b)
	t.Say("%q %s", b[:n], errName(err))
	n, err = unix.Read(r, b)
	t.N("then", n, err)
	rw, err := unix.Open("p", unix.O_RDWR, 0)
	t.Err("read-write", err)
	unix.Write(rw, []byte("self"))
	n, _ = unix.Read(rw, b)
	t.Say("%q", b[:n])
	var st unix.Stat_t
	unix.Stat("p", &st)
	t.Say("mode %o size %d", st.Mode, st.Size)
	_, err = unix.Open("p/", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	t.Err("slash", err)
}

func pipeSigpipe(t *T) { t.Say("exit %d", t.runChild("+sigpipe")) }

func pipeBulk(t *T) {
	r, w := t.pipe(0)
	const total = 64 << 20
	go func() {
		b := []byte(strings.Repeat("0123456789abcde\n", 8192))
		for left := total; left > 0; left -= len(b) {
			for rest := b; len(rest) > 0; { // a signal of Go's run-time may cut a write short
				n, err := unix.Write(w, rest)
				if err != nil {
					return
				}
				rest = rest[n:]
			}
		}
		unix.Close(w)
	}()
	n, s, b := 0, uint64(0), make([]byte, 100000)
	for {
		m, err := unix.Read(r, b)
		if m <= 0 || err != nil {
			break
		}
		for _, c := range b[:m] {
			s = s*131 + uint64(c)
		}
		n += m
	}
	t.Say("%d bytes, sum %x", n, s)
}
