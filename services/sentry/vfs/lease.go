package vfs

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// breakTime is how long who holds a lease has to give it up:
// /proc/sys/fs/lease-break-time.
const breakTime = 45 * time.Second

// LeaseBroken is what the owner of a File is told when its lease is to end: POLL_MSG.
const LeaseBroken wait.Events = 0x400

// leases are those of fcntl(2), "Leases", by what they are of. While there is none,
// opening a file looks at a number only.
var leases struct {
	count atomic.Int64
	queue wait.Queue // told of each that ends

	sync.Mutex
	held map[Node][]*lease
}

// lease is one File's. leases.Mutex is held when using it.
type lease struct {
	file *File
	kind int // F_RDLCK, F_WRLCK
	// While somebody waits for it to end: what it is to become, and when it will.
	to     int
	forced time.Time
}

func (l *lease) breaking() bool { return !l.forced.IsZero() }

// SetLease is F_SETLEASE with F_RDLCK or F_WRLCK. EACCES for somebody else's file,
// EINVAL for what is no regular one, EAGAIN while it is open in a way that the lease is
// to tell of. alone says whether f alone is the file open.
func (f *File) SetLease(ctx Context, kind int, alone func() bool) error {
	a, err := f.Attr(ctx)
	if err != nil {
		return err
	}
	switch {
	case ctx.Creds().FSUID != a.UID && !ctx.Creds().HasOver(&a, linux.CAP_LEASE):
		return linux.EACCES
	case a.Mode&linux.S_IFMT != linux.S_IFREG:
		return linux.EINVAL
	}
	node := f.path.Node()
	if kind == linux.F_RDLCK && writers(node) > 0 || kind == linux.F_WRLCK && !alone() {
		return linux.EAGAIN
	}
	leases.Lock()
	defer leases.Unlock()
	var own *lease
	for _, l := range leases.held[node] {
		switch {
		case l.file == f:
			own = l
		case kind == linux.F_WRLCK || l.breaking() && l.to == linux.F_UNLCK:
			return linux.EAGAIN
		}
	}
	if own == nil {
		own = &lease{file: f}
		if leases.held == nil {
			leases.held = make(map[Node][]*lease)
		}
		leases.held[node] = append(leases.held[node], own)
		leases.count.Add(1)
		f.leased.Store(true)
	}
	own.kind, own.to, own.forced = kind, 0, time.Time{}
	leases.queue.Notify(wait.In)
	return nil
}

// EndLease is F_SETLEASE with F_UNLCK: EAGAIN if there is none.
func (f *File) EndLease() error {
	leases.Lock()
	defer leases.Unlock()
	for _, l := range leases.held[f.path.Node()] {
		if l.file == f {
			l.endLocked()
			return nil
		}
	}
	return linux.EAGAIN
}

func (l *lease) endLocked() {
	node := l.file.path.Node()
	list := leases.held[node]
	for i, o := range list {
		if o == l {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if leases.held[node] = list; len(list) == 0 {
		delete(leases.held, node)
	}
	l.file.leased.Store(false)
	leases.count.Add(-1)
	leases.queue.Notify(wait.In)
}

// Lease is F_GETLEASE: what there is, or what it is about to become.
func (f *File) Lease() int {
	leases.Lock()
	defer leases.Unlock()
	for _, l := range leases.held[f.path.Node()] {
		if l.file == f {
			if l.breaking() {
				return l.to
			}
			return l.kind
		}
	}
	return linux.F_UNLCK
}

// breakLeases waits until no lease is in the way of opening n, or of its being cut
// off: EWOULDBLOCK if that is not to wait, after whoever has one was told.
func breakLeases(ctx Context, n Node, write, nonblock bool) error {
	if leases.count.Load() == 0 {
		return nil
	}
	free, next := askFor(n, write)
	if free {
		return nil
	}
	if nonblock {
		return linux.EAGAIN
	}
	for {
		err := wait.Until(ctx, &leases.queue, wait.In, next, func() (bool, error) {
			free, next = askFor(n, write)
			return free, nil
		})
		if err != linux.ETIMEDOUT {
			return err
		}
	}
}

// askFor tells the holders of leases in the way to end them, and ends those that
// have been told long ago. It says whether none is left, and when the next will end.
func askFor(n Node, write bool) (free bool, next time.Time) {
	var told []Signaller
	leases.Lock()
	now := time.Now()
	for _, l := range append([]*lease(nil), leases.held[n]...) {
		to := linux.F_UNLCK
		if !write {
			if to = linux.F_RDLCK; l.kind == linux.F_RDLCK {
				continue
			}
		}
		if l.breaking() && !now.Before(l.forced) {
			if l.to == linux.F_RDLCK && !write {
				l.kind, l.forced = l.to, time.Time{}
			} else {
				l.endLocked()
			}
			continue
		}
		if !l.breaking() || l.to == linux.F_RDLCK && to == linux.F_UNLCK {
			l.to, l.forced = to, now.Add(breakTime)
			if s := l.file.Owner(); s != nil {
				told = append(told, s)
			}
		}
		if next.IsZero() || l.forced.Before(next) {
			next = l.forced
		}
	}
	leases.Unlock()
	for _, s := range told {
		s.Signal(LeaseBroken)
	}
	return next.IsZero(), next
}
