package task

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/vfs"
)

// This file makes processes that no process has forked: Create, Load, Start.

// NewProcess describes a first process of a container, or one that enters it.
type NewProcess struct {
	FS     *FSContext
	FDs    *FDTable
	Creds  *vfs.Creds
	Limits map[int]Rlimit
}

// Create makes a process that has no program yet: call Load, then Start.
func (k *Kernel) Create(n NewProcess) (*Task, error) {
	th, err := k.Machine.NewSpace()
	if err != nil {
		return nil, err
	}
	t := k.newTask(n)
	t.setThread(th)
	t.SetName("init")
	if err := k.enroll(t, n); err != nil {
		th.Exit(true)
		return nil, err
	}
	return t, nil
}

// NewDetached makes a process whose only thread is th and which nobody runs: for
// tests, which call handlers as its goroutine would.
func (k *Kernel) NewDetached(th *platform.Thread, n NewProcess) *Task {
	t := k.newTask(n)
	t.th = th
	t.SetName("test")
	if k.enroll(t, n) != nil {
		return nil
	}
	return t
}

// newTask makes the first task of a process, which nobody knows yet.
func (k *Kernel) newTask(n NewProcess) *Task {
	t := &Task{
		k: k, interrupt: make(chan struct{}, 1), exited: make(chan struct{}),
	}
	t.at.seat.Store(serving)
	t.slack.start(firstSlack)
	t.SetMemoryFailure(unix.PR_MCE_KILL_DEFAULT)
	t.mm.Store(mm.New())
	t.fds.Store(n.FDs)
	t.fs.Store(n.FS)
	t.creds.Store(n.Creds)
	t.ns.Store(&k.first)
	return t
}

// enroll makes it a process without a parent, in a group and a session of its own: EAGAIN without a free id.
func (k *Kernel) enroll(t *Task, n NewProcess) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, err := k.nextIDLocked()
	if err != nil {
		return err
	}
	g := &Group{k: k, pid: id, leader: t, tasks: []*Task{t}, exitSignal: linux.SIGCHLD, started: time.Now(), serial: serials.Add(1), handlers: &handlers{}}
	t.tid, t.group = id, g
	g.dumpable.Store(1)
	for what, l := range n.Limits {
		g.limits[what].v.Store(&l)
	}
	k.tasks[id], k.groups[id] = t, g
	k.Cgroups.Begin(member{g})
	(*PIDNamespace)(nil).enterLocked(g)
	g.sid, g.session = id, &Session{ID: id}
	k.sessions[id]++
	k.joinLocked(g, id)
	return nil
}

// Load gives a created process its program.
func (t *Task) Load(a ExecArgs) error {
	p, err := t.prepare(a)
	if err != nil {
		return err
	}
	defer p.image.Close(t)
	return t.enter(p)
}

// Start lets a loaded process run.
func (t *Task) Start() {
	if l := t.group.Limit(unix.RLIMIT_CPU); l.Cur != unix.RLIM_INFINITY {
		t.group.limitCPU(l)
	}
	t.start(func() {
		t.reply = reply{dirty: true}
		if t.resume() {
			t.run()
		}
	})
}

// Discard takes a process that never started out of the tree.
func (t *Task) Discard() {
	t.killed.Store(true)
	t.exit()
}
