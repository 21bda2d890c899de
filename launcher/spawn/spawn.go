// Package spawn starts a sandbox's three services, joins them with socketpairs,
// and finds them again later.
//
// Each service is a go-plugin program. Everything that belongs to a running
// sandbox hangs on its descriptors: the data channels tie gofer and netd to the
// sentry, and the lifeline ties the sentry to a foreground launcher, so that a
// SIGKILL of any one of them ends what depends on it. A sandbox without a
// directory of its own keeps its sockets in a tmpfs that is mounted nowhere.
package spawn

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/jail"
	goferv1 "bulkhead/proto/gofer/v1"
	netdv1 "bulkhead/proto/netd/v1"
)

const sysPidfdSendSignal = unix.SYS_PIDFD_SEND_SIGNAL

// Config says how to start a sandbox.
type Config struct {
	// Libexec is the directory of the service programs.
	Libexec string
	// Dir is the sandbox's directory, private to its owner. PrivateDir makes one.
	Dir *os.File
	// Logs are files for debug logs, by service name.
	Logs map[string]*os.File
	// Strace is where the sentry logs system calls, or nil.
	Strace *os.File
	// Links are netd's interfaces to the outside, in the order of its boot message.
	Links []*os.File
	// Relink gives Links anew for another netd, with their part of its boot message,
	// where the first ones end with the netd that had them; nil: they do not.
	Relink func() ([]*os.File, []*netdv1.Link, error)
	// Capture takes what passes there as pcapng; nil: nobody looks.
	Capture *os.File
	// Refused takes a line for each flow that the egress policy refuses; nil: the debug
	// log does, if there is one.
	Refused *os.File
	// Renewable keeps what RenewNetd needs.
	Renewable bool
	// LateNetd, of a sandbox that is Renewable and has no Links, leaves the start of netd to
	// the first RenewNetd: see AwaitNetd. What is asked of it waits in its channel.
	LateNetd bool
	// CgroupJoin, if set, is called with each new process before it is used.
	CgroupJoin func(pid int) error
	// OOMScoreAdj is what the specification asks for.
	OOMScoreAdj int32
}

// Service is one running service, and the connection to its control.
type Service struct {
	Name string
	Pid  int
	// Address is its control socket, relative to the sandbox's directory.
	Address string
	Conn    *grpc.ClientConn

	dir    *os.File
	client *plugin.Client
	own    *process // nil if another launcher started it
	pidfd  int      // -1, or of a service that another launcher started
}

// Sandbox is its services.
type Sandbox struct {
	Sentry, Gofer *Service
	Netd          *Service // nil as long as it is not started
	// Dir is the sandbox's directory.
	Dir *os.File
	// Log takes what is done with the sandbox: --debug-log.
	Log *slog.Logger
	// lifeline ends the services when this process ends.
	lifeline *os.File
	spare    *spare // nil: netd is not renewed
	// MemoryErr is why the host may end others before this sandbox when its memory runs
	// out: nil if it will not.
	MemoryErr error

	farewell bool // netd may have to send what the guest had written
}

// names of the services in the order in which they are started.
var names = []string{"sentry", "gofer", "netd"}

// Program is the file name of a service's program.
func Program(service string) string { return "bulkhead-" + service }

// namespaces that each service has for itself. The sentry is the first process
// of its PID namespace, so that its guests' processes end with it.
const namespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// debugEnv keeps Go's run-time from what a sealed process cannot do, or does not
// need to: naming its mappings, holding cgroup files open, counting processors.
const debugEnv = "GODEBUG=decoratemappings=0,containermaxprocs=0,updatemaxprocs=0"

// processors bounds how many a service computes on at once. Both mostly wait for
// host calls, which do not count; start-up takes a tenth less of the processor's
// time for it, and nothing that was measured got slower.
var processors = map[string]int{"gofer": 1, "netd": 1}

// bootCaps are what a service may have until it seals itself. The comment at
// each service's Boot says what for.
var bootCaps = map[string]jail.Caps{
	"sentry": jail.CapsOf(unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_SYS_PTRACE, unix.CAP_KILL),
	"netd":   jail.CapsOf(unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP),
	"gofer": jail.CapsOf(unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP,
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP),
}

// Start starts the three services, and boots each as soon as it runs, side by side. The
// gofer's attach points come back as it found them. On an error nothing is left.
func Start(ctx context.Context, c Config, b Boots) (*Sandbox, []*goferv1.Attach, error) {
	given, lifeline, err := join(c)
	if err != nil {
		return nil, nil, err
	}
	defer given.close()
	s := &Sandbox{Dir: c.Dir, Log: slog.New(slog.DiscardHandler), lifeline: lifeline}
	s.farewell = len(c.Links) > 0 || c.Capture != nil
	if c.Renewable || c.LateNetd {
		if s.spare, err = keepSpare(c, given["netd"]); err != nil {
			lifeline.Close()
			return nil, nil, err
		}
		s.spare.boot = b.Netd
	}
	services := make([]*Service, len(names))
	errs, bootErrs := make([]error, len(names)), make([]error, len(names))
	var attaches []*goferv1.Attach
	var all sync.WaitGroup
	for i, name := range names {
		if name == "netd" && c.LateNetd {
			continue
		}
		all.Go(func() {
			if services[i], errs[i] = start(c, name, given[name]); errs[i] != nil {
				errs[i] = fmt.Errorf("start %s: %w", name, errs[i])
				return
			}
			if name == "sentry" {
				s.MemoryErr = answerForMemory(services[i].Pid, c.OOMScoreAdj)
			}
			bootErrs[i] = s.boot(ctx, services[i], b, &attaches)
		})
	}
	all.Wait()
	s.Sentry, s.Gofer, s.Netd = services[0], services[1], services[2]
	// One that does not start is the reason why another does not boot.
	if err := first(append(errs, bootErrs...)); err != nil {
		s.Kill()
		return nil, nil, err
	}
	return s, attaches, nil
}

func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func start(c Config, name string, given ends) (*Service, error) {
	path := filepath.Join(c.Libexec, Program(name))
	stderr, err := openErrors(c.Dir, name, os.O_CREATE|os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	cmd := exec.Command(path)
	cmd.Env = []string{hull.FDList(given.names()), debugEnv}
	if n := processors[name]; n != 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", n))
	}
	cmd.Dir = "/"
	cmd.Stderr = stderr
	cmd.ExtraFiles = given.files()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespaces,
		Setpgid:    true,                  // of this session, whose terminal it leaves: hull.Inherited
		Credential: &syscall.Credential{}, // root, without supplementary groups
	}
	own := &process{cmd: cmd, dir: hull.FDPath(int(c.Dir.Fd())), caps: bootCaps[name], ended: make(chan struct{})}

	s := &Service{Name: name, dir: c.Dir, own: own, pidfd: -1}
	s.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{},
		RunnerFunc:       own.start,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: own.dir},
	})
	if err := s.connect(); err != nil {
		s.Kill()
		return nil, s.explain(err)
	}
	s.Pid = cmd.Process.Pid
	s.Address, err = filepath.Rel(own.dir, s.client.ReattachConfig().Addr.String())
	if err != nil {
		return nil, err
	}
	if c.CgroupJoin != nil {
		if err := c.CgroupJoin(s.Pid); err != nil {
			s.Kill()
			return nil, fmt.Errorf("join cgroup: %w", err)
		}
	}
	return s, nil
}

// connect does the handshake, and makes a connection to the control socket.
func (s *Service) connect() error {
	address, err := s.client.Start()
	if err != nil {
		return err
	}
	s.Conn, err = dial(address)
	return err
}

// Kill ends the service at once, and waits until it has ended.
func (s *Service) Kill() {
	if s == nil {
		return
	}
	s.end()
	if s.Conn != nil {
		s.Conn.Close()
	}
	switch {
	case s.own != nil && s.own.cmd.Process != nil:
		<-s.own.ended
	case s.pidfd >= 0:
		waitFD(s.pidfd)
	}
}

// end is Kill without the wait.
func (s *Service) end() {
	switch {
	case s.own != nil && s.own.cmd.Process != nil:
		s.own.Kill(context.Background())
	case s.pidfd >= 0:
		killFD(s.pidfd)
	}
}

// Ended is closed when a service that this process started has ended, or was not started.
func (s *Service) Ended() <-chan struct{} {
	if s == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return s.own.ended
}

// Release lets the services outlive this process.
func (s *Sandbox) Release() error {
	if _, err := s.lifeline.Write([]byte{hull.Released}); err != nil {
		return fmt.Errorf("release the sandbox: %w", err)
	}
	return nil
}

// NetdFarewell is how long a netd may take to end after its sentry: it still
// sends what the guest had written.
const NetdFarewell = 2 * time.Second

// Kill ends every service of the sandbox at once, netd last.
func (s *Sandbox) Kill() {
	s.spare.close()
	if s.Netd != nil && !s.farewell {
		s.Netd.end()
	}
	var all sync.WaitGroup
	for _, service := range []*Service{s.Sentry, s.Gofer} {
		all.Go(service.Kill)
	}
	all.Wait()
	if s.Netd != nil && s.Netd.own != nil && s.Netd.own.cmd.Process != nil {
		select {
		case <-s.Netd.own.ended:
		case <-time.After(NetdFarewell):
		}
	}
	s.Netd.Kill()
	if s.lifeline != nil {
		s.lifeline.Close()
	}
}
