package task

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

// A handler's frame is written by the guest's own thread, before it goes on:
// the answer orders it, and no memory of the guest is touched from here. Such an
// order can fail, after the task has changed its mind about everything; so each
// notes how it was before.

// before is a task's state before a frame was pushed or popped.
type before struct {
	order    int // of the answer: the first of the frame's
	regs     platform.Regs
	reply    reply
	mask     linux.SigSet
	saved    linux.SigSet
	hasSaved bool
	altStack linux.StackT

	// The signal and its action; info.Signo is 0 for a frame that was popped.
	info   linux.SigInfo
	action linux.SigAction
}

// ordersOfFrame is how many orders a frame takes at most.
const ordersOfFrame = 7

// note remembers the task's state for the frame that follows.
func (t *Task) note(info linux.SigInfo, a linux.SigAction) {
	t.frames = append(t.frames, before{
		order: t.th.Orders(), regs: t.th.Regs, reply: t.reply, mask: t.Mask(),
		saved: t.savedMask, hasSaved: t.hasSaved, altStack: t.altStack, info: info, action: a,
	})
}

// readyForFrame sees to it that the thread's extended state can go into a frame,
// and that the answer has room for what is ordered. Calls that the answer holds may
// fail over it. False if the thread has died.
func (t *Task) readyForFrame() bool {
	if !t.th.LiveFP() && !t.onTrapLane() {
		return false
	}
	for t.th.OrdersLeft() < 3*ordersOfFrame || t.th.Window(2*frameSize) == nil {
		if !t.carryOutEarly() {
			return false
		}
	}
	return true
}

// onTrapLane takes the thread there, if it called by the fast lane. False if it has
// died.
func (t *Task) onTrapLane() bool {
	for t.th.Fast() {
		if ev, ok := t.th.Upgrade(); ok {
			t.orders = t.orders[:0]
		} else if !t.failedEarly(ev) {
			return false
		}
	}
	return true
}

// carryOutEarly has done what the answer holds so far. False if the thread died.
func (t *Task) carryOutEarly() bool {
	end := t.th.Orders()
	t.th.Sync()
	t.th.Return(0)
	ev := t.th.NextDue()
	if ev.Kind == platform.CallFailed && ev.Op == end {
		t.orders, t.frames = t.orders[:0], t.frames[:0]
		return true
	}
	return t.failedEarly(ev)
}

// failedEarly deals with a call that failed before the answer was complete:
// false if the thread died.
func (t *Task) failedEarly(ev platform.Event) bool {
	if ev.Kind != platform.CallFailed {
		return false
	}
	t.callFailed(ev)
	return true
}

// handler makes the guest go on in its handler for info.
func (t *Task) handler(info linux.SigInfo, a linux.SigAction) {
	t.note(info, a)
	t.interruptedCall(a)
	if err := t.pushFrame(info, a); err != nil {
		t.undoFrames(len(t.frames) - 1)
		t.segfault(linux.Signal(info.Signo))
	}
}

// undoFrames takes the task back to where it was before frame i.
func (t *Task) undoFrames(i int) {
	b := &t.frames[i]
	t.th.Regs, t.reply = b.regs, b.reply
	t.savedMask, t.hasSaved = b.saved, b.hasSaved
	t.useAltStack(b.altStack)
	t.SetMask(b.mask)
	t.frames = t.frames[:i]
}

// frameFailed is for an answer that held frames and a host call of which failed:
// false if there was none, and the call's own reply is to change. What was
// ordered before the failed one has been done, and nothing after it.
func (t *Task) frameFailed(ev platform.Event) bool {
	if len(t.frames) == 0 {
		return false
	}
	frames := append([]before(nil), t.frames...)
	failed := -1
	for i := range frames {
		if frames[i].order <= ev.Op {
			failed = i
		}
	}
	t.undoFrames(max(failed, 0))
	t.frames = t.frames[:0]
	if failed >= 0 {
		t.segfault(linux.Signal(frames[failed].info.Signo))
		return true
	}
	// The call failed that the signals interrupted: they are yet to come.
	for _, undo := range t.orders {
		undo(ev.Err)
	}
	t.orders = t.orders[:0]
	t.reply.err = ev.Err
	for _, b := range frames {
		t.handler(b.info, b.action)
	}
	return true
}

// pushFrame writes the frame of a handler for info, and has the registers enter
// it.
func (t *Task) pushFrame(info linux.SigInfo, a linux.SigAction) error {
	if a.Flags&linux.SA_RESTORER == 0 {
		return linux.EFAULT // as Linux: there is nowhere to return to
	}
	regs := &t.th.Regs
	fpAt, at, err := t.placeFrame(a)
	if err != nil {
		return err
	}
	buf := t.th.Window(frameSize)
	if buf == nil {
		return linux.EFAULT
	}
	clear(buf)
	le := binary.LittleEndian
	le.PutUint64(buf, a.Restorer)
	uc := buf[8:]
	le.PutUint64(uc, ucFPXState|ucSigcontextSS|ucStrictRestoreSS)
	t.altStack.Put(uc[16:])
	seen := *regs
	seen.RIP, seen.RCX = t.MM().Visible(regs.RIP), t.MM().Visible(regs.RCX)
	seen.Err, seen.TrapNo, seen.CR2 = t.th.LastFault() // also when another signal has come since
	putRegs(uc[ucRegs:], &seen)
	le.PutUint64(uc[ucFPState:], fpAt)
	mask := t.Mask()
	if t.hasSaved {
		mask, t.hasSaved = t.savedMask, false
	}
	le.PutUint64(uc[ucMask:], uint64(mask))
	le.PutUint64(uc[ucOldMask:], uint64(mask))
	info.Put(uc[ucontextSize:])
	if !t.th.KeepFlags(8+ucRegs+17*8) || !t.th.CopyWindow(at, frameSize) || !t.th.SaveFP(fpAt) || !t.th.ResetFP() {
		return linux.EFAULT
	}
	regs.RDI, regs.RSI, regs.RDX = uint64(info.Signo), at+8+ucontextSize, at+8
	regs.RAX, regs.RIP, regs.RSP = 0, a.Handler, at
	regs.EFlags &^= 0x400 | 0x100 | 0x10000 // DF, TF, RF
	t.reply.dirty = true
	if t.altStack.Flags&linux.SS_AUTODISARM != 0 {
		t.useAltStack(linux.StackT{Flags: linux.SS_DISABLE})
	}
	block := a.Mask
	if a.Flags&linux.SA_NODEFER == 0 {
		block |= linux.SigSetOf(linux.Signal(info.Signo))
	}
	t.SetMask(t.Mask() | block)
	return nil
}

// placeFrame decides where a handler's frame goes: its extended state, and the
// rest below it.
func (t *Task) placeFrame(a linux.SigAction) (fpAt, at uint64, err error) {
	rsp := t.th.Regs.RSP
	sp := rsp - redZone
	bounded := t.onAltStack(rsp)
	s := t.altStack
	if a.Flags&linux.SA_ONSTACK != 0 && s.Flags&linux.SS_DISABLE == 0 && s.Size > 0 && !bounded {
		sp, bounded = s.SP+s.Size, true
	}
	fpAt = (sp - uint64(t.k.Machine.FPSize)) &^ 63
	at = (fpAt-frameSize)&^15 - 8
	if bounded && (at <= s.SP || at-s.SP > s.Size) {
		return 0, 0, linux.EFAULT // the alternate stack is too small
	}
	return fpAt, at, nil
}

// SignalReturn is rt_sigreturn(2): the guest goes on where the handler
// interrupted it.
func (t *Task) SignalReturn() {
	if !t.th.LiveFP() && !t.onTrapLane() {
		return
	}
	regs := &t.th.Regs
	t.note(linux.SigInfo{}, linux.SigAction{})
	t.setRegs()
	var frame [platform.SigReturnSize]byte
	uc, sp := frame[:platform.SigReturnState], regs.RSP
	if t.th.CopyIn(sp, frame[:]) != nil && t.th.CopyIn(sp, uc) != nil {
		t.segfault(0)
		return
	}
	// As on Linux, what follows finds the thread where the handler interrupted it,
	// even if the extended state cannot be restored.
	le := binary.LittleEndian
	getRegs(uc[ucRegs:], regs)
	t.th.KnowFlags()
	regs.RIP = t.MM().Actual(regs.RIP)
	t.SetMask(linux.SigSet(le.Uint64(uc[ucMask:])))
	last := &t.frames[len(t.frames)-1]
	last.regs, last.reply, last.mask = *regs, t.reply, t.Mask()
	if !t.orderFP(le.Uint64(uc[ucFPState:]), sp+platform.SigReturnState, frame[platform.SigReturnState:]) {
		t.th.ResetFP()
		t.segfault(0)
		return
	}
	t.SetAltStack(linux.ReadStackT(uc[16:])) // what cannot be is passed over
}

// orderFP orders that the extended state at addr be what the guest goes on with.
// Zero is the state of a new program. legacy is the first part of what is at seen.
func (t *Task) orderFP(addr, seen uint64, legacy []byte) bool {
	if addr == 0 {
		return t.th.ResetFP()
	}
	if addr != seen && t.CopyIn(addr, legacy) != nil { // a frame that the guest has moved, or made
		return false
	}
	return t.th.LoadFP(addr, legacy[platform.FPReserved:])
}
