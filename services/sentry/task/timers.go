package task

import (
	"math"
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
	limit *clock.Timer // RLIMIT_CPU
}

type posixTimer struct {
	id     int32
	group  *Group
	timer  *clock.Timer
	notify int32 // SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID
	sig    linux.Signal
	value  uint64
	target *Task // SIGEV_THREAD_ID

	// Guarded by the group's sigMu.
	queued  bool   // its signal is pending
	overrun uint64 // of the signal that was taken last
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

// CPUClock is the processor time that the process has used.
func (g *Group) CPUClock() clock.Source {
	return clock.CPU(func() clock.Time {
		self, _ := g.Usage()
		return clock.Time(self.User + self.System)
	})
}

// limitCPU begins to watch RLIMIT_CPU: SIGXCPU at the soft limit and every second
// after it, SIGKILL at the hard one: getrlimit(2).
func (g *Group) limitCPU(l Rlimit) {
	g.timers.mu.Lock()
	defer g.timers.mu.Unlock()
	if g.timers.limit == nil {
		if l.Cur == unix.RLIM_INFINITY {
			return
		}
		used := g.CPUClock()
		g.timers.limit = clock.NewTimer(used, func() bool {
			if l := g.Limit(unix.RLIMIT_CPU); uint64(used.Now()/1e9) >= max(l.Max, 1) {
				g.k.kill(g, uint32(linux.SIGKILL))
				return false
			}
			g.Send(KernelSignal(linux.SIGXCPU))
			return true
		})
	}
	to := clock.Setting{}
	if seconds := max(min(l.Cur, l.Max), 1); seconds < 1<<32 {
		to = clock.Setting{Value: clock.Time(seconds) * 1e9, Interval: 1e9, Absolute: true}
	}
	g.timers.limit.Set(to)
}

// Itimer gives timer which of setitimer(2); EINVAL. Those of the processor's time
// count all of it, whether the guest's code or the host used it.
func (g *Group) Itimer(which int32) (*clock.Timer, error) {
	if which < 0 || which > 2 {
		return nil, linux.EINVAL
	}
	g.timers.mu.Lock()
	defer g.timers.mu.Unlock()
	if g.timers.itime[which] == nil {
		sig := itimerSignals[which]
		source := clock.Source(clock.ID(unix.CLOCK_MONOTONIC))
		if which != unix.ITIMER_REAL {
			source = g.CPUClock()
		}
		g.timers.itime[which] = clock.NewTimer(source, func() bool {
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
func (g *Group) NewTimer(id clock.Source, n Notification, defaultValue bool) (int32, error) {
	pt := &posixTimer{group: g, notify: n.Notify, sig: n.Signal, value: n.Value}
	if n.Notify == SigevThreadID {
		if pt.target = g.k.Task(g.pidNS.ID(n.TID)); pt.target == nil || pt.target.group != g {
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
	pt.timer = clock.NewTimer(id, func() bool { return pt.expire() })
	g.timers.posix[pt.id] = pt
	return pt.id, nil
}

// expire sends the timer's signal, and says whether the timer goes on by itself.
// While the signal is pending it does not: what expires until then is counted
// when the signal is taken, as overruns: timer_getoverrun(2).
func (p *posixTimer) expire() bool {
	if p.notify == SigevNone {
		return true
	}
	info := linux.SigInfo{Signo: int32(p.sig), Code: linux.SI_TIMER}
	info.SetTimerID(p.id)
	info.SetValue(p.value)
	g := p.group
	g.send(info, p.target, fromInside, p, nil)
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	return !p.queued
}

// taken counts the overruns into the siginfo of a signal that leaves the queue.
// The group's sigMu is held.
func (p *posixTimer) taken(info *linux.SigInfo) {
	p.queued, p.overrun = false, 0
	if n := p.timer.Take(); n > 1 {
		p.overrun = min(n-1, math.MaxInt32)
	}
	info.SetOverrun(int32(p.overrun))
}

// forget takes back the signal of a timer that ends.
func (p *posixTimer) forget() {
	p.timer.Stop()
	g := p.group
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	g.pending.dropTimer(p)
	if p.target != nil {
		p.target.pending.dropTimer(p)
	}
}

// TimerOverrun is timer_getoverrun(2): how often the timer expired again before
// the signal was taken that was taken last. EINVAL.
func (g *Group) TimerOverrun(id int32) (uint64, error) {
	g.timers.mu.Lock()
	p := g.timers.posix[id]
	g.timers.mu.Unlock()
	if p == nil {
		return 0, linux.EINVAL
	}
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	return p.overrun, nil
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
	p.forget()
	return nil
}

// stopPosix ends the POSIX timers, as execve(2) does.
func (ts *groupTimers) stopPosix() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for id, p := range ts.posix {
		p.forget()
		delete(ts.posix, id)
	}
}

func (ts *groupTimers) stop() {
	ts.stopPosix()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range append(ts.itime[:], ts.limit) {
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
