// Package cli_test runs scripts that read as shell sessions with Bulkhead's
// programs: testdata/*.txtar, in the language of testscript, with the commands
// below added.
//
// Each script has its own copy of the programs, so that a process is known to
// be a script's by the file that it runs.
package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) {
	// An engine is the subreaper of its containers' processes; so is this.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	sandboxtest.Main(m)
}

// scriptTime is what all scripts may take, on a busy machine: they wait for each other
// after their deadline is set.
const scriptTime = 4 * time.Minute

func TestScripts(t *testing.T) {
	bin := sandboxtest.Bin(t)
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	// Of its own, short for the sockets in it: the package would leave one a script.
	work, err := os.MkdirTemp("", "bulkhead-cli")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	for _, s := range scripts {
		testscript.Run(t, testscript.Params{
			WorkdirRoot:         work,
			Files:               []string{s},
			Deadline:            time.Now().Add(scriptTime),
			Setup:               func(e *testscript.Env) error { return setup(e, bin) },
			RequireExplicitExec: true,
			Cmds:                commands,
			Condition:           condition,
		})
	}
}

var commands = map[string]func(*testscript.TestScript, bool, []string){
	"exits":       exits,
	"detached":    detached,
	"waitline":    waitline,
	"kill9":       kill9,
	"signal":      signal,
	"alive":       alive,
	"gone":        gone,
	"emptied":     emptied,
	"killparent9": killparent9,
	"bundle":      bundle,
	"edit":        edit,
	"reaper":      reaper,
	"pidgone":     pidgone,
}

// condition: [has:PROGRAM] holds where the program is installed.
func condition(cond string) (bool, error) {
	if name, ok := strings.CutPrefix(cond, "has:"); ok {
		return sandboxtest.Installed(name), nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// setup gives a script its copy of the programs, first in PATH, and notes what
// the machine looks like, for "gone".
func setup(e *testscript.Env, bin string) error {
	own := filepath.Join(e.WorkDir, ".bin")
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	programs, err := filepath.Glob(filepath.Join(bin, "*"))
	if err != nil {
		return err
	}
	for _, p := range programs {
		if st, err := os.Stat(p); err != nil || st.IsDir() {
			continue
		}
		if err := duplicate(p, filepath.Join(own, filepath.Base(p))); err != nil {
			return err
		}
	}
	e.Setenv("PATH", own+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	e.Setenv("BIN", own)
	e.Setenv("ID", "cli-"+filepath.Base(e.WorkDir)+"-"+strconv.Itoa(os.Getpid()))
	e.Setenv("HOME", "/root")
	e.Setenv("BULKHEAD_BIN", "")
	// A directory that a sandbox on the host's root sees.
	seen, err := os.MkdirTemp("/var/tmp", "bulkhead-cli")
	if err != nil {
		return err
	}
	os.Chmod(seen, 0o755)
	e.Setenv("SEEN", seen)
	e.Values[traceKey{}] = newTrace(own)
	e.Defer(func() {
		killAll(own)
		os.RemoveAll(seen)
	})
	return nil
}

// duplicate links a file, or copies it to another file system.
func duplicate(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}

// copyFile makes to a new file, never the old one with other links.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// detached FILE CMD ARG... runs a command that leaves processes with its standard
// streams behind, as create does, and so must not have pipes for them.
func detached(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: detached FILE CMD ARG...")
	}
	file := ts.MkAbs(args[0])
	line := `exec "$@" </dev/null >"$0" 2>&1`
	err := ts.Exec("/bin/sh", append([]string{"-c", line, file}, args[1:]...)...)
	if text, _ := os.ReadFile(file); len(text) > 0 {
		ts.Logf("%s", text)
	}
	if (err == nil) == neg {
		ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
	}
}

// exits STATUS CMD ARG... runs a command that must exit with just that status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS CMD ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
