package container

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// copyUp fills a fresh file system with what is below a mount point: tmpcopyup.
func copyUp(from vfs.Path, fs vfs.FileSystem) error {
	ctx := vfs.KernelContext()
	ns := vfs.NewNamespace(fs, 0)
	return copyTree(ctx, from, ns.Root(), 0)
}

const maxDepth = 256

func copyTree(ctx vfs.Context, from, to vfs.Path, depth int) error {
	if depth > maxDepth {
		return linux.ELOOP
	}
	dir, err := vfs.OpenPath(ctx, from, linux.O_RDONLY|linux.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.DecRef(ctx)
	var names []string
	if err := dir.ReadDir(ctx, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	}); err != nil {
		return err
	}
	for _, name := range names {
		if err := copyOne(ctx, from, to, name, depth); err != nil {
			return err
		}
	}
	return nil
}

func copyOne(ctx vfs.Context, from, to vfs.Path, name string, depth int) error {
	src, err := vfs.Walk(ctx, from, from, name, vfs.NoFollow)
	if err != nil {
		return err
	}
	a, err := vfs.Stat(ctx, src)
	if err != nil {
		return err
	}
	switch a.Mode & linux.S_IFMT {
	case linux.S_IFLNK:
		target, err := vfs.Readlink(ctx, src)
		if err != nil {
			return err
		}
		return vfs.MakeSymlink(ctx, to, name, target)
	case linux.S_IFDIR:
		err = vfs.Mkdir(ctx, to, name, a.Mode&0o7777)
	default:
		err = vfs.Mknod(ctx, to, name, a.Mode, a.Rdev)
	}
	if err != nil {
		return err
	}
	dst, err := vfs.Walk(ctx, to, to, name, vfs.NoFollow)
	if err != nil {
		return err
	}
	switch a.Mode & linux.S_IFMT {
	case linux.S_IFDIR:
		err = copyTree(ctx, src, dst, depth+1)
	case linux.S_IFREG:
		err = copyData(ctx, src, dst)
	}
	if err != nil {
		return err
	}
	return vfs.SetStat(ctx, dst, vfs.SetAttr{
		Mask: vfs.SetMode | vfs.SetUID | vfs.SetGID | vfs.SetAtime | vfs.SetMtime,
		Mode: a.Mode & 0o7777, UID: a.UID, GID: a.GID, Atime: a.Atime, Mtime: a.Mtime,
	})
}

func copyData(ctx vfs.Context, src, dst vfs.Path) error {
	in, err := vfs.OpenPath(ctx, src, linux.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.DecRef(ctx)
	out, err := vfs.OpenPath(ctx, dst, linux.O_WRONLY)
	if err != nil {
		return err
	}
	defer out.DecRef(ctx)
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(ctx, buf)
		if n == 0 || err != nil {
			return err
		}
		if _, err := out.Write(ctx, buf[:n]); err != nil {
			return err
		}
	}
}
