package vfs

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// Signaller is told of readiness while a File has O_ASYNC: the owner of
// fcntl(F_SETOWN).
type Signaller interface {
	Signal(events wait.Events)
}

// async is a File's signal-driven I/O: fcntl(2), "Managing signals". Its zero value
// has no owner.
type async struct {
	mu    sync.Mutex
	owner atomic.Pointer[Signaller]
	on    bool
	entry wait.Entry
	// events are those that the owner has not been told of yet.
	events atomic.Uint32
	poller Poller
}

// Owner is who is told, or nil.
func (f *File) Owner() Signaller {
	if p := f.async.owner.Load(); p != nil {
		return *p
	}
	return nil
}

// SetOwner sets who is told from now on.
func (f *File) SetOwner(s Signaller) { f.async.owner.Store(&s) }

// setAsync begins or ends to tell. Files that are never polled tell nothing.
func (f *File) setAsync(on bool) {
	a := &f.async
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.poller == nil || a.on == on {
		return
	}
	q := f.poller.Queue()
	if q == nil {
		return
	}
	if a.on = on; !on {
		q.Unregister(&a.entry)
		return
	}
	a.entry.Mask, a.entry.Wake, a.poller = wait.All, f.async.wake, f.poller
	q.Register(&a.entry)
	a.poller.Poll() // some tell only after they were asked
}

// wake has the owner told, by another goroutine: the queue's lock is held, and a
// signal may want others. What happens until then is told of at once.
func (a *async) wake(events wait.Events) {
	for {
		old := a.events.Load()
		if !a.events.CompareAndSwap(old, old|uint32(events)) {
			continue
		}
		if old == 0 {
			go a.tell()
		}
		return
	}
}

func (a *async) tell() {
	events := wait.Events(a.events.Swap(0))
	a.poller.Poll() // and again
	if p := a.owner.Load(); p != nil && *p != nil {
		(*p).Signal(events)
	}
}

// asyncChanged follows a change of the status flags.
func (f *File) asyncChanged(old, now uint32) {
	if (old^now)&uint32(linux.O_ASYNC) != 0 {
		f.setAsync(now&uint32(linux.O_ASYNC) != 0)
	}
}
