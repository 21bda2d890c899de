package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"

	"bulkhead/launcher/hull"
	"bulkhead/launcher/network"
	"bulkhead/launcher/oci"
	"bulkhead/launcher/spawn"
	goferv1 "bulkhead/proto/gofer/v1"
	netdv1 "bulkhead/proto/netd/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// Options are what a user can ask for, besides the container.
type Options struct {
	// Strace logs each system call of the guest.
	Strace bool
	// LogDir takes one log a process; "": none.
	LogDir string
	// CgroupJoin: see spawn.Config.
	CgroupJoin func(pid int) error
	// MM: who makes the guest's memory calls; "" is MMNative.
	MM MM
	// Rewrite: whether system-call sites of the guest are rewritten; "" is on.
	Rewrite Rewrite
	// Memory that the guest is told of, in bytes; 0: the host's.
	Memory uint64
	// RenewNetd starts another netd if it ends before the sandbox does.
	RenewNetd bool
	// LateNetd starts netd when the guest first wants something of it, or after a while,
	// where RenewNetd is set and the sandbox has a loopback only.
	LateNetd bool
	// Network is the sandbox's outside; nil: none. It is closed when netd has it.
	Network *network.Outside
	// Capture is a file to be made that gets what passes there; "": none.
	Capture string
	// EgressLog is a file that gets a line for each flow that the rules refuse; "": none.
	EgressLog string
	// Egress are the rules of what may leave, in order: see netd's policy.
	Egress []string
}

// Sandbox starts and boots the services for c. dir is the sandbox's directory.
// On an error nothing is left but dir.
func Sandbox(ctx context.Context, dir *os.File, c *oci.Container, o Options) (*spawn.Sandbox, error) {
	libexec, err := spawn.Libexec()
	if err != nil {
		return nil, err
	}
	config := spawn.Config{Libexec: libexec, Dir: dir, CgroupJoin: o.CgroupJoin, Renewable: o.RenewNetd,
		OOMScoreAdj: c.Spec.GetProcess().GetOomScoreAdj()}
	logs, err := openLogs(o)
	defer logs.close()
	if err != nil {
		return nil, err
	}
	config.Logs, config.Strace = logs.files, logs.strace
	if o.Capture != "" {
		if config.Capture, err = os.Create(o.Capture); err != nil {
			return nil, fmt.Errorf("open capture: %w", err)
		}
		defer config.Capture.Close()
	}
	if o.EgressLog != "" {
		if config.Refused, err = os.OpenFile(o.EgressLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
			return nil, fmt.Errorf("open egress log: %w", err)
		}
		defer config.Refused.Close()
	}
	boot := &netdv1.BootRequest{Egress: network.Resolved(o.Egress), Debug: o.LogDir != ""}
	if o.Network != nil {
		defer o.Network.Close()
		config.Links, boot.Links = o.Network.Files, o.Network.Links
		if again := o.Network.Again; again != nil {
			config.Relink = func() ([]*os.File, []*netdv1.Link, error) {
				n, err := again()
				if err != nil {
					return nil, nil, err
				}
				return n.Files, n.Links, nil
			}
		}
	}
	config.LateNetd = o.LateNetd && o.RenewNetd && len(config.Links) == 0 && config.Relink == nil && config.Capture == nil
	debug := o.LogDir != ""
	s, attaches, err := spawn.Start(ctx, config, spawn.Boots{
		Sentry: &sentryv1.BootRequest{Strace: o.Strace, Debug: debug, Memory: o.Memory, VerifyMemory: o.MM == MMVerified, KeepTrapping: o.Rewrite == RewriteOff},
		Gofer:  &goferv1.BootRequest{Attaches: c.Attaches, Debug: debug},
		Netd:   boot,
	})
	if err != nil {
		logs.own.Error("start", "error", err)
		return nil, err
	}
	s.Log = logs.own
	s.Log.Info("booted", "id", c.Spec.Id, "sentry", s.Sentry.Pid, "gofer", s.Gofer.Pid, "attaches", len(attaches))
	if s.Netd != nil {
		s.Log.Info("started netd", "netd", s.Netd.Pid)
	}
	if err := s.MemoryErr; err != nil {
		s.Log.Warn("the host may end others before this sandbox when its memory runs out", "error", err)
	}
	for _, m := range c.Spec.Mounts {
		if m.Type == "gofer" && int(m.Attach) < len(attaches) {
			m.File = attaches[m.Attach].File
		}
	}
	return s, nil
}

// Streams are what a process reads and writes: three files, or a terminal.
type Streams struct {
	In, Out, Err *os.File
	Console      *os.File
}

func (s Streams) gifts() []spawn.Gift {
	if s.Console != nil {
		return []spawn.Gift{{Role: sentryv1.Role_ROLE_CONSOLE, File: s.Console}}
	}
	return []spawn.Gift{
		{Role: sentryv1.Role_ROLE_STDIN, File: s.In},
		{Role: sentryv1.Role_ROLE_STDOUT, File: s.Out},
		{Role: sentryv1.Role_ROLE_STDERR, File: s.Err},
	}
}

// donate gives streams and keeper, which may be nil, to the sentry.
func donate(s *spawn.Sandbox, streams Streams, keeper *os.File) ([]byte, error) {
	gifts := streams.gifts()
	if keeper != nil {
		gifts = append(gifts, spawn.Gift{Role: sentryv1.Role_ROLE_KEEPER, File: keeper})
	}
	return s.Donate(gifts...)
}

// Create makes the container and loads its program. keeper may be nil.
func Create(ctx context.Context, s *spawn.Sandbox, spec *sentryv1.ContainerSpec, streams Streams, keeper *os.File) error {
	token, err := donate(s, streams, keeper)
	if err != nil {
		return err
	}
	_, err = s.Control().Create(ctx, &sentryv1.CreateRequest{Spec: spec, Donation: token})
	err = s.Sentry.Failed(err)
	s.Log.Info("created", "id", spec.Id, "args", spec.Process.Args, "error", err)
	return err
}

// Exec runs another process in the container, and gives the guest's pid for it.
func Exec(ctx context.Context, s *spawn.Sandbox, id string, p *sentryv1.ProcessSpec, streams Streams, keeper *os.File) (int32, error) {
	token, err := donate(s, streams, keeper)
	if err != nil {
		return 0, err
	}
	answer, err := s.Control().Exec(ctx, &sentryv1.ExecRequest{Id: id, Process: p, Donation: token})
	return answer.GetPid(), s.Sentry.Failed(err)
}

// Exit statuses of a command that could not be run: those of env(1), nice(1).
const (
	StatusFailed        = 125 // it was ourselves that failed
	StatusNotExecutable = 126
	StatusNotFound      = 127
)

// StatusOf is the exit status that err, of Create or Exec, stands for.
func StatusOf(err error) int {
	var call *spawn.CallError
	if errors.As(err, &call) {
		switch call.Code {
		case codes.NotFound:
			return StatusNotFound
		case codes.PermissionDenied:
			return StatusNotExecutable
		}
	}
	return StatusFailed
}

// Status is a process's exit status as a shell gives it: 128 + n if signal n
// ended it.
func Status(st *sentryv1.ExitStatus) int {
	if n := st.GetSignal(); n != 0 {
		return 128 + int(n)
	}
	return int(st.GetCode())
}

// logs are the files that the services log to.
type logs struct {
	files  map[string]*os.File
	strace *os.File // standard error, unless there is a directory for logs
	own    *slog.Logger
}

func openLogs(o Options) (logs, error) {
	l := logs{files: map[string]*os.File{}, own: slog.New(slog.DiscardHandler)}
	if o.Strace {
		l.strace = os.Stderr
	}
	if o.LogDir == "" {
		return l, nil
	}
	if err := os.MkdirAll(o.LogDir, 0o755); err != nil {
		return l, fmt.Errorf("open debug log: %w", err)
	}
	for _, name := range []string{"sentry", "gofer", "netd"} {
		f, err := openLog(o.LogDir, name)
		if err != nil {
			return l, err
		}
		l.files[name] = f
	}
	f, err := openLog(o.LogDir, "launcher") // stays open as long as we live
	if err != nil {
		return l, err
	}
	l.own = hull.Logger(f, true)
	if o.Strace {
		if l.strace, err = openLog(o.LogDir, "strace"); err != nil {
			return l, err
		}
	}
	return l, nil
}

func openLog(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open debug log: %w", err)
	}
	return f, nil
}

func (l logs) close() {
	for _, f := range l.files {
		f.Close()
	}
	if l.strace != nil && l.strace != os.Stderr {
		l.strace.Close()
	}
}
