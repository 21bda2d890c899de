package task

import (
	"encoding/binary"
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// Futexes with priority inheritance: futex(2), "Priority-inheritance futexes". The
// word holds the owner's thread id, which is the sentry's, so that the host cannot
// serve them. The word is changed by compare-and-swap, which the guest's own thread
// carries out, since others change it without a call. Who waits is kept here; the
// host schedules without regard to it, but the waiter with the highest priority
// comes first.
//
// A word is known here only while somebody waits for it, or a call on it is under
// way.

// FutexWord is a futex as a call names it.
type FutexWord struct {
	Addr    mm.Addr
	Private bool // FUTEX_PRIVATE_FLAG
}

// piKey is the same for the same word, wherever it is mapped.
type piKey struct {
	space    *mm.Space   // of private memory
	file     *mm.Backing // of shared memory without a file
	dev, ino uint64
	at       uint64
}

// piFutexes are those of a sandbox.
type piFutexes struct {
	mu    sync.Mutex
	known map[piKey]*piFutex
	made  uint64
}

// piFutex is one that is known. Its word is changed, and waiters come and leave,
// with the lock word held, in which a guest is waited for: several in order of
// number. piFutexes.mu comes after it, and guards the rest.
type piFutex struct {
	key    piKey
	number uint64
	word   sync.Mutex

	refs    int
	owner   *Task // while there are waiters
	waiters []*piWaiter
	parked  []*piWaiter // of FUTEX_WAIT_REQUEUE_PI: this is the futex that it waits on first
}

// piWaiter is a thread that waits. Guarded by piFutexes.mu, but for wakes.
type piWaiter struct {
	t      *Task
	target *piFutex // what it is to own in the end
	queued bool     // for target; before that it is parked
	got    bool
	// ownerDied: it is for the waiter to put its id into the word.
	ownerDied bool
	wakes     chan struct{} // closed when got is set
}

// maxSwaps is how often a word is looked at again that changes all the time.
const maxSwaps = 1000

// pi gives the futex of a word, with a reference. EINVAL, EFAULT.
func (t *Task) pi(w FutexWord) (*piFutex, error) {
	if w.Addr%4 != 0 {
		return nil, linux.EINVAL
	}
	key := piKey{space: t.MM(), at: w.Addr}
	if !w.Private {
		r, ok := t.MM().Find(w.Addr)
		if !ok {
			return nil, linux.EFAULT
		}
		if r.Shared && r.File != nil {
			key = piKey{dev: r.File.Dev, ino: r.File.Ino, at: r.Offset + (w.Addr - r.Start)}
			if key.ino == 0 {
				key.file = r.File
			}
		}
	}
	p := &t.k.pi
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.known[key]
	if f == nil {
		if p.known == nil {
			p.known = map[piKey]*piFutex{}
		}
		p.made++
		f = &piFutex{key: key, number: p.made}
		p.known[key] = f
	}
	f.refs++
	return f, nil
}

func (t *Task) dropPI(f *piFutex) {
	p := &t.k.pi
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.refs--; f.refs == 0 {
		delete(p.known, f.key)
	}
}

func (t *Task) futexWord(addr mm.Addr) (uint32, error) {
	var b [4]byte
	err := t.CopyIn(addr, b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

// swap looks at the word at addr until decide is done with it: it gives what the
// word is to become, or that it may stay. EFAULT, and EAGAIN for a word that does
// not hold still.
func (t *Task) swap(addr mm.Addr, decide func(seen uint32) (want uint32, err error)) error {
	seen, err := t.futexWord(addr)
	if err != nil {
		return err
	}
	for range maxSwaps {
		want, err := decide(seen)
		if err != nil || want == seen {
			return err
		}
		if seen, err = t.th.CompareAndSwap(addr, seen, want); err != linux.EAGAIN {
			return err
		}
		if t.killed.Load() {
			return linux.ERESTARTNOINTR
		}
	}
	return linux.EAGAIN
}

// claim makes who the owner of f if nobody is, and gives the owner otherwise,
// having marked the word as waited for. f.word is held. EDEADLK, ESRCH.
func (t *Task) claim(f *piFutex, addr mm.Addr, who *Task, waiters bool) (owner *Task, err error) {
	p := &t.k.pi
	for range maxSwaps {
		var id int32
		err := t.swap(addr, func(seen uint32) (uint32, error) {
			p.mu.Lock()
			owner = f.owner
			p.mu.Unlock()
			id = int32(seen & futexTIDMask)
			switch {
			case id == t.ShowPID(who.tid):
				return 0, linux.EDEADLK
			case id != 0 || owner != nil:
				return seen | futexWaiters, nil
			}
			want := uint32(t.ShowPID(who.tid)) | seen&futexOwnerDied
			if waiters {
				want |= futexWaiters
			}
			return want, nil
		})
		if err != nil || owner != nil || id == 0 {
			return owner, err
		}
		owner = t.Named(id)
		if owner != nil {
			p.mu.Lock()
			gone := owner.piGone
			p.mu.Unlock()
			if !gone {
				return owner, nil
			}
		}
		// Its end may have changed the word meanwhile.
		seen, err := t.futexWord(addr)
		if err != nil {
			return nil, err
		}
		if int32(seen&futexTIDMask) == id {
			return nil, linux.ESRCH
		}
	}
	return nil, linux.EAGAIN
}

// enqueue has w wait for f, which owner has. f.word is held. EDEADLK if that would
// be for ever; false if the owner has ended, and the word is to be looked at again.
func (k *Kernel) enqueue(f *piFutex, owner *Task, w *piWaiter) (ok bool, err error) {
	k.pi.mu.Lock()
	defer k.pi.mu.Unlock()
	if f.owner != nil {
		owner = f.owner
	}
	if owner.piGone {
		return false, nil
	}
	for o, n := owner, 0; o != nil && n < 1024; n++ {
		if o == w.t {
			return false, linux.EDEADLK
		}
		if o.piBlocked == nil {
			break
		}
		o = o.piBlocked.owner
	}
	f.owner, w.queued = owner, true
	f.waiters = append(f.waiters, w)
	w.t.piBlocked = f
	return true, nil
}

// nextLocked is the waiter that comes first.
func (f *piFutex) nextLocked() *piWaiter {
	var next *piWaiter
	for _, w := range f.waiters {
		if next == nil || w.t.Scheduling().Priority > next.t.Scheduling().Priority {
			next = w
		}
	}
	return next
}

// grantLocked makes w the owner.
func (f *piFutex) grantLocked(w *piWaiter, ownerDied bool) {
	f.waiters = without(f.waiters, w)
	f.owner = nil
	if len(f.waiters) > 0 || ownerDied {
		f.owner = w.t
	}
	w.t.piBlocked = nil
	w.got, w.ownerDied = true, ownerDied
	close(w.wakes)
}

// LockPI is FUTEX_LOCK_PI. A zero deadline is none.
func (t *Task) LockPI(word FutexWord, deadline time.Time) error {
	f, err := t.pi(word)
	if err != nil {
		return err
	}
	defer t.dropPI(f)
	w := &piWaiter{t: t, target: f, wakes: make(chan struct{})}
	f.word.Lock()
	for queued := false; !queued; {
		owner, err := t.claim(f, word.Addr, t, false)
		if err == nil && owner != nil {
			queued, err = t.k.enqueue(f, owner, w)
		}
		if err != nil || owner == nil {
			f.word.Unlock()
			return err
		}
	}
	f.word.Unlock()
	return t.awaitPI(w, nil, word.Addr, deadline)
}

// TryLockPI is FUTEX_TRYLOCK_PI: EAGAIN if another has it.
func (t *Task) TryLockPI(word FutexWord) error {
	f, err := t.pi(word)
	if err != nil {
		return err
	}
	defer t.dropPI(f)
	f.word.Lock()
	defer f.word.Unlock()
	owner, err := t.claim(f, word.Addr, t, false)
	if err == nil && owner != nil {
		err = linux.EAGAIN
	}
	return err
}

// awaitPI sleeps until w owns its futex, whose word is at addr. ETIMEDOUT; a signal
// has the call made again, unless it was moved there from parking: EAGAIN.
func (t *Task) awaitPI(w *piWaiter, parking *piFutex, addr mm.Addr, deadline time.Time) error {
	err := t.Sleep(w.wakes, deadline)
	p, f := &t.k.pi, w.target
	if parking != nil {
		parking.word.Lock()
		p.mu.Lock()
		if !w.queued && !w.got {
			parking.parked = without(parking.parked, w)
			p.mu.Unlock()
			parking.word.Unlock()
			return restarting(err)
		}
		p.mu.Unlock()
		parking.word.Unlock()
	}
	f.word.Lock()
	defer f.word.Unlock()
	p.mu.Lock()
	if !w.got {
		f.waiters = without(f.waiters, w)
		if len(f.waiters) == 0 {
			f.owner = nil
		}
		t.piBlocked = nil
		p.mu.Unlock()
		if parking != nil && err != linux.ETIMEDOUT {
			return linux.EAGAIN
		}
		return restarting(err)
	}
	p.mu.Unlock()
	if !w.ownerDied {
		return nil
	}
	err = t.swap(addr, func(uint32) (uint32, error) {
		return uint32(t.Number()) | futexWaiters | futexOwnerDied, nil
	})
	p.mu.Lock()
	if len(f.waiters) == 0 && f.owner == t {
		f.owner = nil
	}
	p.mu.Unlock()
	return err
}

func restarting(err error) error {
	if err == linux.ERESTARTSYS {
		return linux.ERESTARTNOINTR
	}
	return err
}

// UnlockPI is FUTEX_UNLOCK_PI: EPERM unless the caller is the owner.
func (t *Task) UnlockPI(word FutexWord) error {
	f, err := t.pi(word)
	if err != nil {
		return err
	}
	defer t.dropPI(f)
	f.word.Lock()
	defer f.word.Unlock()
	p := &t.k.pi
	p.mu.Lock()
	next, owner := f.nextLocked(), f.owner
	p.mu.Unlock()
	err = t.swap(word.Addr, func(seen uint32) (uint32, error) {
		switch {
		case int32(seen&futexTIDMask) != t.Number():
			return 0, linux.EPERM
		case owner != nil && owner != t:
			return 0, linux.EINVAL
		case next != nil:
			return uint32(t.ShowPID(next.t.tid)) | futexWaiters, nil
		}
		return 0, nil
	})
	if err == nil && next != nil {
		p.mu.Lock()
		f.grantLocked(next, false)
		p.mu.Unlock()
	}
	return err
}

// leavePI gives what the thread owns to who waits for it: it ends, or its memory
// does.
func (t *Task) leavePI(ends bool) {
	p := &t.k.pi
	p.mu.Lock()
	defer p.mu.Unlock()
	t.piGone = ends
	for _, f := range p.known {
		if f.owner != t {
			continue
		}
		f.owner = nil
		if w := f.nextLocked(); w != nil {
			f.grantLocked(w, true)
		}
	}
}

// pair gives two futexes: EINVAL if they are one.
func (t *Task) pair(a, b FutexWord) (f, g *piFutex, err error) {
	if f, err = t.pi(a); err != nil {
		return nil, nil, err
	}
	if g, err = t.pi(b); err == nil && f == g {
		t.dropPI(g)
		err = linux.EINVAL
	}
	if err != nil {
		t.dropPI(f)
		return nil, nil, err
	}
	return f, g, nil
}

// WaitRequeuePI is FUTEX_WAIT_REQUEUE_PI: it waits on word, to be moved to target
// by CmpRequeuePI, and returns as its owner. EAGAIN if the word is not val.
func (t *Task) WaitRequeuePI(word FutexWord, val uint32, deadline time.Time, target FutexWord) error {
	f, g, err := t.pair(word, target)
	if err != nil {
		return err
	}
	defer t.dropPI(f)
	defer t.dropPI(g)
	w := &piWaiter{t: t, target: g, wakes: make(chan struct{})}
	f.word.Lock()
	seen, err := t.futexWord(word.Addr)
	if err == nil && seen != val {
		err = linux.EAGAIN
	}
	if err != nil {
		f.word.Unlock()
		return err
	}
	t.k.pi.mu.Lock()
	f.parked = append(f.parked, w)
	t.k.pi.mu.Unlock()
	f.word.Unlock()
	return t.awaitPI(w, f, target.Addr, deadline)
}

// CmpRequeuePI is FUTEX_CMP_REQUEUE_PI: of those parked on word, if it is val, the
// first gets target if it is free, and others wait for it. It gives how many were
// moved or woken.
func (t *Task) CmpRequeuePI(word FutexWord, wake, move int32, target FutexWord, val uint32) (n int, err error) {
	if wake < 0 || move < 0 || wake != 1 {
		return 0, linux.EINVAL
	}
	f, g, err := t.pair(word, target)
	if err != nil {
		return 0, err
	}
	defer t.dropPI(f)
	defer t.dropPI(g)
	first, second := f, g
	if g.number < f.number {
		first, second = g, f
	}
	first.word.Lock()
	defer first.word.Unlock()
	second.word.Lock()
	defer second.word.Unlock()
	seen, err := t.futexWord(word.Addr)
	if err == nil && seen != val {
		err = linux.EAGAIN
	}
	for err == nil && n < int(wake)+int(move) {
		var more bool
		if more, err = t.requeue(f, g, target.Addr, move > 0 || n > 0); !more {
			break
		}
		n++
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

// requeue moves one waiter from where it is parked to g, whose word is at addr:
// false if there is none. The words of both are held.
func (t *Task) requeue(f, g *piFutex, addr mm.Addr, waiters bool) (bool, error) {
	p := &t.k.pi
	for range maxSwaps {
		p.mu.Lock()
		if len(f.parked) == 0 {
			p.mu.Unlock()
			return false, nil
		}
		w := f.parked[0]
		p.mu.Unlock()
		if w.target != g {
			return false, linux.EINVAL
		}
		owner, err := t.claim(g, addr, w.t, waiters)
		queued := owner == nil
		if err == nil && owner != nil {
			queued, err = t.k.enqueue(g, owner, w)
		}
		if err != nil {
			return false, err
		}
		if queued {
			p.mu.Lock()
			f.parked = f.parked[1:]
			if owner == nil {
				w.got = true
				close(w.wakes)
			}
			p.mu.Unlock()
			return true, nil
		}
	}
	return false, linux.EAGAIN
}
