// Package pseudo makes file systems out of functions: trees of directories,
// files whose text is generated when it is read, knobs that can be written, and
// links. procfs and sysfs are built of it.
//
// A tree is put together before it is mounted and does not change after, but for
// directories with a Dynamic part, whose names come and go by themselves.
package pseudo

import (
	"sync/atomic"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// FS is one tree. Use New, make nodes with its methods, then SetRoot.
type FS struct {
	name  string
	magic int64
	dev   uint64
	born  linux.Timespec
	ino   atomic.Uint64
	root  vfs.Node

	noName error // what making a name gives
}

// New is an empty tree of the type that /proc/mounts tells; magic is its
// Statfs.Type.
func New(name string, magic int64) *FS {
	return &FS{name: name, magic: magic, dev: vfs.NewDev(), born: linux.TimespecAt(time.Now()), noName: linux.EPERM}
}

// RefuseNames says what making a name in the tree gives, in place of EPERM.
func (fs *FS) RefuseNames(err error) { fs.noName = err }

// SetRoot says which node is mounted.
func (fs *FS) SetRoot(n vfs.Node) { fs.root = n }

// Type implements vfs.FileSystem.
func (fs *FS) Type() string { return fs.name }

// Root implements vfs.FileSystem.
func (fs *FS) Root() vfs.Node { return fs.root }

// Statfs implements vfs.FileSystem.
func (fs *FS) Statfs(vfs.Context) (linux.Statfs, error) {
	return linux.Statfs{
		Type: fs.magic, Bsize: 4096, Frsize: 4096, Namelen: linux.NAME_MAX, Flags: linux.ST_VALID,
		FSID: [2]int32{int32(fs.dev), 0},
	}, nil
}

// Owner tells who a node belongs to. nil means root.
type Owner func() (uid, gid uint32)

// node is what all nodes of a tree share.
type node struct {
	fs    *FS
	ino   uint64
	mode  uint32
	owner Owner
}

func (fs *FS) node(mode uint32, owner Owner) node {
	return node{fs: fs, ino: fs.ino.Add(1), mode: mode, owner: owner}
}

// Ino is the node's number.
func (n *node) Ino() uint64 { return n.ino }

// Attr implements vfs.Node.
func (n *node) Attr(vfs.Context) (vfs.Attr, error) {
	a := vfs.Attr{
		Dev: n.fs.dev, Ino: n.ino, Mode: n.mode, Nlink: 1, Blksize: 1024,
		Atime: n.fs.born, Mtime: n.fs.born, Ctime: n.fs.born,
	}
	if n.owner != nil {
		a.UID, a.GID = n.owner()
	}
	return a, nil
}

// SetAttr implements vfs.Node. Truncating is what a shell's > does to a knob,
// and changes nothing.
func (n *node) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	if s.Mask&^(vfs.SetSize|vfs.SetAtimeNow|vfs.SetMtimeNow) != 0 {
		return linux.EPERM
	}
	return nil
}
