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
	// call back into the queue.
	Wake func(Events)

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
func (q *Queue) Notify(events Events) {
	if q.listeners.Load() == 0 {
		return
	}
	q.mu.Lock()
	for e := q.head; e != nil; {
		next := e.next
		if (e.Mask|Err|Hup)&events != 0 {
			e.Wake(events)
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

// waiter is what Until listens with. It is used again, so that blocking
// allocates nothing.
type waiter struct {
	entry Entry
	c     chan struct{}
	wake  func(Events)
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{c: make(chan struct{}, 1)}
	w.wake = func(Events) {
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
	return w
}}

// put ends the waiter's use of q and gives it back.
func (w *waiter) put(q *Queue) {
	q.Unregister(&w.entry)
	select {
	case <-w.c:
	default:
	}
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
	w.entry = Entry{Mask: mask, Wake: w.wake}
	q.Register(&w.entry)
	defer w.put(q)
	for {
		if done, err := try(); done {
			return err
		}
		if err := s.Sleep(w.c, deadline); err != nil {
			if err == linux.ETIMEDOUT {
				if done, err := try(); done {
					return err
				}
			}
			return err
		}
	}
}
