package overlay

import (
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

func over(t testing.TB, lower vfs.FileSystem) *FileSystem {
	fs, err := New(lower, tmpfs.New(tmpfs.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FileSystem {
		return over(t, tmpfs.New(tmpfs.Options{Mode: 0o755}))
	}, vfstest.Options{})
}

// TestModel runs random operations over a lower of random contents.
func TestModel(t *testing.T) {
	vfstest.RunModel(t, vfstest.ModelOptions{
		Make: func(t *testing.T, seed func(vfs.FileSystem)) vfs.FileSystem {
			lower := tmpfs.New(tmpfs.Options{Mode: 0o755})
			seed(lower)
			return over(t, lower)
		},
		DirRenameEXDEV: true,
	})
}

// lowerEnv is an overlay over a lower with a few files, and the lower itself.
func lowerEnv(t testing.TB) (e, lower *vfstest.Env) {
	fs := tmpfs.New(tmpfs.Options{Mode: 0o755})
	lower = vfstest.NewEnv(t, vfstest.Root(), fs)
	lower.OK(lower.Mkdir("/d", 0o750))
	lower.OK(lower.Mkdir("/d/sub", 0o755))
	lower.Write("/d/f", "lower")
	lower.Write("/d/sub/g", "deep")
	lower.OK(lower.Symlink("f", "/d/l"))
	lower.OK(lower.SetStat("/d/f", vfs.SetAttr{Mask: vfs.SetUID | vfs.SetMtime, UID: 42, Mtime: linux.Timespec{Sec: 99}}))
	lower.OK(vfs.SetXattr(lower.Ctx, lower.Must("/d/f"), "user.k", []byte("v"), 0))
	return vfstest.NewEnv(t, vfstest.Root(), over(t, fs)), lower
}

func TestCopyUp_keepsIdentity(t *testing.T) {
	e, lower := lowerEnv(t)
	before, dir := e.MustStat("/d/f"), e.MustStat("/d")
	old := e.MustOpen("/d/f", linux.O_RDONLY, 0)
	defer old.DecRef(e.Ctx)
	f := e.MustOpen("/d/f", linux.O_RDWR|linux.O_APPEND, 0)
	defer f.DecRef(e.Ctx)
	f.Write(e.Ctx, []byte("+upper"))
	after := e.MustStat("/d/f")
	if after.Ino != before.Ino || after.Dev != before.Dev || after.UID != 42 || after.Mode != before.Mode {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if a, err := f.Attr(e.Ctx); err != nil || a.Ino != before.Ino || a.Size != 11 {
		t.Errorf("fstat %+v %v", a, err)
	}
	if got := e.ReadFile(old); got != "lower" {
		t.Errorf("what was open before reads %q", got)
	}
	if v, err := vfs.Xattr(e.Ctx, e.Must("/d/f"), "user.k"); string(v) != "v" || err != nil {
		t.Errorf("xattr %q %v", v, err)
	}
	if e.Read("/d/f") != "lower+upper" || lower.Read("/d/f") != "lower" {
		t.Errorf("overlay %q, lower %q", e.Read("/d/f"), lower.Read("/d/f"))
	}
	if d := e.MustStat("/d"); d.Mtime != dir.Mtime || d.Mode != dir.Mode || d.Ino != dir.Ino {
		t.Errorf("directory before %+v, after %+v", dir, d)
	}
}

func TestWhiteouts(t *testing.T) {
	e, lower := lowerEnv(t)
	f := e.MustOpen("/d/f", linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	e.OK(e.Unlink("/d/f"))
	if got := e.List("/d"); got != "l sub" {
		t.Errorf("list %q", got)
	}
	if a, err := f.Attr(e.Ctx); err != nil || a.Nlink != 0 {
		t.Errorf("nlink %d %v", a.Nlink, err)
	}
	if got := e.ReadFile(f); got != "lower" {
		t.Errorf("read %q", got)
	}
	e.OK(f.SetStat(e.Ctx, vfs.SetAttr{Mask: vfs.SetMode, Mode: 0o600})) // copied up without a name
	if got := e.List("/d"); got != "l sub" {
		t.Errorf("list after fchmod %q", got)
	}
	e.Write("/d/f", "new")
	e.OK(e.Unlink("/d/f"))
	_, err := e.Stat("/d/f")
	e.Is(err, linux.ENOENT)
	e.Is(e.Rmdir("/d/sub"), linux.ENOTEMPTY)
	e.OK(e.Unlink("/d/sub/g"))
	e.OK(e.Rmdir("/d/sub"))
	e.OK(e.Mkdir("/d/sub", 0o700))
	if got := e.List("/d/sub"); got != "" {
		t.Errorf("a new directory shows %q of the old", got)
	}
	if lower.List("/d") != "f l sub" || lower.Read("/d/sub/g") != "deep" {
		t.Error("the lower changed")
	}
}

func TestRename_lowerDirectory(t *testing.T) {
	e, _ := lowerEnv(t)
	e.Is(e.Rename("/d", "/e", 0), linux.EXDEV)
	e.OK(e.Mkdir("/new", 0o755))
	e.OK(e.Rename("/d/f", "/new/f", 0))
	e.OK(e.Rename("/new", "/newer", 0))
	if e.Read("/newer/f") != "lower" || e.List("/d") != "l sub" {
		t.Errorf("%q, %q", e.Read("/newer/f"), e.List("/d"))
	}
	e.OK(e.Rename("/newer/f", "/d/l", 0))
	if got := e.List("/d"); got != "l sub" || e.Read("/d/l") != "lower" {
		t.Errorf("%q", got)
	}
	e.OK(e.Unlink("/d/l"))
	if got := e.List("/d"); got != "sub" {
		t.Errorf("%q", got)
	}
}

// TestListing_inodes: a listing shows the numbers that stat shows.
func TestListing_inodes(t *testing.T) {
	e, _ := lowerEnv(t)
	e.Write("/d/new", "")
	e.OK(e.Chmod("/d/f", 0o600))
	d := e.MustOpen("/d", linux.O_RDONLY, 0)
	defer d.DecRef(e.Ctx)
	e.OK(d.ReadDir(e.Ctx, func(en vfs.DirEntry) bool {
		if a := e.MustStat("/d/" + en.Name); a.Ino != en.Ino {
			t.Errorf("%s: %d, stat %d", en.Name, en.Ino, a.Ino)
		}
		return true
	}))
}

// TestOpen_lowerImpl: what is opened read-only is the lower's own, at its cost.
func TestOpen_lowerImpl(t *testing.T) {
	e, _ := lowerEnv(t)
	f := e.MustOpen("/d/f", linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	if _, ok := f.Impl().(vfs.Mapper); !ok {
		t.Error("cannot be mapped")
	}
	a, _ := f.Attr(e.Ctx)
	if s := e.MustStat("/d/f"); a.Ino != s.Ino || a.Dev != s.Dev {
		t.Errorf("fstat %+v, stat %+v", a, s)
	}
}
