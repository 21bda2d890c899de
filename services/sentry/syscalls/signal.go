package syscalls

import (
	"encoding/binary"
	"slices"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// sendTo sends a signal to a process if the caller may: EINVAL, EPERM, ESRCH.
func sendTo(t *task.Task, g *task.Group, info linux.SigInfo) error {
	sig := linux.Signal(info.Signo)
	if sig != 0 && !sig.Valid() {
		return linux.EINVAL
	}
	if !t.MaySignal(g, sig) {
		return linux.EPERM
	}
	if sig == 0 || g.Zombie() {
		return nil
	}
	return g.SendBy(t, info)
}

// kill sends a signal to a process, a process group, or everybody: kill(2).
func kill(t *task.Task, pid int32, sig linux.Signal) (uint64, error) {
	if sig != 0 && !sig.Valid() {
		return 0, linux.EINVAL
	}
	info := t.UserSignal(sig, linux.SI_USER)
	k := t.Kernel()
	var targets func() []*task.Group
	switch {
	case pid > 0:
		g := t.NamedGroup(pid)
		if g == nil {
			o := t.Named(pid)
			if o == nil {
				return 0, linux.ESRCH
			}
			g = o.Group()
		}
		return 0, sendTo(t, g, info)
	case pid == -1:
		targets = func() []*task.Group {
			return slices.DeleteFunc(k.Groups(), func(g *task.Group) bool { return t.ShowPID(g.PID()) <= 1 || g == t.Group() })
		}
	case pid == 0:
		targets = func() []*task.Group { return k.ProcessGroup(t.Group().PGID()) }
	default:
		targets = func() []*task.Group { return k.ProcessGroup(t.PIDOf(-pid)) }
	}
	err := error(linux.ESRCH)
	sent := false
	k.ToMany(targets, func(g *task.Group) {
		if e := sendTo(t, g, info); e == nil {
			sent = true
		} else {
			err = e
		}
	})
	if sent {
		return 0, nil
	}
	return 0, err
}

func tkill(t *task.Task, tid int32, sig linux.Signal) (uint64, error) {
	if tid <= 0 {
		return 0, linux.EINVAL
	}
	return 0, sendThread(t, 0, tid, t.UserSignal(sig, linux.SI_TKILL))
}

func tgkill(t *task.Task, tgid, tid int32, sig linux.Signal) (uint64, error) {
	if tgid <= 0 || tid <= 0 {
		return 0, linux.EINVAL
	}
	return 0, sendThread(t, tgid, tid, t.UserSignal(sig, linux.SI_TKILL))
}

func sendThread(t *task.Task, tgid, tid int32, info linux.SigInfo) error {
	sig := linux.Signal(info.Signo)
	if sig != 0 && !sig.Valid() {
		return linux.EINVAL
	}
	o := t.Named(tid)
	if o == nil || tgid != 0 && o.TGID() != t.PIDOf(tgid) {
		return linux.ESRCH
	}
	if !t.MaySignal(o.Group(), sig) {
		return linux.EPERM
	}
	if sig == 0 {
		return nil
	}
	return o.SendBy(t, info)
}

// copyInSigInfo reads a siginfo that a guest made up. EPERM if it poses as the
// kernel's: rt_sigqueueinfo(2).
func copyInSigInfo(t *task.Task, addr mm.Addr, sig linux.Signal) (linux.SigInfo, error) {
	buf := make([]byte, linux.SizeOfSigInfo)
	if err := t.CopyIn(addr, buf); err != nil {
		return linux.SigInfo{}, err
	}
	info := linux.ReadSigInfo(buf)
	info.Signo = int32(sig)
	return info, nil
}

func mayPose(t *task.Task, tgid int32, info linux.SigInfo) bool {
	return info.Code < 0 && info.Code != linux.SI_TKILL || t.PIDOf(tgid) == t.TGID()
}

func rt_sigqueueinfo(t *task.Task, tgid int32, sig linux.Signal, addr mm.Addr) (uint64, error) {
	info, err := copyInSigInfo(t, addr, sig)
	if err != nil {
		return 0, err
	}
	if !mayPose(t, tgid, info) {
		return 0, linux.EPERM
	}
	g := t.NamedGroup(tgid)
	if g == nil {
		return 0, linux.ESRCH
	}
	return 0, sendTo(t, g, info)
}

func rt_tgsigqueueinfo(t *task.Task, tgid, tid int32, sig linux.Signal, addr mm.Addr) (uint64, error) {
	info, err := copyInSigInfo(t, addr, sig)
	if err != nil {
		return 0, err
	}
	if tgid <= 0 || tid <= 0 {
		return 0, linux.EINVAL
	}
	if !mayPose(t, tgid, info) {
		return 0, linux.EPERM
	}
	return 0, sendThread(t, tgid, tid, info)
}

// rt_sigaction changes what a signal does: sigaction(2).
func rt_sigaction(t *task.Task, sig linux.Signal, act, old mm.Addr, size uint64) (uint64, error) {
	if size != linux.SizeofSigSet {
		return 0, linux.EINVAL
	}
	var buf [linux.SizeofSigAction]byte
	if act != 0 {
		if err := t.CopyIn(act, buf[:]); err != nil {
			return 0, err
		}
	}
	if !sig.Valid() || act != 0 && (sig == linux.SIGKILL || sig == linux.SIGSTOP) {
		return 0, linux.EINVAL
	}
	var was linux.SigAction
	if act != 0 {
		a := linux.ReadSigAction(buf[:])
		a.Flags &= linux.SA_KNOWN // so that a program can find out: sigaction(2), SA_UNSUPPORTED
		was = t.Group().SetAction(sig, a)
	} else {
		was = t.Group().Action(sig)
	}
	if old != 0 {
		var buf [linux.SizeofSigAction]byte
		was.Put(buf[:])
		return 0, t.CopyOutLater(old, buf[:])
	}
	return 0, nil
}

func copyInSigSet(t *task.Task, addr mm.Addr) (linux.SigSet, error) {
	var buf [linux.SizeofSigSet]byte
	err := t.CopyIn(addr, buf[:])
	return linux.SigSet(binary.LittleEndian.Uint64(buf[:])), err
}

func copyOutSigSet(t *task.Task, addr mm.Addr, set linux.SigSet) error {
	var buf [linux.SizeofSigSet]byte
	binary.LittleEndian.PutUint64(buf[:], uint64(set))
	return t.CopyOutLater(addr, buf[:])
}

// rt_sigprocmask changes which signals are blocked: sigprocmask(2).
func rt_sigprocmask(t *task.Task, how int32, set, old mm.Addr, size uint64) (uint64, error) {
	if size != linux.SizeofSigSet {
		return 0, linux.EINVAL
	}
	was := t.Mask()
	if set != 0 {
		s, err := copyInSigSet(t, set)
		if err != nil {
			return 0, err
		}
		switch how {
		case linux.SIG_BLOCK:
			s = was | s
		case linux.SIG_UNBLOCK:
			s = was &^ s
		case linux.SIG_SETMASK:
		default:
			return 0, linux.EINVAL
		}
		t.SetMask(s)
	}
	if old != 0 {
		return 0, copyOutSigSet(t, old, was)
	}
	return 0, nil
}

func rt_sigpending(t *task.Task, set mm.Addr, size uint64) (uint64, error) {
	if size > linux.SizeofSigSet {
		return 0, linux.EINVAL
	}
	own, group := t.PendingSignals()
	return 0, copyOutSigSet(t, set, (own|group)&t.Mask())
}

// rt_sigsuspend waits for a signal with another mask: sigsuspend(2).
func rt_sigsuspend(t *task.Task, set mm.Addr, size uint64) (uint64, error) {
	if size != linux.SizeofSigSet {
		return 0, linux.EINVAL
	}
	s, err := copyInSigSet(t, set)
	if err != nil {
		return 0, err
	}
	t.SetTempMask(s)
	return pause(t)
}

// pause waits for a signal: pause(2).
func pause(t *task.Task) (uint64, error) {
	t.Sleep(nil, time.Time{})
	return 0, linux.ERESTARTNOHAND
}

// rt_sigtimedwait takes a pending signal, or waits for one: sigwaitinfo(2).
func rt_sigtimedwait(t *task.Task, set, info, timeout mm.Addr, size uint64) (uint64, error) {
	if size != linux.SizeofSigSet {
		return 0, linux.EINVAL
	}
	s, err := copyInSigSet(t, set)
	if err != nil {
		return 0, err
	}
	var deadline time.Time
	if timeout != 0 {
		ts, err := copyInTimespec(t, timeout)
		if err != nil {
			return 0, err
		}
		deadline = time.Now().Add(duration(ts))
	}
	s &^= linux.SigSetOf(linux.SIGKILL, linux.SIGSTOP)
	t.WaitFor(s)
	defer t.WaitFor(0)
	for {
		if si, ok := t.DequeueSignal(s); ok {
			if info != 0 {
				buf := make([]byte, linux.SizeOfSigInfo)
				si.Put(buf)
				if err := t.CopyOutLater(info, buf); err != nil {
					return 0, err
				}
			}
			return uint64(si.Signo), nil
		}
		switch err := t.Sleep(nil, deadline); err {
		case linux.ETIMEDOUT:
			return 0, linux.EAGAIN
		case linux.ERESTARTSYS:
			if own, group := t.PendingSignals(); (own|group)&s == 0 {
				return 0, linux.EINTR
			}
		}
	}
}

func rt_sigreturn(t *task.Task) (uint64, error) {
	t.SignalReturn()
	return 0, nil
}

func restart_syscall(t *task.Task) (uint64, error) { return t.Restart() }

// sigaltstack sets the stack for handlers: sigaltstack(2).
func sigaltstack(t *task.Task, set, old mm.Addr) (uint64, error) {
	was := t.AltStack()
	if set != 0 {
		var buf [linux.SizeofStackT]byte
		if err := t.CopyIn(set, buf[:]); err != nil {
			return 0, err
		}
		if err := t.SetAltStack(linux.ReadStackT(buf[:])); err != nil {
			return 0, err
		}
	}
	if old != 0 {
		var buf [linux.SizeofStackT]byte
		was.Put(buf[:])
		return 0, t.CopyOutLater(old, buf[:])
	}
	return 0, nil
}
