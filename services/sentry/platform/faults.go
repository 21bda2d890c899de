package platform

import (
	"encoding/binary"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// A fault of the guest's whose handler is in the slot is delivered by the stub: it
// writes the same frame that package task would, and goes on in the handler; and
// rt_sigreturn(2) from such a frame is carried out by it, on both lanes
// (fault_amd64.h). No fault is the sentry's own affair: memory is the host's to page.
// What the sentry decides, though, is asked as before:
//
//   - a thread that is traced, filtered or logged (slotAlone);
//   - a signal that has no handler, or is blocked, or is not of faultSignals, or was
//     sent by somebody; SA_RESETHAND; no SA_RESTORER; SS_AUTODISARM;
//   - a frame that does not fit, or cannot be written or read, or is not such a one
//     as this machine's: its extended state's place and description;
//   - a return that makes a pending signal deliverable, changes the alternate stack,
//     or sets the trap flag;
//   - an address in code that is not where the program thinks that it is (slotPatched).
//
// The sentry writes all this to the slot; what of it a guest makes up itself is about
// a frame on its own stack, which it could have written there as well.

// faultSignals are what the processor raises.
const faultSignals = 1<<linux.SIGILL | 1<<linux.SIGTRAP | 1<<linux.SIGBUS | 1<<linux.SIGFPE | 1<<linux.SIGSEGV

// FaultSignals are those whose action a slot holds.
var FaultSignals = [...]linux.Signal{linux.SIGILL, linux.SIGTRAP, linux.SIGBUS, linux.SIGFPE, linux.SIGSEGV}

const (
	// firstAction is the signal whose action is first in slotActions, which has places
	// for this and the next seven.
	firstAction = int(linux.SIGILL)
	numActions  = 8

	// patchedBits is how many pages slotPatched can tell apart.
	patchedBits = 512

	// frameWords is the length of a handler's frame but for the extended state, which
	// comes SigReturnState behind its ucontext; frameSigInfo is where siginfo is.
	frameWords   = (8 + 304 + linux.SizeOfSigInfo) / 8
	frameSigInfo = 8 + 304

	// frameFlags are the flags that a return from a handler sets.
	frameFlags = 0x50dd5
)

// SetAction tells the stub what one of FaultSignals does. False once the thread has let
// go of its slot. Any goroutine may call it, one at a time for all signals.
func (th *Thread) SetAction(sig linux.Signal, a linux.SigAction) bool {
	if !th.hold() {
		return false
	}
	defer th.space.mu.Unlock()
	set := th.slot.word(slotActionsSet)
	n := (atomic.LoadUint32(set) + 1) | 1
	atomic.StoreUint32(set, n)
	at := slotActions + linux.SizeofSigAction*(int(sig)-firstAction)
	for i, v := range [...]uint64{a.Handler, a.Flags, a.Restorer, uint64(a.Mask)} {
		atomic.StoreUint64(th.slot.long(at+8*i), v)
	}
	atomic.StoreUint32(set, n+1)
	return true
}

// SetDefaults tells the stub which signals have the action that a program begins with, all
// zeros: rt_sigaction(2) of one of them, if it only asks, is answered by it. As SetAction.
func (th *Thread) SetDefaults(set linux.SigSet) bool {
	if !th.hold() {
		return false
	}
	defer th.space.mu.Unlock()
	th.slot.store(slotDefault, uint64(set))
	return true
}

// SetAltStack tells the stub where handlers with SA_ONSTACK run. The thread does not
// run meanwhile.
func (th *Thread) SetAltStack(s linux.StackT) {
	th.slot.store(slotAltStack, s.SP)
	th.slot.store(slotAltStack+8, uint64(uint32(s.Flags)))
	th.slot.store(slotAltStack+16, s.Size)
}

// LastFault is what the processor said of the thread's last fault: error code, trap
// number, and address. For the thread's own goroutine, as SetLastFault.
func (th *Thread) LastFault() (err, trapNo, cr2 uint64) {
	return th.slot.load(slotLastFault), th.slot.load(slotLastFault + 8), th.slot.load(slotLastFault + 16)
}

// SetLastFault sets it.
func (th *Thread) SetLastFault(err, trapNo, cr2 uint64) {
	th.slot.store(slotLastFault, err)
	th.slot.store(slotLastFault+8, trapNo)
	th.slot.store(slotLastFault+16, cr2)
}

// beginFaults begins the words for a new thread in the slot.
func (s slot) beginFaults(m *Machine, patched *[patchedBits / 64]uint64) {
	atomic.StoreUint32(s.word(slotActionsSet), 0)
	s.store(slotDefault, 0)
	clear(s.mem[slotAltStack : slotLastFault+24])
	le := binary.LittleEndian
	for i := range fpDescribed / 8 {
		s.store(slotFPState+8*i, le.Uint64(m.fpReserved[8*i:]))
	}
	for i, v := range patched {
		atomic.StoreUint64(s.long(slotPatched+8*i), v)
	}
}

// MarkPatched says, before it becomes true, that an address in the page at page may be
// another in the program's eyes. It stays said, also of a copy of the address space,
// until ForgetPatched.
func (th *Thread) MarkPatched(page uint64) {
	s := th.space
	s.mu.Lock()
	defer s.mu.Unlock()
	bit := page / pageSize % patchedBits
	s.patched[bit/64] |= 1 << (bit % 64)
	for _, o := range s.threads {
		if o != nil && !o.dropped.Load() {
			atomic.StoreUint64(o.slot.long(slotPatched+int(bit/64)*8), s.patched[bit/64])
		}
	}
}

// ForgetPatched says that of no page any more: th, which has the address space for
// itself, is about to run another program.
func (th *Thread) ForgetPatched() {
	s := th.space
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.patched[:])
	for i := range s.patched {
		atomic.StoreUint64(th.slot.long(slotPatched+8*i), 0)
	}
}

// copyPatched has a new address space begin with what is marked in the one that it is a
// copy of.
func (s *Space) copyPatched(from *Space) {
	from.mu.Lock()
	defer from.mu.Unlock()
	s.patched = from.patched
}
