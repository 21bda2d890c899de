package mqueue

import (
	"slices"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// dir is the root, the one directory that there is.
type dir struct{ fs *FileSystem }

func (d *dir) Attr(vfs.Context) (vfs.Attr, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	a := d.fs.meta
	a.Size = int64(20 * len(d.fs.names))
	return a, nil
}

func (d *dir) SetAttr(_ vfs.Context, s vfs.SetAttr) error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	setAttr(&d.fs.meta, s)
	return nil
}

func (d *dir) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if q := d.fs.names[name]; q != nil {
		return q, nil
	}
	return nil, linux.ENOENT
}

func (d *dir) Create(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	q, err := d.fs.make(ctx, name, mode)
	if err != nil {
		return nil, err
	}
	return q, nil
}

func (d *dir) Unlink(_ vfs.Context, name string, child vfs.Node) error {
	d.fs.mu.Lock()
	q := d.fs.names[name]
	if q == nil || vfs.Node(q) != child {
		d.fs.mu.Unlock()
		return linux.ENOENT
	}
	delete(d.fs.names, name)
	d.fs.order = slices.DeleteFunc(d.fs.order, func(n string) bool { return n == name })
	d.fs.mu.Unlock()
	q.mu.Lock()
	q.unlinked = true
	q.mu.Unlock()
	d.fs.settle(q)
	return nil
}

// Nothing but queues has a name here.

func (d *dir) Mkdir(vfs.Context, string, uint32) (vfs.Node, error) { return nil, linux.EPERM }
func (d *dir) Mknod(vfs.Context, string, uint32, uint64) (vfs.Node, error) {
	return nil, linux.EPERM
}
func (d *dir) Symlink(vfs.Context, string, string) (vfs.Node, error) { return nil, linux.EPERM }
func (d *dir) Link(vfs.Context, string, vfs.Node) error              { return linux.EPERM }
func (d *dir) Rmdir(vfs.Context, string, vfs.Node) error             { return linux.EPERM }
func (d *dir) Rename(vfs.Context, string, vfs.Node, vfs.Directory, string, vfs.Node, uint32) error {
	return linux.EPERM
}

// List implements vfs.DirLister. Positions are numbers of queues, which rise.
func (d *dir) List(_ vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	d.fs.mu.Lock()
	var list []vfs.DirEntry
	for _, name := range d.fs.order {
		if q := d.fs.names[name]; int64(q.meta.Ino) > off { // the number does not change
			list = append(list, vfs.DirEntry{Name: name, Ino: q.meta.Ino, Type: linux.DT_REG, Next: int64(q.meta.Ino)})
		}
	}
	d.fs.mu.Unlock()
	for _, e := range list {
		if !emit(e) {
			break
		}
	}
	return nil
}
