// Package inet has the sockets of AF_INET and AF_INET6: TCP, UDP, UDP-Lite and ping
// sockets, whose stack is another process, netd.
//
// Control is a request over a socketpair; bytes go through rings in memory that
// both processes share (proto/netd/v1, proto/channel). Readiness, reads and
// writes are answered from that memory alone: netd is asked when a socket is
// bound, connected, made to listen or closed, and woken by a doorbell only when
// it has said that it sleeps.
//
// netd is hostile: what it answers is checked, and what it writes into shared
// memory can at worst end or confuse its own sockets. When it dies, connections
// reset (ECONNRESET) and new sockets are ENETDOWN.
//
// Lock order: Stream.mu, Stream.sending, Stream.receiving < Network.mu <
// wait.Queue. The locks of Dgram stand where Stream's do.
package inet

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// theirs is the bit of socket numbers that netd gives.
const theirs = 1 << 31

// Network is the sentry's side of one netd.
type Network struct {
	client *channel.Client
	dead   atomic.Bool

	first  *Network                         // of a space: see space.go
	space  uint32                           // its number
	owner  *vfs.UserNamespace               // who has power there rules it
	spaces map[uint32]weak.Pointer[Network] // of the first: guarded by mu
	// looking is set while a look for spaces that nobody has is due: LookForSpaces.
	looking [len(lookTimes)]atomic.Bool

	hello struct {
		sync.Once
		err  error
		done atomic.Bool
	}
	bell    *channel.Bell
	unwatch func() // guest threads stop looking at the bell

	mu      sync.Mutex
	last    uint32
	sockets map[uint32]member
	rings   map[uint32]*memory
	heads   map[uint32]*channel.Heads

	tuning        *tuning
	registry      registry
	within        within
	watcher       atomic.Pointer[func(*netdv1.Changed)]
	filterWatcher atomic.Pointer[func(int, []byte)]
	notices       notices
	rules         sync.Mutex // held while the packet filter is asked
}

// maxRings bounds the pieces of memory that netd can have us map, maxHeads those that
// heads lie in.
const (
	maxRings = 70000
	maxHeads = maxRings / channel.HeadsOf
)

// member is a socket as the network's goroutines see it.
type member interface {
	// told is called when netd has rung for the socket.
	told()
	// died is called when netd is gone.
	died()
}

// memory is one piece of shared memory; used is guarded by Network.mu.
type memory struct {
	id    uint32
	rings *channel.Rings
	used  bool
}

// New makes a network of the socketpair to netd, which it takes over. It says
// nothing to netd before the first socket needs it.
func New(data *os.File) (*Network, error) {
	conn, err := channel.New(data)
	if err != nil {
		return nil, err
	}
	n := &Network{sockets: map[uint32]member{}, rings: map[uint32]*memory{}, heads: map[uint32]*channel.Heads{}, tuning: newTuning()}
	n.registry.init()
	n.client = channel.NewClient(conn, n.notice)
	go n.mourn()
	return n, nil
}

// Register adds the families of n to a kernel's table.
func (n *Network) Register(t socket.Families) {
	t[linux.AF_INET] = family{n, false}
	t[linux.AF_INET6] = family{n, true}
	t[linux.AF_PACKET] = packetFamily{n}
}

// Close ends the connection to netd, as its death would.
func (n *Network) Close() {
	n.dead.Store(true) // before netd, which then closes all sockets, is seen to do so
	n.client.Close()
}

// mourn resets everything when netd is gone.
func (n *Network) mourn() {
	<-n.client.Dead()
	n.dead.Store(true)
	var all []member
	for _, sub := range n.all() {
		sub.dead.Store(true)
		sub.mu.Lock()
		for _, m := range sub.sockets {
			all = append(all, m)
		}
		sub.mu.Unlock()
	}
	for _, m := range all {
		m.died()
	}
	n.hello.Do(func() { n.hello.err = linux.ENETDOWN })
	if n.bell != nil {
		if n.unwatch != nil {
			n.unwatch()
		}
		n.bell.Close()
	}
}

// ready says hello to netd, once.
func (n *Network) ready() error {
	if n.dead.Load() {
		return linux.ENETDOWN
	}
	n.hello.Do(func() {
		n.hello.err = n.sayHello()
		n.hello.done.Store(true)
	})
	return n.hello.err
}

func (n *Network) sayHello() error {
	if n.first != nil {
		return n.enter()
	}
	var resp netdv1.Response
	fds, err := n.client.Call(context.Background(), &netdv1.Request{Op: &netdv1.Request_Hello{Hello: &netdv1.Hello{}}}, nil, &resp)
	if err != nil || resp.Error != 0 || len(fds) != 3 || resp.GetRings().GetSize() != channel.BellRing {
		closeAll(fds)
		return linux.ENETDOWN
	}
	rings, err := channel.MapRings(fds[0], channel.BellRing)
	unix.Close(fds[0])
	if err != nil {
		closeAll(fds[1:])
		return linux.ENETDOWN
	}
	if resp.LoopbackThroughNetd {
		n.Direct(false)
	}
	if n.bell, err = channel.NewBell(rings, true, fds[1], fds[2]); err != nil {
		return linux.ENETDOWN
	}
	go n.listenBell()
	n.unwatch = wait.SetWatcher(watcher{n, n.bell})
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// listenBell tells the sockets that netd has rung for.
func (n *Network) listenBell() {
	if n.bell.Listen(hearer{n}) == channel.ErrCorrupt {
		n.client.Close()
	}
}

// hear takes what netd has put into the bell by now. Whoever waits for netd's answer
// to a call and needs what it said before that calls it afterwards, with none of a
// socket's locks.
func (n *Network) hear() {
	if n.ready() == nil {
		n.bell.Take(hearer{n.lead()}) // what is corrupt is Listen's matter
	}
}

// watcher looks at the bell for guest threads that wait and poll anyhow: what they
// wait for is then told without a goroutine to wake.
type watcher struct {
	n    *Network
	bell *channel.Bell
}

func (w watcher) Watch()             { w.bell.Watch() }
func (w watcher) Look()              { w.bell.Look(hearer{w.n}) }
func (w watcher) Unwatch(again bool) { w.bell.Unwatch(hearer{w.n}, again) }

// ring tells netd that a socket's rings have changed.
func (n *Network) ring(h *channel.Head, id uint32) {
	if h.Told.Swap(1) == 0 {
		n.bell.Post(id)
	}
	n.bell.Ring()
}

// call asks netd one thing. ENETDOWN if it is gone; its own errors otherwise.
// The descriptors that came are the caller's.
func (n *Network) call(req *netdv1.Request) (*netdv1.Response, []int, error) {
	if err := n.ready(); err != nil {
		return nil, nil, err
	}
	if req.Socket == 0 {
		req.Socket = n.space << spaceShift
	}
	resp := &netdv1.Response{}
	fds, err := n.client.Call(context.Background(), req, nil, resp)
	if err != nil {
		closeAll(fds)
		return nil, nil, linux.ENETDOWN
	}
	return resp, fds, nil
}

// errnoOf checks an error number of netd's.
func errnoOf(e uint32) error {
	switch {
	case e == 0:
		return nil
	case e > 133:
		return linux.EIO
	}
	return linux.Errno(e)
}

// newID is a free number for a socket.
func (n *Network) newID(m member) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		n.last = numberOf(n.last + 1)
		id := n.space<<spaceShift | n.last
		if _, taken := n.sockets[id]; n.last != 0 && !taken {
			n.sockets[id] = m
			return id
		}
	}
}

// take finds or maps the memory that netd names, and closes fds.
func (n *Network) take(r *netdv1.Rings, fds []int) (*memory, error) {
	defer closeAll(fds)
	if r == nil {
		return nil, linux.EIO
	}
	n = n.lead()
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.rings[r.Id]
	switch {
	case m != nil && m.used || len(fds) > 1 || len(n.rings) > maxRings:
		return nil, linux.EIO
	case len(fds) == 1:
		rings, err := n.mapLocked(r, fds[0])
		if err != nil {
			return nil, linux.EIO
		}
		m = &memory{id: r.Id, rings: rings}
		n.rings[r.Id] = m
	case m == nil:
		return nil, linux.EIO
	}
	m.used = true
	return m, nil
}

// mapLocked maps memory that netd names.
func (n *Network) mapLocked(r *netdv1.Rings, fd int) (*channel.Rings, error) {
	if r.Heads == 0 {
		return channel.MapRings(fd, int(r.Size))
	}
	h := n.heads[r.Heads]
	if h == nil || int64(r.Head) >= int64(channel.HeadsOf) {
		return nil, linux.EIO
	}
	return h.MapRings(fd, int(r.Head), int(r.Size))
}

// takeHeads maps memory for heads, and closes fds.
func (n *Network) takeHeads(m *netdv1.Heads, fds []int) {
	defer closeAll(fds)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.heads[m.Id] != nil || len(n.heads) >= maxHeads || len(fds) != 1 {
		return
	}
	if h, err := channel.MapHeads(fds[0]); err == nil {
		n.heads[m.Id] = h
	}
}

// drop forgets a socket and frees its memory for netd's next use.
func (n *Network) drop(id uint32, m *memory) {
	n.mu.Lock()
	delete(n.sockets, id)
	n.mu.Unlock()
	if m != nil {
		n = n.lead()
		n.mu.Lock()
		m.used = false
		n.mu.Unlock()
	}
}

func closing(id uint32, abort bool) *netdv1.Request {
	return &netdv1.Request{Socket: id, Op: &netdv1.Request_Close{Close: &netdv1.Close{Abort: abort}}}
}

// forget unmaps memory that netd has given up. Whoever polled the socket that
// had it is long gone when that happens.
func (n *Network) forget(id uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.rings[id]; m != nil && !m.used {
		delete(n.rings, id)
		time.AfterFunc(5*time.Second, m.rings.Unmap)
	}
}

// family is AF_INET or AF_INET6.
type family struct {
	n  *Network
	v6 bool
}

// Socket makes a socket; netd learns of it when it is first used, and of a raw one at once.
func (f family) Socket(ctx vfs.Context, typ, protocol int) (socket.Socket, error) {
	if f.n.dead.Load() {
		return nil, linux.ENETDOWN
	}
	if protocol < 0 || protocol >= linux.IPPROTO_MAX {
		return nil, linux.EINVAL
	}
	icmp := linux.IPPROTO_ICMP
	if f.v6 {
		icmp = linux.IPPROTO_ICMPV6
	}
	switch typ {
	case linux.SOCK_STREAM:
		if protocol == 0 || protocol == linux.IPPROTO_TCP {
			return newStream(f.n, f.v6), nil
		}
	case linux.SOCK_DGRAM:
		switch protocol {
		case 0, linux.IPPROTO_UDP:
			return newDgram(f.n, f.v6, linux.SOCK_DGRAM, linux.IPPROTO_UDP), nil
		case linux.IPPROTO_UDPLITE:
			return newDgram(f.n, f.v6, linux.SOCK_DGRAM, linux.IPPROTO_UDPLITE), nil
		case icmp:
			if c := ctx.Creds(); !f.n.tuning.maySendPings(append([]uint32{c.EGID}, c.Groups...)...) {
				return nil, linux.EACCES
			}
			return newDgram(f.n, f.v6, linux.SOCK_DGRAM, icmp), nil
		}
	case linux.SOCK_RAW:
		if !f.n.mayRule(ctx, linux.CAP_NET_RAW) {
			return nil, linux.EPERM
		}
		if protocol > 0 && protocol < 256 {
			d := newDgram(f.n, f.v6, linux.SOCK_RAW, protocol)
			if protocol != linux.IPPROTO_RAW {
				d.appear(ctx) // it receives from now on
			}
			return d, nil
		}
	default:
		return nil, linux.ESOCKTNOSUPPORT
	}
	return nil, linux.EPROTONOSUPPORT
}

// Interfaces asks netd for its interfaces.
func (n *Network) Interfaces() ([]*netdv1.Interface, error) {
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Interfaces{Interfaces: &netdv1.InterfaceQuery{}}})
	closeAll(fds)
	if err != nil {
		return nil, err
	}
	return resp.Interfaces, nil
}

// Routes asks netd for its routes and neighbours.
func (n *Network) Routes() (*netdv1.Response, error) {
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Routes{Routes: &netdv1.RouteDump{}}})
	closeAll(fds)
	return resp, err
}

// Change has netd change its configuration. Whoever calls it has checked that
// the caller may.
func (n *Network) Change(c *netdv1.Change) error {
	resp, err := n.change(c)
	if err != nil {
		return err
	}
	if e := linux.Errno(resp.Error); c.GetNewLink() != nil && (e == linux.EEXIST || e == linux.ENOSPC) {
		runtime.GC() // what is in a namespace that nobody uses is known only then
		time.Sleep(10 * time.Millisecond)
		if resp, err = n.change(c); err != nil {
			return err
		}
	}
	n.registry.mu.Lock()
	n.registry.own.asked = time.Time{}
	n.registry.mu.Unlock()
	return errnoOf(resp.Error)
}

func (n *Network) change(c *netdv1.Change) (*netdv1.Response, error) {
	resp, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Change{Change: c}})
	closeAll(fds)
	return resp, err
}

// Watch has tell called for each change of netd's configuration from now on: ENETDOWN.
func (n *Network) Watch(tell func(*netdv1.Changed)) error {
	n.watcher.Store(&tell)
	_, fds, err := n.call(&netdv1.Request{Op: &netdv1.Request_Watch{Watch: &netdv1.Watch{}}})
	closeAll(fds)
	return err
}

// end is a socket's shared memory, once netd has made the socket.
type end struct {
	id   uint32
	mem  *memory
	head *channel.Head
	up   *channel.Producer
	down *channel.Consumer
}

func newEnd(id uint32, m *memory) *end {
	e := &end{id: id, mem: m, head: m.rings.Head}
	e.up, e.down = m.rings.Client()
	return e
}

// listen takes note that netd may have rung before anybody heard it: it is to
// ring again from now on. Nobody waits yet.
func (e *end) listen() { e.head.ToldClient.Store(0) }

// errorState keeps what of SO_ERROR was read.
type errorState struct {
	seen  atomic.Uint32 // of Head.ErrorCount
	death atomic.Bool   // netd's death was reported
}

// pending says whether there is an error to report.
func (x *errorState) pending(n *Network, e *end) bool {
	return e != nil && (e.head.ErrorCount.Load() != x.seen.Load() || n.dead.Load() && !x.death.Load())
}

// take takes the error: it is reported once.
func (x *errorState) take(n *Network, e *end) error {
	if e == nil {
		return nil
	}
	seen := x.seen.Load()
	if count := e.head.ErrorCount.Load(); count != seen && x.seen.CompareAndSwap(seen, count) {
		if err := errnoOf(e.head.Error.Load()); err != nil {
			return err
		}
	}
	if n.dead.Load() && x.death.CompareAndSwap(false, true) {
		return linux.ECONNRESET
	}
	return nil
}

// takeIf takes the error if it is that one.
func (x *errorState) takeIf(e *end, want linux.Errno) bool {
	seen := x.seen.Load()
	count := e.head.ErrorCount.Load()
	return count != seen && errnoOf(e.head.Error.Load()) == error(want) && x.seen.CompareAndSwap(seen, count)
}

// is says whether that error is to be reported.
func (x *errorState) is(e *end, what linux.Errno) bool {
	return e.head.ErrorCount.Load() != x.seen.Load() && errnoOf(e.head.Error.Load()) == error(what)
}

// skip marks all errors so far as reported.
func (x *errorState) skip(e *end) { x.seen.Store(e.head.ErrorCount.Load()) }

// gone is everything: what a socket whose netd is dead can always do.
const gone = wait.In | wait.Out | wait.Err | wait.Hup | wait.RDHup
