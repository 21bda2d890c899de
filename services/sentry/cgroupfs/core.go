package cgroupfs

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// The files that each group has.

func (c *Cgroup) readProcs(ctx vfs.Context) (string, error) {
	var all []int32
	for _, p := range c.own() {
		all = append(all, p.Number(ctx))
	}
	return numbers(all), nil
}

func (c *Cgroup) readThreads(ctx vfs.Context) (string, error) {
	var all []int32
	for _, p := range c.own() {
		all = append(all, p.Threads(ctx)...)
	}
	return numbers(all), nil
}

func numbers(all []int32) string {
	slices.Sort(all)
	var b strings.Builder
	for _, n := range all {
		fmt.Fprintln(&b, n)
	}
	return b.String()
}

// writeProcs moves a process to the group: ESRCH, EACCES, ENOENT, EBUSY, EOPNOTSUPP.
func writeProcs(o *opened, ctx vfs.Context, text string) error {
	p, err := o.named(ctx, text)
	if err != nil {
		return err
	}
	for range movesTried {
		from := o.h.In(p)
		if err := o.mayMove(ctx, from, o.of); err != nil {
			return err
		}
		moved, err := o.of.take(p, from)
		if moved || err != nil {
			p.Heed()
			return err
		}
	}
	return linux.EAGAIN
}

// movesTried is how often others may move a process while it is to be moved.
const movesTried = 100

// take moves p from a group to c; false if it is in another by now. Who has ended stays.
func (c *Cgroup) take(p Process, from *Cgroup) (bool, error) {
	used := p.Used()
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.dead {
		return false, linux.ENODEV
	}
	if err := c.mayHostLocked(); err != nil {
		return false, err
	}
	m := p.Place()
	if m.at != from {
		return false, nil
	}
	if m.threads > 0 && from != c {
		c.h.moveLocked(p, c, used)
	}
	return true, nil
}

// writeThreads is refused but to where the thread is: groups of threads are not made.
func writeThreads(o *opened, ctx vfs.Context, text string) error {
	p, err := o.named(ctx, text)
	if err != nil {
		return err
	}
	from := o.h.In(p)
	if err := o.mayMove(ctx, from, o.of); err != nil {
		return err
	}
	o.h.mu.Lock()
	err = o.of.mayHostLocked()
	o.h.mu.Unlock()
	if err == nil && from != o.of {
		err = linux.EOPNOTSUPP
	}
	return err
}

// named gives the process that a number written to a file means.
func (o *opened) named(ctx vfs.Context, text string) (Process, error) {
	n, err := integer(text, 0, math.MaxInt32)
	if err != nil {
		return nil, linux.EINVAL
	}
	p := o.h.host.Find(ctx, int32(n))
	if p == nil {
		return nil, linux.ESRCH
	}
	return p, nil
}

// mayMove says whether who has opened o may move a process between two groups: it may
// write to cgroup.procs of the lowest that both are in or below (EACCES), and sees both
// (ENOENT).
func (o *opened) mayMove(ctx vfs.Context, from, to *Cgroup) error {
	return o.h.mayMove(vfs.WithCreds(ctx, o.opener), o.root, from, to)
}

func (h *Hierarchy) mayMove(ctx vfs.Context, root, from, to *Cgroup) error {
	common := to
	for !from.within(common) {
		common = common.parent
	}
	if err := common.mayWrite(ctx); err != nil {
		return err
	}
	if !from.within(root) || !to.within(root) {
		return linux.ENOENT
	}
	return nil
}

// mayWrite says whether ctx may write to the group's cgroup.procs.
func (c *Cgroup) mayWrite(ctx vfs.Context) error {
	c.h.mu.Lock()
	f := c.fileLocked("cgroup.procs")
	c.h.mu.Unlock()
	a, err := f.Attr(ctx)
	if err != nil {
		return err
	}
	return vfs.CheckMode(ctx.Creds(), &a, vfs.MayWrite)
}

// MayFork says whether ctx, a process that is in from, may make one in c:
// CLONE_INTO_CGROUP of clone3(2). ENOENT, EACCES, EBUSY, EOPNOTSUPP.
func (c *Cgroup) MayFork(ctx vfs.Context, from *Cgroup, thread bool) error {
	if c.Dead() {
		return linux.ENOENT
	}
	if err := c.mayWrite(ctx); err != nil {
		return err
	}
	if err := c.h.mayMove(ctx, c.h.host.Root(ctx), from, c); err != nil {
		return err
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if err := c.mayHostLocked(); err != nil {
		return err
	}
	if thread && from != c {
		return linux.EOPNOTSUPP
	}
	return nil
}

func (c *Cgroup) readEvents(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return fmt.Sprintf("populated %d\nfrozen %d\n", bit(c.populated > 0), bit(c.frozen)), nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *Cgroup) readStat(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	var have, dying strings.Builder
	for i, name := range controllerNames {
		n := 0
		c.each(func(c *Cgroup) { n += bit(c.controllersLocked()>>i&1 != 0) })
		fmt.Fprintf(&have, "nr_subsys_%s %d\n", name, n)
		fmt.Fprintf(&dying, "nr_dying_subsys_%s 0\n", name)
	}
	return fmt.Sprintf("nr_descendants %d\n%snr_dying_descendants 0\n%s", c.descendants, have.String(), dying.String()), nil
}

func (c *Cgroup) readFreeze(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return fmt.Sprintf("%d\n", bit(c.freeze)), nil
}

func writeFreeze(o *opened, _ vfs.Context, text string) error {
	n, err := integer(text, 0, 1)
	if err == nil {
		o.of.setFreeze(n == 1)
	}
	return err
}

func writeKill(o *opened, _ vfs.Context, text string) error {
	_, err := integer(text, 1, 1)
	if err == nil {
		o.of.kill()
	}
	return err
}
