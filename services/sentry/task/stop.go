package task

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// stop is job control's: every thread of the process waits until SIGCONT.
func (g *Group) stop(sig linux.Signal) {
	g.sigMu.Lock()
	if g.stopped {
		g.sigMu.Unlock()
		return
	}
	g.stopped = true
	g.resumed = make(chan struct{})
	g.sigMu.Unlock()
	for _, t := range g.Tasks() {
		t.wake()
	}
	k := g.k
	k.mu.Lock()
	g.stopReport, g.contReport, g.stopSignal = true, false, sig
	parent := g.parent
	k.mu.Unlock()
	g.tellParent(parent, linux.CLD_STOPPED, int32(sig))
}

// reportContinued tells the parent that SIGCONT has been here.
func (g *Group) reportContinued() {
	k := g.k
	k.mu.Lock()
	g.stopReport, g.contReport = false, true
	parent := g.parent
	k.mu.Unlock()
	g.tellParent(parent, linux.CLD_CONTINUED, int32(linux.SIGCONT))
}

func (g *Group) tellParent(parent *Group, code, status int32) {
	if parent == nil {
		return
	}
	if parent.Action(linux.SIGCHLD).Flags&linux.SA_NOCLDSTOP == 0 {
		parent.Send(g.childSignal(linux.SIGCHLD, code, status))
	}
	parent.childQueue.Notify(wait.In)
}

// childSignal is the siginfo of SIGCHLD about g.
func (g *Group) childSignal(sig linux.Signal, code, status int32) linux.SigInfo {
	info := linux.SigInfo{Signo: int32(sig), Code: code}
	info.SetPID(g.pid)
	info.SetUID(g.leader.Creds().UID)
	info.SetStatus(status)
	return info
}

// waitStopped sleeps while the process is stopped; false if it was not.
func (t *Task) waitStopped() bool {
	g := t.group
	g.sigMu.Lock()
	stopped, resumed := g.stopped, g.resumed
	g.sigMu.Unlock()
	if !stopped {
		return false
	}
	t.th.Patience()
	t.state.Store(sleeping)
	defer t.state.Store(inKernel)
	for !t.killed.Load() && !t.Traced() {
		select {
		case <-resumed:
			return true
		case <-t.interrupt:
		}
	}
	return true
}
