package vfs

import (
	"strings"

	"bulkhead/proto/linux"
)

// The calls below make and unmake names. They take a directory and a last
// component as WalkParent gives them: it may be ".", ".." or "/", and it ends in
// "/" where the path did. Modes are already under the umask.

// special says whether a last component is none that could be made.
func special(last string) bool {
	last = strings.TrimRight(last, "/")
	return last == "" || last == "." || last == ".."
}

// newName is what mkdir, mknod and symlink have in common: it checks that the
// name is free and may be made, and makes it.
func newName(ctx Context, dir Path, last string, isDir bool, make func(c Creator, name string) (Node, error)) error {
	return reserveName(ctx, dir, last, isDir, func(name string) (Node, error) {
		creator, err := mayCreate(ctx, dir)
		if err != nil {
			return nil, err
		}
		return make(creator, name)
	})
}

// reserveName has make make a name that is free, in a directory on a mount that
// can be written.
func reserveName(ctx Context, dir Path, last string, isDir bool, make func(name string) (Node, error)) error {
	if special(last) {
		return linux.EEXIST
	}
	name := strings.TrimRight(last, "/")
	d := dir.Dentry
	if d.dir == nil {
		return linux.ENOTDIR
	}
	node, err := func() (Node, error) {
		d.dir.changes.Lock()
		defer d.dir.changes.Unlock()
		beginNaming()
		defer endNaming()
		c, err := d.lookupLocked(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case c.node != nil:
			return nil, linux.EEXIST
		case name != last && !isDir:
			return nil, linux.ENOENT
		}
		if err := dir.writable(); err != nil {
			return nil, err
		}
		node, err := make(name)
		if err != nil {
			return nil, err
		}
		d.put(newDentry(d.super, d, cloneName(name), node))
		return node, nil
	}()
	if err == nil {
		notify(EventCreate, d, name, node)
	}
	return err
}

// Mkdir is mkdir(2).
func Mkdir(ctx Context, dir Path, last string, mode uint32) error {
	return newName(ctx, dir, last, true, func(c Creator, name string) (Node, error) {
		return c.Mkdir(ctx, name, mode&(0o777|linux.S_ISVTX))
	})
}

// Mknod is mknod(2). mode has the type; 0 is a regular file. Devices want
// CAP_MKNOD.
func Mknod(ctx Context, dir Path, last string, mode uint32, rdev uint64) error {
	switch mode & linux.S_IFMT {
	case 0:
		mode |= linux.S_IFREG
	case linux.S_IFREG, linux.S_IFCHR, linux.S_IFBLK, linux.S_IFIFO, linux.S_IFSOCK:
	case linux.S_IFDIR:
		return linux.EPERM
	default:
		return linux.EINVAL
	}
	return newName(ctx, dir, last, false, func(c Creator, name string) (Node, error) {
		mode, err := modeIn(ctx, dir.Dentry, mode)
		if err != nil {
			return nil, err
		}
		switch mode & linux.S_IFMT {
		case linux.S_IFREG:
			return c.Create(ctx, name, mode)
		case linux.S_IFCHR, linux.S_IFBLK:
			if !ctx.Creds().Has(linux.CAP_MKNOD) {
				return nil, linux.EPERM
			}
			if err := mayUseDevice(ctx, mode, rdev, 0); err != nil {
				return nil, err
			}
		default:
			rdev = 0
		}
		return c.Mknod(ctx, name, mode, rdev)
	})
}

// MakeSymlink is symlink(2).
func MakeSymlink(ctx Context, dir Path, last string, target string) error {
	if target == "" {
		return linux.ENOENT
	}
	if len(target) >= linux.PATH_MAX {
		return linux.ENAMETOOLONG
	}
	return newName(ctx, dir, last, false, func(c Creator, name string) (Node, error) {
		return c.Symlink(ctx, name, target)
	})
}

// Link is link(2): old gets a further name.
func Link(ctx Context, old Path, dir Path, last string) error {
	err := reserveName(ctx, dir, last, false, func(name string) (node Node, err error) {
		var creator Creator
		node = old.Node()
		if old.Mount != dir.Mount {
			return nil, linux.EXDEV
		}
		if err := mayLink(ctx, node); err != nil {
			return nil, err
		}
		if creator, err = mayCreate(ctx, dir); err != nil {
			return nil, err
		}
		if old.Dentry.IsDir() {
			return nil, linux.EPERM
		}
		if old.Dentry.gone.Load() {
			a, err := node.Attr(ctx)
			if err != nil {
				return nil, err
			}
			if a.Nlink == 0 && !old.Dentry.tmpfile {
				return nil, linux.ENOENT
			}
		}
		return node, creator.Link(ctx, name, node)
	})
	if err == nil {
		unforesee(old.Node())
		notifyAt(EventAttrib, old.Dentry)
	}
	return err
}

// victim looks up what a name is to be taken from, with dir.changes held.
func victim(ctx Context, dir *Dentry, last string, isDir bool) (*Dentry, error) {
	name := strings.TrimRight(last, "/")
	c, err := dir.lookupLocked(ctx, name)
	if err != nil {
		return nil, err
	}
	if c.node == nil {
		return nil, linux.ENOENT
	}
	if !isDir && name != last {
		if c.IsDir() {
			return nil, linux.EISDIR
		}
		return nil, linux.ENOTDIR
	}
	if err := mayDelete(ctx, dir, c, isDir); err != nil {
		return nil, err
	}
	if c.mounted.Load() > 0 {
		return nil, linux.EBUSY
	}
	return c, nil
}

// Unlink is unlink(2).
func Unlink(ctx Context, dir Path, last string) error {
	if special(last) {
		return linux.EISDIR
	}
	return remove(ctx, dir, last, false)
}

// Rmdir is rmdir(2).
func Rmdir(ctx Context, dir Path, last string) error {
	switch strings.TrimRight(last, "/") {
	case "":
		return linux.EBUSY
	case ".":
		return linux.EINVAL
	case "..":
		return linux.ENOTEMPTY
	}
	return remove(ctx, dir, last, true)
}

func remove(ctx Context, dir Path, last string, isDir bool) error {
	d := dir.Dentry
	if d.dir == nil {
		return linux.ENOTDIR
	}
	if err := dir.writable(); err != nil {
		return err
	}
	c, err := func() (*Dentry, error) {
		d.dir.changes.Lock()
		defer d.dir.changes.Unlock()
		beginUnnaming()
		defer endUnnaming()
		c, err := victim(ctx, d, last, isDir)
		if err != nil {
			return nil, err
		}
		creator, ok := d.node.(Creator)
		if !ok {
			return nil, linux.EROFS
		}
		name := c.Name()
		if isDir {
			err = creator.Rmdir(ctx, name, c.node)
		} else {
			err = creator.Unlink(ctx, name, c.node)
		}
		if err != nil {
			if err == linux.ENOENT || err == linux.ESTALE {
				d.drop(c)
			}
			return nil, err
		}
		c.gone.Store(true)
		d.forgetName(c)
		return c, nil
	}()
	if err == nil {
		unforesee(c.node)
		notify(EventDelete, d, c.Name(), c.node)
	}
	return err
}

// forgetName caches that c's name, just removed, is free.
func (d *Dentry) forgetName(c *Dentry) {
	d.drop(c)
	if d.dir.revalidator == nil && !d.gone.Load() {
		d.put(newDentry(d.super, d, c.Name(), nil))
	}
}
