package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// stopForTracer stops the task until its tracer resumes it, or it is killed. The
// answer that is due is carried out as far as it goes before, so that the tracer
// sees the memory as the guest will. False if the task has died.
func (t *Task) stopForTracer(s traceStop) bool {
	if !t.Traced() || t.killed.Load() {
		return true
	}
	if !t.settleForTracer() {
		return false
	}
	k, g := t.k, t.group
	t.th.Regs.EFlags &^= trapFlag * uint64(b2i(t.stepsByItself()))
	k.mu.Lock()
	tr := t.trace.tracer
	if tr == nil {
		k.mu.Unlock()
		return true
	}
	t.trace.stop, t.trace.resumed = &s, make(chan struct{})
	resumed, requests := t.trace.resumed, t.trace.requests
	k.mu.Unlock()
	if tr.group.Action(linux.SIGCHLD).Flags&linux.SA_NOCLDSTOP == 0 {
		info := g.childSignal(tr.group, linux.SIGCHLD, linux.CLD_TRAPPED, int32(s.code&0xff))
		info.SetPID(tr.ShowPID(t.tid))
		tr.group.Send(info)
	}
	tr.group.childQueue.Notify(wait.In)
	t.shed()
	t.th.Patience()
	t.state.Store(sleeping)
	t.rest()
	for {
		k.mu.Lock()
		done := t.trace.stop == nil
		if t.killed.Load() {
			t.trace.stop, done = nil, true
			t.trace.deliver = linux.SigInfo{}
		}
		relisten := !done && s.group && t.trace.stop.listens && (t.trace.trap.Load() || !g.Stopped())
		if relisten {
			t.trace.stop, done = nil, true
			t.trace.deliver = linux.SigInfo{}
			t.trace.trap.Store(true)
		}
		if done {
			close(resumed)
		}
		k.mu.Unlock()
		if done {
			break
		}
		select {
		case f := <-requests:
			f()
		case <-t.interrupt:
		}
	}
	t.state.Store(inKernel)
	t.endRest()
	t.attention.Store(true)
	if t.trace.watching && t.Traced() {
		t.lookAround()
	}
	if t.trace.mode.steps() && t.Traced() {
		t.th.Regs.EFlags |= trapFlag
		t.trace.dirtyRegs(t)
	}
	return true
}

const trapFlag = 0x100

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// dirtyRegs has all registers go back with the answer. A call that is to be made
// again is settled when a signal's action is known.
func (tr *traced) dirtyRegs(t *Task) {
	if t.reply.syscall && !isRestart(t.reply.err) {
		t.th.Regs.RAX = t.reply.value()
		t.reply.dirty, t.reply.syscall = true, false
	}
}

// settleForTracer has the host calls of the answer made, and sees to it that the
// host has a frame of the thread. False if the thread has died.
func (t *Task) settleForTracer() bool {
	if !t.onTrapLane() {
		return false
	}
	for t.th.Orders() > 0 {
		if !t.carryOutEarly() {
			return false
		}
	}
	t.MM().StayOriginal(t.th)
	t.MM().Settled(t.th)
	return true
}

// groupStopForTracer is a tracee's part of a group-stop: true if it has stopped.
func (t *Task) groupStopForTracer() bool {
	g := t.group
	g.sigMu.Lock()
	stopped, instance, sig := g.stopped, g.resumed, g.stopSignal
	g.sigMu.Unlock()
	if !stopped || !t.Traced() || t.trace.passed == instance {
		return false
	}
	t.k.mu.RLock()
	seized := t.trace.seized
	t.k.mu.RUnlock()
	s := traceStop{code: uint32(sig), group: true}
	if seized {
		s.code |= eventStop << 8
	}
	t.trace.event = 0
	t.stopForTracer(s)
	if t.Traced() && !t.trace.trap.Load() {
		t.trace.passed = instance
	}
	return true
}

// trapForTracer is PTRACE_INTERRUPT's stop, and the first one of a seized
// tracee's child: true if the task has stopped.
func (t *Task) trapForTracer() bool {
	if !t.trace.trap.Swap(false) || !t.Traced() {
		return false
	}
	s := traceStop{code: uint32(linux.SIGTRAP) | eventStop<<8}
	s.info = linux.SigInfo{Signo: int32(linux.SIGTRAP), Code: int32(s.code)}
	t.trace.event = 0
	t.stopForTracer(s)
	return true
}

// signalForTracer is a signal-delivery-stop: what the tracer makes of info. False
// if there is nothing left of it.
func (t *Task) signalForTracer(info *linux.SigInfo) bool {
	t.trace.event = 0
	if !t.stopForTracer(traceStop{code: uint32(info.Signo), info: *info, signal: true}) {
		return true
	}
	if !t.Traced() && t.trace.deliver.Signo == 0 || t.killed.Load() {
		return false
	}
	*info = t.trace.deliver
	t.trace.deliver = linux.SigInfo{}
	sig := linux.Signal(info.Signo)
	if sig == 0 {
		return false
	}
	t.group.sigMu.Lock()
	defer t.group.sigMu.Unlock()
	if t.blockedLocked().Has(sig) {
		t.pending.add(*info, nil, maxQueued)
		t.noticeLocked(sig)
		return false
	}
	return true
}

// eventForTracer is a stop for what option event stands for, if the tracer wants
// it.
func (t *Task) eventForTracer(event int, message uint64) bool {
	t.k.mu.RLock()
	wanted := t.trace.tracer != nil && t.trace.options&(1<<event) != 0
	t.k.mu.RUnlock()
	if !wanted {
		return false
	}
	t.trace.event = message
	s := traceStop{code: uint32(linux.SIGTRAP) | uint32(event)<<8}
	if event == eventSeccomp {
		s.op = syscallSeccomp
	}
	s.info = linux.SigInfo{Signo: int32(linux.SIGTRAP), Code: int32(s.code)}
	s.info.SetPID(t.Number())
	s.info.SetUID(t.Creds().UID)
	t.stopForTracer(s)
	t.redeliver()
	return true
}

// redeliver sends the task the signal that its tracer resumed it with from a stop
// that was not for a signal.
func (t *Task) redeliver() {
	if info := t.trace.deliver; info.Signo != 0 {
		t.trace.deliver = linux.SigInfo{}
		t.Send(info)
	}
}

// The kinds of PTRACE_GET_SYSCALL_INFO.
const (
	syscallNone    = 0
	syscallEntry   = 1
	syscallExit    = 2
	syscallSeccomp = 3
)

// callStop stops at a system call's entry or exit.
func (t *Task) callStop(op byte) {
	t.k.mu.RLock()
	good := t.trace.options&traceSysGood != 0
	t.k.mu.RUnlock()
	s := traceStop{code: uint32(linux.SIGTRAP)}
	if good { // else it is any trap, of which nobody can tell
		s.code, s.op = s.code|0x80, op
	}
	s.info = linux.SigInfo{Signo: int32(linux.SIGTRAP), Code: int32(s.code)}
	s.info.SetPID(t.Number())
	t.trace.event = uint64(op)
	t.stopForTracer(s)
	t.redeliver()
}

// enterTraced is a traced thread's system call before it is served: which one,
// with what. False if there is none to serve: the answer is in RAX.
func (t *Task) enterTraced(nr *uint64, args *[6]uint64) bool {
	regs := &t.th.Regs
	t.trace.inCall, t.trace.nr = true, *nr
	emulated := t.trace.mode.emulates()
	if t.trace.mode != traceSyscall && !emulated {
		return true
	}
	enosys := linux.ENOSYS
	regs.RAX = uint64(-int64(enosys))
	t.reply = reply{syscall: true, nr: *nr, err: enosys}
	t.callStop(syscallEntry)
	t.th.ForgetCopies()
	t.trace.changed = t.reply.dirty
	*nr = t.trace.nr
	*args = [6]uint64{regs.RDI, regs.RSI, regs.RDX, regs.R10, regs.R8, regs.R9}
	t.reply = reply{syscall: true, nr: *nr, result: regs.RAX}
	return int32(*nr) != -1 && !emulated && !t.killed.Load()
}

// leaveTraced is the end of a traced thread's call: what it has led to, and its
// exit.
func (t *Task) leaveTraced(nr uint64) {
	if t.killed.Load() {
		return
	}
	if b := t.trace.newborn; b.event != 0 {
		t.trace.newborn.event = 0
		if t.settleForTracer() && t.reply.err == 0 && b.event != eventVfork {
			t.eventForTracer(b.event, uint64(t.tracerSees(b.tid)))
		}
	}
	if (nr == unix.SYS_EXECVE || nr == unix.SYS_EXECVEAT) && t.reply.dirty && t.reply.err == 0 {
		if !t.eventForTracer(eventExec, uint64(t.tracerSees(t.tid))) {
			t.k.mu.RLock()
			plain := t.trace.tracer != nil && !t.trace.seized && t.trace.options&traceExec == 0
			t.k.mu.RUnlock()
			if plain {
				t.Send(t.UserSignal(linux.SIGTRAP, linux.SI_USER))
			}
		}
	}
	if t.trace.changed {
		t.trace.changed = false
		t.trace.dirtyRegs(t)
	}
	switch t.trace.mode {
	case traceSyscall:
		t.callStop(syscallExit)
	case traceStep:
		// The processor's own trap would come one instruction later.
		info := linux.SigInfo{Signo: int32(linux.SIGTRAP), Code: trapBreak}
		info.SetAddr(t.MM().Visible(t.th.Regs.RIP))
		t.Force(info)
	}
}

// trapBreak is TRAP_BRKPT: what Linux says of a step over a system call.
const trapBreak = 1

// vforkForTracer tells of a vfork's child, before its parent waits for it, and
// that it has let go, after.
func (t *Task) vforkForTracer() (done func()) {
	b := t.trace.newborn
	t.trace.newborn.event = 0
	if !t.Traced() {
		return func() {}
	}
	tid := t.tracerSees(b.tid)
	if b.event == eventVfork {
		t.eventForTracer(eventVfork, uint64(tid))
	}
	return func() { t.eventForTracer(eventVforkDone, uint64(tid)) }
}

// exitForTracer is PTRACE_EVENT_EXIT.
func (t *Task) exitForTracer(status uint32) {
	if t.Traced() {
		t.eventForTracer(eventExit, uint64(status))
	}
}

// stopStepping takes the trap flag of a stepping tracer away: a handler's frame
// has none.
func (t *Task) stopStepping() {
	if t.stepsByItself() {
		t.th.Regs.EFlags &^= trapFlag
	}
}
