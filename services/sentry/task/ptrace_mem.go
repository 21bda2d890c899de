package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// PeekTracee reads a stopped tracee's memory, whatever its protection: EIO where
// there is none.
func (t *Task) PeekTracee(tid int32, addr mm.Addr, p []byte) error {
	return t.Ask(tid, func(o *Task) error { return o.peek(addr, p) })
}

// PokeTracee writes to a stopped tracee's memory, also to code: a breakpoint.
func (t *Task) PokeTracee(tid int32, addr mm.Addr, p []byte) error {
	return t.Ask(tid, func(o *Task) error { return o.poke(addr, p) })
}

// peek and poke run on the stopped task's own goroutine.
func (t *Task) peek(addr mm.Addr, p []byte) error {
	if t.th.Process().CopyIn(addr, p) != nil {
		err := t.unprotected(addr, len(p), unix.PROT_READ, func() error { return t.th.Process().CopyIn(addr, p) })
		if err != nil {
			return linux.EIO
		}
	}
	t.MM().OriginalBytes(addr, p)
	return nil
}

func (t *Task) poke(addr mm.Addr, p []byte) error {
	if t.th.Process().CopyOut(addr, p) == nil {
		return nil
	}
	if t.unprotected(addr, len(p), unix.PROT_READ|unix.PROT_WRITE, func() error { return t.th.Process().CopyOut(addr, p) }) != nil {
		return linux.EIO
	}
	return nil
}

// ReadMemory is Peek as /proc/PID/mem has it: the bytes are the program's own, and
// if m is the memory of t and that is stopped for a tracer, whatever the protection.
func (t *Task) ReadMemory(m Memory, addr mm.Addr, p []byte) int {
	n := m.Peek(addr, p)
	if n == 0 && t.traceStopped() && len(p) > 0 {
		k := min(len(p), int(mm.PageSize-addr%mm.PageSize))
		own := make([]byte, k)
		if t.askIn(m, func() error { return t.peek(addr, own) }) == nil {
			n = copy(p, own)
		}
	}
	return n
}

// WriteMemory writes all of p, as /proc/PID/mem does: also to where a thread that
// is stopped for a tracer may not write itself. EFAULT.
func (t *Task) WriteMemory(m Memory, addr mm.Addr, p []byte) error {
	switch {
	case m.Poke(addr, p) == len(p):
		return nil
	case t.traceStopped():
		return t.askIn(m, func() error { return t.poke(addr, p) })
	}
	return linux.EFAULT
}

// askIn is ask, as long as m is the task's memory.
func (t *Task) askIn(m Memory, f func() error) error {
	return t.ask(func() error {
		if t.MM() != m.space {
			return linux.EFAULT
		}
		return f()
	})
}

// traceStopped says whether the task is stopped for its tracer.
func (t *Task) traceStopped() bool {
	if !t.Traced() {
		return false
	}
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return t.trace.stop != nil
}

// unprotected runs f while the pages of [addr, addr+n) have more protection
// bits: a private mapping then gets pages of its own, as on Linux. A shared
// mapping that cannot be written is left alone: EIO.
func (t *Task) unprotected(addr mm.Addr, n int, more uint8, f func() error) error {
	space := t.MM()
	if t.killed.Load() || space == nil || addr >= mm.GuestTop || uint64(n) > mm.GuestTop-addr {
		return linux.EIO
	}
	start, end := mm.PageDown(addr), mm.PageUp(addr+uint64(n))
	type change struct {
		start, end mm.Addr
		prot       uint8
	}
	var changes []change
	for at := start; at < end; at += mm.PageSize {
		r, ok := space.Find(at)
		if !ok || r.Shared && more&unix.PROT_WRITE != 0 && r.Prot&unix.PROT_WRITE == 0 {
			return linux.EIO
		}
		changes = append(changes, change{at, at + mm.PageSize, r.Prot})
	}
	for _, c := range changes {
		t.th.HostCall(unix.SYS_MPROTECT, c.start, c.end-c.start, uint64(c.prot|more))
	}
	err := t.carryOut()
	switch err {
	case nil:
		err = f()
	case linux.ESRCH:
		return err // the host's process is gone
	}
	for _, c := range changes {
		t.th.TryHostCall(unix.SYS_MPROTECT, c.start, c.end-c.start, uint64(c.prot))
	}
	if e := t.carryOut(); err == nil {
		err = e
	}
	return err
}
