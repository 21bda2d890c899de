package task

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/clock"
)

// groupTimers are a process's interval timers and POSIX timers.
type groupTimers struct {
	mu    sync.Mutex
	itime [3]*clock.Timer // ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF
	posix map[int32]*posixTimer
	next  int32
}

type posixTimer struct {
	id      int32
	timer   *clock.Timer
	notify  int32 // SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID
	sig     linux.Signal
	value   uint64
	target  *Task // SIGEV_THREAD_ID
	overrun int32
}

// Ways of notification: sigevent(3type).
const (
	SigevSignal   = 0
	SigevNone     = 1
	SigevThread   = 2
	SigevThreadID = 4
)

const maxPosixTimers = 1024

var itimerSignals = [3]linux.Signal{linux.SIGALRM, linux.SIGVTALRM, linux.SIGPROF}

// Itimer gives timer which of setitimer(2); EINVAL. The virtual ones run by the
// wall clock: the host does not say when a guest's CPU time is up.
func (g *Group) Itimer(which int32) (*clock.Timer, error) {
	if which < 0 || which > 2 {
		return nil, linux.EINVAL
	}
	g.timers.mu.Lock()
	defer g.timers.mu.Unlock()
	if g.timers.itime[which] == nil {
		sig := itimerSignals[which]
		g.timers.itime[which] = clock.NewTimer(clock.ID(unix.CLOCK_MONOTONIC), func() bool {
			g.Send(KernelSignal(sig))
			return true
		})
	}
	return g.timers.itime[which], nil
}

// Notification is how a POSIX timer tells: sigevent(3type).
type Notification struct {
	Notify int32
	Signal linux.Signal
	Value  uint64
	TID    int32
}

// NewTimer is timer_create(2).
func (g *Group) NewTimer(id clock.ID, n Notification, defaultValue bool) (int32, error) {
	pt := &posixTimer{notify: n.Notify, sig: n.Signal, value: n.Value}
	if n.Notify == SigevThreadID {
		if pt.target = g.k.Task(n.TID); pt.target == nil || pt.target.group != g {
			return 0, linux.EINVAL
		}
	}
	g.timers.mu.Lock()
	defer g.timers.mu.Unlock()
	if len(g.timers.posix) >= maxPosixTimers {
		return 0, linux.EAGAIN
	}
	if g.timers.posix == nil {
		g.timers.posix = map[int32]*posixTimer{}
	}
	pt.id = g.timers.next
	g.timers.next++
	if defaultValue {
		pt.value = uint64(pt.id)
	}
	pt.timer = clock.NewTimer(id, func() bool { return pt.expire(g) })
	g.timers.posix[pt.id] = pt
	return pt.id, nil
}

// expire sends the timer's signal. Expiries while it is still pending count as
// overruns: timer_getoverrun(2).
func (p *posixTimer) expire(g *Group) bool {
	if p.notify == SigevNone {
		return true
	}
	info := linux.SigInfo{Signo: int32(p.sig), Code: linux.SI_TIMER}
	info.SetTimerID(p.id)
	info.SetValue(p.value)
	if p.target != nil {
		p.target.Send(info)
	} else {
		g.Send(info)
	}
	return true
}

// Timer gives a POSIX timer; EINVAL.
func (g *Group) Timer(id int32) (*clock.Timer, error) {
	g.timers.mu.Lock()
	defer g.timers.mu.Unlock()
	if p := g.timers.posix[id]; p != nil {
		return p.timer, nil
	}
	return nil, linux.EINVAL
}

// DeleteTimer is timer_delete(2).
func (g *Group) DeleteTimer(id int32) error {
	g.timers.mu.Lock()
	p := g.timers.posix[id]
	delete(g.timers.posix, id)
	g.timers.mu.Unlock()
	if p == nil {
		return linux.EINVAL
	}
	p.timer.Stop()
	return nil
}

// stopPosix ends the POSIX timers, as execve(2) does.
func (ts *groupTimers) stopPosix() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for id, p := range ts.posix {
		p.timer.Stop()
		delete(ts.posix, id)
	}
}

func (ts *groupTimers) stop() {
	ts.stopPosix()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.itime {
		if t != nil {
			t.Stop()
		}
	}
}

// SleepUntil blocks t until the deadline: nil, or ERESTARTSYS.
func (t *Task) SleepUntil(deadline time.Time) error {
	err := t.Sleep(nil, deadline)
	if err == linux.ETIMEDOUT {
		return nil
	}
	return err
}
