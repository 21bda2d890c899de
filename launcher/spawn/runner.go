package spawn

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
)

// process is a service's process as go-plugin's client sees it. It is not left
// to go-plugin's own runner because a service gets no standard input, only the
// environment that it needs, descriptors, namespaces, and a bounding set; and
// because it knows the sandbox's directory by another path than we do.
type process struct {
	cmd    *exec.Cmd
	stdout io.ReadCloser
	dir    string // the sandbox's directory, as this process reaches it
	caps   jail.Caps
	ended  chan struct{}
}

// inner is the sandbox's directory as a service reaches it: its descriptor 3.
var inner = hull.FDPath(3)

// start makes a runner of p for go-plugin, which offers its environment in with.
func (p *process) start(_ hclog.Logger, with *exec.Cmd, _ string) (runner.Runner, error) {
	for _, v := range with.Env {
		if dir, ok := strings.CutPrefix(v, plugin.EnvUnixSocketDir+"="+p.dir); ok {
			v = plugin.EnvUnixSocketDir + "=" + inner + dir
		}
		p.cmd.Env = append(p.cmd.Env, v)
	}
	var err error
	p.stdout, err = p.cmd.StdoutPipe()
	return p, err
}

// Start runs the process from a thread that bequeaths only p.caps.
func (p *process) Start(context.Context) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
		if err := errors.Join(jail.Bequeath(p.caps), slacken()); err != nil {
			started <- err
			return
		}
		started <- p.cmd.Start()
	}()
	return <-started
}

func (p *process) Wait(context.Context) error {
	defer close(p.ended)
	return p.cmd.Wait()
}

func (p *process) Kill(context.Context) error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (p *process) Diagnose(context.Context) string { return "" }
func (p *process) Stdout() io.ReadCloser           { return p.stdout }
func (p *process) Stderr() io.ReadCloser           { return io.NopCloser(strings.NewReader("")) }
func (p *process) Name() string                    { return p.cmd.Path }
func (p *process) ID() string                      { return strconv.Itoa(p.cmd.Process.Pid) }

func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, p.dir + strings.TrimPrefix(address, inner), nil
}

func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, inner + strings.TrimPrefix(address, p.dir), nil
}

// attached is a service that another launcher started.
type attached struct {
	pidfd int
	pid   int
}

func (a attached) Wait(context.Context) error {
	select {} // nobody asks: go-plugin only wants to know when to forget it
}

func (a attached) Kill(context.Context) error {
	return killFD(a.pidfd)
}

func (a attached) ID() string { return strconv.Itoa(a.pid) }

func (a attached) PluginToHost(n, addr string) (string, string, error) { return n, addr, nil }
func (a attached) HostToPlugin(n, addr string) (string, string, error) { return n, addr, nil }

func killFD(pidfd int) error {
	_, _, errno := syscall.RawSyscall6(sysPidfdSendSignal, uintptr(pidfd), uintptr(syscall.SIGKILL), 0, 0, 0, 0)
	if errno != 0 && errno != syscall.ESRCH {
		return errno
	}
	return nil
}
