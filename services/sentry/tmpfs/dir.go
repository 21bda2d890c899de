package tmpfs

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// dir is a directory. Entries are listed newest first, as Linux does, so that
// what is made while listing does not prolong it. fs.tree guards all but inode.
type dir struct {
	inode
	entries map[string]*entry
	order   []*entry // by seq; removed ones are nil
	removed int      // nil entries in order
	lastSeq int64
	dead    bool // removed: nothing can be made in it
}

type entry struct {
	name string
	node based
	seq  int64 // its place in the listing
	kind uint8 // DT_
	at   int   // its index in order
}

// listEnd minus an entry's seq is its position in the listing.
const listEnd = 1 << 60

// Attr is stat(2). The size is Linux's: 20 bytes an entry.
func (d *dir) Attr(vfs.Context) (vfs.Attr, error) {
	d.fs.tree.RLock()
	n := len(d.entries)
	d.fs.tree.RUnlock()
	a := d.attr()
	a.Size = 40 + 20*int64(n)
	return a, nil
}

// Lookup gives the node of name.
func (d *dir) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	d.fs.tree.RLock()
	defer d.fs.tree.RUnlock()
	if e := d.entries[name]; e != nil {
		return e.node, nil
	}
	return nil, linux.ENOENT
}

// List emits the entries after off.
func (d *dir) List(_ vfs.Context, off int64, emit func(vfs.DirEntry) bool) error {
	d.accessed()
	var batch [64]vfs.DirEntry
	for {
		n := d.batch(off, batch[:])
		if n == 0 {
			return nil
		}
		for _, e := range batch[:n] {
			if !emit(e) {
				return nil
			}
			off = e.Next
		}
	}
}

// batch fills buf with entries after off and gives their number.
func (d *dir) batch(off int64, buf []vfs.DirEntry) int {
	d.fs.tree.RLock()
	defer d.fs.tree.RUnlock()
	// The first with seq >= listEnd-off is one too far.
	below := listEnd - off
	lo, hi := 0, len(d.order)
	for lo < hi {
		mid := (lo + hi) / 2
		e, at := d.order[mid], mid
		for e == nil && at+1 < hi {
			at++
			e = d.order[at]
		}
		if e == nil {
			hi = mid
		} else if off != 0 && e.seq >= below {
			hi = mid
		} else {
			lo = at + 1
		}
	}
	n := 0
	for i := lo - 1; i >= 0 && n < len(buf); i-- {
		e := d.order[i]
		if e == nil {
			continue
		}
		buf[n] = vfs.DirEntry{Name: e.name, Ino: e.node.base().ino, Type: e.kind, Next: listEnd - e.seq}
		n++
	}
	return n
}

// add gives node a name that is free. d.fs.tree is held.
func (d *dir) add(name string, node based) {
	d.lastSeq++
	e := &entry{name: name, node: node, seq: d.lastSeq, at: len(d.order), kind: linux.DirentType(node.base().attr().Mode)}
	d.order = append(d.order, e)
	d.entries[name] = e
	if _, ok := node.(*dir); ok {
		d.link(+1)
	}
	d.changed()
}

// take removes a name. d.fs.tree is held.
func (d *dir) take(name string) {
	e := d.entries[name]
	delete(d.entries, name)
	d.order[e.at] = nil
	if d.removed++; d.removed > 16 && d.removed > len(d.order)/2 {
		d.compact()
	}
	if _, ok := e.node.(*dir); ok {
		d.link(-1)
	}
	d.changed()
}

func (d *dir) compact() {
	kept := make([]*entry, 0, len(d.entries)+8)
	for _, e := range d.order {
		if e != nil {
			e.at = len(kept)
			kept = append(kept, e)
		}
	}
	d.order, d.removed = kept, 0
}

// born makes node a new entry of d: it belongs to the caller, or to the group of
// a directory with S_ISGID.
func (d *dir) born(ctx vfs.Context, name string, mode uint32, node based) error {
	d.fs.tree.Lock()
	defer d.fs.tree.Unlock()
	switch {
	case d.dead:
		return linux.ENOENT
	case d.entries[name] != nil:
		return linux.EEXIST
	}
	if err := d.fs.takeInode(); err != nil {
		return err
	}
	d.initChild(ctx, mode, node)
	d.add(name, node)
	return nil
}

func (d *dir) initChild(ctx vfs.Context, mode uint32, node based) {
	creds := ctx.Creds()
	gid := creds.FSGID
	d.mu.Lock()
	if d.mode&linux.S_ISGID != 0 {
		gid = d.gid
		if mode&linux.S_IFMT == linux.S_IFDIR {
			mode |= linux.S_ISGID
		}
	}
	d.mu.Unlock()
	node.base().init(d.fs, mode, creds.FSUID, gid)
}

// Create makes a regular file.
func (d *dir) Create(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	f := &file{}
	if err := d.born(ctx, name, linux.S_IFREG|mode&linux.S_IALL, f); err != nil {
		return nil, err
	}
	return f, nil
}

// Tmpfile makes a regular file without a name.
func (d *dir) Tmpfile(ctx vfs.Context, mode uint32) (vfs.Node, error) {
	if err := d.fs.takeInode(); err != nil {
		return nil, err
	}
	f := &file{}
	d.initChild(ctx, linux.S_IFREG|mode&linux.S_IALL, f)
	f.nlink = 0
	return f, nil
}

// Mkdir makes a directory.
func (d *dir) Mkdir(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	c := &dir{entries: make(map[string]*entry)}
	if err := d.born(ctx, name, linux.S_IFDIR|mode&linux.S_IALL, c); err != nil {
		return nil, err
	}
	c.link(+1)
	return c, nil
}

// Mknod makes a device, FIFO or socket.
func (d *dir) Mknod(ctx vfs.Context, name string, mode uint32, rdev uint64) (vfs.Node, error) {
	if mode&linux.S_IFMT == linux.S_IFREG {
		return d.Create(ctx, name, mode)
	}
	s := &special{rdev: rdev}
	if err := d.born(ctx, name, mode, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Symlink makes a symbolic link.
func (d *dir) Symlink(ctx vfs.Context, name, target string) (vfs.Node, error) {
	l := &symlink{target: target}
	if err := d.born(ctx, name, linux.S_IFLNK|0o777, l); err != nil {
		return nil, err
	}
	return l, nil
}

// maxLinks is how many names a file may have.
const maxLinks = 1 << 20

// Link gives a node a further name.
func (d *dir) Link(_ vfs.Context, name string, target vfs.Node) error {
	node, ok := target.(based)
	if !ok || node.base().fs != d.fs {
		return linux.EXDEV
	}
	d.fs.tree.Lock()
	defer d.fs.tree.Unlock()
	switch {
	case d.dead:
		return linux.ENOENT
	case d.entries[name] != nil:
		return linux.EEXIST
	}
	if f, ok := node.(*file); ok && f.isGone() {
		return linux.ENOENT
	}
	if node.base().attr().Nlink >= maxLinks {
		return linux.EMLINK
	}
	node.base().link(+1)
	d.add(name, node)
	return nil
}

// held gives the entry of name if it is child. d.fs.tree is held.
func (d *dir) held(name string, child vfs.Node) (*entry, error) {
	e := d.entries[name]
	if e == nil || e.node != child {
		return nil, linux.ENOENT
	}
	return e, nil
}

// Unlink removes a name of something that is not a directory.
func (d *dir) Unlink(_ vfs.Context, name string, child vfs.Node) error {
	d.fs.tree.Lock()
	defer d.fs.tree.Unlock()
	e, err := d.held(name, child)
	if err != nil {
		return err
	}
	d.take(name)
	unnamed(e.node)
	return nil
}

// unnamed takes a name off the count; the last may free the node.
func unnamed(n based) {
	if n.base().link(-1) > 0 {
		return
	}
	if f, ok := n.(*file); ok {
		f.freeIfUnused()
		return
	}
	n.base().fs.inodes.Add(-1)
}

// Rmdir removes an empty directory.
func (d *dir) Rmdir(_ vfs.Context, name string, child vfs.Node) error {
	d.fs.tree.Lock()
	defer d.fs.tree.Unlock()
	e, err := d.held(name, child)
	if err != nil {
		return err
	}
	c, ok := e.node.(*dir)
	if !ok {
		return linux.ENOTDIR
	}
	if len(c.entries) > 0 {
		return linux.ENOTEMPTY
	}
	d.take(name)
	c.bury()
	return nil
}

// bury marks an empty directory as removed.
func (d *dir) bury() {
	d.dead = true
	d.mu.Lock()
	d.nlink = 0
	d.mu.Unlock()
	d.fs.inodes.Add(-1)
}

// Rename is renameat2(2).
func (d *dir) Rename(_ vfs.Context, name string, child vfs.Node, newDir vfs.Directory, newName string, replaced vfs.Node, flags uint32) error {
	to, ok := newDir.(*dir)
	if !ok || to.fs != d.fs {
		return linux.EXDEV
	}
	d.fs.tree.Lock()
	defer d.fs.tree.Unlock()
	if to.dead {
		return linux.ENOENT
	}
	e, err := d.held(name, child)
	if err != nil {
		return err
	}
	var old based
	if o := to.entries[newName]; o != nil {
		old = o.node
	}
	if flags&uint32(linux.RENAME_EXCHANGE) != 0 {
		if old == nil {
			return linux.ENOENT
		}
		d.take(name)
		to.take(newName)
		to.add(newName, e.node)
		d.add(name, old)
		old.base().link(0)
		e.node.base().link(0)
		return nil
	}
	if c, ok := old.(*dir); ok && len(c.entries) > 0 {
		return linux.ENOTEMPTY
	}
	d.take(name)
	if old != nil {
		to.take(newName)
		if c, ok := old.(*dir); ok {
			c.bury()
		} else {
			unnamed(old)
		}
	}
	to.add(newName, e.node)
	e.node.base().link(0)
	return nil
}

// releaseAll frees the files of a tree that is gone as a whole. A guest says how
// deep a tree is: no recursion.
func (d *dir) releaseAll() {
	for todo := []*dir{d}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range at.entries {
			switch n := e.node.(type) {
			case *dir:
				todo = append(todo, n)
			case *file:
				n.link(-1)
				n.freeIfUnused()
			}
		}
	}
}
