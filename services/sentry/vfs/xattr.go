package vfs

import (
	"slices"
	"strings"

	"bulkhead/proto/linux"
)

// xattrAccess checks that ctx may reach an extended attribute of that name:
// xattr(7), "Extended attribute namespaces". It gives the node's power.
func xattrAccess(ctx Context, p Path, name string, mask uint32) (Xattrer, error) {
	if name == "" || len(name) > linux.XATTR_NAME_MAX {
		return nil, linux.ERANGE
	}
	write := mask&MayWrite != 0
	if write {
		if err := p.writable(); err != nil {
			return nil, err
		}
	}
	node := p.Node()
	a, err := node.Attr(ctx)
	if err != nil {
		return nil, err
	}
	x, isXattrer := node.(Xattrer)
	creds := ctx.Creds()
	space, rest, _ := strings.Cut(name, ".")
	switch space {
	case "trusted":
		if !creds.Has(linux.CAP_SYS_ADMIN) {
			if write {
				return nil, linux.EPERM
			}
			return nil, linux.ENODATA
		}
	case "security":
		need := linux.CAP_SYS_ADMIN
		if rest == "capability" {
			need = linux.CAP_SETFCAP
		}
		if write && !creds.Has(need) {
			return nil, linux.EPERM
		}
	case "user":
		kind := a.Mode & linux.S_IFMT
		if kind != linux.S_IFREG && kind != linux.S_IFDIR {
			if write {
				return nil, linux.EPERM
			}
			return nil, linux.ENODATA
		}
		if write && kind == linux.S_IFDIR && a.Mode&linux.S_ISVTX != 0 && !owns(creds, &a) {
			return nil, linux.EPERM
		}
		if err := permit(ctx, node, mask); err != nil {
			return nil, err
		}
	case "system":
		if write && !owns(creds, &a) {
			return nil, linux.EPERM
		}
	default:
		return nil, linux.EOPNOTSUPP
	}
	if rest == "" {
		return nil, linux.EINVAL
	}
	if !isXattrer {
		return nil, linux.EOPNOTSUPP
	}
	return x, nil
}

// Xattr is getxattr(2).
func Xattr(ctx Context, p Path, name string) ([]byte, error) {
	x, err := xattrAccess(ctx, p, name, MayRead)
	if err != nil {
		return nil, err
	}
	return x.Xattr(ctx, name)
}

// SetXattr is setxattr(2); flags are XATTR_CREATE or XATTR_REPLACE.
func SetXattr(ctx Context, p Path, name string, value []byte, flags int) error {
	if flags&^(linux.XATTR_CREATE|linux.XATTR_REPLACE) != 0 {
		return linux.EINVAL
	}
	if len(value) > linux.XATTR_SIZE_MAX {
		return linux.E2BIG
	}
	x, err := xattrAccess(ctx, p, name, MayWrite)
	if err != nil {
		return err
	}
	if err := x.SetXattr(ctx, name, value, flags); err != nil {
		return err
	}
	unforesee(p.Node())
	notifyAt(EventAttrib, p.Dentry)
	return nil
}

// RemoveXattr is removexattr(2).
func RemoveXattr(ctx Context, p Path, name string) error {
	x, err := xattrAccess(ctx, p, name, MayWrite)
	if err != nil {
		return err
	}
	if err := x.RemoveXattr(ctx, name); err != nil {
		return err
	}
	unforesee(p.Node())
	notifyAt(EventAttrib, p.Dentry)
	return nil
}

// ListXattr is listxattr(2): without the trusted names for who may not see them.
func ListXattr(ctx Context, p Path) ([]string, error) {
	x, ok := p.Node().(Xattrer)
	if !ok {
		return nil, linux.EOPNOTSUPP
	}
	names, err := x.ListXattr(ctx)
	if err != nil || ctx.Creds().Has(linux.CAP_SYS_ADMIN) {
		return names, err
	}
	return slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "trusted.") }), nil
}
