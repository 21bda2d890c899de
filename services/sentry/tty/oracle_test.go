package tty

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// TestOracle types the same keys at a terminal of the host and compares what is
// read and shown.
func TestOracle(t *testing.T) {
	if master, slave, err := hostPty(); err != nil {
		t.Skipf("no pty on this host: %v", err)
	} else {
		unix.Close(master)
		unix.Close(slave)
	}
	for _, c := range typed {
		t.Run(c.name, func(t *testing.T) { againstHost(t, c.change, c.keys, 100) })
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		t.Run(fmt.Sprint("random_", i), func(t *testing.T) {
			var keys strings.Builder
			for range 1 + rng.IntN(14) {
				keys.WriteString(alphabet[rng.IntN(len(alphabet))])
			}
			againstHost(t, randomSettings(rng), keys.String(), 1+rng.IntN(20))
		})
	}
}

var alphabet = []string{"a", "b", "Z", "_", " ", " ", "\t", "é", "\xff", "\x00", "\x01", "\r", "\r", "\n",
	"\x7f", "\x7f", "\x15", "\x17", "\x04", "\x16", "\x12", "\x03", "\x1c", "\x1a", "\x13\x11", ";", "日"}

func randomSettings(rng *rand.Rand) change {
	some := func(bits ...uint32) (m uint32) {
		for _, b := range bits {
			if rng.IntN(4) == 0 {
				m |= b
			}
		}
		return m
	}
	i := some(linux.IUTF8, linux.ICRNL, linux.INLCR, linux.IGNCR, linux.ISTRIP, linux.IUCLC, linux.IXON)
	o := some(linux.OPOST, linux.ONLCR, linux.OCRNL, linux.ONOCR, linux.ONLRET, linux.XTABS, linux.OLCUC)
	l := some(linux.ISIG, linux.ICANON, linux.ECHO, linux.ECHOE, linux.ECHOK, linux.ECHONL, linux.NOFLSH,
		linux.ECHOCTL, linux.ECHOPRT, linux.ECHOKE, linux.IEXTEN)
	eol := byte(0)
	if rng.IntN(3) == 0 {
		eol = ';'
	}
	return func(t *linux.Termios2) {
		t.Iflag ^= i
		t.Oflag ^= o
		t.Lflag ^= l
		t.Cc[linux.VEOL] = eol
	}
}

func againstHost(t *testing.T, c change, keys string, size int) {
	t.Helper()
	d := terminal(c)
	set := d.Termios()
	d.Input([]byte(keys))
	wantScreen, wantReads := screen(d), reads(d, size)
	var gotScreen string
	var gotReads []string
	// The host works its input off in the background: look again, later, before
	// believing in a difference.
	for _, settle := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond} {
		gotScreen, gotReads = onHost(t, &set, keys, size, settle)
		if gotScreen == wantScreen && equal(gotReads, wantReads) {
			return
		}
	}
	t.Errorf("keys %q, settings %#x\nscreen %q\n  host %q\nreads %q\n host %q",
		keys, []uint32{set.Iflag, set.Oflag, set.Lflag}, wantScreen, gotScreen, wantReads, gotReads)
}

func onHost(t *testing.T, set *linux.Termios2, keys string, size int, settle time.Duration) (string, []string) {
	t.Helper()
	master, slave, err := hostPty()
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(master)
	defer unix.Close(slave)
	if err := setHostTermios(slave, set); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(master, []byte(keys)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(settle)
	return strings.Join(drain(master, 4096), ""), drain(slave, size)
}

func drain(fd, size int) (all []string) {
	b := make([]byte, size)
	for range 1000 {
		n, err := unix.Read(fd, b)
		if err != nil {
			return all
		}
		all = append(all, string(b[:n]))
	}
	return all
}

func hostPty() (master, slave int, err error) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	master, err = unix.Open("/dev/ptmx", flags, 0)
	if err != nil {
		return 0, 0, os.NewSyscallError("open /dev/ptmx", err)
	}
	if err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err == nil {
		var n int
		if n, err = unix.IoctlGetInt(master, unix.TIOCGPTN); err == nil {
			slave, err = unix.Open(fmt.Sprintf("/dev/pts/%d", n), flags, 0)
		}
	}
	if err != nil {
		unix.Close(master)
	}
	return master, slave, err
}

func setHostTermios(fd int, t *linux.Termios2) error {
	h := unix.Termios{Iflag: t.Iflag, Oflag: t.Oflag, Cflag: t.Cflag, Lflag: t.Lflag, Line: t.Line}
	copy(h.Cc[:], t.Cc[:])
	return unix.IoctlSetTermios(fd, unix.TCSETS, &h)
}
