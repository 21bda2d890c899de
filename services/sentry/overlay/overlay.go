// Package overlay shows two file systems as one: a lower one that nobody
// changes, and an upper one that takes all changes. A file of the lower is copied
// up when it is first changed; what is removed is hidden by a whiteout.
//
// As in Linux's overlayfs without its optional features: a file that was opened
// read-only before it was copied up goes on reading the lower one; a copy up
// parts a lower file from its other names; a directory that the lower has a part
// in cannot be renamed (EXDEV, and mv(1) then copies). Unlike there, whiteouts
// are kept in memory, so the upper must be private to one overlay and start
// empty.
//
// Lock order: node.copying of a child < that of its parent < dir.hides;
// FileSystem.mu is last.
package overlay

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// FileSystem is an overlay.
type FileSystem struct {
	lower, upper vfs.FileSystem
	dev          uint64
	root         *dir

	mu sync.Mutex
	// uppers finds the node of what has been copied up or made in the upper.
	// Those that stem from the lower are kept for good, for their inode number
	// and whiteouts; others until their last name goes.
	uppers map[vfs.Node]node
	devs   map[uint64]uint64 // devices of the lower, numbered as seen
}

// New shows upper, which starts empty, over lower. The overlay owns both.
func New(lower, upper vfs.FileSystem) (*FileSystem, error) {
	lowerRoot, ok1 := lower.Root().(vfs.Directory)
	upperRoot, ok2 := upper.Root().(vfs.Creator)
	if !ok1 || !ok2 {
		return nil, linux.EINVAL
	}
	fs := &FileSystem{
		lower: lower, upper: upper, dev: vfs.NewDev(),
		uppers: make(map[vfs.Node]node), devs: make(map[uint64]uint64),
	}
	fs.root = &dir{}
	fs.root.init(fs, nil, "", lowerRoot)
	if err := fs.copyAttributes(vfs.KernelContext(), lowerRoot, upperRoot); err != nil {
		return nil, err
	}
	fs.root.setUpper(upperRoot)
	fs.uppers[upperRoot] = fs.root
	return fs, nil
}

// Type is "overlay".
func (fs *FileSystem) Type() string { return "overlay" }

// Root is the root directory.
func (fs *FileSystem) Root() vfs.Node { return fs.root }

// Options is what /proc/mounts shows.
func (fs *FileSystem) Options() string { return "lowerdir=lower,upperdir=upper,workdir=work" }

// Statfs tells of the upper, where there is room.
func (fs *FileSystem) Statfs(ctx vfs.Context) (linux.Statfs, error) {
	s, err := fs.upper.Statfs(ctx)
	s.Type = linux.OVERLAYFS_SUPER
	return s, err
}

// Release gives both file systems back.
func (fs *FileSystem) Release() {
	for _, f := range []vfs.FileSystem{fs.upper, fs.lower} {
		if r, ok := f.(vfs.Releaser); ok {
			r.Release()
		}
	}
}

// upperInodes is where the inode numbers of the upper's own files begin; those
// of the lower are below, or far above if they are on a second device.
const upperInodes = 1 << 40

// lowerInode is the inode number that a number of the lower gets here.
func (fs *FileSystem) lowerInode(dev, ino uint64) uint64 {
	fs.mu.Lock()
	n, ok := fs.devs[dev]
	if !ok {
		n = uint64(len(fs.devs))
		fs.devs[dev] = n
	}
	fs.mu.Unlock()
	return ino + n<<48
}

// known gives the node that has this node of the upper, or nil.
func (fs *FileSystem) known(upper vfs.Node) node {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.uppers[upper]
}

// keep makes n the node of upper, unless there is one already; it gives that.
func (fs *FileSystem) keep(upper vfs.Node, n node) node {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if old := fs.uppers[upper]; old != nil {
		return old
	}
	fs.uppers[upper] = n
	return n
}

func (fs *FileSystem) forget(upper vfs.Node) {
	fs.mu.Lock()
	delete(fs.uppers, upper)
	fs.mu.Unlock()
}
