package platform

import "sync/atomic"

// The stub answers rt_sigprocmask(2) on the fast lane, when nothing becomes
// deliverable by it. For that the thread's mask is in the slot, and nowhere else:
// the stub changes it while the thread is in the guest, the sentry while it serves
// the thread. Beside it are the signals that may be pending, which the sentry sets
// before it looks at the mask, as the stub changes the mask before it looks at
// them; both with a full fence, so that one of the two sees that a signal is to be
// delivered. The stub then has the thread stop with a Kicked event, after the call.
//
// A guest that writes to either word deceives nobody but itself.

// sigUnknown, in the place of SIGKILL's bit among the pending signals, says that
// the stub must ask.
const sigUnknown = 1 << 8

// sigUnblockable are SIGKILL and SIGSTOP, which are never in a mask.
const sigUnblockable = 1<<8 | 1<<18

// ShareSignals has the stub answer rt_sigprocmask from now on.
func (th *Thread) ShareSignals(mask, pending uint64) {
	if !th.hold() {
		return
	}
	atomic.StoreUint64(th.slot.long(slotSigMask), mask)
	atomic.StoreUint64(th.slot.long(slotSigPending), pending&^sigUnblockable)
	th.space.mu.Unlock()
}

// SignalMask is the thread's mask, which a guest may have made up; false once the
// thread has let go of its slot. Any goroutine may call it.
func (th *Thread) SignalMask() (mask uint64, ok bool) {
	if !th.hold() {
		return 0, false
	}
	defer th.space.mu.Unlock()
	return atomic.LoadUint64(th.slot.long(slotSigMask)), true
}

// MayBePending adds to the signals that the thread must ask about before it
// unblocks them. Whoever calls it looks at SignalMask afterwards.
func (th *Thread) MayBePending(set uint64) {
	if !th.hold() {
		return
	}
	defer th.space.mu.Unlock()
	word := th.slot.long(slotSigPending)
	for {
		old := atomic.LoadUint64(word)
		if atomic.CompareAndSwapUint64(word, old, old|set&^sigUnblockable) {
			return
		}
	}
}
