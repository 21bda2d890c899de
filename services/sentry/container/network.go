package container

import (
	"errors"
	"net"
	"os"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/devfs"
	"bulkhead/services/sentry/procfs"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/socket/inet"
	"bulkhead/services/sentry/socket/netlink"
	"bulkhead/services/sentry/socket/unix"
	"bulkhead/services/sentry/syscalls"
	"bulkhead/services/sentry/sysfs"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// network is a namespace of the network: network_namespaces(7).
type network struct {
	outlet   *inet.Outlet
	families socket.Families
	tables   map[string]func(vfs.Context) ([]byte, error)
	settings procfs.Settings // what was written below /proc/sys/net
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
	s.kernel.NewNetwork, s.kernel.NetworkLeft = s.newNetwork, o.LookForSpaces
	devfs.RegisterTun(func(ctx vfs.Context) (vfs.Impl, error) { return s.networkFor(ctx).outlet.OpenTunnel() })
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
	links := netlink.New(o, func() []socket.Socket {
		return procfs.In(o.Space(), procfs.Sockets(procfs.NewKernel(s.kernel, nil)))
	})
	links.Others = func(ctx vfs.Context) netlink.Namespaces {
		return func(fd, pid int32) (uint32, error) { return namedSpace(ctx, fd, pid) }
	}
	n.families[linux.AF_NETLINK] = links
	return n
}

// namedSpace is the number of the namespace that one of the caller's descriptors stands for, or
// with that below 0 of the one that a process is in. The caller needs power over it: EBADF,
// EINVAL, ESRCH, EPERM.
func namedSpace(ctx vfs.Context, fd, pid int32) (uint32, error) {
	t, ok := ctx.(*task.Task)
	if !ok {
		return 0, linux.EINVAL
	}
	var net *task.Net
	if fd >= 0 {
		f, err := t.File(linux.FD(fd))
		if err != nil {
			return 0, err
		}
		defer f.DecRef(t)
		ns, _ := procfs.NamespaceOf(f.Impl())
		if net, ok = ns.(*task.Net); !ok {
			return 0, linux.EINVAL
		}
	} else if g := t.NamedGroup(pid); g != nil {
		if net = g.Leader().Net(); g.Leader().MM() == nil {
			return 0, linux.ESRCH // it has ended, and with that left its network
		}
	} else {
		return 0, linux.ESRCH
	}
	n, ok := net.Network.(*network)
	switch {
	case !ok:
		return 0, linux.EINVAL
	case !n.outlet.Rules(ctx, linux.CAP_NET_ADMIN):
		return 0, linux.EPERM
	}
	return n.outlet.Enter()
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

// showNetwork has a /proc tell of networks: of the reader's.
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
	c.Network = func(ctx vfs.Context) procfs.Network { return s.networkFor(ctx) }
}

// Tune implements procfs.Network, as do those below.
func (n *network) Tune(path, value string) error { return n.outlet.Tune(path, value) }

// Conf6 implements it.
func (n *network) Conf6() map[string]map[string]procfs.Sysctl {
	out := map[string]map[string]procfs.Sysctl{}
	for name, settings := range n.outlet.Conf6() {
		out[name] = map[string]procfs.Sysctl{}
		for k, c := range settings {
			out[name][k] = procfs.Sysctl{Get: c.Get, Set: c.Set}
		}
	}
	return out
}

// Links implements it: none without netd.
func (n *network) Links() (names []string) {
	all, _ := n.outlet.Interfaces()
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

// Settings implements it.
func (n *network) Settings() *procfs.Settings { return &n.settings }

// Admin implements it.
func (n *network) Admin(ctx vfs.Context) bool { return n.outlet.Rules(ctx, linux.CAP_NET_ADMIN) }

// interfacesFor lists the interfaces of the network of whoever mounts a /sys.
func (s *Sandbox) interfacesFor(mounter vfs.Context) func() []sysfs.Interface {
	n := s.networkFor(mounter)
	if n == nil {
		return nil
	}
	return func() []sysfs.Interface {
		all, _ := n.outlet.Interfaces() // without netd there is none
		var out []sysfs.Interface
		for _, i := range all {
			out = append(out, shown(i))
		}
		return out
	}
}

// shown is an interface as /sys has it.
func shown(i *netdv1.Interface) sysfs.Interface {
	out := sysfs.Interface{Name: i.Name, Index: int(i.Index), Link: int(i.Peer), MTU: int(i.Mtu), Queue: int(netlink.QueueLength(i)), Type: int(i.Hardware),
		Flags: i.Flags, Operstate: netlink.Operstate(i), Address: net.HardwareAddr(i.Mac).String()}
	copy(out.Statistics[:], i.Counters)
	switch i.Kind {
	case "tun":
		out.TunFlags = 0x1001 // IFF_TUN, IFF_NO_PI
	case "tap":
		out.TunFlags = 0x1002
	}
	out.Owner, out.Group = int64(int32(i.Owner)), int64(int32(i.Group))
	if out.TunFlags != 0 && i.Persist {
		out.TunFlags |= 0x800
	}
	return out
}

// Reconnect takes another netd in the place of the one that the sandbox had.
func (s *Sandbox) Reconnect(netd *os.File) error {
	if s.outlet == nil {
		netd.Close()
		return errors.New("netd: the sandbox never had one")
	}
	return s.outlet.Reconnect(netd)
}
