// Package container makes containers out of the kernel's parts: it boots the
// kernel, mounts what a specification asks for, runs programs, and answers what
// launchers want to know. It implements control.Kernel.
package container

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead/launcher/jail"
	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	sentryv1 "bulkhead/proto/sentry/v1"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/control"
	"bulkhead/services/sentry/devfs"
	"bulkhead/services/sentry/devpts"
	"bulkhead/services/sentry/hostfile"
	"bulkhead/services/sentry/platform"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/inet"
	usocket "bulkhead/services/sentry/socket/unix"
	"bulkhead/services/sentry/syscalls"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/tty"
	"bulkhead/services/sentry/vfs"
)

// Sandbox is the kernel of one sandbox with its containers.
type Sandbox struct {
	kernel *task.Kernel
	jobs   jobs
	host   procfs.Host
	outlet *inet.Outlet // nil: there is no netd
	gofer  *channel.Client
	pts    *devpts.FS

	mu         sync.Mutex
	containers map[string]*Container
}

// New gives a sandbox that has not booted.
func New() *Sandbox { return &Sandbox{containers: map[string]*Container{}} }

// Boot starts the zygote and reads what can only be read before the process is
// sealed.
func (s *Sandbox) Boot(cfg *sentryv1.BootRequest, fds control.Descriptors) error {
	var err error
	if s.host, err = procfs.ReadHost(); err != nil {
		return fmt.Errorf("read the host's facts: %w", err)
	}
	s.host.Limit(cfg.Memory)
	s.host.Threads = platform.MostTasks()
	s.host.Release, s.host.Version = linux.Release, linux.Version
	if err := hostfile.Prepare(); err != nil {
		return fmt.Errorf("prepare for the launcher's files: %w", err)
	}
	machine, err := platform.Start(&platform.Credential{UID: uint32(jail.Private()), GID: uint32(jail.Private())},
		platform.Options{Verified: cfg.VerifyMemory, Log: newLog(fds.Log)})
	if err != nil {
		return err
	}
	if cfg.KeepTrapping {
		machine.KeepTrapping()
	}
	k := task.NewKernel(machine)
	s.kernel, s.jobs = k, jobs{k}
	k.Cgroups.Processors = max(s.host.CPUs, 1)
	budget.Overrun = k.EndLargestMapper
	budget.Shrink = vfs.ShrinkCaches
	budget.Start(cfg.Memory)
	k.Syscall = syscalls.Dispatch
	if cfg.Strace {
		k.Trace = newTracer(fds.Strace)
	}
	k.Log = newLog(fds.Log)
	task.Hangup = func(_ *task.Kernel, session *task.Session, t any) {
		if term, ok := t.(*tty.Terminal); ok {
			term.LeaderExit(session.ID)
		}
	}
	if fds.Gofer != nil {
		if s.gofer, err = dial(fds.Gofer); err != nil {
			return fmt.Errorf("connect to gofer: %w", err)
		}
	}
	s.pts = devpts.New(s.jobs, devpts.DefaultOptions())
	devfs.Register(s.jobs, openConsole)
	devpts.RegisterPtmx(s.pts)
	syscalls.Families = socket.Families{unix.AF_UNIX: usocket.NewFamily(s.places)}
	if err := s.network(fds.Netd); err != nil {
		return fmt.Errorf("connect to netd: %w", err)
	}
	s.fileSystems()
	vfs.DeviceGate = k.MayUseDevice
	return nil
}

// Sealed forks the first stub ahead of need. Not before: pivot_root(2) moves the
// processes that there are, and one that is just being forked would keep the
// host's root.
func (s *Sandbox) Sealed() { s.kernel.Machine.Restock() }

func dial(f *os.File) (*channel.Client, error) {
	conn, err := channel.NewDirect(f, &channel.Hold{Take: platform.TakeHold, Give: platform.GiveHold})
	if err != nil {
		return nil, err
	}
	return channel.NewClient(conn, nil), nil
}

// places is where a caller stands, for sockets with a path.
func (s *Sandbox) places(ctx vfs.Context) (root, cwd vfs.Path, umask uint32) {
	t := s.kernel.Task(ctx.TID())
	if t == nil || t.FS() == nil {
		return vfs.Path{}, vfs.Path{}, 0
	}
	return t.FS().Root(), t.FS().Cwd(), t.FS().Umask()
}

// find gives a container by its id.
func (s *Sandbox) find(id string) (*Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		return c, nil
	}
	return nil, &control.NotFoundError{What: "container " + id}
}

// Create makes a container and loads its first program.
func (s *Sandbox) Create(spec *sentryv1.ContainerSpec, stdio []*os.File, console *os.File) error {
	s.mu.Lock()
	if s.containers[spec.Id] != nil {
		s.mu.Unlock()
		return fmt.Errorf("container %s: there is one already", spec.Id)
	}
	c := &Container{sandbox: s, spec: spec, procs: map[int32]*process{}}
	s.containers[spec.Id] = c
	s.mu.Unlock()
	err := c.create(stdio, console)
	if err != nil {
		s.mu.Lock()
		delete(s.containers, spec.Id)
		s.mu.Unlock()
	}
	return err
}

// Start lets the container's first program run.
func (s *Sandbox) Start(id string) error {
	c, err := s.find(id)
	if err != nil {
		return err
	}
	return c.start()
}

// Exec runs another program in the container.
func (s *Sandbox) Exec(id string, p *sentryv1.ProcessSpec, stdio []*os.File, console *os.File) (int32, error) {
	c, err := s.find(id)
	if err != nil {
		closeFiles(stdio, console)
		return 0, err
	}
	return c.exec(p, stdio, console)
}

// Signal sends a signal to a process of the container, or to all.
func (s *Sandbox) Signal(id string, pid, sig int32, all, foreground bool) error {
	c, err := s.find(id)
	if err != nil {
		return err
	}
	if sig < 0 || sig > linux.NSIG {
		return fmt.Errorf("signal %d: there is none", sig)
	}
	return c.signal(pid, linux.Signal(sig), all, foreground)
}

// Wait gives how a process ended, once it has.
func (s *Sandbox) Wait(ctx context.Context, id string, pid int32) (*sentryv1.ExitStatus, error) {
	c, err := s.find(id)
	if err != nil {
		return nil, err
	}
	p, err := c.process(pid)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.ended:
		return p.status, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// State tells what the container does.
func (s *Sandbox) State(id string) (*sentryv1.ContainerState, error) {
	c, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return c.state(), nil
}

// Delete forgets a container that has stopped.
func (s *Sandbox) Delete(id string) error {
	c, err := s.find(id)
	if err != nil {
		return err
	}
	if st := c.state(); st.Status != sentryv1.ContainerState_STATUS_STOPPED {
		return fmt.Errorf("container %s: it has not stopped", id)
	}
	s.mu.Lock()
	delete(s.containers, id)
	s.mu.Unlock()
	return nil
}

// Resize sets the size of a process's terminal.
func (s *Sandbox) Resize(id string, pid int32, rows, columns uint32) error {
	c, err := s.find(id)
	if err != nil {
		return err
	}
	p, err := c.process(pid)
	if err != nil {
		return err
	}
	return p.resize(rows, columns)
}

// openConsole opens /dev/console: the terminal of the opener's session.
func openConsole(ctx vfs.Context, _ vfs.Node, _ uint64, flags linux.OpenFlags) (vfs.Impl, error) {
	t, ok := ctx.(*task.Task)
	if !ok {
		return nil, linux.ENXIO
	}
	if term, ok := t.Group().Session().TTY().(*tty.Terminal); ok && term != nil {
		return term.Device().OpenTerminal(ctx, flags)
	}
	return nil, linux.ENXIO
}
