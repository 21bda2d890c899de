package tty

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Ioctl answers the requests of ioctl_tty(2) that are about job control. far
// says that it is asked at a pseudo-terminal's master. done is false for what
// it does not know.
func (t *Terminal) Ioctl(ctx vfs.Context, cmd uint32, arg uint64, far bool) (done bool, err error) {
	switch cmd {
	case linux.TIOCSCTTY:
		err = t.Acquire(ctx, arg == 1)
	case linux.TIOCNOTTY:
		err = t.Release(ctx)
	case linux.TIOCGPGRP:
		if !far && t.job(ctx).Terminal != t {
			return true, linux.ENOTTY
		}
		err = CopyOutInt(ctx, arg, t.number(ctx, t.Foreground()))
	case linux.TIOCSPGRP:
		if err = t.CheckChange(ctx); err == linux.EIO {
			err = linux.ENOTTY
		}
		if err != nil {
			break
		}
		var pgid int32
		if pgid, err = CopyInInt(ctx, arg); err == nil {
			err = t.SetForeground(ctx, pgid)
		}
	case linux.TIOCGSID:
		sid := t.Session()
		if sid == 0 || !far && t.job(ctx).Terminal != t {
			return true, linux.ENOTTY
		}
		err = CopyOutInt(ctx, arg, t.number(ctx, sid))
	default:
		return false, nil
	}
	return true, err
}

// TermiosIoctl answers TCGETS, TCSETS and their kin: get and put reach the
// settings. flush asks put to discard input first: TCSETSF.
func TermiosIoctl(ctx vfs.Context, cmd uint32, arg uint64, get func() linux.Termios2, put func(t linux.Termios2, flush bool) error) (done bool, err error) {
	t := get()
	switch cmd {
	case linux.TCGETS:
		return true, ctx.CopyOut(arg, t.Marshal()[:linux.SizeofTermios])
	case linux.TCGETS2:
		return true, ctx.CopyOut(arg, t.Marshal())
	case linux.TCGETA:
		return true, ctx.CopyOut(arg, marshalTermio(&t))
	case linux.TCSETS, linux.TCSETSW, linux.TCSETSF:
		b := make([]byte, linux.SizeofTermios)
		if err := ctx.CopyIn(arg, b); err != nil {
			return true, err
		}
		t.Unmarshal(b)
		setSpeeds(&t)
	case linux.TCSETS2, linux.TCSETSW2, linux.TCSETSF2:
		b := make([]byte, linux.SizeofTermios2)
		if err := ctx.CopyIn(arg, b); err != nil {
			return true, err
		}
		t.Unmarshal(b)
		if t.Cflag&linux.CBAUD != linux.BOTHER {
			setSpeeds(&t)
		}
	case linux.TCSETA, linux.TCSETAW, linux.TCSETAF:
		b := make([]byte, linux.SizeofTermio)
		if err := ctx.CopyIn(arg, b); err != nil {
			return true, err
		}
		unmarshalTermio(&t, b)
		setSpeeds(&t)
	default:
		return false, nil
	}
	flush := cmd == linux.TCSETSF || cmd == linux.TCSETSF2 || cmd == linux.TCSETAF
	return true, put(t, flush)
}

// speeds are the bauds of the B constants: B0 to B38400, then B57600 on.
var (
	speeds = [...]uint32{0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400}
	faster = [...]uint32{0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000,
		1500000, 2000000, 2500000, 3000000, 3500000, 4000000}
)

func setSpeeds(t *linux.Termios2) {
	table, b := &speeds, t.Cflag&linux.CBAUD
	if b&linux.BOTHER != 0 {
		table = &faster
	}
	if b == linux.BOTHER {
		return
	}
	t.Ospeed = table[b&15]
	t.Ispeed = t.Ospeed
}

// struct termio, of old: four shorts, the line and eight control characters.
func marshalTermio(t *linux.Termios2) []byte {
	b := make([]byte, 0, linux.SizeofTermio)
	for _, f := range []uint32{t.Iflag, t.Oflag, t.Cflag, t.Lflag} {
		b = binary.LittleEndian.AppendUint16(b, uint16(f))
	}
	b = append(b, t.Line)
	b = append(b, t.Cc[:8]...)
	return append(b, 0)
}

func unmarshalTermio(t *linux.Termios2, b []byte) {
	for i, f := range []*uint32{&t.Iflag, &t.Oflag, &t.Cflag, &t.Lflag} {
		*f = *f&0xffff0000 | uint32(binary.LittleEndian.Uint16(b[2*i:]))
	}
	t.Line = b[8]
	copy(t.Cc[:8], b[9:17])
}

// CopyInInt reads an int argument of an ioctl.
func CopyInInt(ctx vfs.Context, addr uint64) (int32, error) {
	var b [4]byte
	if err := ctx.CopyIn(addr, b[:]); err != nil {
		return 0, err
	}
	return int32(binary.LittleEndian.Uint32(b[:])), nil
}

// CopyOutInt writes one.
func CopyOutInt(ctx vfs.Context, addr uint64, v int32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(v))
	return ctx.CopyOut(addr, b[:])
}

// CopyInWinsize reads a struct winsize.
func CopyInWinsize(ctx vfs.Context, addr uint64) (w linux.Winsize, err error) {
	var b [linux.SizeofWinsize]byte
	if err := ctx.CopyIn(addr, b[:]); err != nil {
		return w, err
	}
	le := binary.LittleEndian
	return linux.Winsize{
		Rows: le.Uint16(b[:]), Cols: le.Uint16(b[2:]), Xpixel: le.Uint16(b[4:]), Ypixel: le.Uint16(b[6:]),
	}, nil
}

// CopyOutWinsize writes one.
func CopyOutWinsize(ctx vfs.Context, addr uint64, w linux.Winsize) error {
	var b [linux.SizeofWinsize]byte
	le := binary.LittleEndian
	le.PutUint16(b[:], w.Rows)
	le.PutUint16(b[2:], w.Cols)
	le.PutUint16(b[4:], w.Xpixel)
	le.PutUint16(b[6:], w.Ypixel)
	return ctx.CopyOut(addr, b[:])
}
