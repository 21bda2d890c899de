package inet

import (
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// parseSockaddr reads an address for a socket of the family: EINVAL if it is too
// short, EAFNOSUPPORT if it is of another family.
func parseSockaddr(v6 bool, sa []byte) (netip.AddrPort, uint32, error) {
	family := linux.AF_INET
	if v6 {
		family = linux.AF_INET6
	}
	if len(sa) < 2 || !v6 && len(sa) < linux.SizeofSockaddrIn || v6 && len(sa) < linux.SizeofSockaddrIn6Min {
		return netip.AddrPort{}, 0, linux.EINVAL
	}
	if linux.SockaddrFamily(sa) != family {
		return netip.AddrPort{}, 0, linux.EAFNOSUPPORT
	}
	return linux.ParseSockaddrInet(sa)
}

// sockaddr is a as a socket of the family shows it; one that is not valid is
// the unspecified address.
func sockaddr(v6 bool, a netip.AddrPort) []byte {
	if !v6 {
		return linux.AppendSockaddrInet4(nil, a)
	}
	return linux.AppendSockaddrInet6(nil, a, 0)
}

// message gives an address to netd in the form of the socket's family.
func message(v6 bool, a netip.AddrPort, scope uint32) *netdv1.Address {
	m := &netdv1.Address{Port: uint32(a.Port()), Scope: scope}
	if v6 {
		b := a.Addr().As16()
		m.Ip = b[:]
	} else {
		b := a.Addr().As4()
		m.Ip = b[:]
	}
	return m
}

// address reads an address of netd's; anything odd is the unspecified one.
func address(m *netdv1.Address) netip.AddrPort {
	if m == nil || m.Port > 65535 {
		return netip.AddrPort{}
	}
	a, _ := netip.AddrFromSlice(m.Ip)
	return netip.AddrPortFrom(a, uint16(m.Port))
}
