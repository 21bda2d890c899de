package cli_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

const patience = 30 * time.Second

// trace is what a script's "gone" compares with.
type trace struct {
	bin string
	// seen are the processes of the script that alive noted: pid and start time.
	seen map[int]string
}

type traceKey struct{}

func newTrace(bin string) *trace { return &trace{bin: bin, seen: map[int]string{}} }

// until tries a condition until it holds or patience ends.
func until(what func() string) string {
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if last = what(); last == "" {
			return ""
		}
	}
	return last
}

// waitline FILE TEXT waits until a file holds a line with that text.
func waitline(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitline FILE TEXT")
	}
	if e := until(func() string {
		b, _ := os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(b), args[1]) {
			return ""
		}
		return "holds:\n" + string(b)
	}); e != "" {
		ts.Fatalf("%s does not hold %q but %s", args[0], args[1], e)
	}
}

// running finds the processes that run a file of dir, by its base name.
func running(dir string) map[int]string {
	found := map[int]string{}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, l := range links {
		exe, err := os.Readlink(l)
		if err != nil || filepath.Dir(exe) != dir {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(l)))
		found[pid] = strings.TrimSuffix(filepath.Base(exe), " (deleted)")
	}
	return found
}

func killAll(dir string) {
	for pid := range running(dir) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// stat is field n of proc_pid_stat(5), counted from 1, for n > 2.
func stat(pid, n int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if n-3 >= len(f) {
		return ""
	}
	return f[n-3]
}

// alive NAME... checks that a process runs each of the script's programs, and
// notes them and all their descendants for gone.
func alive(ts *testscript.TestScript, neg bool, args []string) {
	tr := ts.Value(traceKey{}).(*trace)
	e := until(func() string {
		found := running(tr.bin)
		for _, want := range args {
			if !slices.Contains(slices.Collect(values(found)), want) {
				return want + " does not run"
			}
		}
		return ""
	})
	if (e == "") == neg {
		ts.Fatalf("alive: %s", e)
	}
	mine := running(tr.bin)
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		parents[pid], _ = strconv.Atoi(stat(pid, 4))
	}
	for pid := range parents {
		for p := pid; p > 1; p = parents[p] {
			if _, ok := mine[p]; ok {
				tr.seen[pid] = stat(pid, 22)
				break
			}
		}
	}
}

func values(m map[int]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// kill9 NAME kills the script's processes that run that program.
func kill9(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: kill9 PROGRAM")
	}
	send(ts, unix.SIGKILL, args[0])
}

// killparent9 PIDFILE sends SIGKILL to the parent of the process in a pid-file.
func killparent9(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: killparent9 PIDFILE")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	ts.Check(err)
	parent, err := strconv.Atoi(stat(pid, 4))
	ts.Check(err)
	if running(ts.Value(traceKey{}).(*trace).bin)[parent] == "" {
		ts.Fatalf("process %d, parent of %d, is none of ours", parent, pid)
	}
	ts.Check(syscall.Kill(parent, unix.SIGKILL))
}

// emptied DIR waits until a directory holds nothing.
func emptied(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: emptied DIR")
	}
	if e := until(func() string {
		names, err := os.ReadDir(ts.MkAbs(args[0]))
		if err != nil || len(names) > 0 {
			return fmt.Sprint(names, err)
		}
		return ""
	}); e != "" {
		ts.Fatalf("%s holds %s", args[0], e)
	}
}

// signal SIG PROGRAM sends a signal, TERM for one, to the script's processes that
// run that program.
func signal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || unix.SignalNum("SIG"+args[0]) == 0 {
		ts.Fatalf("usage: signal SIG PROGRAM")
	}
	send(ts, unix.SignalNum("SIG"+args[0]), args[1])
}

func send(ts *testscript.TestScript, sig syscall.Signal, program string) {
	n := 0
	for pid, name := range running(ts.Value(traceKey{}).(*trace).bin) {
		if name == program {
			ts.Check(syscall.Kill(pid, sig))
			n++
		}
	}
	if n == 0 {
		ts.Fatalf("no process runs %s", program)
	}
}

// gone checks that nothing of the script is left: no process, no mount, no
// cgroup, no directory of a sandbox's.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	tr := ts.Value(traceKey{}).(*trace)
	if e := until(func() string { return left(ts, tr) }); (e == "") == neg {
		ts.Fatalf("left behind: %s", e)
	}
}

func left(ts *testscript.TestScript, tr *trace) string {
	var all []string
	for pid, name := range running(tr.bin) {
		all = append(all, fmt.Sprintf("process %d %s", pid, name))
	}
	for pid, started := range tr.seen {
		if now := stat(pid, 22); now != "" && now == started && stat(pid, 3) != "Z" {
			all = append(all, fmt.Sprintf("process %d (state %s)", pid, stat(pid, 3)))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, ts.Getenv("WORK")) || strings.Contains(line, ts.Getenv("ID")) {
			all = append(all, "mount "+strings.TrimSpace(line))
		}
	}
	for _, top := range []string{"/sys/fs/cgroup", "/run", "/var/run"} {
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.Contains(d.Name(), ts.Getenv("ID")) {
				all = append(all, path)
			}
			return nil
		})
	}
	return strings.Join(all, "\n")
}

// bundle DIR ARG... makes an OCI bundle in DIR whose root has the static busybox
// as every tool in /bin, and whose program is ARG...
func bundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: bundle DIR ARG...")
	}
	dir := ts.MkAbs(args[0])
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc", "root"} {
		ts.Check(os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	// A copy: a link would let a container with a writable root change the host's.
	ts.Check(copyFile("/bin/busybox", filepath.Join(root, "bin/busybox")))
	out, err := exec.Command("/bin/busybox", "--list").Output()
	ts.Check(err)
	for name := range strings.FieldsSeq(string(out)) {
		if name != "busybox" {
			os.Symlink("busybox", filepath.Join(root, "bin", name))
		}
	}
	ts.Check(os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "config.json"), config(args[1:]), 0o644))
}

// config is a runtime spec as engines write it, for a program in a bundle.
func config(argv []string) []byte {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = strconv.Quote(a)
	}
	return []byte(`{
	"ociVersion": "1.1.0",
	"process": {
		"terminal": false,
		"user": {"uid": 0, "gid": 0},
		"args": [` + strings.Join(quoted, ", ") + `],
		"env": ["PATH=/bin", "TERM=xterm"],
		"cwd": "/",
		"capabilities": {
			"bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_FOWNER"],
			"effective": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_FOWNER"],
			"permitted": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
		},
		"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
	},
	"root": {"path": "rootfs", "readonly": false},
	"hostname": "hull",
	"mounts": [
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
		{"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
		{"destination": "/dev/shm", "type": "tmpfs", "source": "shm"},
		{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}
	],
	"linux": {
		"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]
	}
}
`)
}

// edit FILE OLD NEW replaces the one place of a text in a file.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if strings.Count(string(b), args[1]) != 1 {
		ts.Fatalf("%s holds %q %d times", args[0], args[1], strings.Count(string(b), args[1]))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(string(b), args[1], args[2], 1)), 0o644))
}

// reaper PIDFILE waits for the process in a pid-file, which must be a child of
// this test program, as its subreaper, and prints its status as a shell would.
// An engine does just that.
func reaper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: reaper PIDFILE [STATUS]")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	ts.Check(err)
	var ws unix.WaitStatus
	var got int
	if e := until(func() string {
		got, err = unix.Wait4(pid, &ws, unix.WNOHANG, nil)
		if got == 0 && err == nil {
			return "it still runs"
		}
		return ""
	}); e != "" {
		ts.Fatalf("reaper: pid %d: %s", pid, e)
	}
	ts.Check(err)
	status := strconv.Itoa(ws.ExitStatus())
	if ws.Signaled() {
		status = "SIG" + strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG")
	}
	if len(args) == 2 && status != args[1] {
		ts.Fatalf("reaper: pid %d ended with %s, want %s", pid, status, args[1])
	}
}

// pidgone PIDFILE checks that no process has that pid any more.
func pidgone(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	e := until(func() string {
		if _, err := os.Stat("/proc/" + strings.TrimSpace(string(b))); err == nil {
			return "pid " + string(b) + " is there"
		}
		return ""
	})
	if (e == "") == neg {
		ts.Fatalf("pidgone: %s", e)
	}
}
