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

// idle adds the memory that an environment takes when its program sleeps: the
// proportional set size of all its processes, the launcher among them, so that
// pages shared by several count once.
func (b *run) idle(e environment) {
	const row = "idle memory (PSS)"
	argv := e.wrap([]string{"/bin/sleep", "60"})
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		b.fail(e, row, err, nil)
		return
	}
	time.Sleep(2 * time.Second) // a sandbox gives back what starting took after one
	kib, err := treePSS(cmd.Process.Pid)
	// The sleeping program ends; what runs it ends by itself.
	for _, pid := range tree(cmd.Process.Pid) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "sleep" {
			if p, err := os.FindProcess(pid); err == nil {
				p.Kill()
			}
		}
	}
	cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		cmd.Process.Kill()
		<-done
	}
	if err != nil {
		b.fail(e, row, err, nil)
		return
	}
	b.add(e, row, "MiB", kib/1024)
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

// tree is a process with all its descendants.
func tree(top int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		s, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name may hold spaces and brackets: proc_pid_stat(5).
		f := strings.Fields(string(s[bytes.LastIndexByte(s, ')')+1:]))
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
