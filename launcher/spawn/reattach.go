package spawn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"bulkhead/launcher/hull"
)

// ErrEnded says that a service is no longer there.
var ErrEnded = errors.New("the process has ended")

// Found is what is kept of a service to find it again.
type Found struct {
	Pid int `json:"pid"`
	// StartTime is the process's, so that a pid is not mistaken: proc_pid_stat(5).
	StartTime uint64 `json:"startTime"`
	Address   string `json:"address,omitempty"`
}

// Found is what to keep of s, which this process started. ErrEnded.
func (s *Service) Found() (Found, error) {
	began, err := startTime(s.Pid)
	if err != nil {
		return Found{}, fmt.Errorf("find %s, process %d: %w", s.Name, s.Pid, err)
	}
	return Found{Pid: s.Pid, StartTime: began, Address: s.Address}, nil
}

// Reattach finds a service that another launcher started, in the sandbox of
// directory dir. ErrEnded if its process is gone.
func Reattach(dir *os.File, name string, f Found) (*Service, error) {
	s, err := Find(dir, name, f)
	if err != nil {
		return nil, err
	}
	s.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{},
		Reattach: &plugin.ReattachConfig{
			Protocol:        plugin.ProtocolGRPC,
			ProtocolVersion: int(handshake.ProtocolVersion),
			Addr:            &net.UnixAddr{Net: "unix", Name: hull.FDPath(int(dir.Fd())) + "/" + f.Address},
			Pid:             f.Pid,
			ReattachFunc:    func() (runner.AttachedRunner, error) { return attached{pidfd: s.pidfd, pid: f.Pid}, nil },
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	return s, nil
}

// Find is Reattach without a connection: enough to kill the service.
func Find(dir *os.File, name string, f Found) (*Service, error) {
	pidfd, err := unix.PidfdOpen(f.Pid, 0)
	if err != nil {
		return nil, fmt.Errorf("find %s, process %d: %w", name, f.Pid, ErrEnded)
	}
	// The pidfd is open, so from here on the pid cannot become another process's.
	if began, err := startTime(f.Pid); err != nil || began != f.StartTime {
		unix.Close(pidfd)
		return nil, fmt.Errorf("find %s, process %d: %w", name, f.Pid, ErrEnded)
	}
	return &Service{Name: name, Pid: f.Pid, Address: f.Address, dir: dir, pidfd: pidfd}, nil
}

// startTime is when a process began, in clock ticks since boot: proc_pid_stat(5)
// field 22. A process that has ended and was not waited for has none.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name, field 2, is in brackets and may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, ErrEnded
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// StartTime is startTime, for processes that are not services.
func StartTime(pid int) (uint64, error) { return startTime(pid) }

// WaitFor waits until a service that Find found has ended, or d has passed.
func (s *Service) WaitFor(d time.Duration) { pollFD(s.pidfd, int(d.Milliseconds())) }

// waitFD waits until the process has ended.
func waitFD(pidfd int) { pollFD(pidfd, -1) }

func pollFD(pidfd, milliseconds int) {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, milliseconds)
		if err != unix.EINTR {
			return
		}
	}
}
