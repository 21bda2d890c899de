package hostfile

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/epoll"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// memory is a thread with a little memory, at address 0.
type memory struct {
	vfs.Context
	b [64]byte
}

func (m *memory) CopyIn(addr uint64, p []byte) error  { copy(p, m.b[addr:]); return nil }
func (m *memory) CopyOut(addr uint64, p []byte) error { copy(m.b[addr:], p); return nil }

var kernel = vfs.KernelContext()

func open(t *testing.T, fd int) *vfs.File {
	t.Helper()
	f, err := New(fd, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.DecRef(kernel) })
	return f
}

func hostPipe(t *testing.T) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}

// slowly makes the stream behind f do without RWF_NOWAIT.
func slowly(f *vfs.File) *vfs.File {
	f.Impl().(*stream).slow.Store(true)
	return f
}

func TestPipe_read(t *testing.T) {
	for _, slow := range []bool{false, true} {
		r, w := hostPipe(t)
		f := open(t, r)
		f.Impl().(*stream).slow.Store(slow)
		go func() {
			for _, s := range []string{"one ", "two ", "three"} {
				time.Sleep(2 * time.Millisecond)
				unix.Write(w, []byte(s))
			}
			unix.Close(w)
		}()
		var got []byte
		b := make([]byte, 3)
		for {
			n, err := f.Read(kernel, b)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			got = append(got, b[:n]...)
		}
		if string(got) != "one two three" {
			t.Errorf("slow %v: %q", slow, got)
		}
		if ev := f.Poll(); ev&wait.Hup == 0 {
			t.Errorf("poll %#x", ev)
		}
	}
}

func TestPipe_write(t *testing.T) {
	for _, slow := range []bool{false, true} {
		r, w := hostPipe(t)
		f, err := New(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.Impl().(*stream).slow.Store(slow)
		want := bytes.Repeat([]byte("0123456789abcdef"), 20000)
		got := make(chan []byte)
		go func() {
			time.Sleep(5 * time.Millisecond)
			b, _ := io.ReadAll(os.NewFile(uintptr(r), "r"))
			got <- b
		}()
		if n, err := f.Write(kernel, want); n != len(want) || err != nil {
			t.Fatal(n, err)
		}
		f.DecRef(kernel)
		if b := <-got; !bytes.Equal(b, want) {
			t.Errorf("slow %v: %d bytes came", slow, len(b))
		}
	}
}

func TestPipe_nonblocking(t *testing.T) {
	r, w := hostPipe(t)
	f, g := open(t, r), open(t, w)
	f.SetFlags(kernel, linux.O_NONBLOCK)
	g.SetFlags(kernel, linux.O_NONBLOCK)
	if _, err := f.Read(kernel, make([]byte, 1)); err != linux.EAGAIN {
		t.Error(err)
	}
	if n, err := g.Write(kernel, make([]byte, 1<<20)); n != 65536 || err != nil {
		t.Error(n, err)
	}
	if flags, _ := unix.FcntlInt(uintptr(r), unix.F_GETFL, 0); flags&unix.O_NONBLOCK != 0 {
		t.Error("O_NONBLOCK reached the host's open file description")
	}
}

func TestPipe_brokenAndHungUp(t *testing.T) {
	r, w := hostPipe(t)
	g := open(t, w)
	unix.Close(r)
	if _, err := g.Write(kernel, []byte("x")); err != linux.EPIPE {
		t.Error(err)
	}
	if ev := g.Poll(); ev&wait.Err == 0 {
		t.Errorf("poll %#x", ev)
	}
}

func TestEpoll(t *testing.T) {
	r, w := hostPipe(t)
	f := slowly(open(t, r))
	ep := epoll.NewImpl()
	if err := ep.Ctl(linux.EPOLL_CTL_ADD, 3, f, linux.EpollEvent{Events: linux.EPOLLIN | linux.EPOLLET}); err != nil {
		t.Fatal(err)
	}
	out := make([]linux.EpollEvent, 1)
	for range 3 {
		go func() {
			time.Sleep(time.Millisecond)
			unix.Write(w, []byte("xy"))
		}()
		if n, err := ep.Wait(kernel, out, time.Now().Add(20*time.Second)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := f.Read(kernel, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		ep.Wait(kernel, out, time.Unix(1, 0))
	}
	// A hang-up is told of once, not for ever.
	unix.Close(w)
	if n, _ := ep.Wait(kernel, out, time.Now().Add(20*time.Second)); n != 1 || out[0].Events&linux.EPOLLHUP == 0 {
		t.Fatal(n, out)
	}
	if n, _ := ep.Wait(kernel, out, time.Now().Add(5*time.Millisecond)); n != 0 {
		t.Error("told again", out)
	}
}

func TestRegular_sharesThePosition(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	host, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	fd1, _ := dup(int(host.Fd()))
	fd2, _ := dup(int(host.Fd()))
	out, errout := open(t, fd1), open(t, fd2)
	for _, s := range []struct {
		f    *vfs.File
		text string
	}{{out, "a"}, {errout, "b"}, {out, "c"}} {
		if _, err := s.f.Write(kernel, []byte(s.text)); err != nil {
			t.Fatal(err)
		}
	}
	host.WriteString("d")
	if b, _ := os.ReadFile(path); string(b) != "abcd" {
		t.Errorf("%q", b)
	}
	if n, err := out.Seek(kernel, 0, linux.SEEK_CUR); n != 4 || err != nil {
		t.Error(n, err)
	}
	if n, err := out.Pwrite(kernel, []byte("X"), 1); n != 1 || err != nil {
		t.Error(n, err)
	}
	if b, _ := os.ReadFile(path); string(b) != "aXcd" {
		t.Errorf("%q", b)
	}
	if a, err := out.Attr(kernel); err != nil || a.Size != 4 || a.Mode&linux.S_IFMT != linux.S_IFREG {
		t.Errorf("%+v, %v", a, err)
	}
	if out.Queue() != nil {
		t.Error("a regular file can be waited for")
	}
}

func TestDevice(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, fd)
	if n, err := f.Read(kernel, make([]byte, 1)); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := f.Write(kernel, []byte("abc")); n != 3 || err != nil {
		t.Error(n, err)
	}
	if _, err := f.Ioctl(kernel, linux.TCGETS, 0); err != linux.ENOTTY {
		t.Error(err)
	}
}

// openPTY gives a host terminal and its other side.
func openPTY(t *testing.T) (master *os.File, slave int) {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here")
	}
	unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0)
	s, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	master = os.NewFile(uintptr(m), "master")
	t.Cleanup(func() { master.Close() })
	return master, int(s)
}

func TestTTY(t *testing.T) {
	master, slave := openPTY(t)
	f := open(t, slave)
	go func() {
		time.Sleep(2 * time.Millisecond)
		master.WriteString("hello\n")
	}()
	b := make([]byte, 100)
	if n, err := f.Read(kernel, b); err != nil || string(b[:n]) != "hello\n" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	text := strings.Repeat("x", 10000)
	done := make(chan string)
	go func() {
		var got []byte
		for !bytes.Contains(got, []byte("end")) {
			n, err := master.Read(b)
			if err != nil {
				break
			}
			got = append(got, b[:n]...)
		}
		done <- string(got)
	}()
	if n, err := f.Write(kernel, []byte(text+"end")); n != 10003 || err != nil {
		t.Fatal(n, err)
	}
	if got := <-done; got != "hello\r\n"+text+"end" {
		t.Errorf("%d bytes came", len(got))
	}
}

func TestTTY_ioctls(t *testing.T) {
	_, slave := openPTY(t)
	f := open(t, slave)
	ctx := &memory{Context: kernel}
	if _, err := f.Ioctl(ctx, linux.TCGETS, 0); err != nil {
		t.Fatal(err)
	}
	if ctx.b[12]&linux.ECHO == 0 {
		t.Error("no ECHO")
	}
	ctx.b[12] &^= linux.ECHO
	if _, err := f.Ioctl(ctx, linux.TCSETSW, 0); err != nil {
		t.Fatal(err)
	}
	tio, _ := unix.IoctlGetTermios(slave, unix.TCGETS)
	if tio.Lflag&unix.ECHO != 0 {
		t.Error("ECHO is still set")
	}
	tty := f.Impl().(*TTY)
	if err := tty.Resize(24, 81); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Ioctl(ctx, linux.TIOCGWINSZ, 0); err != nil || ctx.b[0] != 24 || ctx.b[2] != 81 {
		t.Error(err, ctx.b[:8])
	}
	if _, err := f.Ioctl(ctx, linux.TIOCSTI, 0); err != linux.EIO {
		t.Errorf("TIOCSTI: %v", err)
	}
	if _, err := f.Ioctl(ctx, linux.TIOCGPGRP, 0); err != linux.ENOTTY {
		t.Errorf("TIOCGPGRP of a stranger: %v", err)
	}
}

func TestTTY_sameTerminal(t *testing.T) {
	_, slave := openPTY(t)
	other, _ := dup(slave)
	f, g := open(t, slave), open(t, other)
	a, b := f.Impl().(*TTY), g.Impl().(*TTY)
	if a.Terminal() != b.Terminal() {
		t.Error("two terminals")
	}
	impl, err := a.console.OpenTerminal(kernel, 0)
	if err != nil {
		t.Fatal(err)
	}
	if impl.(*TTY).Terminal() != a.Terminal() {
		t.Error("/dev/tty is another")
	}
	impl.Release()
}

func TestTake(t *testing.T) {
	r, w := hostPipe(t)
	unix.SetNonblock(r, true)
	defer unix.Close(w)
	fd, err := Take(os.NewFile(uintptr(r), "r"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK == 0 {
		t.Error("the mode changed")
	}
}
