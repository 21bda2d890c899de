package vfs

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// fileLocks is the locks of one object: flock(2)'s beside fcntl(2)'s, which do
// not see each other.
type fileLocks struct {
	flocks  lockSet // whole-file spans, owned by *File
	records lockSet // owned by processOwner or *File (OFD)
	waiters int
	queue   wait.Queue // a lock has gone
}

// processOwner owns a process's record locks.
type processOwner int32

// locks is the locks of all objects that have any.
var locks struct {
	mu      sync.Mutex
	of      map[Node]*fileLocks
	blocked map[processOwner]processOwner // who waits for whom, for EDEADLK

	records atomic.Int64 // objects that may have record locks of processes
}

// lockedNode calls fn with the locks of f's object; locks.mu is held.
func lockedNode(f *File, fn func(l *fileLocks)) {
	node := f.path.Node()
	locks.mu.Lock()
	defer locks.mu.Unlock()
	l := locks.of[node]
	if l == nil {
		if locks.of == nil {
			locks.of = make(map[Node]*fileLocks)
			locks.blocked = make(map[processOwner]processOwner)
		}
		l = &fileLocks{}
		locks.of[node] = l
		locks.records.Add(1)
	}
	fn(l)
	if len(l.flocks)+len(l.records)+l.waiters == 0 {
		delete(locks.of, node)
		locks.records.Add(-1)
	}
}

// acquire takes s in one of an object's sets, waiting for it if block.
func acquire(ctx Context, f *File, set func(*fileLocks) *lockSet, s span, block bool) error {
	var queue *wait.Queue
	try := func() (bool, error) {
		var err error
		lockedNode(f, func(l *fileLocks) {
			queue = &l.queue
			other, taken := set(l).conflict(s)
			if !taken {
				set(l).set(s)
				return
			}
			err = linux.EAGAIN
			if me, ok := s.owner.(processOwner); ok && block {
				err = waitFor(me, other.owner)
			}
		})
		return err != linux.EAGAIN, err
	}
	if !block {
		_, err := try()
		return err
	}
	lockedNode(f, func(l *fileLocks) { l.waiters++; queue = &l.queue })
	err := wait.Until(ctx, queue, wait.In, time.Time{}, try)
	lockedNode(f, func(l *fileLocks) { l.waiters-- })
	if me, ok := s.owner.(processOwner); ok {
		locks.mu.Lock()
		delete(locks.blocked, me)
		locks.mu.Unlock()
	}
	return err
}

// waitFor notes that me waits for a lock of owner: EDEADLK if owner waits, over
// however many, for me; EAGAIN otherwise. locks.mu is held.
func waitFor(me processOwner, owner any) error {
	o, ok := owner.(processOwner)
	if !ok {
		return linux.EAGAIN
	}
	for next, waits := o, true; waits; next, waits = locks.blocked[next] {
		if next == me {
			return linux.EDEADLK
		}
	}
	locks.blocked[me] = o
	return linux.EAGAIN
}

// release takes locks away by fn and wakes who waits.
func release(f *File, fn func(l *fileLocks)) {
	var queue *wait.Queue
	lockedNode(f, func(l *fileLocks) {
		fn(l)
		if l.waiters > 0 {
			queue = &l.queue
		}
	})
	if queue != nil {
		queue.Notify(wait.In)
	}
}

// releaseFileLocks is for a File whose last reference is gone.
func releaseFileLocks(f *File) {
	release(f, func(l *fileLocks) {
		l.flocks.clearOwner(f)
		l.records.clearOwner(f)
	})
}

// releaseProcessLocks is for a close(2).
func releaseProcessLocks(f *File, tgid int32) {
	if locks.records.Load() == 0 {
		return
	}
	locks.mu.Lock()
	l := locks.of[f.path.Node()]
	has := l != nil && l.records.has(processOwner(tgid))
	locks.mu.Unlock()
	if has {
		release(f, func(l *fileLocks) { l.records.clearOwner(processOwner(tgid)) })
	}
}

func flocksOf(l *fileLocks) *lockSet  { return &l.flocks }
func recordsOf(l *fileLocks) *lockSet { return &l.records }

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN, perhaps with LOCK_NB. A
// conversion gives up the old lock first.
func (f *File) Flock(ctx Context, op int) error {
	if f.isPath() {
		return linux.EBADF
	}
	s := span{first: 0, last: maxOffset, owner: f, pid: ctx.TGID()}
	block := op&linux.LOCK_NB == 0
	switch op &^ linux.LOCK_NB {
	case linux.LOCK_UN:
		release(f, func(l *fileLocks) { l.flocks.clearOwner(f) })
		return nil
	case linux.LOCK_SH:
	case linux.LOCK_EX:
		s.write = true
	default:
		return linux.EINVAL
	}
	f.flock.Store(true)
	same := false
	release(f, func(l *fileLocks) {
		for _, o := range l.flocks {
			same = same || o.owner == any(f) && o.write == s.write
		}
		if !same {
			l.flocks.clearOwner(f)
		}
	})
	if same {
		return nil
	}
	return acquire(ctx, f, flocksOf, s, block)
}

// spanOf is the range of a struct flock: EINVAL, EOVERFLOW.
func (f *File) spanOf(ctx Context, l linux.Flock, ofd bool) (span, error) {
	var s span
	switch l.Whence {
	case linux.SEEK_SET:
	case linux.SEEK_CUR:
		f.position.Lock()
		s.first = f.position.at
		f.position.Unlock()
	case linux.SEEK_END:
		a, err := f.Attr(ctx)
		if err != nil {
			return s, err
		}
		s.first = a.Size
	default:
		return s, linux.EINVAL
	}
	if l.Start > maxOffset-s.first {
		return s, linux.EOVERFLOW
	}
	s.first += l.Start
	switch {
	case s.first < 0:
		return s, linux.EINVAL
	case l.Len > 0:
		if l.Len-1 > maxOffset-s.first {
			return s, linux.EOVERFLOW
		}
		s.last = s.first + l.Len - 1
	case l.Len < 0:
		if s.first+l.Len < 0 {
			return s, linux.EINVAL
		}
		s.first, s.last = s.first+l.Len, s.first-1
	default:
		s.last = maxOffset
	}
	s.owner, s.pid = processOwner(ctx.TGID()), ctx.TGID()
	if ofd {
		s.owner, s.pid = f, -1
	}
	return s, nil
}

// SetLock is fcntl(F_SETLK) and its like: ofd for F_OFD_SETLK, block for the
// waiting forms.
func (f *File) SetLock(ctx Context, l linux.Flock, ofd, block bool) error {
	if f.isPath() {
		return linux.EBADF
	}
	if ofd && l.PID != 0 {
		return linux.EINVAL
	}
	s, err := f.spanOf(ctx, l, ofd)
	if err != nil {
		return err
	}
	switch l.Type {
	case linux.F_UNLCK:
		release(f, func(l *fileLocks) { l.records.clear(s) })
		return nil
	case linux.F_RDLCK:
		if !f.Readable() {
			return linux.EBADF
		}
	case linux.F_WRLCK:
		if !f.Writable() {
			return linux.EBADF
		}
		s.write = true
	default:
		return linux.EINVAL
	}
	if ofd {
		f.flock.Store(true)
	}
	err = acquire(ctx, f, recordsOf, s, block)
	if err == nil { // a lock made weaker may let others in
		release(f, func(*fileLocks) {})
	}
	return err
}

// GetLock is fcntl(F_GETLK, F_OFD_GETLK): the lock that keeps l from being
// taken, or l with type F_UNLCK. Of an l with that type, one of f's own in its range.
func (f *File) GetLock(ctx Context, l linux.Flock, ofd bool) (linux.Flock, error) {
	if f.isPath() {
		return l, linux.EBADF
	}
	// F_OFD_GETLK of F_UNLCK asks for f's own locks.
	own := ofd && l.Type == linux.F_UNLCK
	if ofd && l.PID != 0 || !own && l.Type != linux.F_RDLCK && l.Type != linux.F_WRLCK {
		return l, linux.EINVAL
	}
	s, err := f.spanOf(ctx, l, ofd)
	if err != nil {
		return l, err
	}
	s.write = l.Type == linux.F_WRLCK
	lockedNode(f, func(fl *fileLocks) {
		o, taken := fl.records.conflict(s)
		if own {
			o, taken = fl.records.of(s)
		}
		if !taken {
			l.Type = linux.F_UNLCK
			return
		}
		l.Type = linux.F_RDLCK
		if o.write {
			l.Type = linux.F_WRLCK
		}
		l.Whence, l.Start, l.Len, l.PID = linux.SEEK_SET, o.first, 0, o.pid
		if o.last != maxOffset {
			l.Len = o.last - o.first + 1
		}
	})
	return l, nil
}
