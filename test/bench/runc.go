package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A runcBundle runs programs under runc on the host's own root, read-only, with
// runc's default spec otherwise.
type runcBundle struct {
	dir   string
	next  atomic.Int64
	spec  map[string]any
	runc  string
	state string
}

func newRuncBundle(dir string) (*runcBundle, error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return nil, errors.New("it is not installed (Debian's package is runc)")
	}
	r := &runcBundle{dir: filepath.Join(dir, "runc"), runc: runc, state: filepath.Join(dir, "runc-state")}
	root := filepath.Join(r.dir, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.Command(runc, "spec")
	cmd.Dir = r.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("runc spec: %w: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "config.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &r.spec); err != nil {
		return nil, err
	}
	r.spec["mounts"] = append(r.spec["mounts"].([]any), map[string]any{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
		// Programs write to the run's directory, as they may everywhere else.
		map[string]any{"destination": dir, "type": "bind", "source": dir, "options": []string{"bind", "rw"}})
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"} // as engines give
	r.spec["process"].(map[string]any)["capabilities"] = map[string]any{"bounding": caps, "effective": caps, "permitted": caps}
	if err := unix.Mount("/", root, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("bind the root: %w", err)
	}
	if err := unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		r.close()
		return nil, fmt.Errorf("make the root read-only: %w", err)
	}
	if _, err := output(r.wrap([]string{"/bin/true"})); err != nil {
		r.close()
		return nil, fmt.Errorf("runc run: %w", err)
	}
	return r, nil
}

// wrap writes the bundle's spec for a program: one bundle serves all, one at a
// time.
func (r *runcBundle) wrap(argv []string) []string {
	p := r.spec["process"].(map[string]any)
	p["terminal"], p["args"] = false, argv
	text, _ := json.Marshal(r.spec)
	os.WriteFile(filepath.Join(r.dir, "config.json"), text, 0o644)
	return []string{r.runc, "--root", r.state, "run", "-b", r.dir, fmt.Sprintf("bench%d-%d", os.Getpid(), r.next.Add(1))}
}

func (r *runcBundle) close() {
	unix.Unmount(filepath.Join(r.dir, "rootfs"), unix.MNT_DETACH)
}
