package task

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

// This file builds and takes down the frames of signal handlers, in the layout
// of struct rt_sigframe of Linux on x86-64.

const (
	frameSize    = 8 + ucontextSize + linux.SizeOfSigInfo
	ucRegs       = 40
	ucOldMask    = ucRegs + 21*8
	ucFPState    = ucRegs + 23*8
	ucMask       = ucRegs + 256
	ucontextSize = ucMask + 8
	redZone      = 128

	ucFPXState        = 1
	ucSigcontextSS    = 2
	ucStrictRestoreSS = 4

	// What a handler may not change of the flags register: all but the
	// arithmetic, direction, trap and alignment flags.
	userEFlags = 0x50dd5 | 0x8000000
)

// deliver takes one signal and carries it out; false if the task has ended. It
// leaves attention set if there may be more to do.
func (t *Task) deliver() bool {
	g := t.group
	if t.killed.Load() {
		t.exit()
		return false
	}
	if t.Traced() {
		if t.trapForTracer() || t.groupStopForTracer() {
			return true
		}
	} else if t.waitStopped() {
		t.attention.Store(true)
		return true
	}
	if t.waitFrozen() {
		t.attention.Store(true)
		return true
	}
	g.sigMu.Lock()
	mask := t.blockedLocked()
	info, ok := t.pending.take(^mask)
	if !ok {
		info, ok = g.pending.take(^mask)
	}
	g.stopDue = g.stopDue || ok // whatever a tracer makes of it
	if !ok {
		g.sigMu.Unlock()
		return true
	}
	if t.Traced() {
		g.sigMu.Unlock()
		if !t.signalForTracer(&info) {
			t.attention.Store(true)
			return true
		}
		g.sigMu.Lock()
	}
	sig := linux.Signal(info.Signo)
	a := g.handlers.action(sig)
	if a.Flags&linux.SA_RESETHAND != 0 && a.Handler > linux.SIG_IGN {
		g.handlers.set(sig, linux.SigAction{})
	}
	g.sigMu.Unlock()
	t.attention.Store(true)
	switch a.Handler {
	case linux.SIG_IGN:
		return true
	case linux.SIG_DFL:
		return t.defaultAction(sig)
	}
	if !t.readyForFrame() {
		t.died()
		return false
	}
	t.stopStepping()
	t.handler(info, a)
	if t.Traced() && t.trace.mode.steps() {
		t.stopForTracer(traceStop{code: uint32(linux.SIGTRAP), info: t.UserSignal(linux.SIGTRAP, linux.SI_USER)})
		t.redeliver()
	}
	return true
}

// segfault is what follows when a frame cannot be written or read.
func (t *Task) segfault(during linux.Signal) {
	if during == linux.SIGSEGV {
		t.group.SetAction(linux.SIGSEGV, linux.SigAction{})
	}
	t.Force(KernelSignal(linux.SIGSEGV))
}

func (t *Task) defaultAction(sig linux.Signal) bool {
	g := t.group
	switch {
	case ignored.Has(sig), sig == linux.SIGCONT:
		return true
	case g.pidNS != nil && g.isInit() && sig != linux.SIGSTOP && !g.mortal.Load():
		return true // it was blocked when it came
	case stopSignals.Has(sig):
		if sig == linux.SIGSTOP || !g.k.orphaned(g) {
			g.stop(sig)
		}
		return true
	}
	status := uint32(sig)
	t.exitForTracer(status)
	g.k.kill(g, status)
	t.exit()
	return false
}

func putRegs(p []byte, r *platform.Regs) {
	le := binary.LittleEndian
	for i, v := range [...]uint64{r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.RDI, r.RSI, r.RBP, r.RBX,
		r.RDX, r.RAX, r.RCX, r.RSP, r.RIP, r.EFlags, r.Segments, r.Err, r.TrapNo, r.OldMask, r.CR2} {
		le.PutUint64(p[8*i:], v)
	}
}

// getRegs takes what a guest may choose; the selectors stay.
func getRegs(p []byte, r *platform.Regs) {
	le := binary.LittleEndian
	for i, v := range [...]*uint64{&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15, &r.RDI, &r.RSI, &r.RBP, &r.RBX,
		&r.RDX, &r.RAX, &r.RCX, &r.RSP, &r.RIP} {
		*v = le.Uint64(p[8*i:])
	}
	r.EFlags = r.EFlags&^userEFlags | le.Uint64(p[8*17:])&userEFlags
}
