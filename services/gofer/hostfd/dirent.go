package hostfd

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Dirent is one name of a directory: getdents64(2). Name is part of the buffer
// that it was read into.
type Dirent struct {
	Name []byte
	Ino  uint64
	Next int64
	Type uint8 // DT_
}

// Offsets in struct linux_dirent64.
const (
	direntIno  = 0
	direntOff  = 8
	direntLen  = 16
	direntType = 18
	direntName = 19
)

// ReadDir reads names of the open directory fd into buf, which should have some
// KiB, and calls emit for each until it says false. more is false at the end.
func ReadDir(fd int, buf []byte, emit func(Dirent) bool) (more bool, err error) {
	n, err := unix.Getdents(fd, buf)
	if err != nil || n <= 0 {
		return false, err
	}
	for b := buf[:n]; len(b) >= direntName; {
		size := int(binary.LittleEndian.Uint16(b[direntLen:]))
		if size < direntName || size > len(b) {
			return false, unix.EIO
		}
		name := b[direntName:size]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		d := Dirent{
			Name: name,
			Ino:  binary.LittleEndian.Uint64(b[direntIno:]),
			Next: int64(binary.LittleEndian.Uint64(b[direntOff:])),
			Type: b[direntType],
		}
		b = b[size:]
		if string(name) == "." || string(name) == ".." {
			continue
		}
		if !emit(d) {
			break
		}
	}
	return true, nil
}

// SeekDir makes the next ReadDir of fd go on at pos: 0, or the Next of a name.
func SeekDir(fd int, pos int64) error {
	_, err := unix.Seek(fd, pos, unix.SEEK_SET)
	return err
}
