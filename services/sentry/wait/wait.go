// Package wait is the one way to block in the sentry: a condition, an
// interrupt and a deadline.
//
// An object that can become ready (a pipe, a socket, a child) embeds a Queue
// and calls Notify after its state has changed and its lock is released.
// Whoever waits calls Until, or registers an Entry (poll, epoll).
//
// Lock order: an object's own lock may be held when Register is called; no lock
// may be held across Notify that a callback could want (callbacks take only the
// lock of what they wake).
package wait

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
)

// Events are readiness bits in poll(2)'s numbering.
type Events uint32

// The bits of poll(2) and epoll(7).
const (
	In    Events = 0x001
	Pri   Events = 0x002
	Out   Events = 0x004
	Err   Events = 0x008
	Hup   Events = 0x010
	Nval  Events = 0x020
	RDHup Events = 0x2000
	// Urg is nothing that poll tells: an urgent byte was announced, for SIGURG.
	Urg Events = 1 << 31

	Readable = In | Hup | Err | RDHup
	Writable = Out | Hup | Err
	All      = In | Pri | Out | Err | Hup | RDHup
)

// Entry is one registration on one Queue. Its owner keeps it alive until
// Unregister has returned.
type Entry struct {
	// Mask is what the owner wants to hear of; Err and Hup always are.
	Mask Events
	// Wake is called with the queue's lock held: it may not block and may not
	// call back into the queue. by is whose call has changed the object, or nil.
	Wake func(events Events, by Sleeper)

	next, prev *Entry
	queue      *Queue
}

// Queue is a list of parties that want to know when an object's readiness
// changes. The zero value is ready.
type Queue struct {
	mu   sync.Mutex
	head *Entry

	// listeners is how many entries there are. Who changes an object and then
	// finds none here has been earlier than whoever registers next, who looks at
	// the object only after that.
	listeners atomic.Int32
}

// Register adds e. It must not be registered anywhere.
func (q *Queue) Register(e *Entry) {
	q.mu.Lock()
	e.queue, e.next, e.prev = q, q.head, nil
	if q.head != nil {
		q.head.prev = e
	}
	q.head = e
	q.listeners.Add(1)
	q.mu.Unlock()
}

// Unregister removes e; when it has returned, no call of e.Wake is under way or
// will come. It does nothing if e is not registered here.
func (q *Queue) Unregister(e *Entry) {
	q.mu.Lock()
	if e.queue == q {
		if e.prev != nil {
			e.prev.next = e.next
		} else {
			q.head = e.next
		}
		if e.next != nil {
			e.next.prev = e.prev
		}
		e.queue, e.next, e.prev = nil, nil, nil
		q.listeners.Add(-1)
	}
	q.mu.Unlock()
}

// Notify tells every entry that wants one of events.
func (q *Queue) Notify(events Events) { q.NotifyBy(nil, events) }

// NotifyBy is Notify in a call of by's, which has nothing left to do that another
// could hold up: who was woken may be run as soon as the call is over, in its place.
func (q *Queue) NotifyBy(by Sleeper, events Events) {
	if q.listeners.Load() == 0 {
		return
	}
	q.mu.Lock()
	for e := q.head; e != nil; {
		next := e.next
		if (e.Mask|Err|Hup)&events != 0 {
			e.Wake(events, by)
		}
		e = next
	}
	q.mu.Unlock()
}

// Sleeper is a party that can sleep: a guest thread, or a test's stand-in.
type Sleeper interface {
	// Sleep returns nil once c delivers, ERESTARTSYS when a signal wants to be
	// delivered, ETIMEDOUT past the deadline (the zero Time is none).
	Sleep(c <-chan struct{}, deadline time.Time) error
}

// Parker is a Sleeper that can sleep without a goroutine's waiting for it.
type Parker interface {
	Sleeper
	// Park is Sleep without a deadline. Who delivers to c calls Unpark after it.
	Park(c <-chan struct{}) error
	// Unpark has it look at c. by is whose call has delivered, or nil.
	Unpark(by Sleeper)
}

// Alarm is what a Sleeper listens with: Ring is the Wake of any number of entries. It
// can be used again, and is made by NewAlarm.
type Alarm struct {
	Ring func(Events, Sleeper)

	c      chan struct{}
	parker Parker
}

// NewAlarm makes one.
func NewAlarm() *Alarm {
	a := &Alarm{c: make(chan struct{}, 1)}
	a.Ring = func(_ Events, by Sleeper) {
		select {
		case a.c <- struct{}{}:
			if a.parker != nil {
				a.parker.Unpark(by)
			}
		default:
		}
	}
	return a
}

// Set says whom it is to wake, before it is registered anywhere.
func (a *Alarm) Set(s Sleeper) { a.parker, _ = s.(Parker) }

// Reset makes it ready for another, once it is registered nowhere.
func (a *Alarm) Reset() {
	a.parker = nil
	select {
	case <-a.c:
	default:
	}
}

// Await sleeps until it rings, as s.Sleep does, of whom Set was told.
func (a *Alarm) Await(s Sleeper, deadline time.Time) error {
	if a.parker != nil && deadline.IsZero() {
		return a.parker.Park(a.c)
	}
	return s.Sleep(a.c, deadline)
}

// waiter is what Until listens with. It is used again, so that blocking
// allocates nothing.
type waiter struct {
	entry Entry
	alarm *Alarm
}

var waiters = sync.Pool{New: func() any { return &waiter{alarm: NewAlarm()} }}

// put ends the waiter's use of q and gives it back.
func (w *waiter) put(q *Queue) {
	q.Unregister(&w.entry)
	w.alarm.Reset()
	waiters.Put(w)
}

// Until calls try until it says done, sleeping on q between the calls. try's
// error is returned when it is done; ERESTARTSYS or ETIMEDOUT when the sleep
// ended first. try runs at least once, even past the deadline.
func Until(s Sleeper, q *Queue, mask Events, deadline time.Time, try func() (done bool, err error)) error {
	if done, err := try(); done {
		return err
	}
	w := waiters.Get().(*waiter)
	w.alarm.Set(s)
	w.entry = Entry{Mask: mask, Wake: w.alarm.Ring}
	q.Register(&w.entry)
	defer w.put(q)
	for {
		if done, err := try(); done {
			return err
		}
		if err := w.alarm.Await(s, deadline); err != nil {
			if err == linux.ETIMEDOUT {
				if done, err := try(); done {
					return err
				}
			}
			return err
		}
	}
}
