package cgroupfs

import (
	"math/bits"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Controllers is a set of controllers.
type Controllers uint

// The controllers, in Linux's order.
const (
	CPUSet Controllers = 1 << iota
	CPU
	IO
	Memory
	PIDs

	allControllers = CPUSet | CPU | IO | Memory | PIDs
	// threaded are those that groups of one process's threads could have, too.
	threaded = CPUSet | CPU | PIDs
)

var controllerNames = [...]string{"cpuset", "cpu", "io", "memory", "pids"}

func (s Controllers) String() string {
	var names []string
	for i, name := range controllerNames {
		if s>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func (c *Cgroup) readControllers(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return line(c.controllersLocked().String()), nil
}

func (c *Cgroup) readControl(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return line(c.control.String()), nil
}

// parseControl reads "+memory -pids": EINVAL.
func parseControl(text string) (enable, disable Controllers, err error) {
next:
	for word := range strings.FieldsSeq(text) {
		for i, name := range controllerNames {
			switch word {
			case "+" + name:
				enable, disable = enable|1<<i, disable&^(1<<i)
				continue next
			case "-" + name:
				disable, enable = disable|1<<i, enable&^(1<<i)
				continue next
			}
		}
		return 0, 0, linux.EINVAL
	}
	return enable, disable, nil
}

// writeControl is cgroup.subtree_control: which controllers the groups below have.
func writeControl(o *opened, ctx vfs.Context, text string) error {
	enable, disable, err := parseControl(text)
	if err != nil {
		return err
	}
	c := o.of
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.dead {
		return linux.ENODEV
	}
	enable, disable = enable&^c.control, disable&c.control
	if enable&^c.controllersLocked() != 0 {
		return linux.ENOENT
	}
	for _, child := range c.children {
		if child.control&disable != 0 {
			return linux.EBUSY
		}
	}
	if err := c.mayEnableLocked(enable); err != nil {
		return err
	}
	c.control = c.control | enable&^disable
	c.control &^= disable
	who := owner{ctx.Creds().FSUID, ctx.Creds().FSGID}
	for _, child := range c.children {
		child.renewLocked(enable|disable, who)
	}
	return nil
}

// mayEnableLocked is the rule that a group whose children share something by a controller
// has no processes itself, but for what threads can share among them: EBUSY, EOPNOTSUPP.
func (c *Cgroup) mayEnableLocked(enable Controllers) error {
	switch {
	case enable == 0:
		return nil
	case !c.validLocked():
		return linux.EOPNOTSUPP
	case enable&^threaded != 0:
		if c.threadRootLocked() {
			return linux.EOPNOTSUPP
		}
	case c.canBeThreadRootLocked():
		return nil
	}
	if c.threads > 0 {
		return linux.EBUSY
	}
	return nil
}

// mayHostLocked is the same rule for a process that is to come into c.
func (c *Cgroup) mayHostLocked() error {
	switch {
	case !c.validLocked():
		return linux.EOPNOTSUPP
	case c.canBeThreadRootLocked(), c.control == 0:
		return nil
	}
	return linux.EBUSY
}

// threadRootLocked: it has processes and children that share processors or ids with them.
func (c *Cgroup) threadRootLocked() bool { return c.threads > 0 && c.control&threaded != 0 }

func (c *Cgroup) canBeThreadRootLocked() bool {
	for _, child := range c.children {
		if child.populated > 0 {
			return false
		}
	}
	return c.control&^threaded == 0
}

// validLocked says whether processes can be in c: not below a thread root.
func (c *Cgroup) validLocked() bool {
	for c = c.parent; c != nil; c = c.parent {
		if c.threadRootLocked() {
			return false
		}
	}
	return true
}

// renewLocked has the controllers that have come or gone begin anew in c: their files
// are who's.
func (c *Cgroup) renewLocked(changed Controllers, who owner) {
	for i := range kinds {
		k := &kinds[i]
		if k.of&changed == 0 {
			continue
		}
		delete(c.files, k.name)
		if _, ok := c.values[k.name]; ok {
			delete(c.values, k.name)
			if k.apply != nil {
				k.apply(c, k.initial)
			}
		}
	}
	if c.owners == nil {
		c.owners = map[Controllers]owner{}
	}
	for ; changed != 0; changed &= changed - 1 {
		c.owners[1<<bits.TrailingZeros(uint(changed))] = who
	}
}

func (c *Cgroup) readType(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	switch {
	case !c.validLocked():
		return "domain invalid\n", nil
	case c.threadRootLocked():
		return "domain threaded\n", nil
	}
	return "domain\n", nil
}

// writeType is refused: there are no groups of threads.
func writeType(_ *opened, _ vfs.Context, text string) error {
	if text != "threaded" {
		return linux.EINVAL
	}
	return linux.EOPNOTSUPP
}
