package inet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// Sizes of the values that name a group, in bytes: ip(7), ipv6(7), RFC 3678.
const (
	sizeofMreq        = 8
	sizeofMreqn       = 12
	sizeofMreqSource  = 12
	sizeofMreq6       = 20
	sizeofGroupReq    = 136
	sizeofGroupSource = 264
	sizeofStorage     = 128
)

// membership reads what an option asks for of a group, nil if it is another
// option: EINVAL, EADDRNOTAVAIL.
func membership(level, name int, v []byte) (*netdv1.Membership, error) {
	if level != linux.IPPROTO_IP && level != linux.IPPROTO_IPV6 {
		return nil, nil
	}
	if m, err := groupMembership(level, name, v); m != nil || err != nil {
		return m, err
	}
	if level == linux.IPPROTO_IPV6 {
		return membership6(name, v)
	}
	m := &netdv1.Membership{}
	switch name {
	case linux.IP_ADD_MEMBERSHIP, linux.IP_DROP_MEMBERSHIP:
		m.Action = joining(name == linux.IP_ADD_MEMBERSHIP)
		if len(v) < sizeofMreq {
			return nil, linux.EINVAL
		}
		m.Group, m.Address = v[:4], v[4:8]
		if len(v) >= sizeofMreqn {
			m.Index = binary.LittleEndian.Uint32(v[8:])
		}
		return m, nil
	case linux.IP_ADD_SOURCE_MEMBERSHIP, linux.IP_DROP_SOURCE_MEMBERSHIP:
		m.Action = joining(name == linux.IP_ADD_SOURCE_MEMBERSHIP)
	case linux.IP_BLOCK_SOURCE, linux.IP_UNBLOCK_SOURCE:
		m.Action = blocking(name == linux.IP_BLOCK_SOURCE)
	default:
		return nil, nil
	}
	if len(v) < sizeofMreqSource {
		return nil, linux.EINVAL
	}
	m.Group, m.Address, m.Source = v[:4], v[4:8], v[8:12]
	return m, nil
}

func membership6(name int, v []byte) (*netdv1.Membership, error) {
	if name != linux.IPV6_ADD_MEMBERSHIP && name != linux.IPV6_DROP_MEMBERSHIP {
		return nil, nil
	}
	if len(v) < sizeofMreq6 {
		return nil, linux.EINVAL
	}
	return &netdv1.Membership{Action: joining(name == linux.IPV6_ADD_MEMBERSHIP), Group: v[:16], Index: binary.LittleEndian.Uint32(v[16:])}, nil
}

// groupMembership is membership of the options that are the same for both
// families: RFC 3678, section 5.
func groupMembership(level, name int, v []byte) (*netdv1.Membership, error) {
	m, size := &netdv1.Membership{}, sizeofGroupSource
	switch name {
	case linux.MCAST_JOIN_GROUP, linux.MCAST_LEAVE_GROUP:
		m.Action, size = joining(name == linux.MCAST_JOIN_GROUP), sizeofGroupReq
	case linux.MCAST_JOIN_SOURCE_GROUP, linux.MCAST_LEAVE_SOURCE_GROUP:
		m.Action = joining(name == linux.MCAST_JOIN_SOURCE_GROUP)
	case linux.MCAST_BLOCK_SOURCE, linux.MCAST_UNBLOCK_SOURCE:
		m.Action = blocking(name == linux.MCAST_BLOCK_SOURCE)
	default:
		return nil, nil
	}
	if len(v) < size {
		return nil, linux.EINVAL
	}
	m.Index = binary.LittleEndian.Uint32(v)
	for i, to := range []*[]byte{&m.Group, &m.Source} {
		at := 8 + i*sizeofStorage
		if at >= size {
			break
		}
		a, _, err := parseSockaddr(level == linux.IPPROTO_IPV6, v[at:at+sizeofStorage])
		if err != nil {
			return nil, linux.EADDRNOTAVAIL
		}
		*to = a.Addr().AsSlice()
	}
	return m, nil
}

func joining(on bool) netdv1.MembershipAction {
	if on {
		return netdv1.MembershipAction_MEMBERSHIP_ACTION_JOIN
	}
	return netdv1.MembershipAction_MEMBERSHIP_ACTION_LEAVE
}

func blocking(on bool) netdv1.MembershipAction {
	if on {
		return netdv1.MembershipAction_MEMBERSHIP_ACTION_BLOCK
	}
	return netdv1.MembershipAction_MEMBERSHIP_ACTION_UNBLOCK
}

// errNoDevice says that an option does not name an interface.
var errNoDevice = errors.New("not an option that names an interface")

// setDevice sets an option that names an interface, of which netd has to know:
// errNoDevice if the option is another, ENODEV, EADDRNOTAVAIL, EPERM.
func (n *Network) setDevice(ctx vfs.Context, c *settings, datagrams bool, level, name int, v []byte) (told bool, err error) {
	switch (optionKey{level, name}) {
	case optionKey{linux.SOL_SOCKET, linux.SO_BINDTODEVICE}:
		device, _, _ := strings.Cut(string(v), "\x00")
		i, err := n.device(func(i *netdv1.Interface) bool { return device == "" || i.Name == device })
		if err != nil {
			return false, err
		}
		if device == "" {
			i = &netdv1.Interface{}
		}
		return true, c.bindDevice(ctx, i)
	case optionKey{linux.SOL_SOCKET, linux.SO_BINDTOIFINDEX}:
		want, err := socket.ParseInt(v)
		if err != nil {
			return false, err
		}
		if want < 0 {
			return false, linux.EINVAL
		}
		i, err := n.device(func(i *netdv1.Interface) bool { return int(i.Index) == want })
		if err != nil {
			i = &netdv1.Interface{Index: uint32(want)} // which may come to be
		}
		return true, c.bindDevice(ctx, i)
	case optionKey{linux.IPPROTO_IP, linux.IP_MULTICAST_IF}:
		if !datagrams {
			return false, linux.EINVAL
		}
		return true, n.multicastDevice(c, v)
	case optionKey{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_IF}:
		if !datagrams {
			return false, linux.ENOPROTOOPT
		}
		want, err := socket.ParseInt(v)
		if err != nil {
			return false, err
		}
		if want != 0 {
			if _, err = n.device(func(i *netdv1.Interface) bool { return int(i.Index) == want }); err != nil {
				return false, err
			}
		}
		c.setMulticastDevice(uint32(want), netip.Addr{})
		return true, nil
	}
	return false, errNoDevice
}

// multicastDevice is IP_MULTICAST_IF, whose value is a struct in_addr, ip_mreq or
// ip_mreqn.
func (n *Network) multicastDevice(c *settings, v []byte) error {
	if len(v) < 4 {
		return linux.EINVAL
	}
	addr, want := netip.AddrFrom4([4]byte(v[:4])), uint32(0)
	if len(v) >= sizeofMreq {
		addr = netip.AddrFrom4([4]byte(v[4:8]))
	}
	if len(v) >= sizeofMreqn {
		want = binary.LittleEndian.Uint32(v[8:])
	}
	if want == 0 && addr.IsUnspecified() {
		c.setMulticastDevice(0, netip.Addr{})
		return nil
	}
	i, err := n.device(func(i *netdv1.Interface) bool {
		if want != 0 {
			return i.Index == want
		}
		return slices.ContainsFunc(i.Addresses, func(p *netdv1.Prefix) bool { return slices.Equal(p.Address, addr.AsSlice()) })
	})
	if err != nil {
		return linux.EADDRNOTAVAIL
	}
	c.setMulticastDevice(i.Index, addr)
	return nil
}

// device finds an interface: ENODEV.
func (n *Network) device(is func(*netdv1.Interface) bool) (*netdv1.Interface, error) {
	all, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	k := slices.IndexFunc(all, is)
	if k < 0 {
		return nil, linux.ENODEV
	}
	return all[k], nil
}

// bindDevice is SO_BINDTODEVICE; taking away or changing what is set needs
// CAP_NET_RAW: EPERM.
func (c *settings) bindDevice(ctx vfs.Context, i *netdv1.Interface) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Device != 0 && !ctx.Creds().Has(linux.CAP_NET_RAW) {
		return linux.EPERM
	}
	c.o.Device, c.device = i.Index, i.Name
	if i.Index != 0 && i.Name == "" {
		c.device = fmt.Sprintf("if%d", i.Index) // no name: nothing is within reach
	}
	return nil
}

func (c *settings) setMulticastDevice(index uint32, addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.MulticastDevice, c.multicastAddr = index, addr
}

// isTypeFilter says whether an option is ICMP_FILTER or ICMP6_FILTER, which raw
// sockets alone have: raw(7), RFC 3542, section 3.2.
func isTypeFilter(level, name int) bool {
	return level == linux.SOL_RAW && name == linux.ICMP_FILTER || level == linux.IPPROTO_ICMPV6 && name == linux.ICMP6_FILTER
}

// typeFilter is the option's value: a bit of each type that is blocked, of which
// ICMP_FILTER has the first 32.
func (c *settings) typeFilter(level int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b []byte
	for k := range 8 {
		w := uint32(0)
		if k < len(c.o.BlockedTypes) {
			w = c.o.BlockedTypes[k]
		}
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	if level == linux.SOL_RAW {
		b = b[:4]
	}
	return b
}

// setTypeFilter sets what typeFilter gives; what the value does not reach stays.
func (c *settings) setTypeFilter(level int, v []byte) error {
	if level == linux.SOL_RAW {
		v = v[:min(len(v), 4)]
	}
	old := c.typeFilter(linux.IPPROTO_ICMPV6)
	copy(old, v)
	words := make([]uint32, 8)
	for k := range words {
		words[k] = binary.LittleEndian.Uint32(old[4*k:])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.BlockedTypes = words
	return nil
}
