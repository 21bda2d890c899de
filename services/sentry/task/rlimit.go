package task

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const numRlimits = 16

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

// SetLimit sets one.
func (g *Group) SetLimit(what int, l Rlimit) {
	g.limits[what].v.Store(&l)
	if what == unix.RLIMIT_CPU {
		g.limitCPU(l)
	}
}

// NumRlimits is how many there are.
const NumRlimits = numRlimits
