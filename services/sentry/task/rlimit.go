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
var defaultLimits = map[int]Rlimit{
	unix.RLIMIT_STACK:      {8 << 20, unix.RLIM_INFINITY},
	unix.RLIMIT_CORE:       {0, unix.RLIM_INFINITY},
	unix.RLIMIT_NOFILE:     {1024, 1 << 20},
	unix.RLIMIT_MEMLOCK:    {8 << 20, 8 << 20},
	unix.RLIMIT_NPROC:      {1 << 16, 1 << 16},
	unix.RLIMIT_SIGPENDING: {1 << 16, 1 << 16},
	unix.RLIMIT_MSGQUEUE:   {819200, 819200},
	unix.RLIMIT_NICE:       {0, 0},
	unix.RLIMIT_RTPRIO:     {0, 0},
}

// Limit gives a limit; what must be below the number of limits.
func (g *Group) Limit(what int) Rlimit {
	if p := g.limits[what].v.Load(); p != nil {
		return *p
	}
	if l, ok := defaultLimits[what]; ok {
		return l
	}
	return Rlimit{unix.RLIM_INFINITY, unix.RLIM_INFINITY}
}

// SetLimit sets one.
func (g *Group) SetLimit(what int, l Rlimit) { g.limits[what].v.Store(&l) }

// NumRlimits is how many there are.
const NumRlimits = numRlimits
