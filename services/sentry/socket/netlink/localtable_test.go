package netlink

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	netdv1 "bulkhead/proto/netd/v1"
)

func TestLocalRoutes(t *testing.T) {
	eth := &netdv1.Interface{Index: 2, Name: "eth0", Flags: 1, Addresses: []*netdv1.InterfaceAddress{
		{Address: []byte{192, 0, 2, 9}, Bits: 30}, {Address: []byte{198, 51, 100, 1}, Bits: 31}, {Address: []byte{192, 0, 2, 10}, Bits: 30},
		{Address: netip.MustParseAddr("fd00::1").AsSlice(), Bits: 64}, {Address: netip.MustParseAddr("fd00::2").AsSlice(), Bits: 64, Flags: addrTentative},
		{Address: []byte{1, 2, 3}, Bits: 8}, {Address: []byte{1, 2, 3, 4}, Bits: 33},
	}}
	down := &netdv1.Interface{Index: 3, Name: "eth1", Addresses: []*netdv1.InterfaceAddress{{Address: []byte{10, 0, 0, 1}, Bits: 8}}}
	var got []string
	for _, m := range localRoutes([]*netdv1.Interface{one[0], eth, down}) {
		a, _ := netip.AddrFromSlice(m.Destination.Address)
		src, _ := netip.AddrFromSlice(m.Source)
		got = append(got, fmt.Sprintf("%d %v/%d dev %d scope %d src %v", m.Kind, a, m.Destination.Bits, m.Interface, m.Scope, src))
	}
	const want = `2 127.0.0.0/8 dev 1 scope 254 src 127.0.0.1
2 127.0.0.1/32 dev 1 scope 254 src 127.0.0.1
3 127.255.255.255/32 dev 1 scope 253 src 127.0.0.1
2 192.0.2.9/32 dev 2 scope 254 src 192.0.2.9
2 192.0.2.10/32 dev 2 scope 254 src 192.0.2.9
3 192.0.2.11/32 dev 2 scope 253 src 192.0.2.9
2 198.51.100.1/32 dev 2 scope 254 src 198.51.100.1
2 ::1/128 dev 1 scope 254 src invalid IP
2 fd00::1/128 dev 2 scope 254 src invalid IP
5 ff00::/8 dev 2 scope 254 src invalid IP`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("%s\nwant\n%s", s, want)
	}
}
