package container

import (
	"errors"
	"os"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/inet"
	"bulkhead/services/sentry/socket/netlink"
	"bulkhead/services/sentry/socket/unix"
	"bulkhead/services/sentry/syscalls"
)

// network connects the sandbox's sockets to netd. Without netd there are no
// Internet sockets at all.
func (s *Sandbox) network(netd *os.File) error {
	if netd == nil {
		return nil
	}
	n, err := inet.NewOutlet(netd)
	if err != nil {
		return err
	}
	s.outlet = n
	n.Register(syscalls.Families)
	s.netTables, s.orphans, s.tune = n.Tables(), n.Orphans, n.Tune
	s.conf6 = func() map[string]map[string]procfs.Sysctl {
		out := map[string]map[string]procfs.Sysctl{}
		for name, settings := range n.Conf6() {
			out[name] = map[string]procfs.Sysctl{}
			for k, c := range settings {
				out[name][k] = procfs.Sysctl{Get: c.Get, Set: c.Set}
			}
		}
		return out
	}
	if f, ok := syscalls.Families[linux.AF_UNIX].(*unix.Family); ok {
		f.Devices = n.DeviceIoctl
	}
	syscalls.Families[linux.AF_NETLINK] = netlink.New(n, func() []socket.Socket { return procfs.Sockets(procfs.NewKernel(s.kernel, nil)) })
	return nil
}

// Reconnect takes another netd in the place of the one that the sandbox had.
func (s *Sandbox) Reconnect(netd *os.File) error {
	if s.outlet == nil {
		netd.Close()
		return errors.New("netd: the sandbox never had one")
	}
	return s.outlet.Reconnect(netd)
}
