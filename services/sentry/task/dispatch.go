package task

import "bulkhead/proto/linux"

// Dispatch is where a thread's calls must come from to be served: PR_SET_SYSCALL_USER_DISPATCH
// of prctl(2). From elsewhere they are as the byte at Selector says, if there is one.
// It is no boundary, as it is none on Linux: what a thread does without asking the
// sentry, futex(2) and sched_yield(2), escapes it.
type Dispatch struct {
	Start, Len uint64 // as unsigned numbers that may go round
	Selector   uint64 // 0: none, and all others raise SIGSYS
}

// What the selector may say.
const (
	dispatchAllow = 0
	dispatchBlock = 1
)

// dispatchCode is SYS_USER_DISPATCH, the si_code of a call that is given back.
const dispatchCode = 2

// SetDispatch sets it, nil for none. A child does not have it, nor a new program.
func (t *Task) SetDispatch(d *Dispatch) {
	old := t.dispatch.Swap(d)
	if d != nil {
		t.askForAll() // from the next call on
	} else if old != nil && t.answersItself() {
		t.asksAll = false
		t.tellSelf()
	}
}

// dispatched says whether the call nr is given back to the guest, as a signal.
func (t *Task) dispatched(d *Dispatch, nr uint64) bool {
	t.askForAll()
	ip := t.MM().Visible(t.th.Regs.RIP)
	if ip-d.Start < d.Len {
		return false
	}
	if d.Selector != 0 {
		var b [1]byte
		if t.CopyIn(d.Selector, b[:]) != nil {
			t.exitForTracer(uint32(linux.SIGSEGV))
			t.k.kill(t.group, uint32(linux.SIGSEGV))
			return true
		}
		switch b[0] {
		case dispatchAllow:
			return false
		case dispatchBlock:
		default:
			t.exitForTracer(uint32(linux.SIGSYS))
			t.k.kill(t.group, uint32(linux.SIGSYS))
			return true
		}
	}
	t.forceSIGSYS(dispatchCode, 0, nr, ip)
	return true
}

// forceSIGSYS has the thread get SIGSYS in place of the call, from which it comes back
// with the call's number in RAX.
func (t *Task) forceSIGSYS(code, errno int32, nr, ip uint64) {
	info := linux.SigInfo{Signo: int32(linux.SIGSYS), Errno: errno, Code: code}
	info.SetAddr(ip)
	info.SetSyscall(int32(nr), t.th.Arch())
	t.th.Regs.RAX = nr
	t.setRegs()
	t.Force(info)
}
