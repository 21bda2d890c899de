// Package pipe provides pipes and FIFOs: pipe(7), fifo(7).
//
// A Pipe is a ring of pages in the sentry's own memory, allocated as it fills.
// An End is one open file description of it: the reading one, the writing one,
// or, for a FIFO opened O_RDWR, both. Ends never block: vfs.File does, on the
// pipe's queue, which is only notified of what a sleeper could wait for.
//
// Lock order: Pipe.mu is held for the copy only and nothing is taken under it.
package pipe

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Sizes of a pipe in bytes: pipe(7), "Pipe capacity".
const (
	DefaultSize = 65536
	// MaxSize is what F_SETPIPE_SZ gives without CAP_SYS_RESOURCE:
	// /proc/sys/fs/pipe-max-size.
	MaxSize = 1 << 20
	// HardMaxSize is what it gives with it. Linux allows 2 GiB.
	HardMaxSize = 64 << 20
)

// softPages is how many pages all pipes together may have room for before a new
// one gets minSlots only and none may grow, but for CAP_SYS_RESOURCE:
// /proc/sys/fs/pipe-user-pages-soft, here of the whole sandbox.
const (
	softPages = 16384
	minSlots  = 2
)

// device is st_dev of a pipe without a name.
const device = 14

var (
	lastIno  atomic.Uint64
	allPages atomic.Int64 // sum of the limits of all pipes' rings
)

// Pipe is what the ends share.
type Pipe struct {
	queue   wait.Queue
	ino     uint64
	uid     uint32
	gid     uint32
	created linux.Timespec

	mu               sync.Mutex
	ring             ring
	readers, writers int
	// readerOpens and writerOpens count the opens so far, so that an opener that
	// waits for the other side notices one that has gone again.
	readerOpens, writerOpens uint32
}

func newPipe(creds *vfs.Creds) *Pipe {
	p := &Pipe{ino: lastIno.Add(1), created: linux.TimespecAt(time.Now())}
	if creds != nil {
		p.uid, p.gid = creds.FSUID, creds.FSGID
	}
	p.ring.limit = DefaultSize / PageSize
	if allPages.Load()+DefaultSize/PageSize > softPages && !privileged(creds) {
		p.ring.limit = minSlots
	}
	allPages.Add(int64(p.ring.limit))
	return p
}

// privileged says that the limits of pipes do not bind who has creds.
func privileged(creds *vfs.Creds) bool {
	return creds != nil && creds.Has(linux.CAP_SYS_RESOURCE)
}

// New makes a pipe: pipe2(2). flags are O_NONBLOCK and O_DIRECT.
func New(ctx vfs.Context, flags linux.OpenFlags) (r, w *vfs.File) {
	re, we := NewEnds(ctx.Creds(), flags)
	name := fmt.Sprintf("pipe:[%d]", re.pipe.ino)
	flags &= linux.O_NONBLOCK | linux.O_DIRECT
	return vfs.NewAnonFile(re, name, linux.O_RDONLY|flags), vfs.NewAnonFile(we, name, linux.O_WRONLY|flags)
}

// NewEnds makes a pipe without the open file descriptions around its ends.
// creds, who owns it, may be nil.
func NewEnds(creds *vfs.Creds, flags linux.OpenFlags) (r, w *End) {
	p := newPipe(creds)
	r, w = &End{pipe: p, read: true}, &End{pipe: p, write: true}
	w.packet.Store(flags.Has(linux.O_DIRECT))
	p.readers, p.writers, p.readerOpens, p.writerOpens = 1, 1, 1, 1
	return r, w
}

// End is one open file description of a pipe.
type End struct {
	pipe        *Pipe
	fifo        vfs.Node // nil for a pipe without a name
	read, write bool
	packet      atomic.Bool // O_DIRECT
	// quietUntil: opened when nobody could write and without waiting; there is
	// no hang-up before writerOpens is something else.
	quiet      bool
	quietUntil uint32
}

// ReadStream is read(2): EAGAIN with nothing there but a writer, 0 with neither.
func (e *End) ReadStream(ctx vfs.Context, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	p := e.pipe
	p.mu.Lock()
	wasFull := p.ring.full()
	n := p.ring.read(b)
	opened := wasFull && !p.ring.full()
	ended := p.writers == 0
	p.mu.Unlock()
	if opened {
		p.queue.NotifyBy(ctx, wait.Out)
	}
	if n == 0 && !ended {
		return 0, linux.EAGAIN
	}
	return n, nil
}

// Unread implements vfs.Unreader.
func (e *End) Unread(b []byte) {
	p := e.pipe
	p.mu.Lock()
	p.ring.unread(b)
	p.mu.Unlock()
	p.queue.Notify(wait.In)
}

// WriteStream is write(2): EPIPE with nobody to read, and the handler raises
// SIGPIPE. Up to PIPE_BUF bytes are written all or not at all. Each write is
// told of, not only the first into an empty pipe: epoll(7) with EPOLLET.
func (e *End) WriteStream(ctx vfs.Context, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := budget.Check(); err != nil {
		return 0, err
	}
	p := e.pipe
	p.mu.Lock()
	if p.readers == 0 {
		p.mu.Unlock()
		return 0, linux.EPIPE
	}
	n := p.ring.write(b, e.packet.Load())
	p.mu.Unlock()
	if n == 0 {
		return 0, linux.EAGAIN
	}
	p.queue.NotifyBy(ctx, wait.In)
	return n, nil
}

// Poll is poll(2), with POLLERR on a writing end whose readers are gone.
func (e *End) Poll() wait.Events {
	var ev wait.Events
	p := e.pipe
	p.mu.Lock()
	if e.read {
		if !p.ring.empty() {
			ev |= wait.In
		}
		if p.writers == 0 && !(e.quiet && e.quietUntil == p.writerOpens) {
			ev |= wait.Hup
		}
	}
	if e.write {
		if !p.ring.full() {
			ev |= wait.Out
		}
		if p.readers == 0 {
			ev |= wait.Err
		}
	}
	p.mu.Unlock()
	return ev
}

// Queue is where both ends hear of changes.
func (e *End) Queue() *wait.Queue { return &e.pipe.queue }

// Release closes the end.
func (e *End) Release() {
	e.leave()
	if e.fifo != nil {
		fifos.drop(e.fifo, e.pipe)
	}
}

// leave counts the end out.
func (e *End) leave() {
	p := e.pipe
	p.mu.Lock()
	if e.read {
		p.readers--
	}
	if e.write {
		p.writers--
	}
	if p.readers+p.writers == 0 {
		p.ring.drop()
		if e.fifo == nil {
			p.forgetLocked()
		}
	}
	p.mu.Unlock()
	p.queue.Notify(wait.In | wait.Out | wait.Err | wait.Hup)
}

// forgetLocked gives back what the pipe counts for; it is of no use any more.
func (p *Pipe) forgetLocked() {
	allPages.Add(-int64(p.ring.limit))
	p.ring.limit = 0
}

// FileAttr is fstat(2). A FIFO's attributes are those of its node.
func (e *End) FileAttr(ctx vfs.Context) (vfs.Attr, error) {
	if e.fifo != nil {
		return e.fifo.Attr(ctx)
	}
	p := e.pipe
	return vfs.Attr{
		Dev: device, Ino: p.ino, Mode: linux.S_IFIFO | 0o600, Nlink: 1, UID: p.uid, GID: p.gid,
		Blksize: PageSize, Atime: p.created, Mtime: p.created, Ctime: p.created,
	}, nil
}

// SetFlags follows O_DIRECT, which makes each further write a packet.
func (e *End) SetFlags(_ vfs.Context, flags linux.OpenFlags) error {
	e.packet.Store(flags.Has(linux.O_DIRECT))
	return nil
}

// Ioctl answers FIONREAD: the bytes in the pipe, at either end.
func (e *End) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	if cmd != linux.FIONREAD {
		return 0, linux.ENOTTY
	}
	var out [4]byte
	binary.LittleEndian.PutUint32(out[:], uint32(e.Buffered()))
	return 0, ctx.CopyOut(arg, out[:])
}

// Buffered is the number of bytes in the pipe.
func (e *End) Buffered() int {
	e.pipe.mu.Lock()
	defer e.pipe.mu.Unlock()
	return e.pipe.ring.bytes
}

// Peek copies what a read would give and leaves it there: tee(2). EAGAIN as for
// ReadStream.
func (e *End) Peek(b []byte) (int, error) {
	p := e.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.ring.peek(b)
	if n == 0 && p.writers > 0 {
		return 0, linux.EAGAIN
	}
	return n, nil
}

// SamePipe says that two ends are of one pipe, which splice(2) and tee(2) refuse.
func (e *End) SamePipe(f *End) bool { return e.pipe == f.pipe }

// Size is fcntl(F_GETPIPE_SZ), in bytes.
func (e *End) Size() int {
	e.pipe.mu.Lock()
	defer e.pipe.mu.Unlock()
	return int(e.pipe.ring.limit) * PageSize
}

// SetSize is fcntl(F_SETPIPE_SZ): at least n bytes, rounded up to a power of two
// of pages; it gives the new size. EPERM above MaxSize, or when pipes have much
// memory already, without CAP_SYS_RESOURCE; EBUSY below what is in use, EINVAL for
// what no pipe can have.
func (e *End) SetSize(ctx vfs.Context, n uint64) (int, error) {
	if n > 1<<31 {
		return 0, linux.EINVAL
	}
	slots := uint32(1)
	for uint64(slots)*PageSize < n {
		slots *= 2
	}
	p := e.pipe
	p.mu.Lock()
	more := int64(slots) - int64(p.ring.limit)
	tooMuch := slots > MaxSize/PageSize || allPages.Load()+more > softPages
	if more > 0 && (slots > HardMaxSize/PageSize || tooMuch && !privileged(ctx.Creds())) {
		p.mu.Unlock()
		return 0, linux.EPERM
	}
	wasFull := p.ring.full()
	if !p.ring.setLimit(slots) {
		p.mu.Unlock()
		return 0, linux.EBUSY
	}
	allPages.Add(more)
	opened := wasFull && !p.ring.full()
	p.mu.Unlock()
	if opened {
		p.queue.Notify(wait.Out)
	}
	return int(slots) * PageSize, nil
}
