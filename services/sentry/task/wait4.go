package task

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// WaitOptions say which children wait4(2) and waitid(2) wait for, and for what.
type WaitOptions struct {
	// Which of PID (one), PGID, ids both, (a group) or neither (any) is meant.
	PID, PGID int32
	Options   int // WEXITED, WSTOPPED, WCONTINUED, WNOHANG, WNOWAIT, __WALL, __WCLONE
}

// Waited is what a wait has found.
type Waited struct {
	PID    int32 // what the waiter calls it
	UID    uint32
	Status uint32 // as wait4 gives it
	Code   int32  // CLD_ constant
	Usage  Usage
	Group  *Group // nil unless it has ended
}

// Wait waits for a child. A zero PID means that WNOHANG found nothing. ECHILD if
// there is no such child.
func (t *Task) Wait(o WaitOptions) (w Waited, err error) {
	g := t.group
	err = wait.Until(t, &g.childQueue, wait.In, time.Time{}, func() (bool, error) {
		found, ok, any := g.findChild(o, t)
		if ok {
			w = found
			return true, nil
		}
		if !any {
			return true, linux.ECHILD
		}
		return o.Options&unix.WNOHANG != 0, nil
	})
	return w, err
}

// findChild looks for a child with something to report; any says whether there
// is a child to wait for at all.
func (g *Group) findChild(o WaitOptions, self *Task) (w Waited, found, any bool) {
	k := g.k
	k.mu.Lock()
	w, found, any, settle := g.findTraceeLocked(o, self)
	if found {
		k.mu.Unlock()
		settle()
		return w, true, true
	}
	var dead *Group
	for _, c := range g.children {
		if !o.matches(c) {
			continue
		}
		any = true
		if c.zombie && o.Options&unix.WEXITED != 0 && !c.sparedLocked(g) {
			dead = c
			w = c.waited(g, c.exitStatus, linux.CLD_EXITED)
			w.Group = c
			if c.exitStatus&0x7f != 0 {
				w.Code = linux.CLD_KILLED
			}
		} else {
			stop := o.Options&unix.WSTOPPED != 0 && !c.tracedByLocked(g)
			status, code, ok := c.takeReport(stop, o.Options&unix.WCONTINUED != 0, o.Options&unix.WNOWAIT != 0)
			if !ok {
				continue
			}
			w = c.waited(g, status, code)
		}
		found = true
		break
	}
	k.mu.Unlock()
	if dead != nil && o.Options&unix.WNOWAIT == 0 && !k.reap(g, dead) {
		return g.findChild(o, self) // another thread was faster
	}
	return w, found, any
}

func (g *Group) waited(by *Group, status uint32, code int32) Waited {
	u := g.exitUsage
	u.add(g.childUsage)
	return Waited{PID: by.pidNS.Number(g.pid), UID: g.leader.Creds().UID, Status: status, Code: code, Usage: u}
}

func (o *WaitOptions) matches(c *Group) bool {
	clone := c.exitSignal != linux.SIGCHLD
	if o.Options&unix.WALL == 0 && clone != (o.Options&unix.WCLONE != 0) {
		return false
	}
	switch {
	case o.PID != 0:
		return c.pid == o.PID
	case o.PGID != 0:
		return c.pgid == o.PGID
	}
	return true
}
