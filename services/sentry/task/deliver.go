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
	ucFPState    = ucRegs + 23*8
	ucMask       = ucRegs + 256
	ucontextSize = ucMask + 8
	redZone      = 128

	ucFPXState        = 1
	ucSigcontextSS    = 2
	ucStrictRestoreSS = 4

	fpLegacySize = 512
	fpMagicOff   = 464
	fpMagic1     = 0x46505853
	maxFPState   = 16 << 10

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
	if t.waitStopped() {
		t.attention.Store(true)
		return true
	}
	g.sigMu.Lock()
	info, ok := t.pending.take(^t.mask)
	if !ok {
		info, ok = g.pending.take(^t.mask)
	}
	if !ok {
		g.sigMu.Unlock()
		return true
	}
	sig := linux.Signal(info.Signo)
	a := g.actions[sig]
	if a.Flags&linux.SA_RESETHAND != 0 && a.Handler > linux.SIG_IGN {
		g.actions[sig] = linux.SigAction{}
	}
	g.sigMu.Unlock()
	t.attention.Store(true)
	switch a.Handler {
	case linux.SIG_IGN:
		return true
	case linux.SIG_DFL:
		return t.defaultAction(sig)
	}
	t.interruptedCall(a)
	if err := t.pushFrame(info, a); err != nil {
		t.segfault(sig)
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
	case stopSignals.Has(sig):
		if sig == linux.SIGSTOP || !g.k.orphaned(g) {
			g.stop(sig)
		}
		return true
	}
	status := uint32(sig)
	g.k.kill(g, status)
	t.exit()
	return false
}

// fpState reads the processor's extended state that the host saved when the
// thread stopped.
func (t *Task) fpState() ([]byte, uint64, error) {
	frame, ok := t.th.Frame()
	if !ok {
		return nil, 0, linux.EFAULT
	}
	var ptr [8]byte
	if err := t.th.ReadArea(frame+ucFPState, ptr[:]); err != nil {
		return nil, 0, err
	}
	at := binary.LittleEndian.Uint64(ptr[:])
	buf := make([]byte, fpLegacySize, maxFPState)
	if err := t.th.ReadArea(at, buf); err != nil {
		return nil, 0, err
	}
	if n := fpSize(buf); n > fpLegacySize {
		buf = buf[:n]
		if err := t.th.ReadArea(at, buf); err != nil {
			return nil, 0, err
		}
	}
	return buf, at, nil
}

// fpSize is how long the state is whose first bytes are in p.
func fpSize(p []byte) int {
	le := binary.LittleEndian
	if le.Uint32(p[fpMagicOff:]) != fpMagic1 {
		return fpLegacySize
	}
	n := le.Uint32(p[fpMagicOff+4:])
	if n < fpLegacySize || n > maxFPState {
		return fpLegacySize
	}
	return int(n)
}

// pushFrame makes the guest go on in its handler for info.
func (t *Task) pushFrame(info linux.SigInfo, a linux.SigAction) error {
	fp, _, err := t.fpState()
	if err != nil {
		return err
	}
	regs := &t.th.Regs
	stack := t.AltStack()
	sp := regs.RSP - redZone
	if a.Flags&linux.SA_ONSTACK != 0 && t.altStack.Flags&linux.SS_DISABLE == 0 && t.altStack.Size > 0 && !t.onAltStack(regs.RSP) {
		sp = t.altStack.SP + t.altStack.Size
	}
	fpAt := (sp - uint64(len(fp))) &^ 63
	at := (fpAt-frameSize)&^15 - 8
	if t.onAltStack(fpAt) && !t.onAltStack(at) {
		return linux.EFAULT // the alternate stack is too small
	}
	buf := make([]byte, fpAt+uint64(len(fp))-at)
	le := binary.LittleEndian
	le.PutUint64(buf, a.Restorer)
	uc := buf[8:]
	le.PutUint64(uc, ucFPXState|ucSigcontextSS|ucStrictRestoreSS)
	stack.Put(uc[16:])
	putRegs(uc[ucRegs:], regs)
	le.PutUint64(uc[ucFPState:], fpAt)
	mask := t.Mask()
	if t.hasSaved {
		mask, t.hasSaved = t.savedMask, false
	}
	le.PutUint64(uc[ucMask:], uint64(mask))
	info.Put(uc[ucontextSize:])
	copy(buf[fpAt-at:], fp)
	if err := t.CopyOut(at, buf); err != nil {
		return err
	}
	regs.RDI, regs.RSI, regs.RDX = uint64(info.Signo), at+8+ucontextSize, at+8
	regs.RAX, regs.RIP, regs.RSP = 0, a.Handler, at
	regs.EFlags &^= 0x400 | 0x100 | 0x10000 // DF, TF, RF
	t.reply.dirty = true
	if t.altStack.Flags&linux.SS_AUTODISARM != 0 {
		t.altStack = linux.StackT{Flags: linux.SS_DISABLE}
	}
	block := a.Mask
	if a.Flags&linux.SA_NODEFER == 0 {
		block |= linux.SigSetOf(linux.Signal(info.Signo))
	}
	t.SetMask(t.Mask() | block)
	return nil
}

// SignalReturn is rt_sigreturn(2): the guest goes on where the handler
// interrupted it.
func (t *Task) SignalReturn() {
	regs := &t.th.Regs
	uc := make([]byte, ucontextSize)
	t.setRegs()
	if err := t.CopyIn(regs.RSP, uc); err != nil {
		t.segfault(0)
		return
	}
	le := binary.LittleEndian
	if err := t.popFPState(le.Uint64(uc[ucFPState:])); err != nil {
		t.segfault(0)
		return
	}
	getRegs(uc[ucRegs:], regs)
	t.SetMask(linux.SigSet(le.Uint64(uc[ucMask:])))
	if s := linux.ReadStackT(uc[16:]); !t.onAltStack(regs.RSP) && s.Flags&^(linux.SS_DISABLE|linux.SS_ONSTACK|linux.SS_AUTODISARM) == 0 {
		s.Flags &^= linux.SS_ONSTACK
		t.altStack = s
	}
}

// popFPState puts the extended state at addr of the guest's memory in place of
// what the host will restore.
func (t *Task) popFPState(addr uint64) error {
	if addr == 0 {
		t.th.ResetFP()
		return nil
	}
	current, at, err := t.fpState()
	if err != nil {
		return err
	}
	saved := make([]byte, len(current))
	if err := t.CopyIn(addr, saved[:fpLegacySize]); err != nil {
		return err
	}
	n := fpSize(saved)
	if n != len(current) {
		n = fpLegacySize
	} else if err := t.CopyIn(addr, saved); err != nil {
		return err
	}
	// The description of the state stays the host's own.
	copy(saved[fpMagicOff:fpLegacySize], current[fpMagicOff:fpLegacySize])
	if n == fpLegacySize {
		copy(saved[fpLegacySize:], current[fpLegacySize:])
	}
	return t.th.WriteArea(at, saved)
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
