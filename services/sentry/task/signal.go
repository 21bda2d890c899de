package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

var (
	synchronous = linux.SigSetOf(linux.SIGSEGV, linux.SIGBUS, linux.SIGILL, linux.SIGTRAP, linux.SIGFPE, linux.SIGSYS)
	stopSignals = linux.SigSetOf(linux.SIGSTOP, linux.SIGTSTP, linux.SIGTTIN, linux.SIGTTOU)
	ignored     = linux.SigSetOf(linux.SIGCHLD, linux.SIGURG, linux.SIGWINCH)
	dumps       = synchronous | linux.SigSetOf(linux.SIGQUIT, linux.SIGABRT, linux.SIGXCPU, linux.SIGXFSZ)
	unblockable = linux.SigSetOf(linux.SIGKILL, linux.SIGSTOP)
)

// UserSignal is the siginfo of kill(2) by t.
func (t *Task) UserSignal(sig linux.Signal, code int32) linux.SigInfo {
	info := linux.SigInfo{Signo: int32(sig), Code: code}
	info.SetPID(t.group.number)
	info.SetUID(t.Creds().UID)
	return info
}

// KernelSignal is the siginfo of a signal that the kernel sends.
func KernelSignal(sig linux.Signal) linux.SigInfo {
	return linux.SigInfo{Signo: int32(sig), Code: linux.SI_KERNEL}
}

// isIgnoredLocked says whether sig has no effect on the group now.
func (g *Group) isIgnoredLocked(sig linux.Signal) bool {
	switch g.handlers.action(sig).Handler {
	case linux.SIG_IGN:
		return true
	case linux.SIG_DFL:
		return ignored.Has(sig)
	}
	return false
}

// Who sends a signal, as far as the first process of a namespace cares: one from
// inside, one of a namespace above, whose SIGKILL and SIGSTOP it cannot refuse, or the
// owner of the sandbox.
type sender int

const (
	fromInside sender = iota
	fromAbove
	fromOwner
)

// Send sends a signal to the process: kill(2).
func (g *Group) Send(info linux.SigInfo) error { return g.send(info, nil, fromInside, nil, nil) }

// SendBy is Send by a process that g may not see.
func (g *Group) SendBy(t *Task, info linux.SigInfo) error {
	from := t.senderTo(g, &info)
	return g.send(info, nil, from, nil, nil)
}

// SendBy is Send likewise.
func (t *Task) SendBy(by *Task, info linux.SigInfo) error {
	from := by.senderTo(t.group, &info)
	return t.group.send(info, t, from, nil, nil)
}

// senderTo says who t is to g, which is told of no process that it does not see.
func (t *Task) senderTo(g *Group, info *linux.SigInfo) sender {
	if t.group.pidNS.Within(g.pidNS) {
		return fromInside
	}
	info.SetPID(0)
	return fromAbove
}

// SendFromOutside sends a signal that the sandbox's owner has sent: it reaches
// the first process too, which nobody inside can end.
func (g *Group) SendFromOutside(info linux.SigInfo) error {
	return g.send(info, nil, fromOwner, nil, nil)
}

// Send sends a signal to the thread: tgkill(2).
func (t *Task) Send(info linux.SigInfo) error { return t.group.send(info, t, fromInside, nil, nil) }

// Force sends a signal that a fault of the thread's own caused: it cannot be
// blocked or ignored.
func (t *Task) Force(info linux.SigInfo) {
	g, sig := t.group, linux.Signal(info.Signo)
	g.sigMu.Lock()
	if mask := t.blockedLocked(); mask.Has(sig) || g.handlers.action(sig).Handler == linux.SIG_IGN {
		g.handlers.set(sig, linux.SigAction{})
		t.setMaskLocked(mask &^ linux.SigSetOf(sig))
	}
	if g.handlers.action(sig).Handler == linux.SIG_DFL {
		g.mortal.Store(true)
	}
	t.pending.add(info, nil, maxQueued)
	g.sigMu.Unlock()
	t.attention.Store(true)
}

// send queues info for the process, or for one thread of it. A timer whose signal
// it is marks it as queued. Who sends it in a call of by's, which has nothing left to do
// that another could hold up, says so: wait.Queue.NotifyBy.
func (g *Group) send(info linux.SigInfo, to *Task, from sender, timer *posixTimer, by wait.Sleeper) error {
	sig := linux.Signal(info.Signo)
	if sig == 0 {
		return nil
	}
	// The init of a PID namespace takes from inside only what it handles or blocks:
	// pid_namespaces(7).
	init := g.isInit() && from != fromOwner
	if init && sig == linux.SIGKILL && from == fromInside {
		return nil
	}
	if sig == linux.SIGKILL {
		g.k.kill(g, uint32(linux.SIGKILL))
		return nil
	}
	g.k.mu.RLock()
	g.sigMu.Lock() // no thread comes between the two that would not know of the signal
	tasks := g.tasks
	g.k.mu.RUnlock()
	if g.prepareLocked(sig, tasks) {
		defer g.tellParent(linux.CLD_CONTINUED, int32(linux.SIGCONT))
	}
	kept := g.blockedByAllLocked(sig, to, tasks) || to != nil && to.Traced() || to == nil && anyTraced(tasks)
	if !kept && (g.isIgnoredLocked(sig) || init && !(unblockable.Has(sig) && from == fromAbove) && g.handlers.action(sig).Handler == linux.SIG_DFL) {
		g.sigMu.Unlock()
		return nil
	}
	queue := &g.pending
	if to != nil {
		queue = &to.pending
	}
	err := queue.add(info, timer, g.Limit(unix.RLIMIT_SIGPENDING).Cur)
	target := to
	if to != nil {
		to.noticeLocked(sig)
	} else {
		for _, t := range tasks {
			t.noticeLocked(sig)
		}
		for _, t := range tasks {
			if !t.blockedLocked().Has(sig) || t.waitMask.Has(sig) {
				target = t
				break
			}
		}
	}
	g.sigMu.Unlock()
	if target != nil {
		target.wakeBy(by)
	}
	g.sigWait.Notify(wait.In)
	return err
}

// blockedByAllLocked says whether no thread that sig could go to takes it now.
func (g *Group) blockedByAllLocked(sig linux.Signal, to *Task, tasks []*Task) bool {
	if to != nil {
		return to.blockedLocked().Has(sig) || to.waitMask.Has(sig)
	}
	for _, t := range tasks {
		if t.waitMask.Has(sig) {
			return true
		}
		if !t.blockedLocked().Has(sig) {
			return false
		}
	}
	return true
}

// prepareLocked is what a signal does when it is sent: stop signals and SIGCONT
// take each other away, and SIGCONT wakes a stopped process: true if it has.
func (g *Group) prepareLocked(sig linux.Signal, tasks []*Task) (continued bool) {
	each := func(set linux.SigSet) {
		g.pending.drop(set)
		for _, t := range tasks {
			t.pending.drop(set)
		}
	}
	switch {
	case stopSignals.Has(sig):
		each(linux.SigSetOf(linux.SIGCONT))
	case sig == linux.SIGCONT:
		each(stopSignals)
		continued = g.continueLocked()
		for _, t := range tasks {
			if t.Traced() {
				t.stir() // one that listens traps
			}
		}
	}
	return continued
}

// wantsInterrupt says whether a sleep must end: there is a signal to deliver, or
// one that sigtimedwait waits for.
func (t *Task) wantsInterrupt() bool {
	g := t.group
	if t.killed.Load() || g.place.Freezing() {
		return true
	}
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	if g.stopped && !(t.Traced() && t.trace.passed == g.resumed) || t.trace.trap.Load() || (t.pending.set|g.pending.set)&t.waitMask != 0 {
		return true
	}
	ready := (t.pending.set | g.pending.set) &^ t.blockedLocked()
	for sig := linux.Signal(1); ready>>(sig-1) != 0 && sig <= linux.NSIG; sig++ {
		if ready.Has(sig) && (t.Traced() || !g.isIgnoredLocked(sig)) {
			return true
		}
	}
	return false
}

// Interrupted says whether a signal waits to be delivered.
func (t *Task) Interrupted() bool { return t.attention.Load() && t.wantsInterrupt() }

// Mask is the signals that the thread blocks.
func (t *Task) Mask() linux.SigSet {
	t.group.sigMu.Lock()
	defer t.group.sigMu.Unlock()
	return t.blockedLocked()
}

// blockedLocked is the mask: in the slot, as long as the thread has one.
func (t *Task) blockedLocked() linux.SigSet {
	if t.shared {
		if mask, ok := t.host.Load().SignalMask(); ok {
			return linux.SigSet(mask) &^ unblockable
		}
	}
	return t.mask
}

func (t *Task) setMaskLocked(set linux.SigSet) {
	t.mask = set
	if t.shared {
		t.host.Load().ShareSignals(uint64(set), uint64(t.pending.set|t.group.pending.set))
	}
}

// noticeLocked tells the stub of a signal that is pending, before anybody looks
// whether it is blocked.
func (t *Task) noticeLocked(sig linux.Signal) {
	if t.shared {
		t.host.Load().MayBePending(uint64(linux.SigSetOf(sig)))
	}
}

// shareMask lets the stub answer rt_sigprocmask(2).
func (t *Task) shareMask() {
	t.group.sigMu.Lock()
	defer t.group.sigMu.Unlock()
	mask := t.blockedLocked()
	t.shared = true
	t.setMaskLocked(mask)
}

// keepMask takes the mask back, and the actions, for a thread that is about to lose its slot.
func (t *Task) keepMask() {
	t.group.sigMu.Lock()
	defer t.group.sigMu.Unlock()
	t.mask, t.shared = t.blockedLocked(), false
	if t.told != nil {
		t.told.forget(t.th)
		t.told = nil
	}
}

// SetMask changes them. What becomes deliverable is delivered before the guest
// goes on.
func (t *Task) SetMask(set linux.SigSet) {
	g := t.group
	g.sigMu.Lock()
	set &^= unblockable
	t.setMaskLocked(set)
	ready := (t.pending.set | g.pending.set) &^ set
	g.sigMu.Unlock()
	if ready != 0 {
		t.attention.Store(true)
	}
}

// SetTempMask blocks set until the call that is being served has returned and
// the handler that may follow it has started: sigsuspend(2), ppoll(2).
func (t *Task) SetTempMask(set linux.SigSet) {
	if !t.hasSaved {
		t.savedMask, t.hasSaved = t.Mask(), true
	}
	t.SetMask(set)
}

// Pending is the blocked signals that wait: sigpending(2).
func (t *Task) PendingSignals() (thread, group linux.SigSet) {
	g := t.group
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	return t.pending.set, g.pending.set
}

// SignalSets are the ignored and the caught signals, for /proc/PID/status.
func (g *Group) SignalSets() (ignore, caught linux.SigSet) {
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	for sig := linux.Signal(1); sig <= linux.NSIG; sig++ {
		switch g.handlers.action(sig).Handler {
		case linux.SIG_DFL:
		case linux.SIG_IGN:
			ignore |= linux.SigSetOf(sig)
		default:
			caught |= linux.SigSetOf(sig)
		}
	}
	return ignore, caught
}

// Action is what a signal does; SetAction changes it: sigaction(2).
func (g *Group) Action(sig linux.Signal) linux.SigAction {
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	return g.handlers.action(sig)
}

// SetAction changes what sig does and gives what it did. Signals that are now
// ignored and pending are forgotten.
func (g *Group) SetAction(sig linux.Signal, a linux.SigAction) linux.SigAction {
	g.k.mu.RLock()
	tasks := g.tasks
	g.k.mu.RUnlock()
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	old := g.handlers.action(sig)
	a.Mask &^= unblockable
	g.handlers.set(sig, a)
	if g.isIgnoredLocked(sig) {
		g.pending.drop(linux.SigSetOf(sig))
		for _, t := range tasks {
			t.pending.drop(linux.SigSetOf(sig))
		}
	}
	return old
}

// AltStack is the alternate signal stack: sigaltstack(2).
func (t *Task) AltStack() linux.StackT {
	s := t.altStack
	s.Flags &= linux.SS_AUTODISARM
	switch {
	case s.Size == 0:
		s.Flags |= linux.SS_DISABLE
	case t.onAltStack(t.th.Regs.RSP):
		s.Flags |= linux.SS_ONSTACK
	}
	return s
}

// minAltStack is MINSIGSTKSZ.
const minAltStack = 2048

// SetAltStack changes it: EPERM while it is in use, EINVAL, ENOMEM if it is too small.
func (t *Task) SetAltStack(s linux.StackT) error {
	if t.onAltStack(t.th.Regs.RSP) {
		return linux.EPERM
	}
	switch mode := s.Flags &^ linux.SS_AUTODISARM; {
	case mode == linux.SS_DISABLE:
		s = linux.StackT{Flags: s.Flags}
	case mode != 0 && mode != linux.SS_ONSTACK:
		return linux.EINVAL
	case s.Size < minAltStack:
		return linux.ENOMEM
	}
	t.useAltStack(s)
	return nil
}

// useAltStack sets it, where the stub looks too.
func (t *Task) useAltStack(s linux.StackT) {
	t.altStack = s
	t.th.SetAltStack(s)
}

func (t *Task) onAltStack(sp uint64) bool {
	s := t.altStack
	return s.Flags&(linux.SS_DISABLE|linux.SS_AUTODISARM) == 0 && s.Size > 0 && sp > s.SP && sp-s.SP <= s.Size
}

// DequeueSignal takes a pending signal of set, blocked or not: sigtimedwait(2).
func (t *Task) DequeueSignal(set linux.SigSet) (linux.SigInfo, bool) {
	g := t.group
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	if info, ok := t.pending.take(set); ok {
		return info, true
	}
	return g.pending.take(set)
}

// WaitFor announces that the thread waits for signals of set, which then wake it
// although they are blocked; 0 ends that.
func (t *Task) WaitFor(set linux.SigSet) {
	t.group.sigMu.Lock()
	t.waitMask = set
	t.group.sigMu.Unlock()
}

// signalSource is a task's signals as a signalfd reads them.
type signalSource struct{ t *Task }

// SignalSource gives what signalfd reads from.
func (t *Task) SignalSource() SignalSource { return signalSource{t} }

// SignalSource is what package signalfd wants of a task.
type SignalSource = interface {
	Dequeue(mask uint64) (linux.SigInfo, bool)
	Pending(mask uint64) bool
	Queue() *wait.Queue
}

func (s signalSource) Dequeue(mask uint64) (linux.SigInfo, bool) {
	return s.t.DequeueSignal(linux.SigSet(mask))
}

func (s signalSource) Pending(mask uint64) bool {
	own, group := s.t.PendingSignals()
	return (own|group)&linux.SigSet(mask) != 0
}

func (s signalSource) Queue() *wait.Queue { return &s.t.group.sigWait }

// MaySignal says whether t may send sig to g: kill(2).
func (t *Task) MaySignal(g *Group, sig linux.Signal) bool {
	c, l := t.Creds(), g.Leader().Creds()
	if c.HasIn(l.UserNS, linux.CAP_KILL) || g == t.group {
		return true
	}
	if sig == linux.SIGCONT && g.SID() == t.group.SID() {
		return true
	}
	return c.EUID == l.SUID || c.EUID == l.UID || c.UID == l.SUID || c.UID == l.UID
}
