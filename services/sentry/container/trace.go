package container

import (
	"fmt"
	"os"
	"sync"
	"time"

	"bulkhead/services/sentry/syscalls"
	"bulkhead/services/sentry/task"
)

// newTracer writes a line for each system call to out: --strace.
func newTracer(out *os.File) task.Tracer {
	if out == nil {
		out = os.Stderr
	}
	return syscalls.NewTracer(out)
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
