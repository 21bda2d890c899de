package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/wire"
)

// gramHeader is the size of a datagram's header in a ring: see data.proto.
const gramHeader = 48

func padded(n int) int { return (n + 7) &^ 7 }

// Deliver puts a datagram into the ring down, or loses it, which is false.
func (k *socket) Deliver(m stack.Meta, head, body []byte) bool {
	if n := len(m.Before); n%8 != 0 || n > 255*8 {
		m.Before = nil
	}
	n := len(m.Before) + len(head) + len(body)
	room, err := (*receiveQueue)(k).down.Free()
	if err != nil {
		k.Failed(linux.EIO)
		return false
	}
	used := k.down.Size() - room
	if gramHeader+padded(n) > room || used > 0 && used+n > k.receiveLimit {
		return false
	}
	k.down.Restart()
	h := k.down.Slice(0, gramHeader)
	clear(h)
	binary.LittleEndian.PutUint32(h, uint32(n))
	binary.LittleEndian.PutUint16(h[4:], m.From.Port())
	h[6], h[7] = 1, m.Hops
	from, to := m.From.Addr().As16(), m.To.As16()
	copy(h[8:], from[:])
	copy(h[24:], to[:])
	binary.LittleEndian.PutUint32(h[40:], uint32(m.Interface))
	h[44], h[45] = m.Class, byte(len(m.Before)/8)
	binary.LittleEndian.PutUint16(h[46:], m.Segment)
	at := gramHeader + copy(k.down.Slice(gramHeader, len(m.Before)), m.Before)
	at += copy(k.down.Slice(at, len(head)), head)
	copy(k.down.Slice(at, len(body)), body)
	k.down.Publish(gramHeader + padded(n))
	k.tellDown()
	return true
}

// pump sends what is in the ring up.
func (k *socket) pump() {
	for {
		n, err := k.up.Len()
		if err != nil {
			k.Failed(linux.EIO)
			return
		}
		if n < gramHeader {
			k.rings.Head.WantUp.Store(1)
			if n, err = k.up.Len(); err != nil || n < gramHeader {
				break
			}
		}
		var h [gramHeader]byte
		copy(h[:], k.up.Slice(0, gramHeader))
		size := int(binary.LittleEndian.Uint32(h[:]))
		if size < 0 || size > 65535+8*int(h[45]) || gramHeader+padded(size) > n {
			k.up.Consume(n) // nonsense: all of it goes
			k.Failed(linux.EIO)
			return
		}
		if k.pack != nil || k.end != nil {
			if k.end != nil {
				k.end.arrive(&h, k.up.Slice(gramHeader, size))
			} else {
				k.sendFrame(&h, k.up.Slice(gramHeader, size))
			}
			k.up.Consume(gramHeader + padded(size))
			k.tellSpace()
			continue
		}
		to, from := readAddrs(&h, k.v6)
		if err := k.send(to, from, &h, k.up.Slice(gramHeader, size)); err != nil && (k.raw != nil || err == linux.EMSGSIZE || err == linux.EPERM) {
			if e, ok := err.(linux.Errno); ok {
				k.Failed(e) // send(2) has succeeded by then: the next call tells
			}
		}
		k.up.Consume(gramHeader + padded(size))
		k.tellSpace()
	}
}

// maxQuote is how much of a packet an error's report carries, in bytes.
const maxQuote = 1280

// Report sets the socket's error and, if it has an error queue, tells the sentry of
// the rest.
func (k *socket) Report(r stack.ErrorReport) {
	k.Failed(r.Errno)
	if !k.options.GetReceiveErrors() {
		return
	}
	k.s.queue(&netdv1.Notice{Event: &netdv1.Notice_Error{Error: &netdv1.SocketError{
		Socket: k.id, Error: uint32(r.Errno), Local: r.Local, Type: uint32(r.Type), Code: uint32(r.Code), Mtu: uint32(max(r.MTU, 0)),
		Offender: r.Offender.AsSlice(), Destination: address(r.Dst), Hops: uint32(r.Hops), Payload: bytes.Clone(r.Payload[:min(len(r.Payload), maxQuote)]),
	}}}, nil)
}

// readAddrs reads where to and where from; what is not there is not valid.
func readAddrs(h *[gramHeader]byte, v6 bool) (to netip.AddrPort, from netip.Addr) {
	if h[6] != 0 {
		a := netip.AddrFrom16([16]byte(h[8:24]))
		if !v6 {
			a = a.Unmap()
		}
		to = netip.AddrPortFrom(a, binary.LittleEndian.Uint16(h[4:]))
	}
	if a := netip.AddrFrom16([16]byte(h[24:40])); !a.IsUnspecified() {
		from = a.Unmap()
	}
	return to, from
}

// route answers a RouteQuery with the source address's bytes and the path's MTU.
func (k *socket) route(q *netdv1.RouteQuery) (source []byte, mtu int, err error) {
	if k.gram == nil && k.raw == nil {
		return nil, 0, linux.EOPNOTSUPP
	}
	a, err := parseAddress(q.Address)
	if err != nil || !a.IsValid() {
		return nil, 0, linux.EINVAL
	}
	if k.raw != nil {
		return nil, k.raw.MTULocked(a.Addr()), nil // the rest is known when it is sent
	}
	defer k.gram.PinLocked(index(q.Address.Scope), nil)()
	src, mtu, err := k.gram.RouteLocked(a)
	if err != nil {
		return nil, 0, err
	}
	return src.AsSlice(), mtu, nil
}

// send sends one datagram of whatever kind the socket is.
func (k *socket) send(to netip.AddrPort, from netip.Addr, h *[gramHeader]byte, payload []byte) error {
	hops, class := h[7], h[44]
	by := index(binary.LittleEndian.Uint32(h[40:]))
	var ahead *wire.Ahead
	if n := 8 * int(h[45]); n > 0 {
		if n > len(payload) {
			return linux.EINVAL
		}
		var err error
		if ahead, err = wire.ParseAhead(k.v6, payload[:n]); err != nil {
			return linux.EINVAL
		}
		payload = payload[n:]
	}
	if k.raw != nil {
		if by != 0 || ahead != nil {
			defer k.raw.PinLocked(by, ahead)()
		}
		return k.raw.SendLocked(to.Addr(), from, hops, class, payload)
	}
	if by != 0 || ahead != nil {
		defer k.gram.PinLocked(by, ahead)()
	}
	return k.gram.SendSegmentsLocked(to, from, hops, class, payload, int(binary.LittleEndian.Uint16(h[46:])))
}

// membership joins a group or leaves it: EINVAL, and the errors of the stack.
func (k *socket) membership(m *netdv1.Membership) error {
	var s interface {
		JoinLocked(group netip.Addr, index int, addr, source netip.Addr) error
		LeaveLocked(group netip.Addr, index int, addr, source netip.Addr) error
		BlockLocked(group netip.Addr, index int, source netip.Addr, on bool) error
	}
	switch {
	case k.gram != nil:
		s = k.gram
	case k.raw != nil:
		s = k.raw
	default:
		return linux.EPROTO // ip(7): of a stream there is none
	}
	group, ok := netip.AddrFromSlice(m.Group)
	if !ok || m.Index > 1<<31-1 {
		return linux.EINVAL
	}
	addr, _ := netip.AddrFromSlice(m.Address)
	source, given := netip.AddrFromSlice(m.Source)
	if given && source.Is4() != group.Is4() || !given && len(m.Source) > 0 {
		return linux.EINVAL
	}
	switch m.Action {
	case netdv1.MembershipAction_MEMBERSHIP_ACTION_JOIN:
		return s.JoinLocked(group, int(m.Index), addr, source)
	case netdv1.MembershipAction_MEMBERSHIP_ACTION_LEAVE:
		return s.LeaveLocked(group, int(m.Index), addr, source)
	case netdv1.MembershipAction_MEMBERSHIP_ACTION_BLOCK, netdv1.MembershipAction_MEMBERSHIP_ACTION_UNBLOCK:
		if !given {
			return linux.EINVAL
		}
		return s.BlockLocked(group, int(m.Index), source, m.Action == netdv1.MembershipAction_MEMBERSHIP_ACTION_BLOCK)
	}
	return linux.EINVAL
}

// sources sets or reads the sources of a membership: EINVAL, and the errors of the stack.
func (k *socket) sources(m *netdv1.SourceFilter) (*netdv1.SourceFilter, error) {
	var s interface {
		SourcesLocked(group netip.Addr, index int, addr netip.Addr) (bool, []netip.Addr, error)
		SetSourcesLocked(group netip.Addr, index int, addr netip.Addr, exclude bool, sources []netip.Addr) error
	}
	switch {
	case k.gram != nil:
		s = k.gram
	case k.raw != nil:
		s = k.raw
	default:
		return nil, linux.EPROTO
	}
	group, ok := netip.AddrFromSlice(m.Group)
	if !ok || m.Index > 1<<31-1 || len(m.Sources) > 1024 {
		return nil, linux.EINVAL
	}
	addr, _ := netip.AddrFromSlice(m.Address)
	if m.Get {
		exclude, list, err := s.SourcesLocked(group, int(m.Index), addr)
		out := &netdv1.SourceFilter{Exclude: exclude}
		for _, a := range list {
			out.Sources = append(out.Sources, a.AsSlice())
		}
		return out, err
	}
	var list []netip.Addr
	for _, b := range m.Sources {
		a, ok := netip.AddrFromSlice(b)
		if !ok || a.Is4() != group.Is4() {
			return nil, linux.EINVAL
		}
		list = append(list, a)
	}
	return nil, s.SetSourcesLocked(group, int(m.Index), addr, m.Exclude, list)
}

// filter sets SO_ATTACH_FILTER's program: EINVAL.
func (k *socket) filter(f *netdv1.Filter) error {
	p, err := program(f)
	if err != nil {
		return err
	}
	switch {
	case k.gram != nil:
		return k.gram.SetFilterLocked(p)
	case k.raw != nil:
		return k.raw.SetFilterLocked(p)
	case k.pack != nil:
		return k.pack.SetFilterLocked(p)
	}
	return nil // of a stream nothing is filtered: see data.proto
}
