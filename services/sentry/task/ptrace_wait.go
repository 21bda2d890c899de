package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// This is what a tracer hears of its tracees by wait4(2), and what their parents do.

// holdForTracer keeps the end of g from its parent until the tracer has waited
// for it; false if there is no such tracer.
func (k *Kernel) holdForTracer(g, parent *Group) bool {
	k.mu.Lock()
	t := g.leader
	tr := t.trace.tracer
	if tr == nil || tr.group == parent {
		if tr != nil {
			t.unlinkLocked()
		}
		k.mu.Unlock()
		return false
	}
	t.trace.dead, t.trace.status, t.trace.undelivered = true, g.exitStatus, parent
	k.mu.Unlock()
	if a := tr.group.Action(linux.SIGCHLD); a.Handler != linux.SIG_IGN {
		tr.group.Send(g.endSignal(tr.group, linux.SIGCHLD))
	}
	tr.group.childQueue.Notify(wait.In)
	return true
}

// endSignal is the siginfo of SIGCHLD for the end of g.
func (g *Group) endSignal(to *Group, sig linux.Signal) linux.SigInfo {
	code, status := int32(linux.CLD_EXITED), int32(g.exitStatus>>8)
	if s := g.exitStatus & 0x7f; s != 0 {
		code, status = linux.CLD_KILLED, int32(s)
	}
	return g.childSignal(to, sig, code, status)
}

// findTracee looks for a tracee of a thread of g with something to report, as
// findChild does. Kernel.mu is held. settle is to be called without it.
func (g *Group) findTraceeLocked(o WaitOptions, self *Task) (w Waited, found, any bool, settle func()) {
	settle = func() {}
	for _, tr := range g.tasks {
		if o.Options&unix.WNOTHREAD != 0 && tr != self {
			continue
		}
		for _, c := range tr.trace.tracees {
			if o.PID != 0 && c.tid != o.PID || o.PGID != 0 && c.group.pgid != o.PGID {
				continue
			}
			any = true
			keep := o.Options&unix.WNOWAIT != 0
			switch s := c.trace.stop; {
			case c.trace.dead && o.Options&unix.WEXITED != 0:
				w = c.waitedTracee(g, c.trace.status, linux.CLD_EXITED)
				if s := c.trace.status & 0x7f; s != 0 {
					w.Code = linux.CLD_KILLED
				}
				if !keep {
					settle = c.reapedLocked()
				}
				return w, true, true, settle
			case s != nil && !s.reported:
				s.reported = !keep
				return c.waitedTracee(g, s.code<<8|0x7f, linux.CLD_TRAPPED), true, true, settle
			}
		}
	}
	return w, false, any, settle
}

func (t *Task) waitedTracee(by *Group, status uint32, code int32) Waited {
	return Waited{PID: by.pidNS.Number(t.tid), UID: t.Creds().UID, Status: status, Code: code}
}

// reapedLocked takes a dead tracee from its tracer, and gives what is to follow
// without the lock.
func (t *Task) reapedLocked() func() {
	t.unlinkLocked()
	parent, g := t.trace.undelivered, t.group
	t.trace.undelivered = nil
	if parent == nil {
		return func() {}
	}
	return func() { g.k.announce(g, parent, nil) }
}

// spared says whether the parent g must not hear of its child c yet, since a
// tracer that is not the parent has not waited for it. Kernel.mu is held.
func (c *Group) sparedLocked(g *Group) bool {
	tr := c.leader.trace.tracer
	return tr != nil && tr.group != g && c.zombie
}

// tracedByLocked says whether the leader of c is traced by a thread of g.
func (c *Group) tracedByLocked(g *Group) bool {
	tr := c.leader.trace.tracer
	return tr != nil && tr.group == g
}
