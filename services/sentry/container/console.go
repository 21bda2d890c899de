package container

import (
	"os"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/devpts"
	"bulkhead/services/sentry/vfs"
)

// console joins a host terminal that a launcher gave to a terminal of the
// sandbox's own: the host's passes bytes, and lines, echo and job control are
// the guest's.
type console struct {
	pair *devpts.Console
	host *os.File
}

// newConsole takes h over.
func (s *Sandbox) newConsole(h *os.File) (*console, error) {
	defer h.Close()
	raw, err := h.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if err := raw.Control(func(n uintptr) {
		makeRaw(int(n))
		fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3)
	}); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	pair, err := s.pts.NewConsole(vfs.KernelContext())
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	c := &console{pair: pair, host: os.NewFile(uintptr(fd), "console")}
	if w, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
		c.resize(uint32(w.Row), uint32(w.Col))
	}
	return c, nil
}

// makeRaw makes a host terminal pass bytes as they are: termios(3), cfmakeraw.
func makeRaw(fd int) {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return // not a terminal: bytes pass anyway
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// open gives the guest's side as an open file.
func (c *console) open(ns *vfs.Namespace) (*vfs.File, error) {
	ctx := vfs.KernelContext()
	f, err := vfs.Open(ctx, ns.Root(), ns.Root(), c.pair.Path(), linux.O_RDWR|linux.O_NOCTTY, 0, 0, 0)
	if err == nil {
		return f, nil
	}
	impl, err := c.pair.OpenTerminal(ctx, linux.O_RDWR|linux.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	return vfs.NewAnonFile(impl, c.pair.Path(), linux.O_RDWR), nil
}

// run passes bytes both ways until the guest has closed its side or the host's
// is gone; done is closed when all that the guest wrote is out.
func (c *console) run() (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		copyBytes(c.pair, c.host)
		c.pair.Close()
	}()
	go func() {
		copyBytes(c.host, c.pair)
		c.host.Close()
		close(done)
	}()
	return done
}

func copyBytes(to interface{ Write([]byte) (int, error) }, from interface{ Read([]byte) (int, error) }) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *console) resize(rows, columns uint32) {
	if rows != 0 || columns != 0 {
		c.pair.Resize(linux.Winsize{Rows: uint16(rows), Cols: uint16(columns)})
	}
}
