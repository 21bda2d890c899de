package vfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/wait"
)

type Dentry struct{ node Node }
type Mount struct{}
type Path struct {
	Mount  *Mount
	Dentry *Dentry
}

func (p Path) Node() Node   { return p.Dentry.node }
func (p Path) IsZero() bool { return p.Dentry == nil }

type MountFlags uint32

const (
	MountReadOnly MountFlags = 1 << iota
	MountNoSUID
	MountNoDev
	MountNoExec
	MountNoAtime
	MountNoDirAtime
	MountRelatime
)

type UnmountFlags = int

type MountInfo struct {
	ID, ParentID int
	Dev          uint64 // st_dev of the file system
	Root         string // path of the mount's root in its file system
	Point        string // path of the mount point under the asked root
	Flags        MountFlags
	Options      string // "rw,nosuid,relatime"
	Type, Source string
	SuperOptions string
}
type Namespace struct{}

func NewNamespace(root FileSystem, flags MountFlags) *Namespace { return nil }
func (ns *Namespace) Root() Path                                { return Path{} }
func (ns *Namespace) Mount(ctx Context, at Path, fs FileSystem, source string, flags MountFlags, subdir ...string) error {
	return linux.ENOSYS
}
func (ns *Namespace) BindMount(ctx Context, from, at Path, recursive bool, flags MountFlags) error {
	return linux.ENOSYS
}
func (ns *Namespace) Remount(ctx Context, at Path, flags MountFlags) error { return linux.ENOSYS }
func (ns *Namespace) Unmount(ctx Context, at Path, flags int) error        { return linux.ENOSYS }
func (ns *Namespace) Mounts() []MountInfo                                  { return nil }
func (ns *Namespace) MountsUnder(root Path) []MountInfo                    { return nil }

type WalkFlags uint32

const (
	NoFollow WalkFlags = 1 << iota
	MustDirectory
	NoSymlinks
	NoMagic
	Beneath
	InRoot
	NoXdev
	Empty
	Cached
)

type Walker struct {
	Ctx       Context
	Root, Cwd Path
}

func Walk(ctx Context, root, start Path, name string, flags WalkFlags) (Path, error) {
	return Path{}, linux.ENOSYS
}
func WalkParent(ctx Context, root, start Path, name string, flags WalkFlags) (dir Path, last string, mustDir bool, err error) {
	return Path{}, "", false, linux.ENOSYS
}
func Open(ctx Context, root, start Path, name string, flags linux.OpenFlags, mode, umask uint32, how WalkFlags) (*File, error) {
	return nil, linux.ENOSYS
}

// OpenPath opens what is at p, without a walk (execve's interpreter, /proc/self/fd).
func OpenPath(ctx Context, p Path, flags linux.OpenFlags) (*File, error) { return nil, linux.ENOSYS }

func Stat(ctx Context, p Path) (Attr, error)                 { return Attr{}, linux.ENOSYS }
func SetStat(ctx Context, p Path, s SetAttr) error           { return linux.ENOSYS }
func Access(ctx Context, p Path, mask uint32) error          { return linux.ENOSYS }
func Readlink(ctx Context, p Path) (string, error)           { return "", linux.ENOSYS }
func Statfs(ctx Context, p Path) (linux.Statfs, error)       { return linux.Statfs{}, linux.ENOSYS }
func PathName(root, p Path) (string, bool)                   { return "", false }
func Xattr(ctx Context, p Path, name string) ([]byte, error) { return nil, linux.ENOSYS }
func SetXattr(ctx Context, p Path, name string, value []byte, flags int) error {
	return linux.ENOSYS
}
func RemoveXattr(ctx Context, p Path, name string) error { return linux.ENOSYS }
func ListXattr(ctx Context, p Path) ([]string, error)    { return nil, linux.ENOSYS }

// The names that WalkParent gives end in "/" where the path did; the calls below
// take them as they are. Modes are already under the umask.

func Mkdir(ctx Context, dir Path, last string, mode uint32) error { return linux.ENOSYS }
func Mknod(ctx Context, dir Path, last string, mode uint32, rdev uint64) error {
	return linux.ENOSYS
}

// MakeSymlink is symlink(2).
func MakeSymlink(ctx Context, dir Path, last string, target string) error { return linux.ENOSYS }
func Unlink(ctx Context, dir Path, last string) error                     { return linux.ENOSYS }
func Rmdir(ctx Context, dir Path, last string) error                      { return linux.ENOSYS }
func Link(ctx Context, old Path, dir Path, last string) error             { return linux.ENOSYS }
func Rename(ctx Context, oldDir Path, oldName string, newDir Path, newName string, flags uint32) error {
	return linux.ENOSYS
}

// FifoOpener makes what stands behind an open FIFO; package pipe sets it.
var FifoOpener func(ctx Context, node Node, flags linux.OpenFlags) (Impl, error)

// DeviceOpener makes what stands behind an open device.
type DeviceOpener func(ctx Context, node Node, rdev uint64, flags linux.OpenFlags) (Impl, error)

// RegisterDevice says what a character device of that number is, on any mount
// without nodev. minors is how many from minor on.
func RegisterDevice(major, minor, minors uint32, open DeviceOpener) {}

// NewDev is a fresh device number for a file system without a device (st_dev).
func NewDev() uint64 { return 0 }

type File struct{}

func NewFile(impl Impl, p Path, flags linux.OpenFlags) *File              { return nil }
func NewAnonFile(impl Impl, name string, flags linux.OpenFlags) *File     { return nil }
func (f *File) IncRef()                                                   {}
func (f *File) DecRef(ctx Context)                                        {}
func (f *File) Read(ctx Context, p []byte) (int, error)                   { return 0, linux.ENOSYS }
func (f *File) Write(ctx Context, p []byte) (int, error)                  { return 0, linux.ENOSYS }
func (f *File) Pread(ctx Context, p []byte, off int64) (int, error)       { return 0, linux.ENOSYS }
func (f *File) Pwrite(ctx Context, p []byte, off int64) (int, error)      { return 0, linux.ENOSYS }
func (f *File) Seek(ctx Context, off int64, whence int) (int64, error)    { return 0, linux.ENOSYS }
func (f *File) ReadDir(ctx Context, emit func(DirEntry) bool) error       { return linux.ENOSYS }
func (f *File) Ioctl(ctx Context, cmd uint32, arg uint64) (uint64, error) { return 0, linux.ENOTTY }
func (f *File) Poll() wait.Events                                         { return 0 }
func (f *File) Queue() *wait.Queue                                        { return nil }
func (f *File) Attr(ctx Context) (Attr, error)                            { return Attr{}, linux.ENOSYS }
func (f *File) SetStat(ctx Context, s SetAttr) error                      { return linux.ENOSYS }
func (f *File) Truncate(ctx Context, size int64) error                    { return linux.ENOSYS }
func (f *File) Allocate(ctx Context, mode uint32, off, n int64) error     { return linux.ENOSYS }
func (f *File) Sync(ctx Context, dataOnly bool) error                     { return linux.ENOSYS }
func (f *File) Flush(ctx Context) error                                   { return nil }
func (f *File) Flags() linux.OpenFlags                                    { return 0 }
func (f *File) SetFlags(ctx Context, flags linux.OpenFlags) error         { return nil }
func (f *File) Path() Path                                                { return Path{} }
func (f *File) Impl() Impl                                                { return nil }
func (f *File) Name() string                                              { return "" }

// Flock is flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN, perhaps with LOCK_NB.
func (f *File) Flock(ctx Context, op int) error { return linux.ENOSYS }

// SetLock is fcntl(F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW).
func (f *File) SetLock(ctx Context, l linux.Flock, ofd, block bool) error { return linux.ENOSYS }

// GetLock is fcntl(F_GETLK, F_OFD_GETLK).
func (f *File) GetLock(ctx Context, l linux.Flock, ofd bool) (linux.Flock, error) {
	return l, linux.ENOSYS
}
