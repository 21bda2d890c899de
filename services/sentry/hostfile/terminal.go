package hostfile

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// TTY is a host terminal. The host's line discipline edits lines and echoes; which
// process group is in the foreground is the sentry's own knowledge, because the
// guest's processes are in no session of the host's terminal. A key that makes a
// signal therefore signals whoever the terminal belongs to on the host, and they
// pass it on: Terminal().Signal.
type TTY struct {
	*stream
	console *console
}

// console is one host terminal, of which several descriptors may be donated.
type console struct {
	key      consoleKey
	terminal *tty.Terminal

	// consoles.mu is held when using these.
	open []*TTY
}

type consoleKey struct{ dev, ino uint64 }

var consoles = struct {
	mu    sync.Mutex
	known map[consoleKey]*console
}{known: map[consoleKey]*console{}}

func newTTY(fd int, st *unix.Stat_t, procs tty.Processes) (*TTY, error) {
	s, err := newStream(fd)
	if err != nil {
		return nil, err
	}
	s.slow.Store(true)
	key := consoleKey{st.Dev, st.Ino}
	consoles.mu.Lock()
	defer consoles.mu.Unlock()
	c := consoles.known[key]
	if c == nil {
		c = &console{key: key}
		c.terminal = tty.NewTerminal(c, st.Rdev, procs)
		consoles.known[key] = c
	}
	t := &TTY{s, c}
	c.open = append(c.open, t)
	return t, nil
}

// Terminal is the terminal's job control: whose it is, and who is in the
// foreground.
func (t *TTY) Terminal() *tty.Terminal { return t.console.terminal }

// Release closes this descriptor of the terminal.
func (t *TTY) Release() {
	c := t.console
	consoles.mu.Lock()
	for i, o := range c.open {
		if o == t {
			c.open = append(c.open[:i:i], c.open[i+1:]...)
			break
		}
	}
	if len(c.open) == 0 {
		delete(consoles.known, c.key)
	}
	consoles.mu.Unlock()
	t.stream.Release()
}

// OpenTerminal is open(2) of /dev/tty: EIO once every descriptor is closed.
func (c *console) OpenTerminal(vfs.Context, linux.OpenFlags) (vfs.Impl, error) {
	consoles.mu.Lock()
	if len(c.open) == 0 {
		consoles.mu.Unlock()
		return nil, linux.EIO
	}
	fd, err := dup(c.open[0].fd)
	consoles.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.attach(fd)
}

// attach makes a further TTY of the descriptor fd.
func (c *console) attach(fd int) (vfs.Impl, error) {
	s, err := newStream(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s.slow.Store(true)
	t := &TTY{s, c}
	consoles.mu.Lock()
	c.open = append(c.open, t)
	consoles.known[c.key] = c
	consoles.mu.Unlock()
	return t, nil
}

// Hangup does nothing: the terminal is the host's.
func (c *console) Hangup() {}

// Reopen is open(2) of /proc/PID/fd/N.
func (t *TTY) Reopen(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	return t.console.OpenTerminal(ctx, flags)
}

// ReadStream reads for a process of the foreground.
func (t *TTY) ReadStream(ctx vfs.Context, p []byte) (int, error) {
	if err := t.console.terminal.CheckRead(ctx); err != nil {
		return 0, err
	}
	return t.stream.ReadStream(ctx, p)
}

// WriteStream writes, for a process of the background only without TOSTOP.
func (t *TTY) WriteStream(ctx vfs.Context, p []byte) (int, error) {
	if tio, err := unix.IoctlGetTermios(t.fd, unix.TCGETS); err == nil && tio.Lflag&unix.TOSTOP != 0 {
		if err := t.console.terminal.CheckChange(ctx); err != nil {
			return 0, err
		}
	}
	return t.stream.WriteStream(ctx, p)
}

// Ioctl answers ioctl_tty(2). What the terminal itself knows is passed through, with
// a copy; job control is the sentry's. TIOCSTI is refused: it would type into the
// terminal of whoever started the sandbox.
func (t *TTY) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case linux.TCGETS:
		return t.get(ctx, cmd, arg, linux.SizeofTermios)
	case linux.TCGETS2:
		return t.get(ctx, cmd, arg, linux.SizeofTermios2)
	case linux.TCGETA:
		return t.get(ctx, cmd, arg, linux.SizeofTermio)
	case linux.TIOCGWINSZ:
		return t.get(ctx, cmd, arg, linux.SizeofWinsize)
	case linux.FIONREAD, linux.TIOCOUTQ:
		return t.get(ctx, cmd, arg, 4)
	case linux.TCSETS, linux.TCSETSW, linux.TCSETSF:
		return t.set(ctx, cmd, arg, linux.SizeofTermios)
	case linux.TCSETS2, linux.TCSETSW2, linux.TCSETSF2:
		return t.set(ctx, cmd, arg, linux.SizeofTermios2)
	case linux.TCSETA, linux.TCSETAW, linux.TCSETAF:
		return t.set(ctx, cmd, arg, linux.SizeofTermio)
	case linux.TIOCSWINSZ:
		return t.resize(ctx, arg)
	case linux.TCFLSH, linux.TCXONC, linux.TCSBRK, linux.TCSBRKP:
		if err := t.console.terminal.CheckChange(ctx); err != nil {
			return 0, err
		}
		return 0, ioctl(t.fd, cmd, uintptr(int32(arg)))
	case linux.TIOCSTI:
		return 0, linux.EIO
	}
	if done, err := t.console.terminal.Ioctl(ctx, cmd, arg, false); done {
		return 0, err
	}
	return 0, linux.ENOTTY
}

// get passes a request through that fills n bytes.
func (t *TTY) get(ctx vfs.Context, cmd uint32, arg uint64, n int) (uint64, error) {
	var b [64]byte
	if err := ioctl(t.fd, cmd, uintptr(unsafe.Pointer(&b))); err != nil {
		return 0, err
	}
	return 0, ctx.CopyOut(arg, b[:n])
}

// set passes a request through that reads n bytes.
func (t *TTY) set(ctx vfs.Context, cmd uint32, arg uint64, n int) (uint64, error) {
	if err := t.console.terminal.CheckChange(ctx); err != nil {
		return 0, err
	}
	var b [64]byte
	if err := ctx.CopyIn(arg, b[:n]); err != nil {
		return 0, err
	}
	return 0, ioctl(t.fd, cmd, uintptr(unsafe.Pointer(&b)))
}

// resize sets the size and tells the foreground, if it is new.
func (t *TTY) resize(ctx vfs.Context, arg uint64) (uint64, error) {
	var b [linux.SizeofWinsize]byte
	if err := ctx.CopyIn(arg, b[:]); err != nil {
		return 0, err
	}
	return 0, t.setSize(b)
}

// Resize gives the terminal another size, in characters.
func (t *TTY) Resize(rows, cols uint16) error {
	var b [linux.SizeofWinsize]byte
	binary.LittleEndian.PutUint16(b[:], rows)
	binary.LittleEndian.PutUint16(b[2:], cols)
	return t.setSize(b)
}

// setSize sends SIGWINCH to the foreground if the size is another than before.
func (t *TTY) setSize(b [linux.SizeofWinsize]byte) error {
	var old [linux.SizeofWinsize]byte
	if err := ioctl(t.fd, linux.TIOCGWINSZ, uintptr(unsafe.Pointer(&old))); err != nil {
		return err
	}
	if err := ioctl(t.fd, linux.TIOCSWINSZ, uintptr(unsafe.Pointer(&b))); err != nil {
		return err
	}
	if old != b {
		t.console.terminal.Signal(int32(linux.SIGWINCH))
	}
	return nil
}

func ioctl(fd int, cmd uint32, arg uintptr) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), arg)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}
