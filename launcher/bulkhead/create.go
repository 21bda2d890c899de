package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"bulkhead/launcher/cgroup"
	"bulkhead/launcher/keeper"
	"bulkhead/launcher/launch"
	"bulkhead/launcher/network"
	"bulkhead/launcher/oci"
	"bulkhead/launcher/spawn"
	"bulkhead/launcher/state"
	"bulkhead/launcher/term"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// creation is one create, or the first half of a run.
type creation struct {
	*global
	bundle        string
	pidFile       string
	consoleSocket string
	overlay       bool
	attached      bool // we wait for the container, and may start another netd
}

func (c *creation) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&c.bundle, "bundle", "b", ".", "the bundle's `DIR`")
	f.StringVar(&c.pidFile, "pid-file", "", "write the pid of the container's process to `FILE`")
	f.StringVar(&c.consoleSocket, "console-socket", "", "send the terminal's master to the UNIX socket at `PATH`")
	f.BoolVar(&c.overlay, "overlay", false, "keep what the container writes to its root out of the bundle")
	f.Bool("no-pivot", false, "accepted for runc's sake")
	f.Bool("no-new-keyring", false, "accepted for runc's sake")
	f.Int("preserve-fds", 0, "accepted for runc's sake")
}

func createCommand(g *global) *cobra.Command {
	c := creation{global: g}
	cmd := &cobra.Command{
		Use:   "create [flags] ID",
		Short: "Make a container, ready to start",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := c.make(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer m.dir.Close()
			if err := m.load(cmd.Context(), c.consoleSocket); err != nil {
				return err
			}
			return m.leave(c.pidFile)
		},
	}
	c.flags(cmd)
	return cmd
}

// made is a container in the making: its services run, and end with us.
type made struct {
	id      string
	spec    *sentryv1.ContainerSpec
	dir     *state.Dir
	state   *state.State
	sandbox *spawn.Sandbox
	cgroup  *cgroup.Cgroup
	keeper  *os.Process
	guard   *guard
}

// make starts the services for the container id. On an error nothing is left.
func (c *creation) make(ctx context.Context, id string) (*made, error) {
	if err := launch.Check(); err != nil {
		return nil, err
	}
	bundle, err := filepath.Abs(c.bundle)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", c.bundle, err)
	}
	spec, err := oci.Load(bundle)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", bundle, err)
	}
	options := c.options
	if err := options.MM.Annotated(spec.Annotations); err != nil {
		return nil, fmt.Errorf("bundle %s: %s: %w", bundle, oci.ConfigName, err)
	}
	converted, err := oci.Convert(id, bundle, spec, c.overlay)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", bundle, err)
	}
	c.warn(converted.Warnings)
	token := state.NewToken()
	guard, err := startGuard(c.root, id, token)
	if err != nil {
		return nil, err
	}
	dir, err := state.Create(c.root, id, token)
	if err != nil {
		guard.dismiss()
		return nil, err
	}
	m := &made{id: id, spec: converted.Spec, dir: dir, state: newState(id, bundle, spec, converted), guard: guard}
	if m.cgroup, err = cgroup.Make(spec.Linux); err != nil {
		m.undo()
		return nil, err
	}
	c.warn(m.cgroup.Warnings)
	m.state.Cgroup = m.cgroup.Paths
	options.CgroupJoin, options.Memory = m.cgroup.Join, oci.Memory(spec.Linux)
	options.Egress = network.AnnotatedRules(spec.Annotations)
	if options.Network, err = c.openNetwork(spec); err != nil {
		m.undo()
		return nil, err
	}
	// Written down at once: should we be killed, the guard, or delete, gives it back.
	if m.state.Taken = options.Network.Taken; m.state.Taken != nil || len(m.state.Cgroup) > 0 {
		if err := dir.Save(m.state); err != nil {
			m.undo()
			return nil, err
		}
	}
	options.RenewNetd = c.attached
	// A netd that is not in the state is not waited for, as a cgroup's end must.
	options.LateNetd = len(m.cgroup.Paths) == 0
	if m.sandbox, err = launch.Sandbox(ctx, dir.Handle, converted, options); err != nil {
		m.undo()
		return nil, err
	}
	return m, nil
}

func newState(id, bundle string, spec *specs.Spec, c *oci.Container) *state.State {
	return &state.State{
		OCIVersion: spec.Version, ID: id, Bundle: bundle, Rootfs: c.Attaches[0].Source,
		Created: time.Now().UTC(), Annotations: spec.Annotations,
	}
}

// undo leaves nothing of the container.
func (m *made) undo() {
	kill(m.keeper)
	if m.sandbox != nil {
		m.sandbox.Kill()
	}
	m.state.Taken.GiveBack()
	cgroup.Remove(m.state.Cgroup)
	m.dir.Remove()
	m.guard.dismiss()
}

// load makes the container, with our standard streams, or with a terminal whose
// master goes to consoleSocket. On an error nothing is left.
func (m *made) load(ctx context.Context, consoleSocket string) error {
	streams, done, err := streamsFor(m.spec.Process, consoleSocket)
	if err == nil {
		defer done()
		err = m.loadWith(ctx, streams)
	}
	if err != nil {
		m.undo()
	}
	return err
}

func (m *made) loadWith(ctx context.Context, streams launch.Streams) error {
	p, socket, err := keeper.Start()
	if err != nil {
		return err
	}
	defer socket.Close()
	m.keeper = p
	// Engines look for the container's cgroup by the pid that they were given.
	if err := m.cgroup.Join(p.Pid); err != nil {
		return fmt.Errorf("start keeper: join cgroup: %w", err)
	}
	return launch.Create(ctx, m.sandbox, m.spec, streams, socket)
}

// leave writes down where everything is and lets it live on without us.
func (m *made) leave(pidFile string) error {
	err := m.save()
	if err == nil {
		err = writePidFile(pidFile, m.keeper.Pid)
	}
	if err == nil {
		err = m.sandbox.Release()
	}
	if err != nil {
		m.undo()
		return err
	}
	m.guard.dismiss()
	return nil
}

func (m *made) save() error {
	began, err := spawn.StartTime(m.keeper.Pid)
	if err != nil {
		return fmt.Errorf("save state: keeper: %w", err)
	}
	m.state.Keeper = spawn.Found{Pid: m.keeper.Pid, StartTime: began}
	m.state.Services = map[string]spawn.Found{}
	for _, s := range []*spawn.Service{m.sandbox.Sentry, m.sandbox.Gofer, m.sandbox.Netd} {
		if s == nil {
			continue // a netd that is started later, and ends with its sentry
		}
		if m.state.Services[s.Name], err = s.Found(); err != nil {
			return fmt.Errorf("save state: %w", err)
		}
	}
	return m.dir.Save(m.state)
}

// streamsFor is what a process of an engine reads and writes: our own streams, or
// a new terminal. done lets go of them.
func streamsFor(p *sentryv1.ProcessSpec, consoleSocket string) (s launch.Streams, done func(), err error) {
	if !p.Terminal {
		if consoleSocket != "" {
			return s, nil, errors.New("--console-socket: the process has no terminal (process.terminal is not set)")
		}
		return launch.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, func() {}, nil
	}
	if consoleSocket == "" {
		return s, nil, errors.New("process.terminal is set: --console-socket is needed")
	}
	master, slave, err := term.Pair()
	if err != nil {
		return s, nil, fmt.Errorf("make terminal: %w", err)
	}
	defer master.Close()
	if p.Rows != 0 && p.Columns != 0 {
		term.SetSize(slave, p.Rows, p.Columns)
	}
	if err := term.Send(consoleSocket, master); err != nil {
		slave.Close()
		return s, nil, err
	}
	return launch.Streams{Console: slave}, func() { slave.Close() }, nil
}
