package task

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/seccomp"
)

// Seccomp is a thread's mode of seccomp(2): a filter, or strict mode; nil for none.
// It does not change: a new one takes its place.
//
// What a thread does without asking the sentry escapes it, as the vDSO's calls do on
// Linux: futex(2) without priority inheritance, and sched_yield(2). The calls that
// the stub answers for others are asked about by a thread that has one.
type Seccomp struct {
	Filter *seccomp.Filter // nil: strict mode
}

// The modes as PR_GET_SECCOMP tells them.
const (
	SeccompStrict = 1
	SeccompFilter = 2
)

// Seccomp is the thread's mode and filters.
func (t *Task) Seccomp() *Seccomp { return t.seccomp.Load() }

// Mode is 0 without one.
func (s *Seccomp) Mode() int {
	switch {
	case s == nil:
		return 0
	case s.Filter == nil:
		return SeccompStrict
	}
	return SeccompFilter
}

// SetStrict is SECCOMP_SET_MODE_STRICT: EINVAL if there is a filter.
func (t *Task) SetStrict() error {
	if t.Seccomp().Mode() == SeccompFilter {
		return linux.EINVAL
	}
	t.MM().StopDelegating()
	t.seccomp.Store(&Seccomp{})
	t.askForAll()
	return nil
}

// AddFilter puts a filter before the thread's, or with all before those of every
// thread of the process, which then have the caller's: SECCOMP_FILTER_FLAG_TSYNC.
// stray is a thread that has a filter of its own, and none is set then. l, if any, is
// told of calls. EBUSY if somebody is, EINVAL, ENOMEM.
func (t *Task) AddFilter(program []seccomp.Instruction, all, logs bool, l *Listener) (stray int32, err error) {
	t.MM().StopDelegating()
	k := t.k
	k.mu.Lock() // a clone takes the filter of its parent under it
	defer k.mu.Unlock()
	mine := t.seccomp.Load()
	if mine.Mode() == SeccompStrict {
		return 0, linux.EINVAL
	}
	var before *seccomp.Filter
	if mine != nil {
		before = mine.Filter
	}
	f, err := seccomp.New(before, program)
	if err != nil {
		return 0, err
	}
	f.Logs = logs
	if l != nil {
		if listened(before) {
			return 0, linux.EBUSY
		}
		f.Listener = l
	}
	if all {
		for _, o := range t.group.tasks {
			if its := o.seccomp.Load(); its.Mode() == SeccompStrict || its != nil && !before.Descends(its.Filter) {
				return t.ShowPID(o.tid), nil
			}
		}
		for _, o := range t.group.tasks {
			if c := o.Creds(); t.Creds().NoNewPrivs && !c.NoNewPrivs {
				c = c.Clone()
				c.NoNewPrivs = true
				o.creds.Store(c)
			}
			o.seccomp.Store(&Seccomp{f})
			if th := o.host.Load(); th != nil {
				th.AnswerNothing()
			}
			o.closePockets()
		}
	}
	t.seccomp.Store(&Seccomp{f})
	t.askForAll()
	return 0, nil
}

// strictCalls are what strict mode allows.
var strictCalls = map[uint64]bool{unix.SYS_READ: true, unix.SYS_WRITE: true, unix.SYS_EXIT: true, unix.SYS_RT_SIGRETURN: true}

// screen says what becomes of a call by the thread's filters; false if it is not to be
// served: the reply is there.
func (t *Task) screen(nr *uint64, args *[6]uint64) bool {
	s := t.seccomp.Load()
	t.askForAll()
	if t.filtersSuspended() {
		return true
	}
	if s.Filter == nil {
		if t.th.Arch() == unix.AUDIT_ARCH_X86_64 && strictCalls[*nr] {
			return true
		}
		t.endThread(uint32(linux.SIGKILL))
		return false
	}
	d := seccomp.Data{Number: int32(*nr), Arch: t.th.Arch(), IP: t.MM().Visible(t.th.Regs.RIP), Args: *args}
	action, data, by := s.Filter.DecideBy(&d)
	if action == seccomp.Trace && t.Traced() {
		again, ok := t.seccompForTracer(nr, args, data)
		if !ok {
			return false
		}
		if again { // what the tracer made of it is looked at too, but not told again
			d.Number, d.Args = int32(*nr), *args
			if action, data, by = s.Filter.DecideBy(&d); action == seccomp.Trace {
				action = seccomp.Allow
			}
		}
	}
	switch action {
	case seccomp.Allow, seccomp.Log:
		return true
	case seccomp.Errno:
		t.reply.result, t.reply.err = chosen(linux.Errno(min(data, 4095)))
		return false
	case seccomp.Trap:
		t.forceSIGSYS(seccompCode, int32(data), *nr, d.IP)
		return false
	case seccomp.UserNotif:
		return t.askListener(by, &d)
	case seccomp.Trace:
		t.reply.err = linux.ENOSYS
		return false
	case seccomp.KillThread:
		t.endThread(uint32(linux.SIGSYS))
		return false
	}
	t.exitForTracer(uint32(linux.SIGSYS))
	t.k.kill(t.group, uint32(linux.SIGSYS))
	return false
}

// seccompForTracer is PTRACE_EVENT_SECCOMP, where a tracer may make another call of
// the one that is due: told says whether it wants to know at all, and ok is false if
// there is no call left.
func (t *Task) seccompForTracer(nr *uint64, args *[6]uint64, data uint16) (told, ok bool) {
	regs := &t.th.Regs
	enosys := linux.ENOSYS
	was, inCall := regs.RAX, t.trace.inCall
	t.trace.inCall, t.trace.nr = true, *nr
	regs.RAX = uint64(-int64(enosys))
	t.reply = reply{syscall: true, nr: *nr, err: enosys}
	if !t.eventForTracer(eventSeccomp, uint64(data)) {
		regs.RAX, t.trace.inCall = was, inCall
		return false, true
	}
	t.th.ForgetCopies()
	t.trace.changed = t.trace.changed || t.reply.dirty
	*nr = t.trace.nr
	*args = [6]uint64{regs.RDI, regs.RSI, regs.RDX, regs.R10, regs.R8, regs.R9}
	t.reply = reply{syscall: true, nr: *nr, result: regs.RAX}
	return true, int32(*nr) >= 0 && !t.killed.Load()
}

// chosen is the reply with an error that a filter or a listener has chosen: those by
// which the kernel has a call made again are mere numbers then.
func chosen(e linux.Errno) (result uint64, err linux.Errno) {
	if isRestart(e) {
		return -uint64(e), 0
	}
	return 0, e
}

// seccompCode is SYS_SECCOMP, the si_code of a call that a filter traps.
const seccompCode = 1

// endThread ends the thread as by a signal, and with the last one its process.
func (t *Task) endThread(status uint32) {
	t.exitForTracer(status)
	t.exitCode = status
	t.killed.Store(true)
	t.attention.Store(true)
}

// NewListener is one for a filter that is to come.
func (t *Task) NewListener(killable bool) *Listener { return &Listener{k: t.k, killable: killable} }

// askForAll has the stub answer no call itself any more.
func (t *Task) askForAll() {
	if !t.asksAll {
		t.asksAll = true
		t.keepMask()
		t.th.AnswerNothing()
		t.closePockets()
	}
}

// answersItself says whether the stub may answer calls for the thread.
func (t *Task) answersItself() bool {
	return t.k != nil && t.k.Trace == nil && t.seccomp.Load() == nil && t.dispatch.Load() == nil
}

// answersAlone says whether it does. A guest can write to the slot's word for that, which does not
// do on its own. For the thread's own goroutine.
func (t *Task) answersAlone() bool {
	return t.th.MayAnswerAlone() && t.answersItself() && !t.Traced()
}
