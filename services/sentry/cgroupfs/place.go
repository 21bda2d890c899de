package cgroupfs

import (
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
)

// Place is where a process is. Package task tells it what becomes of the process, under
// the lock of the tree of processes.
type Place struct {
	freeze atomic.Bool // changed with h.mu held

	// Guarded by h.mu.
	at      *Cgroup // nil: not yet, or no more
	threads int     // that have not exited
	resting int     // of these, that stand still: see Rest
	charged int     // threads that have not been waited for
	before  time.Duration
}

// pids is what the controller of that name counts, of a group and those below.
type pids struct {
	count, peak int64
	most        int64 // -1: no limit
	hits        int64 // of a limit of this group or one below
	ownHits     int64
}

// Begin puts a process that nobody has forked at the root.
func (h *Hierarchy) Begin(p Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.root.putLocked(p)
	h.root.countLocked(p.Place(), 1, 1)
}

// Fork puts a new process where its parent is, or into a group: EAGAIN beyond pids.max,
// ENODEV if that group has been removed.
func (h *Hierarchy) Fork(parent, child Process, into *Cgroup) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := into
	if c == nil {
		c = parent.Place().at
	}
	if c == nil {
		c = h.root // of one that was never put anywhere: tests
	}
	if c.dead {
		return linux.ENODEV
	}
	if err := c.chargeableLocked(); err != nil {
		return err
	}
	c.putLocked(child)
	c.countLocked(child.Place(), 1, 1)
	return nil
}

// AddThread counts a new thread of a process: EAGAIN beyond pids.max.
func (h *Hierarchy) AddThread(p Process) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := p.Place()
	if m.at == nil {
		return nil
	}
	if err := m.at.chargeableLocked(); err != nil {
		return err
	}
	m.at.countLocked(m, m.threads+1, m.charged+1)
	return nil
}

// Count says how many threads of a process have not exited, and how many not been waited
// for. Without any, the process has ended, and with none of either it is gone; used is the
// processors' time that it has used by then.
func (h *Hierarchy) Count(p Process, threads, charged int, used time.Duration) {
	m := p.Place()
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.at == nil {
		return
	}
	m.at.countLocked(m, threads, charged)
	if charged == 0 {
		heir := m.at
		for heir.dead {
			heir = heir.parent
		}
		heir.used += max(used-m.before, 0)
		m.before = used
		delete(m.at.members, p)
	}
}

// Rest has a thread of the process stand still, or go on: what is frozen does, and what
// is stopped, traced or waits for a vfork's child might as well be.
func (h *Hierarchy) Rest(p Process, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := p.Place()
	by := 1
	if !on {
		by = -1
	}
	m.resting += by
	if m.at != nil {
		m.at.resting += by
		m.at.frozenLocked()
	}
}

// Freezing says whether the process's threads are to stand still.
func (m *Place) Freezing() bool { return m.freeze.Load() }

// In is the group that a process is in, or was when it was waited for.
func (h *Hierarchy) In(p Process) *Cgroup {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := p.Place().at; c != nil {
		return c
	}
	return h.root
}

// putLocked makes p a member of c, with what has been counted of it.
func (c *Cgroup) putLocked(p Process) {
	m := p.Place()
	m.at = c
	if c.members == nil {
		c.members = map[Process]struct{}{}
	}
	c.members[p] = struct{}{}
	m.freeze.Store(c.freezes > 0)
}

// countLocked changes what is counted of m, which is in c.
func (c *Cgroup) countLocked(m *Place, threads, charged int) {
	had := m.threads > 0
	c.threads += threads - m.threads
	for at := c; at != nil; at = at.parent {
		at.count += int64(charged - m.charged)
		at.peak = max(at.peak, at.count)
	}
	m.threads, m.charged = threads, charged
	if has := threads > 0; has != had {
		c.populateLocked(has)
	}
	c.frozenLocked()
}

// populateLocked counts one more, or one less, that c is populated by.
func (c *Cgroup) populateLocked(one bool) {
	for ; c != nil; c = c.parent {
		if one {
			c.populated++
			if c.populated > 1 {
				return
			}
		} else {
			c.populated--
			if c.populated > 0 {
				return
			}
		}
		c.changedLocked("cgroup.events")
	}
}

// chargeableLocked is EAGAIN if c may have no more threads.
func (c *Cgroup) chargeableLocked() error {
	for at := c; at != nil; at = at.parent {
		if at.most < 0 || at.count < at.most {
			continue
		}
		at.ownHits++
		at.changedLocked("pids.events.local")
		for up := at; up != nil; up = up.parent {
			up.hits++
			up.changedLocked("pids.events")
		}
		return linux.EAGAIN
	}
	return nil
}

// moveLocked makes p a member of to.
func (h *Hierarchy) moveLocked(p Process, to *Cgroup, used time.Duration) {
	m := p.Place()
	from := m.at
	threads, charged, resting := m.threads, m.charged, m.resting
	from.countLocked(m, 0, 0)
	from.resting -= resting
	from.used += max(used-m.before, 0)
	m.before = used
	delete(from.members, p)
	to.putLocked(p)
	to.resting += resting
	to.countLocked(m, threads, charged)
	from.frozenLocked()
}
