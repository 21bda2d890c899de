package net_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// serviceOf finds a service among the children of a launcher.
func serviceOf(t *testing.T, launcher int, name string) int {
	t.Helper()
	children, err := filepath.Glob("/proc/" + strconv.Itoa(launcher) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		list, _ := os.ReadFile(c)
		for _, pid := range strings.Fields(string(list)) {
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			if strings.TrimSpace(string(comm)) == name {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
	}
	return 0
}

// netdOf waits for the launcher to have a netd that is not old.
func netdOf(t *testing.T, launcher, old int) int {
	t.Helper()
	for range 600 {
		if pid := serviceOf(t, launcher, "bulkhead-netd"); pid != 0 && pid != old {
			return pid
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("there is no netd")
	return 0
}

// killed runs a program in a sandbox, kills netd once it is ready, and gives what it
// said then. What the launcher says, at any moment, comes last.
func killed(t *testing.T, w *wire, line []string) string {
	t.Helper()
	s := w.start(line, "ready")
	launcher := s.cmd.Process.Pid // ip has become the launcher
	if err := syscall.Kill(netdOf(t, launcher, 0), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(50 * time.Second):
		t.Error("it hangs")
	}
	var guest, launcherSaid strings.Builder
	for line := range strings.Lines(s.output()) {
		if strings.HasPrefix(line, "sandbox-launch: ") || strings.HasPrefix(line, "bulkhead: ") {
			launcherSaid.WriteString(line)
		} else {
			guest.WriteString(line)
		}
	}
	return guest.String() + launcherSaid.String()
}

const reset = "connection reset by peer"

// When netd dies, whoever waits is told, new sockets are refused, and then there is
// another netd, with the same interfaces.
func TestCrash(t *testing.T) {
	t.Parallel()
	crash(t, func(w *wire, args []string) []string { return w.sandbox(nil, args...) })
}

// In mode user there is another passt(1) too.
func TestCrash_user(t *testing.T) {
	t.Parallel()
	needs(t, "passt")
	crash(t, func(w *wire, args []string) []string {
		w.ip("-n", w.inside, "route", "add", "default", "via", outsideV4)
		line := []string{"ip", "netns", "exec", w.inside, filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run", "--network", "user"}
		return append(append(append(line, sandboxtest.Flags()...), "--"), args...)
	})
}

// bulkhead does the same as long as it waits for the container.
func TestCrash_bulkhead(t *testing.T) {
	t.Parallel()
	crash(t, func(w *wire, args []string) []string {
		dir := t.TempDir()
		config, err := json.Marshal(map[string]any{
			"ociVersion": "1.0.2",
			"root":       map[string]any{"path": "/"},
			"process":    map[string]any{"args": args, "cwd": "/", "env": []string{"PATH=/usr/bin:/bin"}, "user": map[string]any{"uid": 0, "gid": 0}},
			"linux":      map[string]any{"namespaces": []any{map[string]any{"type": "network", "path": "/run/netns/" + w.inside}, map[string]any{"type": "mount"}, map[string]any{"type": "pid"}}},
		})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return []string{filepath.Join(sandboxtest.Bin(t), "bulkhead"), "--root", filepath.Join(dir, "state"), "run", "--overlay", "--bundle", dir, w.inside}
	})
}

func crash(t *testing.T, line func(w *wire, args []string) []string) {
	w := newWire(t)
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w.start(w.peer(prog, "sink", outsideV4+":7000"), "ready")
	w.start(w.peer(prog, "echo", outsideV4+":7001"), "ready")
	out := killed(t, w, line(w, []string{prog, "crash", outsideV4 + ":7000", outsideV4 + ":7001"}))
	for _, want := range []string{
		"accept: network is down", "poll of a listener: events 0x18", "recv of datagrams: network is down",
		"read: " + reset, "write: ", "epoll: events 0x18, then " + reset, "Go's reader: " + reset,
		"new socket: network is down", "again\nwithin\noutside\ntrue <nil>", "warning: netd ended",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q", want)
		}
	}
	// Who had written a part of it is told of the reset by that, and then of the end.
	if !strings.Contains(out, "write: "+reset) && !strings.Contains(out, "write: broken pipe") {
		t.Error("the writer hears of nothing")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// The guest's own namespaces of the network are empty again with the other netd, as when
// they were made, and apart.
func TestCrash_spaces(t *testing.T) {
	t.Parallel()
	w := bare(t)
	line := append([]string{"ip", "netns", "exec", w.inside, filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run"}, sandboxtest.Flags()...)
	out := killed(t, w, append(line, "--", sandboxtest.GoProgram(t, "./test/net/netprog"), "crash-spaces"))
	for _, name := range []string{"one", "two"} {
		want := name + ": accept: network is down\n" + name + ": lo: loopback\n" + name + ": unreachable: true\n" + name + ": reached " + name + "\n"
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// What TestCrash shows of a sandbox that has its loopback only; and netd can end several times, but
// not without end.
func TestCrashes(t *testing.T) {
	t.Parallel()
	prog := sandboxtest.GoProgram(t, "./test/net/netprog")
	w := bare(t)
	line := append([]string{"ip", "netns", "exec", w.inside}, filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run")
	line = append(append(line, sandboxtest.Flags()...), "--", prog)
	if out := killed(t, w, append(line, "crash", "", "")); !strings.Contains(out, "again\nwithin") {
		t.Error(out)
	}
	s := w.start(append(line, "serve"), "ready")
	launcher, killed := s.cmd.Process.Pid, map[int]bool{}
	const all = 6 // the first, and those that follow it
	for quiet := 0; quiet < 15 || len(killed) < all && quiet < 200; quiet++ {
		if pid := serviceOf(t, launcher, "bulkhead-netd"); pid != 0 && !killed[pid] {
			syscall.Kill(pid, syscall.SIGKILL)
			killed[pid] = true
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(killed) < 2 {
		t.Errorf("%d were killed", len(killed))
	}
	if out := s.output(); !strings.Contains(out, "no network any more") {
		t.Error(out)
	}
}
