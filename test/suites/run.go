package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// runner runs suites in both places.
type runner struct {
	ctx    context.Context // ends when the run is interrupted
	cancel context.CancelFunc
	launch string // sandbox-launch
	logs   string // where what they print goes
	// scripts is a copy of theirs that a sandbox sees, too, wherever the repository is:
	// it has a /tmp of its own.
	scripts string
}

// errTimeout says that a suite took too long; what it told until then counts.
var errTimeout = errors.New("took too long")

// environment is what suites run with, in both places.
var environment = []string{
	"PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb", "HOME=/tmp/suite", "TMPDIR=/tmp/suite",
}

// start goes to the empty directory in which every suite starts.
const start = `mkdir -p /tmp/suite && cd /tmp/suite || exit; ulimit -c 0; `

// onHost gives the host what a sandbox has: a /tmp, processes and a loopback of its
// own, with which whatever a suite leaves behind goes, and settings of the machine that
// cannot be changed.
var onHost = []string{"unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "/bin/bash", "-c",
	`mount -t tmpfs -o mode=1777 tmp /tmp && ip link set lo up; ` +
		`for d in /sys /proc/sys; do mount --rbind $d $d && mount -o remount,bind,ro $d || exit; done; ` + start + `exec "$@"`, "bash"}

func newRunner() (*runner, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a sandbox needs root")
	}
	launch, err := filepath.Abs(filepath.Join(*bin, "sandbox-launch"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(launch); err != nil {
		return nil, fmt.Errorf("%w: run make build", err)
	}
	r := &runner{launch: launch, logs: *logs}
	if r.scripts, err = os.MkdirTemp("/var/tmp", "bulkhead-suites"); err != nil {
		return nil, err
	}
	if err := os.CopyFS(r.scripts, os.DirFS(filepath.Join("test", "suites", "suites"))); err != nil {
		return nil, err
	}
	if err := os.Chmod(r.scripts, 0o755); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if r.logs != "" {
		return r, os.MkdirAll(r.logs, 0o755)
	}
	return r, nil
}

func (r *runner) close() {
	r.cancel()
	os.RemoveAll(r.scripts)
}

// script is where a suite's script is for who runs it.
func (r *runner) script(s suite) string { return filepath.Join(r.scripts, filepath.Base(s.path)) }

// onHost runs a suite on the host, or reads what it printed there before.
func (r *runner) onHost(s suite) (results, error) {
	if *reuse && r.logs != "" {
		if log, err := os.ReadFile(r.log(s, "host")); err == nil {
			return s.format(log), nil
		}
	}
	return r.run(s, "host", append(onHost[:len(onHost):len(onHost)], "/bin/bash", r.script(s)))
}

// inSandbox runs a suite in a sandbox.
func (r *runner) inSandbox(s suite) (results, error) {
	args := []string{r.launch, "run", "--tty=no"}
	for _, v := range environment {
		args = append(args, "--env", v)
	}
	args = append(args, "--env", "SUITES="+r.scripts, "--env", "PARTS="+*parts)
	args = append(args, s.flags...)
	args = append(args, "--", "/bin/bash", "-c", start+`exec "$@"`, "bash", "/bin/bash", r.script(s))
	return r.run(s, "sandbox", args)
}

func (r *runner) log(s suite, place string) string {
	return filepath.Join(r.logs, s.name+"."+place)
}

// run runs a suite and reads its results.
func (r *runner) run(s suite, place string, args []string) (results, error) {
	ctx, cancel := context.WithTimeout(r.ctx, s.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(environment[:len(environment):len(environment)], "SUITES="+r.scripts, "PARTS="+*parts)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if r.logs != "" {
		if err := os.WriteFile(r.log(s, place), out.Bytes(), 0o644); err != nil {
			return nil, err
		}
	}
	got := s.format(out.Bytes())
	switch {
	case r.ctx.Err() != nil:
		return got, errors.New("interrupted")
	case ctx.Err() != nil:
		return got, errTimeout
	case len(got) == 0:
		return got, fmt.Errorf("told of no test (%v): %.300s", err, out.Bytes())
	}
	return got, nil // a suite's own status says nothing more than its tests
}
