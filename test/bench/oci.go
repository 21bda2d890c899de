package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// measureOCIRun is how long `bulkhead run` takes for a bundle of /bin/true on the host's
// own root: what runc's column has in the row of start-up.
func measureOCIRun(b *run, e environment) (float64, error) {
	if e.name != bulkhead {
		return 0, errElsewhere
	}
	bundle := filepath.Join(b.dir, "oci")
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return 0, err
	}
	spec, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2",
		"root":       map[string]any{"path": "/", "readonly": true},
		"process":    map[string]any{"user": map[string]any{}, "args": []string{"/bin/true"}, "cwd": "/"},
		"mounts":     []any{map[string]any{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":      map[string]any{"namespaces": []any{map[string]any{"type": "pid"}, map[string]any{"type": "mount"}, map[string]any{"type": "network"}}},
	})
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), spec, 0o644); err != nil {
		return 0, err
	}
	program, err := filepath.Abs(filepath.Join(*bin, "bulkhead"))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	_, err = output([]string{program, "--root", filepath.Join(b.dir, "oci-state"), "run", "-b", bundle, fmt.Sprintf("bench-%d", start.UnixNano())})
	return float64(time.Since(start)) / 1e6, err
}
