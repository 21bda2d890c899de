package server

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a loop waits for may come from its own core: of the sentry, of a guest, of a
// client on the same machine. Each look then only gives the core to one of them. A host
// that packs its work may leave all on one core, though another is idle: none sleeps for
// long, and who is woken goes where he was. The loop's thread then leaves.

const (
	// partAfter is how many looks in a row must end because others want the core.
	partAfter = 4
	// A move takes as long as some ten looks. One that was not followed by partWorth
	// looks without anybody else, since all cores are wanted, is tried again later and
	// later.
	partWorth               = 64
	partPause, partPauseMax = time.Millisecond, time.Second
)

// parting is the loop's memory of it.
type parting struct {
	crowded int // looks in a row that ended because of others
	alone   int // looks that ran nobody else, since the last move
	moved   time.Time
	pause   time.Duration
}

// note notes a look that ran others so many times, and says whether to leave.
func (p *parting) note(others int, now time.Time) bool {
	switch {
	case others == 0:
		p.crowded = 0
		p.alone++
		return false
	case others < lingerCrowd:
		return false
	}
	if p.crowded++; p.crowded < partAfter {
		return false
	}
	p.crowded = 0
	if now.Sub(p.moved) < p.pause {
		return false
	}
	if p.pause = min(2*p.pause, partPauseMax); p.alone >= partWorth || p.pause == 0 {
		p.pause = partPause
	}
	p.alone = 0
	p.moved = now
	return true
}

// cpuMask is struct cpu_set_t: sched_setaffinity(2).
type cpuMask [1024 / 64]uint64

// cores are those that netd may run on.
var cores = affinity()

// affinity is the calling thread's mask.
func affinity() (m cpuMask) {
	unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(m), uintptr(unsafe.Pointer(&m)))
	return m
}

// without is m without a core; ok is false if nothing is left, or there is no such core.
func (m cpuMask) without(core uint32) (others cpuMask, ok bool) {
	if core >= uint32(8*unsafe.Sizeof(m)) {
		return m, false
	}
	m[core/64] &^= 1 << (core % 64)
	return m, m != cpuMask{}
}

// leaveCore moves the calling thread to another core, if there is one for it.
func leaveCore() {
	runtime.LockOSThread() // the mask is undone on the thread that it was set for
	defer runtime.UnlockOSThread()
	var here uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&here)), 0, 0); errno != 0 {
		return
	}
	if others, ok := cores.without(here); ok {
		setAffinity(&others)
		setAffinity(&cores)
	}
}

func setAffinity(m *cpuMask) {
	unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*m), uintptr(unsafe.Pointer(m)))
}
