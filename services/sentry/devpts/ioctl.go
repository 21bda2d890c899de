package devpts

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// ioctl answers what both ends know. far says that the master is asked, which
// has no job control of its own.
func (p *Pair) ioctl(ctx vfs.Context, cmd uint32, arg uint64, far bool) (uint64, error) {
	if done, err := p.terminal.Ioctl(ctx, cmd, arg, far); done {
		return 0, err
	}
	mayChange := func() error {
		if far {
			return nil
		}
		return p.terminal.CheckChange(ctx)
	}
	if done, err := tty.TermiosIoctl(ctx, cmd, arg, p.termios, func(t linux.Termios2, flush bool) error {
		err := mayChange()
		if err == nil {
			p.retermios(t, flush)
		}
		return err
	}); done {
		return 0, err
	}
	switch cmd {
	case linux.TIOCGWINSZ:
		return 0, tty.CopyOutWinsize(ctx, arg, p.Size())
	case linux.TIOCSWINSZ:
		w, err := tty.CopyInWinsize(ctx, arg)
		if err == nil {
			p.Resize(w)
		}
		return 0, err
	case linux.TIOCOUTQ:
		return 0, tty.CopyOutInt(ctx, arg, 0)
	case linux.TIOCEXCL, linux.TIOCNXCL:
		p.set(&p.exclusive, cmd == linux.TIOCEXCL)
		return 0, nil
	case linux.TIOCGEXCL:
		return 0, copyOutBool(ctx, arg, p.get(&p.exclusive))
	case linux.TIOCGETD:
		return 0, tty.CopyOutInt(ctx, arg, 0)
	case linux.TIOCSETD:
		v, err := tty.CopyInInt(ctx, arg)
		if err == nil && v != 0 { // only N_TTY
			err = linux.EINVAL
		}
		return 0, err
	case linux.TIOCGDEV:
		return 0, tty.CopyOutInt(ctx, arg, int32(p.terminal.Rdev))
	case linux.TIOCGLCKTRMIOS:
		return 0, p.tellLocked(ctx, arg)
	case linux.TIOCSLCKTRMIOS:
		return 0, p.lockBits(ctx, arg)
	case linux.TIOCVHANGUP:
		if !ctx.Creds().Has(linux.CAP_SYS_ADMIN) {
			return 0, linux.EPERM
		}
		p.Hangup()
		return 0, nil
	case linux.TIOCSTI: // as with dev.tty.legacy_tiocsti=0
		return 0, linux.EIO
	case linux.TCSBRK, linux.TCSBRKP, linux.TIOCSBRK, linux.TIOCCBRK:
		return 0, mayChange()
	}
	return 0, linux.ENOTTY
}

// retermios changes the settings, with what was typed before thrown away if asked for.
func (p *Pair) retermios(t linux.Termios2, flush bool) {
	if flush {
		p.change(func() {
			p.keys = p.keys[:0]
			p.d.FlushInput()
		})
	}
	p.setTermios(t)
}

// lockBits is TIOCSLCKTRMIOS: EPERM.
func (p *Pair) lockBits(ctx vfs.Context, arg uint64) error {
	if !ctx.Creds().Has(linux.CAP_SYS_ADMIN) {
		return linux.EPERM
	}
	b := make([]byte, linux.SizeofTermios)
	if err := ctx.CopyIn(arg, b); err != nil {
		return err
	}
	var bits linux.Termios2
	bits.Unmarshal(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fixed = bits.Termios
	return nil
}

// tellLocked is TIOCGLCKTRMIOS.
func (p *Pair) tellLocked(ctx vfs.Context, arg uint64) error {
	bits := linux.Termios2{Termios: p.lockedBits()}
	return ctx.CopyOut(arg, bits.Marshal()[:linux.SizeofTermios])
}

// lockedBits are those that TIOCSLCKTRMIOS has set.
func (p *Pair) lockedBits() linux.Termios {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fixed
}
