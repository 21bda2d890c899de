package vfs

import "bulkhead/proto/linux"

// What a permission check asks for; the bits of access(2).
const (
	MayExec  = 1
	MayWrite = 2
	MayRead  = 4
)

// CheckMode says whether creds may do mask to an object with those attributes:
// path_resolution(7), "Permissions", and the DAC capabilities of
// capabilities(7). EACCES if not.
func CheckMode(creds *Creds, a *Attr, mask uint32) error {
	mode := a.Mode
	switch {
	case creds.FSUID == a.UID:
		mode >>= 6
	case creds.InGroup(a.GID):
		mode >>= 3
	}
	if mask&^mode&7 == 0 {
		return nil
	}
	if a.Mode&linux.S_IFMT == linux.S_IFDIR {
		if creds.HasOver(a, linux.CAP_DAC_OVERRIDE) || mask&MayWrite == 0 && creds.HasOver(a, linux.CAP_DAC_READ_SEARCH) {
			return nil
		}
		return linux.EACCES
	}
	if mask == MayRead && creds.HasOver(a, linux.CAP_DAC_READ_SEARCH) {
		return nil
	}
	if (mask&MayExec == 0 || a.Mode&0o111 != 0) && creds.HasOver(a, linux.CAP_DAC_OVERRIDE) {
		return nil
	}
	return linux.EACCES
}

// permit checks mask against node.
func permit(ctx Context, node Node, mask uint32) error {
	if p, ok := node.(Permitter); ok {
		return p.Permit(ctx, mask)
	}
	a, err := node.Attr(ctx)
	if err != nil {
		return err
	}
	return CheckMode(ctx.Creds(), &a, mask)
}

const searchCaps Caps = 1<<linux.CAP_DAC_OVERRIDE | 1<<linux.CAP_DAC_READ_SEARCH

// search checks that ctx may look up names in the directory d.
func (d *Dentry) search(ctx Context) error {
	if d.dir.permitter != nil {
		return d.dir.permitter.Permit(ctx, MayExec)
	}
	if c := ctx.Creds(); c.Effective&searchCaps != 0 && c.UserNS == nil {
		return nil
	}
	return permit(ctx, d.node, MayExec)
}

// IsOwner says whether c may do what only the owner of what a describes may.
func (c *Creds) IsOwner(a *Attr) bool { return owns(c, a) }

// owns says whether creds may do what only the owner may: CAP_FOWNER.
func owns(creds *Creds, a *Attr) bool {
	return creds.FSUID == a.UID || creds.HasOver(a, linux.CAP_FOWNER)
}

// mayCreate checks that names may be made in dir.
func mayCreate(ctx Context, dir Path) (Creator, error) {
	if dir.Dentry.gone.Load() {
		return nil, linux.ENOENT
	}
	if err := permit(ctx, dir.Dentry.node, MayWrite|MayExec); err != nil {
		return nil, err
	}
	c, ok := dir.Dentry.node.(Creator)
	if !ok {
		return nil, linux.EROFS
	}
	return c, nil
}

// mayDelete checks that victim's name may be taken from dir: in a sticky
// directory only by the owner of either. isDir says what it is to be.
func mayDelete(ctx Context, dir, victim *Dentry, isDir bool) error {
	if p, ok := dir.node.(Permitter); ok {
		if err := p.Permit(ctx, MayWrite|MayExec); err != nil {
			return err
		}
	}
	a, err := dir.node.Attr(ctx)
	if err != nil {
		return err
	}
	creds := ctx.Creds()
	if _, ok := dir.node.(Permitter); !ok {
		if err := CheckMode(creds, &a, MayWrite|MayExec); err != nil {
			return err
		}
	}
	if a.Mode&linux.S_ISVTX != 0 && !owns(creds, &a) {
		va, err := victim.node.Attr(ctx)
		if err != nil {
			return err
		}
		if !owns(creds, &va) {
			return linux.EPERM
		}
	}
	switch {
	case isDir && !victim.IsDir():
		return linux.ENOTDIR
	case !isDir && victim.IsDir():
		return linux.EISDIR
	case dir.gone.Load():
		return linux.ENOENT
	}
	return nil
}

// withoutPrivs is mode without the bits that a write by somebody else clears:
// S_ISUID, and S_ISGID where the group may execute.
func withoutPrivs(mode uint32) uint32 {
	mode &^= linux.S_ISUID
	if mode&linux.S_IXGRP != 0 {
		mode &^= linux.S_ISGID
	}
	return mode
}

// mayLink is /proc/sys/fs/protected_hardlinks: whoever does not own a file can
// only link what they could also read and write, and what has no set-id bits.
func mayLink(ctx Context, node Node) error {
	a, err := node.Attr(ctx)
	if err != nil {
		return err
	}
	creds := ctx.Creds()
	if owns(creds, &a) {
		return nil
	}
	if a.Mode&linux.S_IFMT != linux.S_IFREG || withoutPrivs(a.Mode) != a.Mode || CheckMode(creds, &a, MayRead|MayWrite) != nil {
		return linux.EPERM
	}
	return nil
}

// mayFollow is /proc/sys/fs/protected_symlinks: in a sticky directory that all
// can write to, a symlink at the end of a path is followed only for its owner,
// or if it is the directory's owner's.
func mayFollow(ctx Context, dir, link Node) error {
	a, err := dir.Attr(ctx)
	if err != nil {
		return err
	}
	if a.Mode&(linux.S_ISVTX|linux.S_IWOTH) != linux.S_ISVTX|linux.S_IWOTH {
		return nil
	}
	l, err := link.Attr(ctx)
	if err != nil {
		return err
	}
	if l.UID == ctx.Creds().FSUID || l.UID == a.UID {
		return nil
	}
	return linux.EACCES
}
