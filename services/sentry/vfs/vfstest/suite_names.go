package vfstest

import (
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

var nameTests = []test{
	{"mkdir_rmdir", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		e.OK(e.Mkdir("/d/sub/", 0o700))
		if n := e.MustStat("/d").Nlink; n != 3 && n != 1 {
			e.T.Errorf("nlink %d with a subdirectory", n)
		}
		e.Is(e.Rmdir("/d"), linux.ENOTEMPTY)
		e.OK(e.Rmdir("/d/sub/"))
		e.OK(e.Rmdir("/d"))
		_, err := e.Stat("/d")
		e.Is(err, linux.ENOENT)
	}},
	{"name_errors", nil, func(e *Env) { tryAll(e.T, e, nameErrors) }},
	{"negative_entries_go", nil, func(e *Env) {
		for range 3 {
			_, err := e.Stat("/x")
			e.Is(err, linux.ENOENT)
			e.Write("/x", "1")
			e.Must("/x")
			e.OK(e.Unlink("/x"))
			e.OK(e.Mkdir("/x", 0o755))
			e.Must("/x")
			e.OK(e.Rmdir("/x"))
			e.OK(e.Symlink("y", "/x"))
			e.OK(e.Unlink("/x"))
			e.OK(e.Mknod("/x", linux.S_IFIFO|0o644, 0))
			e.OK(e.Unlink("/x"))
		}
	}},
	{"hard_links", nil, func(e *Env) {
		e.Write("/a", "one")
		e.OK(e.Link("/a", "/b"))
		a, b := e.MustStat("/a"), e.MustStat("/b")
		if a.Ino != b.Ino || a.Nlink != 2 {
			e.T.Errorf("%+v %+v", a, b)
		}
		if e.Must("/a").Node() != e.Must("/b").Node() {
			e.T.Error("two nodes for one file")
		}
		e.Write("/b", "two")
		if got := e.Read("/a"); got != "two" {
			e.T.Errorf("read %q", got)
		}
		e.OK(e.Unlink("/a"))
		if got := e.Read("/b"); got != "two" {
			e.T.Errorf("read %q", got)
		}
		if n := e.MustStat("/b").Nlink; n != 1 {
			e.T.Errorf("nlink %d", n)
		}
	}},
	{"symlinks", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		e.Write("/d/f", "target")
		e.OK(e.Symlink("f", "/d/l"))
		e.OK(e.Symlink("/d", "/dl"))
		e.OK(e.Symlink("dl/l", "/chain"))
		if got := e.Read("/chain"); got != "target" {
			e.T.Errorf("read %q", got)
		}
		if a := e.MustStat("/dl"); a.Size != 2 || a.Mode != linux.S_IFLNK|0o777 {
			e.T.Errorf("%+v", a)
		}
		if s, err := vfs.Readlink(e.Ctx, e.Must("/chain")); s != "dl/l" || err != nil {
			e.T.Errorf("readlink %q %v", s, err)
		}
		_, err := vfs.Readlink(e.Ctx, e.Must("/d"))
		e.Is(err, linux.EINVAL)
		e.OK(e.Link("/chain", "/chain2")) // a link to the link
		if s, err := vfs.Readlink(e.Ctx, e.Must("/chain2")); s != "dl/l" || err != nil {
			e.T.Errorf("readlink %q %v", s, err)
		}
	}},
	{"special_nodes", func(o Options) bool { return o.NoDevices }, func(e *Env) {
		dev := linux.Mkdev(1, 3)
		e.OK(e.Mknod("/null", linux.S_IFCHR|0o666, dev))
		if a := e.MustStat("/null"); a.Mode != linux.S_IFCHR|0o666 || a.Rdev != dev {
			e.T.Errorf("%+v", a)
		}
		e.OK(e.Mknod("/sock", linux.S_IFSOCK|0o666, 0))
		_, err := e.Open("/sock", linux.O_RDWR, 0)
		e.Is(err, linux.ENXIO)
		u := e.As(User(1000))
		e.Is(e.Chmod("/", 0o777), nil)
		e.Is(u.Mknod("/mine", linux.S_IFCHR|0o666, dev), linux.EPERM)
		e.Is(u.Mknod("/fifo", linux.S_IFIFO|0o666, 0), nil)
	}},
	{"names_of_any_bytes", nil, func(e *Env) {
		for _, n := range []string{"\x01", "\xff\xfe", "a b", "...", "-", "ä"} {
			e.Write("/"+n, n)
			if got := e.Read("/" + n); got != n {
				e.T.Errorf("%q: read %q", n, got)
			}
		}
	}},
	{"read_only_mount", nil, func(e *Env) {
		e.Write("/f", "x")
		e.OK(e.NS.Remount(e.Ctx, e.Root, vfs.MountReadOnly, false))
		for what, err := range map[string]error{
			"mkdir": e.Mkdir("/d", 0o755), "unlink": e.Unlink("/f"), "rename": e.Rename("/f", "/g", 0),
			"link": e.Link("/f", "/g"), "chmod": e.Chmod("/f", 0), "symlink": e.Symlink("t", "/g"),
			"access": vfs.Access(e.Ctx, e.Must("/f"), vfs.MayWrite),
		} {
			if err != linux.EROFS {
				e.T.Errorf("%s: %v", what, err)
			}
		}
		_, err := e.Open("/f", linux.O_RDWR, 0)
		e.Is(err, linux.EROFS)
		_, err = e.Open("/g", linux.O_RDWR|linux.O_CREAT, 0o644)
		e.Is(err, linux.EROFS)
		f := e.MustOpen("/f", linux.O_RDONLY|linux.O_CREAT, 0o644)
		f.DecRef(e.Ctx)
		e.Is(e.Mkdir("/f", 0o755), linux.EEXIST)
	}},
}

var renameTests = []test{
	{"rename_file", nil, func(e *Env) {
		e.Write("/a", "a")
		e.Write("/b", "b")
		ino := e.MustStat("/a").Ino
		e.OK(e.Rename("/a", "/c", 0))
		e.OK(e.Rename("/c", "/b", 0))
		if got := e.Read("/b"); got != "a" || e.List("/") != "b" {
			e.T.Errorf("read %q, list %q", got, e.List("/"))
		}
		if e.MustStat("/b").Ino != ino {
			e.T.Error("inode number changed")
		}
	}},
	{"rename_directory", nil, func(e *Env) {
		e.OK(e.Mkdir("/d1", 0o755))
		e.OK(e.Mkdir("/d2", 0o755))
		e.OK(e.Mkdir("/d1/x", 0o755))
		e.Write("/d1/x/f", "deep")
		p := e.Must("/d1/x/f")
		e.OK(e.Rename("/d1/x", "/d2/y", 0))
		if got := e.Read("/d2/y/f"); got != "deep" {
			e.T.Errorf("read %q", got)
		}
		if name, ok := vfs.PathName(e.Root, p); name != "/d2/y/f" || !ok {
			e.T.Errorf("name %q", name)
		}
		if a, b := e.MustStat("/d1").Nlink, e.MustStat("/d2").Nlink; a != 2 && a != 1 || b != 3 && b != 1 {
			e.T.Errorf("nlink %d %d", a, b)
		}
		if a, b := e.MustStat("/d2/y/.."), e.MustStat("/d2"); a.Ino != b.Ino {
			e.T.Error(".. leads elsewhere")
		}
		e.OK(e.Mkdir("/empty", 0o755))
		e.OK(e.Rename("/d2/y", "/empty", 0))
		if got := e.List("/empty"); got != "f" {
			e.T.Errorf("list %q", got)
		}
	}},
	{"rename_errors", nil, func(e *Env) {
		tryAll(e.T, e, renameErrors)
		if got := e.List("/"); got != "d e f g l loop" {
			e.T.Errorf("list %q", got)
		}
	}},
	{"rename_to_own_link", nil, func(e *Env) {
		e.Write("/a", "x")
		e.OK(e.Link("/a", "/b"))
		e.OK(e.Rename("/a", "/b", 0))
		if got := e.List("/"); got != "a b" {
			e.T.Errorf("list %q", got)
		}
	}},
	{"rename_exchange", nil, func(e *Env) {
		e.Write("/a", "file")
		e.OK(e.Mkdir("/d", 0o755))
		e.OK(e.Mkdir("/d/sub", 0o755))
		e.Write("/d/sub/f", "deep")
		e.OK(e.Rename("/a", "/d/sub", linux.RENAME_EXCHANGE))
		if e.Read("/d/sub") != "file" || e.Read("/a/f") != "deep" {
			e.T.Errorf("%q %q", e.Read("/d/sub"), e.Read("/a/f"))
		}
		if n := e.MustStat("/d").Nlink; n != 2 && n != 1 {
			e.T.Errorf("nlink %d", n)
		}
	}},
	{"rename_symlink_itself", nil, func(e *Env) {
		e.Write("/f", "x")
		e.OK(e.Symlink("f", "/l"))
		e.OK(e.Rename("/l", "/m", 0))
		if s, err := vfs.Readlink(e.Ctx, e.Must("/m")); s != "f" || err != nil {
			e.T.Errorf("%q %v", s, err)
		}
	}},
	{"rename_replaces_open", nil, func(e *Env) {
		e.Write("/a", "new")
		e.Write("/b", "old")
		f := e.MustOpen("/b", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		e.OK(e.Rename("/a", "/b", 0))
		if got := e.ReadFile(f); got != "old" {
			e.T.Errorf("read %q", got)
		}
	}},
}
