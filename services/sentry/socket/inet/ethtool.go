package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// Commands of SIOCETHTOOL: linux/ethtool.h.
const (
	ethtoolDriver = 0x03
	ethtoolLink   = 0x0a

	sizeofDriverInfo = 196
)

// drivers are what is behind an interface by its kind: a driver's name and version.
var drivers = map[string][2]string{
	"":      {"netd", ""},
	"dummy": {"dummy", ""},
	"veth":  {"veth", "1.0"},
	"tun":   {"tun", "1.6"},
	"tap":   {"tun", "1.6"},

	"bridge":  {"bridge", "2.3"},
	"vlan":    {"802.1Q VLAN Support", "1.8"},
	"macvlan": {"macvlan", "0.1"},
}

// ethtool answers SIOCETHTOOL, whose structure is at an address: which driver it is, and
// whether there is a link. EOPNOTSUPP of all that could be changed, and of a loopback's driver.
func ethtool(ctx vfs.Context, i *netdv1.Interface, at uint64) error {
	const loopback, running = 8, 0x40
	var command [4]byte
	if err := ctx.CopyIn(at, command[:]); err != nil {
		return err
	}
	switch cmd := binary.LittleEndian.Uint32(command[:]); {
	case cmd == ethtoolLink:
		out := binary.LittleEndian.AppendUint32(command[:], i.Flags&running/running)
		return ctx.CopyOut(at, out)
	case cmd == ethtoolDriver && i.Flags&loopback == 0:
		var b [sizeofDriverInfo]byte
		copy(b[:4], command[:])
		d := drivers[i.Kind]
		copy(b[4:36], d[0])
		copy(b[36:68], d[1])
		if i.Kind == "tun" || i.Kind == "tap" {
			copy(b[100:132], i.Kind)
		}
		return ctx.CopyOut(at, b[:])
	}
	return linux.EOPNOTSUPP
}
