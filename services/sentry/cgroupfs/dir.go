package cgroupfs

import (
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// FS is the file system: one, however often it is mounted.
type FS struct{ h *Hierarchy }

// FS is the file system of the tree.
func (h *Hierarchy) FS() *FS {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fs == nil {
		h.fs = &FS{h}
	}
	return h.fs
}

// Type implements vfs.FileSystem.
func (fs *FS) Type() string { return "cgroup2" }

// Root implements vfs.FileSystem.
func (fs *FS) Root() vfs.Node { return fs.h.root }

// Options implements vfs.Optioner: a namespace is a boundary of delegation.
func (fs *FS) Options() string { return "nsdelegate" }

// Statfs implements vfs.FileSystem.
func (fs *FS) Statfs(vfs.Context) (linux.Statfs, error) {
	return linux.Statfs{
		Type: linux.CGROUP2_SUPER_MAGIC, Bsize: 4096, Frsize: 4096, Namelen: linux.NAME_MAX, Flags: linux.ST_VALID,
		FSID: [2]int32{int32(fs.h.dev), 0},
	}, nil
}

// Attr implements vfs.Node.
func (c *Cgroup) Attr(ctx vfs.Context) (vfs.Attr, error) {
	a, err := c.node.Attr(ctx)
	c.h.mu.Lock()
	a.Nlink = 2 + uint32(len(c.children))
	c.h.mu.Unlock()
	return a, err
}

// hasLocked says whether the group has a file of that kind.
func (c *Cgroup) hasLocked(k *kind) bool { return k.of&^c.controllersLocked() == 0 }

// find gives what has a name in the group, or nil.
func (c *Cgroup) find(name string) vfs.Node {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.dead {
		return nil
	}
	if child := c.children[name]; child != nil {
		return child
	}
	if f := c.fileLocked(name); f != nil {
		return f
	}
	return nil
}

// fileLocked gives the file of that name, or nil.
func (c *Cgroup) fileLocked(name string) *file {
	k := lookupKind(name)
	if k == nil || !c.hasLocked(k) {
		return nil
	}
	if f := c.files[name]; f != nil {
		return f
	}
	who, ok := c.owners[k.of]
	if !ok {
		who = c.maker
	}
	f := &file{of: c, kind: k}
	f.node.init(c.h, linux.S_IFREG|k.mode, who.uid, who.gid)
	if k.notifies {
		f.notifier = &notifier{file: f}
		f.notifier.changes.Store(1)
	}
	if c.files == nil {
		c.files = map[string]*file{}
	}
	c.files[name] = f
	return f
}

// Lookup implements vfs.Directory.
func (c *Cgroup) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	if n := c.find(name); n != nil {
		return n, nil
	}
	return nil, linux.ENOENT
}

// Revalidate implements vfs.Revalidator: files come and go with controllers.
func (c *Cgroup) Revalidate(_ vfs.Context, name string, child vfs.Node) bool {
	return c.find(name) == child
}

// List implements vfs.DirLister: the files, then the groups below by their numbers.
func (c *Cgroup) List(_ vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	type entry struct {
		name string
		ino  uint64
	}
	var files, dirs []entry
	c.h.mu.Lock()
	if !c.dead {
		for i := range kinds {
			ino := uint64(0) // of none that is there no more
			if f := c.fileLocked(kinds[i].name); f != nil {
				ino = f.ino
			}
			files = append(files, entry{kinds[i].name, ino})
		}
		for name, child := range c.children {
			dirs = append(dirs, entry{name, child.ino})
		}
	}
	c.h.mu.Unlock()
	for i := off; i < int64(len(files)); i++ {
		if e := files[i]; e.ino != 0 && !emit(vfs.DirEntry{Name: e.name, Ino: e.ino, Type: linux.DT_REG, Next: i + 1}) {
			return nil
		}
	}
	base := int64(len(kinds))
	slices.SortFunc(dirs, func(a, b entry) int { return int(int64(a.ino) - int64(b.ino)) })
	for _, e := range dirs {
		next := base + int64(e.ino)
		if next > off && !emit(vfs.DirEntry{Name: e.name, Ino: e.ino, Type: linux.DT_DIR, Next: next}) {
			return nil
		}
	}
	return nil
}

// Mkdir implements vfs.Creator.
func (c *Cgroup) Mkdir(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	child, err := c.mkdir(ctx.Creds(), name, mode)
	if err != nil {
		return nil, err
	}
	return child, nil
}

// Rmdir implements vfs.Creator.
func (c *Cgroup) Rmdir(_ vfs.Context, _ string, child vfs.Node) error {
	d, ok := child.(*Cgroup)
	if !ok {
		return linux.ENOTDIR
	}
	return c.rmdir(d)
}

// Create implements vfs.Creator: what is no directory cannot be made or unmade.
func (c *Cgroup) Create(vfs.Context, string, uint32) (vfs.Node, error) { return nil, linux.EACCES }

// Mknod implements vfs.Creator.
func (c *Cgroup) Mknod(vfs.Context, string, uint32, uint64) (vfs.Node, error) {
	return nil, linux.EPERM
}

// Symlink implements vfs.Creator.
func (c *Cgroup) Symlink(vfs.Context, string, string) (vfs.Node, error) { return nil, linux.EPERM }

// Link implements vfs.Creator.
func (c *Cgroup) Link(vfs.Context, string, vfs.Node) error { return linux.EPERM }

// Unlink implements vfs.Creator.
func (c *Cgroup) Unlink(vfs.Context, string, vfs.Node) error { return linux.EPERM }

// Rename implements vfs.Creator.
func (c *Cgroup) Rename(_ vfs.Context, _ string, _ vfs.Node, _ vfs.Directory, _ string, _ vfs.Node, flags uint32) error {
	if flags != 0 {
		return linux.EINVAL
	}
	return linux.EPERM
}

var (
	_ vfs.Creator     = (*Cgroup)(nil)
	_ vfs.DirLister   = (*Cgroup)(nil)
	_ vfs.Revalidator = (*Cgroup)(nil)
	_ vfs.Xattrer     = (*Cgroup)(nil)
)
