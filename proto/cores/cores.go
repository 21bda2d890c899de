// Package cores is about the processor's cores, for loops that wait by looking: it tells
// whether others want the one that the loop is on, and moves the loop's thread to another.
package cores

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// otherRan is what a sched_yield(2) takes at least when another thread has run: several
// times what it takes alone, which is from 0.3 µs to 2 µs, by the machine.
var otherRan = func() time.Duration {
	alone := time.Second
	for range 32 {
		began := time.Now()
		unix.RawSyscallNoError(unix.SYS_SCHED_YIELD, 0, 0, 0)
		alone = min(alone, time.Since(began))
	}
	return max(2*time.Microsecond, 4*alone)
}()

// Yield gives the core to others, at the time now, and says whether another thread has
// run.
func Yield(now time.Time) (others bool) {
	unix.RawSyscallNoError(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return time.Since(now) > otherRan
}

// mask is struct cpu_set_t: sched_setaffinity(2).
type mask [1024 / 64]uint64

// all are the cores that the process may run on.
var all = affinity()

// affinity is the calling thread's mask.
func affinity() (m mask) {
	unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m)))
	return m
}

func setAffinity(m *mask) {
	unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*m), uintptr(unsafe.Pointer(m)))
}

// without is m without a core; ok is false if nothing is left, or there is no such core.
func (m mask) without(core uint32) (others mask, ok bool) {
	if core >= uint32(8*unsafe.Sizeof(m)) {
		return m, false
	}
	m[core/64] &^= 1 << (core % 64)
	return m, m != mask{}
}

// Leave moves the calling thread from a core to another, if there is one for it. It may
// come back.
func Leave(core uint32) {
	others, ok := all.without(core)
	if !ok {
		return
	}
	runtime.LockOSThread() // the mask is undone on the thread that it was set for
	defer runtime.UnlockOSThread()
	setAffinity(&others)
	setAffinity(&all)
}
