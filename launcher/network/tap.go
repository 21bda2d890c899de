package network

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	netdv1 "bulkhead/proto/netd/v1"
)

// OpenTAP opens the TAP interface name of our own namespace, which somebody has
// set up: ip-tuntap(8). netd is the machine at its other end. It has the
// addresses that follow those of the host's side: where that is 10.0.0.1/24, the
// sandbox is 10.0.0.2/24 and its gateway 10.0.0.1. What routers say of IPv6 on that link
// it believes, as a machine would.
func OpenTAP(name string) (o *Outside, err error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	host, err := read(l)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	f, err := openTun(name)
	if err != nil {
		return nil, err
	}
	i := Interface{Index: 2, Name: "eth0", MTU: host.MTU, MAC: append([]byte(nil), host.MAC...), Autoconf: defaultAutoconf()}
	i.MAC[5] ^= 1 // any other than the host's
	for _, a := range host.Addresses {
		mine := a.Prefix.Addr().Next()
		if a.Prefix.Addr().IsLinkLocalUnicast() || !a.Prefix.Contains(mine) {
			continue
		}
		i.Addresses = append(i.Addresses, Address{Prefix: netip.PrefixFrom(mine, a.Prefix.Bits())})
		i.Routes = append(i.Routes, Route{Destination: anywhere(mine), Gateway: a.Prefix.Addr(), Protocol: unix.RTPROT_BOOT})
	}
	m := i.message()
	m.Kind, m.VirtioHeader, m.UdpSegmentation = netdv1.Link_KIND_TAP, true, segmentsUDP()
	return &Outside{Links: []*netdv1.Link{m}, Files: []*os.File{f}}, nil
}

// tunOffload is what netd takes in frames that the host has not finished:
// checksums, and TCP segments of both families. linux/if_tun.h.
const tunOffload = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6

func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0) // blocking: see openPacket
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	size := int32(10)
	if err == nil {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETVNETHDRSZ, uintptr(unsafe.Pointer(&size))); errno != 0 {
			err = errno
		}
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tunOffload)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open TAP interface %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
