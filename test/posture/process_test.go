package posture_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// A process of the sandbox, found from outside.
type process struct {
	pid  int
	exe  string
	kind string
}

type sandbox struct{ processes []process }

// start runs a sandbox whose program prints a line and sleeps, and finds its
// processes: the launcher's children by their programs, and the sentry's
// descendants, which are stubs. Children of the gofer or netd would be of no
// known kind.
func start(t *testing.T, flags ...string) *sandbox {
	t.Helper()
	args := sandboxtest.Command{Args: []string{"/bin/sh", "-c", "echo ready; sleep 600 & wait"}}.InSandbox(t, flags...).Args
	cmd := exec.Command(args[0], args[1:]...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	ready := make(chan string, 1)
	go func() {
		line := make([]byte, 6)
		n, _ := out.Read(line)
		ready <- string(line[:n])
	}()
	select {
	case line := <-ready:
		if line != "ready\n" {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("the sandbox did not start: %q, %s", line, errs.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("the sandbox did not start in a minute: %s", errs.String())
	}
	waitForNetd(t, cmd.Process.Pid)
	asleep(cmd.Process.Pid)
	sb := &sandbox{}
	children := childrenOf()
	for _, pid := range descendants(children, cmd.Process.Pid) {
		p := process{pid: pid}
		p.exe, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if kind, ok := strings.CutPrefix(filepath.Base(p.exe), "bulkhead-"); ok {
			p.kind = strings.TrimSuffix(kind, " (deleted)")
		}
		sb.processes = append(sb.processes, p)
	}
	for _, s := range sb.processes {
		if s.kind != "sentry" {
			continue
		}
		below := descendants(children, s.pid)
		for i := range sb.processes {
			if slices.Contains(below, sb.processes[i].pid) {
				sb.processes[i].kind = "stub"
			}
		}
	}
	return sb
}

// asleep waits until process pid and its descendants are the same in two looks, and
// none of them runs in either: the last to start is still being loaded before.
func asleep(pid int) {
	var before []int
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		now := descendants(childrenOf(), pid)
		runs := slices.ContainsFunc(now, func(pid int) bool {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return !bytes.Contains(b, []byte(") S "))
		})
		if !runs && slices.Equal(now, before) {
			return
		}
		if before = now; runs {
			before = nil
		}
	}
}

// waitForNetd waits until the launcher has started a netd, which it does last, and netd
// is sealed.
func waitForNetd(t *testing.T, launcher int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, pid := range descendants(childrenOf(), launcher) {
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			sealed := readStatus(fmt.Sprintf("/proc/%d/status", pid))["Seccomp"] == "2"
			if sealed && strings.HasPrefix(filepath.Base(exe), "bulkhead-netd") {
				return
			}
		}
	}
	t.Fatal("there is no sealed netd after 20 s")
}

// childrenOf is every process's children.
func childrenOf() map[int][]int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The name may hold spaces and brackets: proc_pid_stat(5).
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], pid)
	}
	return children
}

func descendants(children map[int][]int, pid int) (all []int) {
	for _, c := range children[pid] {
		all = append(all, c)
		all = append(all, descendants(children, c)...)
	}
	return all
}

func (p process) status(t *testing.T) map[string]string {
	t.Helper()
	s := readStatus(fmt.Sprintf("/proc/%d/status", p.pid))
	if s == nil {
		t.Fatalf("%s (pid %d) is gone", p.kind, p.pid)
	}
	return s
}

// readStatus is the fields of a status file, or nil.
func readStatus(path string) map[string]string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	s := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		s[k] = strings.TrimSpace(v)
	}
	return s
}
