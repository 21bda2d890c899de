package inet

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Packet is a packet socket: packet(7). While there is one, the sockets of this
// sentry talk to each other through netd, so that it sees what they say.
type Packet struct {
	socket.Base
	n *Network

	end      atomic.Pointer[end]
	errors   errorState
	blocked  atomic.Bool
	released atomic.Bool

	mu struct {
		sync.Mutex
		index    uint32
		protocol uint16                        // in the host's order
		told     struct{ frames, lost uint64 } // of what PACKET_STATISTICS has said
	}
	conf    settings
	options packetOptions

	sending   sync.Mutex // guards end.up
	receiving sync.Mutex // guards end.down and ring
	ring      packetRing // PACKET_RX_RING; nil without one
	memory    ringMemory // of it and of the next
}

// packetOptions are those of SOL_PACKET, guarded by Packet.mu.
type packetOptions struct {
	auxdata, origdev, ignoreOutgoing bool
	version, reserve, timestamp      int
}

// frame is a frame's header in the ring down, checked.
type frame struct {
	size     int // bytes that are there
	length   int // before the filter cut it
	protocol uint16
	kind     uint8
	flags    uint8
	mac      [6]byte
	index    uint32
}

// Bits of frame.flags: proto/netd/v1.
const (
	frameSumDue  = 1
	frameSumGood = 2
)

// packetFamily is AF_PACKET.
type packetFamily struct{ n *Network }

// Socket makes a packet socket: EPERM, ESOCKTNOSUPPORT, ENETDOWN.
func (f packetFamily) Socket(ctx vfs.Context, typ, protocol int) (socket.Socket, error) {
	switch {
	case !f.n.mayRule(ctx, linux.CAP_NET_RAW):
		return nil, linux.EPERM
	case typ != linux.SOCK_RAW && typ != linux.SOCK_DGRAM:
		return nil, linux.ESOCKTNOSUPPORT
	case f.n.dead.Load():
		return nil, linux.ENETDOWN
	}
	p := &Packet{n: f.n}
	p.Init(linux.AF_PACKET, typ, protocol)
	p.conf.init(f.n.tuning)
	p.mu.protocol = bits.ReverseBytes16(uint16(protocol))
	p.n.watched(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.askLocked(&netdv1.Request{}); err != nil {
		p.n.watched(-1)
		return nil, err
	}
	return p, nil
}

// watched counts the packet sockets.
func (n *Network) watched(by int64) { n.registry.watchers.Add(by) }

func (p *Packet) askLocked(req *netdv1.Request) (*netdv1.Response, error) {
	open := &netdv1.Open{Family: linux.AF_PACKET, Type: uint32(p.Type()), Protocol: uint32(p.mu.protocol), Options: p.conf.message()}
	resp, e, err := ask(p.n, p, p.end.Load(), req, open)
	if e != nil && p.end.Load() == nil {
		p.end.Store(e)
		e.listen()
	}
	return resp, err
}

// Bind names an interface and a protocol: a struct sockaddr_ll. EINVAL, ENODEV.
func (p *Packet) Bind(ctx vfs.Context, sa []byte) error {
	if len(sa) < sizeofSockaddrLL || linux.SockaddrFamily(sa) != linux.AF_PACKET {
		return linux.EINVAL
	}
	index, protocol := binary.LittleEndian.Uint32(sa[4:]), binary.BigEndian.Uint16(sa[2:])
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.askLocked(&netdv1.Request{Op: &netdv1.Request_Bind{Bind: &netdv1.Bind{
		Address: &netdv1.Address{Port: uint32(protocol), Scope: index}}}}); err != nil {
		return err
	}
	p.mu.index = index
	if protocol != 0 {
		p.mu.protocol = protocol
	}
	return nil
}

// Listen, Accept, Connect and Shutdown are for others.
func (p *Packet) Listen(vfs.Context, int) error { return linux.EOPNOTSUPP }

func (p *Packet) Accept(vfs.Context) (socket.Socket, []byte, error) {
	return nil, nil, linux.EOPNOTSUPP
}

func (p *Packet) Connect(vfs.Context, []byte, bool) error { return linux.EOPNOTSUPP }

func (p *Packet) Shutdown(vfs.Context, int) error { return linux.EOPNOTSUPP }

// sizeofSockaddrLL is the size of struct sockaddr_ll in bytes.
const sizeofSockaddrLL = 20

// sockaddrLL makes a struct sockaddr_ll, or with an address of no bytes the start of
// one.
func sockaddrLL(protocol uint16, index uint32, hardware uint16, kind uint8, mac []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, linux.AF_PACKET)
	b = binary.BigEndian.AppendUint16(b, protocol)
	b = binary.LittleEndian.AppendUint32(b, index)
	b = binary.LittleEndian.AppendUint16(b, hardware)
	b = append(b, kind, byte(len(mac)))
	return append(append(b, mac...), make([]byte, 8-len(mac))...)
}

// Hardware types: net/if_arp.h.
const (
	hardwareEther    = 1
	hardwareLoopback = 772
)

// hardwareOf is the hardware type of an interface, of which the first is the
// loopback.
func hardwareOf(index uint32) uint16 {
	if index == 1 {
		return hardwareLoopback
	}
	return hardwareEther
}

// SockName is the interface and the protocol.
func (p *Packet) SockName(vfs.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var mac []byte
	hardware := uint16(0)
	if p.mu.index != 0 {
		hardware, mac = hardwareOf(p.mu.index), make([]byte, 6)
		if i, err := p.n.device(func(i *netdv1.Interface) bool { return i.Index == p.mu.index }); err == nil {
			copy(mac, i.Mac)
		}
	}
	return sockaddrLL(p.mu.protocol, p.mu.index, hardware, 0, mac), nil
}

// PeerName is for others.
func (p *Packet) PeerName(vfs.Context) ([]byte, error) { return nil, linux.EOPNOTSUPP }

// ReadStream is read(2).
func (p *Packet) ReadStream(ctx vfs.Context, b []byte) (int, error) {
	return p.RecvMsg(ctx, &socket.Msg{Data: [][]byte{b}})
}

// WriteStream is write(2).
func (p *Packet) WriteStream(ctx vfs.Context, b []byte) (int, error) {
	return p.SendMsg(ctx, &socket.Msg{Data: [][]byte{b}})
}

// maxFrame is the longest frame that is received, in bytes: a segment that stands for
// several, with its headers.
const maxFrame = 1 << 17

// next reads the header of the first frame, with the receiving lock held: EAGAIN if
// there is none.
func (p *Packet) next(e *end) (frame, error) {
	h, size, err := e.first(maxFrame)
	if err != nil {
		return frame{}, err
	}
	return frame{
		size: size, length: int(binary.LittleEndian.Uint32(h[16:])), protocol: binary.LittleEndian.Uint16(h[4:]),
		kind: h[6], flags: h[7], mac: [6]byte(h[8:14]), index: binary.LittleEndian.Uint32(h[40:]),
	}, nil
}

// address is where a frame came from.
func (f *frame) address() []byte {
	return sockaddrLL(f.protocol, f.index, hardwareOf(f.index), f.kind, f.mac[:])
}

// status are the bits of TP_STATUS_ of a frame that the guest may have.
func (f *frame) status() uint32 {
	s := uint32(linux.TP_STATUS_USER)
	if f.flags&frameSumDue != 0 {
		s |= linux.TP_STATUS_CSUMNOTREADY
	}
	if f.flags&frameSumGood != 0 {
		s |= linux.TP_STATUS_CSUM_VALID
	}
	return s
}

// RecvMsg takes a frame.
func (p *Packet) RecvMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	if m.Flags&(linux.MSG_OOB|linux.MSG_ERRQUEUE) != 0 {
		return 0, linux.EAGAIN
	}
	p.receiving.Lock()
	defer p.receiving.Unlock()
	e := p.end.Load()
	f, err := p.await(e)
	if err != nil {
		return 0, err
	}
	at := e.fill(m.Data, 0, f.size)
	if m.Flags&linux.MSG_PEEK == 0 {
		e.skip(f.size)
	}
	m.Addr = f.address()
	m.Control.Other = p.control(&f)
	at, m.Out = truncated(m.Flags, at, f.size)
	return at, nil
}

// await is the frame that comes next, and with none there gives the reason.
func (p *Packet) await(e *end) (frame, error) {
	for armed := false; ; armed = true {
		if err := p.errors.takeGram(p.n, e); err != nil {
			return frame{}, err
		}
		f, err := p.next(e)
		switch {
		case err != linux.EAGAIN:
			return f, err
		case p.n.dead.Load():
			return frame{}, linux.ENETDOWN
		case armed:
			return frame{}, linux.EAGAIN
		}
		e.head.WantDown.Store(1)
	}
}

// control makes the control messages that the socket asks for: a time, and struct
// tpacket_auxdata.
func (p *Packet) control(f *frame) []linux.Cmsg {
	p.conf.mu.Lock()
	stamp, nano := p.conf.timestamp, p.conf.timestampNS
	p.conf.mu.Unlock()
	p.mu.Lock()
	auxdata := p.options.auxdata
	p.mu.Unlock()
	var out []linux.Cmsg
	if stamp || nano {
		out = append(out, timestamp(time.Time{}, nano))
	}
	if auxdata {
		b := binary.LittleEndian.AppendUint32(nil, f.status())
		b = binary.LittleEndian.AppendUint32(b, uint32(f.length))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.size))
		b = binary.LittleEndian.AppendUint16(b, 0)
		b = binary.LittleEndian.AppendUint16(b, p.network())
		out = append(out, linux.Cmsg{Level: linux.SOL_PACKET, Type: linux.PACKET_AUXDATA, Data: append(b, 0, 0, 0, 0)})
	}
	return out
}

// etherHeader is the size of an Ethernet header in bytes.
const etherHeader = 14

// network is where in a frame the packet begins.
func (p *Packet) network() uint16 {
	if p.Type() == linux.SOCK_DGRAM {
		return 0
	}
	return etherHeader
}

// SendMsg sends a frame, or of a SOCK_DGRAM socket a packet to a station.
func (p *Packet) SendMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	if m.Flags&linux.MSG_OOB != 0 {
		return 0, linux.EOPNOTSUPP
	}
	size := m.Len()
	if size > 65535 {
		return 0, linux.EMSGSIZE
	}
	h, err := p.header(m.Addr, size)
	if err != nil {
		return 0, err
	}
	e := p.end.Load()
	if err := p.errors.takeGram(p.n, e); err != nil {
		return 0, err
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	if err := e.room(&p.conf, &p.blocked, gramHeader+padded(size)); err != nil {
		return 0, err
	}
	e.put(p.n, &h, m.Data, size)
	return size, nil
}

// header makes the header of a frame in the ring up: EINVAL, ENXIO.
func (p *Packet) header(sa []byte, size int) (h [gramHeader]byte, err error) {
	p.mu.Lock()
	index, protocol := p.mu.index, p.mu.protocol
	p.mu.Unlock()
	binary.LittleEndian.PutUint32(h[:], uint32(size))
	if len(sa) > 0 {
		if len(sa) < sizeofSockaddrLL || int(sa[11]) > len(sa)-12 { // the family does not count, as on Linux
			return h, linux.EINVAL
		}
		index, protocol = binary.LittleEndian.Uint32(sa[4:]), binary.BigEndian.Uint16(sa[2:])
		copy(h[8:14], sa[12:12+min(int(sa[11]), 6)])
	} else if p.Type() == linux.SOCK_DGRAM {
		return h, linux.EINVAL // to no station
	}
	if index == 0 {
		return h, linux.ENXIO
	}
	binary.LittleEndian.PutUint16(h[4:], protocol)
	h[6] = 1
	binary.LittleEndian.PutUint32(h[40:], index)
	return h, nil
}

// Release ends the socket.
func (p *Packet) Release() {
	if p.released.Swap(true) {
		return
	}
	p.n.watched(-1)
	if e := p.end.Load(); e != nil {
		p.n.drop(e.id, e.mem)
		_, fds, _ := p.n.call(closing(e.id, false))
		closeAll(fds)
	}
	p.receiving.Lock()
	defer p.receiving.Unlock()
	p.dropRingLocked()
	p.memory.close()
}

// Poll is what the socket is ready for.
func (p *Packet) Poll() wait.Events {
	e := p.end.Load()
	switch {
	case p.released.Load():
		return wait.Hup
	case e == nil || p.n.dead.Load():
		return gone
	}
	return p.look(e)
}

// look is what the socket is ready for, after what has come was moved to the mapped
// ring; netd rings when there is more.
func (p *Packet) look(e *end) wait.Events {
	var ev wait.Events
	if p.errors.pending(p.n, e) {
		ev |= wait.Err
	}
	p.receiving.Lock()
	e.head.WantDown.Store(1)
	p.drainLocked(e)
	n, err := e.down.Len()
	if p.ring == nil && n > 0 || err != nil || p.ring != nil && p.ring.filled() {
		ev |= wait.In
	}
	p.receiving.Unlock()
	p.sending.Lock()
	used, err := e.up.Used()
	if err != nil || used <= p.conf.sendLimit(e.up.Size(), 0)*2/3 {
		ev |= wait.Out
	} else {
		p.blocked.Store(true)
		e.head.WantSpace.Store(1)
	}
	p.sending.Unlock()
	return ev
}

func (p *Packet) told() {
	e := p.end.Load()
	if e == nil {
		return
	}
	e.head.ToldClient.Store(0)
	ev := p.look(e)
	if ev&wait.Out != 0 && !p.blocked.Swap(false) {
		ev &^= wait.Out
	}
	if ev != 0 {
		p.Queue().Notify(ev)
	}
}

func (p *Packet) died() { p.Queue().Notify(gone) }

// Ioctl answers ioctl(2): FIONREAD is the next frame's length.
func (p *Packet) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	n := 0
	switch e := p.end.Load(); cmd {
	case siocInq:
		p.receiving.Lock()
		if f, err := p.next(e); err == nil {
			n = f.size
		}
		p.receiving.Unlock()
	case siocOutq:
		p.sending.Lock()
		n, _ = e.up.Used()
		p.sending.Unlock()
	default:
		return p.n.deviceIoctl(ctx, cmd, arg)
	}
	return 0, putInt(ctx, arg, n)
}
