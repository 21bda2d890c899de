package linux

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// SockaddrFamily is the family of a raw address, AF_UNSPEC if it is too short to
// have one.
func SockaddrFamily(b []byte) int {
	if len(b) < 2 {
		return AF_UNSPEC
	}
	return int(binary.LittleEndian.Uint16(b))
}

// ParseSockaddrInet reads struct sockaddr_in or sockaddr_in6. A scope stays in
// the address as its zone index, zone. EINVAL if it is too short, EAFNOSUPPORT
// if it is of another family.
func ParseSockaddrInet(b []byte) (ap netip.AddrPort, zone uint32, err error) {
	if len(b) < 2 {
		return ap, 0, EINVAL
	}
	switch SockaddrFamily(b) {
	case AF_INET:
		if len(b) < SizeofSockaddrIn {
			return ap, 0, EINVAL
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), 0, nil
	case AF_INET6:
		// The scope may be missing.
		if len(b) < SizeofSockaddrIn6Min {
			return ap, 0, EINVAL
		}
		if len(b) >= SizeofSockaddrIn6 {
			zone = binary.LittleEndian.Uint32(b[24:])
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:])), zone, nil
	}
	return ap, 0, EAFNOSUPPORT
}

// AppendSockaddrInet4 adds a struct sockaddr_in to b; an IPv4-mapped address
// becomes its IPv4 form, and any other an unspecified one.
func AppendSockaddrInet4(b []byte, ap netip.AddrPort) []byte {
	b = binary.LittleEndian.AppendUint16(b, AF_INET)
	b = binary.BigEndian.AppendUint16(b, ap.Port())
	var a [4]byte
	if u := ap.Addr().Unmap(); u.Is4() {
		a = u.As4()
	}
	b = append(b, a[:]...)
	return append(b, make([]byte, 8)...)
}

// AppendSockaddrInet6 adds a struct sockaddr_in6 to b; an IPv4 address becomes
// an IPv4-mapped one.
func AppendSockaddrInet6(b []byte, ap netip.AddrPort, zone uint32) []byte {
	b = binary.LittleEndian.AppendUint16(b, AF_INET6)
	b = binary.BigEndian.AppendUint16(b, ap.Port())
	b = binary.LittleEndian.AppendUint32(b, 0)
	var a [16]byte
	if ap.Addr().IsValid() {
		a = ap.Addr().As16()
	}
	b = append(b, a[:]...)
	return binary.LittleEndian.AppendUint32(b, zone)
}

// ParseSockaddrUnix reads struct sockaddr_un: unix(7). A name that begins with
// a NUL is abstract; the empty one is "unnamed" (bind chooses then). EINVAL if
// it is of another family or too short or too long.
func ParseSockaddrUnix(b []byte) (string, error) {
	if len(b) < 2 || len(b) > SizeofSockaddrUn || SockaddrFamily(b) != AF_UNIX {
		return "", EINVAL
	}
	path := b[2:]
	if len(path) == 0 {
		return "", nil
	}
	if path[0] == 0 {
		return string(path), nil
	}
	if i := bytes.IndexByte(path, 0); i >= 0 {
		path = path[:i]
	}
	return string(path), nil
}

// AppendSockaddrUnix adds a struct sockaddr_un of name to b, as getsockname(2)
// gives it: a path ends in a NUL, an abstract name does not, no name is the
// family alone.
func AppendSockaddrUnix(b []byte, name string) []byte {
	b = binary.LittleEndian.AppendUint16(b, AF_UNIX)
	b = append(b, name...)
	if name != "" && name[0] != 0 {
		b = append(b, 0)
	}
	return b
}
