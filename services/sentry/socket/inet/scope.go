package inet

import (
	"encoding/binary"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// needsScope says whether an address means something on one link only: RFC 4007.
func needsScope(a netip.Addr) bool {
	return a.Is6() && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast())
}

// within binds the socket to the link that an address is of, as ipv6(7) has it for
// sin6_scope_id: EINVAL without one, or with another than that which it is bound to. mayJoin
// says that IPV6_MULTICAST_IF names one as well.
func (c *settings) within(a netip.Addr, scope uint32, mayJoin bool) error {
	if !needsScope(a) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if scope == 0 && mayJoin && a.IsMulticast() {
		scope = c.o.MulticastDevice
	}
	switch {
	case c.o.Device == 0:
		c.o.Device = scope
	case scope != 0 && scope != c.o.Device:
		return linux.EINVAL
	}
	if c.o.Device == 0 {
		return linux.EINVAL
	}
	return nil
}

// within is settings.within, of which netd is told.
func (d *Dgram) within(ctx vfs.Context, a netip.Addr, scope uint32, mayJoin bool) error {
	if err := d.conf.within(a, scope, mayJoin); err != nil || !needsScope(a) || d.end.Load() == nil {
		return err
	}
	return d.tell(ctx, &netdv1.Request{Op: &netdv1.Request_Options{Options: d.conf.message()}})
}

// parseTarget is parseSockaddr of where datagrams go: an IPv6 socket takes IPv4 addresses
// too.
func (d *Dgram) parseTarget(sa []byte) (netip.AddrPort, uint32, error) {
	if d.v6 && len(sa) >= 2 && linux.SockaddrFamily(sa) == linux.AF_INET && !d.raw() && !d.ping() {
		if d.conf.only6() {
			return netip.AddrPort{}, 0, linux.EAFNOSUPPORT
		}
		a, _, err := parseSockaddr(false, sa)
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port()), 0, err
	}
	return parseSockaddr(d.v6, sa)
}

// scopedSockaddr is sockaddr of an address on the link with that index.
func scopedSockaddr(v6 bool, a netip.AddrPort, index uint32) []byte {
	if !v6 || !needsScope(a.Addr()) {
		return sockaddr(v6, a)
	}
	return linux.AppendSockaddrInet6(nil, a, index)
}

// way is the interface that a message is to leave by, 0 if any: its address's scope, or else
// what IP_PKTINFO or IPV6_PKTINFO names.
func way(m *socket.Msg) (index uint32) {
	for _, c := range m.Control.Other {
		switch {
		case c.Level == linux.IPPROTO_IP && c.Type == linux.IP_PKTINFO && len(c.Data) >= 12:
			index = binary.LittleEndian.Uint32(c.Data)
		case c.Level == linux.IPPROTO_IPV6 && c.Type == linux.IPV6_PKTINFO && len(c.Data) >= 20:
			index = binary.LittleEndian.Uint32(c.Data[16:])
		}
	}
	if len(m.Addr) >= linux.SizeofSockaddrIn6 && linux.SockaddrFamily(m.Addr) == linux.AF_INET6 {
		if a, scope, err := linux.ParseSockaddrInet(m.Addr); err == nil && scope != 0 && needsScope(a.Addr()) {
			return scope
		}
	}
	return index
}

// link is the index of the interface that the socket is bound to, 0 for none.
func (c *settings) link() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Device
}
