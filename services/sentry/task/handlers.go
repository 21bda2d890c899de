package task

import (
	"sync"
	"unsafe"

	"bulkhead/proto/linux"
)

// handlers are what signals do. Processes made with CLONE_SIGHAND share them until
// one of them executes a program; so they have a lock of their own, after any
// Group's sigMu.
type handlers struct {
	mu    sync.Mutex
	table [linux.NSIG + 1]linux.SigAction
}

func (h *handlers) action(sig linux.Signal) linux.SigAction {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.table[sig]
}

func (h *handlers) set(sig linux.Signal, a linux.SigAction) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.table[sig] = a
}

// fork is a copy.
func (h *handlers) fork() *handlers {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &handlers{table: h.table}
}

// Handlers is the same for processes that share what signals do: KCMP_SIGHAND.
func (g *Group) Handlers() unsafe.Pointer {
	g.sigMu.Lock()
	defer g.sigMu.Unlock()
	return unsafe.Pointer(g.handlers)
}
