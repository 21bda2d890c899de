package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// This is what a tracer asks about a stopped thread's system call and about how its
// calls are watched otherwise.

// SyscallInfoSize is the size of struct ptrace_syscall_info.
const SyscallInfoSize = 88

// Where it has what, in bytes.
const (
	infoReserved = 1
	infoFlags    = 2
	infoArch     = 4
	infoIP       = 8
	infoSP       = 16
	infoCall     = 24 // the number and six arguments, or the result and whether it is an error
	infoData     = 80 // of a filter
)

// callArguments are where a call's arguments are in struct user_regs_struct.
var callArguments = [6]int{14 * 8, 13 * 8, 12 * 8, 7 * 8, 9 * 8, 8 * 8}

// SyscallInfo is struct ptrace_syscall_info, as much of it as the stop fills:
// PTRACE_GET_SYSCALL_INFO.
func (t *Task) SyscallInfo(tid int32) (p []byte, err error) {
	_, s, err := t.tracee(tid, false)
	if err != nil {
		return nil, err
	}
	err = t.Ask(tid, func(o *Task) error {
		r := &o.th.Regs
		le := binary.LittleEndian
		p = make([]byte, infoCall, SyscallInfoSize)
		p[0] = s.op
		le.PutUint32(p[infoArch:], unix.AUDIT_ARCH_X86_64)
		le.PutUint64(p[infoIP:], o.MM().Visible(r.RIP))
		le.PutUint64(p[infoSP:], r.RSP)
		switch s.op {
		case syscallEntry, syscallSeccomp:
			for _, v := range [...]uint64{o.trace.nr, r.RDI, r.RSI, r.RDX, r.R10, r.R8, r.R9} {
				p = le.AppendUint64(p, v)
			}
			if s.op == syscallSeccomp {
				p = le.AppendUint32(p, uint32(o.trace.event))
			}
		case syscallExit:
			v := o.shownRAX()
			p = le.AppendUint64(p, v)
			p = append(p, byte(b2i(v >= ^uint64(4094))))
		}
		return nil
	})
	return p, err
}

// SetSyscallInfo is PTRACE_SET_SYSCALL_INFO with a whole struct: EINVAL for another kind of
// stop, ERANGE.
func (t *Task) SetSyscallInfo(tid int32, p []byte) error {
	le := binary.LittleEndian
	if p[infoReserved] != 0 || le.Uint16(p[infoFlags:]) != 0 {
		return linux.EINVAL
	}
	_, s, err := t.tracee(tid, false)
	if err != nil {
		return err
	}
	if p[0] != s.op {
		return linux.EINVAL
	}
	first := le.Uint64(p[infoCall:])
	switch s.op {
	case syscallEntry, syscallSeccomp:
		if int64(first) != int64(int32(first)) {
			return linux.ERANGE
		}
	case syscallExit:
	default:
		return linux.EINVAL
	}
	return t.Ask(tid, func(o *Task) error {
		regs, err := o.UserRegs()
		if err != nil {
			return err
		}
		if s.op == syscallExit {
			le.PutUint64(regs[userRAX:], first)
			return o.SetUserRegs(regs)
		}
		le.PutUint64(regs[userOrig:], first)
		for i, at := range callArguments {
			if int32(first) != -1 {
				copy(regs[at:at+8], p[infoCall+8+8*i:])
			}
		}
		return o.SetUserRegs(regs)
	})
}

// RseqConfiguration is struct ptrace_rseq_configuration of a stopped thread:
// PTRACE_GET_RSEQ_CONFIGURATION.
func (t *Task) RseqConfiguration() ([]byte, error) {
	area, size, signature := t.th.Rseq()
	le := binary.LittleEndian
	p := le.AppendUint64(nil, area)
	p = le.AppendUint32(p, size)
	p = le.AppendUint32(p, signature)
	return le.AppendUint64(p, 0), nil
}

// DispatchConfiguration is struct ptrace_sud_config of a stopped thread:
// PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG.
func (t *Task) DispatchConfiguration() ([]byte, error) {
	var mode uint64
	var d Dispatch
	if set := t.dispatch.Load(); set != nil {
		mode, d = 1, *set
	}
	var p []byte
	for _, v := range [...]uint64{mode, d.Selector, d.Start, d.Len} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	return p, nil
}

// mayTraceWith says whether a tracer may have options: to suspend filters only who could
// do without, and has none itself. EPERM.
func (t *Task) mayTraceWith(options uint32) error {
	if options&traceSuspend == 0 {
		return nil
	}
	if !t.Creds().Has(linux.CAP_SYS_ADMIN) || t.Seccomp() != nil || t.filtersSuspended() {
		return linux.EPERM
	}
	return nil
}

// filtersSuspended says whether the thread's tracer has its filters not asked.
func (t *Task) filtersSuspended() bool {
	if !t.Traced() {
		return false
	}
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return t.trace.tracer != nil && t.trace.options&traceSuspend != 0
}
