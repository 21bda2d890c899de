package task

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
)

// This file is the debug registers of a traced thread: the breakpoints and watchpoints
// that a debugger sets by PTRACE_POKEUSER. The processor's own are not the sentry's to
// set: a thread that has some goes a step at a time, and after each the sentry looks at
// the program counter and at what is watched. That is slow, thousands of times slower
// than the program, and still faster than a debugger that steps by itself. What an
// access leaves as it was is not noticed, so that reads cannot be watched.

// debugRegs are the task's own, and its tracer's while it is stopped.
type debugRegs struct {
	addr    [4]uint64
	status  uint64 // DR6, but for the bits that always stand in it
	control uint64 // DR7
	// seen is what was at each address when the thread went on last, and at where that was.
	seen [4][8]byte
	at   uint64
}

// Bits of DR6 and DR7.
const (
	debugStatusFixed = 0xffff0ff0
	debugStep        = 1 << 14

	debugExec  = 0 // kinds, two bits for each register from bit 16 on
	debugWrite = 1
)

// Si_codes of SIGTRAP.
const (
	trapTrace      = 2
	trapBreakpoint = 4 // TRAP_HWBKPT
)

// taskSize is the end of what a guest's debugger may name, as on Linux.
const taskSize = 1<<47 - mm.PageSize

// debugSlot says what register n is for under a DR7.
func debugSlot(control uint64, n int) (kind int, length uint64, enabled bool) {
	bits := control >> (16 + 4*n) & 0xf
	return int(bits & 3), [...]uint64{1, 2, 8, 4}[bits>>2], control>>(2*n)&3 != 0
}

// checkDebug says whether the registers could be so: EINVAL. Access is watched by no step.
func checkDebug(addr [4]uint64, control uint64) error {
	for n, a := range addr {
		kind, length, enabled := debugSlot(control, n)
		if !enabled {
			continue
		}
		if kind != debugExec && kind != debugWrite || kind == debugExec && length != 1 || a&(length-1) != 0 {
			return linux.EINVAL
		}
	}
	return nil
}

// DebugRegister is debug register n of a stopped tracee.
func (t *Task) DebugRegister(n int) uint64 {
	switch d := &t.trace.debug; {
	case n < 4:
		return d.addr[n]
	case n == 6:
		return d.status ^ debugStatusFixed
	case n == 7:
		return d.control
	}
	return 0
}

// SetDebugRegister sets it: EIO for what is none, EINVAL.
func (t *Task) SetDebugRegister(n int, v uint64) error {
	d := &t.trace.debug
	addr, control := d.addr, d.control
	switch {
	case n < 4:
		if v >= taskSize {
			return linux.EINVAL
		}
		addr[n] = v
	case n == 6:
		d.status = v ^ debugStatusFixed
		return nil
	case n == 7:
		control = v
	default:
		return linux.EIO
	}
	if err := checkDebug(addr, control); err != nil {
		return err
	}
	d.addr, d.control = addr, control
	t.trace.watching = control&0xff != 0
	return nil
}

// clearDebug takes all of them back.
func (t *Task) clearDebug() { t.trace.debug, t.trace.watching = debugRegs{}, false }

// lookAround notes what is watched as it is now, for a thread that is about to go on.
func (t *Task) lookAround() {
	d := &t.trace.debug
	for n := range d.addr {
		if kind, length, enabled := debugSlot(d.control, n); enabled && kind == debugWrite {
			t.th.Process().CopyIn(d.addr[n], d.seen[n][:length])
		}
	}
	d.at = t.MM().Visible(t.th.Regs.RIP)
}

// hits are the bits of DR6 for what the last step has hit.
func (t *Task) hits() (bits uint64) {
	d := &t.trace.debug
	was, at := d.seen, d.at
	t.lookAround()
	for n := range d.addr {
		switch kind, _, enabled := debugSlot(d.control, n); {
		case !enabled:
		case kind == debugWrite && d.seen[n] != was[n], kind == debugExec && d.at == d.addr[n] && d.at != at:
			bits |= 1 << n
		}
	}
	return bits
}

// watched is for the trap that follows each step of a thread with debug registers: true
// if nobody is to hear of it. Else info says what has happened.
func (t *Task) watched(info *linux.SigInfo) bool {
	if !t.Traced() { // its tracer has ended meanwhile
		t.clearDebug()
		t.th.Regs.EFlags &^= trapFlag
		return true
	}
	bits := t.hits()
	stepping := t.trace.mode.steps()
	if bits == 0 && !stepping {
		return true
	}
	t.trace.debug.status = bits
	if stepping {
		t.trace.debug.status |= debugStep
		return false
	}
	info.Code = trapBreakpoint
	info.SetAddr(t.MM().Visible(t.th.Regs.RIP))
	return false
}

// keepWatching has a thread with debug registers go on by a step.
func (t *Task) keepWatching() {
	if !t.Traced() {
		t.clearDebug()
		return
	}
	t.trace.dirtyRegs(t)
	t.th.Regs.EFlags |= trapFlag
}

// stepsByItself says whether the trap flag is a tracer's doing, not the guest's.
func (t *Task) stepsByItself() bool { return t.trace.mode.steps() || t.trace.watching }
