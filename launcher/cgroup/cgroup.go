// Package cgroup puts a sandbox's processes where config.json wants them
// accounted: linux.cgroupsPath, with linux.resources. Guest processes are host
// processes, so the host's numbers are the guest's. cgroup v1, v2 and both beside
// each other are opencontainers/cgroups' matter.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/opencontainers/cgroups"
	cgroup1 "github.com/opencontainers/cgroups/fs"
	cgroup2 "github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Cgroup is a sandbox's. The zero value is none.
type Cgroup struct {
	// Paths lead to it, by controller: what Remove needs.
	Paths map[string]string
	// Warnings name what is not honoured.
	Warnings []string

	manager cgroups.Manager
}

// Make makes the cgroup that l, which may be nil, asks for, and sets its limits.
func Make(l *specs.Linux) (*Cgroup, error) {
	c := &Cgroup{}
	if l == nil || l.CgroupsPath == "" {
		if l != nil && limits(l.Resources) {
			c.warn("linux.resources: there is no linux.cgroupsPath to set them on")
		}
		return c, nil
	}
	if strings.Count(l.CgroupsPath, ":") == 2 {
		c.warn("linux.cgroupsPath %s: systemd's slices are not supported yet", l.CgroupsPath)
		return c, nil
	}
	var err error
	if c.manager, err = newManager(&cgroups.Cgroup{Path: l.CgroupsPath, Resources: resources(l.Resources)}, nil); err != nil {
		return nil, fmt.Errorf("make cgroup %s: %w", l.CgroupsPath, err)
	}
	c.Paths = c.manager.GetPaths()
	if err := c.manager.Apply(-1); err != nil { // -1: only make it
		c.Remove()
		return nil, fmt.Errorf("make cgroup %s: %w", l.CgroupsPath, err)
	}
	c.Paths = c.manager.GetPaths()
	maps.DeleteFunc(c.Paths, func(_, dir string) bool { // the library makes none for devices
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	})
	if err := c.manager.Set(nil); err != nil {
		c.Remove()
		return nil, fmt.Errorf("set limits of cgroup %s: %w", l.CgroupsPath, err)
	}
	return c, nil
}

// newManager is that of cgroup v1 or v2, whichever the host has. The library's own
// choice would bring systemd's bus with it.
func newManager(c *cgroups.Cgroup, paths map[string]string) (cgroups.Manager, error) {
	if cgroups.IsCgroup2UnifiedMode() {
		return cgroup2.NewManager(c, paths[""])
	}
	return cgroup1.NewManager(c, paths)
}

func (c *Cgroup) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, "config.json: "+fmt.Sprintf(format, args...))
}

// Join puts a process there.
func (c *Cgroup) Join(pid int) error {
	for _, dir := range c.Paths {
		if err := cgroups.WriteCgroupProc(dir, pid); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes the cgroup, in which no process may be left.
func (c *Cgroup) Remove() error { return Remove(c.Paths) }

// Remove removes the cgroup at paths; none if there are none.
func Remove(paths map[string]string) error {
	if len(paths) == 0 {
		return nil
	}
	m, err := newManager(&cgroups.Cgroup{Resources: &cgroups.Resources{SkipDevices: true}}, paths)
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

// limits tells whether r limits anything besides devices, which the guest has
// none of.
func limits(r *specs.LinuxResources) bool {
	return r != nil && (r.Memory != nil || r.CPU != nil || r.Pids != nil || r.BlockIO != nil || len(r.Unified) != 0)
}

func resources(r *specs.LinuxResources) *cgroups.Resources {
	out := &cgroups.Resources{SkipDevices: true}
	if r == nil {
		return out
	}
	set := func(to *int64, from *int64) {
		if from != nil {
			*to = *from
		}
	}
	if m := r.Memory; m != nil {
		set(&out.Memory, m.Limit)
		set(&out.MemoryReservation, m.Reservation)
		set(&out.MemorySwap, m.Swap)
	}
	if c := r.CPU; c != nil {
		if c.Shares != nil {
			out.CpuShares = *c.Shares
			out.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*c.Shares)
		}
		set(&out.CpuQuota, c.Quota)
		if c.Period != nil {
			out.CpuPeriod = *c.Period
		}
		out.CpusetCpus, out.CpusetMems = c.Cpus, c.Mems
	}
	if p := r.Pids; p != nil && p.Limit != nil {
		limit := *p.Limit
		out.PidsLimit = &limit
	}
	if cgroups.IsCgroup2UnifiedMode() {
		out.Unified = r.Unified
	}
	return out
}
