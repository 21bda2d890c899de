package task

import (
	"time"

	"bulkhead/proto/linux"
)

// patience is how long a thread that must end may take to come in.
type patience struct {
	// kick is how long after a kick. It loses nothing by ending sooner; a busy host is
	// what the time is for.
	kick time.Duration
	// exec is how much longer if another thread of the process executes a program
	// meanwhile: the new one would end with it.
	exec time.Duration
}

var usualPatience = patience{kick: time.Second, exec: 9 * time.Second}

// expectEnd ends the host's process of a thread that has been kicked because it
// must end and does not come in. A kick is only noted while a thread is in the
// stub, which it leaves soon: but a guest that has jumped there by itself may go
// round for ever.
func (t *Task) expectEnd() {
	if _, must := t.mustEnd(); !must {
		return
	}
	usualPatience.run(t.execingMeanwhile, t.endOverdue)
}

// run calls end once the time is over.
func (p patience) run(execing func() bool, end func()) {
	time.AfterFunc(p.kick, func() {
		if execing() {
			time.AfterFunc(p.exec, end)
			return
		}
		end()
	})
}

// execingMeanwhile says whether a thread of the process executes a program.
func (t *Task) execingMeanwhile() bool {
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return t.group.execing != nil
}

// endOverdue ends the process if the thread still is not there.
func (t *Task) endOverdue() {
	status, must := t.mustEnd()
	if !must || t.state.Load() != inUser {
		return
	}
	t.k.kill(t.group, status) // the status stands before the host's process ends
	t.host.Load().Process().Kill()
}

// mustEnd says whether the thread will end as soon as it comes in, and with
// what status if the whole process does.
func (t *Task) mustEnd() (status uint32, must bool) {
	g := t.group
	if t.killed.Load() {
		return uint32(linux.SIGKILL), true
	}
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	ready := (t.pending.set | g.pending.set) &^ (t.blockedLocked() | ignored | stopSignals | linux.SigSetOf(linux.SIGCONT))
	for sig := linux.Signal(1); ready>>(sig-1) != 0 && sig <= linux.NSIG; sig++ {
		if ready.Has(sig) && g.handlers.action(sig).Handler == linux.SIG_DFL {
			return uint32(sig), true
		}
	}
	return 0, false
}
