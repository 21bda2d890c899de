package inet

import (
	"os"
	"sync"
	"sync/atomic"
	"weak"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Outlet is the network that new sockets get. A socket belongs to one netd for good;
// when that is gone and another has taken its place, those that are made from then on
// belong to the new one.
type Outlet struct {
	now   atomic.Pointer[Network]
	tuner tuner

	// Of a namespace of the guest's: the first outlet, and who has power over it. The first
	// knows the others, as long as somebody else does.
	first *Outlet
	owner *vfs.UserNamespace

	mu         sync.Mutex
	others     map[weak.Pointer[Outlet]]bool
	tell       func(*netdv1.Changed) // see Watch
	tellFilter func(int, []byte)     // see WatchFilter
}

// NewOutlet makes an outlet of the socketpair to the first netd, which it takes over.
func NewOutlet(data *os.File) (*Outlet, error) {
	n, err := New(data)
	if err != nil {
		return nil, err
	}
	o := &Outlet{tuner: tuner{tuning: n.tuning}}
	o.now.Store(n)
	return o, nil
}

// Reconnect takes another netd for the one there was, whose sockets end: likewise for the
// namespaces beside this one, which begin anew.
func (o *Outlet) Reconnect(data *os.File) error {
	n, err := New(data)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replaceLocked(n).Close()
	for w := range o.others {
		other := w.Value()
		if other == nil {
			delete(o.others, w)
			continue
		}
		if sub, err := n.newSpace(other.owner); err == nil {
			other.mu.Lock()
			other.replaceLocked(sub)
			other.mu.Unlock()
		}
	}
	return nil
}

// replaceLocked has new sockets belong to n, as the outlet's settings and watchers do,
// and gives the network that they belonged to before.
func (o *Outlet) replaceLocked(n *Network) (old *Network) {
	n.tuning = o.tuner.tuning
	o.retune(n)
	if o.tell != nil {
		n.Watch(o.tell)
	}
	if o.tellFilter != nil {
		n.WatchFilter(o.tellFilter)
	}
	return o.now.Swap(n)
}

// LookForSpaces is to be called when somebody has let go of another namespace.
func (o *Outlet) LookForSpaces() {
	if n := o.now.Load(); n != nil {
		n.lead().LookForSpaces()
	}
}

// Beside makes the outlet of another namespace, which those have power over who have it
// in owner: ENOSPC.
func (o *Outlet) Beside(owner *vfs.UserNamespace) (*Outlet, error) {
	if o.first != nil {
		o = o.first
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.now.Load().newSpace(owner)
	if err != nil {
		return nil, err
	}
	other := &Outlet{first: o, owner: owner, tuner: tuner{tuning: n.tuning}}
	other.now.Store(n)
	if o.others == nil {
		o.others = map[weak.Pointer[Outlet]]bool{}
	}
	for w := range o.others {
		if w.Value() == nil {
			delete(o.others, w)
		}
	}
	o.others[weak.Make(other)] = true
	return other, nil
}

// Space is the number of its namespace now, 0 for the first.
func (o *Outlet) Space() uint32 { return o.now.Load().space }

// Enter is Space of a namespace that netd is to know: ENETDOWN, ENOSPC.
func (o *Outlet) Enter() (uint32, error) {
	n := o.now.Load()
	return n.space, n.ready()
}

// Rules says whether the caller has a capability over the network.
func (o *Outlet) Rules(ctx vfs.Context, cap linux.Cap) bool { return o.now.Load().mayRule(ctx, cap) }

// Watch has tell called for each change of the configuration, of whichever netd.
func (o *Outlet) Watch(tell func(*netdv1.Changed)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell = tell
	o.now.Load().Watch(tell) // of one that is gone there are no changes
	return nil
}

// Interfaces asks netd for its interfaces.
func (o *Outlet) Interfaces() ([]*netdv1.Interface, error) { return o.now.Load().Interfaces() }

// Routes asks netd for its routes and neighbours.
func (o *Outlet) Routes() (*netdv1.Response, error) { return o.now.Load().Routes() }

// Change has netd change its configuration.
func (o *Outlet) Change(c *netdv1.Change) error { return o.now.Load().Change(c) }

// WatchFilter has tell called with notifications of the packet filter, whichever netd's.
func (o *Outlet) WatchFilter(tell func(group int, messages []byte)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tellFilter = tell
	o.now.Load().WatchFilter(tell)
	return nil
}

// RulesMessage carries messages to the packet filter.
func (o *Outlet) RulesMessage(b []byte, port uint32, admin bool) ([][]byte, error) {
	return o.now.Load().RulesMessage(b, port, admin)
}

// Orphans are the connections that no socket has.
func (o *Outlet) Orphans() []socket.Orphan { return o.now.Load().Orphans() }

// DestroyOrphan ends one of them: ENOENT.
func (o *Outlet) DestroyOrphan(c socket.Orphan) error { return o.now.Load().DestroyOrphan(c) }

// DeviceIoctl answers an ioctl about interfaces.
func (o *Outlet) DeviceIoctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	return o.now.Load().DeviceIoctl(ctx, cmd, arg)
}

// Conf6 are the settings of Network.Conf6.
func (o *Outlet) Conf6() map[string]map[string]Sysctl {
	all := o.now.Load().Conf6()
	for name, settings := range all {
		for k := range settings {
			settings[k] = Sysctl{
				Get: func() (int64, error) {
					if c, ok := o.now.Load().Conf6()[name][k]; ok {
						return c.Get()
					}
					return 0, linux.ENETDOWN
				},
				Set: func(v int64) error {
					if c, ok := o.now.Load().Conf6()[name][k]; ok {
						return c.Set(v)
					}
					return linux.ENETDOWN
				},
			}
		}
	}
	return all
}

// Tables are the files of Network.Tables.
func (o *Outlet) Tables() map[string]func(vfs.Context) ([]byte, error) {
	all := o.now.Load().Tables()
	for name := range all {
		all[name] = func(ctx vfs.Context) ([]byte, error) { return o.now.Load().Tables()[name](ctx) }
	}
	return all
}

// Register adds the families to a kernel's table.
func (o *Outlet) Register(t socket.Families) {
	t[linux.AF_INET] = outletFamily{o, linux.AF_INET}
	t[linux.AF_INET6] = outletFamily{o, linux.AF_INET6}
	t[linux.AF_PACKET] = outletFamily{o, linux.AF_PACKET}
}

// outletFamily makes sockets of whichever network there is.
type outletFamily struct {
	o      *Outlet
	domain int
}

// Socket makes one: ENETDOWN while there is no netd.
func (f outletFamily) Socket(ctx vfs.Context, typ, protocol int) (socket.Socket, error) {
	n := f.o.now.Load()
	if f.domain == linux.AF_PACKET {
		return packetFamily{n}.Socket(ctx, typ, protocol)
	}
	return family{n, f.domain == linux.AF_INET6}.Socket(ctx, typ, protocol)
}
