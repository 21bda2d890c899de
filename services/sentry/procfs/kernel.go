// Package procfs is /proc: proc(5).
//
// Text is generated when a file is read, in the kernel's own formats, from what
// a Kernel tells of its processes and a Host of the machine. NewKernel gives the
// Kernel of a running sandbox; tests bring their own.
package procfs

import (
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// Kernel is the process table as /proc shows it.
type Kernel interface {
	// PIDs lists the processes that have a number here, rising; zombies are processes.
	PIDs() []int32
	// Process gives one, or nil. The same process is the same (==) value.
	Process(pid int32) Process
	// Thread gives a thread by its own id, or nil.
	Thread(tid int32) Thread
	// Number is what an id is called here, 0 for nothing, Numbers are that and those in
	// the namespaces down to a process's, and ID is what has a number.
	Number(id int32) int32
	Numbers(id int32, p Process) []int32
	ID(number int32) int32
	// Whole is the process table of the whole sandbox.
	Whole() Kernel
	// Space is the number of the network that the caller sees, 0 for the first.
	Space(ctx vfs.Context) uint32
	// Forks is how many processes and threads were ever made.
	Forks() uint64

	// UTS are the names of uname(2) that the caller sees.
	UTS(ctx vfs.Context) Names
	// IPC is the System V IPC that the caller sees, and what counts how often a
	// segment is attached.
	IPC(ctx vfs.Context) (*sysvipc.Namespace, func(*mm.Backing) int)
}

// Names are those of uname(2) that can be set.
type Names interface {
	Hostname() string
	SetHostname(string)
	Domainname() string
	SetDomainname(string)
}

// Process is one process.
type Process interface {
	PID() int32
	// Info is a snapshot of what is the process's as a whole.
	Info() Info
	// Leader is the thread that has the process's id, also when it has exited.
	Leader() Thread
	// Threads are those that have not exited, by rising id.
	Threads() []Thread
	// Limit is a resource limit of getrlimit(2).
	Limit(what int) task.Rlimit
	OOMScoreAdj() int32
	SetOOMScoreAdj(int32)
	// Dumpable is 1 if its user may look into it: PR_GET_DUMPABLE of prctl(2).
	Dumpable() int32
	// Keeper is the user namespace with power over who may not be looked into.
	Keeper() *vfs.UserNamespace
}

// Info is what a process is, at one moment.
type Info struct {
	PID, PPID, PGID, SID int32
	Zombie               bool
	Stopped              bool
	Started              time.Time
	TTY                  uint64 // device number of the controlling terminal, or 0
	Foreground           int32  // its foreground process group, -1 without
	Used, Children       task.Usage
	Ignored, Caught      linux.SigSet
	ExitSignal           linux.Signal
	ExitStatus           uint32 // as wait4(2) tells it
}

// Thread is one thread. What it holds is nil once it has exited.
type Thread interface {
	TID() int32
	TGID() int32
	Name() string
	SetName(string)
	// State is R, S, T or Z.
	State() byte
	Creds() *vfs.Creds
	// Signals are those that wait for the thread, for its process, and those
	// that it blocks.
	Signals() (pending, shared, blocked linux.SigSet)
	// Affinity is the set of processors that it may run on, one in a bit from the
	// lowest of the first byte on; nil for all.
	Affinity() []byte
	// Personality is what personality(2) set.
	Personality() uint32
	// TimerSlack is PR_GET_TIMERSLACK of prctl(2), in nanoseconds; 0 sets what it was
	// at first.
	TimerSlack() uint64
	SetTimerSlack(ns uint64)
	Memory() Memory
	FDs() *task.FDTable
	FS() *task.FSContext
}

// Memory is an address space.
type Memory interface {
	Regions() []mm.Region
	Size() uint64
	Exe() vfs.Path
	ArgRange() (start, end mm.Addr)
	EnvRange() (start, end mm.Addr)
	BrkRange() (start, end mm.Addr)
	CodeRange() (start, end mm.Addr)
	StartStack() mm.Addr
	Auxv() []byte
	// Read copies what can be read of [addr, addr+len(p)) from its start.
	Read(addr mm.Addr, p []byte) int
	// Write copies p to where it may be written: EFAULT.
	Write(addr mm.Addr, p []byte) error
}
