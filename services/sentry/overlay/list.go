package overlay

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Open gives a listing of its own, so that positions hold while the directory
// changes, or is copied up.
func (d *dir) Open(vfs.Context, linux.OpenFlags) (vfs.Impl, error) { return &openDir{dir: d}, nil }

// openDir is an open directory: what was to be seen when it was last read from
// the start. vfs's lock of the position guards it.
type openDir struct {
	dir  *dir
	list []vfs.DirEntry
}

// Release has nothing to release.
func (o *openDir) Release() {}

// List emits the entries from off on.
func (o *openDir) List(ctx vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	if off == 0 || o.list == nil {
		list, err := o.dir.snapshot(ctx)
		if err != nil {
			return err
		}
		o.list = list
	}
	if off < 0 || off > int64(len(o.list)) {
		return nil
	}
	for _, e := range o.list[off:] {
		if !emit(e) {
			return nil
		}
	}
	return nil
}

// Sync has nothing to write.
func (o *openDir) Sync(vfs.Context, bool) error { return nil }

// snapshot lists what is to be seen: all of the upper, and of the lower what is
// neither there nor hidden.
func (d *dir) snapshot(ctx vfs.Context) ([]vfs.DirEntry, error) {
	list := []vfs.DirEntry{}
	add := func(e vfs.DirEntry) {
		e.Next = int64(len(list) + 1)
		list = append(list, e)
	}
	var seen map[string]bool
	if u := d.upperDir(); u != nil {
		if d.lower != nil {
			seen = make(map[string]bool)
		}
		err := listAll(ctx, u, func(e vfs.DirEntry) bool {
			if seen != nil {
				seen[e.Name] = true
			}
			e.Ino = d.fs.inodeOf(ctx, u, e)
			add(e)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	l := d.lowerDir()
	if l == nil {
		return list, nil
	}
	a, err := l.Attr(ctx)
	if err != nil {
		return nil, err
	}
	err = listAll(ctx, l, func(e vfs.DirEntry) bool {
		if !seen[e.Name] && !d.hidden(e.Name) {
			e.Ino = d.fs.lowerInode(a.Dev, e.Ino)
			add(e)
		}
		return true
	})
	return list, err
}

// inodeOf is the inode number of an entry of the upper.
func (fs *FileSystem) inodeOf(ctx vfs.Context, u vfs.Directory, e vfs.DirEntry) uint64 {
	if upper, err := u.Lookup(ctx, e.Name); err == nil {
		if n := fs.known(upper); n != nil && n.base().lower != nil {
			if a, err := n.Attr(ctx); err == nil {
				return a.Ino
			}
		}
	}
	return upperInodes + e.Ino
}

// listAll lists a directory that lists itself, or what opening it gives does.
func listAll(ctx vfs.Context, d vfs.Directory, emit func(vfs.DirEntry) bool) error {
	if l, ok := d.(vfs.DirLister); ok {
		return l.List(ctx, 0, emit)
	}
	o, ok := d.(vfs.Opener)
	if !ok {
		return linux.ENOTDIR
	}
	impl, err := o.Open(ctx, linux.O_RDONLY|linux.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer impl.Release()
	l, ok := impl.(vfs.DirLister)
	if !ok {
		return linux.ENOTDIR
	}
	return l.List(ctx, 0, emit)
}
