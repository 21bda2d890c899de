package linux

import "encoding/binary"

// Statfs is struct statfs of statfs(2).
type Statfs struct {
	Type    int64
	Bsize   int64
	Blocks  uint64
	Bfree   uint64
	Bavail  uint64
	Files   uint64
	Ffree   uint64
	FSID    [2]int32
	Namelen int64
	Frsize  int64
	Flags   int64
	Spare   [4]int64
}

// SizeofStatfs is its size in bytes.
const SizeofStatfs = 120

// Put writes s as the kernel does to b, of SizeofStatfs bytes at least.
func (s *Statfs) Put(b []byte) {
	le := binary.LittleEndian
	for i, v := range [...]uint64{uint64(s.Type), uint64(s.Bsize), s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree,
		uint64(uint32(s.FSID[0])) | uint64(uint32(s.FSID[1]))<<32, uint64(s.Namelen), uint64(s.Frsize), uint64(s.Flags)} {
		le.PutUint64(b[8*i:], v)
	}
	clear(b[88:SizeofStatfs])
}

// Magic numbers of Statfs.Type: statfs(2).
const (
	TMPFS_MAGIC         = 0x01021994
	RAMFS_MAGIC         = 0x858458f6
	PROC_SUPER_MAGIC    = 0x9fa0
	SYSFS_MAGIC         = 0x62656572
	DEVPTS_SUPER_MAGIC  = 0x1cd1
	OVERLAYFS_SUPER     = 0x794c7630
	EXT4_SUPER_MAGIC    = 0xef53
	CGROUP2_SUPER_MAGIC = 0x63677270
	CGROUP_SUPER_MAGIC  = 0x27e0eb
	PIPEFS_MAGIC        = 0x50495045
	SOCKFS_MAGIC        = 0x534f434b
	ANON_INODE_FS_MAGIC = 0x09041934
	MQUEUE_MAGIC        = 0x19800202
	NSFS_MAGIC          = 0x6e736673
)

// Flags of Statfs.Flags.
const (
	ST_RDONLY      = 0x1
	ST_NOSUID      = 0x2
	ST_NODEV       = 0x4
	ST_NOEXEC      = 0x8
	ST_SYNCHRONOUS = 0x10
	ST_VALID       = 0x20
	ST_MANDLOCK    = 0x40
	ST_NOATIME     = 0x400
	ST_NODIRATIME  = 0x800
	ST_RELATIME    = 0x1000
	ST_NOSYMFOLLOW = 0x2000
)
