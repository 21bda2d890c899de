package task

import (
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/wait"
)

const (
	// sleepSpin is how long a sleep looks for its end before it is one; sleepSpinMax,
	// while sleeps are short.
	sleepSpin    = 60 * time.Microsecond
	sleepSpinMax = 250 * time.Microsecond
	eagerMost    = 4 // longer sleeps in a row that make it give up
	// napLead is how far ahead of a deadline Go's timer ends: it waits in whole
	// milliseconds, and is late by as much, and by the timer slack of its thread.
	napLead = 3 * time.Millisecond
)

// eagerness is how long a sleep looks for its end before it is one: longer, as long as
// sleeps lately were short enough for it. To be woken takes up to 100 µs, on both
// sides.
type eagerness int

func (e eagerness) limit() time.Duration {
	if e > 0 {
		return sleepSpinMax
	}
	return sleepSpin
}

// ended takes note of how long a sleep took in all.
func (e *eagerness) ended(took time.Duration) {
	if took < sleepSpinMax {
		*e = eagerMost
	} else {
		*e = max(*e-1, 0)
	}
}

// doomed says whether the thread is to end: it is killed, or a signal waits for it that
// ends the process, without a dump. Nobody who traces it is asked in that case.
func (t *Task) doomed() bool {
	g := t.group
	if t.killed.Load() {
		return true
	}
	if t.Traced() || g.isInit() && !g.mortal.Load() {
		return false
	}
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	ready := (t.pending.set | g.pending.set) &^ t.blockedLocked()
	for sig := linux.Signal(1); ready>>(sig-1) != 0 && sig <= linux.NSIG; sig++ {
		ends := !ignored.Has(sig) && !stopSignals.Has(sig) && !dumps.Has(sig) && sig != linux.SIGCONT
		if ready.Has(sig) && ends && g.handlers.action(sig).Handler == linux.SIG_DFL {
			return true
		}
	}
	return false
}

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
	t.shed()
	if c != nil {
		began := time.Now()
		defer func() { t.eager.ended(time.Since(began)) }()
		if t.watchFor(c) {
			return nil
		}
	}
	t.th.Patience()
	var timer *time.Timer
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer = time.NewTimer(time.Until(deadline) - napLead)
		defer timer.Stop()
		expired = timer.C
	}
	late := false // the timer is for the deadline itself
	for {
		select {
		case <-c:
			return nil
		case <-expired:
			switch {
			case late:
				return linux.ETIMEDOUT
			case c == nil:
				if t.napping.until(deadline, t.interrupt) {
					return linux.ETIMEDOUT
				}
				timer.Reset(time.Until(deadline))
			default:
				var n nap
				defer n.end()
				expired = n.aside(deadline)
			}
			late = true
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
	began := time.Now()
	y := platform.Yielder{Idle: true}
	for limit := t.eager.limit(); time.Since(began) < limit; {
		if y.Yield(); y.Crowded() {
			break
		}
		select {
		case <-c:
			y.Done(true)
			return true
		default:
		}
		if t.attention.Load() {
			break
		}
	}
	y.Done(false)
	return false
}

// nap is a short sleep until a deadline, to be on time, that keeps the thread: Go's
// timers are not. 1 while it goes on.
type nap struct{ word atomic.Uint32 }

// until sleeps until the deadline, and says whether it has come: end, or something in
// interrupt, came first, or nobody may nap now.
func (n *nap) until(deadline time.Time, interrupt <-chan struct{}) bool {
	n.word.Store(1)
	defer n.word.Store(0)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return true
		}
		if len(interrupt) > 0 || n.word.Load() == 0 || !platform.Nap(&n.word, 1, left) {
			return false
		}
	}
}

// aside naps on another thread, and gives a channel that is closed at the deadline, or
// after end.
func (n *nap) aside(deadline time.Time) <-chan time.Time {
	over := make(chan time.Time)
	n.word.Store(1)
	go func() {
		defer close(over)
		for n.word.Load() == 1 {
			left := time.Until(deadline)
			if left <= 0 {
				return
			}
			if !platform.Nap(&n.word, 1, left) {
				time.Sleep(left)
				return
			}
		}
	}()
	return over
}

// end ends it early.
func (n *nap) end() {
	if n.word.Swap(0) != 0 {
		platform.Rouse(&n.word)
	}
}

// stir wakes the task's sleep whatever state it is in.
func (t *Task) stir() { t.stirBy(nil) }

func (t *Task) stirBy(by wait.Sleeper) {
	select {
	case t.interrupt <- struct{}{}:
	default:
	}
	t.napping.end()
	t.Unpark(by)
}
