package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// linger decides how long the loop looks around before it sleeps. What answers a
// packet mostly comes at once: a guest that has its bytes writes others, a peer that
// has its answer asks again. To be woken for it costs whoever sends it a system call,
// and where the core has fallen idle meanwhile, 50 to 100 µs. Looking costs a core,
// which others may want: so each look gives way to them, and where they take it, or
// where nothing has come of it lately, the loop sleeps.
type linger struct {
	credit int // phases in a row that may be in vain; < 0 counts towards a try
	others int // looks of this phase that have run another thread
	began  time.Time
}

const (
	// lingerFor is how long a phase takes at most: a guest's answer takes some 50 µs.
	lingerFor    = 150 * time.Microsecond
	lingerCredit = 4
	lingerTry    = 16 // sleeps between two tries once the credit is gone
	lingerCrowd  = 4  // looks that ran another thread and found nothing
)

// begin says whether a phase is worth it, and begins it.
func (l *linger) begin() bool {
	if l.credit <= 0 {
		if l.credit--; l.credit > -lingerTry {
			return false
		}
		l.credit = 1
	}
	l.others, l.began = 0, time.Now()
	return true
}

// again gives way to others, and says whether to go on; if not, it was all in vain.
func (l *linger) again() bool {
	before := time.Now()
	if before.Sub(l.began) < lingerFor && l.others < lingerCrowd {
		unix.RawSyscallNoError(unix.SYS_SCHED_YIELD, 0, 0, 0)
		if time.Since(before) > otherRan {
			l.others++
		}
		return true
	}
	l.credit--
	return false
}

// paid says that something has come.
func (l *linger) paid() { l.credit = lingerCredit }

// otherRan is what a yield takes at least when another thread has run: several times
// what it takes alone, which is from 0.3 µs to 2 µs, by the machine.
var otherRan = func() time.Duration {
	alone := time.Second
	for range 32 {
		began := time.Now()
		unix.RawSyscallNoError(unix.SYS_SCHED_YIELD, 0, 0, 0)
		alone = min(alone, time.Since(began))
	}
	return max(2*time.Microsecond, 4*alone)
}()
