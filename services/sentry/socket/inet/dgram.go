package inet

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Dgram is a UDP, UDP-Lite, ping or raw socket.
type Dgram struct {
	socket.Base
	n  *Network
	v6 bool

	end    atomic.Pointer[end]
	errors errorState

	shutRead, shutWrite atomic.Bool
	blocked             atomic.Bool
	released            atomic.Bool
	filtered            atomic.Bool   // SO_ATTACH_FILTER
	stamping            atomic.Uint32 // SO_TIMESTAMPING
	done                completions

	mu struct {
		sync.Mutex
		bound         bool
		local, remote netip.AddrPort
		routed        netip.AddrPort // the destination that netd knows a way to
		routedBy      uint32         // the interface that was asked for, 0 for any
		routedMTU     int            // what that path takes in bytes, and
		peerMTU       int            // the path to the peer; 0: not asked yet
	}
	conf    settings
	cork    cork
	mail    mailbox // from sockets of this sentry
	spot    spot
	reports reports // MSG_ERRQUEUE

	sending   sync.Mutex // guards end.up
	receiving sync.Mutex // guards end.down
}

func newDgram(n *Network, v6 bool, typ, protocol int) *Dgram {
	d := &Dgram{n: n, v6: v6}
	domain := linux.AF_INET
	if v6 {
		domain = linux.AF_INET6
	}
	d.Init(domain, typ, protocol)
	d.conf.init(n.tuning)
	d.conf.raw4, d.conf.raw6, d.conf.v6 = d.raw() && !v6, d.raw() && v6, v6
	d.conf.o.HeaderIncluded = d.raw() && protocol == linux.IPPROTO_RAW
	return d
}

// raw says whether it is a raw socket: raw(7).
func (d *Dgram) raw() bool { return d.Type() == linux.SOCK_RAW }

// ping says whether it is a ping socket: icmp(7).
func (d *Dgram) ping() bool {
	return !d.raw() && d.Protocol() != linux.IPPROTO_UDP && d.Protocol() != linux.IPPROTO_UDPLITE
}

// udp says whether it is a UDP socket.
func (d *Dgram) udp() bool { return d.Protocol() == linux.IPPROTO_UDP && !d.raw() }

// askLocked sends a request about the socket, with mu held.
func (d *Dgram) askLocked(ctx vfs.Context, req *netdv1.Request) (*netdv1.Response, error) {
	d.conf.setOwner(ctx.Creds().EUID, ctx.Creds().EGID)
	open := &netdv1.Open{Family: uint32(d.Domain()), Type: uint32(d.Type()), Protocol: uint32(d.Protocol()), Options: d.conf.message()}
	resp, e, err := ask(d.n, d, d.end.Load(), req, open)
	if e != nil && d.end.Load() == nil {
		d.end.Store(e)
		e.listen()
	}
	if resp != nil {
		if a := address(resp.Local); a.Port() != 0 {
			d.mu.local, d.mu.bound = a, true
			d.settleLocked()
		}
	}
	return resp, err
}

// tell sends a request of which only the error counts, and waits for it.
func (d *Dgram) tell(ctx vfs.Context, req *netdv1.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.askLocked(ctx, req)
	return err
}

// Bind gives the socket its address.
func (d *Dgram) Bind(ctx vfs.Context, sa []byte) error {
	if d.raw() && len(sa) >= 4 {
		sa = append(append(append([]byte(nil), sa[:2]...), 0, 0), sa[4:]...) // no port
	}
	a, scope, err := d.n.bindAddress(ctx, d.v6, sa)
	if err == nil {
		err = d.within(ctx, a.Addr(), scope, false)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.bound {
		return linux.EINVAL
	}
	_, err = d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Bind{Bind: &netdv1.Bind{Address: message(d.v6, a, scope)}}})
	if err == nil && d.raw() {
		d.mu.local = netip.AddrPortFrom(a.Addr().Unmap(), 0) // there are no ports, and it may be bound again
	}
	return err
}

// Listen is for streams.
func (d *Dgram) Listen(vfs.Context, int) error { return linux.EOPNOTSUPP }

// Accept is for streams.
func (d *Dgram) Accept(vfs.Context) (socket.Socket, []byte, error) {
	return nil, nil, linux.EOPNOTSUPP
}

// Connect sets the peer, or takes it away.
func (d *Dgram) Connect(ctx vfs.Context, sa []byte, _ bool) error {
	if linux.SockaddrFamily(sa) == linux.AF_UNSPEC {
		if len(sa) < 2 {
			return linux.EINVAL
		}
		return d.disconnect(ctx)
	}
	a, scope, err := d.parseTarget(sa)
	if err == nil {
		err = d.within(ctx, a.Addr(), scope, true)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.labelLocked(ctx, sa); err != nil {
		return err
	}
	resp, err := d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Connect{Connect: &netdv1.Connect{Address: message(d.v6, a, scope)}}})
	if err == nil {
		d.mu.remote, d.mu.peerMTU = address(resp.Remote), 0
		if d.raw() {
			d.mu.local = address(resp.Local)
		}
		d.settleLocked()
	}
	return err
}

func (d *Dgram) disconnect(ctx vfs.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.remote.IsValid() || d.end.Load() == nil {
		return nil
	}
	resp, err := d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Connect{Connect: &netdv1.Connect{}}})
	if err == nil {
		d.mu.remote = netip.AddrPort{}
		if d.mu.local = address(resp.Local); d.mu.local.Port() == 0 {
			d.vanish() // bind(2) had not named the port
			d.mu.bound, d.mu.routed = false, netip.AddrPort{}
		}
		d.settleLocked()
	}
	return err
}

// Shutdown shuts halves; an unconnected socket gives ENOTCONN, and they are shut
// nonetheless, so that whoever waits in it goes on.
func (d *Dgram) Shutdown(ctx vfs.Context, how int) error {
	if how < linux.SHUT_RD || how > linux.SHUT_RDWR {
		return linux.EINVAL
	}
	d.mu.Lock()
	linked := d.mu.remote.IsValid()
	d.mu.Unlock()
	if how != linux.SHUT_WR {
		d.shutRead.Store(true)
		d.mail.Lock()
		d.mail.shut = true
		d.mail.Unlock()
		if e := d.end.Load(); e != nil {
			d.n.post(&netdv1.Request{Socket: e.id, Op: &netdv1.Request_Shutdown{Shutdown: &netdv1.Shutdown{Read: true}}})
		}
	}
	if how != linux.SHUT_RD {
		d.shutWrite.Store(true)
	}
	d.Queue().Notify(wait.All)
	if !linked {
		return linux.ENOTCONN
	}
	return nil
}

// SockName is the local address.
func (d *Dgram) SockName(vfs.Context) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.raw() { // whose port is its protocol
		return sockaddr(d.v6, netip.AddrPortFrom(d.mu.local.Addr(), uint16(d.Protocol()))), nil
	}
	return scopedSockaddr(d.v6, d.mu.local, d.conf.link()), nil
}

// PeerName is the peer's address.
func (d *Dgram) PeerName(vfs.Context) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.remote.IsValid() || d.raw() { // whose peer has no port, and so is none
		return nil, linux.ENOTCONN
	}
	return scopedSockaddr(d.v6, d.mu.remote, d.conf.link()), nil
}

// Release ends the socket. It waits for netd: what anybody sends after close(2)
// finds nobody there, though it does not go by way of the requests.
func (d *Dgram) Release() {
	d.released.Store(true)
	d.vanish()
	if e := d.end.Load(); e != nil {
		d.n.drop(e.id, e.mem)
		_, fds, _ := d.n.call(closing(e.id, false))
		closeAll(fds)
	}
}

// Poll is what the socket is ready for.
func (d *Dgram) Poll() wait.Events {
	if d.released.Load() {
		return wait.Hup
	}
	e := d.end.Load()
	if e == nil {
		if d.n.dead.Load() {
			return gone
		}
		return wait.Out
	}
	e.head.WantDown.Store(1)
	ev := d.ready(e)
	if ev&wait.Out == 0 {
		d.blocked.Store(true)
		e.head.WantSpace.Store(1)
		ev = d.ready(e)
	}
	return ev
}

func (d *Dgram) ready(e *end) wait.Events {
	var ev wait.Events
	if d.errors.pending(d.n, e) || d.reports.waiting() || d.done.waiting() {
		ev |= wait.Err
	}
	d.receiving.Lock()
	n, err := e.down.Len()
	d.receiving.Unlock()
	if n > 0 || err != nil || d.n.dead.Load() || d.mail.first() != nil {
		ev |= wait.In
	}
	if d.shutRead.Load() {
		ev |= wait.In | wait.RDHup
		if d.shutWrite.Load() {
			ev |= wait.Hup
		}
	}
	d.sending.Lock()
	used, err := e.up.Used()
	d.sending.Unlock()
	if err != nil || used <= d.conf.sendLimit(e.up.Size(), 0)*2/3 {
		ev |= wait.Out
	}
	return ev
}

func (d *Dgram) told() {
	e := d.end.Load()
	if e == nil {
		return
	}
	e.head.ToldClient.Store(0)
	ev := d.ready(e)
	if ev&wait.In == 0 {
		e.head.WantDown.Store(1) // as Stream.told
		ev = d.ready(e)
	}
	if ev&wait.Out == 0 && d.blocked.Load() {
		e.head.WantSpace.Store(1) // not enough room yet
		ev = d.ready(e)
	}
	if ev&wait.Out != 0 && !d.blocked.Swap(false) {
		ev &^= wait.Out
	}
	if ev != 0 {
		d.Queue().Notify(ev)
	}
}

func (d *Dgram) died() { d.Queue().Notify(gone) }

// SockOpt gives an option's value.
func (d *Dgram) SockOpt(ctx vfs.Context, level, name, max int) ([]byte, error) {
	if err := applies(d.v6, d.raw(), d.Protocol(), level, true); err != nil {
		return nil, err
	}
	if level == linux.SOL_SOCKET {
		switch name {
		case linux.SO_ERROR:
			return errorOption(d.errors.take(d.n, d.end.Load())), nil
		case linux.SO_ACCEPTCONN:
			return socket.Int(0), nil
		case linux.SO_RCVBUF, linux.SO_SNDBUF:
			if v, err := d.conf.get(level, name); err == nil && d.conf.untuned(name) {
				return socket.Int(212992), nil
			} else {
				return v, err
			}
		}
		if v, ok := d.SockOptBase(name); ok {
			return v, nil
		}
	}
	if level == linux.IPPROTO_IP && name == linux.IP_MTU || level == linux.IPPROTO_IPV6 && name == linux.IPV6_MTU {
		return d.mtu(ctx)
	}
	switch {
	case level == linux.IPPROTO_IPV6 && name == linux.IPV6_PATHMTU:
		return d.pathMTU(ctx)
	case level == linux.IPPROTO_UDP && name == linux.UDP_CORK:
		return d.corked(), nil
	case d.raw() && isTypeFilter(d.v6, level, name):
		return d.conf.typeFilter(level), nil
	case d.raw() && d.v6 && isChecksum(level, name):
		return socket.Int(d.checksum()), nil
	}
	v, err := d.conf.get(level, name)
	if err == linux.ENOPROTOOPT && level == linux.SOL_SOCKET {
		return d.Kept(name, max)
	}
	return v, err
}

// mtu is IP_MTU, what the path to the peer takes: ENOTCONN without one.
func (d *Dgram) mtu(ctx vfs.Context) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.remote.IsValid() {
		return nil, linux.ENOTCONN
	}
	resp, err := d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Route{Route: &netdv1.RouteQuery{Address: message(d.v6, d.mu.remote, 0)}}})
	if err != nil {
		return nil, err
	}
	if most := uint32(65535); !d.v6 && resp.Mtu > most {
		resp.Mtu = most // IP_MAX_MTU
	}
	return socket.Int(int(resp.Mtu)), nil
}

// pathMTU is IPV6_PATHMTU, a struct ip6_mtuinfo: ENOTCONN without a peer.
func (d *Dgram) pathMTU(ctx vfs.Context) ([]byte, error) {
	mtu, err := d.mtu(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(sockaddr(true, netip.AddrPortFrom(d.mu.remote.Addr(), 0)), mtu...), nil
}

// SetSockOpt sets an option.
func (d *Dgram) SetSockOpt(ctx vfs.Context, level, name int, value []byte) error {
	if err := applies(d.v6, d.raw(), d.Protocol(), level, false); err != nil {
		return err
	}
	if level == linux.SOL_SOCKET {
		if known, err := d.SetSockOptBase(name, value); known {
			return err
		}
		if name == linux.SO_ATTACH_FILTER || name == linux.SO_DETACH_FILTER {
			return d.attach(ctx, name, value)
		}
	}
	if level == linux.IPPROTO_UDP && name == linux.UDP_CORK {
		return d.setCork(ctx, value)
	}
	if known, err := d.setRules(ctx, level, name, value); known {
		return err
	}
	if general, ok := isSourceFilter(level, name); ok {
		return d.setSourceFilter(ctx, level, general, value)
	}
	if m, err := membership(level, name, value); err != nil {
		return err
	} else if m != nil {
		return d.tell(ctx, &netdv1.Request{Op: &netdv1.Request_Membership{Membership: m}})
	}
	told, err := d.n.setDevice(ctx, &d.conf, true, level, name, value)
	switch {
	case told:
	case d.raw() && isTypeFilter(d.v6, level, name):
		told, err = true, d.conf.setTypeFilter(level, value)
	case d.raw() && d.v6 && isChecksum(level, name):
		told, err = true, d.setChecksum(level, value)
	case d.raw() && level == linux.IPPROTO_IPV6 && name == linux.IPV6_V6ONLY:
		return linux.EINVAL
	default:
		told, err = d.conf.set(ctx, level, name, value)
	}
	if err == linux.ENOPROTOOPT && level == linux.SOL_SOCKET {
		err = d.Keep(ctx, name, value)
		switch name {
		case linux.SO_TIMESTAMPING, linux.SO_TIMESTAMPING_NEW:
			d.stamping.Store(uint32(d.KeptInt(name)))
		case linux.SO_MARK:
			told = err == nil
			d.conf.mark(d.KeptInt(name))
		}
	}
	if err != nil || !told || d.end.Load() == nil {
		return err
	}
	// It is waited for: what is sent or arrives from here on is under it.
	return d.tell(ctx, &netdv1.Request{Op: &netdv1.Request_Options{Options: d.conf.message()}})
}

// Ioctl answers ioctl(2): FIONREAD is the next datagram's length.
func (d *Dgram) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	e := d.end.Load()
	n := 0
	switch cmd {
	case siocInq:
		if e != nil {
			d.receiving.Lock()
			if p := d.mail.first(); p != nil {
				n = p.size
			} else if g, err := d.next(e); err == nil {
				n = g.size
			}
			d.receiving.Unlock()
		}
	case siocOutq:
		if e != nil {
			d.sending.Lock()
			n, _ = e.up.Used()
			d.sending.Unlock()
		}
	default:
		return d.n.deviceIoctl(ctx, cmd, arg)
	}
	return 0, putInt(ctx, arg, n)
}

// attach is SO_ATTACH_FILTER, whose value is a struct sock_fprog, and
// SO_DETACH_FILTER: socket(7).
func (d *Dgram) attach(ctx vfs.Context, name int, value []byte) error {
	program, err := filterProgram(ctx, name, value)
	if err != nil {
		return err
	}
	if d.KeptInt(linux.SO_LOCK_FILTER) != 0 {
		return linux.EPERM
	}
	if was := d.filtered.Swap(program != nil); !was && program == nil {
		return linux.ENOENT
	}
	return d.tell(ctx, &netdv1.Request{Op: &netdv1.Request_Filter{Filter: &netdv1.Filter{Program: program}}})
}

// filterProgram reads the program of SO_ATTACH_FILTER, none for SO_DETACH_FILTER.
func filterProgram(ctx vfs.Context, name int, value []byte) ([]byte, error) {
	if name != linux.SO_ATTACH_FILTER {
		return nil, nil
	}
	if len(value) < 16 {
		return nil, linux.EINVAL
	}
	n := int(binary.LittleEndian.Uint16(value))
	if n == 0 || n > 4096 {
		return nil, linux.EINVAL
	}
	program := make([]byte, 8*n)
	return program, ctx.CopyIn(binary.LittleEndian.Uint64(value[8:]), program)
}
