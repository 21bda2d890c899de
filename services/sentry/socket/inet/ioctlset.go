package inet

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
	"bulkhead/services/sentry/vfs"
)

// This file has the orders of netdevice(7), rtentry and arp(7) by which ifconfig(8), route(8)
// and arp(8) change addresses, routes and neighbours.

const (
	siocAddRT        = 0x890b
	siocDelRT        = 0x890c
	siocSIFAddr      = 0x8916
	siocSIFBroad     = 0x891a
	siocSIFMask      = 0x891c
	siocSIFHWAddr    = 0x8924
	siocDArp         = 0x8953
	siocGArp         = 0x8954
	siocSArp         = 0x8955
	sizeofRtentry    = 120
	sizeofArpreq     = 68
	sizeofDeviceName = 16
)

// address4 reads an IPv4 struct sockaddr of 16 bytes.
func address4(b []byte) (a netip.Addr, ok bool) {
	return netip.AddrFrom4([4]byte(b[4:8])), binary.LittleEndian.Uint16(b) == linux.AF_INET
}

// maskBits is how long a network mask is: false for what is none.
func maskBits(b []byte) (int, bool) {
	m := binary.BigEndian.Uint32(b[4:])
	n := bits.LeadingZeros32(^m)
	return n, n == 32 || m<<n == 0
}

// addressed carries out SIOCSIFADDR and SIOCSIFNETMASK of an interface, whose first IPv4
// address they are about, and SIOCSIFBRDADDR, which they set too: EINVAL.
func (n *Network) addressed(cmd uint32, i *netdv1.Interface, sa []byte) error {
	a, ok := address4(sa)
	var was *netdv1.Prefix
	for _, p := range i.Addresses {
		if len(p.Address) == 4 {
			was = &netdv1.Prefix{Address: p.Address, Bits: p.Bits}
			break
		}
	}
	next := &netdv1.Prefix{}
	switch {
	case cmd == siocSIFMask || cmd == siocSIFBroad:
		if was == nil {
			return linux.EADDRNOTAVAIL
		}
		if cmd == siocSIFBroad {
			if !ok {
				return linux.EINVAL
			}
			return n.Change(&netdv1.Change{What: &netdv1.Change_Address{Address: &netdv1.AddressChange{Index: i.Index, Prefix: was, Replace: true, Broadcast: a.AsSlice()}}})
		}
		size, good := maskBits(sa)
		if !good {
			return linux.EINVAL
		}
		next = &netdv1.Prefix{Address: was.Address, Bits: uint32(size)}
	case !ok:
		return linux.EINVAL
	case a.IsUnspecified():
		next = nil
	default:
		next = &netdv1.Prefix{Address: a.AsSlice(), Bits: classBits(a)}
	}
	change := func(p *netdv1.Prefix, remove bool) error {
		return n.Change(&netdv1.Change{What: &netdv1.Change_Address{Address: &netdv1.AddressChange{Index: i.Index, Prefix: p, Remove: remove, Broadcast: broadcastOf(i, p)}}})
	}
	if was != nil {
		if err := change(was, true); err != nil {
			return err
		}
	}
	if next == nil {
		return nil
	}
	if err := change(next, false); err != nil || cmd != siocSIFAddr {
		return err
	}
	up := true
	return n.Change(&netdv1.Change{What: &netdv1.Change_Link{Link: &netdv1.LinkChange{Index: i.Index, Up: &up}}})
}

// broadcastOf is where an address that is set so broadcasts: nil for nowhere.
func broadcastOf(i *netdv1.Interface, p *netdv1.Prefix) []byte {
	if i.Flags&broadcasts == 0 || p.Bits > 30 || len(p.Address) != 4 {
		return nil
	}
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(p.Address)|^uint32(0)>>p.Bits)
}

// classBits is how long an address's network is of itself: RFC 791, section 3.2.
func classBits(a netip.Addr) uint32 {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	case first < 224:
		return 24
	}
	return 32
}

// changeRoute carries out SIOCADDRT and SIOCDELRT of a struct rtentry: EPERM, EAFNOSUPPORT,
// EINVAL, ENODEV, and what netd says.
func (n *Network) changeRoute(ctx vfs.Context, cmd uint32, arg uint64) error {
	const host, gatewayed, reject = 4, 2, 0x200 // RTF_
	var b [sizeofRtentry]byte
	if !n.mayRule(ctx, linux.CAP_NET_ADMIN) {
		return linux.EPERM
	}
	if err := ctx.CopyIn(arg, b[:]); err != nil {
		return err
	}
	dst, ok := address4(b[8:])
	if !ok {
		return linux.EAFNOSUPPORT
	}
	flags := binary.LittleEndian.Uint16(b[56:])
	size := 32
	if flags&host == 0 {
		if size, ok = maskBits(b[40:]); !ok {
			return linux.EINVAL
		}
	}
	if netip.PrefixFrom(dst, size).Masked().Addr() != dst {
		return linux.EINVAL
	}
	m := &netdv1.RouteEntry{Destination: &netdv1.Prefix{Address: dst.AsSlice(), Bits: uint32(size)}, Protocol: 3} // RTPROT_BOOT
	if metric := int16(binary.LittleEndian.Uint16(b[80:])); metric > 0 {
		m.Metric = uint32(metric) - 1
	}
	if g, ok := address4(b[24:]); flags&gatewayed != 0 {
		if !ok || g.IsUnspecified() {
			return linux.EINVAL
		}
		m.Gateway = g.AsSlice()
	} else if cmd == siocAddRT {
		m.Scope = 253 // the link
	}
	if flags&reject != 0 {
		m.Kind, m.Scope = 7, 254
	}
	if at := binary.LittleEndian.Uint64(b[88:]); at != 0 {
		var name [sizeofDeviceName]byte
		if err := ctx.CopyIn(at, name[:]); err != nil {
			return err
		}
		i, err := n.device(func(i *netdv1.Interface) bool { return i.Name == cString(name[:]) })
		if err != nil {
			return err
		}
		m.Interface = i.Index
	}
	return n.Change(&netdv1.Change{What: &netdv1.Change_Route{Route: &netdv1.RouteChange{Route: m, Remove: cmd == siocDelRT}}})
}

// neighbour carries out SIOCGARP, SIOCSARP and SIOCDARP of a struct arpreq: EPERM, EINVAL,
// ENODEV, ENXIO.
func (n *Network) neighbour(ctx vfs.Context, cmd uint32, arg uint64) error {
	var b [sizeofArpreq]byte
	if cmd != siocGArp && !n.mayRule(ctx, linux.CAP_NET_ADMIN) {
		return linux.EPERM
	}
	if err := ctx.CopyIn(arg, b[:]); err != nil {
		return err
	}
	a, ok := address4(b[:])
	if !ok {
		return linux.EINVAL
	}
	name := cString(b[52:])
	i, err := n.device(func(i *netdv1.Interface) bool {
		if name != "" {
			return i.Name == name
		}
		for _, p := range i.Addresses {
			own, _ := netip.AddrFromSlice(p.Address)
			if len(p.Address) == 4 && p.Bits <= 32 && netip.PrefixFrom(own, int(p.Bits)).Contains(a) {
				return true
			}
		}
		return false
	})
	if err != nil {
		if name == "" {
			return linux.ENXIO
		}
		return err
	}
	if cmd != siocGArp {
		m := &netdv1.NeighbourEntry{Interface: i.Index, Address: a.AsSlice()}
		if cmd == siocSArp {
			m.Mac = b[18:24]
		}
		return n.Change(&netdv1.Change{What: &netdv1.Change_Neighbour{Neighbour: m}})
	}
	known, err := n.Routes()
	if err != nil {
		return err
	}
	for _, m := range known.Neighbours {
		if m.Interface == i.Index && string(m.Address) == string(a.AsSlice()) {
			clear(b[16:])
			b[16] = hardwareEther
			copy(b[18:24], m.Mac)
			copy(b[52:67], i.Name)
			binary.LittleEndian.PutUint32(b[32:], arpFlags(m))
			return ctx.CopyOut(arg, b[:])
		}
	}
	return linux.ENXIO
}

// arpFlags are ATF_COM and ATF_PERM of a neighbour.
func arpFlags(m *netdv1.NeighbourEntry) (flags uint32) {
	const complete, permanent, nudPermanent = 2, 4, 0x80
	if len(m.Mac) == 6 {
		flags = complete
	}
	if m.State&nudPermanent != 0 {
		flags |= permanent
	}
	return flags
}
