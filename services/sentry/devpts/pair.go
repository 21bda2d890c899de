package devpts

import (
	"strconv"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// keysSize is how many bytes a master may write ahead of the line discipline.
const keysSize = 8192

// Pair is a master and its slave.
type Pair struct {
	fs       *FS
	number   int
	node     *slaveNode
	terminal *tty.Terminal

	named bool // in the directory; FS.mu

	masterQueue, slaveQueue wait.Queue

	mu           sync.Mutex
	attr         vfs.Attr // of the slave
	d            *tty.Discipline
	keys         []byte // written by the master, no room in d yet
	size         linux.Winsize
	fixed        linux.Termios // TIOCSLCKTRMIOS: the bits that cannot be changed
	locked       bool          // TIOCSPTLCK: the slave cannot be opened
	exclusive    bool          // TIOCEXCL: not once more
	packet       bool          // TIOCPKT
	masterClosed bool
	slaves       int  // open
	slaveSeen    bool // was open once: then no slave is the end for a master
	hangups      int  // a slave opened before the last one is cut off
}

// Number is N of /dev/pts/N.
func (p *Pair) Number() int { return p.number }

// Path is the slave's usual name.
func (p *Pair) Path() string { return "/dev/pts/" + strconv.Itoa(p.number) }

// Terminal is the slave's job control.
func (p *Pair) Terminal() *tty.Terminal { return p.terminal }

// OpenTerminal opens the slave: EIO while it is locked or its master is gone.
func (p *Pair) OpenTerminal(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	p.mu.Lock()
	if p.locked || p.masterClosed {
		p.mu.Unlock()
		return nil, linux.EIO
	}
	if p.exclusive && p.slaves > 0 && !ctx.Creds().Has(linux.CAP_SYS_ADMIN) {
		p.mu.Unlock()
		return nil, linux.EBUSY
	}
	p.slaves++
	p.slaveSeen = true
	s := &slave{pair: p, opened: p.hangups}
	p.mu.Unlock()
	s.nonblock.Store(flags&linux.O_NONBLOCK != 0)
	p.terminal.AcquireOnOpen(ctx, flags)
	return s, nil
}

// Hangup cuts off every open slave: vhangup(2).
func (p *Pair) Hangup() {
	p.mu.Lock()
	p.hangups++
	p.mu.Unlock()
	p.terminal.HangUp()
	p.slaveQueue.Notify(wait.All)
}

// closeMaster ends the pair.
func (p *Pair) closeMaster() {
	p.mu.Lock()
	p.masterClosed = true
	forget := p.slaves == 0
	p.mu.Unlock()
	p.fs.unname(p, forget)
	p.Hangup()
}

func (p *Pair) closeSlave() {
	p.mu.Lock()
	p.slaves--
	last := p.slaves == 0
	if last {
		p.exclusive = false
	}
	forget := last && p.masterClosed
	p.mu.Unlock()
	if forget {
		p.fs.unname(p, true)
	}
	if last {
		p.masterQueue.Notify(wait.In | wait.Out | wait.Hup)
	}
}

// change runs f with the lock held, feeds waiting keys to the discipline, and
// then does what either asked for: signals and wake-ups.
func (p *Pair) change(f func()) {
	p.mu.Lock()
	shown, full := p.d.Pending(), len(p.keys) >= keysSize
	noRoom := p.d.Room() == 0
	f()
	if len(p.keys) > 0 {
		n := p.d.Input(p.keys)
		p.keys = append(p.keys[:0], p.keys[n:]...)
	}
	signals := p.d.TakeSignals()
	var toMaster, toSlave wait.Events
	if p.d.Pending() > shown {
		toMaster |= wait.In
	}
	if p.packet && p.d.Status() != 0 {
		toMaster |= wait.In | wait.Pri
	}
	if full && len(p.keys) < keysSize {
		toMaster |= wait.Out
	}
	if p.d.Ready(1) {
		toSlave |= wait.In
	}
	if noRoom && p.d.Room() > 0 {
		toSlave |= wait.Out
	}
	p.mu.Unlock()
	for _, sig := range signals {
		p.terminal.Signal(sig)
	}
	if toMaster != 0 {
		p.masterQueue.Notify(toMaster)
	}
	if toSlave != 0 {
		p.slaveQueue.Notify(toSlave)
	}
}

// Size is the window's.
func (p *Pair) Size() linux.Winsize {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// Resize changes it and tells the foreground: SIGWINCH.
func (p *Pair) Resize(w linux.Winsize) {
	p.mu.Lock()
	same := p.size == w
	p.size = w
	p.mu.Unlock()
	if !same {
		p.terminal.Signal(tty.SIGWINCH)
	}
}

func (p *Pair) termios() linux.Termios2 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.d.Termios()
}

func (p *Pair) setTermios(t linux.Termios2) {
	t.Termios = t.Keep(p.termios().Termios, p.lockedBits())
	// A pseudo-terminal has no wire: pty_set_termios.
	t.Cflag = t.Cflag&^(linux.CSIZE|linux.PARENB) | linux.CS8 | linux.CREAD
	p.change(func() { p.d.SetTermios(t) })
}
