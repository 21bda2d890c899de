package vfstest

import (
	"fmt"
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// step reads at most n entries of f.
func step(e *Env, f *vfs.File, n int) (names []string) {
	e.T.Helper()
	err := f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
		if len(names) == n {
			return false
		}
		names = append(names, d.Name)
		return true
	})
	if err != nil {
		e.T.Fatalf("readdir: %v", err)
	}
	return names
}

var dirTests = []test{
	{"list_while_deleting", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		const n = 300
		for i := range n {
			e.Write(fmt.Sprintf("/d/f%d", i), "")
		}
		f := e.MustOpen("/d", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		seen := 0
		for {
			names := step(e, f, 7)
			if len(names) == 0 {
				break
			}
			for _, name := range names {
				if name == "." || name == ".." {
					continue
				}
				seen++
				e.OK(e.Unlink("/d/" + name))
			}
		}
		if seen != n || e.List("/d") != "" {
			e.T.Errorf("saw %d of %d, left %q", seen, n, e.List("/d"))
		}
	}},
	{"list_ends_while_creating", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		e.Write("/d/a", "")
		f := e.MustOpen("/d", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		for i := 0; ; i++ {
			names := step(e, f, 1)
			if len(names) == 0 {
				break
			}
			if i > 100 {
				e.T.Fatal("the listing does not end")
			}
			e.Write(fmt.Sprintf("/d/new%d", i), "")
		}
	}},
	{"list_positions", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		for i := range 50 {
			e.Write(fmt.Sprintf("/d/f%d", i), "")
		}
		f := e.MustOpen("/d", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		var names []string
		var next []int64
		e.OK(f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
			names, next = append(names, d.Name), append(next, d.Next)
			return true
		}))
		for _, i := range []int{0, 1, 2, 20, 50} {
			if _, err := f.Seek(e.Ctx, next[i], linux.SEEK_SET); err != nil {
				e.T.Fatal(err)
			}
			got := step(e, f, 1)
			if i+1 < len(names) && (len(got) == 0 || got[0] != names[i+1]) {
				e.T.Errorf("after entry %d: %q, want %q", i, got, names[i+1])
			}
		}
		f.Seek(e.Ctx, 0, linux.SEEK_SET)
		e.Write("/d/late", "")
		found := false
		for _, name := range step(e, f, 1000) {
			found = found || name == "late"
		}
		if !found {
			e.T.Error("a rewound listing misses a new name")
		}
	}},
	{"list_types_and_inodes", nil, func(e *Env) {
		e.Write("/f", "")
		e.OK(e.Mkdir("/d", 0o755))
		e.OK(e.Symlink("f", "/l"))
		f := e.MustOpen("/", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		e.OK(f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
			a := e.MustStat("/" + d.Name)
			if d.Ino != a.Ino || d.Type != linux.DirentType(a.Mode) && d.Type != linux.DT_UNKNOWN {
				e.T.Errorf("%s: entry %d type %d; stat %d mode %o", d.Name, d.Ino, d.Type, a.Ino, a.Mode)
			}
			return true
		}))
		g := e.MustOpen("/f", linux.O_RDONLY, 0)
		defer g.DecRef(e.Ctx)
		e.Is(g.ReadDir(e.Ctx, nil), linux.ENOTDIR)
		_, err := f.Read(e.Ctx, make([]byte, 10))
		e.Is(err, linux.EISDIR)
	}},
	{"removed_directory", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		p := e.Must("/d")
		f := e.MustOpen("/d", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		e.OK(e.Rmdir("/d"))
		e.Is(vfs.Mkdir(e.Ctx, p, "x", 0o755), linux.ENOENT)
		_, err := vfs.Open(e.Ctx, e.Root, p, "x", linux.O_CREAT|linux.O_RDWR, 0o644, 0, 0)
		e.Is(err, linux.ENOENT)
		if up, err := vfs.Walk(e.Ctx, e.Root, p, "..", 0); err != nil || up != e.Root {
			e.T.Errorf(".. of a removed directory: %v", err)
		}
		_, err = vfs.Walk(e.Ctx, e.Root, p, "x", 0)
		e.Is(err, linux.ENOENT)
		if name, _ := vfs.PathName(e.Root, p); name != "/d (deleted)" {
			e.T.Errorf("name %q", name)
		}
		if a, err := f.Attr(e.Ctx); err != nil || a.Nlink != 0 {
			e.T.Errorf("nlink %d %v", a.Nlink, err)
		}
	}},
}

func noOwners(o Options) bool { return o.NoChown }

var ownerTests = []test{
	{"new_files_belong_to_their_maker", noOwners, func(e *Env) {
		e.OK(e.Chmod("/", 0o777))
		u := e.As(User(1000, 7))
		u.Write("/f", "x")
		e.OK(u.Mkdir("/d", 0o755))
		for _, p := range []string{"/f", "/d"} {
			if a := e.MustStat(p); a.UID != 1000 || a.GID != 1000 {
				e.T.Errorf("%s: %d:%d", p, a.UID, a.GID)
			}
		}
		e.OK(e.Mkdir("/s", 0o777))
		e.OK(e.SetStat("/s", vfs.SetAttr{Mask: vfs.SetGID, GID: 7}))
		e.OK(e.Chmod("/s", 0o2777))
		u.Write("/s/f", "x")
		e.OK(u.Mkdir("/s/d", 0o755))
		if a := e.MustStat("/s/f"); a.GID != 7 {
			e.T.Errorf("file in a setgid directory: group %d", a.GID)
		}
		if a := e.MustStat("/s/d"); a.GID != 7 || a.Mode&linux.S_ISGID == 0 {
			e.T.Errorf("directory in a setgid directory: group %d mode %o", a.GID, a.Mode)
		}
	}},
	{"permissions", noOwners, func(e *Env) {
		e.OK(e.Chmod("/", 0o755))
		e.Write("/f", "secret")
		e.OK(e.Chmod("/f", 0o640))
		e.OK(e.SetStat("/f", vfs.SetAttr{Mask: vfs.SetGID, GID: 7}))
		e.OK(e.Mkdir("/d", 0o700))
		e.Write("/d/x", "")
		member, other := e.As(User(1000, 7)), e.As(User(1001))
		if got := member.Read("/f"); got != "secret" {
			e.T.Errorf("group member reads %q", got)
		}
		_, err := member.Open("/f", linux.O_RDWR, 0)
		e.Is(err, linux.EACCES)
		_, err = other.Open("/f", linux.O_RDONLY, 0)
		e.Is(err, linux.EACCES)
		_, err = other.Stat("/d/x")
		e.Is(err, linux.EACCES)
		e.Is(other.Mkdir("/new", 0o755), linux.EACCES)
		e.Is(other.Unlink("/f"), linux.EACCES)
		e.Is(other.Chmod("/f", 0o777), linux.EPERM)
		e.Is(other.Rename("/f", "/g", 0), linux.EACCES)
		reader := vfs.UserCreds(1002, 1002)
		reader.Effective = vfs.CapsOf(linux.CAP_DAC_READ_SEARCH)
		if got := e.As(NewContext(reader)).Read("/f"); got != "secret" {
			e.T.Errorf("CAP_DAC_READ_SEARCH reads %q", got)
		}
		e.Is(vfs.Access(e.Ctx, e.Must("/f"), vfs.MayExec), linux.EACCES)
		e.Is(vfs.Access(e.Ctx, e.Must("/f"), vfs.MayRead|vfs.MayWrite), nil)
		_, err = other.Open("/f", linux.O_PATH, 0)
		e.Is(err, nil)
	}},
	{"sticky_directory", noOwners, func(e *Env) {
		e.OK(e.Mkdir("/t", 0o777))
		e.OK(e.Chmod("/t", 0o1777))
		a, b := e.As(User(1000)), e.As(User(1001))
		a.Write("/t/f", "mine")
		e.Is(b.Unlink("/t/f"), linux.EPERM)
		e.Is(b.Rename("/t/f", "/t/g", 0), linux.EPERM)
		b.Write("/t/h", "")
		e.Is(b.Rename("/t/h", "/t/f", 0), linux.EPERM)
		e.OK(a.Rename("/t/f", "/t/g", 0))
		e.OK(a.Unlink("/t/g"))
	}},
	{"protected_links", noOwners, func(e *Env) {
		e.OK(e.Mkdir("/t", 0o777))
		e.OK(e.Chmod("/t", 0o1777))
		e.Write("/f", "x")
		a, b := e.As(User(1000)), e.As(User(1001))
		e.OK(a.Symlink("../f", "/t/l"))
		e.Is(a.Link("/f", "/t/f"), linux.EPERM)
		e.OK(e.Chmod("/f", 0o666))
		e.OK(a.Link("/f", "/t/f"))
		_, err := b.Stat("/t/l")
		e.Is(err, linux.EACCES)
		_, err = e.Stat("/t/l")
		e.Is(err, linux.EACCES)
		_, err = a.Stat("/t/l")
		e.Is(err, nil)
		if _, err := vfs.Readlink(b.Ctx, b.Must("/t/l")); err != nil {
			e.T.Error(err)
		}
		e.OK(e.Symlink("../f", "/t/root"))
		_, err = b.Stat("/t/root")
		e.Is(err, nil)
	}},
	{"set_id_bits", noOwners, func(e *Env) {
		e.OK(e.Chmod("/", 0o777))
		u := e.As(User(1000, 7))
		u.Write("/f", "x")
		e.OK(u.Chmod("/f", 0o6755))
		f := u.MustOpen("/f", linux.O_RDWR, 0)
		f.Write(u.Ctx, []byte("y"))
		if m := e.MustStat("/f").Mode & 0o7777; m != 0o755 {
			e.T.Errorf("a write leaves %o", m)
		}
		e.OK(f.SetStat(u.Ctx, vfs.SetAttr{Mask: vfs.SetMode, Mode: 0o6755}))
		f.DecRef(u.Ctx)
		e.OK(u.SetStat("/f", vfs.SetAttr{Mask: vfs.SetGID, GID: 7}))
		if m := e.MustStat("/f").Mode & 0o7777; m != 0o755 {
			e.T.Errorf("chgrp leaves %o", m)
		}
		e.OK(e.SetStat("/f", vfs.SetAttr{Mask: vfs.SetGID, GID: 99}))
		e.OK(u.Chmod("/f", 0o2755))
		if m := e.MustStat("/f").Mode & 0o7777; m != 0o755 {
			e.T.Errorf("S_ISGID for a strange group: %o", m)
		}
		e.Is(u.SetStat("/f", vfs.SetAttr{Mask: vfs.SetUID, UID: 5}), linux.EPERM)
		e.Is(u.SetStat("/f", vfs.SetAttr{Mask: vfs.SetGID, GID: 5}), linux.EPERM)
	}},
	{"time_permissions", noOwners, func(e *Env) {
		e.Write("/f", "x")
		e.OK(e.Chmod("/f", 0o666))
		u := e.As(User(1000))
		now := vfs.SetAttr{Mask: vfs.SetAtimeNow | vfs.SetMtimeNow}
		e.Is(u.SetStat("/f", now), nil)
		e.Is(u.SetStat("/f", vfs.SetAttr{Mask: vfs.SetMtime}), linux.EPERM)
		e.OK(e.Chmod("/f", 0o644))
		e.Is(u.SetStat("/f", now), linux.EACCES)
		_, err := u.Open("/f", linux.O_RDONLY|linux.O_NOATIME, 0)
		e.Is(err, linux.EPERM)
	}},
}

var raceTests = []test{
	{"exclusive_create_race", nil, func(e *Env) {
		for round := range 50 {
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for range 4 {
				wg.Go(func() {
					f, err := e.As(Root()).Open(fmt.Sprintf("/x%d", round), linux.O_CREAT|linux.O_EXCL|linux.O_RDWR, 0o600)
					if err == nil {
						mu.Lock()
						won++
						mu.Unlock()
						f.DecRef(e.Ctx)
					} else if err != linux.EEXIST {
						e.T.Errorf("open: %v", err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				e.T.Fatalf("%d won", won)
			}
		}
	}},
	{"concurrent_renames", nil, func(e *Env) {
		for _, d := range []string{"/a", "/b", "/a/x", "/b/y"} {
			e.OK(e.Mkdir(d, 0o755))
		}
		e.Write("/a/f", "file")
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				g := e.As(Root())
				for n := range 100 {
					switch (i + n) % 4 {
					case 0:
						g.Rename("/a/f", "/b/f", 0)
					case 1:
						g.Rename("/b/f", "/a/f", 0)
					case 2:
						g.Rename("/a/x", "/b/y/x", 0)
						g.Rename("/b/y", "/a/x/y", 0)
					case 3:
						g.Rename("/b/y/x", "/a/x", 0)
						g.Stat("/a/../b/f")
						g.Rename("/a/x/y", "/b/y", 0)
					}
				}
			})
		}
		wg.Wait()
		files := 0
		for _, p := range []string{"/a/f", "/b/f"} {
			if e.Read(p) == "file" {
				files++
			}
		}
		if files != 1 {
			e.T.Errorf("%d files", files)
		}
		dirs := 0
		for _, p := range []string{"/a/x", "/b/y", "/b/y/x", "/a/x/y"} {
			if _, err := e.Stat(p); err == nil {
				dirs++
			}
		}
		if dirs != 2 {
			e.T.Errorf("%d directories", dirs)
		}
	}},
	{"concurrent_appends", nil, func(e *Env) {
		e.Write("/log", "")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				f := e.MustOpen("/log", linux.O_WRONLY|linux.O_APPEND, 0)
				defer f.DecRef(e.Ctx)
				for range 100 {
					f.Write(e.Ctx, []byte("0123456789"))
				}
			})
		}
		wg.Wait()
		if a := e.MustStat("/log"); a.Size != 4000 {
			e.T.Errorf("size %d", a.Size)
		}
	}},
	{"create_unlink_race", nil, func(e *Env) {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for n := range 100 {
					if i%2 == 0 {
						f, err := e.Open("/r", linux.O_CREAT|linux.O_RDWR, 0o600)
						if err != nil {
							e.T.Errorf("open: %v", err)
							return
						}
						f.Write(e.Ctx, []byte("x"))
						f.DecRef(e.Ctx)
					} else if err := e.Unlink("/r"); err != nil && err != linux.ENOENT {
						e.T.Errorf("unlink: %v (%d)", err, n)
					}
				}
			})
		}
		wg.Wait()
	}},
}

var readOnlyTests = []test{
	{"read", nil, func(e *Env) {
		if got := e.Read("/file"); got != "hello\n" {
			e.T.Errorf("read %q", got)
		}
		if got := e.Read("/link"); got != "deep\n" {
			e.T.Errorf("read %q", got)
		}
		if got := e.List("/"); got != "dir empty file link loop" {
			e.T.Errorf("list %q", got)
		}
		_, err := e.Stat("/loop")
		e.Is(err, linux.ELOOP)
		_, err = e.Stat("/none")
		e.Is(err, linux.ENOENT)
		if e.Must("/dir/sub") != e.Must("/dir/../dir/./sub") {
			e.T.Error("one directory, two dentries")
		}
	}},
	{"refuse_changes", nil, func(e *Env) {
		for what, err := range map[string]error{
			"mkdir": e.Mkdir("/d", 0o755), "unlink": e.Unlink("/file"), "rename": e.Rename("/file", "/g", 0),
			"link": e.Link("/file", "/g"), "symlink": e.Symlink("t", "/g"), "rmdir": e.Rmdir("/dir/sub"),
			"chmod": e.Chmod("/file", 0),
		} {
			if err != linux.EROFS && !(what == "rmdir" && err == linux.ENOTEMPTY) {
				e.T.Errorf("%s: %v", what, err)
			}
		}
		_, err := e.Open("/file", linux.O_RDWR, 0)
		e.Is(err, linux.EROFS)
		_, err = e.Open("/new", linux.O_RDWR|linux.O_CREAT, 0o644)
		e.Is(err, linux.EROFS)
	}},
}
