package netlink

import (
	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Attributes of a link: linux/if_link.h.
const (
	linkAddress   = 1
	linkName      = 3
	linkMTU       = 4
	linkLink      = 5
	linkMaster    = 10
	linkInfo      = 18
	linkNetPID    = 19
	linkAlias     = 20
	linkNetFD     = 28
	linkNetNSID   = 37
	infoKind      = 1
	infoData      = 2
	vethPeer      = 1
	flagExclusive = 0x200

	sizeofIfinfomsg = 16
)

// Namespaces finds the number of the network's namespace that a descriptor of the caller's
// or, with that below 0, a process is in: EBADF, EINVAL, ESRCH, EPERM.
type Namespaces func(fd, pid int32) (uint32, error)

// linkChange reads a struct ifinfomsg of RTM_NEWLINK, RTM_SETLINK or RTM_DELLINK.
func (r *request) linkChange(all []*netdv1.Interface) (*netdv1.Change, linux.Errno) {
	if len(r.body) < sizeofIfinfomsg {
		return nil, linux.EINVAL
	}
	index, name := r.wanted()
	there := false
	for _, i := range all {
		if there = i.Index == index || index == 0 && i.Name == name; there {
			index = i.Index
			break
		}
	}
	a := r.attributes(sizeofIfinfomsg)
	space, named, err := r.namespace(a)
	switch {
	case err != 0:
		return nil, err
	case r.typ == newLink && r.flags&flagCreate != 0 && (!there || named && space != r.space && a[linkInfo] != nil):
		return r.newLink()
	case !there:
		return nil, linux.ENODEV
	case r.body[0] == familyBridge && r.typ == setLink:
		return r.portChange(index)
	case r.typ == newLink && r.flags&flagExclusive != 0:
		return nil, linux.EEXIST
	case r.typ == delLink:
		return &netdv1.Change{What: &netdv1.Change_RemoveLink{RemoveLink: &netdv1.LinkRemoval{Index: index}}}, 0
	}
	if a[linkAlias] != nil {
		return nil, linux.EOPNOTSUPP
	}
	m := &netdv1.LinkChange{Index: index}
	if err := bridging(m, a); err != 0 {
		return nil, err
	}
	if le.Uint32(r.body[12:])&1 != 0 { // IFF_UP is to be changed
		up := le.Uint32(r.body[8:])&1 != 0
		m.Up = &up
	}
	if v := a[linkMTU]; len(v) >= 4 {
		mtu := number(v)
		m.Mtu = &mtu
	}
	if v := a[linkAddress]; v != nil {
		if len(v) < 6 {
			return nil, linux.EINVAL
		}
		m.Mac = v[:6]
	}
	if v := a[linkName]; v != nil && le.Uint32(r.body[4:]) != 0 {
		name := cString(v)
		m.Name = &name
	}
	if named {
		m.Space = &space
	}
	return &netdv1.Change{What: &netdv1.Change_Link{Link: m}}, 0
}

// newLink reads what is to be made.
func (r *request) newLink() (*netdv1.Change, linux.Errno) {
	a := r.attributes(sizeofIfinfomsg)
	info := attributesOf(a[linkInfo])
	kind := cString(info[infoKind])
	if kind == "" {
		return nil, linux.EOPNOTSUPP
	}
	m := &netdv1.NewLink{Kind: kind}
	var err linux.Errno
	if m.Link, err = r.newInterface(r.body); err != 0 {
		return nil, err
	}
	if kind == "veth" {
		peer := attributesOf(info[infoData])[vethPeer]
		if peer == nil {
			peer = make([]byte, sizeofIfinfomsg)
		}
		if len(peer) < sizeofIfinfomsg {
			return nil, linux.EINVAL
		}
		if m.Peer, err = r.newInterface(peer); err != 0 {
			return nil, err
		}
	}
	if err := lies(m, a, attributesOf(info[infoData])); err != 0 {
		return nil, err
	}
	if kind == "bridge" {
		if m.Bridge, err = valuesOf(info[infoData], bridgeValues); err != 0 {
			return nil, err
		}
	}
	return &netdv1.Change{What: &netdv1.Change_NewLink{NewLink: m}}, 0
}

// Attributes of VLANs and macvlans: linux/if_link.h.
const (
	vlanID       = 1
	vlanFlags    = 2
	vlanProtocol = 5
	vlanReorders = 1

	macvlanMode  = 1
	macvlanFlags = 2
	macvlanQueue = 7
)

// lies reads upon what a VLAN or a macvlan is to lie, and how: ENODEV, EINVAL, EOPNOTSUPP.
func lies(m *netdv1.NewLink, a, data map[uint16][]byte) linux.Errno {
	if m.Kind != "vlan" && m.Kind != "macvlan" {
		return 0
	}
	if m.Lower = number(a[linkLink]); m.Lower == 0 {
		return linux.EINVAL
	}
	if m.Kind == "macvlan" {
		m.Mode = number(data[macvlanMode])
		return 0
	}
	v := data[vlanID]
	if len(v) < 2 {
		return linux.EINVAL
	}
	m.Vlan = uint32(le.Uint16(v))
	if p := data[vlanProtocol]; len(p) >= 2 && (p[0] != 0x81 || p[1] != 0) {
		return linux.EOPNOTSUPP // 802.1ad
	}
	return 0
}

// newInterface reads the struct ifinfomsg of an interface that is to be made.
func (r *request) newInterface(b []byte) (*netdv1.NewInterface, linux.Errno) {
	a := attributesOf(b[sizeofIfinfomsg:])
	m := &netdv1.NewInterface{Name: cString(a[linkName]), Mtu: number(a[linkMTU]), Index: le.Uint32(b[4:]), Up: le.Uint32(b[8:])&1 != 0,
		Master: number(a[linkMaster])}
	if v := a[linkAddress]; v != nil {
		if len(v) < 6 {
			return nil, linux.EINVAL
		}
		m.Mac = v[:6]
	}
	space, named, err := r.namespace(a)
	if !named {
		space = r.space
	}
	m.Space = space
	return m, err
}

// namespace is the one that attributes name, if they do.
func (r *request) namespace(a map[uint16][]byte) (space uint32, named bool, _ linux.Errno) {
	fd, pid := int32(-1), int32(0)
	switch {
	case len(a[linkNetFD]) >= 4:
		fd = int32(number(a[linkNetFD]))
		if fd < 0 {
			return 0, false, linux.EBADF
		}
	case len(a[linkNetPID]) >= 4:
		pid = int32(number(a[linkNetPID]))
	default:
		return 0, false, 0
	}
	if r.namespaces == nil {
		return 0, false, linux.EINVAL
	}
	space, err := r.namespaces(fd, pid)
	if err != nil {
		e, ok := err.(linux.Errno)
		if !ok {
			e = linux.EINVAL
		}
		return 0, false, e
	}
	return space, true, 0
}

// cString is what comes before the first zero.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// madeLink adds what tells of a link that the guest has made.
func madeLink(body []byte, i, master *netdv1.Interface) []byte {
	if i.Peer != 0 {
		body = attribute(body, linkLink, le.AppendUint32(nil, i.Peer))
		if i.PeerNamespace != 0 {
			body = attribute(body, linkNetNSID, le.AppendUint32(nil, i.PeerNamespace-1))
		}
	}
	if i.Master != 0 {
		body = attribute(body, linkMaster, le.AppendUint32(nil, i.Master))
	}
	kind := i.Kind
	var data []byte
	switch kind {
	case "bridge":
		data = bridgeData(i)
	case "vlan":
		data = attribute(data, vlanID, le.AppendUint16(nil, uint16(i.Vlan)))
		data = attribute(data, vlanFlags, le.AppendUint32(le.AppendUint32(nil, vlanReorders), 1<<32-1))
		data = attribute(data, vlanProtocol, []byte{0x81, 0})
	case "macvlan":
		data = attribute(data, macvlanMode, le.AppendUint32(nil, i.Mode))
		data = attribute(data, macvlanFlags, make([]byte, 2))
		data = attribute(data, macvlanQueue, le.AppendUint32(nil, 1000))
		data = attribute(data, macvlanQueue+1, le.AppendUint32(nil, 1000))
	case "":
		return body
	case "tun", "tap": // linux/if_link.h: IFLA_TUN_
		mode := byte(1)
		if kind == "tap" {
			mode = 2
		}
		if i.Owner != 1<<32-1 {
			data = attribute(data, 1, le.AppendUint32(nil, i.Owner))
		}
		if i.Group != 1<<32-1 {
			data = attribute(data, 2, le.AppendUint32(nil, i.Group))
		}
		data = attribute(data, 3, []byte{mode})
		for attr := uint16(4); attr <= 7; attr++ { // struct tun_pi, a virtio-net header, it stays, more than one queue
			v := byte(0)
			if attr == 6 {
				v = persists(i)
			}
			data = attribute(data, attr, []byte{v})
		}
		kind = "tun"
	}
	info := attribute(nil, infoKind, text(kind))
	if data != nil {
		info = attribute(info, infoData, data)
	}
	if i.Master != 0 {
		info = attribute(info, infoSlaveKind, text("bridge"))
		info = attribute(info, infoSlaveData, portData(i, master))
	}
	return attribute(body, linkInfo, info)
}

func persists(i *netdv1.Interface) byte {
	if i.Persist {
		return 1
	}
	return 0
}
