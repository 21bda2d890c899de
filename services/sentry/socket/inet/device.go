package inet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/socket"
	"bulkhead/services/sentry/vfs"
)

// setDevice sets an option that names an interface, of which netd has to know: ENODEV,
// EADDRNOTAVAIL, EPERM. known is false for any other option.
func (n *Network) setDevice(ctx vfs.Context, c *settings, datagrams bool, level, name int, v []byte) (known bool, err error) {
	switch (optionKey{level, name}) {
	case optionKey{linux.SOL_SOCKET, linux.SO_BINDTODEVICE}:
		device, _, _ := strings.Cut(string(v), "\x00")
		i, err := n.device(func(i *netdv1.Interface) bool { return device == "" || i.Name == device })
		if err != nil {
			return true, err
		}
		if device == "" {
			i = &netdv1.Interface{}
		}
		return true, c.bindDevice(ctx, i)
	case optionKey{linux.SOL_SOCKET, linux.SO_BINDTOIFINDEX}:
		want, err := socket.ParseInt(v)
		if err != nil {
			return true, err
		}
		if want < 0 {
			return true, linux.EINVAL
		}
		i, err := n.device(func(i *netdv1.Interface) bool { return int(i.Index) == want })
		if err != nil {
			i = &netdv1.Interface{Index: uint32(want)} // which may come to be
		}
		return true, c.bindDevice(ctx, i)
	case optionKey{linux.IPPROTO_IP, linux.IP_UNICAST_IF}, optionKey{linux.IPPROTO_IPV6, linux.IPV6_UNICAST_IF}:
		return true, n.unicastDevice(c, datagrams, optionKey{level, name}, v)
	case optionKey{linux.IPPROTO_IP, linux.IP_MULTICAST_IF}:
		if !datagrams {
			return true, linux.EINVAL
		}
		return true, n.multicastDevice(c, v)
	case optionKey{linux.IPPROTO_IPV6, linux.IPV6_MULTICAST_IF}:
		if !datagrams {
			return true, linux.ENOPROTOOPT
		}
		want, err := socket.ParseInt(v)
		if err != nil {
			return true, err
		}
		if want != 0 {
			if _, err = n.device(func(i *netdv1.Interface) bool { return int(i.Index) == want }); err != nil {
				return true, err
			}
		}
		c.setMulticastDevice(uint32(want), netip.Addr{})
		return true, nil
	}
	return false, nil
}

// unicastDevice is IP_UNICAST_IF or IPV6_UNICAST_IF, whose value is an index in the network's
// order: EINVAL, EADDRNOTAVAIL. Streams only remember it.
func (n *Network) unicastDevice(c *settings, datagrams bool, k optionKey, v []byte) error {
	if len(v) < 4 || len(v) != 4 && k.level == linux.IPPROTO_IP {
		return linux.EINVAL
	}
	want := binary.BigEndian.Uint32(v)
	if want != 0 {
		if _, err := n.device(func(i *netdv1.Interface) bool { return i.Index == want }); err != nil {
			return linux.EADDRNOTAVAIL
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if want != 0 && c.o.Device != 0 && c.o.Device != want {
		return linux.EINVAL
	}
	if c.kept == nil {
		c.kept = map[optionKey]int{}
	}
	c.kept[k] = int(int32(binary.LittleEndian.Uint32(v)))
	if datagrams {
		c.o.UnicastDevice = want
	}
	return nil
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
		return slices.ContainsFunc(i.Addresses, func(p *netdv1.InterfaceAddress) bool { return slices.Equal(p.Address, addr.AsSlice()) })
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
