package gofs

import (
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// owner is whom something new in d belongs to: the caller, or the directory's
// group where it has S_ISGID, which a new directory inherits.
func (d *dir) owner(ctx vfs.Context, typ, mode uint32) (uid, gid, newMode uint32, err error) {
	a, err := d.Attr(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	c := ctx.Creds()
	uid, gid = c.FSUID, c.FSGID
	if a.Mode&linux.S_ISGID != 0 {
		gid = a.GID
		if typ == linux.S_IFDIR {
			mode |= linux.S_ISGID
		}
	}
	return uid, gid, mode & 0o7777, nil
}

// made takes in something new.
func (d *dir) made(name string, resp *pb.Response, typ uint32, text string) (*inode, error) {
	a, ok := attrOf(resp.Attr)
	if !ok || a.Mode&linux.S_IFMT != typ {
		d.doubt()
		return nil, linux.EIO
	}
	n := d.fs.intern(d, name, a, ahead{symlink: text, noXattr: false})
	d.appeared(name, n)
	d.outdate()
	return n, nil
}

// Create makes a regular file.
func (d *writableDir) Create(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	n, _, err := d.create(ctx, name, mode, -1)
	if err != nil {
		return nil, err
	}
	return n.self, nil
}

// CreateOpen makes a regular file and opens it.
func (d *writableDir) CreateOpen(ctx vfs.Context, name string, mode uint32, flags linux.OpenFlags) (vfs.Node, vfs.Impl, error) {
	n, h, err := d.create(ctx, name, mode, accessOf(flags))
	if err != nil {
		return nil, nil, err
	}
	return n.self, newOpenFile(h, flags), nil
}

// create makes a file and, unless access is -1, takes its descriptor.
func (d *writableDir) create(ctx vfs.Context, name string, mode uint32, access int) (*inode, *hostFile, error) {
	uid, gid, mode, err := d.owner(ctx, linux.S_IFREG, mode)
	if err != nil {
		return nil, nil, err
	}
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		return &pb.Request{Op: &pb.Request_Create{Create: &pb.CreateRequest{
			Dir: t, Name: []byte(name), Mode: mode, Uid: uid, Gid: gid, Access: pb.Access(access + 1),
		}}}
	})
	if err != nil {
		d.failed(err)
		return nil, nil, err
	}
	n, err := d.made(name, resp, linux.S_IFREG, "")
	if err != nil || access < 0 {
		closeAll(fds)
		return n, nil, err
	}
	h, err := n.donated(fds, access)
	return n, h, err
}

// failed notes that a change did not come about. Where the error says that the
// cache was wrong, it is dropped.
func (d *dir) failed(err error) {
	switch err {
	case linux.EEXIST, linux.ENOENT, linux.ENOTEMPTY, linux.ENOTDIR, linux.EISDIR, linux.ESTALE, linux.EIO:
		d.doubt()
	}
}

// Mkdir makes a directory.
func (d *writableDir) Mkdir(ctx vfs.Context, name string, mode uint32) (vfs.Node, error) {
	n, err := d.make(ctx, name, linux.S_IFDIR, mode, "")
	if err == nil {
		// Nothing can be in it yet.
		nd := dirOf(n)
		nd.names.Lock()
		nd.list = listing{valid: !nd.fs.shared, entries: []entry{}}
		nd.names.Unlock()
	}
	return n, err
}

// Mknod makes a fifo, a socket or a regular file. A device is refused: in the
// container's root one would be the host's.
func (d *writableDir) Mknod(ctx vfs.Context, name string, mode uint32, rdev uint64) (vfs.Node, error) {
	return d.make(ctx, name, mode&linux.S_IFMT, mode, "")
}

// Symlink makes a link that says target.
func (d *writableDir) Symlink(ctx vfs.Context, name, target string) (vfs.Node, error) {
	return d.make(ctx, name, linux.S_IFLNK, 0o777, target)
}

func (d *writableDir) make(ctx vfs.Context, name string, typ, mode uint32, text string) (vfs.Node, error) {
	if typ == 0 {
		typ = linux.S_IFREG
	}
	uid, gid, mode, err := d.owner(ctx, typ, mode)
	if err != nil {
		return nil, err
	}
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		return &pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{
			Dir: t, Name: []byte(name), Mode: typ | mode, Uid: uid, Gid: gid, Symlink: []byte(text),
		}}}
	})
	closeAll(fds)
	if err != nil {
		d.failed(err)
		return nil, err
	}
	n, err := d.made(name, resp, typ, text)
	if err != nil {
		return nil, err
	}
	return n.self, nil
}

// Link gives target a further name.
func (d *writableDir) Link(ctx vfs.Context, name string, target vfs.Node) error {
	n := nodeOf(target)
	if n == nil || n.fs != d.fs {
		return linux.EXDEV
	}
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		of, _ := d.fs.target(n)
		return &pb.Request{Op: &pb.Request_Link{Link: &pb.LinkRequest{Target: of, Dir: t, Name: []byte(name)}}}
	})
	closeAll(fds)
	if err != nil {
		d.failed(err)
		return err
	}
	if a, ok := attrOf(resp.Attr); ok && n.sameAs(&a) {
		n.learn(a)
	} else {
		n.outdate()
	}
	d.fs.seenAt(n, &d.dir, name)
	d.appeared(name, n)
	d.outdate()
	return nil
}

// Unlink removes a name.
func (d *writableDir) Unlink(ctx vfs.Context, name string, child vfs.Node) error {
	return d.remove(name, child, false)
}

// Rmdir removes an empty directory.
func (d *writableDir) Rmdir(ctx vfs.Context, name string, child vfs.Node) error {
	return d.remove(name, child, true)
}

func (d *writableDir) remove(name string, child vfs.Node, directory bool) error {
	n := nodeOf(child)
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		return &pb.Request{Op: &pb.Request_Unlink{Unlink: &pb.UnlinkRequest{
			Dir: t, Name: []byte(name), Directory: directory, Keep: !directory && n.needsKeeping(),
		}}}
	})
	closeAll(fds)
	if err != nil {
		d.failed(err)
		return err
	}
	d.vanished(name)
	d.outdate()
	n.lostName(&d.dir, name, resp.Kept)
	return nil
}

// needsKeeping says that n must have a handle when it loses a name: somebody has
// it open.
func (n *inode) needsKeeping() bool {
	if n == nil || n.isDir() || !n.inUse() {
		return false
	}
	n.fs.place.RLock()
	defer n.fs.place.RUnlock()
	return n.handle == 0
}

// lostName notes that name in d is not n's any more; kept is the handle that it
// got, or 0.
func (n *inode) lostName(d *dir, name string, kept uint64) {
	if n == nil {
		if kept != 0 {
			d.fs.forgetLater(kept)
		}
		return
	}
	if kept != 0 {
		n.adopt(kept)
	}
	fs := n.fs
	fs.place.Lock()
	fs.moves.Add(1)
	more := n.dropNameLocked(d, name)
	fs.place.Unlock()
	n.mu.Lock()
	last := n.isDir() || n.attr.Nlink <= 1
	switch {
	case last:
		n.attr.Nlink = 0
	case n.attr.Nlink > 0:
		n.attr.Nlink--
	}
	n.stale = !last || n.files != [3]*hostFile{}
	n.mu.Unlock()
	if !last && more {
		return
	}
	// It has no name, or none that is known: then it is another node that will
	// be found by it.
	fs.place.Lock()
	n.gone = true
	fs.place.Unlock()
	fs.disown(n)
	n.closeIdle()
}

// Rename moves child.
func (d *writableDir) Rename(ctx vfs.Context, name string, child vfs.Node, newDir vfs.Directory, newName string, replaced vfs.Node, flags uint32) error {
	to := dirOf(newDir)
	n, old := nodeOf(child), nodeOf(replaced)
	if to == nil || to.fs != d.fs || n == nil {
		return linux.EXDEV
	}
	if err := to.bind(); err != nil {
		return err
	}
	exchange := flags&uint32(linux.RENAME_EXCHANGE) != 0
	resp, fds, err := d.on(func(t *pb.Target) *pb.Request {
		q := &pb.RenameRequest{
			Dir: t, Name: []byte(name), NewName: []byte(newName), Flags: flags,
			Keep: !exchange && old.needsKeeping(),
		}
		q.NewDir, _ = d.fs.target(&to.inode)
		d.fs.place.RLock()
		if q.Child = n.handle; old != nil {
			q.Replaced = old.handle
		}
		d.fs.place.RUnlock()
		return &pb.Request{Op: &pb.Request_Rename{Rename: q}}
	})
	closeAll(fds)
	if err != nil {
		d.failed(err)
		to.failed(err)
		return err
	}
	d.renamed(name, n, to, newName, old, exchange, resp.Kept)
	return nil
}

// renamed takes a rename in.
func (d *dir) renamed(name string, n *inode, to *dir, newName string, old *inode, exchange bool, kept uint64) {
	fs := d.fs
	if old != nil && !exchange && old != n {
		old.lostName(to, newName, kept)
		kept = 0
	}
	if kept != 0 {
		fs.forgetLater(kept)
	}
	fs.place.Lock()
	fs.moves.Add(1)
	n.renameLocked(d, name, to, newName)
	if exchange && old != nil {
		old.renameLocked(to, newName, d, name)
	}
	fs.place.Unlock()
	d.vanished(name)
	to.appeared(newName, n)
	if exchange && old != nil {
		d.appeared(name, old)
		old.outdate()
	}
	n.outdate() // ctime
	d.outdate()
	to.outdate()
}

// renameLocked gives n, or one of its aliases, a new name.
func (n *inode) renameLocked(d *dir, name string, to *dir, newName string) {
	if n.parent == d && n.name == name {
		n.parent, n.name = to, newName
		return
	}
	for i, a := range n.aliases {
		if a.parent == d && a.name == name {
			n.aliases[i] = alias{to, newName}
			return
		}
	}
}
