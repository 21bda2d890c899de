package task

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// stop is job control's: every thread of the process waits until SIGCONT. A
// SIGCONT that was sent after the signal was taken has taken it back.
func (g *Group) stop(sig linux.Signal) {
	g.sigMu.Lock()
	if g.stopped || !g.stopDue {
		g.sigMu.Unlock()
		return
	}
	g.stopped, g.resumed = true, make(chan struct{})
	g.stopReport, g.contReport, g.stopSignal = true, false, sig
	g.sigMu.Unlock()
	for _, t := range g.Tasks() {
		t.wake()
	}
	g.tellParent(linux.CLD_STOPPED, int32(sig))
}

// continueLocked ends a stop: true if there was one, and the parent is to be told
// without the lock. The report stands before any thread goes on, since the next
// thing that it does may be to stop again.
func (g *Group) continueLocked() bool {
	g.stopDue = false
	if !g.stopped {
		return false
	}
	g.stopped = false
	g.stopReport, g.contReport = false, true
	close(g.resumed)
	return true
}

// takeReport gives what wait4 has to tell of a stop or its end, and unless keep
// is set forgets it. stop and cont say what is asked for.
func (g *Group) takeReport(stop, cont, keep bool) (status uint32, code int32, ok bool) {
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	switch {
	case stop && g.stopReport:
		g.stopReport = keep
		return uint32(g.stopSignal)<<8 | 0x7f, linux.CLD_STOPPED, true
	case cont && g.contReport:
		g.contReport = keep
		return 0xffff, linux.CLD_CONTINUED, true
	}
	return 0, 0, false
}

// tellParent tells the parent that the process has stopped or goes on.
func (g *Group) tellParent(code, status int32) {
	g.k.mu.RLock()
	parent := g.parent
	g.k.mu.RUnlock()
	if parent == nil {
		return
	}
	if parent.Action(linux.SIGCHLD).Flags&linux.SA_NOCLDSTOP == 0 {
		parent.Send(g.childSignal(parent, linux.SIGCHLD, code, status))
	}
	parent.childQueue.Notify(wait.In)
}

// childSignal is the siginfo of SIGCHLD about g, for who is to get it.
func (g *Group) childSignal(to *Group, sig linux.Signal, code, status int32) linux.SigInfo {
	info := linux.SigInfo{Signo: int32(sig), Code: code}
	info.SetPID(to.pidNS.Number(g.pid))
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
	t.shed()
	t.th.Patience()
	t.state.Store(sleeping)
	defer t.state.Store(inKernel)
	t.rest()
	defer t.endRest()
	for !t.killed.Load() && !t.Traced() {
		select {
		case <-resumed:
			return true
		case <-t.interrupt:
		}
	}
	return true
}
