package linux

import "encoding/binary"

// Bits of an inotify mask: inotify(7).
const (
	IN_ACCESS        = 0x001
	IN_MODIFY        = 0x002
	IN_ATTRIB        = 0x004
	IN_CLOSE_WRITE   = 0x008
	IN_CLOSE_NOWRITE = 0x010
	IN_OPEN          = 0x020
	IN_MOVED_FROM    = 0x040
	IN_MOVED_TO      = 0x080
	IN_CREATE        = 0x100
	IN_DELETE        = 0x200
	IN_DELETE_SELF   = 0x400
	IN_MOVE_SELF     = 0x800
	IN_ALL_EVENTS    = 0xfff

	IN_UNMOUNT    = 0x2000
	IN_Q_OVERFLOW = 0x4000
	IN_IGNORED    = 0x8000

	IN_ONLYDIR     = 0x01000000
	IN_DONT_FOLLOW = 0x02000000
	IN_EXCL_UNLINK = 0x04000000
	IN_MASK_CREATE = 0x10000000
	IN_MASK_ADD    = 0x20000000
	IN_ISDIR       = 0x40000000
	IN_ONESHOT     = 0x80000000

	IN_NONBLOCK = 0o4000
	IN_CLOEXEC  = 0o2000000
)

// InotifyEvent is struct inotify_event; its name follows it.
type InotifyEvent struct {
	WD     int32
	Mask   uint32
	Cookie uint32
	Len    uint32 // of the name with its padding, in bytes
}

// SizeofInotifyEvent is its size in bytes, without the name.
const SizeofInotifyEvent = 16

// Put writes e as the kernel does to b.
func (e InotifyEvent) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(e.WD))
	le.PutUint32(b[4:], e.Mask)
	le.PutUint32(b[8:], e.Cookie)
	le.PutUint32(b[12:], e.Len)
}
