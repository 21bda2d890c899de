package inet

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// Tables are the files of /proc/net about interfaces, routes, neighbours, packet filters and
// counters, which netd knows. Without netd they are empty.
func (n *Network) Tables() map[string]func(vfs.Context) ([]byte, error) {
	interfaces := func(show func([]*netdv1.Interface) []byte) func(vfs.Context) ([]byte, error) {
		return func(vfs.Context) ([]byte, error) {
			all, err := n.Interfaces()
			if err != nil {
				all = nil
			}
			return show(all), nil
		}
	}
	routes := func(show func(names, []*netdv1.Interface, *netdv1.Response) []byte) func(vfs.Context) ([]byte, error) {
		return func(vfs.Context) ([]byte, error) {
			all, err := n.Interfaces()
			if err != nil {
				return show(nil, nil, &netdv1.Response{}), nil
			}
			r, err := n.Routes()
			if err != nil {
				r = &netdv1.Response{}
			}
			known := names{}
			for _, i := range all {
				known[i.Index] = i.Name
			}
			return show(known, all, r), nil
		}
	}
	rules := func(v6 bool) func(vfs.Context) ([]byte, error) {
		return func(vfs.Context) ([]byte, error) {
			out, err := n.Netfilter(netdv1.Netfilter_OPERATION_NAMES, v6, nil, 0, true)
			if err != nil || len(out) != 1 {
				return nil, nil
			}
			return out[0], nil
		}
	}
	all := n.counted(interfaces)
	maps.Copy(all, map[string]func(vfs.Context) ([]byte, error){
		"ip_tables_names": rules(false), "ip6_tables_names": rules(true),
		"dev": interfaces(devTable), "if_inet6": interfaces(inet6Table),
		"route": routes(routeTable), "ipv6_route": routes(route6Table), "arp": routes(arpTable),
	})
	return all
}

// names are those of interfaces, by index.
type names map[uint32]string

// devTable is /proc/net/dev.
func devTable(all []*netdv1.Interface) []byte {
	b := bytes.NewBufferString("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for _, i := range all {
		var c [8]uint64
		copy(c[:], i.Counters)
		fmt.Fprintf(b, "%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n",
			i.Name, c[0], c[1], c[2], c[3], 0, 0, 0, c[4], c[5], c[6], 0, c[7], 0, 0, 0, 0)
	}
	return b.Bytes()
}

// inet6Table is /proc/net/if_inet6: address, index, length, scope, flags.
func inet6Table(all []*netdv1.Interface) []byte {
	var b bytes.Buffer
	for _, i := range all {
		for _, p := range i.Addresses {
			a, ok := netip.AddrFromSlice(p.Address)
			if !ok || a.Is4() {
				continue
			}
			scope := 0
			switch {
			case a.IsLoopback():
				scope = 0x10
			case a.IsLinkLocalUnicast():
				scope = 0x20
			}
			fmt.Fprintf(&b, "%x %02x %02x %02x %02x %8s\n", p.Address, i.Index, p.Bits, scope, p.Flags&0xff, i.Name)
		}
	}
	return b.Bytes()
}

// Flags of routes in the tables: linux/route.h, linux/ipv6_route.h.
const (
	routeUp      = 0x1
	routeGateway = 0x2
	routeHost    = 0x4
	routeReject  = 0x200
	routeLocal   = 0x80000000
)

// Kinds of route and the number of the table that is shown: rtnetlink(7).
const (
	kindUnicast     = 1
	kindLocal       = 2
	kindBlackhole   = 6
	kindUnreachable = 7
	kindProhibit    = 8
	mainTable       = 254
)

func rejects(kind uint32) bool { return kind >= kindBlackhole && kind <= kindProhibit }

// routesOf are those of one length of address, in the addresses' order.
func routesOf(r *netdv1.Response, length int) (list []*netdv1.RouteEntry) {
	for _, m := range r.Routes {
		if len(m.Destination.GetAddress()) == length && int(m.Destination.Bits) <= 8*length {
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, func(a, b *netdv1.RouteEntry) int {
		return cmp.Or(bytes.Compare(a.Destination.Address, b.Destination.Address), cmp.Compare(a.Metric, b.Metric))
	})
	return list
}

// word is an IPv4 address as the kernel prints it: a word in the machine's order.
func word(a []byte) uint32 {
	if len(a) != 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(a)
}

// routeTable is /proc/net/route: the main table of IPv4.
func routeTable(known names, _ []*netdv1.Interface, r *netdv1.Response) []byte {
	const width = 127
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-*s\n", width, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
	for _, m := range routesOf(r, 4) {
		if m.Table != mainTable && m.Table != 0 || m.Kind > kindUnicast && !rejects(m.Kind) {
			continue
		}
		flags := routeUp
		if len(m.Gateway) > 0 {
			flags |= routeGateway
		}
		if m.Destination.Bits == 32 {
			flags |= routeHost
		}
		name := known[m.Interface]
		if name == "" {
			name = "*"
		}
		if rejects(m.Kind) {
			flags, name = flags|routeReject, "*"
		}
		line := fmt.Sprintf("%s\t%08X\t%08X\t%04X\t%d\t%d\t%d\t%08X\t%d\t%d\t%d", name, word(m.Destination.Address), word(m.Gateway), flags,
			0, 0, m.Metric, word(net.CIDRMask(int(m.Destination.Bits), 32)), m.Mtu, 0, 0)
		fmt.Fprintf(&b, "%-*s\n", width, line)
	}
	return b.Bytes()
}

// route6Table is /proc/net/ipv6_route: all tables of IPv6, that of the host's own addresses and
// of multicast too.
func route6Table(known names, all []*netdv1.Interface, r *netdv1.Response) []byte {
	const (
		nonext = 0x200000 // RTF_NONEXTHOP of <linux/ipv6_route.h>
		worst  = 0xffffffff

		up, loopback = 0x1, 0x8 // IFF_ of netdevice(7)
	)
	var b bytes.Buffer
	put := func(p netip.Prefix, gateway []byte, metric, flags uint32, name string) {
		a := p.Addr().As16()
		fmt.Fprintf(&b, "%x %02x %x 00 %x %08x %08x %08x %08x %8s\n", a[:], p.Bits(), make([]byte, 16), gateway, metric, 1, 0, flags, name)
	}
	for _, m := range routesOf(r, 16) {
		flags, gateway := uint32(routeUp), make([]byte, 16)
		if len(m.Gateway) == 16 {
			flags, gateway = flags|routeGateway, m.Gateway
		}
		if rejects(m.Kind) {
			flags |= routeReject
		}
		if m.Kind == kindLocal {
			flags |= routeLocal
		}
		put(netip.PrefixFrom(netip.AddrFrom16([16]byte(m.Destination.Address)), int(m.Destination.Bits)), gateway, m.Metric, flags, known[m.Interface])
	}
	none, everybody := make([]byte, 16), netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	put(everybody, none, worst, routeReject|nonext, "lo")
	for _, i := range all {
		for _, p := range i.Addresses {
			if a, ok := netip.AddrFromSlice(p.Address); ok && a.Is6() {
				put(netip.PrefixFrom(a, 128), none, 0, routeLocal|nonext|routeUp, i.Name)
			}
		}
	}
	for _, i := range all {
		if i.Flags&(up|loopback) == up {
			put(netip.MustParsePrefix("ff00::/8"), none, 256, routeUp, i.Name)
		}
	}
	return b.Bytes()
}

// arpTable is /proc/net/arp: arp(7).
func arpTable(known names, _ []*netdv1.Interface, r *netdv1.Response) []byte {
	const (
		usable, noARP, permanent = 0xde, 0x40, 0x80 // NUD_ bits
		complete, fixed          = 2, 4             // ATF_ bits
	)
	b := bytes.NewBufferString("IP address       HW type     Flags       HW address            Mask     Device\n")
	for _, m := range r.Neighbours {
		if len(m.Address) != 4 || m.State&noARP != 0 {
			continue
		}
		flags, mac := 0, make([]byte, 6)
		if m.State&usable != 0 {
			flags = complete
		}
		if m.State&permanent != 0 {
			flags |= fixed
		}
		copy(mac, m.Mac)
		fmt.Fprintf(b, "%-16s 0x%-10x0x%-10x%-17s     *        %s\n", net.IP(m.Address), 1, flags, net.HardwareAddr(mac), known[m.Interface])
	}
	return b.Bytes()
}
