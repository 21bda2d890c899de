package devpts

import (
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// slave is one open slave.
type slave struct {
	pair     *Pair
	opened   int // Pair.hangups then
	nonblock atomic.Bool

	// The clock of VTIME, under pair.mu: since when a reader has waited with
	// had bytes there.
	timer    *time.Timer
	deadline time.Time
	had      int
}

// Release implements vfs.Impl.
func (s *slave) Release() { s.pair.closeSlave() }

// FileAttr implements vfs.Attrer.
func (s *slave) FileAttr(ctx vfs.Context) (vfs.Attr, error) { return s.pair.node.Attr(ctx) }

// Terminal is its job control, for who has only the open file.
func (s *slave) Terminal() *tty.Terminal { return s.pair.terminal }

// SetFlags implements vfs.FlagSetter.
func (s *slave) SetFlags(_ vfs.Context, flags linux.OpenFlags) error {
	s.nonblock.Store(flags&linux.O_NONBLOCK != 0)
	return nil
}

func (s *slave) hungUpLocked() bool { return s.opened != s.pair.hangups }

func (s *slave) hungUp() bool {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	return s.hungUpLocked()
}

// ReadStream implements vfs.StreamReader: a line, or in raw mode what VMIN and
// VTIME ask for. A terminal that was hung up reads as ended.
func (s *slave) ReadStream(ctx vfs.Context, b []byte) (n int, err error) {
	if s.hungUp() {
		return 0, nil
	}
	if err := s.pair.terminal.CheckRead(ctx); err != nil {
		return 0, err
	}
	s.pair.change(func() {
		if s.hungUpLocked() {
			return
		}
		if err = s.enoughLocked(len(b)); err == nil {
			n, _ = s.pair.d.Read(b)
			s.deadline = time.Time{}
		}
	})
	return n, err
}

// enoughLocked says whether a reader with room for size bytes returns now: nil,
// or EAGAIN. termios(3), "Canonical and noncanonical mode".
func (s *slave) enoughLocked(size int) error {
	d := s.pair.d
	t := d.Termios()
	if t.Lflag&linux.ICANON != 0 {
		if d.Ready(1) || size == 0 {
			return nil
		}
		return linux.EAGAIN
	}
	have := d.Buffered()
	least, clock := int(t.Cc[linux.VMIN]), time.Duration(t.Cc[linux.VTIME])*100*time.Millisecond
	switch {
	case size == 0, least == 0 && clock == 0, have > 0 && have >= min(least, size):
		return nil
	case s.nonblock.Load():
		if have > 0 {
			return nil
		}
		return linux.EAGAIN
	case clock == 0, least > 0 && have == 0:
		return linux.EAGAIN
	}
	return s.clockLocked(have, clock)
}

// clockLocked runs the clock of VTIME, anew for each byte.
func (s *slave) clockLocked(have int, clock time.Duration) error {
	now := time.Now()
	fresh := s.deadline.IsZero() || s.had != have || now.Sub(s.deadline) > time.Second
	if !fresh && !now.Before(s.deadline) {
		return nil
	}
	if fresh {
		s.deadline, s.had = now.Add(clock), have
	}
	wake := func() { s.pair.slaveQueue.Notify(wait.In) }
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(s.deadline.Sub(now), wake)
	return linux.EAGAIN
}

// WriteStream implements vfs.StreamWriter.
func (s *slave) WriteStream(ctx vfs.Context, b []byte) (n int, err error) {
	p := s.pair
	if s.hungUp() {
		return 0, linux.EIO
	}
	if t := p.termios(); t.Lflag&linux.TOSTOP != 0 {
		if err := p.terminal.CheckChange(ctx); err != nil {
			return 0, err
		}
	}
	p.change(func() {
		if s.hungUpLocked() {
			err = linux.EIO
			return
		}
		n = p.d.Output(b)
		if n == 0 && len(b) > 0 {
			err = linux.EAGAIN
		}
	})
	return n, err
}

// Poll implements vfs.Poller.
func (s *slave) Poll() wait.Events {
	p := s.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.hungUpLocked() {
		return wait.In | wait.Out | wait.Err | wait.Hup
	}
	var ready wait.Events
	if p.d.PollReady() {
		ready |= wait.In
	}
	if p.d.Room() > 0 {
		ready |= wait.Out
	}
	return ready
}

// Queue implements vfs.Poller.
func (s *slave) Queue() *wait.Queue { return &s.pair.slaveQueue }

// Ioctl implements vfs.Ioctler: ioctl_tty(2).
func (s *slave) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	p := s.pair
	if s.hungUp() {
		if cmd == linux.TIOCSPGRP {
			return 0, linux.ENOTTY
		}
		return 0, linux.EIO
	}
	switch cmd {
	case linux.FIONREAD:
		p.mu.Lock()
		n := p.d.Buffered()
		p.mu.Unlock()
		return 0, tty.CopyOutInt(ctx, arg, int32(n))
	case linux.TCFLSH:
		return 0, s.flush(ctx, arg)
	case linux.TCXONC:
		return 0, s.flow(ctx, arg)
	}
	return p.ioctl(ctx, cmd, arg, false)
}

func (s *slave) flush(ctx vfs.Context, which uint64) error {
	if err := s.pair.terminal.CheckChange(ctx); err != nil {
		return err
	}
	if which > linux.TCIOFLUSH {
		return linux.EINVAL
	}
	s.pair.change(func() {
		if which != linux.TCOFLUSH {
			s.pair.keys = s.pair.keys[:0]
			s.pair.d.FlushInput()
		}
		if which != linux.TCIFLUSH {
			s.pair.d.FlushOutput()
		}
	})
	return nil
}

// flow is tcflow(3).
func (s *slave) flow(ctx vfs.Context, what uint64) error {
	p := s.pair
	if err := p.terminal.CheckChange(ctx); err != nil {
		return err
	}
	switch what {
	case linux.TCOOFF:
		p.change(p.d.Stop)
	case linux.TCOON:
		p.change(p.d.Start)
	case linux.TCIOFF, linux.TCION:
		index := linux.VSTOP
		if what == linux.TCION {
			index = linux.VSTART
		}
		p.change(func() { p.d.Send(index) })
	default:
		return linux.EINVAL
	}
	return nil
}

// Reopen implements vfs.Reopener: /proc/PID/fd/N of what TIOCGPTPEER gave.
func (s *slave) Reopen(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	return s.pair.OpenTerminal(ctx, flags)
}
