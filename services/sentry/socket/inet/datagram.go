package inet

import (
	"encoding/binary"
	"net/netip"
	"time"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// The longest payloads of UDP in bytes.
const (
	maxUDP4 = 65507
	maxUDP6 = 65527
)

// gram is a datagram's header, checked.
type gram struct {
	size  int // of the payload in bytes
	ahead int // of the headers before it
	from  netip.AddrPort
	to    netip.Addr
	hops  uint8
	class uint8
	index uint32
	// segment, if not 0, says that these are several datagrams of so many bytes
	// each but the last: UDP_GRO.
	segment uint16
}

// ReadStream is read(2).
func (d *Dgram) ReadStream(ctx vfs.Context, p []byte) (int, error) {
	return d.RecvMsg(ctx, &socket.Msg{Data: [][]byte{p}})
}

// WriteStream is write(2).
func (d *Dgram) WriteStream(ctx vfs.Context, p []byte) (int, error) {
	if err := budget.Check(); err != nil {
		return 0, err
	}
	return d.SendMsg(ctx, &socket.Msg{Data: [][]byte{p}})
}

// next reads the header of the first datagram, with the receiving lock held:
// EAGAIN if there is none.
func (d *Dgram) next(e *end) (gram, error) {
	h, size, err := e.first(mostRecord)
	if err != nil {
		return gram{}, err
	}
	return readGram(h, size), nil
}

// mostRecord is how long a datagram is in a ring, with headers before its payload.
const mostRecord = 65535 + 8*255

func readGram(h [gramHeader]byte, size int) gram {
	ahead := 8 * int(h[45])
	if ahead > size {
		ahead = 0 // nonsense
	}
	g := readPlain(h, size-ahead)
	g.ahead = ahead
	return g
}

func readPlain(h [gramHeader]byte, size int) gram {
	g := gram{size: size, hops: h[7], class: h[44], index: binary.LittleEndian.Uint32(h[40:]), segment: binary.LittleEndian.Uint16(h[46:])}
	g.from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(h[8:24])), binary.LittleEndian.Uint16(h[4:]))
	g.to = netip.AddrFrom16([16]byte(h[24:40]))
	return g
}

// RecvMsg takes a datagram.
func (d *Dgram) RecvMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	if m.Flags&linux.MSG_OOB != 0 && (d.raw() || d.ping()) {
		return 0, linux.EOPNOTSUPP
	}
	if m.Flags&linux.MSG_ERRQUEUE != 0 {
		return d.receiveReport(ctx, m)
	}
	e := d.end.Load()
	if e == nil {
		// Nothing can arrive before it has a port: wait for that.
		if e = d.appear(ctx); e == nil {
			return 0, linux.ENETDOWN
		}
	}
	d.receiving.Lock()
	defer d.receiving.Unlock()
	if m.Flags&linux.MSG_PEEK != 0 && d.PeekOffset() >= 0 {
		return d.peekOn(e, m)
	}
	g, mail, err := d.await(e)
	if err != nil || g.from.Addr() == (netip.Addr{}) {
		return 0, err
	}
	at, now := 0, time.Time{}
	var before []byte
	if mail != nil {
		for _, p := range m.Data {
			at += copy(p, mail.data[at:])
		}
		now = mail.at
	} else {
		at = e.fill(m.Data, g.ahead, g.size)
		if g.ahead > 0 {
			before = append(before, e.down.Slice(gramHeader, g.ahead)...)
		}
	}
	switch {
	case m.Flags&linux.MSG_PEEK != 0:
	case mail != nil:
		d.mail.pop()
	default:
		e.skip(g.ahead + g.size)
	}
	m.Addr = scopedSockaddr(d.v6, g.from, g.index)
	m.Control.Other = d.control(g, now)
	if len(before) > 0 {
		m.Control.Other = append(m.Control.Other, d.headers(g, before)...)
	}
	at, m.Out = truncated(m.Flags, at, g.size)
	d.Received(m.Flags, at)
	return at, nil
}

// appear makes netd make the socket, so that it can be waited on.
func (d *Dgram) appear(ctx vfs.Context) *end {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end.Load() == nil {
		d.askLocked(ctx, &netdv1.Request{})
	}
	return d.end.Load()
}

// await is what comes next, from this sentry or else from netd, and with nothing
// there gives the reason. The end is a header without an address.
func (d *Dgram) await(e *end) (gram, *parcel, error) {
	for armed := false; ; armed = true {
		if err := d.errors.takeGram(d.n, e); err != nil {
			return gram{}, nil, err
		}
		if p := d.mail.first(); p != nil {
			return p.gram, p, nil
		}
		g, err := d.next(e)
		switch {
		case err != linux.EAGAIN:
			return g, nil, err
		case d.shutRead.Load():
			return gram{}, nil, nil
		case d.n.dead.Load():
			return gram{}, nil, linux.ENETDOWN
		case armed:
			return gram{}, nil, linux.EAGAIN
		}
		e.head.WantDown.Store(1)
	}
}

// control makes the control messages that the socket asks for: ip(7), ipv6(7).
// The time is that of now if at is zero.
func (d *Dgram) control(g gram, at time.Time) []linux.Cmsg {
	d.conf.mu.Lock()
	info, hops, class := d.conf.receivePacketInfo, d.conf.receiveHops, d.conf.receiveClass
	stamp, nano := d.conf.timestamp, d.conf.timestampNS
	target := len(d.conf.kept) > 0 && (d.conf.kept[optionKey{linux.IPPROTO_IP, linux.IP_RECVORIGDSTADDR}] != 0 ||
		d.conf.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_RECVORIGDSTADDR}] != 0)
	d.conf.mu.Unlock()
	var out []linux.Cmsg
	if flags := d.stamping.Load(); flags&stampReceive != 0 && flags&stampSoftware != 0 {
		out = append(out, softwareStamp(at))
	}
	if target {
		out = append(out, d.sentTo(g))
	}
	if stamp || nano {
		out = append(out, timestamp(at, nano))
	}
	if g.segment != 0 {
		out = append(out, linux.Cmsg{Level: linux.IPPROTO_UDP, Type: linux.UDP_GRO, Data: socket.Int(int(g.segment))})
	}
	if !info && !hops && !class {
		return out
	}
	level, types := int32(linux.IPPROTO_IP), [3]int32{linux.IP_PKTINFO, linux.IP_TTL, linux.IP_TOS}
	classValue := []byte{g.class}
	var where []byte
	if d.v6 {
		level, types = linux.IPPROTO_IPV6, [3]int32{linux.IPV6_PKTINFO, linux.IPV6_HOPLIMIT, linux.IPV6_TCLASS}
		classValue = socket.Int(int(g.class))
		a := g.to.As16()
		where = binary.LittleEndian.AppendUint32(a[:], g.index)
	} else {
		a := g.to.Unmap()
		if !a.Is4() {
			a = netip.IPv4Unspecified()
		}
		b := a.As4()
		where = binary.LittleEndian.AppendUint32(nil, g.index)
		where = append(where, b[:]...)
		where = append(where, b[:]...)
	}
	for i, x := range []struct {
		on    bool
		value []byte
	}{{info, where}, {hops, socket.Int(int(g.hops))}, {class, classValue}} {
		if x.on {
			out = append(out, linux.Cmsg{Level: level, Type: types[i], Data: x.value})
		}
	}
	return out
}

// sentTo is IP_ORIGDSTADDR or IPV6_ORIGDSTADDR: where the datagram was sent to.
func (d *Dgram) sentTo(g gram) linux.Cmsg {
	d.mu.Lock()
	port := d.mu.local.Port()
	d.mu.Unlock()
	c := linux.Cmsg{Level: linux.IPPROTO_IP, Type: linux.IP_RECVORIGDSTADDR, Data: sockaddr(d.v6, netip.AddrPortFrom(g.to, port))}
	if d.v6 {
		c.Level, c.Type = linux.IPPROTO_IPV6, linux.IPV6_RECVORIGDSTADDR
	}
	return c
}

// timestamp is SCM_TIMESTAMP or SCM_TIMESTAMPNS: socket(7), SO_TIMESTAMP.
func timestamp(at time.Time, nano bool) linux.Cmsg {
	if at.IsZero() {
		at = time.Now()
	}
	typ, part := int32(linux.SO_TIMESTAMP), uint64(at.Nanosecond()/1000)
	if nano {
		typ, part = linux.SO_TIMESTAMPNS, uint64(at.Nanosecond())
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
	return linux.Cmsg{Level: linux.SOL_SOCKET, Type: typ, Data: binary.LittleEndian.AppendUint64(b, part)}
}

// SendMsg sends a datagram.
func (d *Dgram) SendMsg(ctx vfs.Context, m *socket.Msg) (int, error) {
	if m.Flags&linux.MSG_OOB != 0 && !(d.v6 && d.udp()) {
		return 0, linux.EOPNOTSUPP
	}
	size := m.Len()
	if size > d.most() {
		return 0, d.tooLong(ctx, m)
	}
	if d.ping() && size < 8 || d.raw() && d.conf.headless(size) {
		return 0, linux.EINVAL
	}
	if d.corks(m) {
		return d.sendPart(ctx, m, size)
	}
	segment, err := d.segment(m, size)
	if err != nil {
		return 0, err
	}
	if _, err := d.ahead(ctx, m); err != nil {
		return 0, err
	}
	to, e, err := d.mayReach(ctx, m)
	if err != nil {
		return 0, err
	}
	return d.sendTo(ctx, m, to, e, size, segment)
}

// most is how long a datagram can be, in bytes.
func (d *Dgram) most() int {
	if d.v6 {
		return maxUDP6
	}
	return maxUDP4
}

// tooLong is EMSGSIZE of what no packet can take. An IPv6 socket's error queue tells then what
// the path does: ipv6(7), IPV6_RECVERR.
func (d *Dgram) tooLong(ctx vfs.Context, m *socket.Msg) error {
	if !d.v6 || !d.conf.receivesErrors() {
		return linux.EMSGSIZE
	}
	to, _, err := d.target(ctx, m.Addr, way(m))
	if err != nil {
		return err
	}
	mtu := d.pathTakes(ctx, to)
	if !to.IsValid() {
		d.mu.Lock()
		to = d.mu.remote
		d.mu.Unlock()
	}
	if !to.Addr().Unmap().Is4() {
		d.report(&netdv1.SocketError{Error: uint32(linux.EMSGSIZE), Local: true, Mtu: uint32(mtu), Destination: message(true, to, 0)})
	}
	return linux.EMSGSIZE
}

// mayReach is target, and what keeps the socket from sending there.
func (d *Dgram) mayReach(ctx vfs.Context, m *socket.Msg) (netip.AddrPort, *end, error) {
	to, e, err := d.target(ctx, m.Addr, way(m))
	if err != nil {
		return to, nil, err
	}
	if d.shutWrite.Load() {
		return to, nil, linux.EPIPE
	}
	// A raw socket with an error queue sends on, as Linux's does.
	if err := d.errors.takeGram(d.n, e); err != nil && (!d.raw() || !d.conf.receivesErrors() || d.n.dead.Load()) {
		return to, nil, err
	}
	return to, e, nil
}

// sendTo sends a datagram of size bytes: EAGAIN without room.
func (d *Dgram) sendTo(ctx vfs.Context, m *socket.Msg, to netip.AddrPort, e *end, size, segment int) (int, error) {
	if d.sendWithin(m, to, size, segment) {
		d.stampSent(m)
		return size, nil
	}
	h := d.header(m, to, size)
	binary.LittleEndian.PutUint16(h[46:], uint16(segment))
	data, whole := m.Data, size
	if len(m.Control.Other) > 0 {
		ahead, err := d.ahead(ctx, m)
		if err != nil {
			return 0, err
		}
		if len(ahead) > 0 {
			data, whole = append([][]byte{ahead}, data...), size+len(ahead)
			h[45] = byte(len(ahead) / 8)
			binary.LittleEndian.PutUint32(h[:], uint32(whole))
		}
	}
	if err := d.putUp(e, &h, data, whole); err != nil {
		return 0, err
	}
	switch {
	case d.n.registry.screened.Load():
		if err := d.screened(e, linux.EPERM); err != nil {
			return 0, err
		}
	case size > surelyFits && d.conf.neverFragments() && size+d.overhead() > d.pathTakes(ctx, to):
		if err := d.screened(e, linux.EMSGSIZE); err != nil {
			return 0, err
		}
	}
	d.stampSent(m)
	return size, nil
}

func (d *Dgram) putUp(e *end, h *[gramHeader]byte, data [][]byte, size int) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	if err := e.room(&d.conf, &d.blocked, gramHeader+padded(size)); err != nil {
		return err
	}
	e.put(d.n, h, data, size)
	return nil
}

// surelyFits is what every path takes of UDP, in bytes.
const surelyFits = 508

// overhead is what the headers of a datagram need, in bytes.
func (d *Dgram) overhead() int {
	if d.v6 {
		return 48
	}
	return 28
}

// neverFragments says whether what does not fit the path is refused: IP_PMTUDISC_DO.
func (c *settings) neverFragments() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.discover == 2 || c.discover == 3 || c.kept[optionKey{linux.IPPROTO_IPV6, linux.IPV6_DONTFRAG}] != 0
}

// pathTakes is the MTU of the path to a destination, in bytes, as it was when it was first
// asked for.
func (d *Dgram) pathTakes(ctx vfs.Context, to netip.AddrPort) int {
	d.mu.Lock()
	known := d.mu.routedMTU
	if !to.IsValid() {
		known = d.mu.peerMTU
	}
	d.mu.Unlock()
	if known > 0 || to.IsValid() {
		return known
	}
	b, err := d.mtu(ctx)
	if err != nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.peerMTU = int(binary.LittleEndian.Uint32(b))
	return d.mu.peerMTU
}

// screened has netd send at once what was put into the ring, and says whether an error that
// is expected came of it.
func (d *Dgram) screened(e *end, expected linux.Errno) error {
	_, fds, err := d.n.call(&netdv1.Request{Socket: e.id})
	closeAll(fds)
	if err == nil && d.errors.takeIf(e, expected) {
		return expected
	}
	return nil
}

// segment is of how many bytes each datagram is that the message's size bytes
// make, by UDP_SEGMENT, and 0 when they make one: EINVAL.
func (d *Dgram) segment(m *socket.Msg, size int) (int, error) {
	if !d.udp() {
		return 0, nil
	}
	d.conf.mu.Lock()
	n := d.conf.segment
	d.conf.mu.Unlock()
	for _, c := range m.Control.Other {
		if c.Level == linux.IPPROTO_UDP && c.Type == linux.UDP_SEGMENT {
			if len(c.Data) != 2 {
				return 0, linux.EINVAL
			}
			n = int(binary.LittleEndian.Uint16(c.Data))
		}
	}
	if n == 0 || size <= n {
		return 0, nil
	}
	if size > linux.UDP_MAX_SEGMENTS*n {
		return 0, linux.EINVAL
	}
	return n, nil
}

// target settles where a datagram goes, which netd is asked about only when that
// changes, and by which interface, if that is said: an address that is not valid stands for
// the peer.
func (d *Dgram) target(ctx vfs.Context, sa []byte, index uint32) (netip.AddrPort, *end, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(sa) == 0 || d.v6 && len(sa) >= 2 && linux.SockaddrFamily(sa) == linux.AF_UNSPEC {
		if !d.mu.remote.IsValid() {
			return netip.AddrPort{}, nil, linux.EDESTADDRREQ
		}
		return netip.AddrPort{}, d.end.Load(), nil
	}
	if !d.v6 && !d.raw() && len(sa) >= linux.SizeofSockaddrIn && linux.SockaddrFamily(sa) == linux.AF_UNSPEC {
		sa = append([]byte{linux.AF_INET, 0}, sa[2:]...)
	}
	a, _, err := d.parseTarget(sa)
	if err == linux.EAFNOSUPPORT && d.v6 && d.udp() {
		err = linux.EINVAL
	}
	if err != nil {
		return a, nil, err
	}
	if a.Port() == 0 && !d.raw() && !d.ping() {
		return a, nil, linux.EINVAL
	}
	if err := d.labelLocked(ctx, sa); err != nil {
		return a, nil, err
	}
	if d.mu.routed != a || d.mu.routedBy != index || d.end.Load() == nil || d.n.dead.Load() {
		resp, err := d.askLocked(ctx, &netdv1.Request{Op: &netdv1.Request_Route{Route: &netdv1.RouteQuery{Address: message(d.v6, a, index)}}})
		if err != nil {
			return a, nil, err
		}
		d.mu.routed, d.mu.routedBy, d.mu.routedMTU = a, index, int(resp.Mtu)
	}
	return a, d.end.Load(), nil
}

// header makes the header of a datagram in the ring.
func (d *Dgram) header(m *socket.Msg, to netip.AddrPort, size int) [gramHeader]byte {
	var h [gramHeader]byte
	binary.LittleEndian.PutUint32(h[:], uint32(size))
	if to.IsValid() {
		binary.LittleEndian.PutUint16(h[4:], to.Port())
		h[6] = 1
		a := to.Addr().As16()
		copy(h[8:], a[:])
	}
	binary.LittleEndian.PutUint32(h[40:], way(m))
	for _, c := range m.Control.Other {
		switch {
		case c.Level == linux.IPPROTO_IP && c.Type == linux.IP_PKTINFO && len(c.Data) >= 12:
			a := netip.AddrFrom4([4]byte(c.Data[4:8])).As16()
			if c.Data[4]|c.Data[5]|c.Data[6]|c.Data[7] != 0 {
				copy(h[24:], a[:])
			}
		case c.Level == linux.IPPROTO_IPV6 && c.Type == linux.IPV6_PKTINFO && len(c.Data) >= 20:
			copy(h[24:40], c.Data)
		case c.Level == linux.IPPROTO_IP && c.Type == linux.IP_TTL && len(c.Data) >= 4,
			c.Level == linux.IPPROTO_IPV6 && c.Type == linux.IPV6_HOPLIMIT && len(c.Data) >= 4:
			h[7] = c.Data[0]
		case c.Level == linux.IPPROTO_IP && c.Type == linux.IP_TOS && len(c.Data) >= 1,
			c.Level == linux.IPPROTO_IPV6 && c.Type == linux.IPV6_TCLASS && len(c.Data) >= 4:
			h[44] = c.Data[0]
		}
	}
	return h
}
