package task

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

const (
	// sleepSpin is how long a sleep looks for its end before it is one.
	sleepSpin = 60 * time.Microsecond
	// napLead is how far ahead of a deadline Go's timer wakes who must be on time: it
	// waits in whole milliseconds, and is late by as much.
	napLead = 2 * time.Millisecond
)

// Sleep implements wait.Sleeper.
func (t *Task) Sleep(c <-chan struct{}, deadline time.Time) error {
	select {
	case <-c:
		return nil
	default:
	}
	t.state.Store(sleeping)
	defer t.state.Store(inKernel)
	if t.attention.Load() && t.wantsInterrupt() {
		return linux.ERESTARTSYS
	}
	if c != nil && t.watchFor(c) {
		return nil
	}
	t.th.Patience()
	lead := time.Duration(0)
	if c == nil {
		lead = napLead
	}
	var timer *time.Timer
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer = time.NewTimer(time.Until(deadline) - lead)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		select {
		case <-c:
			return nil
		case <-expired:
			if lead == 0 || t.nap(deadline) {
				return linux.ETIMEDOUT
			}
			timer.Reset(time.Until(deadline))
			lead = 0
		case <-t.interrupt:
			if t.wantsInterrupt() {
				return linux.ERESTARTSYS
			}
		}
	}
}

// watchFor looks for c a while, and says whether it has come. What another thread is
// about to do comes soon, or not soon: sleeping at once would make a ping-pong pay a
// wake-up on both sides.
func (t *Task) watchFor(c <-chan struct{}) bool {
	y := platform.Yielder{Idle: true}
	defer y.Done()
	for began := time.Now(); time.Since(began) < sleepSpin; {
		if y.Yield(); y.Crowded() {
			break
		}
		select {
		case <-c:
			return true
		default:
		}
		if t.attention.Load() {
			break
		}
	}
	return false
}

// nap sleeps until a deadline that is near, on this very thread, and says whether it
// has come: an interrupt comes first, or nobody may nap now.
func (t *Task) nap(deadline time.Time) bool {
	t.napping.Store(1)
	defer t.napping.Store(0)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return true
		}
		if len(t.interrupt) > 0 || !platform.Nap(&t.napping, 1, left) {
			return false
		}
	}
}

// stir wakes the task's sleep whatever state it is in.
func (t *Task) stir() {
	select {
	case t.interrupt <- struct{}{}:
	default:
	}
	if t.napping.Swap(0) != 0 {
		platform.Rouse(&t.napping)
	}
}
