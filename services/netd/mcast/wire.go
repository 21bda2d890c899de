package mcast

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Types of IGMP and MLD messages.
const (
	igmpQuery    = 0x11
	igmpReport1  = 0x12
	igmpReport2  = 0x16
	igmpLeave2   = 0x17
	igmpReport3  = 0x22
	MLDQuery     = 130
	MLDReport1   = 131
	MLDDone1     = 132
	MLDReport2   = 143
	mldBodyShort = 20 // behind the first four bytes of ICMPv6: delay, reserved, group
)

// Where reports go besides the group itself: RFC 3376, 4.2.14; RFC 3810, 5.2.14;
// RFC 2236, section 3.
var (
	allRouters4 = netip.AddrFrom4([4]byte{224, 0, 0, 2})
	igmpRouters = netip.AddrFrom4([4]byte{224, 0, 0, 22})
	allRouters6 = netip.MustParseAddr("ff02::2")
	mldRouters  = netip.MustParseAddr("ff02::16")
)

var errShort = errors.New("message is cut off")

// ParseIGMP reads a message whose checksum is right: a query, or (report valid)
// another host's report of one group.
func ParseIGMP(b []byte) (q Query, report netip.Addr, err error) {
	if len(b) < 8 {
		return q, report, errShort
	}
	group := netip.AddrFrom4([4]byte(b[4:8]))
	switch b[0] {
	case igmpReport1, igmpReport2:
		return q, group, nil
	case igmpQuery:
	default:
		return q, report, nil
	}
	q.Group = group
	switch {
	case len(b) == 8 && b[1] == 0:
		q.As, q.Response = 1, 10*Second
	case len(b) == 8:
		q.As, q.Response = 2, Time(b[1])*Second/10
	case len(b) < 12:
		return q, report, errShort
	default:
		q.As, q.Response = 3, Time(float(b[1]))*Second/10
	}
	return q, report, nil
}

// float reads a code of RFC 3376, section 4.1.1.
func float(code uint8) int {
	if code < 128 {
		return int(code)
	}
	return (int(code&15) | 16) << (code>>4&7 + 3)
}

// ParseMLD reads a message of MLD from behind the first four bytes of its header.
func ParseMLD(kind uint8, b []byte) (q Query, report netip.Addr, err error) {
	if kind == MLDReport2 {
		return q, report, nil
	}
	if len(b) < mldBodyShort {
		return q, report, errShort
	}
	group := netip.AddrFrom16([16]byte(b[4:20]))
	switch kind {
	case MLDReport1:
		return q, group, nil
	case MLDQuery:
	default:
		return q, report, nil
	}
	code := int(binary.BigEndian.Uint16(b))
	q.Group, q.As, q.Response = group, 2, Time(code)*Second/1000
	if len(b) >= 24 {
		if q.As = 3; code >= 32768 {
			code = (code&0xfff | 0x1000) << (code>>12&7 + 3)
		}
		q.Response = Time(code) * Second / 1000
	}
	return q, report, nil
}

// Put makes the message of r, without checksum, and says where it goes. For MLD
// it begins with the ICMPv6 header.
func (r Report) Put() (dst netip.Addr, b []byte) {
	if r.Group.Is4() {
		g := r.Group.As4()
		if r.As < 3 {
			b = make([]byte, 8)
			b[0], dst = igmpReport2, r.Group
			if r.Kind == Left {
				b[0], dst = igmpLeave2, allRouters4
			} else if r.As == 1 {
				b[0] = igmpReport1
			}
			copy(b[4:], g[:])
			return dst, b
		}
		b = make([]byte, 16)
		b[0], b[7], b[8] = igmpReport3, 1, byte(r.Kind)
		copy(b[12:], g[:])
		return igmpRouters, b
	}
	g := r.Group.As16()
	if r.As < 3 {
		b = make([]byte, 24)
		b[0], dst = MLDReport1, r.Group
		if r.Kind == Left {
			b[0], dst = MLDDone1, allRouters6
		}
		copy(b[8:], g[:])
		return dst, b
	}
	b = make([]byte, 28)
	b[0], b[7], b[8] = MLDReport2, 1, byte(r.Kind)
	copy(b[12:], g[:])
	return mldRouters, b
}
