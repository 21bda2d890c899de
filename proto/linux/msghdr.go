package linux

import "encoding/binary"

// Msghdr is struct msghdr of sendmsg(2): addresses and lengths in the guest.
type Msghdr struct {
	Name       uint64
	Namelen    uint32
	Iov        uint64
	Iovlen     uint64
	Control    uint64
	Controllen uint64
	Flags      uint32
}

// Sizes in bytes, and the offsets of what recvmsg(2) writes back.
const (
	SizeofMsghdr     = 56
	SizeofMmsghdr    = 64
	SizeofCmsghdr    = 16
	MsghdrNamelen    = 8
	MsghdrControllen = 40
	MsghdrFlags      = 48
	MmsghdrLen       = 56
)

// ReadMsghdr reads one from b, of SizeofMsghdr bytes at least.
func ReadMsghdr(b []byte) Msghdr {
	le := binary.LittleEndian
	_ = b[SizeofMsghdr-1]
	return Msghdr{
		Name: le.Uint64(b), Namelen: le.Uint32(b[8:]), Iov: le.Uint64(b[16:]), Iovlen: le.Uint64(b[24:]),
		Control: le.Uint64(b[32:]), Controllen: le.Uint64(b[40:]), Flags: le.Uint32(b[48:]),
	}
}

// Put writes m as the kernel does to b, of SizeofMsghdr bytes at least.
func (m *Msghdr) Put(b []byte) {
	le := binary.LittleEndian
	clear(b[:SizeofMsghdr])
	le.PutUint64(b, m.Name)
	le.PutUint32(b[8:], m.Namelen)
	le.PutUint64(b[16:], m.Iov)
	le.PutUint64(b[24:], m.Iovlen)
	le.PutUint64(b[32:], m.Control)
	le.PutUint64(b[40:], m.Controllen)
	le.PutUint32(b[48:], m.Flags)
}

// Cmsg is one control message: cmsg(3).
type Cmsg struct {
	Level, Type int32
	Data        []byte
}

// NextCmsg takes the first control message off b. EINVAL if its length is not
// possible; io is over when rest is shorter than a header.
func NextCmsg(b []byte) (m Cmsg, rest []byte, err error) {
	le := binary.LittleEndian
	if len(b) < SizeofCmsghdr {
		return m, nil, EINVAL
	}
	n := le.Uint64(b)
	if n < SizeofCmsghdr || n > uint64(len(b)) {
		return m, nil, EINVAL
	}
	m = Cmsg{int32(le.Uint32(b[8:])), int32(le.Uint32(b[12:])), b[SizeofCmsghdr:n]}
	if step := (n + 7) &^ 7; step < uint64(len(b)) {
		rest = b[step:]
	}
	return m, rest, nil
}

// AppendCmsg adds a control message to b, padded to eight bytes.
func AppendCmsg(b []byte, level, typ int32, data []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(SizeofCmsghdr+len(data)))
	b = le.AppendUint32(b, uint32(level))
	b = le.AppendUint32(b, uint32(typ))
	b = append(b, data...)
	for len(b)&7 != 0 {
		b = append(b, 0)
	}
	return b
}

// ReadUcred reads one from b.
func ReadUcred(b []byte) Ucred {
	le := binary.LittleEndian
	return Ucred{int32(le.Uint32(b)), le.Uint32(b[4:]), le.Uint32(b[8:])}
}

// Put writes u as the kernel does to b.
func (u Ucred) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(u.PID))
	le.PutUint32(b[4:], u.UID)
	le.PutUint32(b[8:], u.GID)
}
