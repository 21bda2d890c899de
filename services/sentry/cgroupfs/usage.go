package cgroupfs

import (
	"fmt"

	"bulkhead/services/sentry/vfs"
)

// What has been used, as far as it is known.

func (c *Cgroup) readCPUStat(vfs.Context) (string, error) {
	used := c.cpuTime().Microseconds()
	s := fmt.Sprintf("usage_usec %d\nuser_usec %d\nsystem_usec 0\nnice_usec 0\n", used, used)
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.controllersLocked()&CPU != 0 {
		s += "nr_periods 0\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\nburst_usec 0\n"
	}
	return s, nil
}

func (c *Cgroup) readProcessors(vfs.Context) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return line(formatList(c.processorsLocked())), nil
}

func (c *Cgroup) readMemory(vfs.Context) (string, error) {
	anonymous, files := c.resident()
	return fmt.Sprintf("%d\n", anonymous+files), nil
}

// readMemoryStat tells files in memory as what they are on Linux, too: shared memory.
func (c *Cgroup) readMemoryStat(vfs.Context) (string, error) {
	anonymous, files := c.resident()
	s := ""
	for _, l := range []struct {
		name  string
		value uint64
	}{
		{"anon", anonymous}, {"file", files}, {"kernel", 0}, {"kernel_stack", 0}, {"pagetables", 0}, {"sec_pagetables", 0},
		{"percpu", 0}, {"sock", 0}, {"vmalloc", 0}, {"shmem", files}, {"zswap", 0}, {"zswapped", 0}, {"file_mapped", 0},
		{"file_dirty", 0}, {"file_writeback", 0}, {"swapcached", 0}, {"anon_thp", 0}, {"file_thp", 0}, {"shmem_thp", 0},
		{"inactive_anon", files}, {"active_anon", anonymous}, {"inactive_file", 0}, {"active_file", 0}, {"unevictable", 0},
		{"slab_reclaimable", 0}, {"slab_unreclaimable", 0}, {"slab", 0}, {"pgfault", 0}, {"pgmajfault", 0},
	} {
		s += fmt.Sprintf("%s %d\n", l.name, l.value)
	}
	return s, nil
}

func (c *Cgroup) readPIDs(vfs.Context) (string, error) {
	return c.told(func() string { return fmt.Sprintf("%d\n", c.count) })
}

func (c *Cgroup) readPIDsPeak(vfs.Context) (string, error) {
	return c.told(func() string { return fmt.Sprintf("%d\n", c.peak) })
}

func (c *Cgroup) readPIDsEvents(vfs.Context) (string, error) {
	return c.told(func() string { return fmt.Sprintf("max %d\n", c.hits) })
}

func (c *Cgroup) readPIDsOwnEvents(vfs.Context) (string, error) {
	return c.told(func() string { return fmt.Sprintf("max %d\n", c.ownHits) })
}

// told calls text with h.mu held.
func (c *Cgroup) told(text func() string) (string, error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	return text(), nil
}
