package vfs

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// Signaller is told of readiness while a File has O_ASYNC, and always of wait.Urg: the
// owner of fcntl(F_SETOWN).
type Signaller interface {
	Signal(events wait.Events)
}

// async is a File's signal-driven I/O: fcntl(2), "Managing signals". Few files have
// one.
type async struct {
	poller Poller // nil: the file is never polled, and tells nothing
	owner  atomic.Pointer[Signaller]

	mu     sync.Mutex // guards what follows
	on     bool
	entry  wait.Entry
	owned  bool
	urgent wait.Entry
	stop   func() // OnEnd

	// notices are what F_NOTIFY has asked for.
	notices atomic.Uint32

	// events are those that the owner has not been told of yet.
	events atomic.Uint32
}

// makeAsync gives f's async, which it then has.
func (f *File) makeAsync() *async {
	if a := f.async.Load(); a != nil {
		return a
	}
	f.async.CompareAndSwap(nil, &async{poller: f.poller})
	return f.async.Load()
}

// Owner is who is told, or nil.
func (f *File) Owner() Signaller {
	if a := f.async.Load(); a != nil {
		if p := a.owner.Load(); p != nil {
			return *p
		}
	}
	return nil
}

// SetOwner sets who is told from now on.
func (f *File) SetOwner(s Signaller) {
	a := f.makeAsync()
	a.owner.Store(&s)
	a.listen()
}

// listen begins to listen for urgent bytes, once there is somebody to tell.
func (a *async) listen() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.poller == nil || a.owned {
		return
	}
	if q := a.poller.Queue(); q != nil {
		a.owned = true
		a.urgent = wait.Entry{Mask: wait.Urg, Wake: func(events wait.Events, by wait.Sleeper) {
			if events&wait.Urg != 0 {
				a.wake(wait.Urg, by)
			}
		}}
		q.Register(&a.urgent)
	}
}

// OnEnd has stop called, if it is not nil, when the File is closed or it is called
// again: what watches for the File's owner ends with it.
func (f *File) OnEnd(stop func()) {
	a := f.async.Load()
	if a == nil {
		if stop == nil {
			return
		}
		a = f.makeAsync()
	}
	a.onEnd(stop)
}

// Notices is what fcntl(F_NOTIFY) asks for in the directory f.
func (f *File) Notices() uint32 {
	if a := f.async.Load(); a != nil {
		return a.notices.Load()
	}
	return 0
}

// SetNotices sets it.
func (f *File) SetNotices(events uint32) { f.makeAsync().notices.Store(events) }

func (a *async) onEnd(stop func()) {
	a.mu.Lock()
	old := a.stop
	a.stop = stop
	a.mu.Unlock()
	if old != nil {
		old()
	}
}

// end stops listening: the file is closed.
func (a *async) end() {
	a.set(false)
	a.onEnd(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.owned {
		a.owned = false
		a.poller.Queue().Unregister(&a.urgent)
	}
}

// set begins or ends to tell.
func (a *async) set(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.poller == nil || a.on == on {
		return
	}
	q := a.poller.Queue()
	if q == nil {
		return
	}
	if a.on = on; !on {
		q.Unregister(&a.entry)
		return
	}
	a.entry.Mask, a.entry.Wake = wait.All, a.wake
	q.Register(&a.entry)
	a.poller.Poll() // some tell only after they were asked
}

// wake has the owner told, by another goroutine: the queue's lock is held, and a
// signal may want others. What happens until then is told of at once.
func (a *async) wake(events wait.Events, _ wait.Sleeper) {
	if a.events.Or(uint32(events)) == 0 {
		telling.Add(1)
		go a.tell()
	}
}

// telling counts the owners that are to be told and have not been.
var telling atomic.Int32

// SettleOwners waits, if not for long, until the owners of files have been told of what
// has happened: on Linux who makes a file ready has sent the signals when its call
// returns. No lock is held.
func SettleOwners() {
	const quick, patience = 100, 4000
	for i := 0; telling.Load() > 0 && i < patience; i++ {
		if i < quick {
			runtime.Gosched()
		} else { // whoever is at it does not have a processor
			time.Sleep(50 * time.Microsecond)
		}
	}
}

func (a *async) tell() {
	defer telling.Add(-1)
	events := wait.Events(a.events.Swap(0))
	a.poller.Poll() // and again
	if p := a.owner.Load(); p != nil {
		(*p).Signal(events)
	}
}

// asyncChanged follows a change of the status flags.
func (f *File) asyncChanged(old, now uint32) {
	if (old^now)&uint32(linux.O_ASYNC) != 0 {
		f.makeAsync().set(now&uint32(linux.O_ASYNC) != 0)
	}
}
