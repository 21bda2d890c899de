// Package tty is what every terminal of a sandbox shares: the line discipline
// that stands between a keyboard and a program (N_TTY of termios(3)), and job
// control, that is which session a terminal controls and which of its process
// groups is in the foreground.
//
// A Discipline is pure: bytes in, bytes and signals out, no lock, no clock, no
// I/O. What holds one (package devpts) locks it and carries out what it asks.
package tty

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// BufferSize is how many bytes of input a terminal keeps for its readers. One
// of them is kept free for the end of an overlong line.
const BufferSize = 4096

// Signals that a terminal sends: signal(7).
const (
	sigHUP  = int32(unix.SIGHUP)
	sigINT  = int32(unix.SIGINT)
	sigQUIT = int32(unix.SIGQUIT)
	sigCONT = int32(unix.SIGCONT)
	sigTSTP = int32(unix.SIGTSTP)
	sigTTIN = int32(unix.SIGTTIN)
	sigTTOU = int32(unix.SIGTTOU)
	// SIGWINCH tells of a new window size.
	SIGWINCH = int32(unix.SIGWINCH)
)

// Discipline is the state of one terminal's line discipline. Use New.
type Discipline struct {
	t linux.Termios2

	// Input that no reader has taken. end says which bytes finish a line; an
	// end of file is a NUL with end set. in[:done] are the finished lines, the
	// rest can still be edited. In raw mode done means nothing.
	in   []byte
	end  []bool
	done int

	literal bool // the last character was LNEXT
	erasing bool // within the \.../ of ECHOPRT

	column     int // where the cursor is
	lineColumn int // where it was when the line being typed began

	stopped bool   // by STOP or TCOOFF
	held    []byte // echo that waits for START or the end of Input
	out     []byte // what the terminal shows, for its other end to take

	// The columns before the first byte of held.
	heldColumn, heldLineColumn int

	signals []int32
	status  byte // TIOCPKT_ bits since the last TakeStatus
}

// DefaultTermios is what a new terminal has: struct tty_std_termios.
func DefaultTermios() linux.Termios2 {
	t := linux.Termios2{
		Termios: linux.Termios{
			Iflag: linux.ICRNL | linux.IXON,
			Oflag: linux.OPOST | linux.ONLCR,
			Cflag: linux.B38400 | linux.CS8 | linux.CREAD,
			Lflag: linux.ISIG | linux.ICANON | linux.ECHO | linux.ECHOE | linux.ECHOK |
				linux.ECHOCTL | linux.ECHOKE | linux.IEXTEN,
		},
		Ispeed: 38400, Ospeed: 38400,
	}
	t.Cc = [linux.NCCS]uint8{
		linux.VINTR: 3, linux.VQUIT: 0o34, linux.VERASE: 0o177, linux.VKILL: 0o25,
		linux.VEOF: 4, linux.VMIN: 1, linux.VSTART: 0o21, linux.VSTOP: 0o23,
		linux.VSUSP: 0o32, linux.VREPRINT: 0o22, linux.VDISCARD: 0o17,
		linux.VWERASE: 0o27, linux.VLNEXT: 0o26,
	}
	return t
}

// New is a terminal's discipline in its first state.
func New() *Discipline { return &Discipline{t: DefaultTermios()} }

// Termios gives the settings.
func (d *Discipline) Termios() linux.Termios2 { return d.t }

// SetTermios changes the settings. On a change between canonical and raw mode
// what was typed stays readable: as one unfinished line that is taken as
// finished, or as bytes.
func (d *Discipline) SetTermios(t linux.Termios2) {
	old := d.t
	d.t = t
	if (old.Lflag^t.Lflag)&(linux.ICANON|linux.EXTPROC) != 0 {
		clear(d.end)
		d.done = 0
		if t.Lflag&linux.ICANON != 0 && len(d.in) > 0 {
			d.end[len(d.in)-1] = true
			d.done = len(d.in)
		}
		d.erasing, d.literal = false, false
	}
	if old.Iflag&linux.IXON != 0 && t.Iflag&linux.IXON == 0 {
		d.Start()
	}
	d.noteFlowChars(old)
}

// noteFlowChars tells packet mode whether ^S and ^Q now stop and start.
func (d *Discipline) noteFlowChars(old linux.Termios2) {
	plain := func(t *linux.Termios2) bool {
		return t.Iflag&linux.IXON != 0 && t.Cc[linux.VSTOP] == 0o23 && t.Cc[linux.VSTART] == 0o21
	}
	was, is := plain(&old), plain(&d.t)
	switch {
	case was && !is:
		d.status = d.status&^linux.TIOCPKT_DOSTOP | linux.TIOCPKT_NOSTOP
	case !was && is:
		d.status = d.status&^linux.TIOCPKT_NOSTOP | linux.TIOCPKT_DOSTOP
	}
	if (old.Lflag^d.t.Lflag)&linux.EXTPROC != 0 {
		d.status |= linux.TIOCPKT_IOCTL
	}
}

func (d *Discipline) lflag(bit uint32) bool    { return d.t.Lflag&bit != 0 }
func (d *Discipline) iflag(bit uint32) bool    { return d.t.Iflag&bit != 0 }
func (d *Discipline) oflag(bit uint32) bool    { return d.t.Oflag&bit != 0 }
func (d *Discipline) canonical() bool          { return d.t.Lflag&linux.ICANON != 0 }
func (d *Discipline) continuation(c byte) bool { return d.iflag(linux.IUTF8) && c&0xc0 == 0x80 }

// is says that c is the control character at index of Cc, which 0 disables.
func (d *Discipline) is(c byte, index int) bool { return c != 0 && d.t.Cc[index] == c }

// Ready says that at least least bytes can be read, or in canonical mode a line.
func (d *Discipline) Ready(least int) bool {
	if d.canonical() {
		return d.done > 0
	}
	return len(d.in) >= max(least, 1)
}

// PollReady is Ready as poll(2) understands it: with VMIN, without VTIME.
func (d *Discipline) PollReady() bool {
	least := 1
	if d.t.Cc[linux.VTIME] == 0 {
		least = int(d.t.Cc[linux.VMIN])
	}
	return d.Ready(least)
}

// Buffered is what FIONREAD tells: bytes that can be read.
func (d *Discipline) Buffered() int {
	if !d.canonical() {
		return len(d.in)
	}
	n := d.done
	for i := range d.done {
		if d.end[i] && d.in[i] == 0 {
			n--
		}
	}
	return n
}

// Read takes input for a reader: in canonical mode one line or the part of it
// that fits, else what there is. ok is false when there is none; 0, true is the
// end of file. VMIN and VTIME are the caller's to wait for.
func (d *Discipline) Read(p []byte) (n int, ok bool) {
	if !d.Ready(1) {
		return 0, false
	}
	if len(p) == 0 {
		return 0, true
	}
	if !d.canonical() {
		n = copy(p, d.in)
		d.drop(n)
		return n, true
	}
	line := 0
	for !d.end[line] && line < d.done-1 {
		line++
	}
	text := line + 1
	eof := d.end[line] && d.in[line] == 0
	if eof {
		text = line
	}
	n = copy(p, d.in[:text])
	if n == text && eof { // an end of file after a full buffer goes with it
		d.drop(n + 1)
	} else {
		d.drop(n)
	}
	return n, true
}

func (d *Discipline) drop(n int) {
	d.in = append(d.in[:0], d.in[n:]...)
	d.end = append(d.end[:0], d.end[n:]...)
	d.done = max(d.done-n, 0)
}

// FlushInput discards what was typed and not read.
func (d *Discipline) FlushInput() {
	d.in, d.end, d.done = d.in[:0], d.end[:0], 0
	d.literal, d.erasing = false, false
	d.status |= linux.TIOCPKT_FLUSHREAD
}

// Stop holds all output back.
func (d *Discipline) Stop() {
	if !d.stopped {
		d.stopped = true
		d.status = d.status&^linux.TIOCPKT_START | linux.TIOCPKT_STOP
	}
}

// Start lets output flow again.
func (d *Discipline) Start() {
	d.resume()
	d.release()
}

func (d *Discipline) resume() {
	if d.stopped {
		d.stopped = false
		d.status = d.status&^linux.TIOCPKT_STOP | linux.TIOCPKT_START
	}
}

// Send shows a control character of Cc: TCIOFF, TCION of tcflow(3).
func (d *Discipline) Send(index int) {
	if c := d.t.Cc[index]; c != 0 && len(d.out) < OutputSize+echoSlack {
		d.out = append(d.out, c)
	}
}

// FromKeyboard says that sig is one that keys send.
func FromKeyboard(sig int32) bool { return sig == sigINT || sig == sigQUIT || sig == sigTSTP }

// Stopped says that output is held back.
func (d *Discipline) Stopped() bool { return d.stopped }

// TakeSignals gives the signals for the foreground group since the last call.
func (d *Discipline) TakeSignals() []int32 {
	s := d.signals
	d.signals = nil
	return s
}

// Status gives the TIOCPKT_ bits since the last TakeStatus.
func (d *Discipline) Status() byte { return d.status }

// TakeStatus gives them and forgets them.
func (d *Discipline) TakeStatus() byte {
	s := d.status
	d.status = 0
	return s
}
