package gofs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	"bulkhead/services/gofer/server"
	"bulkhead/services/sentry/gofs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// serve runs a gofer on dir in this process, and gives its client.
func serve(t testing.TB, attaches ...server.Attach) *channel.Client {
	t.Helper()
	near, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(far, attaches) }()
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
	})
	return client
}

func openDir(t testing.TB, path string) *os.File {
	t.Helper()
	d, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// mount makes a file system of a host directory.
func mount(t testing.TB, path string, readOnly bool, opts gofs.Options) *gofs.FS {
	t.Helper()
	fs, err := gofs.New(serve(t, server.Attach{Dir: openDir(t, path), ReadOnly: readOnly}), 0, opts)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// hostDir is a fresh host directory that belongs to root and that all may enter.
func hostDir(t testing.TB) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	return dir
}

func TestSuiteExclusive(t *testing.T) { suite(t, gofs.Options{}) }

func TestSuiteShared(t *testing.T) { suite(t, gofs.Options{Shared: true}) }

func suite(t *testing.T, opts gofs.Options) {
	vfstest.Run(t, func(t *testing.T) vfs.FileSystem { return mount(t, hostDir(t), false, opts) },
		vfstest.Options{NoDevices: true, NoTmpfile: true})
}

func TestSuiteReadOnly(t *testing.T) {
	for _, opts := range []gofs.Options{{}, {Shared: true}} {
		vfstest.RunReadOnly(t, func(t *testing.T) vfs.FileSystem {
			dir := hostDir(t)
			os.WriteFile(dir+"/file", []byte("hello\n"), 0o644)
			os.WriteFile(dir+"/empty", nil, 0o600)
			os.MkdirAll(dir+"/dir/sub", 0o755)
			os.WriteFile(dir+"/dir/sub/deep", []byte("deep\n"), 0o644)
			os.Symlink("dir/sub/deep", dir+"/link")
			os.Symlink("loop", dir+"/loop")
			return mount(t, dir, true, opts)
		})
	}
}

// TestStatAfterReadDir: what `ls -l` sees, in every size and order.
func TestStatAfterReadDir(t *testing.T) {
	dir := hostDir(t)
	for i := range 2500 {
		os.WriteFile(fmt.Sprintf("%s/file-%04d", dir, i), make([]byte, i), 0o644)
	}
	os.Symlink("file-0001", dir+"/link")
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, dir, false, gofs.Options{}))
	if n := len(strings.Fields(e.List("/"))); n < 2501 {
		t.Fatalf("%d names", n)
	}
	for i := range 2500 {
		if a := e.MustStat(fmt.Sprintf("/file-%04d", i)); a.Size != int64(i) {
			t.Fatalf("file %d: size %d", i, a.Size)
		}
	}
	if _, err := e.Stat("/file-9999"); err != linux.ENOENT {
		t.Error(err)
	}
	if s, err := vfs.Readlink(e.Ctx, e.Must("/link")); s != "file-0001" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
}

// TestRemovingWhileReading is rm -r.
func TestRemovingWhileReading(t *testing.T) {
	dir := hostDir(t)
	for i := range 1500 {
		os.WriteFile(fmt.Sprintf("%s/%04d", dir, i), nil, 0o644)
	}
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, dir, false, gofs.Options{}))
	f := e.MustOpen("/", linux.O_RDONLY|linux.O_DIRECTORY, 0)
	defer f.DecRef(e.Ctx)
	for {
		var part []string
		err := f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
			if len(part) == 100 {
				return false
			}
			part = append(part, d.Name)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(part) == 0 {
			break
		}
		for _, name := range part {
			if name != "." && name != ".." {
				if err := e.Unlink("/" + name); err != nil {
					t.Fatal(name, err)
				}
			}
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d left", len(left))
	}
}

// TestSharedSeesOthers: what others do to a shared tree is seen at once.
func TestSharedSeesOthers(t *testing.T) {
	dir := hostDir(t)
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, dir, false, gofs.Options{Shared: true}))
	if _, err := e.Stat("/f"); err != linux.ENOENT {
		t.Fatal(err)
	}
	os.WriteFile(dir+"/f", []byte("one"), 0o644)
	if s := e.Read("/f"); s != "one" {
		t.Errorf("read %q", s)
	}
	os.WriteFile(dir+"/g", []byte("another"), 0o600)
	os.Rename(dir+"/g", dir+"/f")
	if s := e.Read("/f"); s != "another" {
		t.Errorf("after rename: read %q", s)
	}
	if a := e.MustStat("/f"); a.Mode&0o777 != 0o600 || a.Size != 7 {
		t.Errorf("%o, %d", a.Mode, a.Size)
	}
	time.Sleep(2 * time.Millisecond)
	os.Truncate(dir+"/f", 100)
	if a := e.MustStat("/f"); a.Size != 100 {
		t.Errorf("size %d", a.Size)
	}
	os.Remove(dir + "/f")
	if _, err := e.Stat("/f"); err != linux.ENOENT {
		t.Error(err)
	}
	os.Mkdir(dir+"/d", 0o755)
	e.List("/d")
	os.WriteFile(dir+"/d/new", nil, 0o644)
	if s := e.List("/d"); !strings.Contains(s, "new") {
		t.Errorf("listed %q", s)
	}
}

// TestOwners: what is made belongs to the caller on the host too.
func TestOwners(t *testing.T) {
	dir := hostDir(t)
	os.Chmod(dir, 0o777)
	os.Mkdir(dir+"/team", 0o777)
	os.Chown(dir+"/team", 0, 77)
	os.Chmod(dir+"/team", os.ModeSetgid|0o777)
	e := vfstest.NewEnv(t, vfstest.User(1234), mount(t, dir, false, gofs.Options{}))
	e.Write("/f", "x")
	e.OK(e.Mkdir("/d", 0o755))
	e.OK(e.Symlink("f", "/l"))
	e.OK(e.Mknod("/p", linux.S_IFIFO|0o644, 0))
	e.OK(e.Mkdir("/team/d", 0o755))
	for name, want := range map[string]struct{ gid, mode uint32 }{
		"f": {1234, unix.S_IFREG | 0o644}, "d": {1234, unix.S_IFDIR | 0o755}, "l": {1234, unix.S_IFLNK | 0o777},
		"p": {1234, unix.S_IFIFO | 0o644}, "team/d": {77, unix.S_IFDIR | unix.S_ISGID | 0o755},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Error(err)
			continue
		}
		if name == "f" {
			st.Mode = st.Mode&^0o777 | 0o644
		}
		if st.Uid != 1234 || st.Gid != want.gid || st.Mode != want.mode {
			t.Errorf("%s: %d:%d %o, want 1234:%d %o", name, st.Uid, st.Gid, st.Mode, want.gid, want.mode)
		}
	}
}

// TestAttrsFollowWrites, through a descriptor, past its close, and by append.
func TestAttrsFollowWrites(t *testing.T) {
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, hostDir(t), false, gofs.Options{}))
	f := e.MustOpen("/f", linux.O_CREAT|linux.O_RDWR, 0o644)
	f.Write(e.Ctx, []byte("12345"))
	if a := e.MustStat("/f"); a.Size != 5 {
		t.Errorf("size %d", a.Size)
	}
	f.Write(e.Ctx, []byte("678"))
	f.DecRef(e.Ctx)
	if a := e.MustStat("/f"); a.Size != 8 {
		t.Errorf("after close: size %d", a.Size)
	}
	g := e.MustOpen("/f", linux.O_WRONLY|linux.O_APPEND, 0)
	g.Write(e.Ctx, []byte("9"))
	if p, err := g.Seek(e.Ctx, 0, 1); p != 9 || err != nil {
		t.Errorf("position %d, %v", p, err)
	}
	g.DecRef(e.Ctx)
	if s := e.Read("/f"); s != "123456789" {
		t.Errorf("%q", s)
	}
}

// TestUnlinkedOpenFile still has attributes that can be changed.
func TestUnlinkedOpenFile(t *testing.T) {
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, hostDir(t), false, gofs.Options{}))
	e.Write("/f", "text")
	f := e.MustOpen("/f", linux.O_RDWR, 0)
	defer f.DecRef(e.Ctx)
	e.OK(e.Unlink("/f"))
	e.OK(f.SetStat(e.Ctx, vfs.SetAttr{Mask: vfs.SetMode, Mode: 0o600}))
	e.OK(f.Truncate(e.Ctx, 2))
	if a, err := f.Attr(e.Ctx); err != nil || a.Mode&0o777 != 0o600 || a.Nlink != 0 || a.Size != 2 {
		t.Errorf("%o %d %d, %v", a.Mode, a.Nlink, a.Size, err)
	}
	e.Write("/f", "other")
	if s := e.ReadFile(f); s != "te" {
		t.Errorf("read %q", s)
	}
}

// TestHardLinksAreOneNode, whichever name goes first.
func TestHardLinksAreOneNode(t *testing.T) {
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, hostDir(t), false, gofs.Options{}))
	e.Write("/a", "1")
	e.OK(e.Mkdir("/d", 0o755))
	e.OK(e.Link("/a", "/d/b"))
	if e.Must("/a").Node() != e.Must("/d/b").Node() {
		t.Error("two nodes")
	}
	e.OK(e.Unlink("/a"))
	e.OK(e.Chmod("/d/b", 0o640))
	if a := e.MustStat("/d/b"); a.Nlink != 1 || a.Mode&0o777 != 0o640 {
		t.Errorf("%d %o", a.Nlink, a.Mode)
	}
	e.OK(e.Rename("/d", "/c", 0))
	if s := e.Read("/c/b"); s != "1" {
		t.Errorf("%q", s)
	}
}

// TestLinksLeadNowhereOutside: they are the guest's to follow, in its tree.
func TestLinksLeadNowhereOutside(t *testing.T) {
	dir := hostDir(t)
	os.Symlink("/etc/passwd", dir+"/abs")
	os.Symlink("../../../../../../etc/passwd", dir+"/up")
	e := vfstest.NewEnv(t, vfstest.Root(), mount(t, dir, false, gofs.Options{}))
	for _, name := range []string{"/abs", "/up", "/../../../etc/passwd"} {
		if _, err := e.Open(name, linux.O_RDONLY, 0); err != linux.ENOENT {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGoferDies: EIO, at once and for good; what was donated still works.
func TestGoferDies(t *testing.T) {
	dir := hostDir(t)
	os.WriteFile(dir+"/f", []byte("text"), 0o644)
	near, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(far, []server.Attach{{Dir: openDir(t, dir)}})
	conn, err := channel.New(near)
	if err != nil {
		t.Fatal(err)
	}
	client := channel.NewClient(conn, nil)
	fs, err := gofs.New(client, 0, gofs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := vfstest.NewEnv(t, vfstest.Root(), fs)
	f := e.MustOpen("/f", linux.O_RDONLY, 0)
	client.Close()
	if _, err := e.Stat("/g"); err != linux.EIO {
		t.Error("stat:", err)
	}
	if err := e.Mkdir("/d", 0o755); err != linux.EIO {
		t.Error("mkdir:", err)
	}
	if s := e.ReadFile(f); s != "text" {
		t.Errorf("read %q", s)
	}
	f.DecRef(e.Ctx)
	if _, err := gofs.New(client, 0, gofs.Options{}); err != linux.EIO {
		t.Error("attach:", err)
	}
}

// TestFileRoot is a file as an attach point: /etc/resolv.conf.
func TestFileRoot(t *testing.T) {
	dir := hostDir(t)
	os.WriteFile(dir+"/resolv.conf", []byte("nameserver"), 0o644)
	d := openDir(t, dir)
	fs, err := gofs.New(serve(t, server.Attach{Dir: d, Name: "resolv.conf"}), 0, gofs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	impl, err := fs.Root().(vfs.Opener).Open(vfstest.Root(), linux.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer impl.Release()
	if _, _, err := impl.(vfs.WriterAt).WriteAt(vfstest.Root(), []byte("N"), 0); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(dir + "/resolv.conf"); string(b) != "Nameserver" {
		t.Errorf("%q", b)
	}
	if _, err := fs.Statfs(vfstest.Root()); err != nil {
		t.Error(err)
	}
}

// TestPrefetch answers a walk's look-ups without asking again.
func TestPrefetch(t *testing.T) {
	dir := hostDir(t)
	os.MkdirAll(dir+"/a/b/c", 0o755)
	os.WriteFile(dir+"/a/b/c/f", []byte("x"), 0o644)
	fs := mount(t, dir, false, gofs.Options{})
	fs.Root().(vfs.Prefetcher).Prefetch(vfstest.Root(), []string{"a", "b", "c", "f"})
	e := vfstest.NewEnv(t, vfstest.Root(), fs)
	if s := e.Read("/a/b/c/f"); s != "x" {
		t.Errorf("%q", s)
	}
	if _, err := e.Stat("/a/b/d"); err != linux.ENOENT {
		t.Error(err)
	}
}

// TestNodesAreGivenBack: nothing keeps what nobody holds.
func TestNodesAreGivenBack(t *testing.T) {
	dir := hostDir(t)
	for i := range 50 {
		os.MkdirAll(fmt.Sprintf("%s/%d/sub", dir, i), 0o755)
	}
	fs := mount(t, dir, true, gofs.Options{})
	func() {
		root := fs.Root().(vfs.Directory)
		for i := range 50 {
			n, err := root.Lookup(vfstest.Root(), fmt.Sprint(i))
			if err == nil {
				_, err = n.(vfs.Directory).Lookup(vfstest.Root(), "sub")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
		if fs.Known() < 5 {
			return
		}
	}
	t.Errorf("%d nodes are still known", fs.Known())
}

// TestGuessing: descriptors come with look-ups while files are opened, and no
// longer once they are only looked at.
func TestGuessing(t *testing.T) {
	dir := hostDir(t)
	for i := range 600 {
		os.WriteFile(fmt.Sprintf("%s/%d", dir, i), fmt.Append(nil, i), 0o644)
	}
	os.WriteFile(dir+"/secret", []byte("secret"), 0o600)
	fs := mount(t, dir, false, gofs.Options{})
	e := vfstest.NewEnv(t, vfstest.Root(), fs)
	for i := range 100 {
		if s := e.Read(fmt.Sprint("/", i)); s != fmt.Sprint(i) {
			t.Fatalf("%d: %q", i, s)
		}
	}
	if fs.Guess() <= 0 {
		t.Errorf("opened a hundred: %d", fs.Guess())
	}
	if _, err := e.As(vfstest.User(5)).Open("/secret", linux.O_RDONLY, 0); err != linux.EACCES {
		t.Error("having a descriptor is no permission:", err)
	}
	for i := 100; i < 600; i++ {
		e.MustStat(fmt.Sprint("/", i))
	}
	if fs.Guess() > 0 {
		t.Errorf("looked at hundreds: %d", fs.Guess())
	}
}
