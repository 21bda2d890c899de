package task

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// Statuses are as wait4(2) gives them: a signal in the low bits, or an exit code
// in the second byte.

// ExitStatus is the status of a process that called exit(code).
func ExitStatus(code int32) uint32 { return uint32(code&0xff) << 8 }

// ExitThread is exit(2): the thread ends, and the process with its last one.
func (t *Task) ExitThread(code int32) error {
	t.exitForTracer(ExitStatus(code))
	t.exitCode = ExitStatus(code)
	t.killed.Store(true)
	t.attention.Store(true)
	return nil
}

// ExitGroup is exit_group(2).
func (t *Task) ExitGroup(code int32) error {
	t.exitForTracer(ExitStatus(code))
	t.k.kill(t.group, ExitStatus(code))
	return nil
}

// kill ends every thread of g with status, unless it is ending already.
func (k *Kernel) kill(g *Group, status uint32) {
	k.mu.Lock()
	if g.exiting || g.zombie {
		k.mu.Unlock()
		return
	}
	g.exiting, g.exitStatus = true, status
	tasks := g.tasks
	k.mu.Unlock()
	for _, t := range tasks {
		t.killed.Store(true)
		t.wake()
		t.stir()
	}
}

// died is for a host process that ended by itself: killed by the host, or by its
// own filter.
func (t *Task) died() {
	if t.th.Never() {
		t.neverWas()
		return
	}
	if t.newborn != nil && t.newbornTicket == t.th.Ticket() {
		t.newborn.Unborn()
	}
	status := uint32(linux.SIGKILL)
	if ws := t.th.Process().Status(); ws.Signaled() && linux.Signal(ws.Signal()) == linux.SIGSYS {
		status = uint32(linux.SIGSYS)
		t.k.logf("pid %d (%s): ended by the host's filter", t.tid, t.Name())
	}
	t.k.kill(t.group, status)
	t.exit()
}

// exit ends the task. Its goroutine must return afterwards.
func (t *Task) exit() {
	k, g := t.k, t.group
	t.runRobustList()
	t.leavePI(true)
	t.noteUsage()
	t.release()
	t.keepMask()
	k.mu.Lock()
	g.tasks = without(g.tasks, t)
	last := len(g.tasks) == 0
	if last && !g.exiting {
		g.exiting, g.exitStatus = true, t.exitCode
	}
	execing := g.execing
	if t != g.leader {
		delete(k.tasks, t.tid)
	}
	k.mu.Unlock()
	// The host's side goes before anybody hears of the end, so that what a
	// parent sees after wait4 is true of the host too.
	t.th.Exit(last || t.ownsProcess())
	t.letGo()
	t.releaseTracees()
	t.leaveTracer(execing != nil)
	close(t.exited)
	if execing != nil && !last {
		execing.stir()
	}
	if last {
		k.bury(g, t)
	}
}

// ownsProcess says whether the host process runs for this task alone.
func (t *Task) ownsProcess() bool { return false }

// bury makes g a zombie: its children get another parent, its parent is told.
func (k *Kernel) bury(g *Group, last *Task) {
	g.timers.stop()
	ipc := g.Leader().IPC()
	ipc.UndoAll(&g.semUndo, g.pid)
	ipc.Sweep(k.Attached)
	k.mu.Lock()
	g.zombie = true
	reaper := k.reaperLocked(g)
	orphans := g.children
	g.children = nil
	var hup []*Group
	for _, c := range orphans {
		c.parent = reaper
		if reaper != nil {
			reaper.children = append(reaper.children, c)
		}
		k.reparentedLocked(c)
	}
	hup = k.newlyOrphanedLocked(g, orphans)
	parent := g.parent
	k.mu.Unlock()
	for _, c := range orphans {
		if c.parentDeath != 0 {
			c.Send(KernelSignal(c.parentDeath))
		}
	}
	for _, m := range hup {
		m.Send(KernelSignal(linux.SIGHUP))
		m.Send(KernelSignal(linux.SIGCONT))
	}
	k.leaveSession(g)
	if reaper != nil && len(orphans) > 0 {
		reaper.childQueue.Notify(wait.In)
		for _, c := range orphans {
			if c.Zombie() {
				reaper.Send(c.childSignal(linux.SIGCHLD, linux.CLD_EXITED, 0))
			}
		}
	}
	if g.pid == 1 {
		k.killAll()
	}
	if !k.holdForTracer(g, parent) {
		k.announce(g, parent, last)
	}
}

// announce tells the parent of g's end, or reaps g if the parent does not care.
func (k *Kernel) announce(g, parent *Group, by wait.Sleeper) {
	g.deadQueue.Notify(wait.In)
	if parent == nil {
		return
	}
	sig := g.exitSignal
	a := parent.Action(linux.SIGCHLD)
	careless := sig == linux.SIGCHLD && (a.Handler == linux.SIG_IGN || a.Flags&linux.SA_NOCLDWAIT != 0)
	if careless {
		k.reap(parent, g)
	}
	if sig != 0 && !(careless && a.Handler == linux.SIG_IGN) {
		code, status := int32(linux.CLD_EXITED), int32(g.exitStatus>>8)
		if s := g.exitStatus & 0x7f; s != 0 {
			code, status = linux.CLD_KILLED, int32(s)
		}
		parent.send(g.childSignal(sig, code, status), nil, false, nil, by)
	}
	parent.childQueue.NotifyBy(by, wait.In)
}

// reap takes a zombie out of the tree; false if somebody else has.
func (k *Kernel) reap(parent, g *Group) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.groups[g.pid] != g {
		return false
	}
	delete(k.groups, g.pid)
	delete(k.tasks, g.pid)
	k.leaveLocked(g)
	parent.children = without(parent.children, g)
	if th := g.leader.host.Load(); th != nil {
		if host, ok := th.Process().Usage(); ok {
			g.exitUsage.MaxRSS = host.Maxrss
		}
	}
	parent.childUsage.add(g.exitUsage)
	parent.childUsage.add(g.childUsage)
	return true
}

// Forget takes a zombie without a parent out of the tree.
func (k *Kernel) Forget(g *Group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.zombie && g.parent == nil && k.groups[g.pid] == g {
		delete(k.groups, g.pid)
		delete(k.tasks, g.pid)
		k.leaveLocked(g)
	}
}

// reaperLocked is who gets g's children: a subreaper above it, or init.
func (k *Kernel) reaperLocked(g *Group) *Group {
	for p := g.parent; p != nil; p = p.parent {
		if p.subreaper && !p.exiting {
			return p
		}
	}
	if init := k.groups[g.initPID()]; init != nil && init != g && !init.zombie {
		return init
	}
	return nil
}

// initPID is the first process of g's PID namespace.
func (g *Group) initPID() int32 { return 1 }

// killAll ends every process, as the end of a PID namespace's init does.
func (k *Kernel) killAll() {
	for _, g := range k.Groups() {
		if g.pid != 1 {
			k.kill(g, uint32(linux.SIGKILL))
		}
	}
}

// ExitStatus gives how the process ended, once it is a zombie.
func (g *Group) ExitStatus() (status uint32, ok bool) {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.exitStatus, g.zombie
}

func (u *Usage) add(v Usage) {
	u.User += v.User
	u.System += v.System
	u.MaxRSS = max(u.MaxRSS, v.MaxRSS)
}
