package tty

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Job is what a terminal has to know about a process that uses it.
type Job struct {
	PID, PGID, SID int32
	// Terminal is its controlling terminal, or nil.
	Terminal *Terminal
	// Orphaned says that its process group is: setpgid(2). Such a group is
	// never stopped by a terminal.
	Orphaned bool
}

// Leader says that the process leads its session.
func (j Job) Leader() bool { return j.PID != 0 && j.PID == j.SID }

// Processes is the process table as terminals use it. Its methods are called
// without any lock of this package held, except Job, GroupSession, SetTerminal
// and ClearTerminal, which may not call back.
type Processes interface {
	// Job tells about the calling process; the zero Job for the kernel itself.
	Job(ctx vfs.Context) Job
	// Ignores says that the calling thread blocks sig or its process ignores it.
	Ignores(ctx vfs.Context, sig int32) bool
	// Number is what the caller calls a process group or a session, 0 for none that it
	// sees, and ID is what it means by a number.
	Number(ctx vfs.Context, id int32) int32
	ID(ctx vfs.Context, number int32) int32
	// GroupSession gives the session that a process group belongs to.
	GroupSession(pgid int32) (sid int32, ok bool)
	// SetTerminal gives the calling process t for its controlling terminal; nil
	// takes it away.
	SetTerminal(ctx vfs.Context, t *Terminal)
	// ClearTerminal takes the controlling terminal from all of a session.
	ClearTerminal(sid int32)
	// SignalGroup sends sig to a process group, as the kernel.
	SignalGroup(pgid, sig int32)
	// SignalProcess sends sig to one process, as the kernel.
	SignalProcess(pid, sig int32)
}

// Device is the terminal itself.
type Device interface {
	// OpenTerminal opens it once more: /dev/tty.
	OpenTerminal(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error)
	// Hangup cuts off everyone who has it open: vhangup(2).
	Hangup()
}

// Terminal is the job control of one terminal.
type Terminal struct {
	// Rdev is its device number, as /proc/PID/stat's tty_nr tells it.
	Rdev uint64

	device Device
	procs  Processes

	mu struct {
		sync.Mutex
		session    int32 // that it controls, or 0
		foreground int32 // process group, or 0
	}
}

// NewTerminal gives device its job control. procs may be nil: then there is none.
func NewTerminal(device Device, rdev uint64, procs Processes) *Terminal {
	return &Terminal{Rdev: rdev, device: device, procs: procs}
}

// Device is what t stands for.
func (t *Terminal) Device() Device { return t.device }

// Session is the session that t controls, or 0.
func (t *Terminal) Session() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.session
}

// number is what the caller calls an id.
func (t *Terminal) number(ctx vfs.Context, id int32) int32 {
	if t.procs == nil {
		return id
	}
	return t.procs.Number(ctx, id)
}

// Foreground is the process group in the foreground, or 0: tpgid.
func (t *Terminal) Foreground() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.foreground
}

func (t *Terminal) job(ctx vfs.Context) Job {
	if t.procs == nil {
		return Job{}
	}
	return t.procs.Job(ctx)
}

// Acquire makes t the caller's controlling terminal: TIOCSCTTY. steal takes it
// from another session, with CAP_SYS_ADMIN.
func (t *Terminal) Acquire(ctx vfs.Context, steal bool) error {
	job := t.job(ctx)
	t.mu.Lock()
	if job.Leader() && t.mu.session == job.SID {
		t.mu.Unlock()
		return nil
	}
	if !job.Leader() || job.Terminal != nil {
		t.mu.Unlock()
		return linux.EPERM
	}
	robbed := t.mu.session
	if robbed != 0 && !(steal && ctx.Creds().Has(linux.CAP_SYS_ADMIN)) {
		t.mu.Unlock()
		return linux.EPERM
	}
	t.mu.session, t.mu.foreground = job.SID, job.PGID
	t.mu.Unlock()
	if robbed != 0 {
		t.procs.ClearTerminal(robbed)
	}
	t.procs.SetTerminal(ctx, t)
	return nil
}

// AcquireOnOpen is what open(2) without O_NOCTTY does: a session leader that has
// no controlling terminal gets t, if it is free.
func (t *Terminal) AcquireOnOpen(ctx vfs.Context, flags linux.OpenFlags) {
	if flags&linux.O_NOCTTY != 0 || !flags.Read() {
		return
	}
	if job := t.job(ctx); job.Leader() && job.Terminal == nil && t.Session() == 0 {
		_ = t.Acquire(ctx, false)
	}
}

// Release gives t up: TIOCNOTTY. If a session leader does, its whole session
// loses the terminal, and what was in the foreground is told.
func (t *Terminal) Release(ctx vfs.Context) error {
	job := t.job(ctx)
	if job.Terminal != t {
		return linux.ENOTTY
	}
	if !job.Leader() {
		t.procs.SetTerminal(ctx, nil)
		return nil
	}
	group := t.detach()
	t.procs.ClearTerminal(job.SID)
	if group != 0 {
		t.procs.SignalGroup(group, sigHUP)
		t.procs.SignalGroup(group, sigCONT)
	}
	return nil
}

// LeaderExit is told when the leader of the session sid that t controls has
// exited: the terminal hangs up. The process table clears the session's
// terminal by itself or lets this do it.
func (t *Terminal) LeaderExit(sid int32) {
	if t.Session() != sid {
		return
	}
	group := t.detach()
	t.procs.ClearTerminal(sid)
	if group != 0 {
		t.procs.SignalGroup(group, sigHUP)
		t.procs.SignalGroup(group, sigCONT)
	}
}

// HangUp tells the session that its terminal is gone: SIGHUP and SIGCONT to its
// leader, SIGHUP to what is in the foreground.
func (t *Terminal) HangUp() {
	session := t.Session()
	if session == 0 || t.procs == nil {
		return
	}
	group := t.detach()
	t.procs.SignalProcess(session, sigHUP)
	t.procs.SignalProcess(session, sigCONT)
	t.procs.ClearTerminal(session)
	if group != 0 {
		t.procs.SignalGroup(group, sigHUP)
	}
}

func (t *Terminal) detach() (foreground int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	foreground = t.mu.foreground
	t.mu.session, t.mu.foreground = 0, 0
	return foreground
}

// SetForeground puts a process group of the caller's session in the foreground:
// TIOCSPGRP.
func (t *Terminal) SetForeground(ctx vfs.Context, pgid int32) error {
	if pgid < 0 {
		return linux.EINVAL
	}
	job := t.job(ctx)
	if job.Terminal != t || t.Session() != job.SID {
		return linux.ENOTTY
	}
	pgid = t.procs.ID(ctx, pgid)
	sid, ok := t.procs.GroupSession(pgid)
	if !ok {
		return linux.ESRCH
	}
	if sid != job.SID {
		return linux.EPERM
	}
	t.mu.Lock()
	t.mu.foreground = pgid
	t.mu.Unlock()
	return nil
}

// Signal sends sig to the process group in the foreground.
func (t *Terminal) Signal(sig int32) {
	if group := t.Foreground(); group != 0 && t.procs != nil {
		t.procs.SignalGroup(group, sig)
	}
}

// CheckRead lets a process of the foreground read; one of the background is
// stopped by SIGTTIN, or gets EIO if that cannot stop it.
func (t *Terminal) CheckRead(ctx vfs.Context) error { return t.check(ctx, sigTTIN) }

// CheckChange is the same for changes of the terminal, and for writes under
// TOSTOP, with SIGTTOU, which may be ignored.
func (t *Terminal) CheckChange(ctx vfs.Context) error { return t.check(ctx, sigTTOU) }

func (t *Terminal) check(ctx vfs.Context, sig int32) error {
	job := t.job(ctx)
	group := t.Foreground()
	if job.Terminal != t || group == 0 || job.PGID == group {
		return nil
	}
	switch {
	case t.procs.Ignores(ctx, sig):
		if sig == sigTTIN {
			return linux.EIO
		}
		return nil
	case job.Orphaned:
		return linux.EIO
	}
	t.procs.SignalGroup(job.PGID, sig)
	return linux.ERESTARTSYS
}
