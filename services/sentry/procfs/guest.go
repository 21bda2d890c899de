package procfs

import (
	"slices"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// NewKernel shows the processes of k, with their numbers in a namespace, which nil is
// the first of.
func NewKernel(k *task.Kernel, ns *task.PIDNamespace) Kernel { return guestKernel{k, ns} }

type guestKernel struct {
	*task.Kernel
	ns *task.PIDNamespace
}

func (k guestKernel) Number(id int32) int32 { return k.ns.Number(id) }

// Numbers are what an id is called here and in the namespaces down to p's.
func (k guestKernel) Numbers(id int32, p Process) []int32 {
	return k.ns.Numbers(id, p.(guestProcess).Group)
}

func (k guestKernel) ID(number int32) int32 { return k.ns.ID(number) }

// Whole implements Kernel.
func (k guestKernel) Whole() Kernel { return guestKernel{k.Kernel, nil} }

// Space implements Kernel.
func (k guestKernel) Space(ctx vfs.Context) uint32 {
	if t, ok := ctx.(*task.Task); ok {
		if n, ok := t.Net().Network.(spaced); ok {
			return n.Space()
		}
	}
	return 0
}

// UTS is the caller's, or the first process's for who is none.
func (k guestKernel) UTS(ctx vfs.Context) Names {
	if t, ok := ctx.(*task.Task); ok {
		return t.UTS()
	}
	return k.Kernel.UTS()
}

// IPC is the caller's, likewise.
func (k guestKernel) IPC(ctx vfs.Context) (*sysvipc.Namespace, func(*mm.Backing) int) {
	if t, ok := ctx.(*task.Task); ok {
		return &t.IPC().Namespace, k.Attached
	}
	return &k.Kernel.IPC().Namespace, k.Attached
}

func (k guestKernel) PIDs() []int32 {
	groups := k.Groups()
	pids := make([]int32, 0, len(groups))
	for _, g := range groups {
		if g.PIDNamespace().Within(k.ns) {
			pids = append(pids, g.PID())
		}
	}
	slices.Sort(pids)
	return pids
}

func (k guestKernel) Process(pid int32) Process {
	if g := k.Group(pid); g != nil {
		return guestProcess{g}
	}
	return nil
}

func (k guestKernel) Thread(tid int32) Thread {
	if t := k.Task(tid); t != nil {
		return guestThread{t}
	}
	return nil
}

type guestProcess struct{ *task.Group }

func (p guestProcess) Info() Info {
	i := Info{
		PID: p.PID(), PPID: p.PPID(), PGID: p.PGID(), SID: p.SID(), Zombie: p.Zombie(),
		Stopped: p.Stopped(), Started: p.Started(), Foreground: -1, ExitSignal: linux.SIGCHLD,
	}
	i.Used, i.Children = p.Usage()
	i.Ignored, i.Caught = p.SignalSets()
	if status, ok := p.ExitStatus(); ok {
		i.ExitStatus = status
	}
	if s := p.Session(); s != nil {
		if t, ok := s.TTY().(*tty.Terminal); ok && t != nil {
			i.TTY = t.Rdev
			i.Foreground = t.Foreground()
		}
	}
	return i
}

func (p guestProcess) Leader() Thread { return guestThread{p.Group.Leader()} }

func (p guestProcess) Threads() []Thread {
	tasks := p.Tasks()
	slices.SortFunc(tasks, func(a, b *task.Task) int { return int(a.TID()) - int(b.TID()) })
	threads := make([]Thread, len(tasks))
	for i, t := range tasks {
		threads[i] = guestThread{t}
	}
	return threads
}

type guestThread struct{ *task.Task }

func (t guestThread) Signals() (pending, shared, blocked linux.SigSet) {
	pending, shared = t.PendingSignals()
	return pending, shared, t.Mask()
}

// Used is the thread's processor time, as far as the caller can be told.
func (t guestThread) Used(ctx vfs.Context) time.Duration {
	if asker, ok := ctx.(*task.Task); ok {
		return asker.ThreadTime(t.Task)
	}
	return t.CPUTime()
}

func (t guestThread) Memory() Memory {
	s := t.MM()
	m, ok := t.Task.Memory()
	if s == nil || !ok {
		return nil
	}
	return guestMemory{s, m, t.Task}
}

// guestMemory is read through a thread that lives in it.
type guestMemory struct {
	*mm.Space
	memory task.Memory
	t      *task.Task
}

func (m guestMemory) Read(addr mm.Addr, p []byte) int { return m.t.ReadMemory(m.memory, addr, p) }

// Resident implements Resident.
func (m guestMemory) Resident(regions []mm.Region) ([]uint64, uint64) {
	return m.memory.Resident(regions)
}

// Present implements Presence.
func (m guestMemory) Present(addrs []uint64, in []bool) error { return m.memory.Present(addrs, in) }

func (m guestMemory) Write(addr mm.Addr, p []byte) error {
	return m.t.WriteMemory(m.memory, addr, p)
}
