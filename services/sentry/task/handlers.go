package task

import (
	"slices"
	"sync"
	"unsafe"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/platform"
)

// handlers are what signals do. Processes made with CLONE_SIGHAND share them until
// one of them executes a program; so they have a lock of their own, after any
// Group's sigMu.
type handlers struct {
	mu    sync.Mutex
	table [linux.NSIG + 1]linux.SigAction
	// told are the threads whose stubs know the actions of platform.FaultSignals.
	told map[*platform.Thread]struct{}
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
	if !slices.Contains(platform.FaultSignals[:], sig) {
		return
	}
	for th := range h.told {
		if !th.SetAction(sig, a) {
			delete(h.told, th)
		}
	}
}

// tell has the thread's stub know what is done with faults, until forget.
func (h *handlers) tell(th *platform.Thread) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told == nil {
		h.told = map[*platform.Thread]struct{}{}
	}
	h.told[th] = struct{}{}
	for _, sig := range platform.FaultSignals {
		th.SetAction(sig, h.table[sig])
	}
}

func (h *handlers) forget(th *platform.Thread) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.told, th)
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
