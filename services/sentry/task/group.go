package task

import (
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/cgroupfs"
	"bulkhead/services/sentry/sysvipc"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Group is a thread group: a process.
type Group struct {
	k   *Kernel
	pid int32
	// pidNS is the namespace of processes that it is in, and number its id there:
	// neither changes.
	pidNS  *PIDNamespace
	number int32
	serial uint64 // of all processes there ever were

	// ChildQueue is told (wait.In) when a child changes state, for wait4(2).
	childQueue wait.Queue
	// deadQueue is told (wait.In) when the group becomes a zombie: pidfds.
	deadQueue wait.Queue

	// The tree: guarded by Kernel.mu.
	leader    *Task // the task whose tid is pid, also once it has exited
	tasks     []*Task
	parent    *Group
	children  []*Group
	pgid, sid int32
	session   *Session
	// exiting is set once the whole group is to end with exitStatus.
	exiting     bool
	exitStatus  uint32 // as wait4(2) gives it
	zombie      bool
	execing     *Task        // the task that waits for the others to go, in execve
	exitSignal  linux.Signal // what the parent gets: SIGCHLD
	subreaper   bool
	didExec     bool
	parentDeath linux.Signal

	// Signals: guarded by sigMu.
	sigMu    sync.Mutex
	handlers *handlers
	pending  pendingSignals
	stopped  bool
	resumed  chan struct{} // closed when stopped ends
	sigWait  wait.Queue    // told (wait.In) when a signal becomes pending
	// What wait4 can report besides an end, changed together with stopped: what
	// came last is what is told.
	stopReport, contReport bool
	stopSignal             linux.Signal
	// stopDue is set when a signal is taken that may stop the process, and no
	// longer true once SIGCONT has come after it.
	stopDue bool
	// mortal is set when a fault of the first process of a namespace is to end it.
	mortal atomic.Bool

	// place is where in the control groups it is: cgroupfs's lock.
	place cgroupfs.Place

	// semUndo is what SEM_UNDO takes back at the end: IPC's lock.
	semUndo sysvipc.Undo

	limits   [numRlimits]atomicRlimit
	limitsMu sync.Mutex // of who changes them, and tells the stubs
	timers   groupTimers

	started    time.Time
	exitUsage  Usage // of threads that have exited
	childUsage Usage // of children that were waited for

	oomScoreAdj atomic.Int32
	// dumpFilter is what differs from usualDumpFilter.
	dumpFilter atomic.Uint32
	nice       atomic.Int32 // -20 to 19; told, not acted on
	dumpable   atomic.Int32
	keeper     atomic.Pointer[vfs.UserNamespace] // who has power there may look into it, dumpable or not
}

// Usage is what getrusage(2) tells, as far as it is known.
type Usage struct {
	User, System time.Duration
	MaxRSS       int64 // the largest resident size of any process in it, in KiB; 0 if not known
}

// PID is the process id.
func (g *Group) PID() int32 { return g.pid }

// Kernel is the sandbox that the process is in.
func (g *Group) Kernel() *Kernel { return g.k }

// Started is when the process was made.
func (g *Group) Started() time.Time { return g.started }

// Serial is a number that no other process has or will have.
func (g *Group) Serial() uint64 { return g.serial }

var serials atomic.Uint64

// Leader is the thread whose id is the process's; it stays when it has exited.
func (g *Group) Leader() *Task {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.leader
}

// Tasks gives the threads that have not exited.
func (g *Group) Tasks() []*Task {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return append([]*Task(nil), g.tasks...)
}

// PPID is the parent's process id, 0 for the first process.
func (g *Group) PPID() int32 {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	if g.parent == nil {
		return 0
	}
	return g.parent.pid
}

// PGID is the process group id.
func (g *Group) PGID() int32 {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.pgid
}

// SID is the session id.
func (g *Group) SID() int32 {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.sid
}

// Session is what the process's session shares: the controlling terminal.
func (g *Group) Session() *Session {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.session
}

// Zombie says whether the process has ended and waits to be reaped.
func (g *Group) Zombie() bool {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.zombie
}

// Exiting says whether the whole process is about to end.
func (g *Group) Exiting() bool {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.exiting
}

// Stopped says whether job control has stopped it.
func (g *Group) Stopped() bool {
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	return g.stopped
}

// SemUndo is what the process's end takes back of its semaphores' operations.
func (g *Group) SemUndo() *sysvipc.Undo { return &g.semUndo }

// usualDumpFilter is what a core dump would hold: core(5).
const usualDumpFilter = 0x33

// DumpFilter is what /proc/PID/coredump_filter holds.
func (g *Group) DumpFilter() uint32 { return g.dumpFilter.Load() ^ usualDumpFilter }

// SetDumpFilter sets it. Of its bits nine have a meaning.
func (g *Group) SetDumpFilter(v uint32) { g.dumpFilter.Store(v&0x1ff ^ usualDumpFilter) }

// OOMScoreAdj is what /proc/PID/oom_score_adj holds, -1000 to 1000.
func (g *Group) OOMScoreAdj() int32 { return g.oomScoreAdj.Load() }

// SetOOMScoreAdj sets it.
func (g *Group) SetOOMScoreAdj(v int32) { g.oomScoreAdj.Store(v) }

// Nice is what setpriority said, -20 to 19. The host schedules without it.
func (g *Group) Nice() int32 { return g.nice.Load() }

// SetNice sets it.
func (g *Group) SetNice(v int32) { g.nice.Store(v) }

// DeadQueue is told when the process becomes a zombie.
func (g *Group) DeadQueue() *wait.Queue { return &g.deadQueue }

// Session is a session of process groups: setsid(2).
type Session struct {
	ID int32

	mu sync.Mutex
	// tty is the controlling terminal, whatever a terminal package keeps there.
	tty any
}

// TTY is the controlling terminal, or nil.
func (s *Session) TTY() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tty
}

// SetTTY sets it; nil takes it away.
func (s *Session) SetTTY(tty any) {
	s.mu.Lock()
	s.tty = tty
	s.mu.Unlock()
}

// SetParentDeath is PR_SET_PDEATHSIG of prctl(2), 0 for none.
func (g *Group) SetParentDeath(sig linux.Signal) {
	g.k.mu.Lock()
	g.parentDeath = sig
	g.k.mu.Unlock()
}

// ParentDeath is PR_GET_PDEATHSIG.
func (g *Group) ParentDeath() linux.Signal {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.parentDeath
}

// SetSubreaper is PR_SET_CHILD_SUBREAPER.
func (g *Group) SetSubreaper(on bool) {
	g.k.mu.Lock()
	g.subreaper = on
	g.k.mu.Unlock()
}

// Subreaper is PR_GET_CHILD_SUBREAPER.
func (g *Group) Subreaper() bool {
	g.k.mu.RLock()
	defer g.k.mu.RUnlock()
	return g.subreaper
}

// Dumpable is PR_GET_DUMPABLE.
func (g *Group) Dumpable() int32 { return g.dumpable.Load() }

// Keeper is the user namespace in which power is needed to look into the process if it
// is not dumpable, nil for the first: that which its program was executed in, or one
// above that which knows whose the program is.
func (g *Group) Keeper() *vfs.UserNamespace { return g.keeper.Load() }

// SetDumpable is PR_SET_DUMPABLE.
func (g *Group) SetDumpable(v int32) { g.dumpable.Store(v) }
