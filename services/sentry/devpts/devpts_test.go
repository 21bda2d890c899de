package devpts

import (
	"strings"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// guest is a process with a page of memory.
type guest struct {
	vfs.Context
	job     *tty.Job
	ignores bool
	memory  [256]byte
}

func (g *guest) CopyIn(addr uint64, p []byte) error {
	copy(p, g.memory[addr:])
	return nil
}

func (g *guest) CopyOut(addr uint64, p []byte) error {
	copy(g.memory[addr:], p)
	return nil
}

// processes remembers the signals it was asked to send.
type processes struct {
	groups  map[int32]int32 // group -> session
	guests  []*guest
	signals []string
}

func (p *processes) Job(ctx vfs.Context) tty.Job {
	if g, ok := ctx.(*guest); ok && g.job != nil {
		return *g.job
	}
	return tty.Job{}
}
func (p *processes) Ignores(ctx vfs.Context, _ int32) bool { return ctx.(*guest).ignores }
func (p *processes) Number(_ vfs.Context, id int32) int32  { return id }
func (p *processes) ID(_ vfs.Context, number int32) int32  { return number }
func (p *processes) GroupSession(pgid int32) (int32, bool) {
	sid, ok := p.groups[pgid]
	return sid, ok
}
func (p *processes) SetTerminal(ctx vfs.Context, t *tty.Terminal) { ctx.(*guest).job.Terminal = t }
func (p *processes) ClearTerminal(sid int32) {
	for _, g := range p.guests {
		if g.job != nil && g.job.SID == sid {
			g.job.Terminal = nil
		}
	}
}
func (p *processes) SignalGroup(pgid, sig int32) {
	p.signals = append(p.signals, "group "+itoa(pgid)+" "+itoa(sig))
}
func (p *processes) SignalProcess(pid, sig int32) {
	p.signals = append(p.signals, "process "+itoa(pid)+" "+itoa(sig))
}

func itoa(n int32) string {
	if n >= 10 {
		return itoa(n/10) + string(rune('0'+n%10))
	}
	return string(rune('0' + n))
}

// world is a mounted devpts with one pair open at both ends.
type world struct {
	t             *testing.T
	fs            *FS
	procs         *processes
	shell         *guest // leads session and group 10
	ns            *vfs.Namespace
	master, slave *vfs.File
}

func (w *world) open(ctx vfs.Context, name string, flags linux.OpenFlags) (*vfs.File, error) {
	return vfs.Open(ctx, w.ns.Root(), w.ns.Root(), name, flags, 0, 0, 0)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, procs: &processes{groups: map[int32]int32{10: 10, 11: 10, 20: 20}}}
	w.shell = w.guest(10, 10, 10)
	w.fs = New(w.procs, DefaultOptions())
	w.ns = vfs.NewNamespace(w.fs, 0)
	var err error
	if w.master, err = w.open(w.shell, "/ptmx", linux.O_RDWR|linux.O_NONBLOCK|linux.O_NOCTTY); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(w.shell, "/0", linux.O_RDWR); err != linux.EIO {
		t.Fatalf("open of a locked slave: %v, want EIO", err)
	}
	w.ioctl(w.shell, w.master, linux.TIOCSPTLCK, 0)
	if w.slave, err = w.open(w.shell, "/0", linux.O_RDWR|linux.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) guest(pid, pgid, sid int32) *guest {
	g := &guest{Context: vfs.KernelContext(), job: &tty.Job{PID: pid, PGID: pgid, SID: sid}}
	w.procs.guests = append(w.procs.guests, g)
	return g
}

// ioctl makes a call whose argument is an int in and out.
func (w *world) ioctl(g *guest, f *vfs.File, cmd uint32, v int32) int32 {
	w.t.Helper()
	n, err := w.tryIoctl(g, f, cmd, v)
	if err != nil {
		w.t.Fatalf("ioctl %#x: %v", cmd, err)
	}
	return n
}

func (w *world) tryIoctl(g *guest, f *vfs.File, cmd uint32, v int32) (int32, error) {
	tty.CopyOutInt(g, 0, v)
	if _, err := f.Ioctl(g, cmd, 0); err != nil {
		return 0, err
	}
	return tty.CopyInInt(g, 0)
}

func (w *world) read(f *vfs.File, want string) {
	w.t.Helper()
	b := make([]byte, 100)
	n, err := f.Read(w.shell, b)
	if err != nil || string(b[:n]) != want {
		w.t.Errorf("read %q, %v; want %q", b[:n], err, want)
	}
}

func (w *world) write(f *vfs.File, s string) {
	w.t.Helper()
	if n, err := f.Write(w.shell, []byte(s)); n != len(s) || err != nil {
		w.t.Errorf("wrote %d of %q: %v", n, s, err)
	}
}

func (w *world) raw(vmin, vtime byte) {
	s := w.slave.Impl().(*slave)
	t := s.pair.termios()
	t.Lflag &^= linux.ICANON | linux.ECHO
	t.Cc[linux.VMIN], t.Cc[linux.VTIME] = vmin, vtime
	s.pair.setTermios(t)
}

func (w *world) signals(want string) {
	w.t.Helper()
	if got := strings.Join(w.procs.signals, ", "); got != want {
		w.t.Errorf("signals %q, want %q", got, want)
	}
	w.procs.signals = nil
}

func TestPairCarriesBothWays(t *testing.T) {
	w := newWorld(t)
	w.write(w.master, "ls\r")
	w.read(w.slave, "ls\n")
	w.write(w.slave, "a\n")
	w.read(w.master, "ls\r\na\r\n")
	if _, err := w.slave.Read(w.shell, make([]byte, 1)); err != linux.EAGAIN {
		t.Errorf("empty slave: %v, want EAGAIN", err)
	}
}

func TestListFollowsPairs(t *testing.T) {
	w := newWorld(t)
	names := func() (s string) {
		d, err := w.open(w.shell, "/", linux.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		d.ReadDir(w.shell, func(e vfs.DirEntry) bool { s += e.Name + " "; return true })
		d.DecRef(w.shell)
		return s
	}
	if got := names(); got != ". .. ptmx 0 " {
		t.Errorf("names %q", got)
	}
	w.master.DecRef(w.shell)
	if got := names(); got != ". .. ptmx " {
		t.Errorf("names after close %q", got)
	}
	if _, err := w.open(w.shell, "/0", linux.O_RDWR); err != linux.ENOENT {
		t.Errorf("open of a closed pair: %v, want ENOENT", err)
	}
}

func TestMasterCloseHangsUp(t *testing.T) {
	w := newWorld(t) // opening without O_NOCTTY made it the shell's terminal
	if w.shell.job.Terminal == nil {
		t.Fatal("the slave did not become the controlling terminal")
	}
	w.master.DecRef(w.shell)
	w.signals("process 10 1, process 10 18, group 10 1")
	w.read(w.slave, "")
	if _, err := w.slave.Write(w.shell, []byte("x")); err != linux.EIO {
		t.Errorf("write: %v, want EIO", err)
	}
	if _, err := w.tryIoctl(w.shell, w.slave, linux.TCGETS, 0); err != linux.EIO {
		t.Errorf("ioctl: %v, want EIO", err)
	}
	if got := w.slave.Poll(); got != wait.In|wait.Out|wait.Err|wait.Hup {
		t.Errorf("poll %#x", got)
	}
	if w.shell.job.Terminal != nil {
		t.Error("the session kept its terminal")
	}
}

func TestSlaveCloseEndsMaster(t *testing.T) {
	w := newWorld(t)
	w.write(w.slave, "bye")
	w.slave.DecRef(w.shell)
	if w.master.Poll() != wait.In|wait.Out|wait.Hup {
		t.Errorf("poll %#x", w.master.Poll())
	}
	w.read(w.master, "bye")
	if _, err := w.master.Read(w.shell, make([]byte, 1)); err != linux.EIO {
		t.Errorf("read: %v, want EIO", err)
	}
}

func TestInterruptGoesToForeground(t *testing.T) {
	w := newWorld(t)
	w.write(w.master, "\x03")
	w.signals("group 10 2")
	w.ioctl(w.shell, w.slave, linux.TIOCSPGRP, 11)
	if got := w.ioctl(w.shell, w.slave, linux.TIOCGPGRP, 0); got != 11 {
		t.Errorf("foreground %d", got)
	}
	w.write(w.master, "\x1a")
	w.signals("group 11 20")
}

func TestForegroundIsOfTheSession(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		pgid int32
		want error
	}{{20, linux.EPERM}, {99, linux.ESRCH}, {-1, linux.EINVAL}} {
		if _, err := w.tryIoctl(w.shell, w.slave, linux.TIOCSPGRP, c.pgid); err != c.want {
			t.Errorf("TIOCSPGRP %d: %v, want %v", c.pgid, err, c.want)
		}
	}
	stranger := w.guest(20, 20, 20)
	if _, err := w.tryIoctl(stranger, w.slave, linux.TIOCSPGRP, 10); err != linux.ENOTTY {
		t.Errorf("stranger: %v, want ENOTTY", err)
	}
}

func TestBackgroundIsStopped(t *testing.T) {
	w := newWorld(t)
	job := w.guest(11, 11, 10)
	job.job.Terminal = w.shell.job.Terminal
	b := make([]byte, 1)
	if _, err := w.slave.Read(job, b); err != linux.ERESTARTSYS {
		t.Errorf("background read: %v, want ERESTARTSYS", err)
	}
	w.signals("group 11 21")
	if _, err := w.tryIoctl(job, w.slave, linux.TIOCSPGRP, 11); err != linux.ERESTARTSYS {
		t.Errorf("background TIOCSPGRP: %v, want ERESTARTSYS", err)
	}
	w.signals("group 11 22")
	job.ignores = true
	if _, err := w.slave.Read(job, b); err != linux.EIO {
		t.Errorf("background read, SIGTTIN ignored: %v, want EIO", err)
	}
	w.ioctl(job, w.slave, linux.TIOCSPGRP, 11)
	w.signals("")
}

func TestLeaderGivesTerminalUp(t *testing.T) {
	w := newWorld(t)
	if _, err := w.slave.Ioctl(w.shell, linux.TIOCNOTTY, 0); err != nil {
		t.Fatal(err)
	}
	w.signals("group 10 1, group 10 18")
	if _, err := w.slave.Ioctl(w.shell, linux.TIOCSCTTY, 0); err != nil {
		t.Errorf("TIOCSCTTY: %v", err)
	}
	other := w.guest(20, 20, 20)
	other.Context = vfs.WithCreds(vfs.KernelContext(), vfs.UserCreds(1, 1))
	if _, err := w.slave.Ioctl(other, linux.TIOCSCTTY, 1); err != linux.EPERM {
		t.Errorf("stealing without capability: %v, want EPERM", err)
	}
}

func TestWindowSize(t *testing.T) {
	w := newWorld(t)
	tty.CopyOutWinsize(w.shell, 0, linux.Winsize{Rows: 24, Cols: 80})
	if _, err := w.master.Ioctl(w.shell, linux.TIOCSWINSZ, 0); err != nil {
		t.Fatal(err)
	}
	w.signals("group 10 28")
	w.slave.Ioctl(w.shell, linux.TIOCSWINSZ, 0)
	w.signals("")
	w.slave.Ioctl(w.shell, linux.TIOCGWINSZ, 64)
	if got, _ := tty.CopyInWinsize(w.shell, 64); got.Rows != 24 || got.Cols != 80 {
		t.Errorf("size %+v", got)
	}
}

func TestRawMinimumAndTime(t *testing.T) {
	w := newWorld(t)
	b := make([]byte, 10)
	w.raw(0, 0)
	if n, err := w.slave.Read(w.shell, b); n != 0 || err != nil {
		t.Errorf("MIN 0 TIME 0: %d, %v", n, err)
	}
	w.slave.SetFlags(w.shell, 0)
	w.raw(0, 1)
	if n, err := w.slave.Read(w.shell, b); n != 0 || err != nil {
		t.Errorf("MIN 0 TIME 1: %d, %v", n, err)
	}
	w.raw(3, 1)
	w.write(w.master, "ab")
	if w.slave.Poll()&wait.In == 0 {
		t.Error("MIN with TIME: a byte is enough for poll")
	}
	w.read(w.slave, "ab")
	w.raw(3, 0)
	w.write(w.master, "ab")
	if w.slave.Poll()&wait.In != 0 {
		t.Error("poll says readable with 2 of 3 bytes")
	}
	done := make(chan string)
	go func() {
		n, _ := w.slave.Read(w.shell, b)
		done <- string(b[:n])
	}()
	select {
	case got := <-done:
		t.Errorf("read %q before 3 bytes were there", got)
	case <-time.After(20 * time.Millisecond):
	}
	w.write(w.master, "cd")
	if got := <-done; got != "abcd" && got != "abc" {
		t.Errorf("read %q", got)
	}
}

func TestWriterWaitsForMaster(t *testing.T) {
	w := newWorld(t)
	w.slave.SetFlags(w.shell, 0)
	big := strings.Repeat("x", 3*tty.OutputSize)
	done := make(chan bool)
	go func() {
		w.slave.Write(w.shell, []byte(big))
		close(done)
	}()
	total := 0
	b := make([]byte, 1000)
	for end := time.Now().Add(20 * time.Second); total < len(big) && time.Now().Before(end); {
		n, _ := w.master.Read(w.shell, b)
		total += n
	}
	<-done
	if total != len(big) {
		t.Errorf("%d of %d bytes", total, len(big))
	}
}

func TestPacketMode(t *testing.T) {
	w := newWorld(t)
	w.ioctl(w.shell, w.master, linux.TIOCPKT, 1)
	w.write(w.slave, "hi")
	w.read(w.master, "\x00hi")
	w.write(w.master, "\x13")
	w.read(w.master, string(rune(linux.TIOCPKT_STOP)))
	w.write(w.master, "\x11")
	w.read(w.master, string(rune(linux.TIOCPKT_START)))
}

func TestConsole(t *testing.T) {
	w := newWorld(t)
	c, err := w.fs.NewConsole(w.shell)
	if err != nil {
		t.Fatal(err)
	}
	f, err := w.open(w.shell, "/1", linux.O_RDWR|linux.O_NOCTTY)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello\r"))
	w.read(f, "hello\n")
	b := make([]byte, 100)
	if n, _ := c.Read(b); string(b[:n]) != "hello\r\n" {
		t.Errorf("screen %q", b[:n])
	}
	f.DecRef(w.shell)
	if n, err := c.Read(b); n != 0 || err == nil {
		t.Errorf("after close: %d, %v", n, err)
	}
	c.Close()
}

func TestParseOptions(t *testing.T) {
	o, err := ParseOptions("newinstance,gid=5,mode=620,ptmxmode=0666")
	if err != nil || o.GID != 5 || !o.SetGID || o.SetUID || o.Mode != 0o620 || o.PtmxMode != 0o666 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"gid=x", "mode=9", "nosuch"} {
		if _, err := ParseOptions(bad); err != linux.EINVAL {
			t.Errorf("%q: %v, want EINVAL", bad, err)
		}
	}
}
