package task

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/platform"
)

// MayInspect is the check of ptrace(2), "Ptrace access mode checking", with the
// caller's real ids: a thread may look into its own process, and into others that
// have its ids and no capability that it lacks, and whose program may be looked
// into. EPERM.
func (t *Task) MayInspect(o *Task) error {
	if t.group == o.group {
		return nil
	}
	me, it := t.Creds(), o.Creds()
	same := me.UID == it.UID && me.UID == it.EUID && me.UID == it.SUID &&
		me.GID == it.GID && me.GID == it.EGID && me.GID == it.SGID && me.UserNS == it.UserNS && it.Permitted&^me.Permitted == 0
	if !same && !me.HasIn(it.UserNS, linux.CAP_SYS_PTRACE) {
		return linux.EPERM
	}
	if o.group.Dumpable() != 1 && !me.HasIn(o.group.keeper.Load(), linux.CAP_SYS_PTRACE) {
		return linux.EPERM
	}
	return nil
}

// Memory is a process's memory, whatever program the process executes later.
type Memory struct {
	host  *platform.Process
	space *mm.Space
}

// Memory is that which the thread has now; false once it has none. Who may look
// into it is to be asked afterwards: a program that gains power has that before it
// has the memory. A fork returns before the child has shown itself to the sentry:
// whoever looks into it at once waits that long.
func (t *Task) Memory() (m Memory, ok bool) {
	var y platform.Yielder
	for {
		space := t.mm.Load()
		if space == nil {
			return Memory{}, false
		}
		if th := t.host.Load(); th != nil && th.Process().PID() != 0 {
			return Memory{th.Process(), space}, true
		}
		select {
		case <-t.exited:
			return Memory{}, false
		default:
			y.Yield()
		}
	}
}

// Peek copies what there is at addr to p, as the program knows it, and says how
// much that was. Any goroutine may call it.
func (m Memory) Peek(addr mm.Addr, p []byte) int {
	n := m.host.CopyInPartial(addr, p)
	m.space.OriginalBytes(addr, p[:n])
	return n
}

// Poke writes p to addr, up to the first page that cannot be written, and says how
// much that was. Any goroutine may call it.
func (m Memory) Poke(addr mm.Addr, p []byte) int {
	if m.host.CopyOut(addr, p) == nil {
		return len(p)
	}
	done := 0
	for done < len(p) {
		at := addr + uint64(done)
		n := min(len(p)-done, int(mm.PageSize-at%mm.PageSize))
		if m.host.CopyOut(at, p[done:done+n]) != nil {
			break
		}
		done += n
	}
	return done
}

// IOPriority is the thread's I/O priority: ioprio_get(2). Nothing goes by it.
func (t *Task) IOPriority() int32 { return t.ioprio.Load() }

// SetIOPriority sets it.
func (t *Task) SetIOPriority(p int32) { t.ioprio.Store(p) }

// Personality is what personality(2) set. Of its flags ADDR_NO_RANDOMIZE has an effect,
// and of the domains PER_LINUX32 on uname(2).
func (t *Task) Personality() uint32 { return t.persona.Load() }

// SetPersonality sets it; it stays over exec.
func (t *Task) SetPersonality(p uint32) { t.persona.Store(p) }

// timerSlack is how late timers may be, in nanoseconds: PR_SET_TIMERSLACK of prctl(2). It is
// told, and not gone by.
type timerSlack struct{ first, now atomic.Uint64 }

// firstSlack is that of the first thread.
const firstSlack = 50_000

func (s *timerSlack) start(of uint64) {
	s.first.Store(of)
	s.now.Store(of)
}

// TimerSlack is the thread's timer slack in nanoseconds.
func (t *Task) TimerSlack() uint64 { return t.slack.now.Load() }

// SetTimerSlack sets it; 0 for what the thread began with.
func (t *Task) SetTimerSlack(ns uint64) {
	if ns == 0 {
		ns = t.slack.first.Load()
	}
	t.slack.now.Store(ns)
}

// MemoryFailure is PR_MCE_KILL_GET of prctl(2). Nothing goes by it.
func (t *Task) MemoryFailure() uint64 { return uint64(t.memFailure.Load()) }

// SetMemoryFailure sets it.
func (t *Task) SetMemoryFailure(v uint64) { t.memFailure.Store(uint32(v)) }

// Affinity is the mask that SetAffinity was given, processor 0 in bit 0 of the first
// byte, or nil for every processor: sched_getaffinity(2). It is remembered, and the
// host goes on to schedule as it sees fit.
func (t *Task) Affinity() []byte {
	if p := t.affinity.Load(); p != nil {
		return *p
	}
	return nil
}

// SetAffinity remembers the processors that the thread asked for, which nobody may
// change afterwards.
func (t *Task) SetAffinity(mask []byte) { t.affinity.Store(&mask) }

// Scheduling is what sched_setattr(2) asked for. It is remembered, and the host goes
// on to schedule as it sees fit.
type Scheduling struct {
	Policy      uint32 // SCHED_NORMAL and its kin
	Priority    uint32 // 1 to 99 of SCHED_FIFO and SCHED_RR, else 0
	ResetOnFork bool
	// Of SCHED_DEADLINE, in nanoseconds.
	Runtime, Deadline, Period uint64
}

// mayFork says whether a thread scheduled so may have children: EAGAIN of clone(2).
func (s Scheduling) mayFork() bool { return s.Policy != unix.SCHED_DEADLINE || s.ResetOnFork }

// Scheduling is what SetScheduling was given.
func (t *Task) Scheduling() Scheduling {
	if s := t.scheduling.Load(); s != nil {
		return *s
	}
	return Scheduling{}
}

// SetScheduling remembers it.
func (t *Task) SetScheduling(s Scheduling) {
	if s == (Scheduling{}) {
		t.scheduling.Store(nil)
		return
	}
	t.scheduling.Store(&s)
}

// inherited is what a child has of it: sched(7), "Resetting the scheduling policy for
// child processes".
func (s Scheduling) inherited() Scheduling {
	if s.ResetOnFork {
		if s.Priority == 0 && s.Policy != unix.SCHED_DEADLINE {
			return Scheduling{Policy: s.Policy}
		}
		return Scheduling{}
	}
	return s
}

// MemoryPolicy is what set_mempolicy(2) set.
func (t *Task) MemoryPolicy() uint32 { return t.memPolicy.Load() }

// SetMemoryPolicy sets it.
func (t *Task) SetMemoryPolicy(p uint32) { t.memPolicy.Store(p) }
