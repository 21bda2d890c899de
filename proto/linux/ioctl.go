package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Requests of ioctl(2) that more than one object knows, and those of terminals:
// ioctl_tty(2).
const (
	FIONREAD  = 0x541b
	FIONBIO   = 0x5421
	FIONCLEX  = 0x5450
	FIOCLEX   = 0x5451
	FIOASYNC  = 0x5452
	FIOQSIZE  = 0x5460
	FIOSETOWN = 0x8901
	FIOGETOWN = 0x8903

	TCGETS      = unix.TCGETS
	TCSETS      = unix.TCSETS
	TCSETSW     = unix.TCSETSW
	TCSETSF     = unix.TCSETSF
	TCGETA      = unix.TCGETA
	TCSBRK      = unix.TCSBRK
	TCXONC      = unix.TCXONC
	TCFLSH      = unix.TCFLSH
	TCSBRKP     = unix.TCSBRKP
	TIOCEXCL    = unix.TIOCEXCL
	TIOCNXCL    = unix.TIOCNXCL
	TIOCSCTTY   = unix.TIOCSCTTY
	TIOCNOTTY   = unix.TIOCNOTTY
	TIOCGPGRP   = unix.TIOCGPGRP
	TIOCSPGRP   = unix.TIOCSPGRP
	TIOCGSID    = unix.TIOCGSID
	TIOCOUTQ    = unix.TIOCOUTQ
	TIOCINQ     = unix.TIOCINQ
	TIOCSTI     = unix.TIOCSTI
	TIOCGWINSZ  = unix.TIOCGWINSZ
	TIOCSWINSZ  = unix.TIOCSWINSZ
	TIOCPKT     = unix.TIOCPKT
	TIOCGPTN    = unix.TIOCGPTN
	TIOCSPTLCK  = unix.TIOCSPTLCK
	TIOCGPTLCK  = unix.TIOCGPTLCK
	TIOCGPTPEER = unix.TIOCGPTPEER
	TCGETS2     = 0x802c542a
	TCSETS2     = 0x402c542b
	TCSETSW2    = 0x402c542c
	TCSETSF2    = 0x402c542d

	FICLONE         = 0x40049409
	FICLONERANGE    = 0x4020940d
	FS_IOC_GETFLAGS = 0x80086601
	FS_IOC_SETFLAGS = 0x40086602
	FS_IOC_FIEMAP   = 0xc020660b
	BLKGETSIZE64    = 0x80081272
)

// Termios is struct termios as the kernel has it: 19 control characters, no
// speeds apart from those in Cflag.
type Termios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	Cc                         [19]uint8
}

// SizeOfTermios is its size in bytes.
const SizeOfTermios = 36

// ReadTermios reads one from b.
func ReadTermios(b []byte) (t Termios) {
	le := binary.LittleEndian
	t.Iflag, t.Oflag, t.Cflag, t.Lflag = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])
	t.Line = b[16]
	copy(t.Cc[:], b[17:36])
	return t
}

// Put writes t as the kernel does to b.
func (t *Termios) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, t.Iflag)
	le.PutUint32(b[4:], t.Oflag)
	le.PutUint32(b[8:], t.Cflag)
	le.PutUint32(b[12:], t.Lflag)
	b[16] = t.Line
	copy(b[17:36], t.Cc[:])
}

// Bits of Termios, and indexes of its Cc: termios(3).
const (
	IGNBRK  = unix.IGNBRK
	BRKINT  = unix.BRKINT
	IGNPAR  = unix.IGNPAR
	PARMRK  = unix.PARMRK
	INPCK   = unix.INPCK
	ISTRIP  = unix.ISTRIP
	INLCR   = unix.INLCR
	IGNCR   = unix.IGNCR
	ICRNL   = unix.ICRNL
	IUCLC   = unix.IUCLC
	IXON    = unix.IXON
	IXANY   = unix.IXANY
	IXOFF   = unix.IXOFF
	IMAXBEL = unix.IMAXBEL
	IUTF8   = unix.IUTF8

	OPOST  = unix.OPOST
	OLCUC  = unix.OLCUC
	ONLCR  = unix.ONLCR
	OCRNL  = unix.OCRNL
	ONOCR  = unix.ONOCR
	ONLRET = unix.ONLRET
	TABDLY = unix.TABDLY
	XTABS  = unix.XTABS

	CS8    = unix.CS8
	CREAD  = unix.CREAD
	HUPCL  = unix.HUPCL
	CLOCAL = unix.CLOCAL
	B38400 = unix.B38400

	ISIG    = unix.ISIG
	ICANON  = unix.ICANON
	ECHO    = unix.ECHO
	ECHOE   = unix.ECHOE
	ECHOK   = unix.ECHOK
	ECHONL  = unix.ECHONL
	NOFLSH  = unix.NOFLSH
	TOSTOP  = unix.TOSTOP
	ECHOCTL = unix.ECHOCTL
	ECHOPRT = unix.ECHOPRT
	ECHOKE  = unix.ECHOKE
	EXTPROC = unix.EXTPROC
	IEXTEN  = unix.IEXTEN

	VINTR    = unix.VINTR
	VQUIT    = unix.VQUIT
	VERASE   = unix.VERASE
	VKILL    = unix.VKILL
	VEOF     = unix.VEOF
	VTIME    = unix.VTIME
	VMIN     = unix.VMIN
	VSWTC    = unix.VSWTC
	VSTART   = unix.VSTART
	VSTOP    = unix.VSTOP
	VSUSP    = unix.VSUSP
	VEOL     = unix.VEOL
	VREPRINT = unix.VREPRINT
	VDISCARD = unix.VDISCARD
	VWERASE  = unix.VWERASE
	VLNEXT   = unix.VLNEXT
	VEOL2    = unix.VEOL2
)

// Winsize is struct winsize of ioctl_tty(2).
type Winsize struct {
	Row, Col, Xpixel, Ypixel uint16
}

// SizeOfWinsize is its size in bytes.
const SizeOfWinsize = 8

// ReadWinsize reads one from b.
func ReadWinsize(b []byte) Winsize {
	le := binary.LittleEndian
	return Winsize{le.Uint16(b), le.Uint16(b[2:]), le.Uint16(b[4:]), le.Uint16(b[6:])}
}

// Put writes w as the kernel does to b.
func (w Winsize) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint16(b, w.Row)
	le.PutUint16(b[2:], w.Col)
	le.PutUint16(b[4:], w.Xpixel)
	le.PutUint16(b[6:], w.Ypixel)
}
