package task

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
)

// NewDetached makes a process whose only thread is th and which nobody runs: for
// tests, which call handlers as its goroutine would.
func (k *Kernel) NewDetached(th *platform.Thread, n NewProcess) *Task {
	t := &Task{
		k: k, interrupt: make(chan struct{}, 1), exited: make(chan struct{}),
	}
	t.at.seat.Store(serving)
	t.th = th
	t.slack.start(firstSlack)
	t.SetMemoryFailure(unix.PR_MCE_KILL_DEFAULT)
	t.mm.Store(mm.New())
	t.fds.Store(n.FDs)
	t.fs.Store(n.FS)
	t.creds.Store(n.Creds)
	t.ns.Store(&k.first)
	t.SetName("test")
	k.mu.Lock()
	defer k.mu.Unlock()
	id, err := k.nextIDLocked()
	if err != nil {
		return nil
	}
	g := &Group{k: k, pid: id, leader: t, tasks: []*Task{t}, exitSignal: linux.SIGCHLD, started: time.Now(), handlers: &handlers{}}
	t.tid, t.group = id, g
	g.dumpable.Store(1)
	k.tasks[id], k.groups[id] = t, g
	(*PIDNamespace)(nil).enterLocked(g)
	g.sid, g.session = id, &Session{ID: id}
	k.sessions[id]++
	k.joinLocked(g, id)
	return t
}
