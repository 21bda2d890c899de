package linux

import "encoding/binary"

// Types of a directory entry: readdir(3).
const (
	DT_UNKNOWN = 0
	DT_FIFO    = 1
	DT_CHR     = 2
	DT_DIR     = 4
	DT_BLK     = 6
	DT_REG     = 8
	DT_LNK     = 10
	DT_SOCK    = 12
)

// DirentType is the DT_ value of a mode.
func DirentType(mode uint32) uint8 { return uint8(mode >> 12 & 15) }

// AppendDirent64 adds a struct linux_dirent64 of getdents64(2) to b: next is the
// position after it. If that would make b longer than limit, b comes back as it
// was, and false.
func AppendDirent64(b []byte, limit int, ino uint64, next int64, typ uint8, name string) ([]byte, bool) {
	size := (19 + len(name) + 1 + 7) &^ 7
	if len(b)+size > limit {
		return b, false
	}
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, ino)
	b = binary.LittleEndian.AppendUint64(b, uint64(next))
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	b = append(b, typ)
	b = append(b, name...)
	for len(b) < at+size {
		b = append(b, 0)
	}
	return b, true
}

// AppendDirent is AppendDirent64 for struct linux_dirent of getdents(2), which
// has the type in its last byte.
func AppendDirent(b []byte, limit int, ino uint64, next int64, typ uint8, name string) ([]byte, bool) {
	size := (18 + len(name) + 2 + 7) &^ 7
	if len(b)+size > limit {
		return b, false
	}
	at := len(b)
	b = binary.LittleEndian.AppendUint64(b, ino)
	b = binary.LittleEndian.AppendUint64(b, uint64(next))
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	b = append(b, name...)
	for len(b) < at+size-1 {
		b = append(b, 0)
	}
	return append(b, typ), true
}
