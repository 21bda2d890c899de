// Package server answers a sentry: it makes, drives and ends the sockets of a
// stack by the requests of proto/netd/v1, and moves their bytes through shared
// rings.
//
// The sentry is hostile. Every number that it sends is checked, a ring whose
// index it spoils costs it that connection, and what it writes into a ring is
// payload and nothing else.
//
// Memory: netd makes every memfd and eventfd, and hands them to the sentry.
//
// Lock order: server.send < outbox, stack.Stack.mu < outbox. Everything else here
// is guarded by the stack's lock.
package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/ip"
	"bulkhead/services/netd/link"
	"bulkhead/services/netd/stack"
)

// RingSize is the size of a socket's rings in bytes, each. Only what has been used
// takes memory. A stream's window is never wider: with a quarter of this, one
// stream over a veth pair waited half of its time. FarRingSize is that of a stream that goes
// by a router, where a round trip can take long: a tenth of a second at 335 Mbit/s. Bytes
// that walk through as much leave the caches, and touch each page first.
const (
	RingSize    = 1 << 20
	FarRingSize = 4 << 20
)

// datagramLimit is how many bytes of datagrams wait for a reader who has not said
// otherwise: about net.core.rmem_default.
const datagramLimit = 256 << 10

// maxSockets bounds what a sentry may have open.
const maxSockets = 60000

// Option changes how a server serves.
type Option func(*server)

// LoopbackThroughNetd makes the sentry send bytes between its own sockets by the
// loopback here.
func LoopbackThroughNetd(s *server) { s.wholeLoopback = true }

// Serve answers the sentry at the other end of data until it is gone, which is
// nil, or breaks the protocol. It takes data over. setup, which may be nil, gives
// the new stack its interfaces.
func Serve(data *os.File, setup func(*stack.Stack) error, log *slog.Logger, options ...Option) error {
	conn, err := channel.NewUnpolled(data)
	if err != nil {
		return fmt.Errorf("serve sentry: %w", err)
	}
	s := &server{conn: conn, stack: stack.New(), log: log, sockets: map[uint32]*socket{}, nextID: accepted, pool: &pool{}, fabric: &link.Fabric{}}
	s.pool.announce = func(id uint32, f *os.File) {
		s.queue(&netdv1.Notice{Event: &netdv1.Notice_Heads{Heads: &netdv1.Heads{Id: id}}}, f)
	}
	for _, o := range options {
		o(s)
	}
	if s.loop == nil {
		s.loop = NewLoop()
	}
	s.loop.add(conn.FD(), s.receive, false)
	s.stack.Drive()
	s.stack.Leave = s.flush
	defer s.close()
	if setup != nil {
		if err := setup(s.stack); err != nil {
			return err
		}
	}
	s.loop.run(s)
	conn.Close()
	if err := s.ended; err != channel.ErrPeerGone && err != channel.ErrClosed {
		return fmt.Errorf("serve sentry: %w", err)
	}
	s.farewell()
	return nil
}

// receive answers the frames that have come.
func (s *server) receive() error {
	for s.ended == nil {
		f, err := s.conn.TryRecv()
		if f == nil && err == nil {
			return nil
		}
		if err == nil {
			err = s.conn.Answer(f, s.handle)
		}
		if s.ended == nil {
			s.ended = err
		}
	}
	return s.ended
}

// accepted is the bit of socket numbers that are ours.
const accepted = 1 << 31

type server struct {
	conn  *channel.Conn
	stack *stack.Stack
	log   *slog.Logger
	loop  *Loop
	ended error // why the sentry is not served any more; the loop's

	wholeLoopback bool

	first  *server            // of a space
	space  uint32             // its number
	spaces map[uint32]*server // of the first; the loop's
	posted []posted           // for them, likewise

	// Of the first, and the loop's: interfaces that the guest made, in whichever space.
	fabric *link.Fabric
	made   []*made
	doomed []*tunnel         // whose socket has gone
	peers  map[uint32]uint32 // how this space knows others, by number: from 1

	// Guarded by the stack's lock.
	sockets map[uint32]*socket
	nextID  uint32
	pool    *pool // one for all spaces, which one goroutine serves
	rules   rules

	bell atomic.Pointer[channel.Bell] // after Hello

	// send is held while the outbox is sent, so that it stays in order.
	send struct {
		sync.Mutex
		frames uint32 // notices that went as frames so far
		letter []byte
	}
	outbox struct {
		sync.Mutex
		waiting atomic.Bool
		notices []outgoing
	}
}

// outgoing is a notice to be sent, with a descriptor to close after, or -1.
type outgoing struct {
	notice *netdv1.Notice
	file   *os.File
}

// flush runs after each entry of the stack, without its lock.
func (s *server) flush() {
	if s.outbox.waiting.Load() {
		s.sendNotices()
	}
	if b := s.bell.Load(); b != nil {
		b.Ring()
	}
}

// sendNotices empties the outbox. It waits for whoever is at that, so that an answer
// which is sent next comes behind all that was queued before.
func (s *server) sendNotices() {
	s.send.Lock()
	defer s.send.Unlock()
	for out := s.unload(); len(out) > 0; out = s.unload() {
		s.sendAll(out)
	}
}

// unload takes what is in the outbox. Only when that is nothing does it not wait any more.
func (s *server) unload() []outgoing {
	s.outbox.Lock()
	defer s.outbox.Unlock()
	out := s.outbox.notices
	s.outbox.notices = nil
	s.outbox.waiting.Store(len(out) > 0)
	return out
}

// sendAll sends notices with the send lock held.
func (s *server) sendAll(out []outgoing) {
	for _, o := range out {
		if o.file == nil && s.sendLetter(o.notice) {
			continue
		}
		var fds []int
		if o.file != nil {
			fds = []int{int(o.file.Fd())}
		}
		s.send.frames++
		s.conn.SendMessage(0, o.notice, fds...)
		if o.file != nil {
			o.file.Close()
		}
	}
}

// sendLetter sends a notice by the bell, with the send lock held, if it can be.
func (s *server) sendLetter(n *netdv1.Notice) bool {
	b := s.bell.Load()
	if b == nil {
		return false
	}
	p, err := proto.MarshalOptions{}.MarshalAppend(binary.LittleEndian.AppendUint32(s.send.letter[:0], s.send.frames), n)
	s.send.letter = p[:0]
	return err == nil && b.Send(p)
}

// queue sends a notice once the stack's lock is free.
func (s *server) queue(n *netdv1.Notice, file *os.File) {
	if s.first != nil {
		n.Space = s.space
		s = s.first
	}
	s.outbox.Lock()
	defer s.outbox.Unlock()
	s.outbox.notices = append(s.outbox.notices, outgoing{n, file})
	s.outbox.waiting.Store(true)
}

func (s *server) close() {
	s.stack.Close()
	if b := s.bell.Load(); b != nil {
		b.Close()
	}
}

// handle answers one frame.
func (s *server) handle(f *channel.Frame) channel.Answer {
	var req netdv1.Request
	if err := f.Unmarshal(&req); err != nil {
		return s.answer(f, errno(linux.EPROTO), nil)
	}
	if req.GetHello() != nil {
		return s.hello(f)
	}
	s.hear() // what the sentry said before
	var resp *netdv1.Response
	var file *os.File
	defer s.reap()
	if op := req.GetSpace(); op != nil {
		if !isSpace(req.Socket) || spaceOf(req.Socket) == 0 || s.bell.Load() == nil {
			return s.answer(f, errno(linux.EINVAL), nil)
		}
		return s.answer(f, errno(s.changeSpace(spaceOf(req.Socket), op.End)), nil)
	}
	to := s.in(req.Socket)
	if to == nil {
		return s.answer(f, errno(linux.ENETDOWN), nil)
	}
	if c := req.GetChange(); c != nil && isSpace(req.Socket) {
		if err, known := s.changeLinks(to, c); known {
			return s.answer(f, errno(err), nil)
		}
	}
	to.stack.Do(func() { resp, file = to.request(&req) })
	if op := req.GetTunnel(); op != nil && resp.Error == 0 {
		s.changeTunnel(to, req.Socket, op, resp)
	}
	if req.GetConnect() != nil && resp.Error == 0 {
		// The loopback has run dry: the connection may stand already.
		to.stack.Do(func() { to.connected(req.Socket, resp) })
	}
	return s.answer(f, resp, file)
}

// answer sends resp unless the frame was a notice.
func (s *server) answer(f *channel.Frame, resp *netdv1.Response, file *os.File) channel.Answer {
	if f.ID == 0 {
		if file != nil {
			file.Close()
		}
		return channel.Answer{}
	}
	a := channel.Answer{Message: resp}
	if file != nil {
		a.FDs = []int{int(file.Fd())}
		a.Done = func() { file.Close() }
	}
	return a
}

func errno(err error) *netdv1.Response {
	var e linux.Errno
	if err == nil {
		return &netdv1.Response{}
	}
	if !errors.As(err, &e) {
		e = linux.EIO
	}
	return &netdv1.Response{Error: uint32(e)}
}

// hello sets up the bell. A second one is refused.
func (s *server) hello(f *channel.Frame) channel.Answer {
	if s.bell.Load() != nil || f.ID == 0 {
		return s.answer(f, errno(linux.EALREADY), nil)
	}
	rings, memory, err := channel.CreateRings("netd-bell", channel.BellRing)
	if err != nil {
		s.log.Error("make bell", "error", err)
		return s.answer(f, errno(linux.ENOMEM), nil)
	}
	toClient, err1 := channel.NewEventFD()
	toService, err2 := channel.NewEventFD()
	if err := errors.Join(err1, err2); err != nil {
		s.log.Error("make bell", "error", err)
		return s.answer(f, errno(linux.ENFILE), nil)
	}
	bell, err := channel.NewBell(rings, false, toClient, toService)
	if err != nil {
		s.log.Error("make bell", "error", err)
		return s.answer(f, errno(linux.ENOMEM), nil)
	}
	s.bell.Store(bell)
	s.loop.listen(bell)
	return channel.Answer{
		Message: &netdv1.Response{Rings: &netdv1.Rings{Size: channel.BellRing}, LoopbackThroughNetd: s.wholeLoopback},
		FDs:     []int{int(memory.Fd()), toClient, toService},
		Done:    func() { memory.Close() },
	}
}

// hear does what the sentry has posted to the bell.
func (s *server) hear() {
	b := s.bell.Load()
	if b == nil || !b.Waiting() {
		return
	}
	s.stack.Do(func() {
		if err := b.Take(s); err != nil {
			s.log.Error("the sentry spoilt the bell", "error", err)
			s.ended = err
		}
	})
	s.deliver()
}

// Letter carries out a request that wants no answer, with the stack's lock held.
func (s *server) Letter(p []byte) {
	var req netdv1.Request
	if proto.Unmarshal(p, &req) != nil || req.GetHello() != nil || req.GetSpace() != nil {
		return
	}
	if spaceOf(req.Socket) != 0 {
		s.posted = append(s.posted, posted{&req, req.Socket})
		return
	}
	if _, file := s.request(&req); file != nil {
		file.Close()
	}
}

// Told looks at a socket that the sentry has rung for, with the stack's lock held.
func (s *server) Told(id uint32) {
	if spaceOf(id) != 0 {
		s.posted = append(s.posted, posted{nil, id})
		return
	}
	s.told(id)
}

func (s *server) told(id uint32) {
	if k := s.sockets[id]; k != nil {
		k.rings.Head.Told.Store(0)
		k.kick()
	}
}

// request carries out one request, with the stack's lock held.
func (s *server) request(req *netdv1.Request) (*netdv1.Response, *os.File) {
	if resp := s.configuration(req); resp != nil {
		return resp, nil
	}
	k := s.sockets[req.Socket]
	resp := &netdv1.Response{}
	var file *os.File
	if k == nil {
		if req.Open == nil {
			return errno(linux.EBADF), nil
		}
		var err error
		if k, err = s.open(req.Socket, req.Open, s.farFrom(req.GetConnect())); err != nil {
			return errno(err), nil
		}
		resp.Rings, file = k.entry.message()
	}
	if k.tcp == nil && k.entry != nil {
		k.pump() // what was sent before goes out as it was meant then
	}
	err := k.do(req)
	if e := errno(err); e.Error != 0 {
		resp.Error = e.Error
	}
	if info := req.GetInfo(); info != nil && err == nil {
		resp.Info = k.info()
	}
	if route := req.GetRoute(); route != nil && err == nil {
		src, mtu, err := k.route(route)
		resp.Error, resp.Mtu = errno(err).Error, uint32(max(mtu, 0))
		resp.Remote = &netdv1.Address{Ip: src}
	}
	if m := req.GetSourceFilter(); m != nil && err == nil {
		var err error
		resp.SourceFilter, err = k.sources(m)
		resp.Error = errno(err).Error
	}
	if req.GetOriginalDestination() != nil && err == nil {
		a, err := k.original()
		resp.Error, resp.Remote = errno(err).Error, address(a)
	}
	if req.GetClose() == nil {
		local, remote := k.addresses()
		resp.Local = address(local)
		if resp.Remote == nil {
			resp.Remote = address(remote)
		}
	}
	return resp, file
}

// connected completes the answer to a Connect of a stream.
func (s *server) connected(id uint32, resp *netdv1.Response) {
	k := s.sockets[id]
	if k == nil || k.tcp == nil {
		return
	}
	switch st := k.tcp.StatusLocked(); {
	case st.Connecting:
		resp.Error = uint32(linux.EINPROGRESS)
	case st.Connected:
	default:
		resp.Error = uint32(k.tcp.ErrorLocked())
		if resp.Error == 0 {
			resp.Error = uint32(linux.ECONNABORTED)
		}
	}
	resp.Mtu = uint32(k.tcp.FastRoomLocked())
	local, remote := k.addresses()
	resp.Local, resp.Remote = address(local), address(remote)
}

func address(a netip.AddrPort) *netdv1.Address {
	m := &netdv1.Address{Port: uint32(a.Port())}
	if a.Addr().IsValid() {
		m.Ip = a.Addr().AsSlice()
	}
	return m
}

// parseAddress checks an address of the sentry's; none at all is not valid.
func parseAddress(m *netdv1.Address) (a netip.AddrPort, err error) {
	if m == nil || len(m.Ip) == 0 {
		return a, nil
	}
	ip, ok := netip.AddrFromSlice(m.Ip)
	if !ok || m.Port > 65535 {
		return a, linux.EINVAL
	}
	return netip.AddrPortFrom(ip, uint16(m.Port)), nil
}

func (s *server) interfaces() []*netdv1.Interface {
	var out []*netdv1.Interface
	for _, i := range s.stack.InterfacesLocked() {
		m := s.interfaceMessage(i)
		m.Ipv6 = settingsMessage(s.stack.IPv6Locked(i.Index))
		c := s.stack.StatsLocked(i.Index)
		m.Counters = []uint64{c.ReceivedBytes, c.ReceivedPackets, c.ReceiveErrors, c.ReceiveDrops, c.Multicast, c.SentBytes, c.SentPackets, c.SendDrops}
		for _, a := range i.Addresses {
			m.Addresses = append(m.Addresses, s.addressMessage(i, a))
		}
		for group, users := range s.stack.GroupsLocked(i.Index) {
			m.Groups = append(m.Groups, &netdv1.Group{Address: group.AsSlice(), Users: uint32(users)})
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *netdv1.Interface) int { return int(a.Index) - int(b.Index) })
	return out
}

// interfaceMessage is what an interface is, without what it has and does.
func (s *server) interfaceMessage(i *ip.Interface) *netdv1.Interface {
	m := &netdv1.Interface{Index: uint32(i.Index), Name: i.Name, Mtu: uint32(i.MTU), Mac: i.MAC[:], Kind: string(i.Kind), Used: i.Used, Master: uint32(i.Master), Hardware: unix.ARPHRD_ETHER}
	switch {
	case i.Down:
	case i.Lost:
		m.Flags = unix.IFF_UP
	default:
		m.Flags = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	}
	switch {
	case i.Loopback:
		m.Flags |= unix.IFF_LOOPBACK
		m.Hardware = unix.ARPHRD_LOOPBACK
	case i.NoEther:
		m.Flags |= unix.IFF_POINTOPOINT | unix.IFF_MULTICAST | unix.IFF_NOARP
		m.Hardware, m.Mac = unix.ARPHRD_NONE, nil
	case i.Kind == ip.Dummy:
		m.Flags |= unix.IFF_BROADCAST | unix.IFF_NOARP
	default:
		m.Flags |= unix.IFF_BROADCAST | unix.IFF_MULTICAST
	}
	if i.Kind != "" {
		s.describeMade(m)
	}
	return m
}
