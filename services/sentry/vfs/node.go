// Package vfs is the kernel's view of files: mounts, the path walk with its
// dentry cache, and open file descriptions.
//
// A file system supplies Nodes. A Node has the powers that it implements, one
// small interface each; what it does not implement, vfs answers as Linux does
// (ENOTDIR, EINVAL, EPERM, EROFS...). vfs checks permissions, names, lengths,
// mount flags and types before it calls a power, so that a file system only
// does the thing itself. vfstest holds the suite that each of them runs.
//
// Lock order, a < b for "a is taken first":
//
//	super.renames < dirPart.changes < a file system's own locks
//	dirPart.changes < cache.mu < dirPart.mu
//	File.position < a file system's own locks, locks.mu
//	Namespace.mu < supers.mu
//
// Two dirPart.changes are held only with super.renames (lockTwo). A walk over
// cached names takes one dirPart.mu at a time and nothing else.
package vfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

// Memory is a guest's address space, for calls whose arguments only the object
// understands (ioctl). Both copy all of p or fail with EFAULT.
type Memory interface {
	CopyIn(addr uint64, p []byte) error
	CopyOut(addr uint64, p []byte) error
}

// Context is on whose behalf a call is made: a guest thread, or the kernel
// itself (see Root). It is valid for the length of the call only.
type Context interface {
	wait.Sleeper
	Memory
	Creds() *Creds
	// TGID is the caller's process id, for locks and /proc/self.
	TGID() int32
	// TID is the caller's thread id.
	TID() int32
	// FileSizeLimit is RLIMIT_FSIZE in bytes.
	FileSizeLimit() uint64
}

// Attr is what stat(2) tells. Mode holds the type and the permission bits.
type Attr struct {
	Dev, Ino            uint64
	Mode                uint32
	Nlink               uint32
	UID, GID            uint32
	Rdev                uint64
	Size                int64
	Blksize             uint32
	Blocks              uint64 // of 512 bytes
	Atime, Mtime, Ctime linux.Timespec
	Btime               linux.Timespec // zero where unknown
}

// SetMask says which fields of a SetAttr count.
type SetMask uint32

// The bits of a SetMask. The two Now bits set a time to the present, and the
// time itself is then ignored.
const (
	SetMode SetMask = 1 << iota
	SetUID
	SetGID
	SetSize
	SetAtime
	SetMtime
	SetAtimeNow
	SetMtimeNow
)

// SetAttr is a change of attributes: chmod, chown, truncate, utimensat.
type SetAttr struct {
	Mask         SetMask
	Mode         uint32 // permission bits, 07777
	UID, GID     uint32
	Size         int64
	Atime, Mtime linux.Timespec
}

// Node is one object of a file system: an inode. The same object is the same
// Node for as long as anyone holds it, so that Nodes compare with ==.
type Node interface {
	Attr(ctx Context) (Attr, error)
	// SetAttr changes attributes; vfs has checked that the caller may.
	SetAttr(ctx Context, s SetAttr) error
}

// Directory is a Node that has names in it.
type Directory interface {
	Node
	// Lookup gives the node of name, or ENOENT. Never "." or "..".
	Lookup(ctx Context, name string) (Node, error)
}

// Creator is a Directory in which names can be made and unmade. A file system
// that is read-only does not implement it. mode is already under the umask; new
// nodes belong to the caller's fsuid and fsgid (or the directory's group where
// it has S_ISGID).
type Creator interface {
	Directory
	// Create makes a regular file; EEXIST if the name is taken.
	Create(ctx Context, name string, mode uint32) (Node, error)
	Mkdir(ctx Context, name string, mode uint32) (Node, error)
	Mknod(ctx Context, name string, mode uint32, rdev uint64) (Node, error)
	Symlink(ctx Context, name, target string) (Node, error)
	// Link gives target, a node of the same file system, a further name.
	Link(ctx Context, name string, target Node) error
	// Unlink removes the name of something that is not a directory.
	Unlink(ctx Context, name string, child Node) error
	Rmdir(ctx Context, name string, child Node) error
	// Rename moves child, named name here, to newName in newDir of the same
	// file system; replaced is what had that name, or nil. flags are of
	// renameat2(2): 0 or RENAME_NOREPLACE (already checked), RENAME_EXCHANGE.
	Rename(ctx Context, name string, child Node, newDir Directory, newName string, replaced Node, flags uint32) error
}

// CreateOpener is a Creator that makes and opens in one step, which saves a
// round trip where that is far.
type CreateOpener interface {
	CreateOpen(ctx Context, name string, mode uint32, flags linux.OpenFlags) (Node, Impl, error)
}

// TmpfileMaker makes regular files without a name: O_TMPFILE of open(2).
type TmpfileMaker interface {
	Tmpfile(ctx Context, mode uint32) (Node, error)
}

// Holder is a Node that frees itself without a name and an opener. An O_PATH file
// holds it, since it may be opened by that: open(2). The function, which may be nil,
// lets it go.
type Holder interface {
	Hold() (unhold func())
}

// Symlink is a Node that stands for a path.
type Symlink interface {
	Node
	Readlink(ctx Context) (string, error)
}

// Jumper is a symlink that leads straight to an object rather than to a path:
// /proc/PID/fd/N and its like. Readlink still gives its text.
type Jumper interface {
	Symlink
	Jump(ctx Context) (Path, error)
}

// Opener is a Node that can be opened. A Directory that is not an Opener but a
// DirLister is opened by vfs itself.
type Opener interface {
	// Open gives the implementation of a new open file description. flags have
	// been checked against permissions; O_TRUNC has been carried out by
	// SetAttr, O_CREAT, O_EXCL and O_NOFOLLOW are settled.
	Open(ctx Context, flags linux.OpenFlags) (Impl, error)
}

// DirEntry is one name as readdir(3) shows it. Type is a DT_ constant. Next is
// the position after it, greater than zero and stable while the name exists.
type DirEntry struct {
	Name string
	Ino  uint64
	Type uint8
	Next int64
}

// DirLister is a directory that can be listed. It emits entries from position
// off on (0 is the start) until emit says false. "." and ".." are vfs's own and
// use positions 1 and 2; a lister sees off shifted so that its first is 0.
type DirLister interface {
	List(ctx Context, off int64, emit func(DirEntry) bool) error
}

// Xattrer is a Node with extended attributes: xattr(7). Missing names are
// ENODATA. flags of SetXattr are XATTR_CREATE and XATTR_REPLACE.
type Xattrer interface {
	Xattr(ctx Context, name string) ([]byte, error)
	SetXattr(ctx Context, name string, value []byte, flags int) error
	RemoveXattr(ctx Context, name string) error
	ListXattr(ctx Context) ([]string, error)
}

// Prefetcher is a Directory that is far away. Before a walk looks up two names or
// more that it has no dentries for, one below the other, it may say so; Lookup of
// each is then answered at once. It is a hint: nothing is returned, and nothing
// depends on it. names are components, none of them "." or "..".
type Prefetcher interface {
	Directory
	Prefetch(ctx Context, names []string)
}

// Revalidator is a Directory whose names can change behind vfs's back. It is
// asked before a cached child (nil: a cached absence) is used; false drops it
// and looks up anew. A Directory without it is cached for good.
type Revalidator interface {
	Revalidate(ctx Context, name string, child Node) bool
}

// Permitter is a Node that decides itself who may access it (mask of MAY_READ 4,
// MAY_WRITE 2, MAY_EXEC 1), in place of vfs's check of mode and owner.
type Permitter interface {
	Permit(ctx Context, mask uint32) error
}

// FileSystem is one instance that can be mounted.
type FileSystem interface {
	// Type is its name in /proc/mounts: "tmpfs".
	Type() string
	Root() Node
	Statfs(ctx Context) (linux.Statfs, error)
}

// Releaser is a FileSystem that holds something to give back when its last
// mount is gone.
type Releaser interface {
	Release()
}
