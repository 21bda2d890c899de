package syscalls

import (
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/strace"
	"bulkhead/services/sentry/task"
)

// Tracer writes every system call to a log as strace(1) would: --strace. It is a
// task.Tracer.
type Tracer struct {
	mu  sync.Mutex
	out io.Writer
}

// NewTracer writes to out, a line a call, whole lines at a time.
func NewTracer(out io.Writer) *Tracer { return &Tracer{out: out} }

// traced is a call under way.
type traced struct {
	*strace.Call
	nr    uint64
	began time.Time
}

// returns says whether call nr comes back to where it was made.
func returns(nr uint64) bool {
	switch nr {
	case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN:
		return false
	}
	return true
}

// guestMemory is a task's memory with what its answer will write to it.
type guestMemory struct{ t *task.Task }

func (m guestMemory) CopyIn(addr uint64, p []byte) error {
	if err := m.t.CopyIn(addr, p); err != nil {
		return err
	}
	m.t.Thread().Overlay(addr, p)
	return nil
}

// Enter takes note of a call before it is served. One that does not return is
// written at once.
func (r *Tracer) Enter(t *task.Task, nr uint64, args [6]uint64) any {
	c := strace.Begin(guestMemory{t}, t.TID(), nr, args)
	if !returns(nr) {
		r.write(c.Unfinished())
	}
	return &traced{c, nr, time.Now()}
}

// Exit writes a call with its result.
func (r *Tracer) Exit(t *task.Task, token any, result uint64, err error) {
	c := token.(*traced)
	if returns(c.nr) {
		r.write(c.End(result, err, time.Since(c.began)))
	}
}

func (r *Tracer) write(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	io.WriteString(r.out, line+"\n")
}

var _ task.Tracer = (*Tracer)(nil)
