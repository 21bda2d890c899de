package task

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/platform"
)

const numRlimits = platform.NumLimits

// Rlimit is a resource limit: getrlimit(2). ^0 is no limit.
type Rlimit struct{ Cur, Max uint64 }

type atomicRlimit struct{ v atomic.Pointer[Rlimit] }

// defaultLimits are what a process has that nobody gave others.
var defaultLimits = func() (l [numRlimits]Rlimit) {
	for i := range l {
		l[i] = Rlimit{unix.RLIM_INFINITY, unix.RLIM_INFINITY}
	}
	l[unix.RLIMIT_STACK] = Rlimit{8 << 20, unix.RLIM_INFINITY}
	l[unix.RLIMIT_CORE] = Rlimit{0, unix.RLIM_INFINITY}
	l[unix.RLIMIT_NOFILE] = Rlimit{1024, 1 << 20}
	l[unix.RLIMIT_MEMLOCK] = Rlimit{8 << 20, 8 << 20}
	l[unix.RLIMIT_NPROC] = Rlimit{1 << 16, 1 << 16}
	l[unix.RLIMIT_SIGPENDING] = Rlimit{1 << 16, 1 << 16}
	l[unix.RLIMIT_MSGQUEUE] = Rlimit{819200, 819200}
	l[unix.RLIMIT_NICE] = Rlimit{0, 0}
	l[unix.RLIMIT_RTPRIO] = Rlimit{0, 0}
	return l
}()

// Limit gives a limit; what must be below the number of limits.
func (g *Group) Limit(what int) Rlimit {
	if p := g.limits[what].v.Load(); p != nil {
		return *p
	}
	return defaultLimits[what]
}

// SetLimit sets one. The stubs of the process's threads say so once it returns.
func (g *Group) SetLimit(what int, l Rlimit) {
	g.limitsMu.Lock()
	g.k.mu.RLock()
	tasks := g.tasks
	g.k.mu.RUnlock()
	g.limits[what].v.Store(&l)
	g.tellLimitsLocked(tasks...)
	g.limitsMu.Unlock()
	if what == unix.RLIMIT_CPU {
		g.limitCPU(l)
	}
}

// tellLimits has t's stub answer what the limits are.
func (g *Group) tellLimits(t *Task) {
	g.limitsMu.Lock()
	g.tellLimitsLocked(t)
	g.limitsMu.Unlock()
}

func (g *Group) tellLimitsLocked(tasks ...*Task) {
	var all [platform.NumLimits][2]uint64
	for i := range all {
		l := g.Limit(i)
		all[i] = [2]uint64{l.Cur, l.Max}
	}
	for _, t := range tasks {
		if th := t.host.Load(); th != nil {
			th.SetLimits(&all)
		}
	}
}

// NumRlimits is how many there are.
const NumRlimits = numRlimits
