package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"bulkhead/proto/linux"
	sentryv1 "bulkhead/proto/sentry/v1"
	"bulkhead/services/sentry/control"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// Container is one container: a tree of files and its processes.
type Container struct {
	sandbox *Sandbox
	spec    *sentryv1.ContainerSpec
	ns      *vfs.Namespace

	mu      sync.Mutex
	init    *process
	started bool
	procs   map[int32]*process // made by Create and Exec
}

func (c *Container) create(stdio []*os.File, console *os.File) error {
	if err := c.mount(); err != nil {
		closeFiles(stdio, console)
		return err
	}
	k := c.sandbox.kernel
	for name, value := range c.spec.Cgroup {
		k.Cgroups.Limit(name, value)
	}
	if c.spec.Hostname != "" {
		k.UTS().SetHostname(c.spec.Hostname)
	}
	if c.spec.Domainname != "" {
		k.UTS().SetDomainname(c.spec.Domainname)
	}
	p, err := c.load(c.spec.Process, stdio, console)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.init = p
	c.procs[p.task.TGID()] = p
	c.mu.Unlock()
	return nil
}

func (c *Container) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.init == nil {
		return fmt.Errorf("container %s: it is not in the state created", c.spec.Id)
	}
	c.started = true
	c.init.start()
	return nil
}

func (c *Container) exec(spec *sentryv1.ProcessSpec, stdio []*os.File, console *os.File) (int32, error) {
	c.mu.Lock()
	running := c.started && c.init.running()
	c.mu.Unlock()
	if !running {
		closeFiles(stdio, console)
		return 0, fmt.Errorf("container %s: it is not running", c.spec.Id)
	}
	p, err := c.load(spec, stdio, console)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.procs[p.task.TGID()] = p
	c.mu.Unlock()
	p.start()
	return p.pid, nil
}

// process gives one that Create or Exec made; pid 0 is the first.
func (c *Container) process(pid int32) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.procs[pid]
	if pid == 0 {
		p = c.init
	}
	if p == nil {
		return nil, &control.NotFoundError{What: fmt.Sprintf("process %d of container %s", pid, c.spec.Id)}
	}
	return p, nil
}

func (c *Container) signal(pid int32, sig linux.Signal, all, foreground bool) error {
	k := c.sandbox.kernel
	if all {
		k.ToMany(k.Groups, func(g *task.Group) {
			g.SendFromOutside(linux.SigInfo{Signo: int32(sig), Code: linux.SI_USER})
		})
		return c.endUnstarted(sig)
	}
	var g *task.Group
	p, err := c.process(pid)
	switch {
	case err == nil:
		if foreground && p.console != nil {
			p.console.pair.Terminal().Signal(int32(sig))
			return nil
		}
		g = p.group
	default:
		if g = k.Group(pid); g == nil {
			return err
		}
	}
	if g.Zombie() {
		return errors.New("process already finished")
	}
	if err := g.SendFromOutside(linux.SigInfo{Signo: int32(sig), Code: linux.SI_USER}); err != nil {
		return err
	}
	return c.endUnstarted(sig)
}

// endUnstarted carries out a signal that ends a container that was created and
// not started: nobody runs there who could take it.
func (c *Container) endUnstarted(sig linux.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.init == nil || sig == 0 {
		return nil
	}
	c.started = true
	c.init.start()
	return nil
}

func (c *Container) state() *sentryv1.ContainerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := &sentryv1.ContainerState{Id: c.spec.Id, Status: sentryv1.ContainerState_STATUS_CREATED}
	if c.init == nil {
		return st
	}
	st.Pid = c.init.pid
	switch {
	case !c.init.running():
		st.Status, st.Exit = sentryv1.ContainerState_STATUS_STOPPED, c.init.status
	case c.started:
		st.Status = sentryv1.ContainerState_STATUS_RUNNING
	}
	for _, g := range c.sandbox.kernel.Groups() {
		if !g.Zombie() {
			st.Pids = append(st.Pids, g.PID())
		}
	}
	slices.Sort(st.Pids)
	return st
}

func closeFiles(stdio []*os.File, console *os.File) {
	for _, f := range append(stdio[:len(stdio):len(stdio)], console) {
		if f != nil {
			f.Close()
		}
	}
}
