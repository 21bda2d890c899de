package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// advertise answers router solicitations at an interface with an advertisement of a
// prefix, valid for so many seconds: RFC 4861, section 4.2. The kernel adds the
// checksum.
func advertise(name string, prefix netip.Prefix, valid uint32) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	raw, err := c.(*net.IPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		for option, value := range map[int]int{unix.IPV6_MULTICAST_IF: device.Index, unix.IPV6_MULTICAST_HOPS: 255, unix.IPV6_UNICAST_HOPS: 255} {
			if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, option, value); err != nil {
				failed = err
			}
		}
		all := unix.IPv6Mreq{Multiaddr: netip.MustParseAddr("ff02::2").As16(), Interface: uint32(device.Index)}
		if err := unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &all); err != nil {
			failed = err
		}
	}); err != nil || failed != nil {
		return fmt.Errorf("%v %v", err, failed)
	}
	m := []byte{134, 0, 0, 0, 64, 0x08} // hop limit, high preference
	m = binary.BigEndian.AppendUint16(m, 1800)
	m = append(m, make([]byte, 8)...)
	m = append(append(m, 1, 1), device.HardwareAddr...)
	m = append(m, 5, 1, 0, 0, 0, 0, 1400>>8, 1400&0xff)
	m = append(m, 3, 4, byte(prefix.Bits()), 0xc0)
	m = binary.BigEndian.AppendUint32(m, valid)
	m = binary.BigEndian.AppendUint32(m, valid)
	m = append(append(m, 0, 0, 0, 0), prefix.Addr().AsSlice()...)
	to := &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: name}
	if _, err := c.WriteTo(m, to); err != nil {
		return err
	}
	fmt.Println("ready")
	b := make([]byte, 1500)
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		if n > 0 && b[0] == 133 {
			if _, err := c.WriteTo(m, to); err != nil {
				return err
			}
		}
	}
}
