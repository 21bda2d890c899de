// Package epoll waits for many files at once: epoll(7), poll(2), select(2).
//
// An Epoll holds an interest list of items. Each item is registered on its
// file's wait queue; when the file tells of a change, the item goes to the end of
// the ready list, and Wait looks only there. The ready list may name an item that
// is not ready any more, never the other way round: Wait asks the file.
//
// A file in the list is not kept open by it; the item goes when the last
// reference to the file does (vfs.Watcher).
//
// Lock order, a < b for "a is taken first":
//
//	nesting < Epoll.mu < the file's own locks < wait.Queue.mu < readyList.mu < Epoll.queue.mu
//
// An epoll in an epoll makes a chain of these, outermost first, which ends
// because no epoll may contain itself.
package epoll

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Epoll is an epoll instance. It implements vfs.Impl.
type Epoll struct {
	queue wait.Queue

	mu    sync.Mutex
	items map[key]*item

	ready readyList

	params atomic.Uint64 // struct epoll_params: Ioctl

	// above are the epolls that this one stands in, with how often.
	above struct {
		sync.Mutex
		in map[*Epoll]int
	}
}

// key names an item as epoll_ctl(2) does: the same file under two descriptors is
// two items.
type key struct {
	fd   int32
	file *vfs.File
}

// item is one entry of an interest list.
type item struct {
	key
	ep      *Epoll
	entry   wait.Entry
	watcher vfs.Watcher

	// ep.mu is held when using these.
	events uint32 // as the guest gave them, with the flags
	data   uint64

	// The lock of ep.ready is held when using these.
	next, prev *item
	queued     bool
}

// The flags among the events of an item, and those that EPOLLEXCLUSIVE goes with.
const (
	flagBits      = linux.EPOLLEXCLUSIVE | linux.EPOLLWAKEUP | linux.EPOLLONESHOT | linux.EPOLLET
	exclusiveOkay = linux.EPOLLIN | linux.EPOLLOUT | linux.EPOLLERR | linux.EPOLLHUP |
		linux.EPOLLWAKEUP | linux.EPOLLET | linux.EPOLLEXCLUSIVE
)

// New makes an instance: epoll_create1(2).
func New() *vfs.File {
	return vfs.NewAnonFile(NewImpl(), "anon_inode:[eventpoll]", linux.O_RDWR)
}

// NewImpl makes one without the open file description around it.
func NewImpl() *Epoll {
	ep := &Epoll{items: map[key]*item{}}
	ep.above.in = map[*Epoll]int{}
	return ep
}

// Ctl is epoll_ctl(2) on the file f under the descriptor fd. EPERM for a file
// that is always ready, EEXIST, ENOENT, ELOOP for a circle or too deep a nest,
// EINVAL for too many ways up, itself, an unknown op, or EPOLLEXCLUSIVE where it may
// not be.
func (ep *Epoll) Ctl(op int, fd int32, f *vfs.File, ev linux.EpollEvent) error {
	if f.Queue() == nil {
		return linux.EPERM
	}
	inner, nested := f.Impl().(*Epoll)
	if inner == ep {
		return linux.EINVAL
	}
	if op != linux.EPOLL_CTL_DEL && ev.Events&linux.EPOLLEXCLUSIVE != 0 {
		if op == linux.EPOLL_CTL_MOD || nested || ev.Events&^exclusiveOkay != 0 {
			return linux.EINVAL
		}
	}
	k := key{fd, f}
	switch op {
	case linux.EPOLL_CTL_ADD:
		if nested {
			return ep.addNested(k, inner, ev)
		}
		return ep.add(k, ev)
	case linux.EPOLL_CTL_MOD:
		return ep.modify(k, ev)
	case linux.EPOLL_CTL_DEL:
		return ep.remove(k)
	}
	return linux.EINVAL
}

// mask is what an item wants to hear of; nothing once EPOLLONESHOT has fired.
func mask(events uint32) wait.Events {
	if events&^flagBits == 0 {
		return 0
	}
	return Interest(wait.Events(events&^flagBits)) | wait.Err | wait.Hup
}

func (ep *Epoll) add(k key, ev linux.EpollEvent) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.items[k] != nil {
		return linux.EEXIST
	}
	it := &item{key: k, ep: ep, events: always(ev.Events), data: ev.Data}
	it.entry = wait.Entry{Mask: mask(it.events), Wake: func(_ wait.Events, by wait.Sleeper) { ep.wake(it, by) }}
	it.watcher.Gone = func(*vfs.File) { ep.forget(it) }
	ep.items[k] = it
	k.file.Watch(&it.watcher)
	k.file.Queue().Register(&it.entry)
	ep.checkLocked(it)
	return nil
}

// always adds the two events that need not be asked for.
func always(events uint32) uint32 { return events | linux.EPOLLERR | linux.EPOLLHUP }

func (ep *Epoll) modify(k key, ev linux.EpollEvent) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	it := ep.items[k]
	if it == nil {
		return linux.ENOENT
	}
	if it.events&linux.EPOLLEXCLUSIVE != 0 {
		return linux.EINVAL
	}
	it.events, it.data = always(ev.Events), ev.Data
	q := k.file.Queue()
	q.Unregister(&it.entry)
	it.entry.Mask = mask(it.events)
	q.Register(&it.entry)
	ep.checkLocked(it)
	return nil
}

// checkLocked puts it on the ready list if its file is ready already.
func (ep *Epoll) checkLocked(it *item) {
	if it.readyLocked() != 0 {
		ep.wake(it, nil)
	}
}

func (ep *Epoll) remove(k key) error {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	it := ep.items[k]
	if it == nil {
		return linux.ENOENT
	}
	it.file.Unwatch(&it.watcher)
	ep.dropLocked(it)
	return nil
}

// forget drops it because its file is gone.
func (ep *Epoll) forget(it *item) {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.items[it.key] == it {
		ep.dropLocked(it)
	}
}

func (ep *Epoll) dropLocked(it *item) {
	delete(ep.items, it.key)
	it.file.Queue().Unregister(&it.entry)
	ep.ready.remove(it)
	if inner, ok := it.file.Impl().(*Epoll); ok {
		inner.leave(ep)
	}
}

// Seek does nothing, and succeeds: there is no position, and Linux's noop_llseek
// says no more of it.
func (ep *Epoll) Seek(_ vfs.Context, at, _ int64, _ int) (int64, error) { return at, nil }

// Release empties the interest list.
func (ep *Epoll) Release() {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for _, it := range ep.items {
		it.file.Unwatch(&it.watcher)
		ep.dropLocked(it)
	}
}

// readyLocked gives the events of it that are there now; ep.mu is held. An item
// whose EPOLLONESHOT has fired has no events left, not even the two that are
// always told of.
func (it *item) readyLocked() wait.Events {
	want := wait.Events(it.events &^ flagBits)
	if want == 0 {
		return 0
	}
	return Expand(it.file.Poll()) & want
}

// Poll says In while Wait would give something; an item that is not ready any
// more leaves the ready list.
func (ep *Epoll) Poll() wait.Events {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	for left := ep.ready.count(); left > 0; left-- {
		it := ep.ready.pop()
		if it == nil {
			break
		}
		if it.readyLocked() != 0 {
			ep.ready.push(it)
			return wait.In
		}
	}
	return 0
}

// Queue is where a new entry of the ready list is told.
func (ep *Epoll) Queue() *wait.Queue { return &ep.queue }

// wake is told of a change of it's file, with the lock of the file's queue held.
func (ep *Epoll) wake(it *item, by wait.Sleeper) {
	ep.ready.push(it)
	ep.queue.NotifyBy(by, wait.In)
}
