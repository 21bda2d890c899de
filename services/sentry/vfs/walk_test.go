package vfs_test

import (
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

func newEnv(t testing.TB) *vfstest.Env {
	return vfstest.NewEnv(t, vfstest.Root(), tmpfs.New(tmpfs.Options{Mode: 0o755}))
}

func deepEnv(t testing.TB) *vfstest.Env {
	e := newEnv(t)
	e.OK(e.Mkdir("/usr", 0o755))
	e.OK(e.Mkdir("/usr/lib", 0o755))
	e.Write("/usr/lib/libc.so", "x")
	return e
}

// TestStatCachedPath_allocations: a walk over cached components takes no memory.
func TestStatCachedPath_allocations(t *testing.T) {
	e := deepEnv(t)
	for _, ctx := range []vfs.Context{vfstest.Root(), vfstest.User(1000)} {
		n := testing.AllocsPerRun(100, func() {
			p, err := vfs.Walk(ctx, e.Root, e.Root, "/usr/lib/libc.so", 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vfs.Stat(ctx, p); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkStatCachedPath(b *testing.B) {
	for name, ctx := range map[string]vfs.Context{"root": vfstest.Root(), "user": vfstest.User(1000)} {
		b.Run(name, func(b *testing.B) {
			e := deepEnv(b)
			b.ReportAllocs()
			for b.Loop() {
				p, _ := vfs.Walk(ctx, e.Root, e.Root, "/usr/lib/libc.so", 0)
				vfs.Stat(ctx, p)
			}
		})
	}
}

func BenchmarkOpenReadClose(b *testing.B) {
	e := deepEnv(b)
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		f, _ := e.Open("/usr/lib/libc.so", linux.O_RDONLY, 0)
		f.Read(e.Ctx, buf)
		f.Flush(e.Ctx)
		f.DecRef(e.Ctx)
	}
}

func BenchmarkCreateWriteUnlink(b *testing.B) {
	e := newEnv(b)
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		f, _ := e.Open("/tmpfile", linux.O_RDWR|linux.O_CREAT, 0o600)
		f.Write(e.Ctx, buf)
		f.DecRef(e.Ctx)
		e.Unlink("/tmpfile")
	}
}

func TestSymlinkLimit(t *testing.T) {
	e := newEnv(t)
	e.Write("/l0", "end")
	for i := range 41 {
		e.OK(e.Symlink("l"+itoa(i), "/l"+itoa(i+1)))
	}
	if got := e.Read("/l40"); got != "end" {
		t.Errorf("40 symlinks: %q", got)
	}
	_, err := e.Stat("/l41")
	e.Is(err, linux.ELOOP)
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestResolveFlags(t *testing.T) {
	e := newEnv(t)
	for _, d := range []string{"/in", "/in/sub", "/out", "/in/mnt"} {
		e.OK(e.Mkdir(d, 0o755))
	}
	e.Write("/in/f", "in")
	e.Write("/out/f", "out")
	e.Write("/f", "top")
	e.OK(e.Symlink("../out/f", "/in/rel"))
	e.OK(e.Symlink("/f", "/in/abs"))
	e.OK(e.Symlink("sub/../f", "/in/ok"))
	e.OK(e.NS.Mount(e.Ctx, e.Must("/in/mnt"), tmpfs.New(tmpfs.Options{}), "tmpfs", 0))
	start := e.Must("/in")
	for _, c := range []struct {
		path  string
		flags vfs.WalkFlags
		want  string // path, or error
	}{
		{"f", vfs.Beneath, "/in/f"},
		{"ok", vfs.Beneath, "/in/f"},
		{"rel", vfs.Beneath, linux.EXDEV.Error()},
		{"abs", vfs.Beneath, linux.EXDEV.Error()},
		{"/f", vfs.Beneath, linux.EXDEV.Error()},
		{"..", vfs.Beneath, linux.EXDEV.Error()},
		{"sub/..", vfs.Beneath, "/in"},
		{"abs", vfs.InRoot, "/in/f"},
		{"../../../f", vfs.InRoot, "/in/f"},
		{"/sub/../../f", vfs.InRoot, "/in/f"},
		{"ok", vfs.NoSymlinks, linux.ELOOP.Error()},
		{"ok", vfs.NoSymlinks | vfs.NoFollow, "/in/ok"},
		{"mnt", vfs.NoXdev, linux.EXDEV.Error()},
		{"mnt/..", 0, "/in"},
		{"../in/f", vfs.NoXdev, "/in/f"},
		{"", vfs.Empty, "/in"},
		{"", 0, linux.ENOENT.Error()},
		{"f", vfs.MustDirectory, linux.ENOTDIR.Error()},
		{"ok/", 0, linux.ENOTDIR.Error()},
		{"never", vfs.Cached, linux.EAGAIN.Error()},
	} {
		p, err := vfs.Walk(e.Ctx, e.Root, start, c.path, c.flags)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got, _ = vfs.PathName(e.Root, p)
		}
		if got != c.want {
			t.Errorf("%q %x: %s, want %s", c.path, c.flags, got, c.want)
		}
	}
}

func TestWalkParent(t *testing.T) {
	e := deepEnv(t)
	e.OK(e.Symlink("usr/lib", "/lib"))
	for _, c := range []struct{ path, dir, last, err string }{
		{"/usr/new", "/usr", "new", ""},
		{"/lib/new//", "/usr/lib", "new/", ""},
		{"/lib", "/", "lib", ""},
		{"/", "/", "/", ""},
		{"//..", "/", "..", ""},
		{"/usr/.", "/usr", ".", ""},
		{"/none/x", "", "", linux.ENOENT.Error()},
		{"/usr/lib/libc.so/x", "", "", linux.ENOTDIR.Error()},
	} {
		dir, last, _, err := vfs.WalkParent(e.Ctx, e.Root, e.Root, c.path, 0)
		if err != nil {
			if err.Error() != c.err {
				t.Errorf("%s: %v", c.path, err)
			}
			continue
		}
		if name, _ := vfs.PathName(e.Root, dir); name != c.dir || last != c.last {
			t.Errorf("%s: %s, %s", c.path, name, last)
		}
	}
}

// naive resolves as path_resolution(7) reads, over a map of what is where.
func naive(tree map[string]string, cwd, path string, follow bool, links *int) (string, bool) {
	if path == "" {
		return "", false
	}
	at := cwd
	if path[0] == '/' {
		at = "/"
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if part == "" || part == "." {
			if tree[at] != "d" {
				return "", false
			}
			continue
		}
		if tree[at] != "d" {
			return "", false
		}
		if part == ".." {
			at = at[:strings.LastIndexByte(at, '/')]
			if at == "" {
				at = "/"
			}
			continue
		}
		next := strings.TrimSuffix(at, "/") + "/" + part
		kind, ok := tree[next]
		if !ok {
			return "", false
		}
		last := i == len(parts)-1
		if target, isLink := strings.CutPrefix(kind, "l:"); isLink && (!last || follow) {
			if *links++; *links > 40 {
				return "", false
			}
			if next, ok = naive(tree, at, target, true, links); !ok {
				return "", false
			}
		}
		at = next
	}
	return at, true
}

// FuzzWalk compares walks over a tree with symlinks with the naive resolver.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{"/a/b/../l1", "a/l2/x", "l3/", "../../..", "a//b/./f", "loop", "l4/l4/l4", "abs/..", "f/.", "f/"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	tree := map[string]string{
		"/": "d", "/a": "d", "/a/b": "d", "/a/b/c": "d", "/f": "f", "/a/f": "f", "/a/b/f": "f",
		"/l1": "l:a/b", "/a/l2": "l:../l1", "/a/b/l3": "l:/a/l2/c", "/l4": "l:.", "/loop": "l:loop",
		"/abs": "l:/a/b/c/", "/dangling": "l:none", "/a/b/c/up": "l:../../..", "/ff": "l:f/", "/a/slash": "l:/",
	}
	f.Fuzz(func(t *testing.T, path string, follow bool) {
		if strings.ContainsRune(path, 0) || len(path) > 200 {
			return
		}
		e := newEnv(t)
		for _, p := range []string{"/a", "/a/b", "/a/b/c"} {
			e.OK(e.Mkdir(p, 0o755))
		}
		for p, kind := range tree {
			if target, ok := strings.CutPrefix(kind, "l:"); ok {
				e.OK(e.Symlink(target, p))
			} else if kind == "f" {
				e.Write(p, "")
			}
		}
		var flags vfs.WalkFlags
		if !follow {
			flags = vfs.NoFollow
		}
		links := 0
		want, ok := naive(tree, "/", path, follow, &links)
		p, err := e.Walk(path, flags)
		if ok != (err == nil) {
			t.Fatalf("%q: %v, naive %q %v", path, err, want, ok)
		}
		if err != nil {
			return
		}
		if got, _ := vfs.PathName(e.Root, p); got != want {
			t.Fatalf("%q: %q, naive %q", path, got, want)
		}
	})
}
