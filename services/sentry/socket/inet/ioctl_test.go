package inet

import (
	"bytes"
	"testing"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

func TestInterfaceAddresses(t *testing.T) {
	at := func(flags uint32, bits uint32, a ...byte) *netdv1.Interface {
		return &netdv1.Interface{Flags: flags, Addresses: []*netdv1.InterfaceAddress{{Address: make([]byte, 16), Bits: 64}, {Address: a, Bits: bits}}}
	}
	const loopback, ethernet = 0x49, 0x1043
	for _, c := range []struct {
		name string
		cmd  uint32
		i    *netdv1.Interface
		want []byte
	}{
		{"address", siocGIFAddr, at(ethernet, 24, 192, 0, 2, 7), []byte{192, 0, 2, 7}},
		{"destination", siocGIFDest, at(ethernet, 24, 192, 0, 2, 7), []byte{192, 0, 2, 7}},
		{"mask", siocGIFMask, at(ethernet, 20, 192, 0, 2, 7), []byte{255, 255, 240, 0}},
		{"no mask", siocGIFMask, at(ethernet, 0, 192, 0, 2, 7), []byte{0, 0, 0, 0}},
		{"broadcast", siocGIFBroad, &netdv1.Interface{Flags: ethernet, Addresses: []*netdv1.InterfaceAddress{{Address: []byte{192, 0, 2, 7}, Bits: 20, Broadcast: []byte{192, 0, 15, 255}}}}, []byte{192, 0, 15, 255}},
		{"peer", siocGIFDest, &netdv1.Interface{Flags: ethernet, Addresses: []*netdv1.InterfaceAddress{{Address: []byte{192, 0, 2, 7}, Bits: 32, Peer: []byte{192, 0, 2, 8}}}}, []byte{192, 0, 2, 8}},
		{"no broadcast", siocGIFBroad, at(ethernet, 24, 192, 0, 2, 7), []byte{0, 0, 0, 0}},
		{"loopback", siocGIFBroad, at(loopback, 8, 127, 0, 0, 1), []byte{0, 0, 0, 0}},
	} {
		v := make([]byte, sizeOfIfreq-16)
		if err := describe(v, c.cmd, c.i); err != nil || v[0] != linux.AF_INET || !bytes.Equal(v[4:8], c.want) {
			t.Errorf("%s: %v %v", c.name, v[:8], err)
		}
	}
	if err := describe(make([]byte, 24), siocGIFAddr, &netdv1.Interface{}); err != linux.EADDRNOTAVAIL {
		t.Errorf("no address: %v", err)
	}
}
