// Package aio provides contexts of asynchronous I/O: what io_setup(2) makes,
// io_submit(2) puts requests into and io_getevents(2) takes their ends out of.
//
// Reads and writes are done by whoever submits them, as Linux does them for files
// that are not opened with O_DIRECT; what really waits here are requests to poll.
//
// A Set's lock is taken before a Context's; neither is held while somebody sleeps.
package aio

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/epoll"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// MaxRequests is how many requests all contexts of the sandbox may be made for:
// /proc/sys/fs/aio-max-nr.
const MaxRequests = 65536

// reserved is how many they are: /proc/sys/fs/aio-nr.
var reserved atomic.Int64

// Reserved is how many requests contexts have been made for.
func Reserved() int64 { return reserved.Load() }

// Event is the end of a request: struct io_event.
type Event struct {
	Data   uint64 // the request's own
	Object uint64 // its address
	Result int64  // as the call in its place would give it
}

// Set is the contexts of an address space, by id.
type Set struct {
	mu       sync.Mutex
	contexts map[uint64]*Context
	closed   bool
}

// NewSet gives an empty one.
func NewSet() *Set { return &Set{contexts: map[uint64]*Context{}} }

// Context gives the context with that id: EINVAL.
func (s *Set) Context(id uint64) (*Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.contexts[id]; c != nil {
		return c, nil
	}
	return nil, linux.EINVAL
}

// Add makes a context for n requests: EAGAIN past MaxRequests.
func (s *Set) Add(id uint64, n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.contexts[id] != nil || s.closed {
		return linux.EAGAIN
	}
	if reserved.Add(int64(n)) > MaxRequests {
		reserved.Add(-int64(n))
		return linux.EAGAIN
	}
	s.contexts[id] = &Context{room: int(n), reserved: n, active: map[*poll]struct{}{}}
	return nil
}

// Remove ends a context: io_destroy(2). EINVAL.
func (s *Set) Remove(id uint64) error {
	s.mu.Lock()
	c := s.contexts[id]
	delete(s.contexts, id)
	s.mu.Unlock()
	if c == nil {
		return linux.EINVAL
	}
	c.destroy()
	return nil
}

// Release ends all of them, with the address space.
func (s *Set) Release() {
	s.mu.Lock()
	s.closed = true
	all := s.contexts
	s.contexts = map[uint64]*Context{}
	s.mu.Unlock()
	for _, c := range all {
		c.destroy()
	}
}

// Context is where requests and their ends are.
type Context struct {
	queue    wait.Queue // In: a request has ended; Hup: the context has
	reserved uint32

	mu     sync.Mutex
	room   int // requests that it still takes
	events []Event
	active map[*poll]struct{}
	gone   bool
}

// Take reserves the place of a request: EAGAIN if there is none, EINVAL once the
// context is gone. Complete or Give must follow.
func (c *Context) Take() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return linux.EINVAL
	case c.room == 0:
		return linux.EAGAIN
	}
	c.room--
	return nil
}

// Give takes back Take, for a request that is not accepted.
func (c *Context) Give() {
	c.mu.Lock()
	c.room++
	c.mu.Unlock()
}

// Complete says that a request has ended, and tells notify, an eventfd, if there is one.
func (c *Context) Complete(e Event, notify *vfs.File) {
	c.mu.Lock()
	if !c.gone {
		c.events = append(c.events, e)
	}
	c.mu.Unlock()
	c.queue.Notify(wait.In)
	if notify != nil {
		if w, ok := notify.Impl().(vfs.StreamWriter); ok {
			w.WriteStream(vfs.KernelContext(), []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full, it has woken its reader before
		}
		notify.DecRef(vfs.KernelContext())
	}
}

// Events waits until there are at least least ends, or the deadline, and takes most
// of them at most: io_getevents(2). EINTR if a signal came before the first, EINVAL
// if the context ended.
func (c *Context) Events(s wait.Sleeper, least, most int, deadline time.Time) ([]Event, error) {
	var out []Event
	err := wait.Until(s, &c.queue, wait.In, deadline, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := min(len(c.events), most-len(out))
		out = append(out, c.events[:n]...)
		if c.events = append(c.events[:0], c.events[n:]...); len(c.events) == 0 {
			c.events = nil
		}
		c.room += n
		if c.gone && len(out) == 0 {
			return true, linux.EINVAL
		}
		return len(out) >= least || c.gone, nil
	})
	switch {
	case len(out) > 0 || err == linux.ETIMEDOUT:
		return out, nil
	case err == linux.ERESTARTSYS:
		return nil, linux.EINTR
	}
	return nil, err
}

// destroy ends what is under way.
func (c *Context) destroy() {
	c.mu.Lock()
	c.gone = true
	c.events = nil
	all := c.active
	c.active = nil
	c.mu.Unlock()
	for p := range all {
		close(p.cancel)
	}
	reserved.Add(-int64(c.reserved))
	c.queue.Notify(wait.In | wait.Hup)
}

// poll is a request that waits until a file is ready. Several may have one address:
// nothing keeps a guest from submitting a block that is under way.
type poll struct {
	object uint64
	cancel chan struct{}
}

// Sleep is wait.Sleeper's.
func (p *poll) Sleep(ready <-chan struct{}, _ time.Time) error {
	select {
	case <-ready:
		return nil
	case <-p.cancel:
		return linux.ERESTARTSYS
	}
}

// Poll has request e end as soon as one of events is there in f, with what is
// there: IOCB_CMD_POLL. It takes over the references to f and notify, and what
// Take reserved.
func (c *Context) Poll(e Event, f *vfs.File, events wait.Events, notify *vfs.File) {
	p := &poll{e.Object, make(chan struct{})}
	c.mu.Lock()
	gone := c.gone
	if !gone {
		c.active[p] = struct{}{}
	}
	c.mu.Unlock()
	finish := func() {
		c.mu.Lock()
		delete(c.active, p)
		c.mu.Unlock()
		f.DecRef(vfs.KernelContext())
		c.Complete(e, notify)
	}
	ready := func() (bool, error) {
		e.Result = int64(epoll.Expand(f.Poll()) & (events | wait.Err | wait.Hup))
		return e.Result != 0, nil
	}
	if done, _ := ready(); done || gone || f.Queue() == nil {
		finish()
		return
	}
	go func() {
		wait.Until(p, f.Queue(), epoll.Interest(events), time.Time{}, ready)
		finish()
	}()
}

// Cancel ends the request at an address early: io_cancel(2). Its end is told as any
// other's. EINVAL if there is none under way.
func (c *Context) Cancel(object uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.active {
		if p.object == object {
			delete(c.active, p)
			close(p.cancel)
			return linux.EINPROGRESS
		}
	}
	return linux.EINVAL
}
