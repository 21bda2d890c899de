package task

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// This is ptrace(2): who traces whom, and what a tracer asks for. What a tracee
// does when it stops is in ptrace_stop.go, what a tracer sees of it in
// ptrace_regs.go, ptrace_call.go and ptrace_mem.go, what it hears by wait4(2) in
// ptrace_wait.go.

// traced is a task's side of being traced. Guarded by Kernel.mu, except for what
// is said otherwise.
type traced struct {
	tracer  *Task
	on      atomic.Bool // tracer is not nil
	seized  bool
	options uint32
	tracees []*Task // whom the task traces

	stop     *traceStop // where the task is stopped, nil if it is not
	resumed  chan struct{}
	requests chan func() // for a stopped task: run on its own goroutine

	// dead is set on a thread that has ended and whose tracer has not waited for
	// it yet; status is how it ended. undelivered is the parent of a whole process
	// that ended so, who is told once the tracer has waited.
	dead        bool
	status      uint32
	undelivered *Group

	trap atomic.Bool // PTRACE_INTERRUPT, or a first stop, is due

	// The rest is the task's own goroutine's, and its tracer's while it is
	// stopped.
	mode    traceMode
	deliver linux.SigInfo // the signal to go on with; Signo 0 for none
	event   uint64        // PTRACE_GETEVENTMSG
	inCall  bool          // the registers are of a system call
	nr      uint64        // its number: orig_rax
	passed  chan struct{} // the group-stop that the task was resumed from
	changed bool          // the tracer has set registers before the call
	debug   debugRegs
	// watching is set while any of the debug registers is in use.
	watching bool
	newborn  struct { // of the call under way: the child to tell of
		event int
		tid   int32
	}
}

// traceMode is how a tracee was resumed.
type traceMode int

const (
	traceCont traceMode = iota
	traceSyscall
	traceStep
	traceEmulate // the tracer does what the next call asks for
	traceEmulateStep
	traceListen
)

// steps says whether the thread goes one instruction on.
func (m traceMode) steps() bool { return m == traceStep || m == traceEmulateStep }

// emulates says whether no call is carried out.
func (m traceMode) emulates() bool { return m == traceEmulate || m == traceEmulateStep }

// traceStop is one stop of a tracee.
type traceStop struct {
	code     uint32 // of the wait status: the signal, and the event above it
	info     linux.SigInfo
	group    bool // a group-stop: PTRACE_GETSIGINFO fails
	signal   bool // a signal-delivery-stop: the siginfo can be changed
	op       byte // PTRACE_GET_SYSCALL_INFO: none, entry, exit
	reported bool
	listens  bool
}

// Options of PTRACE_SETOPTIONS.
const (
	traceSysGood   = 1
	traceFork      = 1 << 1
	traceVfork     = 1 << 2
	traceClone     = 1 << 3
	traceExec      = 1 << 4
	traceVforkDone = 1 << 5
	traceExit      = 1 << 6
	traceSeccomp   = 1 << 7
	traceExitKill  = 1 << 20
	traceSuspend   = 1 << 21 // PTRACE_O_SUSPEND_SECCOMP
	traceOptions   = traceSuspend | traceSysGood | traceFork | traceVfork | traceClone | traceExec | traceVforkDone | traceExit | traceSeccomp | traceExitKill
)

// Events in a wait status.
const (
	eventFork      = 1
	eventVfork     = 2
	eventClone     = 3
	eventExec      = 4
	eventVforkDone = 5
	eventExit      = 6
	eventSeccomp   = 7
	eventStop      = 128
)

// Traced says whether a debugger looks at the thread: it must see its own bytes,
// and nothing may be done behind its back.
func (t *Task) Traced() bool { return t.trace.on.Load() }

// TracerPID is the thread that traces t, 0 for none.
func (t *Task) TracerPID() int32 {
	if !t.Traced() {
		return 0
	}
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	if t.trace.tracer == nil {
		return 0
	}
	return t.trace.tracer.tid
}

// tracerSees is the number that the thread's tracer knows an id by.
func (t *Task) tracerSees(id int32) int32 {
	t.k.mu.RLock()
	tr := t.trace.tracer
	t.k.mu.RUnlock()
	if tr == nil {
		return 0
	}
	return tr.ShowPID(id)
}

// anyTraced says whether a thread of the list is traced.
func anyTraced(tasks []*Task) bool {
	for _, t := range tasks {
		if t.Traced() {
			return true
		}
	}
	return false
}

// linkLocked makes tracer t's; the caller has checked that there is none.
func (t *Task) linkLocked(tracer *Task, seized bool, options uint32) {
	t.trace.tracer, t.trace.seized, t.trace.options = tracer, seized, options
	t.trace.requests = make(chan func())
	tracer.trace.tracees = append(tracer.trace.tracees, t)
	t.trace.on.Store(true)
	t.tellTraced()
}

// unlinkLocked ends the tracing of t. If it is stopped, the caller lets it go on.
func (t *Task) unlinkLocked() {
	if tr := t.trace.tracer; tr != nil {
		tr.trace.tracees = without(tr.trace.tracees, t)
	}
	t.trace.tracer, t.trace.options, t.trace.seized = nil, 0, false
	t.trace.on.Store(false)
	t.trace.trap.Store(false)
	t.tellTraced()
}

// TraceMe is PTRACE_TRACEME: the parent traces the caller.
func (t *Task) TraceMe() error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	parent := t.group.parent
	if t.trace.tracer != nil || parent == nil || parent.zombie || len(parent.tasks) == 0 {
		return linux.EPERM
	}
	if c := parent.leader.Creds(); t.Creds().Permitted&^c.Permitted != 0 && !c.Has(linux.CAP_SYS_PTRACE) {
		return linux.EPERM
	}
	t.linkLocked(parent.leader, false, 0)
	return nil
}

// Attach is PTRACE_ATTACH, or with seize PTRACE_SEIZE.
func (t *Task) Attach(tid int32, seize bool, options uint32) error {
	if options&^uint32(traceOptions) != 0 {
		return linux.EIO
	}
	if err := t.mayTraceWith(options); err != nil {
		return err
	}
	k := t.k
	o := t.Named(tid)
	if o == nil {
		return linux.ESRCH
	}
	if o.group == t.group {
		return linux.EPERM
	}
	k.mu.Lock()
	// Under the lock, as an execve that gains power looks for tracers: assume.
	if err := t.MayInspect(o); err != nil {
		k.mu.Unlock()
		return err
	}
	if o.trace.tracer != nil || o.group.zombie || o.mm.Load() == nil {
		k.mu.Unlock()
		return linux.EPERM
	}
	o.linkLocked(t, seize, options)
	k.mu.Unlock()
	if !seize {
		o.stopFirst()
		o.wake()
	}
	if o.group.Stopped() {
		o.wake()
		o.stir()
	}
	return nil
}

// tracee gives the thread that t traces; ESRCH unless it is stopped, and with it
// where. With running it need not be.
func (t *Task) tracee(tid int32, running bool) (*Task, *traceStop, error) {
	k, id := t.k, t.PIDOf(tid)
	k.mu.RLock()
	defer k.mu.RUnlock()
	o := k.tasks[id]
	// Which thread of a process has forked the tracee is not known: any will do.
	if o == nil || o.trace.tracer == nil || o.trace.tracer.group != t.group {
		return nil, nil, linux.ESRCH
	}
	if s := o.trace.stop; running || s != nil && !s.listens {
		return o, s, nil
	}
	return nil, nil, linux.ESRCH
}

// Ask runs f on a stopped tracee's own goroutine; ESRCH when it is not stopped,
// or leaves the stop because it is killed.
func (t *Task) Ask(tid int32, f func(o *Task) error) error {
	o, _, err := t.tracee(tid, false)
	if err != nil {
		return err
	}
	return o.ask(func() error { return f(o) })
}

// ask is Ask of a tracee that was found. f may still run after ESRCH.
func (t *Task) ask(f func() error) error {
	t.k.mu.RLock()
	requests, resumed := t.trace.requests, t.trace.resumed
	stopped := t.trace.stop != nil
	t.k.mu.RUnlock()
	if !stopped {
		return linux.ESRCH
	}
	done := make(chan error, 1)
	select {
	case requests <- func() { done <- f() }:
		return <-done
	case <-resumed:
		return linux.ESRCH
	}
}

// Resume lets a stopped tracee go on, with a signal if sig is not 0: PTRACE_CONT,
// PTRACE_SYSCALL, PTRACE_SINGLESTEP. EIO for a bad signal.
func (t *Task) ResumeTracee(tid int32, mode traceMode, sig uint64) error {
	if sig > uint64(linux.NSIG) {
		return linux.EIO
	}
	return t.Ask(tid, func(o *Task) error {
		o.goOn(mode, linux.Signal(sig))
		return nil
	})
}

// These are the ways to resume a tracee.
const (
	Continue    = traceCont
	StepSyscall = traceSyscall
	Step        = traceStep
	Emulate     = traceEmulate
	EmulateStep = traceEmulateStep
)

// goOn ends the stop that the task's own goroutine is in.
func (t *Task) goOn(mode traceMode, sig linux.Signal) {
	k := t.k
	k.mu.Lock()
	s := t.trace.stop
	tracer := t.trace.tracer
	t.trace.stop = nil
	k.mu.Unlock()
	t.trace.mode = mode
	switch {
	case sig == 0:
		t.trace.deliver = linux.SigInfo{}
	case s != nil && s.signal && s.info.Signo == int32(sig):
		t.trace.deliver = s.info
	case tracer != nil:
		t.trace.deliver = tracer.UserSignal(sig, linux.SI_USER)
	default:
		t.trace.deliver = KernelSignal(sig)
	}
}

// Detach is PTRACE_DETACH.
func (t *Task) Detach(tid int32, sig uint64) error {
	if sig > uint64(linux.NSIG) {
		return linux.EIO
	}
	return t.Ask(tid, func(o *Task) error {
		o.k.mu.Lock()
		o.unlinkLocked()
		o.k.mu.Unlock()
		o.clearDebug()
		o.goOn(traceCont, linux.Signal(sig))
		return nil
	})
}

// Interrupt is PTRACE_INTERRUPT, of a seized tracee only.
func (t *Task) Interrupt(tid int32) error {
	o, _, err := t.tracee(tid, true)
	if err != nil {
		return err
	}
	if !o.trace.seized {
		return linux.EIO
	}
	o.trace.trap.Store(true)
	o.wake()
	o.stir()
	return nil
}

// Listen is PTRACE_LISTEN: a tracee in a group-stop stays there, and is as if
// nobody had looked.
func (t *Task) Listen(tid int32) error {
	o, s, err := t.tracee(tid, false)
	if err != nil {
		return err
	}
	if !o.trace.seized || s.code>>8 != eventStop {
		return linux.EIO
	}
	t.k.mu.Lock()
	s.listens = true
	t.k.mu.Unlock()
	o.stir() // the group-stop may be over already
	return nil
}

// KillTracee is PTRACE_KILL.
func (t *Task) KillTracee(tid int32) error {
	o, _, err := t.tracee(tid, true)
	if err != nil {
		return err
	}
	return o.group.SendBy(t, t.UserSignal(linux.SIGKILL, linux.SI_USER))
}

// SetTraceOptions is PTRACE_SETOPTIONS.
func (t *Task) SetTraceOptions(tid int32, options uint64) error {
	o, _, err := t.tracee(tid, false)
	if err != nil {
		return err
	}
	if options&^uint64(traceOptions) != 0 {
		return linux.EINVAL
	}
	if err := t.mayTraceWith(uint32(options)); err != nil {
		return err
	}
	t.k.mu.Lock()
	o.trace.options = uint32(options)
	t.k.mu.Unlock()
	return nil
}

// adoptTracee makes a new child a tracee of its parent's tracer, if that wants it:
// before the child runs. The parent tells of it when its call is done.
func (t *Task) adoptTracee(c *Task, a *CloneArgs) {
	if !t.Traced() || a.Flags&unix.CLONE_UNTRACED != 0 {
		return
	}
	event := eventClone
	switch {
	case a.Flags&unix.CLONE_VFORK != 0:
		event = eventVfork
	case a.ExitSignal == linux.SIGCHLD:
		event = eventFork
	}
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	tr := t.trace.tracer
	if tr == nil || t.trace.options&(1<<event) == 0 && a.Flags&unix.CLONE_PTRACE == 0 {
		return
	}
	c.linkLocked(tr, t.trace.seized, t.trace.options)
	if t.trace.options&(1<<event) != 0 {
		t.trace.newborn.event, t.trace.newborn.tid = event, c.tid
	}
	if c.trace.seized {
		c.trace.trap.Store(true)
		c.attention.Store(true)
		return
	}
	c.stopFirst()
}

// stopFirst queues the SIGSTOP that a new tracee is to stop with.
func (t *Task) stopFirst() {
	t.group.sigMu.Lock()
	t.pending.add(KernelSignal(linux.SIGSTOP), nil, maxQueued)
	t.group.sigMu.Unlock()
	t.attention.Store(true)
}

// tracedByLesserLocked says whether a tracer without CAP_SYS_PTRACE watches: no program
// gains power then.
func (t *Task) tracedByLesserLocked() bool {
	tr := t.trace.tracer
	return tr != nil && !tr.Creds().HasIn(t.Creds().UserNS, linux.CAP_SYS_PTRACE)
}

// releaseTracees lets go of whom a thread traced that ends.
func (t *Task) releaseTracees() {
	k := t.k
	k.mu.Lock()
	tracees := append([]*Task(nil), t.trace.tracees...)
	k.mu.Unlock()
	for _, o := range tracees {
		k.mu.Lock()
		if o.trace.tracer != t {
			k.mu.Unlock()
			continue
		}
		kill := o.trace.options&traceExitKill != 0
		o.unlinkLocked()
		parent := o.trace.undelivered
		o.trace.undelivered = nil
		k.mu.Unlock()
		if parent != nil {
			k.announce(o.group, parent, nil)
		}
		if kill {
			o.group.SendFromOutside(KernelSignal(linux.SIGKILL))
		}
		go o.ask(func() error { o.goOn(traceCont, 0); return nil })
	}
}

// leaveTracer is for a traced thread that has ended: its tracer can wait for it.
// The first thread is its process's matter, unless another takes its place by an
// exec.
func (t *Task) leaveTracer(replaced bool) {
	if !t.Traced() {
		return
	}
	k, g := t.k, t.group
	k.mu.Lock()
	tr := t.trace.tracer
	switch {
	case tr == nil:
	case t == g.leader:
		if replaced {
			t.unlinkLocked()
		}
		tr = nil
	default:
		t.trace.dead, t.trace.status = true, t.exitCode
		if g.exiting {
			t.trace.status = g.exitStatus
		}
	}
	k.mu.Unlock()
	if tr != nil {
		tr.group.childQueue.Notify(wait.In)
	}
}
