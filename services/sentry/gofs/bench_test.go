package gofs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	"bulkhead/services/gofer/server"
	"bulkhead/services/sentry/gofs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

const goferEnv = "GOFS_TEST_GOFER"

// TestMain lets the benchmarks have their gofer in another process.
func TestMain(m *testing.M) {
	if os.Getenv(goferEnv) == "" {
		os.Exit(m.Run())
	}
	if err := server.Serve(os.NewFile(3, "conn"), []server.Attach{{Dir: os.NewFile(4, "root")}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// remote mounts a host directory through a gofer of its own, and gives its pid.
func remote(b testing.TB, path string, opts gofs.Options) (*vfstest.Env, int) {
	b.Helper()
	near, far, err := channel.Pair()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), goferEnv+"=1")
	cmd.ExtraFiles = []*os.File{far, openDir(b, path)}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	far.Close()
	conn, err := channel.New(near)
	if err != nil {
		b.Fatal(err)
	}
	client := channel.NewClient(conn, nil)
	b.Cleanup(func() { client.Close(); cmd.Wait() })
	fs, err := gofs.New(client, 0, opts)
	if err != nil {
		b.Fatal(err)
	}
	return vfstest.NewEnv(b, vfstest.Root(), fs), cmd.Process.Pid
}

func benchTree(b *testing.B) string {
	dir := hostDir(b)
	os.MkdirAll(dir+"/a/b/c", 0o755)
	os.WriteFile(dir+"/a/b/c/f", []byte("text"), 0o644)
	os.Mkdir(dir+"/many", 0o755)
	for i := range 1000 {
		os.WriteFile(fmt.Sprintf("%s/many/file-%d", dir, i), nil, 0o644)
	}
	return dir
}

// The shared mode shows what a round trip costs; the exclusive one what the
// caches save.

func BenchmarkStatShared(b *testing.B) {
	e, _ := remote(b, benchTree(b), gofs.Options{Shared: true})
	for b.Loop() {
		e.MustStat("/many")
	}
}

func BenchmarkStatExclusive(b *testing.B) {
	e, _ := remote(b, benchTree(b), gofs.Options{})
	for b.Loop() {
		e.MustStat("/a/b/c/f")
	}
}

func benchOpen(b *testing.B, opts gofs.Options) {
	e, _ := remote(b, benchTree(b), opts)
	for b.Loop() {
		e.MustOpen("/a/b/c/f", linux.O_RDONLY, 0).DecRef(e.Ctx)
	}
}

func BenchmarkOpenCloseShared(b *testing.B)    { benchOpen(b, gofs.Options{Shared: true}) }
func BenchmarkOpenCloseExclusive(b *testing.B) { benchOpen(b, gofs.Options{}) }

// BenchmarkWalk3 looks three components up that nobody has looked up before,
// one by one and at once.
func BenchmarkWalk3(b *testing.B) {
	for _, hint := range []bool{false, true} {
		b.Run(fmt.Sprintf("prefetch=%v", hint), func(b *testing.B) {
			dir := hostDir(b)
			for i := range 2000 {
				os.MkdirAll(fmt.Sprintf("%s/%d/b", dir, i), 0o755)
				os.WriteFile(fmt.Sprintf("%s/%d/b/c", dir, i), nil, 0o644)
			}
			e, _ := remote(b, dir, gofs.Options{})
			root := e.Root.Node().(vfs.Directory)
			b.ResetTimer()
			for n := 0; n < b.N; n += 2000 {
				for i := range min(2000, b.N-n) {
					name := fmt.Sprint(i)
					if hint {
						root.(vfs.Prefetcher).Prefetch(e.Ctx, []string{name, "b", "c"})
					}
					d, err := root.Lookup(e.Ctx, name)
					for _, next := range []string{"b", "c"} {
						if err == nil {
							var c vfs.Node
							c, err = d.(vfs.Directory).Lookup(e.Ctx, next)
							d = c
						}
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkReadDir1000 and with a stat of each: in shared mode, every time anew.
func BenchmarkReadDir1000(b *testing.B) {
	e, _ := remote(b, benchTree(b), gofs.Options{Shared: true})
	for b.Loop() {
		f := e.MustOpen("/many", linux.O_RDONLY, 0)
		n := 0
		f.ReadDir(e.Ctx, func(vfs.DirEntry) bool { n++; return true })
		f.DecRef(e.Ctx)
		if n < 1000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkListTree is `ls -lR` of what there is at a fresh mount, per file.
func BenchmarkListTree(b *testing.B) {
	dir := hostDir(b)
	const dirs, files = 50, 40
	for i := range dirs {
		d := fmt.Sprintf("%s/d%d", dir, i)
		os.Mkdir(d, 0o755)
		for j := range files {
			os.WriteFile(fmt.Sprintf("%s/f%d", d, j), nil, 0o644)
		}
	}
	for b.Loop() {
		b.StopTimer()
		e, _ := remote(b, dir, gofs.Options{})
		b.StartTimer()
		var visit func(path string)
		visit = func(path string) {
			f := e.MustOpen(path, linux.O_RDONLY, 0)
			var sub []string
			f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
				if d.Name == "." || d.Name == ".." {
					return true
				}
				p := filepath.Join(path, d.Name)
				e.MustStat(p)
				if d.Type == linux.DT_DIR {
					sub = append(sub, p)
				}
				return true
			})
			f.DecRef(e.Ctx)
			for _, p := range sub {
				visit(p)
			}
		}
		visit("/")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(dirs*files), "ns/file")
}
