package hostile_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bulkhead/test/sandboxtest"
)

// fillMemory is what the sandbox is given, in bytes.
const fillMemory = 256 << 20

// fillConfig is of a container that may make everything there is.
const fillConfig = `{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
"process": {"user": {"uid": 0, "gid": 0}, "args": ["/prog"], "env": [], "cwd": "/",
  "capabilities": {"bounding": [%[1]s], "effective": [%[1]s], "permitted": [%[1]s]},
  "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1048576}]},
"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}, {"destination": "/dev/pts", "type": "devpts", "source": "devpts"}],
"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}], "resources": {"memory": {"limit": %[2]d}}}}`

// TestFill has a guest make as many things of a kind as it gets: it must be refused
// before the sentry holds what the sandbox is given, and when the things are gone
// there must be room for others.
func TestFill(t *testing.T) {
	prog := sandboxtest.CProgram(t, "test/hostile/hostileprog")
	bundle := t.TempDir()
	root := filepath.Join(bundle, "rootfs")
	for _, dir := range []string{"proc", "tmp", "dev", "usr"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", prog, filepath.Join(root, "prog")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const caps = `"CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_MKNOD", "CAP_KILL", "CAP_IPC_LOCK", "CAP_SETGID"`
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), fmt.Appendf(nil, fillConfig, caps, fillMemory), 0o644); err != nil {
		t.Fatal(err)
	}
	kinds := []string{"pipes", "unix", "tcp", "symlinks", "mapped", "segments", "groups", "absent"}
	if os.Getenv("BULKHEAD_TEST_FULL") != "" {
		out, err := exec.Command(prog, "fill", "list").Output()
		if err != nil {
			t.Fatal(err)
		}
		kinds = strings.Fields(string(out))
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { fill(t, bundle, kind) })
	}
}

func fill(t *testing.T, bundle, kind string) {
	g := start(t, sandboxtest.Command{Args: []string{"/prog", "fill", kind}}.InSandbox(t, "--bundle", bundle))
	said, ok := g.line(4 * time.Minute)
	if !ok {
		t.Fatalf("it said nothing\n%s", g.kill())
	}
	g.look()
	size := g.sentrySize()
	t.Log(said, "sentry", size>>20, "MiB")
	if kind == "mapped" || kind == "segments" {
		if !strings.HasSuffix(said, " 0: Cannot allocate memory") {
			t.Errorf("%q: it wrote to more than it was given", said)
		}
	}
	if size == 0 || size > fillMemory {
		t.Errorf("the sentry holds %d MiB, want %d at most", size>>20, fillMemory>>20)
	}
	if code := g.end(t); code != 42 {
		room, _ := g.line(0)
		t.Errorf("exit status %d, want 42: %q\n%s", code, room, g.errors())
	}
	g.leftNothing(t)
}

// sentrySize is the sentry's anonymous memory at most so far, in bytes.
func (g *guest) sentrySize() (size int) {
	for _, p := range g.processes() {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
		if !strings.HasPrefix(filepath.Base(exe), "bulkhead-sentry") {
			continue
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		if _, rest, ok := bytes.Cut(status, []byte("RssAnon:")); ok {
			kB := 0
			fmt.Sscan(string(rest), &kB)
			size = max(size, kB<<10)
		}
	}
	return size
}
