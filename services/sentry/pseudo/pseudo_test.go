package pseudo

import (
	"strconv"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// tree is what vfstest.RunReadOnly wants. That suite's refusals are not of this
// package: chmod of a file in /proc is EPERM, not EROFS.
func tree() *FS {
	fs := New("test", 1)
	deep := fs.Dir(0o755, nil).Add("deep", fs.Text(0o644, "deep\n"))
	fs.SetRoot(fs.Dir(0o755, nil).
		Add("file", fs.Text(0o644, "hello\n")).
		Add("empty", fs.Text(0o600, "")).
		Add("dir", fs.Dir(0o755, nil).Add("sub", deep)).
		Add("link", fs.LinkTo("dir/sub/deep")).
		Add("loop", fs.LinkTo("loop")))
	return fs
}

func TestTree(t *testing.T) {
	e := vfstest.NewEnv(t, vfstest.Root(), tree())
	for path, want := range map[string]string{"/file": "hello\n", "/empty": "", "/link": "deep\n", "/dir/../file": "hello\n"} {
		if got := e.Read(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := e.List("/"); got != "dir empty file link loop" {
		t.Errorf("list %q", got)
	}
	_, err := e.Stat("/loop")
	e.Is(err, linux.ELOOP)
	_, err = e.Stat("/none")
	e.Is(err, linux.ENOENT)
	if a, _ := e.Stat("/"); a.Nlink != 3 {
		t.Errorf("root has %d links", a.Nlink)
	}
}

func TestChangesAreRefused(t *testing.T) {
	e := vfstest.NewEnv(t, vfstest.Root(), tree())
	for what, c := range map[string]struct{ got, want error }{
		"mkdir":   {e.Mkdir("/d", 0o755), linux.EPERM},
		"unlink":  {e.Unlink("/file"), linux.EPERM},
		"rename":  {e.Rename("/file", "/g", 0), linux.EPERM},
		"symlink": {e.Symlink("t", "/g"), linux.EPERM},
		"chmod":   {e.Chmod("/file", 0), linux.EPERM},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	f := e.MustOpen("/file", linux.O_RDWR|linux.O_TRUNC, 0)
	defer f.DecRef(e.Ctx)
	_, err := f.Write(e.Ctx, []byte("x"))
	e.Is(err, linux.EIO)
}

// numbers are the names 1 to n.
type numbers struct {
	fs *FS
	n  int
}

func (d *numbers) Lookup(_ vfs.Context, name string) (vfs.Node, error) {
	if i, err := strconv.Atoi(name); err == nil && i >= 1 && i <= d.n {
		return d.fs.Text(0o444, name), nil
	}
	return nil, linux.ENOENT
}

func (d *numbers) Names(vfs.Context) (names []Name, err error) {
	for i := range d.n {
		names = append(names, Name{Name: strconv.Itoa(i + 1), Type: linux.DT_REG, Key: int64(i + 1)})
	}
	return names, nil
}

func (d *numbers) Valid(ctx vfs.Context, name string, _ vfs.Node) bool {
	_, err := d.Lookup(ctx, name)
	return err == nil
}

func TestDynamicNames(t *testing.T) {
	fs := New("test", 1)
	d := &numbers{fs, 3}
	fs.SetRoot(fs.Dir(0o755, nil).Add("a", fs.Text(0o444, "")).WithDynamic(d))
	e := vfstest.NewEnv(t, vfstest.Root(), fs)
	f := e.MustOpen("/", linux.O_RDONLY|linux.O_DIRECTORY, 0)
	defer f.DecRef(e.Ctx)
	var got string
	for { // one name a call, and a name goes between two of them
		before := got
		f.ReadDir(e.Ctx, func(x vfs.DirEntry) bool {
			if got != before {
				return false
			}
			got += x.Name + " "
			return true
		})
		if got == before {
			break
		}
		if len(got) > 9 {
			d.n = 2
		}
	}
	if got != ". .. a 1 2 " {
		t.Errorf("names %q", got)
	}
	e.Must("/2")
	d.n = 1
	if _, err := e.Walk("/2", 0); err != linux.ENOENT {
		t.Errorf("a name that went: %v, want ENOENT", err)
	}
	d.n = 2
	e.Must("/2")
}

func TestTextIsOneSnapshot(t *testing.T) {
	fs := New("test", 1)
	version := 0
	fs.SetRoot(fs.Dir(0o755, nil).Add("f", fs.File(0o444, nil, func(vfs.Context) ([]byte, error) {
		version++
		return []byte("version " + strconv.Itoa(version)), nil
	})))
	e := vfstest.NewEnv(t, vfstest.Root(), fs)
	f := e.MustOpen("/f", linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	read := func() (s string) {
		b := make([]byte, 4)
		for {
			n, err := f.Read(e.Ctx, b)
			if n == 0 || err != nil {
				return s
			}
			s += string(b[:n])
		}
	}
	if got := read(); got != "version 1" {
		t.Errorf("%q", got)
	}
	f.Seek(e.Ctx, 0, linux.SEEK_SET)
	if got := read(); got != "version 2" {
		t.Errorf("from the start again: %q", got)
	}
}
