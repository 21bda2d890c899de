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
	// told are the threads whose stubs know the actions of platform.FaultSignals, and which of all
	// signals have none.
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
	was := h.table[sig]
	h.table[sig] = a
	if (was == linux.SigAction{}) != (a == linux.SigAction{}) {
		set := h.defaultsLocked()
		for th := range h.told {
			if !th.SetDefaults(set) {
				delete(h.told, th)
			}
		}
	}
	if !slices.Contains(platform.FaultSignals[:], sig) {
		return
	}
	for th := range h.told {
		if !th.SetAction(sig, a) {
			delete(h.told, th)
		}
	}
}

// defaultsLocked are the signals whose action is as a program finds it.
func (h *handlers) defaultsLocked() (set linux.SigSet) {
	for sig := linux.Signal(1); sig <= linux.NSIG; sig++ {
		if h.table[sig] == (linux.SigAction{}) {
			set |= linux.SigSetOf(sig)
		}
	}
	return set
}

// tell has the thread's stub know what is done with signals, until forget.
func (h *handlers) tell(th *platform.Thread) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.told == nil {
		h.told = map[*platform.Thread]struct{}{}
	}
	h.told[th] = struct{}{}
	th.SetDefaults(h.defaultsLocked())
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
