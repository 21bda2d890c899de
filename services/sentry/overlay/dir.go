package overlay

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// dir is a directory. One that is in both file systems is merged.
type dir struct {
	inode

	hides struct {
		sync.Mutex
		names map[string]struct{} // whiteouts: what the lower has, but is not to be seen
	}
}

func (d *dir) init(fs *FileSystem, parent *dir, name string, lower vfs.Node) {
	d.inode.init(fs, parent, name, lower, d)
}

func (d *dir) upperDir() vfs.Creator {
	c, _ := d.up().(vfs.Creator)
	return c
}

// lowerDir is the lower's part, or nil.
func (d *dir) lowerDir() vfs.Directory {
	l, _ := d.lower.(vfs.Directory)
	return l
}

func (d *dir) hidden(name string) bool {
	d.hides.Lock()
	defer d.hides.Unlock()
	_, ok := d.hides.names[name]
	return ok
}

// hide keeps a name of the lower from being seen again.
func (d *dir) hide(name string) {
	if d.lower == nil {
		return
	}
	d.hides.Lock()
	if d.hides.names == nil {
		d.hides.names = make(map[string]struct{})
	}
	d.hides.names[name] = struct{}{}
	d.hides.Unlock()
}

// Attr is stat(2). A merged directory has 1 link, which find(1) and its like
// take for "unknown".
func (d *dir) Attr(ctx vfs.Context) (vfs.Attr, error) {
	a, err := d.inode.Attr(ctx)
	if d.lower != nil && d.up() != nil && a.Nlink > 1 {
		a.Nlink = 1
	}
	return a, err
}

// Lookup gives what the upper has, or else the lower.
func (d *dir) Lookup(ctx vfs.Context, name string) (vfs.Node, error) {
	if u := d.upperDir(); u != nil {
		upper, err := u.Lookup(ctx, name)
		if err == nil {
			if n := d.fs.known(upper); n != nil {
				return n, nil
			}
			return d.fs.newNode(d, name, nil, upper), nil
		}
		if err != linux.ENOENT {
			return nil, err
		}
	}
	l := d.lowerDir()
	if l == nil || d.hidden(name) {
		return nil, linux.ENOENT
	}
	lower, err := l.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return d.fs.newNode(d, name, lower, nil), nil
}

// Prefetch passes a walk's hint on to the lower.
func (d *dir) Prefetch(ctx vfs.Context, names []string) {
	if p, ok := d.lower.(vfs.Prefetcher); ok && !d.hidden(names[0]) {
		p.Prefetch(ctx, names)
	}
}

// made copies the directory up and makes something in it there.
func (d *dir) made(name string, make func(vfs.Creator) (vfs.Node, error)) (vfs.Node, error) {
	if err := d.copyUp(false); err != nil {
		return nil, err
	}
	upper, err := make(d.upperDir())
	if err != nil {
		return nil, err
	}
	return d.fs.newNode(d, name, nil, upper), nil
}

// Create makes a regular file.
func (d *dir) Create(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	return d.made(name, func(u vfs.Creator) (vfs.Node, error) { return u.Create(ctx, name, mode) })
}

// Mkdir makes a directory. What the lower may have had of that name stays hidden.
func (d *dir) Mkdir(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	return d.made(name, func(u vfs.Creator) (vfs.Node, error) { return u.Mkdir(ctx, name, mode) })
}

// Mknod makes a device, FIFO or socket.
func (d *dir) Mknod(ctx vfs.Context, name string, mode uint32, rdev uint64) (vfs.Node, error) {
	return d.made(name, func(u vfs.Creator) (vfs.Node, error) { return u.Mknod(ctx, name, mode, rdev) })
}

// Symlink makes a symbolic link.
func (d *dir) Symlink(ctx vfs.Context, name, target string) (vfs.Node, error) {
	return d.made(name, func(u vfs.Creator) (vfs.Node, error) { return u.Symlink(ctx, name, target) })
}

// Tmpfile makes a file without a name.
func (d *dir) Tmpfile(ctx vfs.Context, mode uint32) (vfs.Node, error) {
	if err := d.copyUp(false); err != nil {
		return nil, err
	}
	t, ok := d.up().(vfs.TmpfileMaker)
	if !ok {
		return nil, linux.EOPNOTSUPP
	}
	upper, err := t.Tmpfile(ctx, mode)
	if err != nil {
		return nil, err
	}
	f := &file{}
	f.init(d.fs, d, "", nil, f)
	f.setUpper(upper)
	return f, nil
}

// Link copies target up and gives it a further name.
func (d *dir) Link(ctx vfs.Context, name string, target vfs.Node) error {
	t, ok := target.(node)
	if !ok || t.base().fs != d.fs {
		return linux.EXDEV
	}
	if err := t.base().copyUp(true); err != nil {
		return err
	}
	if err := d.copyUp(false); err != nil {
		return err
	}
	if err := d.upperDir().Link(ctx, name, t.base().up()); err != nil {
		return err
	}
	d.fs.keep(t.base().up(), t) // news only of what O_TMPFILE made
	return nil
}

// Unlink removes a name.
func (d *dir) Unlink(ctx vfs.Context, name string, child vfs.Node) error {
	return d.remove(name, child, func(u vfs.Creator, c vfs.Node) error { return u.Unlink(ctx, name, c) })
}

// Rmdir removes a directory of which nothing is to be seen.
func (d *dir) Rmdir(ctx vfs.Context, name string, child vfs.Node) error {
	if err := emptied(ctx, child); err != nil {
		return err
	}
	return d.remove(name, child, func(u vfs.Creator, c vfs.Node) error { return u.Rmdir(ctx, name, c) })
}

// emptied gives ENOTEMPTY for a directory in which something is to be seen.
func emptied(ctx vfs.Context, n vfs.Node) error {
	c, ok := n.(*dir)
	if !ok {
		return linux.ENOTDIR
	}
	list, err := c.snapshot(ctx)
	if err == nil && len(list) > 0 {
		return linux.ENOTEMPTY
	}
	return err
}

func (d *dir) remove(name string, child vfs.Node, fromUpper func(vfs.Creator, vfs.Node) error) error {
	c, ok := child.(node)
	if !ok {
		return linux.EINVAL
	}
	if err := d.copyUp(false); err != nil {
		return err
	}
	b := c.base()
	b.copying.Lock() // it is not copied up meanwhile
	defer b.copying.Unlock()
	upper := b.up()
	if upper != nil {
		if err := fromUpper(d.upperDir(), upper); err != nil {
			return err
		}
	}
	if b.lower != nil {
		d.hide(name)
		b.gone.Store(true)
	}
	if upper == nil {
		d.touch()
	}
	d.fs.unnamed(upper)
	return nil
}

// unnamed forgets an upper object that has lost its last name.
func (fs *FileSystem) unnamed(upper vfs.Node) {
	if upper == nil {
		return
	}
	if a, err := upper.Attr(vfs.KernelContext()); err == nil && a.Nlink > 0 {
		if _, isDir := upper.(vfs.Directory); !isDir {
			return
		}
	}
	fs.forget(upper)
}

// touch sets the times of a directory in which only a whiteout was made.
func (d *dir) touch() {
	d.up().SetAttr(vfs.KernelContext(), vfs.SetAttr{Mask: vfs.SetMtimeNow})
}

// fixed says whether n is a directory that the lower has a part in.
func fixed(n vfs.Node) bool {
	d, ok := n.(*dir)
	return ok && d.lower != nil
}

// Rename is renameat2(2). EXDEV for a directory that the lower has a part in.
func (d *dir) Rename(ctx vfs.Context, name string, child vfs.Node, newDir vfs.Directory, newName string, replaced vfs.Node, flags uint32) error {
	to, ok := newDir.(*dir)
	if !ok || to.fs != d.fs {
		return linux.EXDEV
	}
	exchange := flags&uint32(linux.RENAME_EXCHANGE) != 0
	if fixed(child) || exchange && fixed(replaced) {
		return linux.EXDEV
	}
	c, ok := child.(node)
	if !ok {
		return linux.EINVAL
	}
	r, _ := replaced.(node)
	if _, isDir := replaced.(*dir); isDir && !exchange {
		if err := emptied(ctx, replaced); err != nil {
			return err
		}
	}
	up := []*inode{c.base(), d.base(), to.base()}
	if exchange {
		up = append(up, r.base())
	}
	for _, b := range up {
		if err := b.copyUp(true); err != nil {
			return err
		}
	}
	var over vfs.Node
	if r != nil {
		r.base().copying.Lock()
		defer r.base().copying.Unlock()
		over = r.base().up()
	}
	if err := d.upperDir().Rename(ctx, name, c.base().up(), to.upperDir(), newName, over, flags); err != nil {
		return err
	}
	if c.base().lower != nil {
		d.hide(name)
	}
	if r == nil {
		return nil
	}
	if r.base().lower != nil {
		to.hide(newName)
	}
	if !exchange {
		r.base().gone.Store(true)
		d.fs.unnamed(over)
	}
	return nil
}
