package vfstest

import (
	"io"
	"sort"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Env is a mount namespace seen by one thread. Its calls take paths from Root.
type Env struct {
	T    testing.TB
	Ctx  vfs.Context
	NS   *vfs.Namespace
	Root vfs.Path
}

// NewEnv mounts fs as root for ctx.
func NewEnv(t testing.TB, ctx vfs.Context, fs vfs.FileSystem) *Env {
	t.Helper()
	ns := vfs.NewNamespace(fs, 0)
	t.Cleanup(ns.Release)
	return &Env{t, ctx, ns, ns.Root()}
}

// As is the same tree seen by somebody else.
func (e *Env) As(ctx vfs.Context) *Env { return &Env{e.T, ctx, e.NS, e.Root} }

// Walk resolves path.
func (e *Env) Walk(path string, flags vfs.WalkFlags) (vfs.Path, error) {
	return vfs.Walk(e.Ctx, e.Root, e.Root, path, flags)
}

// Must resolves what has to be there.
func (e *Env) Must(path string) vfs.Path {
	e.T.Helper()
	p, err := e.Walk(path, vfs.NoFollow)
	if err != nil {
		e.T.Fatalf("walk %s: %v", path, err)
	}
	return p
}

// Open is open(2).
func (e *Env) Open(path string, flags linux.OpenFlags, mode uint32) (*vfs.File, error) {
	return vfs.Open(e.Ctx, e.Root, e.Root, path, flags, mode, 0, 0)
}

// MustOpen opens what has to open; the test closes it.
func (e *Env) MustOpen(path string, flags linux.OpenFlags, mode uint32) *vfs.File {
	e.T.Helper()
	f, err := e.Open(path, flags, mode)
	if err != nil {
		e.T.Fatalf("open %s: %v", path, err)
	}
	return f
}

func (e *Env) at(path string, do func(dir vfs.Path, last string) error) error {
	dir, last, _, err := vfs.WalkParent(e.Ctx, e.Root, e.Root, path, 0)
	if err != nil {
		return err
	}
	return do(dir, last)
}

// Mkdir is mkdir(2).
func (e *Env) Mkdir(path string, mode uint32) error {
	return e.at(path, func(d vfs.Path, n string) error { return vfs.Mkdir(e.Ctx, d, n, mode) })
}

// Mknod is mknod(2).
func (e *Env) Mknod(path string, mode uint32, rdev uint64) error {
	return e.at(path, func(d vfs.Path, n string) error { return vfs.Mknod(e.Ctx, d, n, mode, rdev) })
}

// Symlink is symlink(2).
func (e *Env) Symlink(target, path string) error {
	return e.at(path, func(d vfs.Path, n string) error { return vfs.MakeSymlink(e.Ctx, d, n, target) })
}

// Unlink is unlink(2).
func (e *Env) Unlink(path string) error {
	return e.at(path, func(d vfs.Path, n string) error { return vfs.Unlink(e.Ctx, d, n) })
}

// Rmdir is rmdir(2).
func (e *Env) Rmdir(path string) error {
	return e.at(path, func(d vfs.Path, n string) error { return vfs.Rmdir(e.Ctx, d, n) })
}

// Link is link(2).
func (e *Env) Link(old, path string) error {
	p, err := e.Walk(old, vfs.NoFollow)
	if err != nil {
		return err
	}
	return e.at(path, func(d vfs.Path, n string) error { return vfs.Link(e.Ctx, p, d, n) })
}

// Rename is renameat2(2).
func (e *Env) Rename(old, path string, flags linux.RenameFlags) error {
	return e.at(old, func(od vfs.Path, on string) error {
		return e.at(path, func(d vfs.Path, n string) error {
			return vfs.Rename(e.Ctx, od, on, d, n, uint32(flags))
		})
	})
}

// Stat is stat(2).
func (e *Env) Stat(path string) (vfs.Attr, error) {
	p, err := e.Walk(path, 0)
	if err != nil {
		return vfs.Attr{}, err
	}
	return vfs.Stat(e.Ctx, p)
}

// MustStat is lstat(2) of what has to be there.
func (e *Env) MustStat(path string) vfs.Attr {
	e.T.Helper()
	a, err := vfs.Stat(e.Ctx, e.Must(path))
	if err != nil {
		e.T.Fatalf("stat %s: %v", path, err)
	}
	return a
}

// SetStat is chmod(2) and its like.
func (e *Env) SetStat(path string, s vfs.SetAttr) error {
	p, err := e.Walk(path, 0)
	if err != nil {
		return err
	}
	return vfs.SetStat(e.Ctx, p, s)
}

// Chmod is chmod(2).
func (e *Env) Chmod(path string, mode uint32) error {
	return e.SetStat(path, vfs.SetAttr{Mask: vfs.SetMode, Mode: mode})
}

// Write makes a file with that text in it.
func (e *Env) Write(path, text string) {
	e.T.Helper()
	f := e.MustOpen(path, linux.O_WRONLY|linux.O_CREAT|linux.O_TRUNC, 0o644)
	defer f.DecRef(e.Ctx)
	if n, err := f.Write(e.Ctx, []byte(text)); n != len(text) || err != nil {
		e.T.Fatalf("write %s: %d, %v", path, n, err)
	}
}

// Read gives all of a file, or the error of opening it in brackets.
func (e *Env) Read(path string) string {
	e.T.Helper()
	f, err := e.Open(path, linux.O_RDONLY, 0)
	if err != nil {
		return "[" + err.Error() + "]"
	}
	defer f.DecRef(e.Ctx)
	return e.ReadFile(f)
}

// ReadFile reads from the file's position to the end.
func (e *Env) ReadFile(f *vfs.File) string {
	e.T.Helper()
	b, err := io.ReadAll(reader{e.Ctx, f})
	if err != nil {
		e.T.Fatalf("read: %v", err)
	}
	return string(b)
}

type reader struct {
	ctx vfs.Context
	f   *vfs.File
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.f.Read(r.ctx, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// List gives the names in a directory, sorted, without "." and "..".
func (e *Env) List(path string) string {
	e.T.Helper()
	f := e.MustOpen(path, linux.O_RDONLY|linux.O_DIRECTORY, 0)
	defer f.DecRef(e.Ctx)
	var names []string
	seen := map[string]bool{}
	if err := f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
		if seen[d.Name] {
			e.T.Errorf("list %s: %q twice", path, d.Name)
		}
		seen[d.Name] = true
		if d.Name != "." && d.Name != ".." {
			names = append(names, d.Name)
		}
		return true
	}); err != nil {
		e.T.Fatalf("list %s: %v", path, err)
	}
	if !seen["."] || !seen[".."] {
		e.T.Errorf("list %s: no dots", path)
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

// OK fails the test unless err is nil.
func (e *Env) OK(err error) {
	e.T.Helper()
	if err != nil {
		e.T.Fatalf("unexpected error: %v", err)
	}
}

// Is fails the test unless err is want.
func (e *Env) Is(err, want error) {
	e.T.Helper()
	if err != want {
		e.T.Errorf("got error %v, want %v", err, want)
	}
}
