package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// Rseq is a thread's registration for restartable sequences: rseq(2). The host has
// it, as it is the host that preempts and moves the thread; all of its part is in
// memory that the guest may write anyway. A fork inherits it, a thread does not,
// both by the host's own rules. What it is lies in the slot, since the stub has the
// host register it too.
type Rseq struct {
	Area            mm.Addr // 0: none
	Size, Signature uint32
}

// SetRseq remembers what the answer has the host register.
func (t *Task) SetRseq(r Rseq) {
	area, size, signature := t.th.Rseq()
	t.th.SetRseq(r.Area, r.Size, r.Signature)
	t.OnFailure(func(linux.Errno) { t.th.SetRseq(area, size, signature) })
}

// dropRseq orders that the host forget it, for a program that follows in the same
// host thread.
func (t *Task) dropRseq() {
	area, size, signature := t.th.Rseq()
	if area != 0 && area < mm.GuestTop && uint64(size) <= mm.GuestTop-area {
		t.th.TryHostCall(unix.SYS_RSEQ, area, uint64(size), 1, uint64(signature))
	}
	t.th.SetRseq(0, 0, 0)
}
