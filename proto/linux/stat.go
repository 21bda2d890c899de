package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The type bits of a mode, and the three bits above the permissions: inode(7).
const (
	S_IFMT   = unix.S_IFMT
	S_IFSOCK = unix.S_IFSOCK
	S_IFLNK  = unix.S_IFLNK
	S_IFREG  = unix.S_IFREG
	S_IFBLK  = unix.S_IFBLK
	S_IFDIR  = unix.S_IFDIR
	S_IFCHR  = unix.S_IFCHR
	S_IFIFO  = unix.S_IFIFO
	S_ISUID  = unix.S_ISUID
	S_ISGID  = unix.S_ISGID
	S_ISVTX  = unix.S_ISVTX

	S_IRUSR = 0o400
	S_IWUSR = 0o200
	S_IXUSR = 0o100
	S_IRGRP = 0o040
	S_IWGRP = 0o020
	S_IXGRP = 0o010
	S_IROTH = 0o004
	S_IWOTH = 0o002
	S_IXOTH = 0o001
	S_IALL  = 0o7777
)

// Stat is struct stat of stat(2) on x86-64.
type Stat struct {
	Dev     uint64
	Ino     uint64
	Nlink   uint64
	Mode    uint32
	UID     uint32
	GID     uint32
	_       int32
	Rdev    uint64
	Size    int64
	Blksize int64
	Blocks  int64
	Atime   Timespec
	Mtime   Timespec
	Ctime   Timespec
	_       [3]int64
}

// SizeofStat is its size in bytes.
const SizeofStat = 144

// Put writes s as the kernel does to b, of SizeofStat bytes at least.
func (s *Stat) Put(b []byte) {
	le := binary.LittleEndian
	_ = b[SizeofStat-1]
	le.PutUint64(b, s.Dev)
	le.PutUint64(b[8:], s.Ino)
	le.PutUint64(b[16:], s.Nlink)
	le.PutUint32(b[24:], s.Mode)
	le.PutUint32(b[28:], s.UID)
	le.PutUint32(b[32:], s.GID)
	le.PutUint32(b[36:], 0)
	le.PutUint64(b[40:], s.Rdev)
	le.PutUint64(b[48:], uint64(s.Size))
	le.PutUint64(b[56:], uint64(s.Blksize))
	le.PutUint64(b[64:], uint64(s.Blocks))
	s.Atime.Put(b[72:])
	s.Mtime.Put(b[88:])
	s.Ctime.Put(b[104:])
	clear(b[120:SizeofStat])
}

// ReadStat reads what Put writes.
func ReadStat(b []byte) (s Stat) {
	le := binary.LittleEndian
	_ = b[SizeofStat-1]
	s.Dev, s.Ino, s.Nlink = le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])
	s.Mode, s.UID, s.GID = le.Uint32(b[24:]), le.Uint32(b[28:]), le.Uint32(b[32:])
	s.Rdev, s.Size = le.Uint64(b[40:]), int64(le.Uint64(b[48:]))
	s.Blksize, s.Blocks = int64(le.Uint64(b[56:])), int64(le.Uint64(b[64:]))
	s.Atime, s.Mtime, s.Ctime = ReadTimespec(b[72:]), ReadTimespec(b[88:]), ReadTimespec(b[104:])
	return s
}

// Statx is struct statx of statx(2).
type Statx struct {
	Mask           uint32
	Blksize        uint32
	Attributes     uint64
	Nlink          uint32
	UID            uint32
	GID            uint32
	Mode           uint16
	_              uint16
	Ino            uint64
	Size           uint64
	Blocks         uint64
	AttributesMask uint64
	Atime          Timespec
	Btime          Timespec
	Ctime          Timespec
	Mtime          Timespec
	RdevMajor      uint32
	RdevMinor      uint32
	DevMajor       uint32
	DevMinor       uint32
	MountID        uint64
}

// SizeofStatx is its size in bytes.
const SizeofStatx = 256

// The bits of Statx.Mask and Attributes.
const (
	STATX_TYPE        = unix.STATX_TYPE
	STATX_MODE        = unix.STATX_MODE
	STATX_NLINK       = unix.STATX_NLINK
	STATX_UID         = unix.STATX_UID
	STATX_GID         = unix.STATX_GID
	STATX_ATIME       = unix.STATX_ATIME
	STATX_MTIME       = unix.STATX_MTIME
	STATX_CTIME       = unix.STATX_CTIME
	STATX_INO         = unix.STATX_INO
	STATX_SIZE        = unix.STATX_SIZE
	STATX_BLOCKS      = unix.STATX_BLOCKS
	STATX_BASIC_STATS = unix.STATX_BASIC_STATS
	STATX_BTIME       = unix.STATX_BTIME
	STATX_MNT_ID      = unix.STATX_MNT_ID
	STATX__RESERVED   = 0x80000000

	STATX_ATTR_MOUNT_ROOT = unix.STATX_ATTR_MOUNT_ROOT
)

// Put writes s as the kernel does to b, of SizeofStatx bytes at least.
func (s *Statx) Put(b []byte) {
	le := binary.LittleEndian
	clear(b[:SizeofStatx])
	le.PutUint32(b, s.Mask)
	le.PutUint32(b[4:], s.Blksize)
	le.PutUint64(b[8:], s.Attributes)
	le.PutUint32(b[16:], s.Nlink)
	le.PutUint32(b[20:], s.UID)
	le.PutUint32(b[24:], s.GID)
	le.PutUint16(b[28:], s.Mode)
	le.PutUint64(b[32:], s.Ino)
	le.PutUint64(b[40:], s.Size)
	le.PutUint64(b[48:], s.Blocks)
	le.PutUint64(b[56:], s.AttributesMask)
	for i, ts := range [...]Timespec{s.Atime, s.Btime, s.Ctime, s.Mtime} {
		le.PutUint64(b[64+16*i:], uint64(ts.Sec))
		le.PutUint32(b[72+16*i:], uint32(ts.Nsec))
	}
	le.PutUint32(b[128:], s.RdevMajor)
	le.PutUint32(b[132:], s.RdevMinor)
	le.PutUint32(b[136:], s.DevMajor)
	le.PutUint32(b[140:], s.DevMinor)
	le.PutUint64(b[144:], s.MountID)
}

// Major and Minor take a device number apart, Mkdev puts it together: makedev(3).
func Major(dev uint64) uint32 { return unix.Major(dev) }

// Minor is the lower part of a device number.
func Minor(dev uint64) uint32 { return unix.Minor(dev) }

// Mkdev is the device number of major and minor.
func Mkdev(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }

// Modes of faccessat(2) and of vfs.Access.
const (
	F_OK = 0
	X_OK = 1
	W_OK = 2
	R_OK = 4
)

// Flags of fallocate(2).
const (
	FALLOC_FL_KEEP_SIZE      = unix.FALLOC_FL_KEEP_SIZE
	FALLOC_FL_PUNCH_HOLE     = unix.FALLOC_FL_PUNCH_HOLE
	FALLOC_FL_COLLAPSE_RANGE = unix.FALLOC_FL_COLLAPSE_RANGE
	FALLOC_FL_ZERO_RANGE     = unix.FALLOC_FL_ZERO_RANGE
	FALLOC_FL_INSERT_RANGE   = unix.FALLOC_FL_INSERT_RANGE
	FALLOC_FL_UNSHARE_RANGE  = unix.FALLOC_FL_UNSHARE_RANGE
)

// Origins of lseek(2).
const (
	SEEK_SET  = 0
	SEEK_CUR  = 1
	SEEK_END  = 2
	SEEK_DATA = 3
	SEEK_HOLE = 4
)

// Extended attributes: setxattr(2), limits of xattr(7).
const (
	XATTR_CREATE   = unix.XATTR_CREATE
	XATTR_REPLACE  = unix.XATTR_REPLACE
	XATTR_NAME_MAX = 255
	XATTR_SIZE_MAX = 65536
	XATTR_LIST_MAX = 65536
)
