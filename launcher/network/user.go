package network

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	netdv1 "bulkhead/proto/netd/v1"
)

// What the sandbox has in mode user, and what passt believes of it. The translator
// answers for every address but the sandbox's own.
var (
	userPrefix  = netip.MustParsePrefix("10.0.2.15/24")
	userGateway = netip.MustParseAddr("10.0.2.2")
	// Of IPv6, where the namespace has a way out by it.
	userPrefix6  = netip.MustParsePrefix("fd00:2::15/64")
	userGateway6 = netip.MustParseAddr("fd00:2::2")
)

const (
	userMTU = 65520 // the most that passt takes, in bytes
	passt   = "passt"
)

// OpenUser starts passt(1), which speaks for the sandbox by sockets of our own
// namespace, as a program there would: with no rights, and outbound only. It ends
// with netd's end of the connection. The machine's own loopback is out of its reach.
func OpenUser() (o *Outside, err error) {
	path, err := exec.LookPath(passt)
	if err != nil {
		return nil, errors.New("passt(1) is not installed, which this mode needs: on Debian, apt install passt")
	}
	ours, theirs, err := streamPair()
	if err != nil {
		return nil, fmt.Errorf("make a connection to passt: %w", err)
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			ours.Close()
		}
	}()
	// Not a pipe: what goes into the background would keep it open.
	fd, err := unix.MemfdCreate("passt", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make passt's log: %w", err)
	}
	said := os.NewFile(uintptr(fd), "passt's log")
	defer said.Close()
	args := []string{"--stderr", "--quiet", "--fd", "3", "--address", userPrefix.Addr().String(), "--netmask", fmt.Sprint(userPrefix.Bits()),
		"--gateway", userGateway.String(), "--mtu", fmt.Sprint(userMTU), "--no-map-gw", "--no-dhcp", "--no-dhcpv6", "--no-ra",
		"--tcp-ports", "none", "--udp-ports", "none"}
	v6 := hasDefault6()
	if v6 {
		args = append(args, "--address", userPrefix6.Addr().String(), "--gateway", userGateway6.String())
	} else {
		args = append(args, "--ipv4-only", "--no-ndp")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr, cmd.Stdout = said, said
	// It goes into the background once it is ready.
	if err := cmd.Run(); err != nil {
		text := make([]byte, 4096)
		n, _ := said.ReadAt(text, 0)
		return nil, fmt.Errorf("start %s: %w: %s", path, err, strings.Join(strings.Fields(string(text[:n])), " "))
	}
	mac := make([]byte, 6)
	rand.Read(mac)
	mac[0] = 0x52 // local, and of one station
	i := Interface{Index: 2, Name: "eth0", MTU: userMTU, MAC: mac,
		Addresses: []Address{{Prefix: userPrefix}}, Routes: []Route{{Destination: anywhere(userGateway), Gateway: userGateway, Protocol: unix.RTPROT_BOOT}}}
	if v6 {
		i.Addresses = append(i.Addresses, Address{Prefix: userPrefix6})
		i.Routes = append(i.Routes, Route{Destination: anywhere(userGateway6), Gateway: userGateway6, Protocol: unix.RTPROT_BOOT})
		// passt advertises nothing, and answers for every address that is not ours.
		i.Autoconf = &Autoconf{}
	}
	m := i.message()
	m.Kind = netdv1.Link_KIND_STREAM
	return &Outside{Links: []*netdv1.Link{m}, Files: []*os.File{ours}}, nil
}

// hasDefault6 tells whether our own namespace has a default route of IPv6, without
// which passt has none for the sandbox either.
func hasDefault6() bool {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
	return err == nil && slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return r.Type == unix.RTN_UNICAST && (r.Dst == nil || prefixOf(r.Dst).Bits() == 0)
	})
}

// userBuffer is what waits in either direction, in bytes: passt loses what finds no
// room, and is slow to send it again.
const userBuffer = 8 << 20

// streamPair is a pair of connected sockets, ours without blocking.
func streamPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, err
	}
	for _, fd := range fds {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, userBuffer) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, userBuffer) // as much as there is without rights
		}
	}
	return os.NewFile(uintptr(fds[0]), passt), os.NewFile(uintptr(fds[1]), passt), nil
}
