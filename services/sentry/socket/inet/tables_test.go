package inet

import (
	"strings"
	"testing"

	netdv1 "bulkhead/proto/netd/v1"
)

// The lines are as a Linux host with such a network showed them.
func TestTables(t *testing.T) {
	gateway := []byte{192, 0, 2, 1}
	mac := []byte{2, 0xfc, 0, 0, 0, 5}
	v6 := append([]byte{0xfd}, make([]byte, 15)...)
	router := append(append([]byte{0xfd}, make([]byte, 14)...), 1)
	all := []*netdv1.Interface{
		{Index: 1, Name: "lo", Counters: []uint64{23778193186, 798144, 0, 0, 0, 23778193186, 798144, 0}, Addresses: []*netdv1.InterfaceAddress{
			{Address: []byte{127, 0, 0, 1}, Bits: 8}, {Address: append(make([]byte, 15), 1), Bits: 128, Flags: 0x80},
		}},
		{Index: 4, Name: "eth0", Flags: 0x1003, Addresses: []*netdv1.InterfaceAddress{{Address: append(append([]byte{0xfd}, make([]byte, 14)...), 2), Bits: 64, Flags: 0x80}}},
	}
	known := names{1: "lo", 4: "eth0"}
	r := &netdv1.Response{
		Routes: []*netdv1.RouteEntry{
			{Destination: &netdv1.Prefix{Address: []byte{192, 0, 2, 0}, Bits: 24}, Interface: 4, Table: 254, Kind: 1},
			{Destination: &netdv1.Prefix{Address: make([]byte, 4)}, Gateway: gateway, Interface: 4, Table: 254, Kind: 1},
			{Destination: &netdv1.Prefix{Address: []byte{127, 0, 0, 1}, Bits: 32}, Interface: 1, Table: 255, Kind: 2},
			{Destination: &netdv1.Prefix{Address: v6, Bits: 64}, Interface: 4, Metric: 256},
			{Destination: &netdv1.Prefix{Address: make([]byte, 16)}, Gateway: router, Interface: 4, Metric: 1024},
		},
		Neighbours: []*netdv1.NeighbourEntry{{Interface: 4, Address: gateway, Mac: mac, State: 2}, {Interface: 4, Address: v6, Mac: mac, State: 2}},
	}
	pad := func(s string) string { return s + strings.Repeat(" ", 127-len(s)) }
	for name, c := range map[string]struct{ got, want string }{
		"dev": {string(devTable(all)), "Inter-|   Receive                                                |  Transmit\n" +
			" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
			"    lo: 23778193186  798144    0    0    0     0          0         0 23778193186  798144    0    0    0     0       0          0\n" +
			"  eth0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"},
		"if_inet6": {string(inet6Table(all)), "00000000000000000000000000000001 01 80 10 80       lo\n" +
			"fd000000000000000000000000000002 04 40 00 80     eth0\n"},
		"route": {string(routeTable(known, nil, r)), pad("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT") + "\n" +
			pad("eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0") + "\n" +
			pad("eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0") + "\n"},
		"ipv6_route": {string(route6Table(known, all, r)),
			"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n" +
				"fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
				"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n" +
				"00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000001 00000000 80200001       lo\n" +
				"fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000001 00000000 80200001     eth0\n" +
				"ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"},
		"arp": {string(arpTable(known, nil, r)), "IP address       HW type     Flags       HW address            Mask     Device\n" +
			"192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\n"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%q, want\n%q", name, c.got, c.want)
		}
	}
}
