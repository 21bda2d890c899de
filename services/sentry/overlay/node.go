package overlay

import (
	"sync"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// node is any object of an overlay.
type node interface {
	vfs.Node
	base() *inode
}

// inode is what all nodes have in common: where the object is in the lower and
// in the upper. It has one of them, or both once it is copied up.
type inode struct {
	fs     *FileSystem
	lower  vfs.Node // nil: made in the upper
	parent *dir     // where the lower object was found
	name   string
	self   node

	upper   atomic.Pointer[vfs.Node]
	ino     atomic.Uint64 // once known
	gone    atomic.Bool   // its name in the lower has been hidden
	copying sync.Mutex    // held while it is copied up
}

func (i *inode) base() *inode { return i }

// up is the upper object, or nil.
func (i *inode) up() vfs.Node {
	if p := i.upper.Load(); p != nil {
		return *p
	}
	return nil
}

func (i *inode) setUpper(n vfs.Node) { i.upper.Store(&n) }

// real is the object that counts: the upper if there is one.
func (i *inode) real() vfs.Node {
	if n := i.up(); n != nil {
		return n
	}
	return i.lower
}

// newNode makes the node of an object of the lower, or of one only in the upper.
func (fs *FileSystem) newNode(parent *dir, name string, lower, upper vfs.Node) node {
	kind := lower
	if kind == nil {
		kind = upper
	}
	var n node
	switch kind.(type) {
	case vfs.Directory:
		d := &dir{}
		d.init(fs, parent, name, lower)
		n = d
	case vfs.Symlink:
		l := &symlink{}
		l.init(fs, parent, name, lower, l)
		n = l
	default:
		f := &file{}
		f.init(fs, parent, name, lower, f)
		n = f
	}
	if upper != nil {
		n.base().setUpper(upper)
		n = fs.keep(upper, n)
	}
	return n
}

func (i *inode) init(fs *FileSystem, parent *dir, name string, lower vfs.Node, self node) {
	i.fs, i.parent, i.name, i.lower, i.self = fs, parent, name, lower, self
}

// Attr is stat(2): the device is the overlay's and the inode number stays what
// it was when the object is copied up.
func (i *inode) Attr(ctx vfs.Context) (vfs.Attr, error) {
	a, err := i.real().Attr(ctx)
	if err != nil {
		return a, err
	}
	ino := i.ino.Load()
	if ino == 0 {
		if i.lower == nil {
			ino = upperInodes + a.Ino
		} else if i.up() == nil {
			ino = i.fs.lowerInode(a.Dev, a.Ino)
		} else {
			la, err := i.lower.Attr(ctx)
			if err != nil {
				return a, err
			}
			ino = i.fs.lowerInode(la.Dev, la.Ino)
		}
		i.ino.Store(ino)
	}
	a.Dev, a.Ino = i.fs.dev, ino
	if i.gone.Load() && i.up() == nil && a.Nlink > 0 {
		a.Nlink--
	}
	return a, nil
}

// SetAttr copies the object up and changes it there.
func (i *inode) SetAttr(ctx vfs.Context, s vfs.SetAttr) error {
	empty := s.Mask&vfs.SetSize != 0 && s.Size == 0
	if err := i.copyUp(!empty); err != nil {
		return err
	}
	return i.up().SetAttr(ctx, s)
}

// NodeAttr: an open file may be the lower's, which knows other attributes.
func (i *inode) NodeAttr() {}

// Xattr is getxattr(2).
func (i *inode) Xattr(ctx vfs.Context, name string) ([]byte, error) {
	if x, ok := i.real().(vfs.Xattrer); ok {
		return x.Xattr(ctx, name)
	}
	return nil, linux.EOPNOTSUPP
}

// ListXattr is listxattr(2).
func (i *inode) ListXattr(ctx vfs.Context) ([]string, error) {
	if x, ok := i.real().(vfs.Xattrer); ok {
		return x.ListXattr(ctx)
	}
	return nil, linux.EOPNOTSUPP
}

func (i *inode) changeXattr(change func(vfs.Xattrer) error) error {
	if err := i.copyUp(true); err != nil {
		return err
	}
	if x, ok := i.up().(vfs.Xattrer); ok {
		return change(x)
	}
	return linux.EOPNOTSUPP
}

// SetXattr is setxattr(2).
func (i *inode) SetXattr(ctx vfs.Context, name string, value []byte, flags int) error {
	return i.changeXattr(func(x vfs.Xattrer) error { return x.SetXattr(ctx, name, value, flags) })
}

// RemoveXattr is removexattr(2). What is not there is not copied up.
func (i *inode) RemoveXattr(ctx vfs.Context, name string) error {
	if _, err := i.Xattr(ctx, name); err != nil {
		return err
	}
	return i.changeXattr(func(x vfs.Xattrer) error { return x.RemoveXattr(ctx, name) })
}

// symlink is a symbolic link.
type symlink struct{ inode }

// Readlink is readlink(2).
func (l *symlink) Readlink(ctx vfs.Context) (string, error) {
	return l.real().(vfs.Symlink).Readlink(ctx)
}

// file is anything else: regular files, and names of devices, FIFOs and sockets.
type file struct{ inode }

// Hold holds the upper file. A lower one is there as long as its node.
func (f *file) Hold() (unhold func()) {
	if h, ok := f.up().(vfs.Holder); ok {
		return h.Hold()
	}
	return nil
}

// Open opens the lower file as it is for reading, so that it can be read and
// mapped at the lower's cost, and the upper one for writing.
func (f *file) Open(ctx vfs.Context, flags linux.OpenFlags) (vfs.Impl, error) {
	if flags.Write() {
		if err := f.copyUp(true); err != nil {
			return nil, err
		}
	}
	if o, ok := f.real().(vfs.Opener); ok {
		return o.Open(ctx, flags)
	}
	return nil, linux.ENXIO
}
