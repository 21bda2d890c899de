package vfs

import "bulkhead/proto/linux"

// openRequest is an open(2) whose flags have been sorted out.
type openRequest struct {
	ctx     Context
	flags   linux.OpenFlags
	mode    uint32 // of a new file, under the umask
	mask    uint32 // what the access mode asks of an existing one
	follow  bool
	created bool
	at      *Dentry // what was last opened
}

// Open resolves a path and opens what is there: open(2), openat2(2). mode is for
// a new file and goes under the umask here. how has the flags of the walk;
// O_NOFOLLOW and O_DIRECTORY come from flags. Without O_CREAT nothing keeps name.
func Open(ctx Context, root, start Path, name string, flags linux.OpenFlags, mode, umask uint32, how WalkFlags) (*File, error) {
	var r openRequest
	if err := r.begin(ctx, flags, mode&^umask); err != nil {
		return nil, err
	}
	if !r.follow {
		how |= NoFollow
	}
	for try := 0; ; try++ {
		var f *File
		var err error
		r.created = false
		if r.flags&linux.O_CREAT != 0 {
			f, err = r.create(root, start, name, how)
		} else {
			f, err = r.existing(root, start, name, how)
		}
		if err == nil {
			f.created = r.created
		}
		// ESTALE: the file went away between its lookup and its opening.
		if err != linux.ESTALE || try == 3 {
			return f, err
		}
		r.settle()
	}
}

// settle waits for whoever is removing the name of what could not be opened.
func (r *openRequest) settle() {
	if r.at == nil {
		return
	}
	if p := r.at.parent(); p != nil {
		p.dir.changes.RLock()
		p.dir.changes.RUnlock()
	}
}

// begin sorts the flags out: EINVAL.
func (r *openRequest) begin(ctx Context, flags linux.OpenFlags, mode uint32) error {
	if flags&linux.O_PATH != 0 {
		flags &= linux.OpenPathValid
	}
	if flags&linux.O_TMPFILE_BIT != 0 {
		if flags&linux.O_TMPFILE != linux.O_TMPFILE || !flags.Write() || flags&linux.O_CREAT != 0 {
			return linux.EINVAL
		}
	}
	if flags&(linux.O_CREAT|linux.O_DIRECTORY) == linux.O_CREAT|linux.O_DIRECTORY {
		return linux.EINVAL
	}
	*r = openRequest{ctx: ctx, flags: flags &^ linux.O_CLOEXEC, mode: mode & linux.S_IALL}
	r.follow = flags&linux.O_NOFOLLOW == 0 && flags&(linux.O_CREAT|linux.O_EXCL) != linux.O_CREAT|linux.O_EXCL
	if flags.Read() {
		r.mask |= MayRead
	}
	if flags.Write() || flags&(linux.O_TRUNC|linux.O_PATH) == linux.O_TRUNC {
		r.mask |= MayWrite
	}
	return nil
}

// OpenPath opens what is at p without a walk, with open(2)'s checks: the script
// of an execve, an AT_EMPTY_PATH.
func OpenPath(ctx Context, p Path, flags linux.OpenFlags) (*File, error) {
	var r openRequest
	if err := r.begin(ctx, flags&^(linux.O_CREAT|linux.O_EXCL), 0); err != nil {
		return nil, err
	}
	return r.open(p)
}

// OpenToRun opens the program at p for reading, and keeps it from being written to
// (Text): ETXTBSY if somebody has it open for that.
func OpenToRun(ctx Context, p Path) (*File, error) {
	t, err := RunFrom(p)
	if err != nil {
		return nil, err
	}
	f, err := OpenPath(ctx, p, linux.O_RDONLY)
	if err != nil {
		t.DecRef()
		return nil, err
	}
	f.text = t
	return f, nil
}

func (r *openRequest) existing(root, start Path, name string, how WalkFlags) (*File, error) {
	if r.flags&linux.O_DIRECTORY != 0 {
		how |= MustDirectory
	}
	p, err := Walk(r.ctx, root, start, name, how)
	if err != nil {
		return nil, err
	}
	if r.flags&linux.O_TMPFILE_BIT != 0 {
		return r.tmpfile(p)
	}
	return r.open(p)
}

// create is open with O_CREAT: the last component may not be there yet.
func (r *openRequest) create(root, start Path, name string, how WalkFlags) (*File, error) {
	w := walk{ctx: r.ctx, root: root, cur: start, flags: how &^ Empty}
	if _, err := w.begin(name); err != nil {
		return nil, err
	}
	for {
		last, err := w.parent()
		if err != nil {
			return nil, err
		}
		if last == "" || last == "." || last == ".." {
			if r.flags&linux.O_EXCL != 0 {
				return nil, linux.EEXIST
			}
			return nil, linux.EISDIR
		}
		if w.slash {
			return nil, linux.EISDIR
		}
		dir := w.cur
		c, f, err := r.lookupOrCreate(dir, last)
		if err != nil || f != nil {
			return f, err
		}
		if r.flags&linux.O_EXCL != 0 {
			return nil, linux.EEXIST
		}
		if err := w.step(c, how&NoFollow == 0); err != nil {
			return nil, err
		}
		if w.rest == "" { // no symlink whose text is still to be walked
			return r.open(w.cur)
		}
	}
}

// lookupOrCreate gives the Dentry of an existing name, or the open file of a new
// one.
func (r *openRequest) lookupOrCreate(dir Path, name string) (*Dentry, *File, error) {
	d := dir.Dentry
	if len(name) > linux.NAME_MAX {
		return nil, nil, linux.ENAMETOOLONG
	}
	if d.dir.revalidator == nil {
		if c := d.cached(name); c != nil && c.node != nil {
			return c, nil, nil
		}
	}
	d.dir.changes.Lock()
	beginNaming()
	c, impl, err := r.createLocked(dir, name)
	endNaming()
	d.dir.changes.Unlock()
	if err != nil || !r.created {
		return c, nil, err
	}
	notify(EventCreate, d, name, c.node)
	p := Path{dir.Mount, c}
	if impl == nil {
		if impl, err = r.implOf(p, linux.S_IFREG, 0); err != nil {
			return nil, nil, err
		}
	}
	return c, r.newFile(impl, p), nil
}

func (r *openRequest) createLocked(dir Path, name string) (*Dentry, Impl, error) {
	d := dir.Dentry
	c, err := d.lookupLocked(r.ctx, name)
	if err != nil || c.node != nil {
		return c, nil, err
	}
	if err := dir.writable(); err != nil {
		return nil, nil, err
	}
	creator, err := mayCreate(r.ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	mode, err := r.modeIn(d)
	if err != nil {
		return nil, nil, err
	}
	var node Node
	var impl Impl
	if co, ok := creator.(CreateOpener); ok {
		node, impl, err = co.CreateOpen(r.ctx, name, mode, r.flags&^(linux.O_CREAT|linux.O_EXCL|linux.O_TRUNC|linux.O_NOFOLLOW))
	} else {
		node, err = creator.Create(r.ctx, name, mode)
	}
	if err == linux.EEXIST && r.flags&linux.O_EXCL == 0 { // made behind our back
		d.drop(c)
		c, err = d.fetch(r.ctx, name)
		if err == nil && c.node == nil {
			err = linux.ESTALE
		}
		return c, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	r.created = true
	c = newDentry(d.super, d, cloneName(name), node)
	d.put(c)
	return c, impl, nil
}

// modeIn is the mode of a new file in d: S_ISGID is not for those outside the
// group of a directory that passes its group on.
func (r *openRequest) modeIn(d *Dentry) (uint32, error) {
	return modeIn(r.ctx, d, linux.S_IFREG|r.mode)
}

func modeIn(ctx Context, d *Dentry, mode uint32) (uint32, error) {
	if mode&(linux.S_ISGID|linux.S_IXGRP) != linux.S_ISGID|linux.S_IXGRP || ctx.Creds().Has(linux.CAP_FSETID) {
		return mode, nil
	}
	a, err := d.node.Attr(ctx)
	if err != nil {
		return 0, err
	}
	if a.Mode&linux.S_ISGID != 0 && !ctx.Creds().InGroup(a.GID) && !ctx.Creds().HasOver(&a, linux.CAP_FSETID) {
		mode &^= linux.S_ISGID
	}
	return mode, nil
}

// tmpfile is open with O_TMPFILE in the directory at p.
func (r *openRequest) tmpfile(p Path) (*File, error) {
	d := p.Dentry
	if !d.IsDir() {
		return nil, linux.ENOTDIR
	}
	if err := p.writable(); err != nil {
		return nil, err
	}
	if err := permit(r.ctx, d.node, MayWrite|MayExec); err != nil {
		return nil, err
	}
	m, ok := d.node.(TmpfileMaker)
	if !ok {
		return nil, linux.EOPNOTSUPP
	}
	mode, err := r.modeIn(d)
	if err != nil {
		return nil, err
	}
	node, err := m.Tmpfile(r.ctx, mode)
	if err != nil {
		return nil, err
	}
	a, err := node.Attr(r.ctx)
	if err != nil {
		return nil, err
	}
	c := newDentry(d.super, d, "#"+decimal(a.Ino), node)
	c.gone.Store(true)
	c.tmpfile = r.flags&linux.O_EXCL == 0
	r.flags &^= linux.O_EXCL | linux.O_TRUNC
	impl, err := r.implOf(Path{p.Mount, c}, linux.S_IFREG, 0)
	if err != nil {
		return nil, err
	}
	return r.newFile(impl, Path{p.Mount, c}), nil
}

func decimal(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// open opens the existing object at p.
func (r *openRequest) open(p Path) (*File, error) {
	r.at = p.Dentry
	if r.flags&linux.O_DIRECTORY != 0 && !p.Dentry.IsDir() {
		return nil, linux.ENOTDIR
	}
	if p.Dentry.link != nil && r.flags&linux.O_PATH == 0 {
		return nil, linux.ELOOP
	}
	if r.flags&linux.O_PATH != 0 {
		o := pathOnly{}
		if h, ok := p.Node().(Holder); ok {
			o.unhold = h.Hold()
		}
		return NewFile(o, p, r.flags), nil
	}
	if p.Dentry.IsDir() && (r.mask&MayWrite != 0 || r.flags&linux.O_CREAT != 0) {
		return nil, linux.EISDIR
	}
	a, err := p.Node().Attr(r.ctx)
	if err != nil {
		return nil, err
	}
	kind := a.Mode & linux.S_IFMT
	if err := r.check(p, &a, kind); err != nil {
		return nil, err
	}
	if kind == linux.S_IFREG {
		if err := breakLeases(r.ctx, p.Node(), r.mask&MayWrite != 0, r.flags&linux.O_NONBLOCK != 0); err != nil {
			return nil, err
		}
	}
	if kind == linux.S_IFREG && r.mask&MayWrite != 0 {
		if err := beginWrite(p.Node()); err != nil {
			return nil, err
		}
		defer endWrite(p.Node()) // the File counts on its own
	}
	if r.flags&linux.O_TRUNC != 0 && kind == linux.S_IFREG {
		s := SetAttr{Mask: SetSize}
		dropPrivs(r.ctx, &a, &s)
		if err := p.Node().SetAttr(r.ctx, s); err != nil {
			return nil, err
		}
		notifyAt(EventModify, p.Dentry)
	}
	impl, err := r.implOf(p, kind, a.Rdev)
	if err != nil {
		return nil, err
	}
	if kind != linux.S_IFREG {
		return NewFile(impl, p, r.flags), nil
	}
	return r.newFile(impl, p), nil
}

// newFile is the File of a regular file. Nobody runs it while it is opened: it is
// new, or a writer has been counted.
func (r *openRequest) newFile(impl Impl, p Path) *File {
	f := NewFile(impl, p, r.flags)
	f.writes = f.Writable() && beginWrite(p.Node()) == nil
	return f
}

// check is may_open: whether somebody may open an object of that kind so.
func (r *openRequest) check(p Path, a *Attr, kind uint32) error {
	if (kind == linux.S_IFCHR || kind == linux.S_IFBLK) && p.Mount.has(MountNoDev) {
		return linux.EACCES
	}
	if pm, ok := p.Node().(Permitter); ok {
		if err := pm.Permit(r.ctx, r.mask); err != nil {
			return err
		}
	} else if err := CheckMode(r.ctx.Creds(), a, r.mask); err != nil {
		return err
	}
	if r.flags&linux.O_NOATIME != 0 && !owns(r.ctx.Creds(), a) {
		return linux.EPERM
	}
	if r.mask&MayWrite != 0 && kind == linux.S_IFREG {
		return p.writable()
	}
	return nil
}

// implOf makes what stands behind the File.
func (r *openRequest) implOf(p Path, kind uint32, rdev uint64) (Impl, error) {
	flags := r.flags &^ (linux.O_CREAT | linux.O_EXCL | linux.O_TRUNC | linux.O_NOFOLLOW | linux.O_DIRECTORY)
	node := p.Node()
	switch kind {
	case linux.S_IFSOCK:
		return nil, linux.ENXIO
	case linux.S_IFIFO:
		if FifoOpener == nil {
			return nil, linux.ENXIO
		}
		return FifoOpener(r.ctx, node, flags)
	case linux.S_IFBLK, linux.S_IFCHR:
		if err := mayUseDevice(r.ctx, kind, rdev, r.mask); err != nil {
			return nil, err
		}
	}
	if kind == linux.S_IFCHR {
		return openDevice(r.ctx, node, rdev, flags)
	}
	if o, ok := node.(Opener); ok {
		return o.Open(r.ctx, flags)
	}
	if _, ok := node.(DirLister); ok {
		return pathOnly{}, nil
	}
	if p.Dentry.IsDir() {
		return nil, linux.EACCES
	}
	return nil, linux.ENXIO
}

// pathOnly is what stands behind an O_PATH file, or a directory that vfs lists.
type pathOnly struct{ unhold func() }

func (o pathOnly) Release() {
	if o.unhold != nil {
		o.unhold()
	}
}
