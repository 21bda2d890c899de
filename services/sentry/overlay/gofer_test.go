package overlay_test

import (
	"os"
	"path/filepath"
	"testing"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	"bulkhead/services/gofer/server"
	"bulkhead/services/sentry/gofs"
	"bulkhead/services/sentry/overlay"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// overHost is an overlay over a host directory, which a gofer serves read-only.
func overHost(t testing.TB, path string) vfs.FileSystem {
	near, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(far, []server.Attach{{Dir: dir, ReadOnly: true}}) }()
	conn, err := channel.New(near)
	if err != nil {
		t.Fatal(err)
	}
	client := channel.NewClient(conn, nil)
	t.Cleanup(func() {
		client.Close()
		if err := <-done; err != nil {
			t.Error("serve:", err)
		}
		dir.Close()
	})
	lower, err := gofs.New(client, 0, gofs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := overlay.New(lower, tmpfs.New(tmpfs.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func hostDir(t testing.TB) string {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	return dir
}

func TestOverGofer_conformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FileSystem { return overHost(t, hostDir(t)) }, vfstest.Options{})
}

// TestOverGofer_model has a lower that the model's first operations filled.
func TestOverGofer_model(t *testing.T) {
	vfstest.RunModel(t, vfstest.ModelOptions{
		Make: func(t *testing.T, seed func(vfs.FileSystem)) vfs.FileSystem {
			dir := hostDir(t)
			fs := tmpfs.New(tmpfs.Options{Mode: 0o755})
			seed(fs)
			export(vfstest.NewEnv(t, vfstest.Root(), fs), "/", dir)
			return overHost(t, dir)
		},
		DirRenameEXDEV: true,
		Rounds:         10,
	})
}

// export copies a tree to the host.
func export(e *vfstest.Env, path, to string) {
	f := e.MustOpen(path, linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	e.OK(f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
		from, dst := filepath.Join(path, d.Name), filepath.Join(to, d.Name)
		switch {
		case d.Name == "." || d.Name == "..":
		case d.Type == linux.DT_DIR:
			e.OK(os.Mkdir(dst, 0o755))
			export(e, from, dst)
		case d.Type == linux.DT_LNK:
			target, _ := vfs.Readlink(e.Ctx, e.Must(from))
			e.OK(os.Symlink(target, dst))
		default:
			e.OK(os.WriteFile(dst, []byte(e.Read(from)), 0o644))
		}
		return true
	}))
}

func BenchmarkStatLowerCached(b *testing.B) {
	dir := hostDir(b)
	os.MkdirAll(dir+"/a/b", 0o755)
	os.WriteFile(dir+"/a/b/f", []byte("x"), 0o644)
	e := vfstest.NewEnv(b, vfstest.Root(), overHost(b, dir))
	b.ReportAllocs()
	for b.Loop() {
		p, _ := e.Walk("/a/b/f", 0)
		vfs.Stat(e.Ctx, p)
	}
}

func BenchmarkOpenReadLower(b *testing.B) {
	dir := hostDir(b)
	os.MkdirAll(dir+"/a/b", 0o755)
	os.WriteFile(dir+"/a/b/f", []byte("x"), 0o644)
	e := vfstest.NewEnv(b, vfstest.Root(), overHost(b, dir))
	buf := make([]byte, 10)
	b.ReportAllocs()
	for b.Loop() {
		f, err := e.Open("/a/b/f", linux.O_RDONLY, 0)
		if err != nil {
			b.Fatal(err)
		}
		f.Read(e.Ctx, buf)
		f.DecRef(e.Ctx)
	}
}
