package syscalls

import (
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// answer is memory for a struct that goes to the guest: its window, where that
// has room, so that nothing is copied twice or allocated.
type answer struct {
	bytes  []byte
	window bool
}

// newAnswer makes room for n bytes, which the caller fills before copyOut. One
// is used before the next is made.
func newAnswer(t *task.Task, n int) answer {
	if w := t.Window(n); w != nil {
		return answer{w, true}
	}
	return answer{make([]byte, n), false}
}

// copyOut copies the answer to addr, or EFAULT.
func (a answer) copyOut(t *task.Task, addr mm.Addr) error {
	if a.window {
		return t.CommitWindow(addr, len(a.bytes))
	}
	return t.CopyOut(addr, a.bytes)
}
