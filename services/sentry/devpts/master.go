package devpts

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// master is an open master. There is one a pair, though it can be shared.
type master struct{ pair *Pair }

// Release implements vfs.Impl.
func (m *master) Release() { m.pair.closeMaster() }

// FileAttr implements vfs.Attrer.
func (m *master) FileAttr(ctx vfs.Context) (vfs.Attr, error) { return m.pair.fs.ptmx.Attr(ctx) }

// ReadStream implements vfs.StreamReader: what the slave shows. EIO once every
// slave is closed.
func (m *master) ReadStream(_ vfs.Context, b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	p := m.pair
	p.change(func() {
		switch {
		case p.packet && p.d.Status() != 0:
			b[0] = p.d.TakeStatus()
			n = 1
		case p.d.Pending() > 0 && p.packet:
			b[0] = linux.TIOCPKT_DATA
			n = 1 + p.d.Take(b[1:])
		case p.d.Pending() > 0:
			n = p.d.Take(b)
		case p.slaves == 0 && p.slaveSeen:
			err = linux.EIO
		default:
			err = linux.EAGAIN
		}
	})
	return n, err
}

// WriteStream implements vfs.StreamWriter: keys pressed.
func (m *master) WriteStream(_ vfs.Context, b []byte) (n int, err error) {
	p := m.pair
	p.change(func() {
		n = min(len(b), keysSize-len(p.keys))
		p.keys = append(p.keys, b[:n]...)
		if n == 0 && len(b) > 0 {
			err = linux.EAGAIN
		}
	})
	return n, err
}

// Poll implements vfs.Poller.
func (m *master) Poll() wait.Events {
	p := m.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	var ready wait.Events
	if p.d.Pending() > 0 {
		ready |= wait.In
	}
	if p.packet && p.d.Status() != 0 {
		ready |= wait.In | wait.Pri
	}
	if len(p.keys) < keysSize {
		ready |= wait.Out
	}
	if p.slaves == 0 && p.slaveSeen {
		ready |= wait.Hup
	}
	return ready
}

// Queue implements vfs.Poller.
func (m *master) Queue() *wait.Queue { return &m.pair.masterQueue }

// Installer is a Context that can give its caller a new descriptor, the lowest
// that is free from min on. It takes the reference over.
type Installer interface {
	Install(f *vfs.File, min linux.FD, closeOnExec bool) (linux.FD, error)
}

// Ioctl implements vfs.Ioctler: ioctl_tty(2).
func (m *master) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	p := m.pair
	switch cmd {
	case linux.TIOCGPTN:
		return 0, tty.CopyOutInt(ctx, arg, int32(p.number))
	case linux.TIOCSPTLCK:
		v, err := tty.CopyInInt(ctx, arg)
		if err == nil {
			p.set(&p.locked, v != 0)
		}
		return 0, err
	case linux.TIOCGPTLCK:
		return 0, copyOutBool(ctx, arg, p.get(&p.locked))
	case linux.TIOCPKT:
		v, err := tty.CopyInInt(ctx, arg)
		if err == nil {
			p.mu.Lock()
			if v != 0 && !p.packet {
				p.d.TakeStatus()
			}
			p.packet = v != 0
			p.mu.Unlock()
		}
		return 0, err
	case linux.TIOCGPKT:
		return 0, copyOutBool(ctx, arg, p.get(&p.packet))
	case linux.TIOCSIG:
		return 0, p.signal(int32(arg))
	case linux.TIOCGPTPEER:
		return m.peer(ctx, linux.OpenFlags(arg))
	case linux.FIONREAD:
		p.mu.Lock()
		n := p.d.Pending()
		p.mu.Unlock()
		return 0, tty.CopyOutInt(ctx, arg, int32(n))
	case linux.TCFLSH:
		return 0, m.flush(arg)
	case linux.TCXONC:
		return 0, nil
	}
	return p.ioctl(ctx, cmd, arg, true)
}

// peer opens the slave without its name: TIOCGPTPEER.
func (m *master) peer(ctx vfs.Context, flags linux.OpenFlags) (uint64, error) {
	task, ok := ctx.(Installer)
	if !ok {
		return 0, linux.ENOTTY
	}
	impl, err := m.pair.OpenTerminal(ctx, flags)
	if err != nil {
		return 0, err
	}
	keep := flags & (linux.O_ACCMODE | linux.O_NONBLOCK)
	fd, err := task.Install(vfs.NewAnonFile(impl, m.pair.Path(), keep), 0, flags&linux.O_CLOEXEC != 0)
	return uint64(uint32(fd)), err
}

// flush discards what the slave has shown, or the keys it has not seen.
func (m *master) flush(which uint64) error {
	if which > linux.TCIOFLUSH {
		return linux.EINVAL
	}
	p := m.pair
	p.change(func() {
		if which != linux.TCOFLUSH {
			p.d.DropOutput()
		}
		if which != linux.TCIFLUSH {
			p.keys = p.keys[:0]
		}
	})
	return nil
}

// signal is TIOCSIG: a signal for the slave's foreground.
func (p *Pair) signal(sig int32) error {
	if !tty.FromKeyboard(sig) {
		return linux.EINVAL
	}
	p.change(func() { p.d.Signal(sig) })
	return nil
}

func (p *Pair) set(field *bool, v bool) {
	p.mu.Lock()
	*field = v
	p.mu.Unlock()
}

func (p *Pair) get(field *bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *field
}

func copyOutBool(ctx vfs.Context, addr uint64, v bool) error {
	if v {
		return tty.CopyOutInt(ctx, addr, 1)
	}
	return tty.CopyOutInt(ctx, addr, 0)
}
