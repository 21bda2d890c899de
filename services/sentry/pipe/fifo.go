package pipe

import (
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// fifoTable gives each FIFO its pipe, for as long as somebody has the FIFO open
// or is opening it. What is in the pipe goes with the last of them.
type fifoTable struct {
	mu   sync.Mutex
	open map[vfs.Node]*fifoUse
}

type fifoUse struct {
	pipe *Pipe
	refs int
}

var fifos = fifoTable{open: map[vfs.Node]*fifoUse{}}

func (t *fifoTable) get(n vfs.Node, creds *vfs.Creds) *Pipe {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.open[n]
	if u == nil {
		u = &fifoUse{pipe: newPipe(creds)}
		t.open[n] = u
	}
	u.refs++
	return u.pipe
}

func (t *fifoTable) drop(n vfs.Node, p *Pipe) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.open[n]
	if u == nil || u.pipe != p {
		return
	}
	if u.refs--; u.refs == 0 {
		delete(t.open, n)
		p.mu.Lock()
		p.forgetLocked()
		p.mu.Unlock()
	}
}

func init() { vfs.FifoOpener = OpenFIFO }

// OpenFIFO opens the FIFO n: fifo(7). O_RDONLY and O_WRONLY wait for the other
// side; with O_NONBLOCK the first succeeds at once and the second gives ENXIO if
// nobody reads. O_RDWR never waits. ERESTARTSYS when a signal came first.
func OpenFIFO(ctx vfs.Context, n vfs.Node, flags linux.OpenFlags) (vfs.Impl, error) {
	p := fifos.get(n, ctx.Creds())
	e, err := p.open(ctx, n, flags)
	if err != nil {
		fifos.drop(n, p)
		return nil, err
	}
	return e, nil
}

// Reopen makes a further end of the pipe, as open(2) of /proc/PID/fd/N does, which
// waits for nobody unless it is a FIFO.
func (e *End) Reopen(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	if e.fifo != nil {
		return OpenFIFO(ctx, e.fifo, flags)
	}
	f, err := e.pipe.open(ctx, nil, flags)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// open makes a further end. It takes over a use of the FIFO n, if it succeeds.
func (p *Pipe) open(ctx vfs.Context, n vfs.Node, flags linux.OpenFlags) (*End, error) {
	e := &End{pipe: p, fifo: n}
	e.packet.Store(flags.Has(linux.O_DIRECT))
	switch flags & linux.O_ACCMODE {
	case linux.O_RDONLY:
		e.read = true
	case linux.O_WRONLY:
		e.write = true
	case linux.O_RDWR:
		e.read, e.write = true, true
	default:
		return nil, linux.EINVAL
	}
	met, err := e.join(flags.Has(linux.O_NONBLOCK))
	if err != nil {
		return nil, err
	}
	p.queue.Notify(wait.In | wait.Out)
	if err := wait.Until(ctx, &p.queue, wait.In|wait.Out, time.Time{}, met); err != nil {
		e.leave()
		return nil, err
	}
	return e, nil
}

// join counts the new end in and gives the condition for which its open waits. A
// pipe without a name waits for nobody.
func (e *End) join(nonblock bool) (met func() (bool, error), err error) {
	p := e.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.fifo != nil && e.write && !e.read && nonblock && p.readers == 0 {
		return nil, linux.ENXIO
	}
	if e.read {
		p.readers++
		p.readerOpens++
	}
	if e.write {
		p.writers++
		p.writerOpens++
	}
	alone := e.fifo != nil && (e.read && p.writers == 0 || e.write && p.readers == 0)
	if alone && nonblock {
		e.quiet, e.quietUntil = true, p.writerOpens
	}
	if !alone || nonblock {
		return func() (bool, error) { return true, nil }, nil
	}
	count := &p.writerOpens
	if e.write {
		count = &p.readerOpens
	}
	seen := *count
	return func() (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return *count != seen, nil
	}, nil
}
