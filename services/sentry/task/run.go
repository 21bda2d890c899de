package task

import (
	"runtime"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// reply is what the guest is about to get.
type reply struct {
	syscall bool   // the guest stopped for a system call that is not yet answered
	nr      uint64 // of the call
	result  uint64
	err     linux.Errno // 0: result counts
	dirty   bool        // the registers changed: all of them go back
}

// run is the task's goroutine: serve what the thread stops for, until it ends.
func (t *Task) run() {
	for {
		t.awaitRequest()
		ev := t.th.Next()
		t.state.Store(inKernel)
		t.seePockets()
		t.seeTrial()
		t.seeAhead(ev.Kind != platform.Syscall || t.th.Regs.RAX != unix.SYS_MMAP)
		if ev.Kind != platform.CallFailed {
			t.took = took{}
			t.frames = t.frames[:0]
			t.trace.inCall = false
		}
		switch ev.Kind {
		case platform.Syscall:
			if !t.th.Fast() && !t.Traced() {
				t.MM().Trapped(t.th)
			}
			t.serve()
		case platform.CallFailed:
			t.callFailed(ev)
		case platform.Fault:
			t.reply = reply{dirty: false}
			t.fault(ev.Fault)
		case platform.Kicked, platform.Ready:
			t.reply = reply{}
			t.attention.Store(true) // the stub may have unblocked what nobody kicked it for
		case platform.Died:
			t.died()
			return
		}
		t.lend()
		if !t.resume() {
			return
		}
		if t.gaveBirth {
			// The child's goroutine goes first, on this very thread: it would be
			// taken over by another only after a while.
			t.gaveBirth = false
			runtime.Gosched()
		}
	}
}

// serve answers a system call.
func (t *Task) serve() {
	regs := &t.th.Regs
	nr := regs.RAX
	args := [6]uint64{regs.RDI, regs.RSI, regs.RDX, regs.R10, regs.R8, regs.R9}
	t.orders = t.orders[:0]
	t.reply = reply{syscall: true, nr: nr}
	if d := t.dispatch.Load(); d != nil && t.dispatched(d, nr) {
		return
	}
	if t.th.Arch() != unix.AUDIT_ARCH_X86_64 {
		if t.seccomp.Load() == nil || t.screen(&nr, &args) {
			t.reply.err = linux.ENOSYS // int 0x80: no 32-bit calls here
		}
		return
	}
	if t.Traced() && !t.enterTraced(&nr, &args) {
		t.leaveTraced(nr)
		return
	}
	if t.seccomp.Load() != nil && !t.screen(&nr, &args) {
		if t.Traced() {
			t.leaveTraced(nr)
		}
		return
	}
	var result uint64
	var err error
	if t.k.Trace != nil {
		token := t.k.Trace.Enter(t, nr, args)
		result, err = t.k.Syscall(t, nr, args)
		t.k.Trace.Exit(t, token, result, err)
	} else {
		result, err = t.k.Syscall(t, nr, args)
	}
	vfs.SettleOwners()
	t.reply.result = result
	if err != nil {
		errno, ok := err.(linux.Errno)
		if !ok {
			errno = linux.EIO
		}
		t.reply.err = errno
	}
	if t.Traced() {
		t.leaveTraced(nr)
	}
}

// OnFailure registers what to undo if a host call of this answer fails.
func (t *Task) OnFailure(undo func(linux.Errno)) { t.orders = append(t.orders, undo) }

// took is what was read for the call being served, and where it goes: read(2).
type took struct {
	file  *vfs.File
	addr  uint64
	bytes []byte
	fixed bool // at a position that was given
}

// Took notes that p was read from f, and is to go to addr with the answer: what there is no
// memory for goes back.
func (t *Task) Took(f *vfs.File, addr uint64, p []byte, fixed bool) { t.took = took{f, addr, p, fixed} }

// untake gives back what the guest has no memory for, and says how much it got: of a file with
// positions as much as there is memory for, of others nothing.
func (t *Task) untake() (got int) {
	k := &t.took
	if k.file.Positioned() {
		got = t.th.Process().CopyOutPartial(k.addr, k.bytes)
	}
	if !k.fixed {
		k.file.Unread(t, k.bytes[got:])
	}
	t.took = took{}
	return got
}

// callFailed undoes what the answer promised.
func (t *Task) callFailed(ev platform.Event) {
	if t.frameFailed(ev) {
		return
	}
	for _, undo := range t.orders {
		undo(ev.Err)
	}
	t.orders = t.orders[:0]
	if t.reply.dirty || !t.reply.syscall {
		t.k.logf("pid %d: a host call of an answer that cannot fail did: %v", t.tid, ev.Err)
		t.k.kill(t.group, uint32(linux.SIGKILL))
		return
	}
	if t.took.file != nil {
		if n := t.untake(); n > 0 {
			t.reply.result = uint64(n)
			return
		}
	}
	t.reply.err = ev.Err
}

// fault turns a host signal into the guest's.
func (t *Task) fault(f platform.FaultInfo) {
	info := linux.SigInfo{Signo: int32(f.Signal), Code: f.Code}
	info.SetAddr(f.Addr)
	if !f.Signal.Valid() || !synchronous.Has(f.Signal) {
		info = KernelSignal(linux.SIGSEGV)
	}
	if t.trace.watching && f.Signal == linux.SIGTRAP && f.Code == trapTrace && t.watched(&info) {
		return
	}
	regs := &t.th.Regs
	t.th.SetLastFault(regs.Err, regs.TrapNo, regs.CR2)
	t.Force(info)
}

// resume delivers what is to be delivered and lets the guest go on; false if
// the task has ended.
func (t *Task) resume() bool {
	for {
		for t.attention.Swap(false) {
			if !t.deliver() {
				return false
			}
		}
		if t.hasSaved {
			t.hasSaved = false
			t.SetMask(t.savedMask)
			if t.attention.Load() {
				continue
			}
		}
		t.state.Store(inUser)
		if !t.attention.Load() {
			break
		}
		t.state.Store(inKernel)
	}
	if t.trace.watching {
		t.keepWatching()
	}
	if t.reply.syscall && !t.reply.dirty {
		if !isRestart(t.reply.err) {
			t.th.Return(t.reply.value())
			return true
		}
		t.again()
	}
	t.th.Resume()
	return true
}

// value is the reply as it stands in RAX.
func (r *reply) value() uint64 {
	if r.err != 0 {
		return uint64(-int64(r.err))
	}
	return r.result
}

func isRestart(e linux.Errno) bool {
	switch e {
	case linux.ERESTARTSYS, linux.ERESTARTNOINTR, linux.ERESTARTNOHAND, linux.ERESTART_RESTARTBLOCK:
		return true
	}
	return false
}

// again sets the registers so that the guest makes its call once more.
func (t *Task) again() {
	t.th.Regs.RIP -= 2
	t.th.Regs.RAX = t.reply.nr
	if t.reply.err == linux.ERESTART_RESTARTBLOCK {
		t.th.Regs.RAX = unix.SYS_RESTART_SYSCALL
	}
	t.reply.dirty, t.reply.syscall = true, false
}

// interruptedCall settles a call that a handler interrupts: its registers are
// what the handler returns to.
func (t *Task) interruptedCall(a linux.SigAction) {
	if !t.reply.syscall {
		t.interruptedFutex(a)
		return
	}
	switch e := t.reply.err; {
	case e == linux.ERESTARTNOINTR, e == linux.ERESTARTSYS && a.Flags&linux.SA_RESTART != 0:
		t.again()
	case isRestart(e):
		t.reply.err = linux.EINTR
		fallthrough
	default:
		t.th.Regs.RAX = t.reply.value()
		t.reply.dirty, t.reply.syscall = true, false
	}
}

// interruptedFutex is for a native futex wait that a kick interrupted: the host
// has made it ready to be restarted, which a handler without SA_RESTART must not
// see, nor any if there is a timeout.
func (t *Task) interruptedFutex(a linux.SigAction) {
	regs := &t.th.Regs
	switch regs.RAX {
	case unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_FUTEX_WAIT:
	default:
		return
	}
	if t.reply.dirty {
		return
	}
	timed := regs.RAX == unix.SYS_FUTEX && regs.R10 != 0
	if a.Flags&linux.SA_RESTART != 0 && !timed {
		return
	}
	var code [2]byte
	if t.th.Process().CopyIn(regs.RIP, code[:]) == nil && code == [2]byte{0x0f, 0x05} && regs.RCX == regs.RIP+2 {
		regs.RAX = (&reply{err: linux.EINTR}).value()
		regs.RIP += 2
	}
}

// Thread is the host's side of the task; for its own goroutine only.
func (t *Task) Thread() *platform.Thread { return t.th }

// SetRestart says how restart_syscall(2) goes on with the call that returns
// ERESTART_RESTARTBLOCK.
func (t *Task) SetRestart(f func() (uint64, error)) { t.restart = f }

// Restart is restart_syscall(2).
func (t *Task) Restart() (uint64, error) {
	f := t.restart
	if f == nil {
		return 0, linux.EINTR
	}
	t.restart = nil
	return f()
}

// SyscallError is for a handler that has set all registers: rt_sigreturn.
func (t *Task) setRegs() {
	t.reply.dirty, t.reply.syscall = true, false
}
