package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"bulkhead/launcher/keeper"
	"bulkhead/launcher/launch"
	"bulkhead/launcher/oci"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// execution is one exec.
type execution struct {
	*global
	process       string
	detach        bool
	tty           bool
	cwd           string
	env           []string
	user          string
	groups        []uint
	caps          []string
	noNewPrivs    bool
	pidFile       string
	consoleSocket string
}

func execCommand(g *global) *cobra.Command {
	e := execution{global: g}
	cmd := &cobra.Command{
		Use:   "exec [flags] ID [COMMAND [ARG...]]",
		Short: "Run another process in a container",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return e.do(cmd.Context(), args[0], args[1:]) },
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&e.process, "process", "p", "", "read the process from `FILE`, as in config.json")
	f.BoolVarP(&e.detach, "detach", "d", false, "do not wait for it")
	f.BoolVarP(&e.tty, "tty", "t", false, "give it a terminal")
	f.StringVar(&e.cwd, "cwd", "", "start in this `DIR` of the container")
	f.StringArrayVarP(&e.env, "env", "e", nil, "set a variable: `NAME=VALUE`")
	f.StringVarP(&e.user, "user", "u", "", "run as `UID[:GID]`")
	f.UintSliceVarP(&e.groups, "additional-gids", "g", nil, "supplementary groups: `GID[,GID...]`")
	f.StringArrayVarP(&e.caps, "cap", "c", nil, "add the capability `CAP`")
	f.BoolVar(&e.noNewPrivs, "no-new-privs", false, "no program gains privileges")
	f.StringVar(&e.pidFile, "pid-file", "", "write the pid of the process to `FILE`")
	f.StringVar(&e.consoleSocket, "console-socket", "", "send the terminal's master to the UNIX socket at `PATH`")
	f.Int("preserve-fds", 0, "accepted for runc's sake")
	f.String("apparmor", "", "accepted for runc's sake")
	f.String("process-label", "", "accepted for runc's sake")
	return cmd
}

func (e *execution) do(ctx context.Context, id string, args []string) error {
	b, err := e.open(id, true)
	if err != nil {
		return err
	}
	defer b.close()
	status, _, err := b.status(ctx)
	if err != nil {
		return err
	}
	if b.crash != "" {
		return fmt.Errorf("exec in %s: %s", id, b.crash)
	}
	if status != "running" && status != "created" {
		return fmt.Errorf("exec in %s: the container is %s", id, status)
	}
	p, err := e.spec(b, args)
	if err != nil {
		return fmt.Errorf("exec in %s: %w", id, err)
	}
	s, err := b.sandbox()
	if err != nil {
		return err
	}
	k, socket, err := keeper.Start()
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := writePidFile(e.pidFile, k.Pid); err != nil {
		kill(k)
		return err
	}
	if e.detach || e.consoleSocket != "" {
		streams, done, err := streamsFor(p, e.consoleSocket)
		if err == nil {
			defer done()
			_, err = launch.Exec(ctx, s, id, p, streams, socket)
		}
		if err != nil {
			kill(k)
		} else if !e.detach {
			return waitKeeper(k)
		}
		return err
	}
	b.dir.Unlock()
	code, err := launch.ForegroundExec(ctx, s, id, p, socket)
	if err != nil {
		kill(k)
		return err
	}
	return exitStatus(code)
}

// spec is the process to run: a file's, or the container's own with the flags'
// changes.
func (e *execution) spec(b *box, args []string) (*sentryv1.ProcessSpec, error) {
	p, err := e.base(b)
	if err != nil {
		return nil, err
	}
	if len(args) != 0 {
		p.Args = args
	}
	if len(p.Args) == 0 {
		return nil, errors.New("no command: give one, or --process")
	}
	if e.cwd != "" {
		p.Cwd = e.cwd
	}
	p.Env = launch.Environ(p.Env, e.env)
	if e.tty {
		p.Terminal = true
	}
	if e.noNewPrivs {
		p.NoNewPrivileges = true
	}
	for _, g := range e.groups {
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
	}
	out := oci.Process(p)
	if e.user != "" {
		if out.User, err = launch.User(e.user); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *execution) base(b *box) (*specs.Process, error) {
	if e.process != "" {
		return oci.LoadProcess(e.process)
	}
	spec, err := oci.Load(b.state.Bundle)
	if err != nil {
		return nil, err
	}
	p := *spec.Process
	p.Args, p.Terminal, p.ConsoleSize = nil, false, nil
	if p.Capabilities == nil {
		p.Capabilities = &specs.LinuxCapabilities{}
	}
	c := p.Capabilities
	c.Bounding, c.Effective, c.Permitted = append(c.Bounding, e.caps...), append(c.Effective, e.caps...), append(c.Permitted, e.caps...)
	return &p, nil
}

// waitKeeper gives the status of the process that k stands for.
func waitKeeper(k *os.Process) error {
	st, err := k.Wait()
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	ws := st.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return exitStatus(128 + int(ws.Signal()))
	}
	return exitStatus(ws.ExitStatus())
}
