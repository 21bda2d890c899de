package epoll

import (
	"cmp"
	"slices"
	"sync"
	"time"
	"unsafe"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Wait fills out with what is ready and says how many: epoll_wait(2). It sleeps
// until there is something or the deadline has passed (the zero Time is none; one
// in the past does not sleep). EINTR if a signal came first, which is never
// restarted: signal(7). out is not empty. If s is a Teller, it is told.
func (ep *Epoll) Wait(s wait.Sleeper, out []linux.EpollEvent, deadline time.Time) (int, error) {
	teller, _ := s.(Teller)
	if n := ep.collect(out, teller); n > 0 || passed(deadline) {
		return n, nil
	}
	w := waiters.Get().(*waiter)
	defer w.put()
	w.alarm.Set(s)
	w.listen(1)
	w.register(&ep.queue, wait.In)
	for {
		if n := ep.collect(out, teller); n > 0 {
			return n, nil
		}
		switch err := w.alarm.Await(s, deadline); err {
		case nil:
		case linux.ETIMEDOUT:
			return ep.collect(out, teller), nil
		default:
			return 0, linux.EINTR
		}
	}
}

// Ready is Wait that does not sleep, for who has not looked at the time yet.
func (ep *Epoll) Ready(s wait.Sleeper, out []linux.EpollEvent) int {
	teller, _ := s.(Teller)
	return ep.collect(out, teller)
}

// Teller is told which file an event that it is given is of, under which descriptor that was
// added. It may not block, nor use the file.
type Teller interface {
	TellReady(fd int32, f *vfs.File, ev wait.Events)
}

// Target is the file that was added as descriptor fd, the nth of those, or nil; for
// comparing only.
func (ep *Epoll) Target(fd int32, nth uint32) *vfs.File {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	var files []*vfs.File
	for k := range ep.items {
		if k.fd == fd {
			files = append(files, k.file)
		}
	}
	if uint64(nth) >= uint64(len(files)) {
		return nil
	}
	// Linux has them in the order of their addresses, too.
	slices.SortFunc(files, func(a, b *vfs.File) int {
		return cmp.Compare(uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(b)))
	})
	return files[nth]
}

// Len is how many entries the interest list has.
func (ep *Epoll) Len() int {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return len(ep.items)
}

// collect takes from the ready list what is ready, each item at most once, in the
// order in which it became so. What is level-triggered goes to the end again, with
// ep.mu still held, so that another thread's collect does not find it missing.
func (ep *Epoll) collect(out []linux.EpollEvent, teller Teller) (n int) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for left := ep.ready.count(); left > 0 && n < len(out); left-- {
		it := ep.ready.pop()
		if it == nil {
			break
		}
		ev := it.readyLocked()
		if ev == 0 {
			continue
		}
		out[n] = linux.EpollEvent{Events: uint32(ev), Data: it.data}
		n++
		if teller != nil {
			teller.TellReady(it.fd, it.file, ev)
		}
		switch {
		case it.events&linux.EPOLLONESHOT != 0:
			it.events &= flagBits
		case it.events&linux.EPOLLET == 0:
			ep.ready.push(it)
		}
	}
	return n
}

// passed says that a deadline is not in the future.
func passed(deadline time.Time) bool {
	return !deadline.IsZero() && !time.Now().Before(deadline)
}

// Events of poll(2) that mean the same as others, for files without bands.
const (
	readNormal  wait.Events = linux.POLLRDNORM
	readBand    wait.Events = linux.POLLRDBAND
	writeNormal wait.Events = linux.POLLWRNORM
	writeBand   wait.Events = linux.POLLWRBAND
)

// Expand adds to what a file is ready for the other names of it.
func Expand(ev wait.Events) wait.Events {
	if ev&wait.In != 0 {
		ev |= readNormal
	}
	if ev&wait.Out != 0 {
		ev |= writeNormal
	}
	return ev
}

// Interest is what to listen for, of what the guest asks.
func Interest(ev wait.Events) wait.Events {
	if ev&(readNormal|readBand) != 0 {
		ev |= wait.In
	}
	if ev&(writeNormal|writeBand) != 0 {
		ev |= wait.Out
	}
	return ev
}

// waiter is what a sleeping thread listens with. It is used again, so that a sleep
// allocates nothing.
type waiter struct {
	alarm   *wait.Alarm
	entries []registration // of which used are registered
	used    int
}

type registration struct {
	entry wait.Entry
	queue *wait.Queue
}

var waiters = sync.Pool{New: func() any { return &waiter{alarm: wait.NewAlarm()} }}

// listen makes room for n registrations, none of which is made yet.
func (w *waiter) listen(n int) {
	if cap(w.entries) < n {
		w.entries = make([]registration, n)
	}
	w.entries = w.entries[:n]
}

func (w *waiter) register(q *wait.Queue, mask wait.Events) {
	r := &w.entries[w.used]
	w.used++
	r.queue = q
	r.entry = wait.Entry{Mask: mask, Wake: w.alarm.Ring}
	q.Register(&r.entry)
}

// put unregisters everything and gives the waiter back.
// mostKept is how many registrations a waiter may have room for that is kept.
const mostKept = 4096

func (w *waiter) put() {
	for i := range w.used {
		w.entries[i].queue.Unregister(&w.entries[i].entry)
		w.entries[i] = registration{}
	}
	w.used = 0
	if cap(w.entries) > mostKept {
		w.entries = nil
	}
	w.alarm.Reset()
	waiters.Put(w)
}

// Item is one file that Poll waits for.
type Item struct {
	// File is held by the caller for the length of the call. Without one the item
	// is not waited for: a negative descriptor.
	File *vfs.File
	// Events is what is asked for; Err and Hup always are, unless Exact is set:
	// select(2).
	Events wait.Events
	Exact  bool
	// Ready is the answer. The caller sets it, to Nval, for a bad descriptor
	// only.
	Ready wait.Events
}

func (it *Item) wanted() wait.Events {
	if it.Exact {
		return it.Events
	}
	return it.Events | wait.Err | wait.Hup
}

// What select(2) asks for and takes as ready, by set.
const (
	SelectRead   = wait.In | wait.Hup | wait.Err | readNormal | readBand
	SelectWrite  = wait.Out | wait.Err | writeNormal | writeBand
	SelectExcept = wait.Pri
)

// Ready fills in what is ready and says how many items are, without sleeping: for
// who has not looked at the time yet.
func Ready(items []Item) int { return check(items) }

// Poll waits until an item is ready and says how many are: poll(2). The deadline
// is as for Wait; past it, 0, nil. ERESTARTNOHAND if a signal came first.
func Poll(s wait.Sleeper, items []Item, deadline time.Time) (int, error) {
	if n := check(items); n > 0 || passed(deadline) {
		return n, nil
	}
	w := waiters.Get().(*waiter)
	defer w.put()
	w.alarm.Set(s)
	w.listen(len(items))
	for i := range items {
		if it := &items[i]; it.File != nil && it.File.Queue() != nil {
			w.register(it.File.Queue(), Interest(it.wanted()))
		}
	}
	for {
		if n := check(items); n > 0 {
			return n, nil
		}
		switch err := w.alarm.Await(s, deadline); err {
		case nil:
		case linux.ETIMEDOUT:
			return check(items), nil
		default:
			return 0, linux.ERESTARTNOHAND
		}
	}
}

// check asks every file, and says how many items are ready.
func check(items []Item) (n int) {
	for i := range items {
		it := &items[i]
		if it.File != nil {
			it.Ready = Expand(it.File.Poll()) & it.wanted()
		}
		if it.Ready != 0 {
			n++
		}
	}
	return n
}
