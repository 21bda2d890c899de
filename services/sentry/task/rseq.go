package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// Rseq is a thread's registration for restartable sequences: rseq(2). The host has
// it, as it is the host that preempts and moves the thread; all of its part is in
// memory that the guest may write anyway. A fork inherits it, a thread does not,
// both by the host's own rules.
type Rseq struct {
	Area            mm.Addr // 0: none
	Size, Signature uint32
}

// SetRseq remembers what the answer has the host register.
func (t *Task) SetRseq(r Rseq) {
	was := t.rseq
	t.rseq = r
	t.OnFailure(func(linux.Errno) { t.rseq = was })
}

// dropRseq orders that the host forget it, for a program that follows in the same
// host thread.
func (t *Task) dropRseq() {
	if r := t.rseq; r.Area != 0 {
		t.th.TryHostCall(unix.SYS_RSEQ, r.Area, uint64(r.Size), 1, uint64(r.Signature))
	}
	t.rseq = Rseq{}
}
