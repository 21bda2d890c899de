package container

import (
	"fmt"
	"os"
	"sync"
	"time"

	"bulkhead/services/sentry/strace"
	"bulkhead/services/sentry/task"
)

// tracer writes a line for each system call: --strace.
type tracer struct {
	mu  sync.Mutex
	out *os.File
}

func newTracer(out *os.File) task.Tracer {
	if out == nil {
		out = os.Stderr
	}
	return &tracer{out: out}
}

type traced struct {
	call  *strace.Call
	began time.Time
}

// Enter notes a call that begins.
func (r *tracer) Enter(t *task.Task, nr uint64, args [6]uint64) any {
	return &traced{strace.Begin(t.TraceMemory(), t.TID(), nr, args), time.Now()}
}

// Exit writes the line of a call that is over.
func (r *tracer) Exit(t *task.Task, token any, result uint64, err error) {
	c := token.(*traced)
	line := c.call.End(result, err, time.Since(c.began)) + "\n"
	r.mu.Lock()
	r.out.WriteString(line)
	r.mu.Unlock()
}

// newLog gives where the kernel's own remarks go.
func newLog(out *os.File) func(string, ...any) {
	if out == nil {
		return nil
	}
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "time=%s service=sentry msg=%q\n", time.Now().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
	}
}
