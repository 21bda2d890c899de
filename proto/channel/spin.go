package channel

import (
	"runtime"
	"time"
)

// spinner decides whether to poll before sleeping. Waking a sleeping thread
// costs 25 to 60 µs on a small virtual machine, polling costs a core: so it
// polls while that has lately been answered, and goes back to a probe now and
// then when it was not.
type spinner struct {
	credit  int // polls in a row that are worth it; < 0 counts towards a probe
	allowed bool
}

const (
	spinFor    = 50 * time.Microsecond
	spinCredit = 4  // unanswered polls until polling stops
	spinProbe  = 32 // receives between two probes after that
)

// newSpinner makes a spinner; with a single processor it never polls, since
// whoever would answer cannot run meanwhile.
func newSpinner() spinner {
	return spinner{credit: spinCredit, allowed: runtime.NumCPU() > 1}
}

// spin calls try until it succeeds or polling is no longer worth it.
func (s *spinner) spin(try func() bool) bool {
	if !s.allowed {
		return false
	}
	if s.credit <= 0 {
		if s.credit--; s.credit > -spinProbe {
			return false
		}
		s.credit = 1
	}
	start := time.Now()
	for i := 1; ; i++ {
		// Our own goroutines may go first, the host's other threads may not:
		// sched_yield(2) between the tries keeps both ends on one core and
		// made the round trip five times slower.
		runtime.Gosched()
		if try() {
			s.credit = spinCredit
			return true
		}
		if i&3 == 0 && time.Since(start) > spinFor {
			s.credit--
			return false
		}
	}
}
