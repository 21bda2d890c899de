package platform

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A guest thread and the goroutine that serves it answer each other fastest from
// two cores. A host that has put both on one may leave them there, though another
// is idle: neither sleeps, so that nothing places them anew, and a host that packs
// its work does not balance two threads. The goroutine's thread then leaves.

const (
	// partAfter is how many requests in a row must come from the server's own core.
	partAfter = 16
	// A move takes as long as a hundred calls. One that did not last for partWorth
	// requests, since all cores are wanted, is tried again later and later.
	partWorth               = 256
	partPause, partPauseMax = time.Millisecond, time.Second
)

// parting is a thread's memory of it; for its own goroutine.
type parting struct {
	together int // requests in a row from the core of who serves them
	apart    int // requests from another since the last move
	moved    time.Time
	pause    time.Duration
}

// cpuMask is struct cpu_set_t.
type cpuMask [1024 / 64]uint64

// cores are those that the sentry may run on.
var cores = func() (m cpuMask) {
	unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m)))
	return m
}()

// meet notes whether a request came from the core here, and parts the two if that
// has become a habit.
func (p *parting) meet(here, there uint32) {
	if here != there {
		p.together = 0
		p.apart++
		return
	}
	if p.together++; p.together < partAfter {
		return
	}
	p.together = 0
	now := time.Now()
	if now.Sub(p.moved) < p.pause {
		return
	}
	if p.pause = min(2*p.pause, partPauseMax); p.apart >= partWorth || p.pause == 0 {
		p.pause = partPause
	}
	p.apart = 0
	p.moved = now
	leaveCore(here)
}

// leaveCore moves the calling thread to another core, if there is one for it.
func leaveCore(here uint32) {
	const nodeShift = 12 // see core
	here &= 1<<nodeShift - 1
	others := cores
	if here >= uint32(8*unsafe.Sizeof(others)) {
		return
	}
	if others[here/64] &^= 1 << (here % 64); others == (cpuMask{}) {
		return
	}
	runtime.LockOSThread() // the mask is undone on the thread that it was set for
	defer runtime.UnlockOSThread()
	setAffinity(&others)
	setAffinity(&cores)
}

func setAffinity(m *cpuMask) {
	unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*m), uintptr(unsafe.Pointer(m)))
}
