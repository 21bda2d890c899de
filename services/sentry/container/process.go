package container

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	sentryv1 "bulkhead/proto/sentry/v1"
	"bulkhead/services/sentry/control"
	"bulkhead/services/sentry/hostfile"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// process is one that a launcher asked for.
type process struct {
	pid     int32
	task    *task.Task
	group   *task.Group
	console *console // its terminal, if it has one
	drained chan struct{}

	ended  chan struct{} // closed when status is there
	status *sentryv1.ExitStatus
}

// load makes a process with its program in memory.
func (c *Container) load(spec *sentryv1.ProcessSpec, stdio []*os.File, console *os.File) (*process, error) {
	if len(spec.Args) == 0 {
		closeFiles(stdio, console)
		return nil, &control.ProgramError{Program: "", Cause: fmt.Errorf("process.args is empty")}
	}
	k := c.sandbox.kernel
	creds := credentials(spec)
	files, term, err := c.streams(stdio, console)
	if err != nil {
		return nil, fmt.Errorf("open the standard streams: %w", err)
	}
	fds := task.NewFDTable()
	for fd, f := range files {
		if f != nil {
			fds.Set(linux.FD(fd), f, false)
		}
	}
	root := c.ns.Root()
	cwd, err := c.directory(spec.Cwd)
	if err != nil {
		closeTable(fds)
		return nil, fmt.Errorf("process.cwd: %s: %w", spec.Cwd, err)
	}
	fs := task.NewFSContext(root, cwd)
	if spec.User.GetUmask() != 0 || spec.User != nil && spec.User.Umask != nil {
		fs.SwapUmask(spec.User.GetUmask())
	}
	t, err := k.Create(task.NewProcess{FS: fs, FDs: fds, Creds: creds, Limits: limits(spec)})
	if err != nil {
		closeTable(fds)
		return nil, fmt.Errorf("make a process: %w", err)
	}
	p := &process{pid: t.TGID(), task: t, group: t.Group(), console: term, ended: make(chan struct{})}
	if term != nil {
		term.pair.Terminal().Acquire(t, true)
		term.resize(spec.Rows, spec.Columns)
		p.drained = term.run()
	}
	t.Group().SetOOMScoreAdj(spec.OomScoreAdj)
	if err := c.program(t, spec, cwd); err != nil {
		t.Discard()
		k.Forget(t.Group())
		return nil, err
	}
	go p.await(k)
	return p, nil
}

// program finds args[0] and loads it.
func (c *Container) program(t *task.Task, spec *sentryv1.ProcessSpec, cwd vfs.Path) error {
	name := spec.Args[0]
	f, path, err := find(t, cwd, name, spec.Env)
	if err == nil {
		defer f.DecRef(t)
		err = t.Load(task.ExecArgs{File: f, Path: path, Argv: spec.Args, Envv: spec.Env})
	}
	if err != nil {
		return &control.ProgramError{Program: name, NotFound: err == linux.ENOENT || err == linux.ENOTDIR, Cause: explain(err)}
	}
	return nil
}

// explain says what an errno means for who wants to run a program.
func explain(err error) error {
	switch err {
	case linux.ENOENT, linux.ENOTDIR:
		return fmt.Errorf("no such file or directory")
	case linux.EACCES:
		return fmt.Errorf("permission denied")
	case linux.ENOEXEC:
		return fmt.Errorf("exec format error")
	}
	return err
}

// find looks for a program as execvp(3) does.
func find(t *task.Task, cwd vfs.Path, name string, env []string) (*vfs.File, string, error) {
	if name == "" {
		return nil, "", linux.ENOENT
	}
	if strings.Contains(name, "/") {
		f, err := t.OpenExecutable(cwd, name, 0)
		return f, name, err
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	last := error(linux.ENOENT)
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		full := strings.TrimSuffix(dir, "/") + "/" + name
		f, err := t.OpenExecutable(cwd, full, 0)
		if err == nil {
			return f, full, nil
		}
		if err == linux.EACCES {
			last = err
		}
	}
	return nil, "", last
}

// credentials are who a process is.
func credentials(spec *sentryv1.ProcessSpec) *vfs.Creds {
	u, caps := spec.User, spec.Capabilities
	uid, gid := u.GetUid(), u.GetGid()
	c := vfs.UserCreds(uid, gid, u.GetAdditionalGids()...)
	c.Bounding = vfs.Caps(caps.GetBounding()) & vfs.AllCaps
	c.Permitted = vfs.Caps(caps.GetPermitted()) & vfs.AllCaps
	c.Effective = vfs.Caps(caps.GetEffective()) & c.Permitted
	c.Inheritable = vfs.Caps(caps.GetInheritable()) & vfs.AllCaps
	c.Ambient = vfs.Caps(caps.GetAmbient()) & c.Permitted & c.Inheritable
	c.NoNewPrivs = spec.NoNewPrivileges
	return c
}

func limits(spec *sentryv1.ProcessSpec) map[int]task.Rlimit {
	out := map[int]task.Rlimit{}
	for _, l := range spec.Rlimits {
		if l.Resource < task.NumRlimits {
			out[int(l.Resource)] = task.Rlimit{Cur: l.Soft, Max: l.Hard}
		}
	}
	return out
}

// streams makes guest files of the donated descriptors, which it takes over.
func (c *Container) streams(stdio []*os.File, host *os.File) (files []*vfs.File, term *console, err error) {
	defer closeFiles(stdio, nil)
	if host != nil {
		if term, err = c.sandbox.newConsole(host); err != nil {
			return nil, nil, err
		}
		f, err := term.open(c.ns)
		if err != nil {
			return nil, nil, err
		}
		f.IncRef()
		f.IncRef()
		return []*vfs.File{f, f, f}, term, nil
	}
	for _, h := range stdio {
		var f *vfs.File
		if h != nil {
			if f, err = c.sandbox.hostFile(h); err != nil {
				dropFiles(files)
				return nil, nil, err
			}
		}
		files = append(files, f)
	}
	return files, nil, nil
}

func dropFiles(files []*vfs.File) {
	for _, f := range files {
		if f != nil {
			f.DecRef(vfs.KernelContext())
		}
	}
}

// hostFile makes a guest file of a duplicate of h.
func (s *Sandbox) hostFile(h *os.File) (*vfs.File, error) {
	raw, err := h.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(n uintptr) { fd, dupErr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, dupErr
	}
	return hostfile.New(fd, s.jobs)
}

func closeTable(fds *task.FDTable) {
	dropFiles(fds.RemoveRange(0, 1<<20))
}

func (p *process) start() { p.task.Start() }

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// await notes how the process ends, and reaps it if nobody in the sandbox will.
func (p *process) await(k *task.Kernel) {
	wait.Until(vfs.KernelContext(), p.group.DeadQueue(), wait.In, noDeadline, func() (bool, error) {
		return p.group.Zombie(), nil
	})
	status, _ := p.group.ExitStatus()
	p.status = &sentryv1.ExitStatus{Code: int32(status >> 8 & 0xff), Signal: int32(status & 0x7f)}
	if p.pid != 1 {
		k.Forget(p.group)
	}
	if p.drained != nil {
		<-p.drained
	}
	close(p.ended)
}

// resize tells the terminal its size.
func (p *process) resize(rows, columns uint32) error {
	if p.console != nil {
		p.console.resize(rows, columns)
	}
	return nil
}
