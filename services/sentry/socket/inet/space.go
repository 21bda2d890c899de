package inet

import (
	"runtime"
	"time"
	"weak"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// A namespace of the network that a guest makes is a space of netd's: a Network of its
// own that shares the connection, the bell and the memory of the first. netd hears of it
// when it is first used, and again when nobody can use it any more, which the garbage
// collector finds: tasks, sockets and open links of /proc/PID/ns hold it.

// spaceShift is where the number of a space begins in those of its sockets.
const spaceShift = 24

// maxSpaces is how many there are at most besides the first: netd's limit.
const maxSpaces = 127

// numberOf is a socket's number without its space's.
func numberOf(id uint32) uint32 { return id & (1<<spaceShift - 1) }

// lead is the first space's network.
func (n *Network) lead() *Network {
	if n.first != nil {
		return n.first
	}
	return n
}

// in gives the network of a space; nil if there is none.
func (n *Network) in(space uint32) *Network {
	if space == 0 {
		return n
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.spaces[space].Value()
}

// newSpace makes a space of n, the first: ENOSPC.
func (n *Network) newSpace(owner *vfs.UserNamespace) (*Network, error) {
	sub := &Network{first: n, owner: owner, client: n.client, sockets: map[uint32]member{}, tuning: newTuning()}
	sub.registry.init()
	sub.dead.Store(n.dead.Load())
	for try := 0; ; try++ {
		if n.enroll(sub) {
			return sub, nil
		}
		if try == 20 {
			return nil, linux.ENOSPC
		}
		runtime.GC() // what nobody uses is known only then
		time.Sleep(time.Millisecond)
	}
}

// enroll gives sub a number: false if there is none left.
func (n *Network) enroll(sub *Network) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.spaces == nil {
		n.spaces = map[uint32]weak.Pointer[Network]{}
	}
	for i := uint32(1); i <= maxSpaces; i++ {
		if _, taken := n.spaces[i]; !taken {
			sub.space = i
			n.spaces[i] = weak.Make(sub)
			runtime.AddCleanup(sub, func(i uint32) { go n.endSpace(i) }, i)
			return true
		}
	}
	return false
}

// lookTimes are how long after somebody has left a space it is looked whether anybody is
// still there: a process that has ended holds it until it was waited for.
var lookTimes = [...]time.Duration{20 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}

// LookForSpaces has spaces that nobody has any more found soon, not only when the garbage
// collector next runs for want of memory: of a pair of interfaces the other one goes too.
func (n *Network) LookForSpaces() {
	for i, after := range lookTimes {
		if n.looking[i].CompareAndSwap(false, true) {
			time.AfterFunc(after, func() {
				n.looking[i].Store(false)
				n.mu.Lock()
				left := len(n.spaces)
				n.mu.Unlock()
				if left > 0 {
					runtime.GC()
				}
			})
		}
	}
}

// endSpace ends a space that nobody has any more, and then its number is free. The
// bell's letters come to netd before.
func (n *Network) endSpace(space uint32) {
	if !n.dead.Load() && n.hello.done.Load() {
		req := &netdv1.Request{Socket: space << spaceShift, Op: &netdv1.Request_Space{Space: &netdv1.Space{End: true}}}
		_, fds, _ := n.call(req)
		closeAll(fds)
	}
	n.mu.Lock()
	delete(n.spaces, space)
	n.mu.Unlock()
}

// enter is sayHello of a space: netd makes it.
func (n *Network) enter() error {
	if err := n.first.ready(); err != nil {
		return err
	}
	n.bell = n.first.bell
	if n.first.registry.off.Load() {
		n.Direct(false)
	}
	resp, fds, err := n.first.call(&netdv1.Request{Socket: n.space << spaceShift, Op: &netdv1.Request_Space{Space: &netdv1.Space{}}})
	closeAll(fds)
	if err != nil {
		return err
	}
	return errnoOf(resp.Error)
}

// all gives the networks of all spaces, the first's too.
func (n *Network) all() []*Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []*Network{n}
	for _, w := range n.spaces {
		if sub := w.Value(); sub != nil {
			list = append(list, sub)
		}
	}
	return list
}

// mayRule says whether the caller has a capability where the network was made.
func (n *Network) mayRule(ctx vfs.Context, cap linux.Cap) bool {
	return ctx.Creds().HasIn(n.owner, cap)
}

// Space is the number of the network's namespace, 0 for the first.
func (n *Network) Space() uint32 { return n.space }

// Space is that of the network that the socket belongs to.
func (s *Stream) Space() uint32 { return s.n.space }

// Space likewise.
func (d *Dgram) Space() uint32 { return d.n.space }

// Space likewise.
func (p *Packet) Space() uint32 { return p.n.space }
