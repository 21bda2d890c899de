// Package task provides processes: threads, their groups, sessions, signals,
// clone, exec, exit and wait.
//
// A Task is a guest thread and has a goroutine of its own (run.go), which waits
// for the host thread to stop, serves what it wants, and lets it go on. Nobody
// else touches the Task's unguarded fields.
//
// Locks: Kernel.many comes first. Kernel.mu guards the tree of processes and every wait status; a Group's
// sigMu its signals. Kernel.mu < cgroupfs.Hierarchy.mu; Kernel.mu < Group.sigMu < FDTable.mu, FSContext.mu, handlers.mu;
// piFutex.word < piFutexes.mu; pidTable.mu is the last. No other lock
// is held while a task sleeps or a file is called.
package task

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// PIDMax is the end of the numbers that processes and threads get, exclusive.
const PIDMax = 1 << 22

// Tracer is told of system calls: --strace.
type Tracer interface {
	Enter(t *Task, nr uint64, args [6]uint64) any
	Exit(t *Task, token any, result uint64, err error)
}

// Kernel is the state that all tasks of a sandbox share.
type Kernel struct {
	Machine *platform.Machine

	// Syscall serves the system call in the task's registers: the table in
	// package syscalls.
	Syscall func(t *Task, nr uint64, args [6]uint64) (uint64, error)
	// Trace, if set, is told of each call.
	Trace Tracer
	// Log, if set, takes one line on what a user may want to know.
	Log func(format string, args ...any)
	// NewNetwork, if set, makes what Net.Network of a new namespace is: ENOSPC.
	NewNetwork func(owner *vfs.UserNamespace) (any, error)
	// NetworkLeft, if set, is told when a network that NewNetwork made may have become
	// nobody's. It must not wait.
	NetworkLeft func()
	// Boot is when the sandbox started.
	Boot time.Time

	mu      sync.RWMutex
	tasks   map[int32]*Task
	groups  map[int32]*Group
	pgrps   map[int32]map[*Group]bool // by process group
	lastPID int32
	// sessions is how many processes each has.
	sessions map[int32]int

	forks atomic.Uint64

	// many is held by who sends a signal to several processes at once, and for reading
	// while a process comes into the tree: none is missed because it was just made.
	many sync.RWMutex
	// sentToMany is how often that has been.
	sentToMany atomic.Uint64

	// Cgroups are the control groups.
	Cgroups *cgroupfs.Hierarchy

	pi   piFutexes
	pids pidTable

	// first are the first process's namespaces.
	first Namespaces
}

// NewKernel gives a kernel without tasks.
func NewKernel(m *platform.Machine) *Kernel {
	k := &Kernel{
		Machine: m, Boot: time.Now(),
		tasks: map[int32]*Task{}, groups: map[int32]*Group{}, pgrps: map[int32]map[*Group]bool{}, sessions: map[int32]int{},
		pids: pidTable{numbers: map[int32]*pidNumbers{}},
		first: Namespaces{
			UTS: &UTS{Inode: firstUTS, hostname: "bulkhead", domainname: "(none)"},
			IPC: newIPC(firstIPC, nil),
			Net: &Net{Inode: firstNet},
		},
	}
	k.Cgroups = cgroupfs.New(cgroupHost{k})
	k.first.Cgroup = &CgroupNamespace{Inode: firstCgroup, Root: k.Cgroups.Root()}
	return k
}

// Task gives the thread with that id, or nil.
func (k *Kernel) Task(tid int32) *Task {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.tasks[tid]
}

// Group gives the process with that id, or nil; a zombie is one.
func (k *Kernel) Group(pid int32) *Group {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.groups[pid]
}

// Groups gives every process.
func (k *Kernel) Groups() []*Group {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := make([]*Group, 0, len(k.groups))
	for _, g := range k.groups {
		out = append(out, g)
	}
	return out
}

// Tasks gives every thread.
func (k *Kernel) Tasks() []*Task {
	k.mu.RLock()
	defer k.mu.RUnlock()
	out := make([]*Task, 0, len(k.tasks))
	for _, t := range k.tasks {
		out = append(out, t)
	}
	return out
}

// Forks is how many processes and threads have been made.
func (k *Kernel) Forks() uint64 { return k.forks.Load() }

func (k *Kernel) logf(format string, args ...any) {
	if k.Log != nil {
		k.Log(format, args...)
	}
}

var _ vfs.Context = (*Task)(nil)
