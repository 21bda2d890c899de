package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
)

// UserRegsSize is the size of struct user_regs_struct: PTRACE_GETREGS.
const UserRegsSize = 27 * 8

// Where in struct user_regs_struct what stands that is not copied as it is.
const (
	userRAX   = 10 * 8
	userOrig  = 15 * 8
	userRIP   = 16 * 8
	userCS    = 17 * 8
	userFlags = 18 * 8
	userSS    = 20 * 8
	userFS    = 21 * 8
	userGS    = 22 * 8
)

// userOrder is the order of the general registers in user_regs_struct; nil is
// filled in otherwise.
func userOrder(r *platform.Regs) [20]*uint64 {
	return [20]*uint64{&r.R15, &r.R14, &r.R13, &r.R12, &r.RBP, &r.RBX, &r.R11, &r.R10, &r.R9, &r.R8,
		nil, &r.RCX, &r.RDX, &r.RSI, &r.RDI, nil, nil, nil, nil, &r.RSP}
}

// UserRegs is a stopped tracee's registers: PTRACE_GETREGS.
func (t *Task) UserRegs() ([]byte, error) {
	p := make([]byte, UserRegsSize)
	le := binary.LittleEndian
	r := t.th.Regs
	for i, v := range userOrder(&r) {
		if v != nil {
			le.PutUint64(p[8*i:], *v)
		}
	}
	le.PutUint64(p[userRAX:], t.shownRAX())
	orig := ^uint64(0)
	if t.trace.inCall || t.reply.syscall {
		orig = t.trace.nr
		if !t.trace.inCall {
			orig = t.reply.nr
		}
	}
	le.PutUint64(p[userOrig:], orig)
	rip := t.MM().Visible(r.RIP)
	le.PutUint64(p[userRIP:], rip)
	le.PutUint64(p[userCS:], 0x33)
	le.PutUint64(p[userFlags:], r.EFlags)
	le.PutUint64(p[userSS:], 0x2b)
	fs, err := t.segmentBase(0x1003) // ARCH_GET_FS
	if err != nil {
		return nil, err
	}
	gs, err := t.GSBase()
	if err != nil {
		return nil, err
	}
	le.PutUint64(p[userFS:], fs)
	le.PutUint64(p[userGS:], gs)
	return p, nil
}

// shownRAX is RAX as a tracer sees it.
func (t *Task) shownRAX() uint64 {
	if t.reply.syscall && !t.reply.dirty {
		return t.reply.value()
	}
	return t.th.Regs.RAX
}

// segmentBase asks the host's thread.
func (t *Task) segmentBase(code uint64) (uint64, error) {
	w, addr := t.th.Scratch(8)
	if w == nil {
		return 0, linux.EIO
	}
	t.th.HostCall(unix.SYS_ARCH_PRCTL, code, addr)
	if err := t.carryOut(); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(w), nil
}

// GSBase is the base of GS as the guest has set it; 0 if it is the stub's own.
func (t *Task) GSBase() (uint64, error) {
	base, err := t.segmentBase(0x1004) // ARCH_GET_GS
	if base >= mm.GuestTop {
		base = 0
	}
	return base, err
}

// carryOut has what was ordered of a stopped task done now.
func (t *Task) carryOut() error {
	end := t.th.Orders()
	t.th.Sync()
	t.th.Return(0)
	switch ev := t.th.NextDue(); {
	case ev.Kind != platform.CallFailed:
		t.k.kill(t.group, uint32(linux.SIGKILL))
		return linux.ESRCH
	case ev.Op != end:
		return ev.Err
	}
	return nil
}

// SetUserRegs is PTRACE_SETREGS: EIO for what no guest can have.
func (t *Task) SetUserRegs(p []byte) error {
	le := binary.LittleEndian
	was, err := t.UserRegs()
	if err != nil {
		return err
	}
	fs, gs, rip := le.Uint64(p[userFS:]), le.Uint64(p[userGS:]), le.Uint64(p[userRIP:])
	if fs >= mm.GuestTop || gs >= mm.GuestTop {
		return linux.EIO
	}
	changed := func(at int) bool { return le.Uint64(p[at:]) != le.Uint64(was[at:]) }
	r := &t.th.Regs
	for i, v := range userOrder(r) {
		if v != nil {
			*v = le.Uint64(p[8*i:])
		}
	}
	r.EFlags = r.EFlags&^userEFlags | le.Uint64(p[userFlags:])&userEFlags
	if changed(userRIP) {
		r.RIP = t.MM().Actual(rip)
	}
	// A call that is to be made again is, unless its result or number changes.
	if !t.reply.syscall || !isRestart(t.reply.err) || changed(userRAX) || changed(userOrig) || changed(userRIP) {
		r.RAX = le.Uint64(p[userRAX:])
		t.trace.nr = le.Uint64(p[userOrig:])
		t.reply.dirty, t.reply.syscall, t.reply.err = true, false, 0
	}
	if changed(userFS) {
		t.th.HostCall(unix.SYS_ARCH_PRCTL, 0x1002, fs)
		return t.carryOut()
	}
	return nil
}

// fpState gives where the processor's state of a stopped tracee lies.
func (t *Task) fpState() (uint64, error) {
	frame, ok := t.th.Frame()
	if !ok {
		return 0, linux.EIO
	}
	var p [8]byte
	err := t.th.ReadArea(frame+ucFPState, p[:])
	return binary.LittleEndian.Uint64(p[:]), err
}

// FPRegs is PTRACE_GETFPREGS, and with extended NT_X86_XSTATE: the processor's
// state as XSAVE lays it out, with the mask of what the system has where the
// kernel keeps its own words.
func (t *Task) FPRegs(extended bool) ([]byte, error) {
	at, err := t.fpState()
	if err != nil {
		return nil, err
	}
	n := platform.FPLegacySize
	if extended && t.k.Machine.FPSize > platform.FPLegacySize {
		n = int(t.k.Machine.FPSize) - 4
	}
	p := make([]byte, n)
	if err := t.th.ReadArea(at, p); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	mask := le.Uint64(p[platform.FPReserved+8:])
	clear(p[platform.FPReserved:platform.FPLegacySize])
	if extended {
		le.PutUint64(p[platform.FPReserved:], mask)
	}
	return p, nil
}

// SetFPRegs is PTRACE_SETFPREGS; p may be the extended state.
func (t *Task) SetFPRegs(p []byte) error {
	at, err := t.fpState()
	if err != nil {
		return err
	}
	if len(p) < platform.FPLegacySize || len(p) > int(t.k.Machine.FPSize) {
		return linux.EINVAL
	}
	if err := t.th.WriteArea(at, p[:platform.FPReserved]); err != nil {
		return err
	}
	if len(p) > platform.FPLegacySize {
		return t.th.WriteArea(at+platform.FPLegacySize, p[platform.FPLegacySize:min(len(p), int(t.k.Machine.FPSize)-4)])
	}
	// The legacy registers are in use now.
	var used [8]byte
	if t.k.Machine.FPSize == platform.FPLegacySize || t.th.ReadArea(at+platform.FPLegacySize, used[:]) != nil {
		return nil
	}
	used[0] |= 3
	return t.th.WriteArea(at+platform.FPLegacySize, used[:])
}

// StopInfo is PTRACE_GETSIGINFO of a stopped tracee; EINVAL in a group-stop.
func (t *Task) StopInfo(tid int32) (linux.SigInfo, error) {
	_, s, err := t.tracee(tid, false)
	switch {
	case err != nil:
		return linux.SigInfo{}, err
	case s.group && s.info.Signo == 0:
		return linux.SigInfo{}, linux.EINVAL
	}
	return s.info, nil
}

// SetStopInfo is PTRACE_SETSIGINFO.
func (t *Task) SetStopInfo(tid int32, info linux.SigInfo) error {
	return t.Ask(tid, func(o *Task) error {
		o.k.mu.Lock()
		defer o.k.mu.Unlock()
		s := o.trace.stop
		if s == nil || s.group {
			return linux.EINVAL
		}
		s.info = info
		return nil
	})
}

// EventMessage is PTRACE_GETEVENTMSG.
func (t *Task) EventMessage(tid int32) (message uint64, err error) {
	err = t.Ask(tid, func(o *Task) error { message = o.trace.event; return nil })
	return message, err
}
