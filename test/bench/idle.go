package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// settle is when an environment is idle: a sandbox gives back what starting
// took after one second.
const settle = 2 * time.Second

// idleTime is how long idle processor time is counted.
func idleTime() time.Duration {
	if *quick {
		return 15 * time.Second
	}
	return time.Minute
}

// measureIdleMemory is the memory that an environment takes when its program
// sleeps: the proportional set size of all its processes, the launcher among
// them, so that pages shared by several count once.
func measureIdleMemory(_ *run, e environment) (float64, error) {
	s, err := startSleeper(e)
	if err != nil {
		return 0, err
	}
	defer s.end()
	time.Sleep(settle)
	kib, err := treePSS(s.cmd.Process.Pid)
	return kib / 1024, err
}

// measureIdleCPU is the processor time that all processes of a sandbox take
// while its program sleeps, in milliseconds a second.
func measureIdleCPU(_ *run, e environment) (float64, error) {
	if e.name != bulkhead {
		return 0, errElsewhere
	}
	s, err := startSleeper(e)
	if err != nil {
		return 0, err
	}
	defer s.end()
	time.Sleep(settle)
	start := time.Now()
	before := treeTime(s.cmd.Process.Pid)
	time.Sleep(idleTime())
	took := treeTime(s.cmd.Process.Pid) - before
	return took.Seconds() * 1e3 / time.Since(start).Seconds(), nil
}

// sleeper is an environment whose program sleeps.
type sleeper struct{ cmd *exec.Cmd }

func startSleeper(e environment) (*sleeper, error) {
	s := &sleeper{command(e.wrap([]string{"/bin/sleep", "300"}))}
	return s, s.cmd.Start()
}

// end ends the sleeping program; what runs it ends by itself.
func (s *sleeper) end() {
	for _, pid := range tree(s.cmd.Process.Pid) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "sleep" {
			if p, err := os.FindProcess(pid); err == nil {
				p.Kill()
			}
		}
	}
	stop(s.cmd)
}

// stop asks a program to end, and sees to it.
func stop(cmd *exec.Cmd) {
	cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		cmd.Process.Kill()
		<-done
	}
}

func treePSS(pid int) (kib float64, err error) {
	for _, p := range tree(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.ParseFloat(f[1], 64)
				kib += n
			}
		}
	}
	return kib, nil
}

// treeTime is the processor time of a process and its descendants so far. It is
// that of /proc/PID/stat, but of each thread's schedstat where there is one,
// since a clock tick is 10 ms.
func treeTime(pid int) (took time.Duration) {
	for _, p := range tree(pid) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p))
		if len(threads) == 0 {
			took += statTime(p)
		}
		for _, path := range threads {
			text, _ := os.ReadFile(path)
			if f := strings.Fields(string(text)); len(f) > 0 {
				ns, _ := strconv.ParseInt(f[0], 10, 64)
				took += time.Duration(ns)
			}
		}
	}
	return took
}

// statTime is utime and stime of /proc/PID/stat.
func statTime(pid int) time.Duration {
	f := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// statFields is what follows the name in a stat file, which may hold spaces and
// brackets itself: proc_pid_stat(5). The first is the state.
func statFields(path string) []string {
	s, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(s[bytes.LastIndexByte(s, ')')+1:]))
}

// tree is a process with all its descendants.
func tree(top int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		f := statFields(path)
		if len(f) < 2 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], pid)
	}
	all := []int{top}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}
