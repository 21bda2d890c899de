package inet

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"bulkhead/proto/linux"
)

// maxSyn is how much of a SYN is saved, in bytes: the longest headers of IP and TCP, and
// of Ethernet.
const maxSyn = 14 + 60 + 60

// saveSyn keeps the headers of the SYN that began the connection: TCP_SAVE_SYN of
// tcp(7). With 2 those of Ethernet come first, which of the loopback are zeros.
func (s *Stream) saveSyn(b []byte) {
	b = b[:min(len(b), maxSyn)]
	s.conf.mu.Lock()
	link := s.conf.kept[optionKey{linux.IPPROTO_TCP, linux.TCP_SAVE_SYN}] == 2
	s.conf.mu.Unlock()
	if link && len(b) > 0 {
		ether := make([]byte, 12, 14+len(b))
		if b[0]>>4 == 6 {
			ether = append(ether, 0x86, 0xdd)
		} else {
			ether = append(ether, 8, 0)
		}
		b = append(ether, b...)
	}
	s.syn.Store(&b)
}

// takeSyn is TCP_SAVED_SYN: it is told once, and nothing after that. EINVAL without room
// for all of it.
func (s *Stream) takeSyn(room int) ([]byte, error) {
	b := s.syn.Load()
	switch {
	case b == nil:
		return []byte{}, nil
	case room < len(*b):
		return nil, linux.EINVAL
	}
	s.syn.Store(nil)
	return *b, nil
}

// loopbackSyn makes the SYN that a connection within the sentry would begin with, as
// Linux's loopback carries it.
func loopbackSyn(from, to netip.AddrPort) []byte {
	be := binary.BigEndian
	var b []byte
	if src, dst := from.Addr().Unmap(), to.Addr().Unmap(); src.Is4() {
		b = append(b, 0x45, 0, 0, 60)
		b = be.AppendUint32(b, rand.Uint32()&0xffff0000|0x4000) // identification, don't fragment
		b = append(b, 64, linux.IPPROTO_TCP, 0, 0)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(be.Uint16(b[i:]))
		}
		be.PutUint16(b[10:], ^uint16(sum+sum>>16))
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, 40, linux.IPPROTO_TCP, 64)
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	}
	b = be.AppendUint16(be.AppendUint16(b, from.Port()), to.Port())
	b = be.AppendUint32(b, rand.Uint32())
	b = append(b, 0, 0, 0, 0, 0xa0, 2, 0xff, 0xd7, 0, 0, 0, 0) // no acknowledgement; 40 bytes, SYN; window 65495
	b = append(b, 2, 4, 0xff, 0xd7, 4, 2, 8, 10)               // MSS 65495, SACK, timestamps
	b = be.AppendUint32(b, rand.Uint32())
	return append(b, 0, 0, 0, 0, 1, 3, 3, 7)
}
