package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// profile shows where an operation spends its time: perf's samples of all
// processes of a sandbox that does nothing else, by process and function. The
// functions of the stub have no names: its text is at 0x7ffe100f0000. The
// programs are built anew, since make's have no symbols.
func (b *run) profile(operation string) error {
	if err := installed("perf"); err != nil {
		return err
	}
	if err := buildWithSymbols(b.dir); err != nil {
		return err
	}
	cmd := command([]string{b.path("sandbox-launch"), "run", "--", b.path("micro"), "-for", "8", operation})
	cmd.Env = append(cmd.Env, "BULKHEAD_LIBEXEC="+b.dir)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	defer stop(cmd)
	time.Sleep(2 * time.Second)
	var pids []string
	for _, pid := range tree(cmd.Process.Pid) {
		pids = append(pids, strconv.Itoa(pid))
	}
	data := b.path("perf.data")
	record := exec.Command("perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-o", data, "-p", strings.Join(pids, ","), "--", "sleep", "4")
	if out, err := record.CombinedOutput(); err != nil {
		return fmt.Errorf("perf record: %w: %s", err, tail(string(out)))
	}
	for _, keys := range []string{"comm", "comm,dso", "comm,sym"} {
		show := exec.Command("perf", "report", "-q", "-i", data, "--stdio", "--no-children", "--percent-limit", "0.5", "--sort", keys)
		show.Stdout, show.Stderr = os.Stdout, os.Stderr
		fmt.Printf("\n%s by %s:\n", operation, keys)
		if err := show.Run(); err != nil {
			return fmt.Errorf("perf report: %w", err)
		}
	}
	return nil
}

// buildWithSymbols builds what a sandbox runs into dir.
func buildWithSymbols(dir string) error {
	for name, pkg := range map[string]string{
		"sandbox-launch":  "bulkhead/launcher/sandbox-launch",
		"bulkhead-sentry": "bulkhead/services/sentry",
		"bulkhead-gofer":  "bulkhead/services/gofer",
		"bulkhead-netd":   "bulkhead/services/netd",
	} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w: %s", pkg, err, tail(string(out)))
		}
	}
	return nil
}
