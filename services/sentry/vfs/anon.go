package vfs

import (
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
)

// Reopener is an Impl without a place in the tree that can be opened again by
// /proc/PID/fd/N: a pipe, a terminal. Without it that is ENXIO, as for sockets.
type Reopener interface {
	Reopen(ctx Context, flags linux.OpenFlags) (Impl, error)
}

// anonymous is the file system of objects without a place: pipes, sockets,
// eventfds. Each has a Dentry, so that what asks for a Path always finds one.
type anonymous struct{ dev uint64 }

var (
	anonFS    = &anonymous{NewDev()}
	anonSuper = &super{fs: anonFS, holds: 1}
	anonMount = &Mount{id: 15, super: anonSuper, source: "anon_inodefs"}
	anonInode atomic.Uint64
)

func init() {
	anonSuper.root = newDentry(anonSuper, nil, "/", &anonNode{ino: 1})
	anonMount.root = anonSuper.root
	anonMount.users.Store(1)
	anonMount.ns = &Namespace{root: anonMount}
	anonMount.ns.table.Store(&map[Path]*Mount{})
}

func (a *anonymous) Type() string { return "anon_inodefs" }
func (a *anonymous) Root() Node   { return anonSuper.root.node }
func (a *anonymous) Statfs(Context) (linux.Statfs, error) {
	return linux.Statfs{Type: linux.ANON_INODE_FS_MAGIC, Bsize: 4096, Frsize: 4096, Namelen: linux.NAME_MAX}, nil
}

// anonNode is the node of an object without a place. Attributes are what chmod
// and chown made of them.
type anonNode struct {
	impl  Impl
	ino   uint64
	mode  atomic.Uint32
	owner atomic.Uint64 // uid | gid<<32
	made  linux.Timespec
}

func newAnonPath(impl Impl, name string) Path {
	if o, ok := impl.(Noder); ok {
		return Path{anonMount, newDentry(anonSuper, anonSuper.root, name, o.Node())}
	}
	n := &anonNode{impl: impl, ino: anonInode.Add(1) + 1000, made: linux.TimespecAt(time.Now())}
	n.mode.Store(0o600)
	return Path{anonMount, newDentry(anonSuper, anonSuper.root, name, n)}
}

func (n *anonNode) Attr(ctx Context) (Attr, error) {
	o := n.owner.Load()
	return Attr{
		Dev: anonFS.dev, Ino: n.ino, Mode: n.mode.Load(), Nlink: 1, UID: uint32(o), GID: uint32(o >> 32),
		Blksize: 4096, Atime: n.made, Mtime: n.made, Ctime: n.made,
	}, nil
}

func (n *anonNode) SetAttr(ctx Context, s SetAttr) error {
	if s.Mask&SetMode != 0 {
		n.mode.Store(n.mode.Load()&linux.S_IFMT | s.Mode&linux.S_IALL)
	}
	o := n.owner.Load()
	if s.Mask&SetUID != 0 {
		o = o>>32<<32 | uint64(s.UID)
	}
	if s.Mask&SetGID != 0 {
		o = o&(1<<32-1) | uint64(s.GID)<<32
	}
	n.owner.Store(o)
	return nil
}

// Permit leaves the check to the object: who can name it, has it open.
func (n *anonNode) Permit(Context, uint32) error { return nil }

func (n *anonNode) Open(ctx Context, flags linux.OpenFlags) (Impl, error) {
	if r, ok := n.impl.(Reopener); ok {
		return r.Reopen(ctx, flags)
	}
	return nil, linux.ENXIO
}

// Bindable is the node of an object without a place that can be given one by a bind
// mount: a namespace.
type Bindable interface {
	Node
	// FileSystem has it for its root.
	FileSystem() FileSystem
}

// Noder is an Impl without a place in the tree that has a node of its own: a
// memfd.
type Noder interface {
	Node() Node
}
