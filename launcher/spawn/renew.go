package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"bulkhead/launcher/hull"
	controlv1 "bulkhead/proto/control/v1"
	netdv1 "bulkhead/proto/netd/v1"
	sentryv1 "bulkhead/proto/sentry/v1"
)

// spare is what another netd needs: duplicates of what the first one got, but for its
// data channel, which is made anew.
type spare struct {
	config Config
	ends   ends
	boot   *netdv1.BootRequest

	mu    sync.Mutex // held while one is started, so that Kill finds it
	ended bool       // the sandbox was killed
	// first is netd's end of the data channel that the sentry has, until there is a netd;
	// nil if Start started one.
	first *os.File
}

// keepSpare takes duplicates of netd's descriptors.
func keepSpare(c Config, given ends) (*spare, error) {
	s := &spare{config: c}
	for _, e := range given {
		if e.name == hull.FDSentry && !c.LateNetd || c.Relink != nil && hull.IsLink(e.name) {
			continue
		}
		f, err := duplicate(e.file)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("keep what another netd needs: %w", err)
		}
		if e.name == hull.FDState {
			s.config.Dir = f
		}
		if e.name == hull.FDSentry {
			s.first = f
			continue
		}
		s.ends = append(s.ends, end{name: e.name, file: f})
	}
	return s, nil
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (e ends) close() {
	for _, one := range e {
		one.file.Close()
	}
}

// close lets go of it, once nothing is being started.
func (s *spare) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		s.ends.close()
		if s.first != nil {
			s.first.Close()
		}
	}
}

// Renewable says whether RenewNetd can be called.
func (s *Sandbox) Renewable() bool { return s.spare != nil }

// ErrNotRenewable says that nothing was kept for another netd, or that the sandbox has
// ended.
var ErrNotRenewable = errors.New("there is nothing to start another netd with")

// AwaitNetd waits until the sentry asks a netd for something that is yet to be started,
// or for d. It says whether RenewNetd is to start it: not if Start did, or if the sentry's
// end or ForgoNetd ended the channel.
func (s *Sandbox) AwaitNetd(d time.Duration) bool {
	if s.spare == nil || s.spare.first == nil {
		return false
	}
	raw, err := s.spare.first.SyscallConn()
	if err != nil {
		return false
	}
	goesOn := false
	// In Control, so that the descriptor is no other's if Kill closes it meanwhile.
	err = raw.Control(func(fd uintptr) {
		channel := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(channel, int(d.Milliseconds())); err != unix.EINTR {
				goesOn = channel[0].Revents&(unix.POLLHUP|unix.POLLERR) == 0
				return
			}
		}
	})
	return err == nil && goesOn
}

// ForgoNetd ends an AwaitNetd that another goroutine is in, as the sandbox ends.
func (s *Sandbox) ForgoNetd() {
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	if f := s.spare.first; f != nil && !s.spare.ended {
		unix.Shutdown(int(f.Fd()), unix.SHUT_RDWR)
	}
}

// RenewNetd starts a netd in the place of one that has ended, or is yet to be started,
// boots it as the first one was, and joins it to the sentry. Of what the guest had
// configured it knows nothing.
func (s *Sandbox) RenewNetd(ctx context.Context) error {
	k := s.spare
	if k == nil {
		return ErrNotRenewable
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return ErrNotRenewable
	}
	var mine *os.File // nil: the sentry has it
	theirs := k.first
	if k.first = nil; theirs == nil {
		var err error
		if mine, theirs, err = pair(); err != nil {
			return fmt.Errorf("join sentry and netd: %w", err)
		}
		defer mine.Close()
	}
	defer theirs.Close()
	given := append(append(ends(nil), k.ends...), end{name: hull.FDSentry, file: theirs})
	boot := k.boot
	if k.config.Relink != nil {
		files, links, err := k.config.Relink()
		if err != nil {
			return fmt.Errorf("open the links anew: %w", err)
		}
		for n, f := range files {
			defer f.Close()
			given = append(given, end{name: hull.FDLink(n), file: f})
		}
		boot = proto.Clone(boot).(*netdv1.BootRequest)
		boot.Links = links
	}
	netd, err := start(k.config, "netd", given)
	if err != nil {
		return fmt.Errorf("start netd: %w", err)
	}
	s.Netd.Kill() // it has ended: what is left is our connection to it
	s.Netd = netd
	if _, err := controlv1.NewNetdServiceClient(netd.Conn).Boot(ctx, boot); err != nil {
		netd.Kill()
		return netd.Failed(err)
	}
	if mine == nil {
		return nil
	}
	token, err := s.Donate(Gift{Role: sentryv1.Role_ROLE_NETD, File: mine})
	if err == nil {
		_, err = s.Control().Reconnect(ctx, &sentryv1.ReconnectRequest{Donation: token})
		err = s.Sentry.Failed(err)
	}
	if err != nil {
		netd.Kill()
		return fmt.Errorf("join netd to the sentry: %w", err)
	}
	return nil
}
