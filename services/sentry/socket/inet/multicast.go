package inet

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	netdv1 "bulkhead/proto/netd/v1"
)

// Sizes of the values that name a group, in bytes: ip(7), ipv6(7), RFC 3678.
const (
	sizeofMreq        = 8
	sizeofMreqn       = 12
	sizeofMreqSource  = 12
	sizeofMreq6       = 20
	sizeofGroupReq    = 136
	sizeofGroupSource = 264
	sizeofStorage     = 128
)

// membership reads what an option asks for of a group, nil if it is another
// option: EINVAL, EADDRNOTAVAIL.
func membership(level, name int, v []byte) (*netdv1.Membership, error) {
	if level != linux.IPPROTO_IP && level != linux.IPPROTO_IPV6 {
		return nil, nil
	}
	if m, err := groupMembership(level, name, v); m != nil || err != nil {
		return m, err
	}
	if level == linux.IPPROTO_IPV6 {
		return membership6(name, v)
	}
	m := &netdv1.Membership{}
	switch name {
	case linux.IP_ADD_MEMBERSHIP, linux.IP_DROP_MEMBERSHIP:
		m.Action = joining(name == linux.IP_ADD_MEMBERSHIP)
		if len(v) < sizeofMreq {
			return nil, linux.EINVAL
		}
		m.Group, m.Address = v[:4], v[4:8]
		if len(v) >= sizeofMreqn {
			m.Index = binary.LittleEndian.Uint32(v[8:])
		}
		return m, nil
	case linux.IP_ADD_SOURCE_MEMBERSHIP, linux.IP_DROP_SOURCE_MEMBERSHIP:
		m.Action = joining(name == linux.IP_ADD_SOURCE_MEMBERSHIP)
	case linux.IP_BLOCK_SOURCE, linux.IP_UNBLOCK_SOURCE:
		m.Action = blocking(name == linux.IP_BLOCK_SOURCE)
	default:
		return nil, nil
	}
	if len(v) < sizeofMreqSource {
		return nil, linux.EINVAL
	}
	m.Group, m.Address, m.Source = v[:4], v[4:8], v[8:12]
	return m, nil
}

func membership6(name int, v []byte) (*netdv1.Membership, error) {
	if name != linux.IPV6_ADD_MEMBERSHIP && name != linux.IPV6_DROP_MEMBERSHIP {
		return nil, nil
	}
	if len(v) < sizeofMreq6 {
		return nil, linux.EINVAL
	}
	return &netdv1.Membership{Action: joining(name == linux.IPV6_ADD_MEMBERSHIP), Group: v[:16], Index: binary.LittleEndian.Uint32(v[16:])}, nil
}

// groupMembership is membership of the options that are the same for both
// families: RFC 3678, section 5.
func groupMembership(level, name int, v []byte) (*netdv1.Membership, error) {
	m, size := &netdv1.Membership{}, sizeofGroupSource
	switch name {
	case linux.MCAST_JOIN_GROUP, linux.MCAST_LEAVE_GROUP:
		m.Action, size = joining(name == linux.MCAST_JOIN_GROUP), sizeofGroupReq
	case linux.MCAST_JOIN_SOURCE_GROUP, linux.MCAST_LEAVE_SOURCE_GROUP:
		m.Action = joining(name == linux.MCAST_JOIN_SOURCE_GROUP)
	case linux.MCAST_BLOCK_SOURCE, linux.MCAST_UNBLOCK_SOURCE:
		m.Action = blocking(name == linux.MCAST_BLOCK_SOURCE)
	default:
		return nil, nil
	}
	if len(v) < size {
		return nil, linux.EINVAL
	}
	m.Index = binary.LittleEndian.Uint32(v)
	for i, to := range []*[]byte{&m.Group, &m.Source} {
		at := 8 + i*sizeofStorage
		if at >= size {
			break
		}
		a, _, err := parseSockaddr(level == linux.IPPROTO_IPV6, v[at:at+sizeofStorage])
		if err != nil {
			return nil, linux.EADDRNOTAVAIL
		}
		*to = a.Addr().AsSlice()
	}
	return m, nil
}

func joining(on bool) netdv1.MembershipAction {
	if on {
		return netdv1.MembershipAction_MEMBERSHIP_ACTION_JOIN
	}
	return netdv1.MembershipAction_MEMBERSHIP_ACTION_LEAVE
}

func blocking(on bool) netdv1.MembershipAction {
	if on {
		return netdv1.MembershipAction_MEMBERSHIP_ACTION_BLOCK
	}
	return netdv1.MembershipAction_MEMBERSHIP_ACTION_UNBLOCK
}
