package linux

import "encoding/binary"

// Iovec is struct iovec of readv(2): a piece of the guest's memory.
type Iovec struct {
	Base, Len uint64
}

// SizeofIovec is its size in bytes.
const SizeofIovec = 16

// ReadIovec reads one from b.
func ReadIovec(b []byte) Iovec {
	return Iovec{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}
