package drill

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

var namespaces atomic.Int32

// needs skips where scripts cannot run.
func needs(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ip", "python3", "gcc"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("there is no " + name)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("there is no /dev/net/tun")
	}
}

// one runs a script once, with the agent on the host or in a sandbox.
func one(t *testing.T, path string, s side, sandbox bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	events, err := parse(string(text), s.defines)
	if err != nil {
		return err
	}
	dev, err := newTap(fmt.Sprintf("bhd%d-%d", os.Getpid(), namespaces.Add(1)), s)
	if err != nil {
		t.Skip(err)
	}
	defer dev.close()
	program := sandboxtest.CProgram(t, "test/drill/agent")
	line := []string{"ip", "netns", "exec", dev.namespace}
	shell := `cd "$1" && PATH=$3:/usr/local/sbin:/usr/sbin:/sbin:$PATH && exec "$2"`
	hidden := "/var/empty"
	if sandbox {
		hidden = withoutQueues(t)
		line = append(line, filepath.Join(sandboxtest.Bin(t), "sandbox-launch"), "run", "--tty=no", "--network", "sandbox")
		line = append(append(line, sandboxtest.Flags()...), "--")
	} else {
		shell = "mount -t tmpfs tmp /tmp && " + shell
		line = append(line, "unshare", "--mount")
	}
	line = append(line, "sh", "-c", shell, "sh", filepath.Dir(path), program, hidden)
	cmd := exec.Command(line[0], line[1:]...)
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		in.Close()
		kill := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() }) // it is in a call that blocks
		cmd.Wait()
		kill.Stop()
	}()
	a := newAgent(in, out)
	if _, _, err := a.do(newRequest(commandNumber).memory([]byte("true\x00"))); err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	d := &drill{local: s.local, remote: s.remote, tap: dev, agent: a, tolerance: tolerance}
	return d.run(events)
}

// withoutQueues is a directory with a tc(8) that does nothing: scripts choose a queue
// that paces nothing, and netd has none.
func withoutQueues(t *testing.T) string {
	t.Helper()
	dir := sandboxtest.VisibleDir(t)
	if err := os.WriteFile(filepath.Join(dir, "tc"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tolerance is generous, as machines are busy; what a script is about is seldom the time.
const tolerance = 60 * time.Millisecond

// drillAll runs scripts natively and in a sandbox, by some versions of IP.
func drillAll(t *testing.T, paths []string, sides ...side) {
	needs(t)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sides {
			if only := "--ip_version="; strings.Contains(string(text), only) && !strings.Contains(string(text), only+s.name) {
				continue
			}
			name := strings.TrimSuffix(filepath.Base(path), ".pkt") + "/" + s.name
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				both(t, path, s)
			})
		}
	}
}

// both runs a script on the host and in a sandbox. What does not hold on the host, as
// scripts for another version of Linux may not, is not held against the sandbox.
func both(t *testing.T, path string, s side) {
	twice := func(sandbox bool) (err error) {
		for range 2 {
			if err = one(t, path, s, sandbox); err == nil {
				break
			}
		}
		return err
	}
	if err := twice(false); err != nil {
		if filepath.Dir(path) == "testdata" {
			t.Fatalf("on the host: %v", err)
		}
		t.Skipf("on the host: %v", err)
	}
	if err := twice(true); err != nil {
		t.Errorf("in a sandbox: %v", err)
	}
}

// The scripts in testdata hold on Linux, and in a sandbox.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.pkt")
	if err != nil || len(paths) == 0 {
		t.Skip("no scripts")
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil {
			_, err = parse(string(text), sides[0].defines)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if os.Getenv("BULKHEAD_TEST_FULL") == "" {
		drillAll(t, paths, sides[0])
	} else {
		drillAll(t, paths, sides...)
	}
}

// The scripts of a directory that is named hold, too: those of the kernel's
// selftests, tools/testing/selftests/net/packetdrill.
func TestOthers(t *testing.T) {
	pattern := os.Getenv("BULKHEAD_DRILL")
	if pattern == "" {
		t.Skip("BULKHEAD_DRILL names no scripts")
	}
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatal(errors.Join(err, fmt.Errorf("no scripts at %s", pattern)))
	}
	drillAll(t, paths, sides...)
}
