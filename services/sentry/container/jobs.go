package container

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// jobs is the process table as terminals use it: tty.Processes.
type jobs struct{ k *task.Kernel }

func (j jobs) task(ctx vfs.Context) *task.Task { return j.k.Task(ctx.TID()) }

func (j jobs) Job(ctx vfs.Context) tty.Job {
	t := j.task(ctx)
	if t == nil {
		return tty.Job{}
	}
	g := t.Group()
	job := tty.Job{PID: g.PID(), PGID: g.PGID(), SID: g.SID()}
	job.Terminal, _ = g.Session().TTY().(*tty.Terminal)
	job.Orphaned = j.k.Orphaned(job.PGID)
	return job
}

func (j jobs) Ignores(ctx vfs.Context, sig int32) bool {
	t := j.task(ctx)
	return t != nil && (t.Mask().Has(linux.Signal(sig)) || t.Group().Action(linux.Signal(sig)).Handler == linux.SIG_IGN)
}

func (j jobs) Number(ctx vfs.Context, id int32) int32 {
	if t := j.task(ctx); t != nil {
		return t.ShowPID(id)
	}
	return id
}

func (j jobs) ID(ctx vfs.Context, number int32) int32 {
	if t := j.task(ctx); t != nil {
		return t.PIDOf(number)
	}
	return number
}

func (j jobs) GroupSession(pgid int32) (int32, bool) {
	for _, g := range j.k.ProcessGroup(pgid) {
		return g.SID(), true
	}
	return 0, false
}

func (j jobs) SetTerminal(ctx vfs.Context, term *tty.Terminal) {
	t := j.task(ctx)
	switch {
	case t == nil:
	case term == nil:
		// A session has one here; who does not lead it cannot take it away.
		if t.Group().SID() == t.TGID() {
			t.Group().Session().SetTTY(nil)
		}
	default:
		t.Group().Session().SetTTY(term)
	}
}

func (j jobs) ClearTerminal(sid int32) {
	for _, g := range j.k.Groups() {
		if g.SID() == sid {
			g.Session().SetTTY(nil)
			return
		}
	}
}

func (j jobs) SignalGroup(pgid, sig int32) { j.k.SignalGroup(pgid, linux.Signal(sig)) }

func (j jobs) SignalProcess(pid, sig int32) {
	if g := j.k.Group(pid); g != nil {
		g.Send(task.KernelSignal(linux.Signal(sig)))
	}
}
