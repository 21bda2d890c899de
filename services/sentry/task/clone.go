package task

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// CloneArgs is what clone(2) and clone3(2) ask for.
type CloneArgs struct {
	Flags      uint64 // CLONE_ constants, without the exit signal
	ExitSignal linux.Signal
	Stack      uint64 // the child's stack pointer, 0 to keep
	TLS        uint64
	ParentTID  uint64
	ChildTID   uint64
	PIDFD      uint64 // address for CLONE_PIDFD
	// Cgroup is where CLONE_INTO_CGROUP puts the child.
	Cgroup *cgroupfs.Cgroup
	// Wanted are the numbers of set_tid of clone3(2), innermost first.
	Wanted []int32
	// InstallPIDFD makes the descriptor for CLONE_PIDFD.
	InstallPIDFD func(child *Group) (linux.FD, error)

	sentToMany uint64 // the kernel's, when the call began
}

const (
	namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
		unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | 0x80 // CLONE_NEWTIME
	knownFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_PIDFD |
		unix.CLONE_PTRACE | unix.CLONE_VFORK | unix.CLONE_PARENT | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
		unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_DETACHED |
		unix.CLONE_UNTRACED | unix.CLONE_CHILD_SETTID | unix.CLONE_IO | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_INTO_CGROUP
)

func (a *CloneArgs) check(t *Task) error {
	f := a.Flags
	has := func(bits uint64) bool { return f&bits != 0 }
	switch {
	case has(unix.CLONE_FS) && has(unix.CLONE_NEWNS|unix.CLONE_NEWUSER), has(unix.CLONE_THREAD) && has(unix.CLONE_NEWUSER|unix.CLONE_NEWPID),
		has(unix.CLONE_SYSVSEM) && has(unix.CLONE_NEWIPC):
		return linux.EINVAL
	case f&^uint64(knownFlags|namespaceFlags) != 0:
		return linux.EINVAL
	case has(unix.CLONE_THREAD) && !has(unix.CLONE_SIGHAND), has(unix.CLONE_SIGHAND) && !has(unix.CLONE_VM):
		return linux.EINVAL
	case has(unix.CLONE_THREAD) && t.PIDForChildren() != t.PIDNamespace():
		return linux.EINVAL
	case has(unix.CLONE_SIGHAND) && has(unix.CLONE_CLEAR_SIGHAND):
		return linux.EINVAL
	case has(unix.CLONE_PARENT) && t.group.isInit():
		return linux.EINVAL
	case has(unix.CLONE_PIDFD) && (has(unix.CLONE_DETACHED) || has(unix.CLONE_PARENT_SETTID) && a.PIDFD == a.ParentTID):
		return linux.EINVAL
	}
	if err := t.mayMake(f); err != nil || a.Cgroup == nil {
		return err
	}
	return a.Cgroup.MayFork(t, t.group.Cgroup(), has(unix.CLONE_THREAD))
}

// Clone is clone(2): it orders the host's side and gives the child's id. The
// child runs once the answer has been carried out.
func (t *Task) Clone(a *CloneArgs) (uint64, error) {
	if err := a.check(t); err != nil {
		return 0, err
	}
	if !t.Scheduling().mayFork() {
		return 0, linux.EAGAIN
	}
	a.sentToMany = t.k.sentToMany.Load()
	if t.Interrupted() { // the signal comes first: adopt
		return 0, linux.ERESTARTNOINTR
	}
	child, err := t.newChild(a)
	if err != nil {
		return 0, err
	}
	pidfd := linux.FD(-1)
	if a.Flags&unix.CLONE_PIDFD != 0 {
		if pidfd, err = a.InstallPIDFD(child.group); err == nil {
			err = t.CopyOut(a.PIDFD, le32(int32(pidfd)))
		}
	}
	if err == nil {
		err = t.orderClone(a, child)
	}
	if err != nil {
		if pidfd >= 0 {
			t.closePIDFD(pidfd)
		}
		t.k.forget(child)
		child.release()
		return 0, err
	}
	if a.Flags&unix.CLONE_PARENT_SETTID != 0 {
		t.CopyOut(a.ParentTID, le32(t.ShowPID(child.tid)))
	}
	th := child.th
	t.newborn, t.newbornTicket = th, t.th.Ticket()
	t.OnFailure(func(linux.Errno) { th.Stillborn() })
	tid, let := t.ShowPID(child.tid), child.vfork // the child's own from here on
	t.adoptTracee(child, a)
	if !th.Reports() {
		child.tellSelf()
		// Whoever wants its attention from here on kicks it.
		child.state.Store(inUser)
		if child.attention.Load() {
			th.Kick()
		}
		if a.Flags&unix.CLONE_THREAD != 0 {
			t.startBeside(child)
		} else {
			child.start(child.run)
			t.gaveBirth = true
		}
	} else {
		regs := t.th.Regs
		regs.RAX = 0
		if a.Stack != 0 {
			regs.RSP = a.Stack
		}
		child.start(func() { child.begin(regs, a.setTID()) })
	}
	if let != nil {
		return t.awaitVfork(tid, let)
	}
	return uint64(tid), nil
}

// closePIDFD takes back the descriptor of a child that is not made.
func (t *Task) closePIDFD(fd linux.FD) {
	if f, err := t.FDs().Remove(fd); err == nil {
		f.DecRef(t)
	}
}

// setTID is where the child's id goes in its own memory, or 0.
func (a *CloneArgs) setTID() uint64 {
	if a.Flags&unix.CLONE_CHILD_SETTID == 0 || a.ChildTID > mm.GuestTop-4 {
		return 0
	}
	return a.ChildTID
}

func le32(v int32) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }

// newChild makes the sentry's side of a new thread or process and puts it into
// the tree.
func (t *Task) newChild(a *CloneArgs) (*Task, error) {
	c := &Task{
		k: t.k, interrupt: make(chan struct{}, 1), exited: make(chan struct{}),
		mask: t.Mask(), altStack: t.altStack,
	}
	c.at.seat.Store(serving)
	c.creds.Store(t.creds.Load())
	c.ns.Store(t.ns.Load())
	c.name.Store(t.name.Load())
	c.ioprio.Store(t.ioprio.Load())
	c.affinity.Store(t.affinity.Load())
	c.persona.Store(t.persona.Load())
	c.slack.start(t.TimerSlack())
	c.memFailure.Store(t.memFailure.Load())
	c.memPolicy.Store(t.memPolicy.Load())
	c.SetScheduling(t.Scheduling().inherited())
	if a.Flags&unix.CLONE_FS != 0 {
		c.fs.Store(t.fs.Load())
	} else {
		c.fs.Store(t.fs.Load().Fork())
	}
	if a.Flags&namespaceFlags != 0 {
		m, err := t.makeNamespaces(a.Flags, c.fs.Load())
		if err != nil {
			return nil, err
		}
		c.creds.Store(m.creds)
		c.ns.Store(m.ns)
		if m.fs != nil {
			c.fs.Store(m.fs)
		}
	}
	c.ns.Load().mount.enter()
	c.ns.Load().Net.enter()
	if a.Flags&unix.CLONE_FILES != 0 {
		c.fds.Store(t.fds.Load().share())
	} else {
		c.fds.Store(t.fds.Load().Fork())
	}
	if a.Flags&unix.CLONE_VM != 0 {
		t.mm.Load().IncUsers()
		c.mm.Store(t.mm.Load())
		if a.Flags&unix.CLONE_VFORK == 0 {
			c.altStack = linux.StackT{Flags: linux.SS_DISABLE}
		}
	} else {
		t.mm.Load().Settle(t.th)
		c.mm.Store(t.mm.Load().Fork())
	}
	if a.Flags&unix.CLONE_VFORK != 0 {
		c.vfork = make(chan struct{})
	}
	if err := t.k.adopt(t, c, a); err != nil {
		c.release()
		return nil, err
	}
	if a.Flags&unix.CLONE_THREAD == 0 {
		if l := c.group.Limit(unix.RLIMIT_CPU); l.Cur != unix.RLIM_INFINITY {
			c.group.limitCPU(l)
		}
	}
	return c, nil
}

// adopt gives c its id and its place in the tree.
func (k *Kernel) adopt(t, c *Task, a *CloneArgs) error {
	k.many.RLock()
	defer k.many.RUnlock()
	if k.sentToMany.Load() != a.sentToMany && t.Interrupted() {
		return linux.ERESTARTNOINTR // by what the child would have got too
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.group.exiting || t.group.execing != nil { // which has counted whom it waits for
		return linux.ERESTARTNOINTR
	}
	if uint64(len(k.tasks)) >= t.group.Limit(unix.RLIMIT_NPROC).Cur && t.Creds().UID != 0 {
		return linux.EAGAIN
	}
	id, err := k.newIDLocked(c.ns.Load().pidForChildren, t.Creds(), a.Wanted)
	if err != nil {
		return err
	}
	var g *Group
	if a.Flags&unix.CLONE_THREAD != 0 {
		c.group = t.group
		err = k.Cgroups.AddThread(member{t.group})
	} else {
		parent := t.group
		if a.Flags&unix.CLONE_PARENT != 0 {
			parent = t.group.parent
		}
		g = t.group.fork(id, parent, a)
		c.group = g
		err = k.Cgroups.Fork(member{t.group}, member{g}, a.Cgroup)
	}
	if err != nil {
		c.group = nil
		k.dropLocked(id)
		return err
	}
	if c.group.place.Freezing() {
		c.attention.Store(true)
	}
	c.tid = id
	c.seccomp.Store(t.seccomp.Load())
	k.forks.Add(1)
	if g == nil {
		t.group.tasks = append(t.group.tasks[:len(t.group.tasks):len(t.group.tasks)], c)
	} else {
		g.leader, g.tasks = c, []*Task{c}
		g.parent.children = append(g.parent.children, g)
		k.groups[id] = g
		c.ns.Load().pidForChildren.enterLocked(g)
		k.joinLocked(g, t.group.pgid)
		k.sessions[g.sid]++
	}
	k.tasks[id] = c
	return nil
}

// fork gives the copy of g that its child is, outside the tree.
func (g *Group) fork(pid int32, parent *Group, a *CloneArgs) *Group {
	c := &Group{
		k: g.k, pid: pid, parent: parent, sid: g.sid, session: g.session, exitSignal: a.ExitSignal,
		started: time.Now(), serial: serials.Add(1),
	}
	if a.Flags&unix.CLONE_PARENT != 0 {
		c.exitSignal = g.exitSignal
	}
	g.sigMu.Lock()
	if c.handlers = g.handlers; a.Flags&unix.CLONE_SIGHAND == 0 {
		c.handlers = g.handlers.fork()
	}
	g.sigMu.Unlock()
	if a.Flags&unix.CLONE_CLEAR_SIGHAND != 0 {
		c.resetActions()
	}
	for i := range g.limits {
		c.limits[i].v.Store(g.limits[i].v.Load())
	}
	c.oomScoreAdj.Store(g.oomScoreAdj.Load())
	c.dumpFilter.Store(g.dumpFilter.Load())
	c.nice.Store(g.nice.Load())
	c.dumpable.Store(g.dumpable.Load())
	c.keeper.Store(g.keeper.Load())
	return c
}

// orderClone orders the host's side of the child.
func (t *Task) orderClone(a *CloneArgs, c *Task) error {
	b := platform.Birth{Stack: a.Stack, SetTID: a.setTID(), TID: c.Number()}
	if a.Flags&unix.CLONE_SETTLS != 0 {
		b.TLS = a.TLS
		if b.TLS >= platform.GuestTop {
			return linux.EPERM
		}
	}
	if a.Flags&unix.CLONE_CHILD_CLEARTID != 0 {
		b.ClearTID = a.ChildTID
	}
	var err error
	switch {
	case a.Flags&unix.CLONE_THREAD != 0:
		c.th, err = t.th.CloneThread(b)
	case a.Flags&unix.CLONE_VM != 0:
		c.th, err = t.th.CloneShared(b)
	default:
		c.th, err = t.th.CloneProcess(b)
	}
	if err == nil {
		if a.Flags&unix.CLONE_VM == 0 {
			c.th.SetRseq(t.th.Rseq())
		}
		c.host.Store(c.th)
	}
	return err
}

// neverWas takes a child that the host did not make out of the tree: nobody has
// heard of it, but the threads of its process may have ended meanwhile, and left
// the process's end to it.
func (t *Task) neverWas() {
	last := t.k.forget(t)
	t.th.Exit(false)
	t.release()
	t.letGo()
	close(t.exited)
	if last {
		t.k.bury(t.group, t)
	}
}

// begin is the first moment of a child that reports: its goroutine.
func (t *Task) begin(regs platform.Regs, setTID uint64) {
	if err := t.th.WaitReady(); err != nil {
		if t.th.Never() {
			t.neverWas()
			return
		}
		t.k.logf("pid %d: the host did not make its thread: %v", t.tid, err)
		t.k.kill(t.group, uint32(linux.SIGKILL))
		t.exit()
		return
	}
	t.tellSelf()
	segments := t.th.Regs.Segments
	t.th.Regs = regs
	t.th.Regs.RIP = t.MM().Actual(regs.RIP)
	t.th.Regs.Segments = segments
	if setTID != 0 {
		t.CopyOut(setTID, le32(t.Number()))
	}
	t.reply = reply{dirty: true}
	if t.resume() {
		t.run()
	}
}

// awaitVfork holds the parent until the child lets go of the memory, which
// closes let: vfork(2).
func (t *Task) awaitVfork(tid int32, let <-chan struct{}) (uint64, error) {
	t.th.Sync()
	t.th.Return(0)
	ev := t.th.NextDue()
	t.state.Store(inKernel)
	switch {
	case ev.Kind == platform.Died:
		t.killed.Store(true)
		t.attention.Store(true)
		return 0, linux.EINTR
	case ev.Kind != platform.CallFailed:
		t.k.kill(t.group, uint32(linux.SIGKILL))
		return 0, linux.EINTR
	case ev.Op == 0:
		for _, undo := range t.orders {
			undo(ev.Err)
		}
		t.orders = t.orders[:0]
		return 0, ev.Err
	}
	done := t.vforkForTracer()
	t.shed()
	t.th.Patience()
	t.rest()
	defer t.endRest()
	t.state.Store(killable)
	defer t.state.Store(inKernel)
	if t.attention.Load() && t.doomed() {
		return uint64(tid), nil
	}
	for {
		select {
		case <-let:
			done()
			return uint64(tid), nil
		case <-t.interrupt:
			t.attention.Store(true)
			if t.doomed() {
				return uint64(tid), nil
			}
		}
	}
}

// letGo tells a vfork parent that it can go on.
func (t *Task) letGo() {
	if t.vfork != nil {
		close(t.vfork)
		t.vfork = nil
	}
}

// release gives back what the task holds besides its thread.
func (t *Task) release() {
	leaves := t.left.CompareAndSwap(false, true)
	if leaves {
		t.ns.Load().mount.leave()
	}
	if s := t.mm.Swap(nil); s != nil {
		s.DecUsers()
	}
	if ft := t.fds.Swap(nil); ft != nil {
		ft.release(exitContext(t))
	}
	if leaves {
		t.leaveNet()
	}
}

// exiting is the context in which a task's files are closed: the kernel's, but
// record locks go by the process.
type exiting struct {
	vfs.Context
	tid, tgid int32
}

func (e exiting) TID() int32  { return e.tid }
func (e exiting) TGID() int32 { return e.tgid }

func exitContext(t *Task) vfs.Context {
	e := exiting{Context: vfs.WithCreds(vfs.KernelContext(), t.Creds())}
	if t.group != nil { // a child that found no place in the tree has none
		e.tid, e.tgid = t.TID(), t.TGID()
	}
	return e
}

// forget takes a child that never ran out of the tree. It says whether that was
// the last thread of a process whose others have ended.
func (k *Kernel) forget(c *Task) (last bool) {
	k.mu.Lock()
	delete(k.tasks, c.tid)
	g, parent, then := c.group, (*Group)(nil), []func(){}
	g.tasks = without(g.tasks, c)
	if g.pid == c.tid {
		k.Cgroups.Count(member{g}, 0, 0, 0)
		delete(k.groups, g.pid)
		k.leaveLocked(g)
		k.leaveSessionLocked(g)
		then = g.leftLocked()
		if parent = g.parent; parent != nil {
			parent.children = without(parent.children, g)
		}
	} else {
		g.countLocked()
		if last = len(g.tasks) == 0; last {
			g.exiting = true
		}
	}
	k.dropLocked(c.tid)
	execing := g.execing
	k.mu.Unlock()
	callAll(then)
	if parent != nil {
		g.timers.stop()
		parent.childQueue.Notify(wait.In) // it may have no child left to wait for
	}
	if execing != nil && !last {
		execing.stir()
	}
	return last
}

// without gives list without v, in a slice of its own.
func without[T comparable](list []T, v T) []T {
	out := make([]T, 0, len(list))
	for _, x := range list {
		if x != v {
			out = append(out, x)
		}
	}
	return out
}
