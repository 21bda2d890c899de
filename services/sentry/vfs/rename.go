package vfs

import (
	"strings"

	"bulkhead/proto/linux"
)

// renaming is a rename(2) under way, with both directories locked.
type renaming struct {
	ctx              Context
	from, to         *Dentry // directories
	oldLast, newLast string
	flags            uint32
	src, dst         *Dentry
}

// Rename is renameat2(2); flags are its RENAME_ bits. Names are as WalkParent
// gives them.
func Rename(ctx Context, oldDir Path, oldName string, newDir Path, newName string, flags uint32) error {
	if !linux.RenameFlags(flags).Valid() || flags&uint32(linux.RENAME_WHITEOUT) != 0 {
		return linux.EINVAL
	}
	r := &renaming{ctx: ctx, from: oldDir.Dentry, to: newDir.Dentry, oldLast: oldName, newLast: newName, flags: flags}
	switch {
	case r.from.dir == nil || r.to.dir == nil:
		return linux.ENOTDIR
	case oldDir.Mount != newDir.Mount:
		return linux.EXDEV
	case special(oldName):
		return linux.EBUSY
	case special(newName):
		if r.has(linux.RENAME_NOREPLACE) {
			return linux.EEXIST
		}
		return linux.EBUSY
	}
	if err := oldDir.writable(); err != nil {
		return err
	}
	unlock := lockTwo(r.from, r.to)
	beginUnnaming()
	err := r.run()
	endUnnaming()
	unlock()
	if err == nil && r.src != r.dst {
		unforesee(r.src.node)
		unforesee(r.dst.node)
		notifyMove(r.from, strings.TrimRight(r.oldLast, "/"), r.src)
	}
	return err
}

func (r *renaming) has(f linux.RenameFlags) bool { return r.flags&uint32(f) != 0 }

// lockTwo locks the directories of a rename. Who holds two, holds renames too,
// and nobody else waits for a directory with another one locked: so any order
// will do.
func lockTwo(a, b *Dentry) (unlock func()) {
	if a == b {
		a.dir.changes.Lock()
		return a.dir.changes.Unlock
	}
	a.super.renames.Lock()
	a.dir.changes.Lock()
	b.dir.changes.Lock()
	return func() {
		b.dir.changes.Unlock()
		a.dir.changes.Unlock()
		a.super.renames.Unlock()
	}
}

// run checks in the order of Linux's do_renameat2 and vfs_rename, then renames.
func (r *renaming) run() error {
	oldName, newName := strings.TrimRight(r.oldLast, "/"), strings.TrimRight(r.newLast, "/")
	var err error
	if r.src, err = r.from.lookupLocked(r.ctx, oldName); err != nil {
		return err
	}
	if r.src.node == nil {
		return linux.ENOENT
	}
	if r.dst, err = r.to.lookupLocked(r.ctx, newName); err != nil {
		return err
	}
	exchange := r.has(linux.RENAME_EXCHANGE)
	switch {
	case r.has(linux.RENAME_NOREPLACE) && r.dst.node != nil:
		return linux.EEXIST
	case exchange && r.dst.node == nil:
		return linux.ENOENT
	case exchange && !r.dst.IsDir() && newName != r.newLast:
		return linux.ENOTDIR
	case !r.src.IsDir() && (oldName != r.oldLast || !exchange && newName != r.newLast):
		return linux.ENOTDIR
	case r.src.IsDir() && under(r.to, r.src):
		return linux.EINVAL
	case r.dst.IsDir() && under(r.from, r.dst):
		if exchange {
			return linux.EINVAL
		}
		return linux.ENOTEMPTY
	case r.src.node == r.dst.node:
		r.dst = r.src
		return nil
	}
	creator, err := r.permitted()
	if err != nil {
		return err
	}
	if r.src.mounted.Load() > 0 || r.dst.mounted.Load() > 0 {
		return linux.EBUSY
	}
	err = creator.Rename(r.ctx, oldName, r.src.node, r.to.dir.Directory, newName, r.dst.node, r.flags)
	if err != nil {
		return err
	}
	r.moved(oldName, newName)
	return nil
}

func (r *renaming) permitted() (Creator, error) {
	exchange := r.has(linux.RENAME_EXCHANGE)
	if err := mayDelete(r.ctx, r.from, r.src, r.src.IsDir()); err != nil {
		return nil, err
	}
	if r.dst.node == nil {
		if r.to.gone.Load() {
			return nil, linux.ENOENT
		}
		if err := permit(r.ctx, r.to.node, MayWrite|MayExec); err != nil {
			return nil, err
		}
	} else {
		isDir := r.src.IsDir()
		if exchange {
			isDir = r.dst.IsDir()
		}
		if err := mayDelete(r.ctx, r.to, r.dst, isDir); err != nil {
			return nil, err
		}
	}
	creator, ok := r.from.node.(Creator)
	if !ok {
		return nil, linux.EROFS
	}
	if r.from == r.to {
		return creator, nil
	}
	// A directory that gets another parent has its ".." written.
	if r.src.IsDir() {
		if err := permit(r.ctx, r.src.node, MayWrite); err != nil {
			return nil, err
		}
	}
	if exchange && r.dst.IsDir() {
		if err := permit(r.ctx, r.dst.node, MayWrite); err != nil {
			return nil, err
		}
	}
	return creator, nil
}

// moved makes the cache show what has happened.
func (r *renaming) moved(oldName, newName string) {
	moves.Add(1)
	r.from.drop(r.src)
	r.to.drop(r.dst)
	r.src.where.Store(&place{r.to, cloneName(newName)})
	r.to.put(r.src)
	switch {
	case r.has(linux.RENAME_EXCHANGE):
		r.dst.where.Store(&place{r.from, cloneName(oldName)})
		r.from.put(r.dst)
	default:
		if r.dst.node != nil {
			r.dst.gone.Store(true)
		}
		if r.from.dir.revalidator == nil {
			r.from.put(newDentry(r.from.super, r.from, cloneName(oldName), nil))
		}
	}
	moves.Add(1)
}
