package cgroupfs

import (
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/ebpf"
)

// maxPrograms is how many a group may have: E2BIG.
const maxPrograms = 64

// DeviceProgram says which devices processes may use in the groups that it is attached to,
// and below: BPF_CGROUP_DEVICE of bpf(2).
type DeviceProgram struct {
	*ebpf.Program
	ID   uint32 // of bpf(2)
	Name [16]byte
}

// Attach adds a program to the group's, or has it take the place of another, unless that
// is nil: EINVAL if it is there, ENOENT if the other is not, E2BIG, ENOMEM.
func (c *Cgroup) Attach(p, instead *DeviceProgram) error {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	at := slices.Index(c.programs, instead)
	switch {
	case c.dead:
		return linux.ENOENT
	case slices.Contains(c.programs, p):
		return linux.EINVAL
	case instead != nil && at < 0:
		return linux.ENOENT
	case instead == nil && len(c.programs) >= maxPrograms:
		return linux.E2BIG
	case c.h.instructions+p.Len() > maxAllInstructions:
		return linux.ENOMEM
	}
	if instead != nil {
		c.detachLocked(at)
	}
	c.programs = append(c.programs, p)
	c.h.programs.Add(1)
	c.h.instructions += p.Len()
	return nil
}

func (c *Cgroup) detachLocked(at int) {
	c.h.programs.Add(-1)
	c.h.instructions -= c.programs[at].Len()
	c.programs = slices.Delete(c.programs, at, at+1)
}

// Detach takes one away: ENOENT.
func (c *Cgroup) Detach(p *DeviceProgram) error {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	at := slices.Index(c.programs, p)
	if at < 0 {
		return linux.ENOENT
	}
	c.detachLocked(at)
	return nil
}

// Programs are those of the group itself; with above, of those that it is in, too.
func (c *Cgroup) Programs(above bool) []*DeviceProgram {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return c.programsLocked(above)
}

func (c *Cgroup) programsLocked(above bool) (all []*DeviceProgram) {
	for at := c; at != nil && (at == c || above); at = at.parent {
		all = append(all, at.programs...)
	}
	return all
}

// Program is the attached one of that number, or nil.
func (h *Hierarchy) Program(id uint32) (found *DeviceProgram) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.root.each(func(c *Cgroup) {
		for _, p := range c.programs {
			if p.ID == id {
				found = p
			}
		}
	})
	return found
}

// Filters says whether any program is attached.
func (h *Hierarchy) Filters() bool { return h.programs.Load() > 0 }

// MayUse is EPERM if a program forbids a process to use a device.
func (h *Hierarchy) MayUse(p Process, a ebpf.Access) error {
	for _, f := range h.In(p).Programs(true) {
		if f.Run(a)&1 == 0 {
			return linux.EPERM
		}
	}
	return nil
}
