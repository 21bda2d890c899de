package task

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/ebpf"
	"bulkhead/services/sentry/vfs"
)

// CgroupNamespace is a view of the control groups, whose root is Root: cgroup_namespaces(7).
type CgroupNamespace struct {
	Inode uint32
	Owner *vfs.UserNamespace
	Root  *cgroupfs.Cgroup
}

// CgroupNamespace is the thread's view of the control groups.
func (t *Task) CgroupNamespace() *CgroupNamespace { return t.ns.Load().Cgroup }

// Cgroup is the control group that the process is in.
func (g *Group) Cgroup() *cgroupfs.Cgroup { return g.k.Cgroups.In(member{g}) }

// member is a process as package cgroupfs knows it.
type member struct{ g *Group }

// Place implements cgroupfs.Process.
func (m member) Place() *cgroupfs.Place { return &m.g.place }

// Heed implements cgroupfs.Process: those that are to stand still are stirred up, and
// those that stand still go on or not.
func (m member) Heed() {
	for _, t := range m.g.Tasks() {
		t.wake()
	}
}

// Number implements cgroupfs.Process.
func (m member) Number(ctx vfs.Context) int32 { return m.g.k.shown(ctx, m.g.pid) }

// Threads implements cgroupfs.Process.
func (m member) Threads(ctx vfs.Context) (all []int32) {
	for _, t := range m.g.Tasks() {
		all = append(all, m.g.k.shown(ctx, t.tid))
	}
	return all
}

// shown is the number that ctx knows an id by.
func (k *Kernel) shown(ctx vfs.Context, id int32) int32 {
	if t := k.Task(ctx.TID()); t != nil {
		return t.ShowPID(id)
	}
	return id
}

// Used implements cgroupfs.Process.
func (m member) Used() time.Duration {
	u, _ := m.g.Usage()
	return u.User + u.System
}

// Resident implements cgroupfs.Process.
func (m member) Resident() uint64 {
	for _, t := range m.g.Tasks() {
		if memory, ok := t.Memory(); ok {
			_, sum := memory.Resident(memory.space.Regions())
			return sum
		}
	}
	return 0
}

// cgroupHost is the kernel as package cgroupfs knows it.
type cgroupHost struct{ k *Kernel }

// Root implements cgroupfs.Host.
func (h cgroupHost) Root(ctx vfs.Context) *cgroupfs.Cgroup {
	if t := h.k.Task(ctx.TID()); t != nil {
		return t.CgroupNamespace().Root
	}
	return h.k.Cgroups.Root()
}

// Find implements cgroupfs.Host.
func (h cgroupHost) Find(ctx vfs.Context, number int32) cgroupfs.Process {
	t := h.k.Task(ctx.TID())
	if t != nil && number != 0 {
		t = t.Named(number)
	} else if t == nil {
		t = h.k.Task(number)
	}
	if t == nil {
		return nil
	}
	return member{t.group}
}

// End implements cgroupfs.Host.
func (h cgroupHost) End(list func() []cgroupfs.Process) {
	var woken []*Task
	h.k.mu.Lock()
	for _, p := range list() {
		if g := p.(member).g; !g.zombie && !g.exiting {
			g.exiting, g.exitStatus = true, uint32(linux.SIGKILL)
			woken = append(woken, g.tasks...)
		}
	}
	h.k.mu.Unlock()
	for _, t := range woken {
		t.killed.Store(true)
		t.wake()
		t.stir()
	}
}

// FilePages implements cgroupfs.Host.
func (cgroupHost) FilePages() uint64 { return uint64(max(budget.FilePages(), 0)) * linux.PageSize }

// MayUseDevice implements vfs.DeviceGate by the programs of the caller's control group.
func (k *Kernel) MayUseDevice(ctx vfs.Context, mode uint32, rdev uint64, mask uint32) error {
	if !k.Cgroups.Filters() {
		return nil
	}
	t := k.Task(ctx.TID())
	if t == nil {
		return nil
	}
	a := ebpf.Access{Kind: ebpf.Char, Major: linux.Major(rdev), Minor: linux.Minor(rdev)}
	if mode&linux.S_IFMT == linux.S_IFBLK {
		a.Kind = ebpf.Block
	}
	switch {
	case mask == 0 && rdev == 0 && a.Kind == ebpf.Char:
		return nil // what an overlay hides names with
	case mask == 0:
		a.Kind |= ebpf.Make
	}
	if mask&vfs.MayRead != 0 {
		a.Kind |= ebpf.Read
	}
	if mask&vfs.MayWrite != 0 {
		a.Kind |= ebpf.Write
	}
	return k.Cgroups.MayUse(member{t.group}, a)
}

// countLocked tells the process's group how many threads it has: a first one that has
// exited counts until it is waited for.
func (g *Group) countLocked() {
	threads, charged := len(g.tasks), len(g.tasks)+1
	for _, t := range g.tasks {
		if t == g.leader {
			charged--
			break
		}
	}
	g.k.Cgroups.Count(member{g}, threads, charged, 0)
}

// rest says that the thread stands still, as far as cgroup.freeze is concerned; endRest that
// it does not any more, unless it is to.
func (t *Task) rest() {
	if !t.resting {
		t.resting = true
		t.k.Cgroups.Rest(member{t.group}, true)
	}
}

func (t *Task) endRest() {
	if t.resting && t.group.place.Freezing() && !t.killed.Load() {
		t.attention.Store(true) // waitFrozen is next
		return
	}
	t.leaveRest()
}

// leaveRest is endRest, whatever is to be: of a thread that ends.
func (t *Task) leaveRest() {
	if t.resting {
		t.resting = false
		t.k.Cgroups.Rest(member{t.group}, false)
	}
}

// waitFrozen sleeps while the process is frozen, unless a signal is to end it; false if
// there was nothing to wait for.
func (t *Task) waitFrozen() bool {
	place := &t.group.place
	if !place.Freezing() || t.doomed() {
		t.endRest()
		return false
	}
	t.shed()
	t.th.Patience()
	t.state.Store(sleeping)
	t.rest()
	for place.Freezing() && !t.doomed() && !(t.Traced() && t.trace.trap.Load()) {
		<-t.interrupt
	}
	t.state.Store(inKernel)
	t.endRest()
	return true
}
