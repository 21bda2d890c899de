// Package term is the host's side of a guest's terminal: a pair of a host
// pseudo-terminal, of which the sentry gets one end, and the user's own terminal,
// which is switched to raw mode meanwhile and always restored.
package term

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Is tells whether f is a terminal.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Pair makes a pseudo-terminal. The user's terminal, or whoever receives the
// console, has the master; the sentry has the slave: pty(7).
func Pair() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		master.Close()
		return nil, nil, fmt.Errorf("open the terminal's other end: %w", errno)
	}
	return master, os.NewFile(r, "pts"), nil
}

// Size copies the size of terminal from to terminal to, and tells it.
func Size(from, to *os.File) (rows, columns uint32, err error) {
	size, err := unix.IoctlGetWinsize(int(from.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, fmt.Errorf("read terminal size: %w", err)
	}
	raw, err := to.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) { setErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) }); err != nil {
		return 0, 0, err
	}
	if setErr != nil {
		return 0, 0, fmt.Errorf("set terminal size: %w", setErr)
	}
	return uint32(size.Row), uint32(size.Col), nil
}

// SetSize sets the size of f.
func SetSize(f *os.File, rows, columns uint32) error {
	return unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
}

// Raw switches f to raw mode: cfmakeraw(3). restore may be called more than once.
func Raw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read terminal mode: %w", err)
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("set terminal to raw mode: %w", err)
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}

// Copy carries what is typed to the master and what the guest prints to out. The
// channel is closed when everything that was printed has been written, after the
// last slave has been closed.
func Copy(master, in, out *os.File) <-chan struct{} {
	done := make(chan struct{})
	go io.Copy(master, in)
	go func() {
		defer close(done)
		io.Copy(out, master) // ends with EIO
	}()
	return done
}

// Send gives the master to whoever listens on the UNIX socket at path, as
// engines expect of --console-socket.
func Send(path string, master *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("send console: %w", err)
	}
	defer unix.Close(fd)
	if err := connect(fd, path); err != nil {
		return fmt.Errorf("send console: connect to %s: %w", path, err)
	}
	raw, err := master.SyscallConn()
	if err != nil {
		return fmt.Errorf("send console: %w", err)
	}
	var sendErr error
	if err := raw.Control(func(m uintptr) {
		unix.SetNonblock(int(m), false) // as the receiver expects it
		sendErr = unix.Sendmsg(fd, []byte("/dev/ptmx"), unix.UnixRights(int(m)), nil, unix.MSG_NOSIGNAL)
	}); err != nil {
		return err
	}
	if sendErr != nil {
		return fmt.Errorf("send console: %w", sendErr)
	}
	return nil
}

// connect reaches sockets whose path is longer than an address holds.
func connect(fd int, path string) error {
	if len(path) < 100 {
		return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))
	if len(short) > 107 {
		return errors.New("its name is too long")
	}
	return unix.Connect(fd, &unix.SockaddrUnix{Name: short})
}
