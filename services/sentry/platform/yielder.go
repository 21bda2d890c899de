package platform

import (
	"runtime"
	"sync/atomic"
	"time"

	"bulkhead/proto/cores"
	"bulkhead/services/sentry/wait"
)

// Yielder is a wait that gives way to others. The zero value is ready.
type Yielder struct {
	// Idle says that the caller holds no lock and calls Done at the end. It looks at
	// the guests' Watcher meanwhile.
	Idle bool

	yields, others uint
	watcher        wait.Watcher
}

// yielders is how many waits with Idle are under way.
var yielders atomic.Int32

// Yield gives both the Go scheduler and the host's a chance to run another. Go's
// gets it at first and now and then, if there may be no processor left for other
// goroutines: each time it wakes a thread to look for work, which finds none and
// sleeps again.
func (y *Yielder) Yield() {
	switch {
	case y.yields > 0:
		if y.yields%goschedEvery == 0 && (!y.Idle || yielders.Load() >= maxProcs) {
			runtime.Gosched()
		}
	case !y.Idle:
		runtime.Gosched()
	default:
		if yielders.Add(1) >= maxProcs {
			runtime.Gosched()
		}
		y.watcher = wait.Watching()
	}
	y.yields++
	if cores.Yield(time.Now()) {
		y.others++
	}
	if y.watcher != nil {
		y.watcher.Look()
	}
}

// Done ends a wait with Idle. With found it was not in vain, and there will be another
// one soon.
func (y *Yielder) Done(found bool) {
	if !y.Idle || y.yields == 0 {
		return
	}
	yielders.Add(-1)
	if y.watcher != nil {
		y.watcher.Unwatch(found)
	}
	y.yields, y.watcher = 0, nil
}

var maxProcs = int32(runtime.GOMAXPROCS(0))

// Crowded says that others have work for this core. Who goes on yielding then
// takes turns with them and with whoever else waits like this, while on the other
// core work queues up; and a sleeper is woken cheaply where no core is idle.
func (y *Yielder) Crowded() bool { return y.others >= crowd }

// crowd is how many yields that have run another thread show that a core is wanted.
const crowd = 4

// goschedEvery is how many yields to the host there are for one to Go's scheduler.
const goschedEvery = 16
