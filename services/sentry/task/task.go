package task

import (
	"bytes"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Task is a guest thread. It is the vfs.Context of its system calls.
type Task struct {
	k     *Kernel
	group *Group
	tid   int32

	// What only the task's own goroutine touches.
	th      *platform.Thread
	reply   reply
	orders  []func(linux.Errno) // what to undo if a host call of the answer fails
	path    [256]byte           // of BorrowPath
	frames  []before            // the answer's signal frames
	trace   traced              // ptrace
	eager   eagerness
	resting bool // see rest
	asksAll bool // the stub answers nothing itself
	trial   trial
	took    took

	// What other goroutines may read while it runs.
	host     atomic.Pointer[platform.Thread] // th
	mm       atomic.Pointer[mm.Space]
	fds      atomic.Pointer[FDTable]
	fs       atomic.Pointer[FSContext]
	creds    atomic.Pointer[vfs.Creds]
	ns       atomic.Pointer[Namespaces]
	seccomp  atomic.Pointer[Seccomp]
	dispatch atomic.Pointer[Dispatch]
	ahead    atomic.Pointer[ahead]   // see ahead.go
	pockets  atomic.Pointer[pockets] // nil until there is something for one
	unread   int                     // files whose contents were offered in vain since any were read
	links    atomic.Pointer[askedLinks]
	name     atomic.Pointer[string]
	state    atomic.Int32

	// attention is set when there is something to do before the guest goes on:
	// a signal that may be deliverable, a stop, the end of the group.
	attention atomic.Bool
	interrupt chan struct{}
	at        attended
	napping   nap

	// Signals of this thread alone: guarded by group.sigMu. The mask is changed by
	// the task's own goroutine only, and by the guest: see blockedLocked.
	mask      linux.SigSet
	shared    bool         // the mask is in the slot, where the stub changes it
	savedMask linux.SigSet // to be restored after a handler: sigsuspend
	hasSaved  bool
	pending   pendingSignals
	waitMask  linux.SigSet // of sigtimedwait
	altStack  linux.StackT
	told      *handlers // which the stub knows

	restart       func() (uint64, error) // for restart_syscall
	vfork         chan struct{}          // closed when a vfork child lets go of the memory
	piBlocked     *piFutex               // which one it waits for: guarded by Kernel.pi.mu
	piGone        bool                   // it owns none any more, likewise
	gaveBirth     bool                   // in the answer just given: a goroutine waits to be run
	newborn       *platform.Thread       // the child of answer newbornTicket
	newbornTicket uint64
	exited        chan struct{}
	killed        atomic.Bool
	left          atomic.Bool // counts no longer in its namespace of mounts
	exitCode      uint32
	ioprio        atomic.Int32 // ioprio_set(2)
	affinity      atomic.Pointer[[]byte]
	persona       atomic.Uint32 // personality(2)
	slack         timerSlack
	memFailure    atomic.Uint32 // PR_MCE_KILL of prctl(2)
	memPolicy     atomic.Uint32 // set_mempolicy(2)
	scheduling    atomic.Pointer[Scheduling]
}

// The values of Task.state.
const (
	inKernel = iota
	inUser
	sleeping
	killable // sleeping, until what it waits for or its end
)

// TID is the thread id.
func (t *Task) TID() int32 { return t.tid }

// Number is the thread's id in its own namespace of processes.
func (t *Task) Number() int32 { return t.group.pidNS.Number(t.tid) }

// TGID is the process id.
func (t *Task) TGID() int32 { return t.group.pid }

// Group is the process that the thread belongs to.
func (t *Task) Group() *Group { return t.group }

// Kernel is the sandbox.
func (t *Task) Kernel() *Kernel { return t.k }

// MM is the address space, or nil once the thread has exited.
func (t *Task) MM() *mm.Space { return t.mm.Load() }

// FDs is the descriptor table, or nil once the thread has exited.
func (t *Task) FDs() *FDTable {
	if a := t.ahead.Load(); a != nil {
		a.Unforesee()
	}
	return t.fds.Load()
}

// FS is root, working directory and umask; nil once the thread has exited.
func (t *Task) FS() *FSContext { return t.fs.Load() }

// Creds are the thread's credentials. They do not change; SetCreds replaces them.
func (t *Task) Creds() *vfs.Creds { return t.creds.Load() }

// SetCreds replaces the credentials. Where that is more than giving up capabilities,
// the process can no longer be looked into by its user: PR_SET_DUMPABLE of prctl(2).
func (t *Task) SetCreds(c *vfs.Creds) {
	if old := t.Creds(); old != nil && otherPower(old, c) {
		t.group.SetDumpable(0)
		t.group.SetParentDeath(0)
	}
	t.creds.Store(c)
	t.forgetLinks()
	t.tellCreds()
}

// Name is the thread's name, at most 15 bytes: PR_SET_NAME of prctl(2).
func (t *Task) Name() string { return *t.name.Load() }

// SetName sets it, cut to 15 bytes and at a NUL.
func (t *Task) SetName(s string) {
	if i := bytes.IndexByte([]byte(s), 0); i >= 0 {
		s = s[:i]
	}
	s = s[:min(len(s), 15)]
	t.name.Store(&s)
}

// State is the letter of /proc/PID/stat: R, S, D, T, t or Z.
func (t *Task) State() byte {
	switch {
	case t.mm.Load() == nil:
		return 'Z'
	case t.traceStopped():
		return 't'
	case t.group.Stopped():
		return 'T'
	case t.state.Load() == sleeping:
		return 'S'
	case t.state.Load() == killable:
		return 'D'
	}
	return 'R'
}

// File gives the open file behind fd with a reference: `defer f.DecRef(t)`.
// EBADF also for descriptors opened with O_PATH.
func (t *Task) File(fd linux.FD) (*vfs.File, error) {
	f, err := t.fds.Load().Get(fd)
	if err == nil && f.Flags()&linux.O_PATH != 0 {
		f.DecRef(t)
		return nil, linux.EBADF
	}
	return f, err
}

// AnyFile is File, and O_PATH descriptors are welcome.
func (t *Task) AnyFile(fd linux.FD) (*vfs.File, error) { return t.fds.Load().Get(fd) }

// Install gives f the lowest free descriptor from min on, within RLIMIT_NOFILE,
// and takes over the reference; on EMFILE it drops it.
func (t *Task) Install(f *vfs.File, min linux.FD, closeOnExec bool) (linux.FD, error) {
	fd, err := t.fds.Load().Install(f, min, t.group.Limit(unix.RLIMIT_NOFILE).Cur, closeOnExec)
	if err != nil {
		f.DecRef(t)
	}
	return fd, err
}

// FileSizeLimit is RLIMIT_FSIZE in bytes.
func (t *Task) FileSizeLimit() uint64 { return t.group.Limit(unix.RLIMIT_FSIZE).Cur }

// wake makes the task look at its attention flag, wherever it is.
func (t *Task) wake() { t.wakeBy(nil) }

// wakeBy is wake in a call of by's, if it is one: wait.Queue.NotifyBy.
func (t *Task) wakeBy(by wait.Sleeper) {
	t.attention.Store(true)
	switch t.state.Load() {
	case inUser:
		t.host.Load().Kick()
		t.expectEnd()
	case sleeping, killable:
		t.stirBy(by)
	}
}
