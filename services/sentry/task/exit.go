package task

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
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
	t.forgetLinks()
	t.emptyPockets()
	t.release()
	t.desert()
	t.keepMask()
	t.leaveRest()
	k.mu.Lock()
	g.tasks = without(g.tasks, t)
	g.countLocked()
	last := len(g.tasks) == 0
	if last && !g.exiting {
		g.exiting, g.exitStatus = true, t.exitCode
	}
	execing := g.execing
	if t != g.leader {
		delete(k.tasks, t.tid)
		k.dropLocked(t.tid)
	}
	k.mu.Unlock()
	// The host's side goes before anybody hears of the end, so that what a
	// parent sees after wait4 is true of the host too.
	t.th.Exit(last)
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

// bury makes g a zombie: its children get another parent, its parent is told.
// The first process of a namespace waits for all others in there.
func (k *Kernel) bury(g *Group, last *Task) {
	g.timers.stop()
	ipc := g.Leader().IPC()
	ipc.UndoAll(&g.semUndo, g.pid)
	ipc.Sweep(k.Attached)
	if ns := g.pidNS; ns != nil && g.isInit() && ns.close(g, func() { k.lay(g, nil) }) {
		return
	}
	k.lay(g, last)
}

// lay is the rest of bury, when nothing is left to wait for.
func (k *Kernel) lay(g *Group, last *Task) {
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
			g.Leader().tellDeath(c)
		}
	}
	for _, m := range hup {
		m.Send(KernelSignal(linux.SIGHUP))
		m.Send(KernelSignal(linux.SIGCONT))
	}
	k.leaveSession(g)
	budget.Renew()
	if reaper != nil && len(orphans) > 0 {
		reaper.childQueue.Notify(wait.In)
		for _, c := range orphans {
			if c.Zombie() && reaper.ends() {
				k.reap(reaper, c)
			} else if c.Zombie() {
				reaper.Send(c.childSignal(reaper, linux.SIGCHLD, linux.CLD_EXITED, 0))
			}
		}
	}
	if g.pid == 1 {
		k.killAll()
	}
	if !k.holdForTracer(g, parent) {
		if last != nil {
			k.announce(g, parent, last)
		} else {
			k.announce(g, parent, nil)
		}
	}
}

// tellDeath sends a child the signal of PR_SET_PDEATHSIG.
func (t *Task) tellDeath(c *Group) {
	info := linux.SigInfo{Signo: int32(c.ParentDeath()), Code: linux.SI_USER}
	info.SetPID(c.pidNS.Number(t.group.pid))
	info.SetUID(t.Creds().UID)
	c.SendBy(t, info)
}

// announce tells the parent of g's end, or reaps g if the parent does not care.
func (k *Kernel) announce(g, parent *Group, by wait.Sleeper) {
	g.deadQueue.Notify(wait.In)
	if parent == nil {
		return
	}
	sig := g.exitSignal
	a := parent.Action(linux.SIGCHLD)
	ends := parent.ends()
	careless := ends || sig == linux.SIGCHLD && (a.Handler == linux.SIG_IGN || a.Flags&linux.SA_NOCLDWAIT != 0)
	if careless {
		k.reap(parent, g)
	}
	if sig != 0 && !ends && !(careless && a.Handler == linux.SIG_IGN) {
		code, status := int32(linux.CLD_EXITED), int32(g.exitStatus>>8)
		if s := g.exitStatus & 0x7f; s != 0 {
			code, status = linux.CLD_KILLED, int32(s)
		}
		parent.send(g.childSignal(parent, sig, code, status), nil, fromInside, nil, by)
	}
	parent.childQueue.NotifyBy(by, wait.In)
}

// reap takes a zombie out of the tree; false if somebody else has.
func (k *Kernel) reap(parent, g *Group) bool {
	k.mu.Lock()
	if k.groups[g.pid] != g {
		k.mu.Unlock()
		return false
	}
	then := k.removeLocked(g)
	parent.children = without(parent.children, g)
	if th := g.leader.host.Load(); th != nil {
		if host, ok := th.Process().Usage(); ok {
			g.exitUsage.MaxRSS = host.Maxrss
		}
	}
	parent.childUsage.add(g.exitUsage)
	parent.childUsage.add(g.childUsage)
	k.mu.Unlock()
	callAll(then)
	return true
}

// removeLocked takes a process out of every table. What it gives is to be called
// without the lock.
func (k *Kernel) removeLocked(g *Group) []func() {
	delete(k.groups, g.pid)
	delete(k.tasks, g.pid)
	k.leaveLocked(g)
	k.leaveSessionLocked(g)
	k.dropLocked(g.pid)
	k.Cgroups.Count(member{g}, 0, 0, g.exitUsage.User+g.exitUsage.System)
	return g.leftLocked()
}

// Forget takes a zombie without a parent out of the tree.
func (k *Kernel) Forget(g *Group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g.zombie && g.parent == nil && k.groups[g.pid] == g {
		k.removeLocked(g) // in the first namespace: nobody waits for that
	}
}

// reaperLocked is who gets g's children: a subreaper above it in the same namespace of
// processes, or the first process of that; of a first process's, who gets its own.
func (k *Kernel) reaperLocked(g *Group) *Group {
	for p := g.parent; p != nil && p.pidNS == g.pidNS; p = p.parent {
		if p.subreaper && !p.exiting {
			return p
		}
	}
	for ns := g.pidNS; ns != nil; ns = ns.Parent {
		if init := ns.init; init != nil && init != g && !init.zombie {
			return init
		}
	}
	if init := k.groups[1]; init != nil && init != g && !init.zombie {
		return init
	}
	return nil
}

// killAll ends every process, as the end of a PID namespace's init does.
func (k *Kernel) killAll() {
	k.ToMany(k.Groups, func(g *Group) {
		if g.pid != 1 {
			k.kill(g, uint32(linux.SIGKILL))
		}
	})
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
