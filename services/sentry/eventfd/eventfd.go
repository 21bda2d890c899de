// Package eventfd provides counters that can be waited for: eventfd(2).
package eventfd

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// most is the largest value of a counter.
const most = math.MaxUint64 - 1

// Eventfd is a counter. It implements vfs.Impl.
type Eventfd struct {
	queue     wait.Queue
	semaphore bool
	count     atomic.Uint64
	id        int64 // in FDInfo
}

// ids numbers all of them.
var ids atomic.Int64

// New makes a counter: eventfd2(2). semaphore is EFD_SEMAPHORE; flags may hold
// O_NONBLOCK.
func New(initial uint32, semaphore bool, flags linux.OpenFlags) *vfs.File {
	return vfs.NewAnonFile(NewImpl(initial, semaphore), "anon_inode:[eventfd]", linux.O_RDWR|flags&linux.O_NONBLOCK)
}

// NewImpl makes a counter without the open file description around it.
func NewImpl(initial uint32, semaphore bool) *Eventfd {
	e := &Eventfd{semaphore: semaphore, id: ids.Add(1) - 1}
	e.count.Store(uint64(initial))
	return e
}

// ReadStream takes the count, or 1 of it from a semaphore. EINVAL if p is
// shorter than 8 bytes, EAGAIN while the count is 0.
func (e *Eventfd) ReadStream(_ vfs.Context, p []byte) (int, error) {
	if len(p) < 8 {
		return 0, linux.EINVAL
	}
	var n uint64
	for {
		was := e.count.Load()
		if was == 0 {
			return 0, linux.EAGAIN
		}
		if n = was; e.semaphore {
			n = 1
		}
		if e.count.CompareAndSwap(was, was-n) {
			break
		}
	}
	e.queue.Notify(wait.Out)
	binary.LittleEndian.PutUint64(p, n)
	return 8, nil
}

// WriteStream adds to the count. EINVAL if p is shorter than 8 bytes or the
// number is 2^64-1, EAGAIN if the count would overflow.
func (e *Eventfd) WriteStream(ctx vfs.Context, p []byte) (int, error) {
	if len(p) < 8 {
		return 0, linux.EINVAL
	}
	n := binary.LittleEndian.Uint64(p)
	if n > most {
		return 0, linux.EINVAL
	}
	for {
		was := e.count.Load()
		if n > most-was {
			return 0, linux.EAGAIN
		}
		if e.count.CompareAndSwap(was, was+n) {
			break
		}
	}
	e.queue.NotifyBy(ctx, wait.In)
	return 8, nil
}

// Records says that a write takes 8 bytes, whatever its length.
func (e *Eventfd) Records() {}

// Poll says In above 0 and Out while at least 1 can be added.
func (e *Eventfd) Poll() wait.Events {
	var ev wait.Events
	n := e.count.Load()
	if n > 0 {
		ev |= wait.In
	}
	if n < most {
		ev |= wait.Out
	}
	return ev
}

// Queue is where changes of the count are told.
func (e *Eventfd) Queue() *wait.Queue { return &e.queue }

// FDInfo is what /proc/PID/fdinfo says besides: proc_pid_fdinfo(5).
func (e *Eventfd) FDInfo() []byte {
	semaphore := 0
	if e.semaphore {
		semaphore = 1
	}
	return fmt.Appendf(nil, "eventfd-count: %16x\neventfd-id: %d\neventfd-semaphore: %d\n", e.count.Load(), e.id, semaphore)
}

// Seek does nothing, and succeeds: there is no position, and Linux's noop_llseek
// says no more of it.
func (e *Eventfd) Seek(_ vfs.Context, at, _ int64, _ int) (int64, error) { return at, nil }

// Release does nothing: a counter is memory.
func (e *Eventfd) Release() {}
