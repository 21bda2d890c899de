package cgroupfs

import (
	"bulkhead/services/sentry/vfs"
)

// kind is a kind of file that groups have.
type kind struct {
	name string
	of   Controllers // that it comes with; 0: it is always there
	mode uint32
	// delegated: it may be written at the root of a namespace from within.
	delegated bool
	// notifies: poll(2) and inotify(7) tell of its changes.
	notifies bool

	read func(c *Cgroup, ctx vfs.Context) (string, error)
	// act carries out a write.
	act func(o *opened, ctx vfs.Context, text string) error
	// set gives what a write has the group remember, which is then told in place of
	// initial; apply, if set, puts it to use, with h.mu held.
	set     func(h *Hierarchy, text string) (string, error)
	apply   func(c *Cgroup, value string)
	initial string
}

// allKinds are all of them.
func allKinds() []kind {
	return []kind{
		{name: "cgroup.type", mode: 0o644, read: (*Cgroup).readType, act: writeType},
		{name: "cgroup.procs", mode: 0o644, delegated: true, read: (*Cgroup).readProcs, act: writeProcs},
		{name: "cgroup.threads", mode: 0o644, delegated: true, read: (*Cgroup).readThreads, act: writeThreads},
		{name: "cgroup.controllers", mode: 0o444, read: (*Cgroup).readControllers},
		{name: "cgroup.subtree_control", mode: 0o644, delegated: true, read: (*Cgroup).readControl, act: writeControl},
		{name: "cgroup.events", mode: 0o444, notifies: true, read: (*Cgroup).readEvents},
		{name: "cgroup.max.descendants", mode: 0o644, set: count, initial: "max", apply: func(c *Cgroup, v string) { c.maxBelow = number(v) }},
		{name: "cgroup.max.depth", mode: 0o644, set: count, initial: "max", apply: func(c *Cgroup, v string) { c.maxDepth = number(v) }},
		{name: "cgroup.stat", mode: 0o444, read: (*Cgroup).readStat},
		{name: "cgroup.freeze", mode: 0o644, read: (*Cgroup).readFreeze, act: writeFreeze},
		{name: "cgroup.kill", mode: 0o200, act: writeKill},
		{name: "cpu.stat", mode: 0o444, read: (*Cgroup).readCPUStat},

		{name: "cpuset.cpus", of: CPUSet, mode: 0o644, set: processors},
		{name: "cpuset.mems", of: CPUSet, mode: 0o644, set: memoryNodes},
		{name: "cpuset.cpus.effective", of: CPUSet, mode: 0o444, read: (*Cgroup).readProcessors},
		{name: "cpuset.mems.effective", of: CPUSet, mode: 0o444, initial: "0"},
		{name: "cpuset.cpus.partition", of: CPUSet, mode: 0o644, set: oneOf("member"), initial: "member"},

		{name: "cpu.weight", of: CPU, mode: 0o644, set: between(1, 10000), initial: "100"},
		{name: "cpu.max", of: CPU, mode: 0o644, set: bandwidth, initial: "max 100000"},
		{name: "cpu.max.burst", of: CPU, mode: 0o644, set: between(0, 1<<40), initial: "0"},
		{name: "cpu.idle", of: CPU, mode: 0o644, set: between(0, 1), initial: "0"},

		{name: "io.stat", of: IO, mode: 0o444},
		{name: "io.max", of: IO, mode: 0o644, set: noDevice},

		{name: "memory.current", of: Memory, mode: 0o444, read: (*Cgroup).readMemory},
		{name: "memory.min", of: Memory, mode: 0o644, set: amount, initial: "0"},
		{name: "memory.low", of: Memory, mode: 0o644, set: amount, initial: "0"},
		{name: "memory.high", of: Memory, mode: 0o644, set: amount, initial: "max"},
		{name: "memory.max", of: Memory, mode: 0o644, set: amount, initial: "max"},
		{name: "memory.events", of: Memory, mode: 0o444, notifies: true, initial: memoryEvents},
		{name: "memory.events.local", of: Memory, mode: 0o444, notifies: true, initial: memoryEvents},
		{name: "memory.stat", of: Memory, mode: 0o444, read: (*Cgroup).readMemoryStat},
		{name: "memory.oom.group", of: Memory, mode: 0o644, delegated: true, set: oneOf("0", "1"), initial: "0"},
		{name: "memory.swap.current", of: Memory, mode: 0o444, initial: "0"},
		{name: "memory.swap.high", of: Memory, mode: 0o644, set: amount, initial: "max"},
		{name: "memory.swap.max", of: Memory, mode: 0o644, set: amount, initial: "max"},
		{name: "memory.swap.events", of: Memory, mode: 0o444, notifies: true, initial: "high 0\nmax 0\nfail 0"},

		{name: "pids.current", of: PIDs, mode: 0o444, read: (*Cgroup).readPIDs},
		{name: "pids.peak", of: PIDs, mode: 0o444, read: (*Cgroup).readPIDsPeak},
		{name: "pids.max", of: PIDs, mode: 0o644, set: processCount, initial: "max", apply: func(c *Cgroup, v string) { c.most = number(v) }},
		{name: "pids.events", of: PIDs, mode: 0o444, notifies: true, read: (*Cgroup).readPIDsEvents},
		{name: "pids.events.local", of: PIDs, mode: 0o444, notifies: true, read: (*Cgroup).readPIDsOwnEvents},
	}
}

const memoryEvents = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0"

// kinds are what allKinds gives, and by name.
var (
	kinds  []kind
	kindOf = map[string]*kind{}
)

func init() {
	kinds = allKinds()
	for i := range kinds {
		k := &kinds[i]
		kindOf[k.name] = k
		if k.read == nil && k.mode&0o400 != 0 {
			k.read = func(c *Cgroup, _ vfs.Context) (string, error) { return line(c.value(k)), nil }
		}
	}
}

func lookupKind(name string) *kind { return kindOf[name] }

// line is text with the end of a line, if there is any.
func line(text string) string {
	if text == "" {
		return ""
	}
	return text + "\n"
}

// value is what the group remembers.
func (c *Cgroup) value(k *kind) string {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return c.valueLocked(k)
}

func (c *Cgroup) valueLocked(k *kind) string {
	if v, ok := c.values[k.name]; ok {
		return v
	}
	return k.initial
}
