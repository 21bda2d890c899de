package server

import (
	"time"

	"bulkhead/proto/cores"
)

// linger decides how long the loop looks around before it sleeps. What answers a
// packet mostly comes at once: a guest that has its bytes writes others, a peer that
// has its answer asks again. To be woken for it costs whoever sends it a system call,
// and where the core has fallen idle meanwhile, 50 to 100 µs. Looking costs a core,
// which others may want: so each look gives way to them, and where they take it, or
// where nothing has come soon lately, the loop sleeps.
type linger struct {
	credit int // waits in a row that may be longer than looking is worth
	others int // looks of this wait that have run another thread
	looked bool
	began  time.Time
}

const (
	// lingerFor is how long the loop looks at most: a guest's answer takes some 50 µs.
	lingerFor    = 200 * time.Microsecond
	lingerCredit = 4
	lingerCrowd  = 4 // looks that ran another thread and found nothing
)

// begin begins a wait, and says whether to look around.
func (l *linger) begin() bool {
	l.others, l.began = 0, time.Now()
	l.looked = l.credit > 0
	return l.looked
}

// again gives way to others, and says whether to go on.
func (l *linger) again() bool {
	now := time.Now()
	if now.Sub(l.began) >= lingerFor || l.others >= lingerCrowd {
		return false
	}
	if cores.Yield(now) {
		l.others++
	}
	return true
}

// end ends a wait.
func (l *linger) end() {
	if time.Since(l.began) < lingerFor {
		l.credit = lingerCredit
	} else {
		l.credit = max(l.credit-1, 0)
	}
}
