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
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// network is a namespace of the network: network_namespaces(7).
type network struct {
	outlet   *inet.Outlet
	families socket.Families
	tables   map[string]func(vfs.Context) ([]byte, error)
}

// Families implements syscalls.Networker.
func (n *network) Families() socket.Families { return n.families }

// Space is the number by which its sockets know it.
func (n *network) Space() uint32 { return n.outlet.Space() }

// network connects the sandbox's sockets to netd. Without netd there are no
// Internet sockets at all.
func (s *Sandbox) network(netd *os.File) error {
	if netd == nil {
		return nil
	}
	o, err := inet.NewOutlet(netd)
	if err != nil {
		return err
	}
	s.outlet = o
	n := s.networkOf(o, syscalls.Families[linux.AF_UNIX].(*unix.Family))
	syscalls.Families = n.families
	s.kernel.Net().Network = n
	s.kernel.NewNetwork = s.newNetwork
	return nil
}

// newNetwork makes another: ENOSPC.
func (s *Sandbox) newNetwork(owner *vfs.UserNamespace) (any, error) {
	o, err := s.outlet.Beside(owner)
	if err != nil {
		return nil, err
	}
	return s.networkOf(o, syscalls.Families[linux.AF_UNIX].(*unix.Family).Beside()), nil
}

// networkOf is the namespace that o leads to.
func (s *Sandbox) networkOf(o *inet.Outlet, local *unix.Family) *network {
	n := &network{outlet: o, families: socket.Families{linux.AF_UNIX: local}, tables: o.Tables()}
	o.Register(n.families)
	local.Devices, local.Space = o.DeviceIoctl, o.Space
	n.families[linux.AF_NETLINK] = netlink.New(o, func() []socket.Socket {
		return procfs.In(o.Space(), procfs.Sockets(procfs.NewKernel(s.kernel, nil)))
	})
	return n
}

// networkFor is the caller's, or the first for who is none; nil if there is none.
func (s *Sandbox) networkFor(ctx vfs.Context) *network {
	net := s.kernel.Net()
	if t, ok := ctx.(*task.Task); ok {
		net = t.Net()
	}
	n, _ := net.Network.(*network)
	return n
}

// showNetwork has a /proc tell of networks: its tables of the reader's, its settings of
// that of whoever mounts it.
func (s *Sandbox) showNetwork(c *procfs.Config, mounter vfs.Context) {
	n := s.networkFor(mounter)
	if n == nil {
		return
	}
	c.Net = map[string]func(vfs.Context) ([]byte, error){}
	for name := range n.tables {
		c.Net[name] = func(ctx vfs.Context) ([]byte, error) { return s.networkFor(ctx).tables[name](ctx) }
	}
	c.Orphans = func(ctx vfs.Context) []socket.Orphan { return s.networkFor(ctx).outlet.Orphans() }
	c.Tune = n.outlet.Tune
	c.Conf6 = func() map[string]map[string]procfs.Sysctl {
		out := map[string]map[string]procfs.Sysctl{}
		for name, settings := range n.outlet.Conf6() {
			out[name] = map[string]procfs.Sysctl{}
			for k, c := range settings {
				out[name][k] = procfs.Sysctl{Get: c.Get, Set: c.Set}
			}
		}
		return out
	}
}

// Reconnect takes another netd in the place of the one that the sandbox had.
func (s *Sandbox) Reconnect(netd *os.File) error {
	if s.outlet == nil {
		netd.Close()
		return errors.New("netd: the sandbox never had one")
	}
	return s.outlet.Reconnect(netd)
}
