package syscalls

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// setxattr sets an extended attribute of the file at path: setxattr(2).
func setxattr(t *task.Task, path, name, value mm.Addr, size uint64, flags int32) (uint64, error) {
	return setXattrAt(t, path, 0, name, value, size, flags)
}

// lsetxattr is setxattr of a symlink itself.
func lsetxattr(t *task.Task, path, name, value mm.Addr, size uint64, flags int32) (uint64, error) {
	return setXattrAt(t, path, vfs.NoFollow, name, value, size, flags)
}

// fsetxattr is setxattr of an open file.
func fsetxattr(t *task.Task, fd linux.FD, name, value mm.Addr, size uint64, flags int32) (uint64, error) {
	p, err := placeOf(t, fd)
	if err != nil {
		return 0, err
	}
	return 0, setXattr(t, p, name, value, size, flags)
}

func setXattrAt(t *task.Task, path mm.Addr, how vfs.WalkFlags, name, value mm.Addr, size uint64, flags int32) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, how)
	if err != nil {
		return 0, err
	}
	return 0, setXattr(t, p, name, value, size, flags)
}

func setXattr(t *task.Task, p vfs.Path, nameAddr, value mm.Addr, size uint64, flags int32) error {
	if flags&^(linux.XATTR_CREATE|linux.XATTR_REPLACE) != 0 {
		return linux.EINVAL
	}
	name, err := copyInXattrName(t, nameAddr)
	if err != nil {
		return err
	}
	if size > linux.XATTR_SIZE_MAX {
		return linux.E2BIG
	}
	b := make([]byte, size)
	if size > 0 {
		if err := t.CopyIn(value, b); err != nil {
			return err
		}
	}
	return vfs.SetXattr(t, p, name, b, int(flags))
}

// copyInXattrName reads the name of an attribute: ERANGE if it is empty or too
// long.
func copyInXattrName(t *task.Task, addr mm.Addr) (string, error) {
	name, err := t.CopyInString(addr, linux.XATTR_NAME_MAX+1)
	if err == linux.ENAMETOOLONG || (err == nil && name == "") {
		return "", linux.ERANGE
	}
	return name, err
}

// placeOf is where an open file is.
func placeOf(t *task.Task, fd linux.FD) (vfs.Path, error) {
	f, err := t.File(fd)
	if err != nil {
		return vfs.Path{}, err
	}
	defer f.DecRef(t)
	return f.Path(), nil
}

// getxattr gives an extended attribute's value, or with size 0 its length:
// getxattr(2).
func getxattr(t *task.Task, path, name, value mm.Addr, size uint64) (uint64, error) {
	return getXattrAt(t, path, 0, name, value, size)
}

// lgetxattr is getxattr of a symlink itself.
func lgetxattr(t *task.Task, path, name, value mm.Addr, size uint64) (uint64, error) {
	return getXattrAt(t, path, vfs.NoFollow, name, value, size)
}

// fgetxattr is getxattr of an open file.
func fgetxattr(t *task.Task, fd linux.FD, name, value mm.Addr, size uint64) (uint64, error) {
	p, err := placeOf(t, fd)
	if err != nil {
		return 0, err
	}
	return getXattr(t, p, name, value, size)
}

func getXattrAt(t *task.Task, path mm.Addr, how vfs.WalkFlags, name, value mm.Addr, size uint64) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, how)
	if err != nil {
		return 0, err
	}
	return getXattr(t, p, name, value, size)
}

func getXattr(t *task.Task, p vfs.Path, nameAddr, value mm.Addr, size uint64) (uint64, error) {
	name, err := copyInXattrName(t, nameAddr)
	if err != nil {
		return 0, err
	}
	b, err := vfs.Xattr(t, p, name)
	if err != nil {
		return 0, err
	}
	return sized(t, value, size, b)
}

// sized copies b to addr, if size is not 0: then only its length is wanted.
// ERANGE if there is no room.
func sized(t *task.Task, addr mm.Addr, size uint64, b []byte) (uint64, error) {
	switch {
	case size == 0:
		return uint64(len(b)), nil
	case uint64(len(b)) > size:
		return 0, linux.ERANGE
	}
	return uint64(len(b)), t.CopyOutLater(addr, b)
}

// listxattr gives the names of the extended attributes, each with a NUL:
// listxattr(2).
func listxattr(t *task.Task, path, list mm.Addr, size uint64) (uint64, error) {
	return listXattrAt(t, path, 0, list, size)
}

// llistxattr is listxattr of a symlink itself.
func llistxattr(t *task.Task, path, list mm.Addr, size uint64) (uint64, error) {
	return listXattrAt(t, path, vfs.NoFollow, list, size)
}

// flistxattr is listxattr of an open file.
func flistxattr(t *task.Task, fd linux.FD, list mm.Addr, size uint64) (uint64, error) {
	p, err := placeOf(t, fd)
	if err != nil {
		return 0, err
	}
	return listXattr(t, p, list, size)
}

func listXattrAt(t *task.Task, path mm.Addr, how vfs.WalkFlags, list mm.Addr, size uint64) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, how)
	if err != nil {
		return 0, err
	}
	return listXattr(t, p, list, size)
}

func listXattr(t *task.Task, p vfs.Path, list mm.Addr, size uint64) (uint64, error) {
	names, err := vfs.ListXattr(t, p)
	if err != nil {
		return 0, err
	}
	var b []byte
	for _, n := range names {
		b = append(append(b, n...), 0)
	}
	if len(b) > linux.XATTR_LIST_MAX {
		return 0, linux.E2BIG
	}
	return sized(t, list, size, b)
}

// removexattr removes an extended attribute: removexattr(2).
func removexattr(t *task.Task, path, name mm.Addr) (uint64, error) {
	return removeXattrAt(t, path, 0, name)
}

// lremovexattr is removexattr of a symlink itself.
func lremovexattr(t *task.Task, path, name mm.Addr) (uint64, error) {
	return removeXattrAt(t, path, vfs.NoFollow, name)
}

// fremovexattr is removexattr of an open file.
func fremovexattr(t *task.Task, fd linux.FD, name mm.Addr) (uint64, error) {
	p, err := placeOf(t, fd)
	if err != nil {
		return 0, err
	}
	return removeXattr(t, p, name)
}

func removeXattrAt(t *task.Task, path mm.Addr, how vfs.WalkFlags, name mm.Addr) (uint64, error) {
	p, err := resolve(t, linux.AtFDCWD, path, how)
	if err != nil {
		return 0, err
	}
	return removeXattr(t, p, name)
}

func removeXattr(t *task.Task, p vfs.Path, nameAddr mm.Addr) (uint64, error) {
	name, err := copyInXattrName(t, nameAddr)
	if err != nil {
		return 0, err
	}
	return 0, vfs.RemoveXattr(t, p, name)
}
