package hostile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// process is what /proc tells of one.
type process struct {
	pid, parent int
	ticks       int // of processor time, hundredths of a second
	space       string
}

// processes are all that there are, but for those that end meanwhile.
func processes() map[int]process {
	all := map[int]process{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name may hold anything: proc_pid_stat(5).
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 13 || f[0] == "Z" {
			continue
		}
		p := process{}
		p.pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
		p.parent, _ = strconv.Atoi(f[1])
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		p.ticks = user + system
		p.space, _ = os.Readlink(filepath.Join(filepath.Dir(path), "ns/pid"))
		all[p.pid] = p
	}
	return all
}

// look notes the PID namespaces of the launcher's descendants: whatever the
// sandbox has made is in one of them, whoever its parent is by then. It says whether the
// launcher is still running.
func (g *guest) look() (running bool) {
	all := processes()
	own := all[os.Getpid()].space
	for _, p := range all {
		for q := p; q.pid > 1; q = all[q.parent] {
			if q.pid == g.cmd.Process.Pid && p.space != own && p.space != "" {
				g.spaces[p.space] = true
				break
			}
		}
	}
	_, running = all[g.cmd.Process.Pid]
	return running
}

// of gives the processes that belong to the sandbox.
func (g *guest) processes() (mine []process) {
	for _, p := range processes() {
		if p.pid == g.cmd.Process.Pid || g.spaces[p.space] {
			mine = append(mine, p)
		}
	}
	return mine
}

// fallsQuiet waits until the sandbox, whose only process sleeps, uses next to no
// processor time: a tenth of one processor for half a second.
func (g *guest) fallsQuiet(t *testing.T) {
	t.Helper()
	g.look()
	used := func() (ticks int) {
		for _, p := range g.processes() {
			ticks += p.ticks
		}
		return ticks
	}
	ticks := 0
	for range 30 {
		before := used()
		time.Sleep(500 * time.Millisecond)
		if ticks = used() - before; ticks <= 5 {
			return
		}
	}
	t.Errorf("the sandbox used %d0 ms of processor time in half a second of sleep", ticks)
}

// leftNothing: no process, no mount, no file.
func (g *guest) leftNothing(t *testing.T) {
	t.Helper()
	var left []string
	for range 300 {
		left = nil
		for _, p := range g.processes() {
			left = append(left, "process "+strconv.Itoa(p.pid))
		}
		for m := range hostMounts() {
			if !g.mounts[m] {
				left = append(left, "mount "+m)
			}
		}
		entries, _ := os.ReadDir(g.tmp)
		for _, e := range entries {
			left = append(left, "file "+e.Name())
		}
		if left == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left on the host: %s", strings.Join(left, ", "))
}

// hostMounts are the mount points of this process's namespace, but for those of
// network namespaces, which others make meanwhile.
func hostMounts() map[string]bool {
	all := map[string]bool{}
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && !strings.HasPrefix(f[4], "/run/netns") {
			all[f[0]+" "+f[4]] = true
		}
	}
	return all
}
