package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// FD is a descriptor number as a guest passes it: in a signature it says so.
// AtFDCWD is the one negative value with a meaning.
type FD = int32

// AtFDCWD stands for the current directory in the *at calls: openat(2).
const AtFDCWD FD = unix.AT_FDCWD

// OpenFlags are the flags of open(2) and the status flags of fcntl(2).
type OpenFlags uint32

// The bits of OpenFlags on x86-64. O_LARGEFILE is what the kernel itself adds
// to every open of a 64-bit program, which the C library's 0 hides.
const (
	O_RDONLY    OpenFlags = 0o0
	O_WRONLY    OpenFlags = 0o1
	O_RDWR      OpenFlags = 0o2
	O_ACCMODE   OpenFlags = 0o3
	O_CREAT     OpenFlags = 0o100
	O_EXCL      OpenFlags = 0o200
	O_NOCTTY    OpenFlags = 0o400
	O_TRUNC     OpenFlags = 0o1000
	O_APPEND    OpenFlags = 0o2000
	O_NONBLOCK  OpenFlags = 0o4000
	O_DSYNC     OpenFlags = 0o10000
	O_ASYNC     OpenFlags = 0o20000
	O_DIRECT    OpenFlags = 0o40000
	O_LARGEFILE OpenFlags = 0o100000
	O_DIRECTORY OpenFlags = 0o200000
	O_NOFOLLOW  OpenFlags = 0o400000
	O_NOATIME   OpenFlags = 0o1000000
	O_CLOEXEC   OpenFlags = 0o2000000
	O_SYNC      OpenFlags = 0o4010000
	O_PATH      OpenFlags = 0o10000000
	// O_TMPFILE contains O_DIRECTORY, so that old kernels refuse it.
	O_TMPFILE OpenFlags = 0o20200000
	// O_TMPFILE_BIT is O_TMPFILE's own bit.
	O_TMPFILE_BIT OpenFlags = 0o20000000
)

// Masks of OpenFlags.
const (
	// OpenValid are the flags that open(2) knows; it ignores others and
	// openat2(2) refuses them.
	OpenValid = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
		O_SYNC | O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
		O_CLOEXEC | O_PATH | O_TMPFILE
	// OpenPathValid are those that mean something beside O_PATH.
	OpenPathValid = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC
	// OpenSettable are what fcntl(F_SETFL) changes.
	OpenSettable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME
)

// Valid says that f has only bits that open(2) knows.
func (f OpenFlags) Valid() bool { return f&^OpenValid == 0 }

// Read says that a file opened with f can be read.
func (f OpenFlags) Read() bool { return f&O_PATH == 0 && f&O_ACCMODE != O_WRONLY }

// Write says that a file opened with f can be written. The access mode 3, for
// ioctl only, is neither in Linux; f.Read and f.Write treat it as both for the
// permission check and File refuses the transfer.
func (f OpenFlags) Write() bool { return f&O_PATH == 0 && f&O_ACCMODE != O_RDONLY }

// Has says that all bits of g are in f.
func (f OpenFlags) Has(g OpenFlags) bool { return f&g == g }

// OpenHow is struct open_how of openat2(2).
type OpenHow struct {
	Flags, Mode, Resolve uint64
}

// SizeofOpenHow is OPEN_HOW_SIZE_VER0.
const SizeofOpenHow = 24

// ReadOpenHow reads one from b, of SizeofOpenHow bytes at least.
func ReadOpenHow(b []byte) OpenHow {
	le := binary.LittleEndian
	return OpenHow{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])}
}

// PageSize is the size of a page of memory in bytes.
const PageSize = 4096

// The bits of OpenHow.Resolve.
const (
	RESOLVE_NO_XDEV       = 0x01
	RESOLVE_NO_MAGICLINKS = 0x02
	RESOLVE_NO_SYMLINKS   = 0x04
	RESOLVE_BENEATH       = 0x08
	RESOLVE_IN_ROOT       = 0x10
	RESOLVE_CACHED        = 0x20
	RESOLVE_VALID         = 0x3f
)

// The AT_ flags of the *at calls.
const (
	AT_SYMLINK_NOFOLLOW   = unix.AT_SYMLINK_NOFOLLOW
	AT_EACCESS            = unix.AT_EACCESS
	AT_REMOVEDIR          = unix.AT_REMOVEDIR
	AT_SYMLINK_FOLLOW     = unix.AT_SYMLINK_FOLLOW
	AT_NO_AUTOMOUNT       = unix.AT_NO_AUTOMOUNT
	AT_EMPTY_PATH         = unix.AT_EMPTY_PATH
	AT_STATX_SYNC_TYPE    = 0x6000
	AT_STATX_FORCE_SYNC   = unix.AT_STATX_FORCE_SYNC
	AT_STATX_DONT_SYNC    = unix.AT_STATX_DONT_SYNC
	AT_STATX_SYNC_AS_STAT = unix.AT_STATX_SYNC_AS_STAT
)

// RenameFlags are the flags of renameat2(2).
type RenameFlags uint32

// The bits of RenameFlags.
const (
	RENAME_NOREPLACE RenameFlags = unix.RENAME_NOREPLACE
	RENAME_EXCHANGE  RenameFlags = unix.RENAME_EXCHANGE
	RENAME_WHITEOUT  RenameFlags = unix.RENAME_WHITEOUT
)

// Valid says that f is a combination that renameat2 knows.
func (f RenameFlags) Valid() bool {
	if f&^(RENAME_NOREPLACE|RENAME_EXCHANGE|RENAME_WHITEOUT) != 0 {
		return false
	}
	return f&RENAME_EXCHANGE == 0 || f&(RENAME_NOREPLACE|RENAME_WHITEOUT) == 0
}

// Limits of paths and vectors: limits(5).
const (
	PATH_MAX = 4096
	NAME_MAX = 255
	IOV_MAX  = 1024
	// MAX_RW_COUNT is the most that one read(2) or write(2) moves.
	MAX_RW_COUNT = 0x7ffff000
)
