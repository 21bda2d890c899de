package vfs

import "bulkhead/proto/linux"

// Stat is stat(2) of a place.
func Stat(ctx Context, p Path) (Attr, error) { return p.Dentry.node.Attr(ctx) }

// Access is the check of access(2), with ctx's file ids: mask of MayRead,
// MayWrite, MayExec. The caller gives it WithCreds(ctx, creds.ForAccess()) for
// the real ids.
func Access(ctx Context, p Path, mask uint32) error {
	if mask&^7 != 0 {
		return linux.EINVAL
	}
	a, err := p.Node().Attr(ctx)
	if err != nil {
		return err
	}
	kind := a.Mode & linux.S_IFMT
	if mask&MayExec != 0 && kind == linux.S_IFREG && p.Mount.has(MountNoExec) {
		return linux.EACCES
	}
	if pm, ok := p.Node().(Permitter); ok {
		err = pm.Permit(ctx, mask)
	} else {
		err = CheckMode(ctx.Creds(), &a, mask)
	}
	if err != nil {
		return err
	}
	if mask&MayWrite != 0 && (kind == linux.S_IFREG || kind == linux.S_IFDIR || kind == linux.S_IFLNK) {
		return p.writable()
	}
	return nil
}

// Readlink is readlink(2): EINVAL for what is no symlink.
func Readlink(ctx Context, p Path) (string, error) {
	if p.Dentry.link == nil {
		return "", linux.EINVAL
	}
	return p.Dentry.link.Readlink(ctx)
}

// Statfs is statfs(2).
func Statfs(ctx Context, p Path) (linux.Statfs, error) {
	s, err := p.Mount.super.fs.Statfs(ctx)
	if err != nil {
		return s, err
	}
	f := p.Mount.Flags()
	s.Flags = linux.ST_VALID
	for _, b := range [...]struct {
		mount MountFlags
		st    int64
	}{
		{MountReadOnly, linux.ST_RDONLY}, {MountNoSUID, linux.ST_NOSUID}, {MountNoDev, linux.ST_NODEV},
		{MountNoExec, linux.ST_NOEXEC}, {MountNoAtime, linux.ST_NOATIME},
		{MountNoDirAtime, linux.ST_NODIRATIME}, {MountRelatime, linux.ST_RELATIME}, {MountNoSymfollow, linux.ST_NOSYMFOLLOW},
	} {
		if f&b.mount != 0 {
			s.Flags |= b.st
		}
	}
	return s, nil
}

// SetStat is chmod(2), chown(2), truncate(2) and utimensat(2) of a place: it
// checks that the caller may, and clears set-id bits as they ask.
func SetStat(ctx Context, p Path, s SetAttr) error {
	mask := s.Mask // as asked: what is added below needs no permission
	if mask == 0 {
		return nil
	}
	node := p.Node()
	if err := p.writable(); err != nil {
		return err
	}
	a, err := node.Attr(ctx)
	if err != nil {
		return err
	}
	if s.Mask&SetSize != 0 {
		if err := mayTruncate(ctx, node, &a, &s); err != nil {
			return err
		}
		if err := breakLeases(ctx, node, true, false); err != nil {
			return err
		}
		if err := beginWrite(node); err != nil {
			return err
		}
		defer endWrite(node)
	}
	if mask&SetMode != 0 {
		if err := mayChmod(ctx, &a, &s); err != nil {
			return err
		}
	}
	if mask&(SetUID|SetGID) != 0 {
		if err := mayChown(ctx, &a, &s); err != nil {
			return err
		}
	}
	if s.Mask&(SetAtime|SetMtime|SetAtimeNow|SetMtimeNow) != 0 {
		if err := mayTouch(ctx, node, &a, &s); err != nil {
			return err
		}
	}
	unforesee(node)
	if err := node.SetAttr(ctx, s); err != nil {
		return err
	}
	unforesee(node) // who has been told of it since
	notifyAt(EventAttrib, p.Dentry)
	return nil
}

func mayTruncate(ctx Context, node Node, a *Attr, s *SetAttr) error {
	switch a.Mode & linux.S_IFMT {
	case linux.S_IFREG:
	case linux.S_IFDIR:
		return linux.EISDIR
	default:
		return linux.EINVAL
	}
	if s.Size < 0 {
		return linux.EINVAL
	}
	if err := permit(ctx, node, MayWrite); err != nil {
		return err
	}
	if s.Size > a.Size && uint64(s.Size) > ctx.FileSizeLimit() {
		return linux.EFBIG
	}
	dropPrivs(ctx, a, s)
	return nil
}

// dropPrivs adds to s the loss of set-id bits that a change of the contents by
// somebody without CAP_FSETID brings.
func dropPrivs(ctx Context, a *Attr, s *SetAttr) {
	if s.Mask&SetMode != 0 || ctx.Creds().HasOver(a, linux.CAP_FSETID) {
		return
	}
	if mode := withoutPrivs(a.Mode); mode != a.Mode && a.Mode&linux.S_IFMT == linux.S_IFREG {
		s.Mask |= SetMode
		s.Mode = mode & linux.S_IALL
	}
}

// mayChmod: the owner may; S_ISGID only goes to a file of a group of one's own.
func mayChmod(ctx Context, a *Attr, s *SetAttr) error {
	if a.Mode&linux.S_IFMT == linux.S_IFLNK {
		return linux.EOPNOTSUPP
	}
	creds := ctx.Creds()
	if !owns(creds, a) {
		return linux.EPERM
	}
	s.Mode &= linux.S_IALL
	gid := a.GID
	if s.Mask&SetGID != 0 {
		gid = s.GID
	}
	if !creds.InGroup(gid) && !creds.HasOver(a, linux.CAP_FSETID) {
		s.Mode &^= linux.S_ISGID
	}
	return nil
}

// mayChown: CAP_CHOWN may; the owner may give a file to a group of theirs. The
// set-id bits of what is not a directory go, whoever does it: chown(2).
func mayChown(ctx Context, a *Attr, s *SetAttr) error {
	creds := ctx.Creds()
	if !creds.HasOver(a, linux.CAP_CHOWN) {
		own := creds.FSUID == a.UID
		if s.Mask&SetUID != 0 && !(own && s.UID == a.UID) {
			return linux.EPERM
		}
		if s.Mask&SetGID != 0 && !(own && (s.GID == a.GID || creds.InGroup(s.GID))) {
			return linux.EPERM
		}
	}
	if a.Mode&linux.S_IFMT == linux.S_IFDIR || s.Mask&SetMode != 0 {
		return nil
	}
	mode := withoutPrivs(a.Mode)
	if mode&linux.S_ISGID != 0 && !creds.InGroup(a.GID) && !creds.HasOver(a, linux.CAP_FSETID) {
		mode &^= linux.S_ISGID
	}
	if mode != a.Mode {
		s.Mask |= SetMode
		s.Mode = mode & linux.S_IALL
	}
	return nil
}

// mayTouch: the owner may set any time, who may write may set both to now.
func mayTouch(ctx Context, node Node, a *Attr, s *SetAttr) error {
	if owns(ctx.Creds(), a) {
		return nil
	}
	const both = SetAtimeNow | SetMtimeNow
	if s.Mask&both == both {
		return permit(ctx, node, MayWrite)
	}
	return linux.EPERM
}
