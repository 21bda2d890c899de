package overlay

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// copyUp makes sure that the object is in the upper, and so are the directories
// above it. data says whether the contents of a regular file are wanted.
func (i *inode) copyUp(data bool) error {
	if i.up() != nil {
		return nil
	}
	i.copying.Lock()
	defer i.copying.Unlock()
	if i.up() != nil {
		return nil
	}
	if err := i.parent.copyUp(false); err != nil {
		return err
	}
	// The kernel copies: who may change a file need not be able to read it.
	ctx := vfs.KernelContext()
	a, err := i.Attr(ctx) // also settles the inode number
	if err != nil {
		return err
	}
	parent := i.parent.upperDir()
	pa, err := parent.Attr(ctx)
	if err != nil {
		return err
	}
	upper, err := i.copyObject(ctx, parent, a, data)
	if err != nil {
		return err
	}
	i.setUpper(upper)
	// A copy up is no change of the directory.
	return parent.SetAttr(ctx, vfs.SetAttr{Mask: vfs.SetAtime | vfs.SetMtime, Atime: pa.Atime, Mtime: pa.Mtime})
}

// copyObject makes the copy in the upper's directory.
func (i *inode) copyObject(ctx vfs.Context, parent vfs.Creator, a vfs.Attr, data bool) (vfs.Node, error) {
	var upper vfs.Node
	var err error
	switch a.Mode & linux.S_IFMT {
	case linux.S_IFREG:
		return i.copyFile(ctx, parent, a, data)
	case linux.S_IFDIR:
		upper, err = parent.Mkdir(ctx, i.name, a.Mode&linux.S_IALL)
	case linux.S_IFLNK:
		var target string
		if target, err = i.lower.(vfs.Symlink).Readlink(ctx); err == nil {
			upper, err = parent.Symlink(ctx, i.name, target)
		}
	default:
		upper, err = parent.Mknod(ctx, i.name, a.Mode, a.Rdev)
	}
	if err != nil {
		return nil, err
	}
	i.fs.keep(upper, i.self)
	return upper, i.fs.copyAttributes(ctx, i.lower, upper)
}

// copyFile copies a regular file without a name, where the upper can, so that
// nobody finds it half done.
func (i *inode) copyFile(ctx vfs.Context, parent vfs.Creator, a vfs.Attr, data bool) (vfs.Node, error) {
	t, nameless := parent.(vfs.TmpfileMaker)
	var upper vfs.Node
	var err error
	switch {
	case nameless:
		upper, err = t.Tmpfile(ctx, linux.S_IFREG|0o600)
	case i.gone.Load():
		return nil, linux.ESTALE
	default:
		upper, err = parent.Create(ctx, i.name, linux.S_IFREG|0o600)
	}
	if err != nil {
		return nil, err
	}
	release, err := i.fill(ctx, upper, a.Size, data)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := i.fs.copyAttributes(ctx, i.lower, upper); err != nil {
		return nil, err
	}
	i.fs.keep(upper, i.self)
	if nameless && !i.gone.Load() {
		if err := parent.Link(ctx, i.name, upper); err != nil {
			i.fs.forget(upper)
			return nil, err
		}
	}
	return upper, nil
}

// copyBlock is how much is copied at a time, in bytes.
const copyBlock = 256 << 10

// fill copies the contents. The copy stays open until release is called, which
// keeps it alive while it has no name.
func (i *inode) fill(ctx vfs.Context, upper vfs.Node, size int64, data bool) (release func(), err error) {
	o, ok := upper.(vfs.Opener)
	if !ok {
		return nil, linux.EIO
	}
	to, err := o.Open(ctx, linux.O_RDWR)
	if err != nil {
		return nil, err
	}
	if !data || size == 0 {
		return to.Release, nil
	}
	if err := i.pour(ctx, to); err != nil {
		to.Release()
		return nil, err
	}
	return to.Release, nil
}

func (i *inode) pour(ctx vfs.Context, to vfs.Impl) error {
	o, ok := i.lower.(vfs.Opener)
	if !ok {
		return linux.EIO
	}
	from, err := o.Open(ctx, linux.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Release()
	r, ok1 := from.(vfs.ReaderAt)
	w, ok2 := to.(vfs.WriterAt)
	if !ok1 || !ok2 {
		return linux.EIO
	}
	buf := make([]byte, copyBlock)
	for off := int64(0); ; {
		n, err := r.ReadAt(ctx, buf, off)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		for part := buf[:n]; len(part) > 0; {
			m, _, err := w.WriteAt(ctx, part, off)
			if err != nil {
				return err
			}
			if m == 0 {
				return linux.EIO
			}
			part, off = part[m:], off+int64(m)
		}
	}
}

// copyAttributes gives to the owner, mode, times and extended attributes of from.
func (fs *FileSystem) copyAttributes(ctx vfs.Context, from, to vfs.Node) error {
	a, err := from.Attr(ctx)
	if err != nil {
		return err
	}
	fx, ok1 := from.(vfs.Xattrer)
	tx, ok2 := to.(vfs.Xattrer)
	if ok1 && ok2 {
		names, err := fx.ListXattr(ctx)
		if err != nil && err != linux.EOPNOTSUPP {
			return err
		}
		for _, name := range names {
			if v, err := fx.Xattr(ctx, name); err == nil {
				if err := tx.SetXattr(ctx, name, v, 0); err != nil && err != linux.EOPNOTSUPP {
					return err
				}
			}
		}
	}
	s := vfs.SetAttr{
		Mask: vfs.SetMode | vfs.SetUID | vfs.SetGID | vfs.SetAtime | vfs.SetMtime,
		Mode: a.Mode & linux.S_IALL, UID: a.UID, GID: a.GID, Atime: a.Atime, Mtime: a.Mtime,
	}
	if a.Mode&linux.S_IFMT == linux.S_IFLNK {
		s.Mask &^= vfs.SetMode
	}
	return to.SetAttr(ctx, s)
}
