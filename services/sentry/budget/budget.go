// Package budget bounds the memory that guests can make the sentry hold.
//
// Whatever guests make that is the sentry's (inodes, pipes, sockets and what is queued
// in them, open files, locks, watches, address spaces) lies on its heap. Linux charges
// it to the memory of the container, and calls that would make more fail with ENOMEM:
// Check does so here. It goes by what the garbage collector found alive, and not by
// counting, so that nothing is forgotten. Between two collections the heap can double;
// the limit is chosen for that.
//
// Pages of files are bounded by their file systems (tmpfs), and left out here.
package budget

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// share of the memory may be what lives on the heap, least bytes at least: with it the
// heap itself is a quarter at most, and half of the memory may be pages of files.
const (
	share = 8
	least = 32 << 20
)

var (
	memory atomic.Uint64 // of the sandbox, in bytes
	most   atomic.Int64  // that may be alive on the heap, in bytes
	pages  atomic.Int64  // of it are files', in bytes
	full   atomic.Bool
)

func init() {
	var s unix.Sysinfo_t // at start: the sealed sentry cannot ask
	if unix.Sysinfo(&s) != nil || s.Totalram == 0 {
		setMemory(16 << 30)
		return
	}
	setMemory(s.Totalram * uint64(s.Unit))
}

// Start begins to watch the heap. A sandbox that may have less memory than the host's
// says how much, in bytes; 0 is the host's.
func Start(limit uint64) {
	if limit > 0 && limit < memory.Load() {
		setMemory(limit)
	}
	// Files' pages and all else together: collected the more often, the fuller it is.
	debug.SetMemoryLimit(int64(max(memory.Load()/4*3, 4*least)))
	again()
}

func setMemory(n uint64) {
	memory.Store(n)
	most.Store(int64(max(n/share, least)))
}

// Memory is how many bytes the sandbox may think that it has.
func Memory() uint64 { return memory.Load() }

// Pages counts n more bytes of the heap that are pages of files.
func Pages(n int64) { pages.Add(n) }

// Check is ENOMEM if there is too much already to make anything more.
func Check() error {
	if !full.Load() {
		return nil
	}
	collectAgain(0)
	return linux.ENOMEM
}

// borrowed is what calls hold on the heap only for as long as they wait, in bytes.
var borrowed atomic.Int64

// Borrow is Check for a call that holds n bytes until it calls Return: all such calls
// together may hold a quarter of the memory, however many begin before the next
// collection sees what they hold.
func Borrow(n int64) error {
	if borrowed.Add(n) > 2*most.Load() {
		borrowed.Add(-n)
		return linux.ENOMEM
	}
	if err := Check(); err != nil {
		borrowed.Add(-n)
		return err
	}
	return nil
}

// Return ends a Borrow.
func Return(n int64) { borrowed.Add(-n) }

// again has look called after each garbage collection: the finalizer of what nobody
// holds runs then.
func again() {
	type token struct{ _ [16]byte }
	runtime.SetFinalizer(&token{}, func(*token) {
		look()
		again()
	})
}

// look compares what the last collection left with the limit.
func look() {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	alive := int64(samples[0].Value.Uint64()+samples[1].Value.Uint64()) - pages.Load()
	full.Store(alive > most.Load())
}

// Renew is for when what may have held much has just ended: if there was too much, it is
// soon known whether there is room, before a call is refused that need not be.
func Renew() {
	if full.Load() {
		collectAgain(untilGone)
	}
}

const (
	// untilGone is how long who has ended is still referred to.
	untilGone = 10 * time.Millisecond
	// mostStale is how old at most the view of the heap is when somebody is refused.
	mostStale = time.Second
)

// Shrink is called when there is too much, for what is only kept to be quicker to go. Set
// before Start.
var Shrink = func() {}

// collection is when there may be the next one that is for Check's sake.
var collection struct {
	sync.Mutex
	due  bool
	next time.Time
}

// collectAgain finds out, after so long at least, whether there is room by now: with
// nothing made, the heap would not grow to where it is collected. It takes a tenth of the
// time, unless that would be to wait for more than mostStale: on a busy machine a
// collection takes long, though it is little work.
func collectAgain(after time.Duration) {
	c := &collection
	c.Lock()
	defer c.Unlock()
	if c.due {
		return
	}
	c.due = true
	time.AfterFunc(max(after, time.Until(c.next)), func() {
		start := time.Now()
		c.Lock()
		c.due, c.next = false, start.Add(mostStale) // who asks from here on wants another
		c.Unlock()
		runtime.GC()
		if look(); full.Load() {
			Shrink()
			runtime.GC()
			look()
		}
		c.Lock()
		c.next = time.Now().Add(min(10*time.Since(start), mostStale))
		c.Unlock()
	})
}
