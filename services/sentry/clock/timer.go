package clock

import (
	"runtime"
	"sync"
	"time"
)

// duration is a difference of two Times.
func (t Time) duration() time.Duration { return time.Duration(t) }

// leastDelay is the shortest time between two calls of a Timer's function that
// lets the timer go on: a guest may ask for an interval of 1 ns.
const leastDelay = 50 * time.Microsecond

// Timer is a timer of timer_create(2), setitimer(2) or timerfd_create(2): it
// calls a function when it expires.
type Timer struct {
	source Source
	fire   func() (again bool)

	mu       sync.Mutex
	schedule Schedule
	host     *time.Timer
	armed    uint64 // counts the settings of host: a call of an older one does nothing

	// Of a CPU clock: what it showed when it was last looked at, and how often in
	// turn it has stood still.
	seen  Time
	still int
}

// Source is what a Timer goes by: an ID that is Timed, or a CPU.
type Source interface{ Now() Time }

// CPU is a clock of the processor time that somebody has used. The host does not
// say when it reaches a point, so it is looked at: the more rarely, the longer it
// has stood still.
type CPU func() Time

// Now is the time used so far.
func (c CPU) Now() Time { return c() }

// How often a CPU clock is looked at: no more often than leastLook, and at least
// every mostLook once it has stood still for long.
const (
	leastLook = time.Millisecond
	mostLook  = 256 * time.Millisecond
)

// nextLook is when to look at a CPU clock that shows now, d before an expiry.
func (t *Timer) nextLook(now Time, d time.Duration) time.Duration {
	if t.still++; now != t.seen {
		t.seen, t.still = now, 0
	}
	soonest := d / time.Duration(runtime.NumCPU()) // all of them may be at it
	return max(soonest, min(leastLook<<min(t.still, 16), mostLook))
}

// NewTimer makes a disarmed timer.
//
// fire is called in a goroutine of its own, with no lock held, when the timer
// expires. If it returns false, nothing more happens before the owner calls
// Take, which counts what has expired by then and lets the timer go on. Linux
// does so for timerfd and POSIX timers, whose owner takes the expiry when it is
// read or its signal delivered: a timer that nobody looks at costs nothing. If it
// returns true, the expiry counts as taken and the timer goes on by itself. A call
// that is under way may end after Set or Stop has returned.
func NewTimer(source Source, fire func() (again bool)) *Timer {
	return &Timer{source: source, fire: fire}
}

// Clock is the timer's clock, 0 for a CPU.
func (t *Timer) Clock() ID {
	id, _ := t.source.(ID)
	return id
}

// Set arms or disarms the timer, forgets what was not taken, and gives what was
// left of the old setting.
func (t *Timer) Set(to Setting) (old Setting) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.source.Now()
	old = t.schedule.Remaining(now)
	t.schedule.Set(now, to)
	t.runLocked(now, 0)
	return old
}

// Stop disarms the timer.
func (t *Timer) Stop() { t.Set(Setting{}) }

// Remaining is timer_gettime(2).
func (t *Timer) Remaining() Setting {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.schedule.Remaining(t.source.Now())
}

// Take counts the expiries that were not taken yet and lets the timer go on. What
// timer_getoverrun(2) tells is one less.
func (t *Timer) Take() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.source.Now()
	n := t.schedule.Take(now)
	if n > 0 {
		t.runLocked(now, 0)
	}
	return n
}

// Due says that Take would count something.
func (t *Timer) Due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.schedule.Next() != Never && t.schedule.Due(t.source.Now())
}

// runLocked sets the host's timer for the schedule, at least the given delay away.
func (t *Timer) runLocked(now Time, least time.Duration) {
	if t.host != nil {
		t.host.Stop()
		t.host = nil
	}
	t.armed++
	next := t.schedule.Next()
	if next == Never {
		return
	}
	mine := t.armed
	delay := max((next - min(next, now)).duration(), least)
	if _, ok := t.source.(CPU); ok {
		delay = max(t.nextLook(now, delay), least)
	}
	t.host = time.AfterFunc(delay, func() { t.expire(mine) })
}

// expire is the host's timer going off. It may be too early by t's own clock: that
// one may have been set back.
func (t *Timer) expire(mine uint64) {
	t.mu.Lock()
	if t.armed != mine {
		t.mu.Unlock()
		return
	}
	if now := t.source.Now(); !t.schedule.Due(now) {
		t.runLocked(now, 0)
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()

	if !t.fire() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed != mine {
		return
	}
	now := t.source.Now()
	t.schedule.Take(now)
	t.runLocked(now, leastDelay)
}
