package task

import (
	"time"

	"golang.org/x/sys/unix"
)

// processClock is the id of the CPU-time clock of host process pid:
// clock_getcpuclockid(3). It counts the guest's code and the host's work for it.
func processClock(pid int) int32 { return int32(^pid<<3 | 2) }

// CPUTime is what the thread's process has used. Of a single thread only its own
// process is told: see ThreadTime.
func (t *Task) CPUTime() time.Duration {
	var ts unix.Timespec
	th := t.host.Load()
	if th == nil {
		return 0
	}
	if pid := th.Process().PID(); pid == 0 || unix.ClockGettime(processClock(pid), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// ThreadTime is what thread o has used, as t, whose call is being served, can find
// out: exactly, if they are of one process; else, as nobody tells, the process's time
// for its first thread and none for others.
func (t *Task) ThreadTime(o *Task) time.Duration {
	if t.group == o.group {
		if th := o.host.Load(); th != nil {
			if d, ok := t.th.SiblingTime(th); ok {
				return d
			}
		}
	}
	if o != o.group.Leader() {
		return 0
	}
	return o.CPUTime()
}

// HostUsage is what the host counted for a process that has ended, of which it tells
// soon after it; nil if it does not.
func (g *Group) HostUsage() *unix.Rusage {
	th := g.Leader().host.Load()
	if th == nil {
		return nil
	}
	if u, ok := th.Process().AwaitUsage(50 * time.Millisecond); ok {
		return &u
	}
	return nil
}

// noteUsage keeps the process's time when its last task ends.
func (t *Task) noteUsage() {
	g := t.group
	used := Usage{User: t.CPUTime()}
	g.k.mu.Lock()
	if len(g.tasks) == 1 {
		g.exitUsage = used
	}
	g.k.mu.Unlock()
}

// Usage is what the process has used so far; that of its children that were
// waited for apart.
func (g *Group) Usage() (self, children Usage) {
	g.k.mu.RLock()
	self, children = g.exitUsage, g.childUsage
	var t *Task
	if len(g.tasks) > 0 {
		t = g.tasks[0]
	}
	g.k.mu.RUnlock()
	if t != nil {
		self = Usage{User: t.CPUTime()}
	}
	return self, children
}
