package linux

// Termios is struct termios as ioctl_tty(2)'s TCGETS has it: struct ktermios
// without the speeds.
type Termios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	Cc                         [NCCS]uint8
}

// Termios2 is struct termios2, of TCGETS2.
type Termios2 struct {
	Termios
	Ispeed, Ospeed uint32
}

// Sizes in bytes of the structures of ioctl_tty(2).
const (
	SizeofTermios  = 36
	SizeofTermios2 = 44
	SizeofTermio   = 18
	SizeofWinsize  = 8
	NCCS           = 19
)

// Winsize is struct winsize: characters, then pixels that nobody uses.
type Winsize struct {
	Rows, Cols, Xpixel, Ypixel uint16
}

// Indexes of Termios.Cc.
const (
	VINTR = iota
	VQUIT
	VERASE
	VKILL
	VEOF
	VTIME
	VMIN
	VSWTC
	VSTART
	VSTOP
	VSUSP
	VEOL
	VREPRINT
	VDISCARD
	VWERASE
	VLNEXT
	VEOL2
)

// Termios.Iflag.
const (
	IGNBRK  = 0x1
	BRKINT  = 0x2
	IGNPAR  = 0x4
	PARMRK  = 0x8
	INPCK   = 0x10
	ISTRIP  = 0x20
	INLCR   = 0x40
	IGNCR   = 0x80
	ICRNL   = 0x100
	IUCLC   = 0x200
	IXON    = 0x400
	IXANY   = 0x800
	IXOFF   = 0x1000
	IMAXBEL = 0x2000
	IUTF8   = 0x4000
)

// Termios.Oflag.
const (
	OPOST  = 0x1
	OLCUC  = 0x2
	ONLCR  = 0x4
	OCRNL  = 0x8
	ONOCR  = 0x10
	ONLRET = 0x20
	TABDLY = 0x1800
	XTABS  = 0x1800
)

// Termios.Cflag.
const (
	B38400  = 0xf
	CBAUD   = 0x100f
	BOTHER  = 0x1000
	CIBAUD  = 0x100f0000
	CSIZE   = 0x30
	CS8     = 0x30
	CSTOPB  = 0x40
	CREAD   = 0x80
	PARENB  = 0x100
	PARODD  = 0x200
	HUPCL   = 0x400
	CLOCAL  = 0x800
	CRTSCTS = 0x80000000
)

// Termios.Lflag.
const (
	ISIG    = 0x1
	ICANON  = 0x2
	XCASE   = 0x4
	ECHO    = 0x8
	ECHOE   = 0x10
	ECHOK   = 0x20
	ECHONL  = 0x40
	NOFLSH  = 0x80
	TOSTOP  = 0x100
	ECHOCTL = 0x200
	ECHOPRT = 0x400
	ECHOKE  = 0x800
	FLUSHO  = 0x1000
	PENDIN  = 0x4000
	IEXTEN  = 0x8000
	EXTPROC = 0x10000
)

// The requests of ioctl_tty(2).
const (
	TCGETS         = 0x5401
	TCSETS         = 0x5402
	TCSETSW        = 0x5403
	TCSETSF        = 0x5404
	TCGETA         = 0x5405
	TCSETA         = 0x5406
	TCSETAW        = 0x5407
	TCSETAF        = 0x5408
	TCSBRK         = 0x5409
	TCXONC         = 0x540a
	TCFLSH         = 0x540b
	TIOCEXCL       = 0x540c
	TIOCNXCL       = 0x540d
	TIOCSCTTY      = 0x540e
	TIOCGPGRP      = 0x540f
	TIOCSPGRP      = 0x5410
	TIOCOUTQ       = 0x5411
	TIOCSTI        = 0x5412
	TIOCGWINSZ     = 0x5413
	TIOCSWINSZ     = 0x5414
	TIOCINQ        = 0x541b // also FIONREAD
	TIOCPKT        = 0x5420
	TIOCNOTTY      = 0x5422
	TIOCSETD       = 0x5423
	TIOCGETD       = 0x5424
	TCSBRKP        = 0x5425
	TIOCSBRK       = 0x5427
	TIOCCBRK       = 0x5428
	TIOCGSID       = 0x5429
	TCGETS2        = 0x802c542a
	TCSETS2        = 0x402c542b
	TCSETSW2       = 0x402c542c
	TCSETSF2       = 0x402c542d
	TIOCGPTN       = 0x80045430
	TIOCSPTLCK     = 0x40045431
	TIOCGDEV       = 0x80045432
	TIOCSIG        = 0x40045436
	TIOCVHANGUP    = 0x5437
	TIOCGPKT       = 0x80045438
	TIOCGPTLCK     = 0x80045439
	TIOCGEXCL      = 0x80045440
	TIOCGPTPEER    = 0x5441
	TIOCGLCKTRMIOS = 0x5456
	TIOCSLCKTRMIOS = 0x5457
)

// Arguments of TCFLSH and TCXONC.
const (
	TCIFLUSH  = 0
	TCOFLUSH  = 1
	TCIOFLUSH = 2

	TCOOFF = 0
	TCOON  = 1
	TCIOFF = 2
	TCION  = 3
)

// The status byte of packet mode: TIOCPKT of ioctl_tty(2).
const (
	TIOCPKT_DATA       = 0
	TIOCPKT_FLUSHREAD  = 1
	TIOCPKT_FLUSHWRITE = 2
	TIOCPKT_STOP       = 4
	TIOCPKT_START      = 8
	TIOCPKT_NOSTOP     = 16
	TIOCPKT_DOSTOP     = 32
	TIOCPKT_IOCTL      = 64
)

// Marshal gives t as the kernel lays it out, SizeofTermios2 bytes; the first
// SizeofTermios are struct termios.
func (t *Termios2) Marshal() []byte {
	b := make([]byte, 0, SizeofTermios2)
	for _, v := range []uint32{t.Iflag, t.Oflag, t.Cflag, t.Lflag} {
		b = le32(b, v)
	}
	b = append(b, t.Line)
	b = append(b, t.Cc[:]...)
	return le32(le32(b, t.Ispeed), t.Ospeed)
}

// Unmarshal reads what Marshal writes. With only the SizeofTermios bytes of a
// struct termios the speeds stay as they are; fewer bytes are ignored.
func (t *Termios2) Unmarshal(b []byte) {
	if len(b) < SizeofTermios {
		return
	}
	t.Iflag, t.Oflag, t.Cflag, t.Lflag = from32(b), from32(b[4:]), from32(b[8:]), from32(b[12:])
	t.Line = b[16]
	copy(t.Cc[:], b[17:36])
	if len(b) >= SizeofTermios2 {
		t.Ispeed, t.Ospeed = from32(b[36:]), from32(b[40:])
	}
}

func le32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func from32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// Keep is t with the bits of old that locked has, as TIOCSLCKTRMIOS of ioctl_tty(2)
// wants it; the line and each control character are locked whole.
func (t Termios) Keep(old, locked Termios) Termios {
	keep := func(v *uint32, old, locked uint32) { *v = *v&^locked | old&locked }
	keep(&t.Iflag, old.Iflag, locked.Iflag)
	keep(&t.Oflag, old.Oflag, locked.Oflag)
	keep(&t.Cflag, old.Cflag, locked.Cflag)
	keep(&t.Lflag, old.Lflag, locked.Lflag)
	if locked.Line != 0 {
		t.Line = old.Line
	}
	for i := range t.Cc {
		if locked.Cc[i] != 0 {
			t.Cc[i] = old.Cc[i]
		}
	}
	return t
}
