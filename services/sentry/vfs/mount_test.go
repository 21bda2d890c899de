package vfs_test

import (
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
)

func TestMount(t *testing.T) {
	e := newEnv(t)
	e.OK(e.Mkdir("/mnt", 0o755))
	e.OK(e.Mkdir("/mnt/under", 0o755))
	e.Write("/file", "")
	fs := tmpfs.New(tmpfs.Options{Size: 1 << 20})
	below := e.Must("/mnt")
	e.OK(e.NS.Mount(e.Ctx, below, fs, "none", vfs.MountNoSUID|vfs.MountNoDev))
	e.Is(e.NS.Mount(e.Ctx, e.Must("/file"), fs, "none", 0), linux.ENOTDIR)
	e.OK(e.Mkdir("/mnt/d", 0o755))
	e.Write("/mnt/d/f", "mounted")
	if got := e.List("/mnt"); got != "d" {
		t.Errorf("list %q", got)
	}
	if e.MustStat("/mnt/..").Ino != e.MustStat("/").Ino || e.MustStat("/mnt/d").Dev == e.MustStat("/").Dev {
		t.Error("wrong device, or ..")
	}
	e.Is(e.Rmdir("/mnt"), linux.EBUSY)
	e.Is(e.Rename("/mnt", "/other", 0), linux.EBUSY)
	e.Is(e.Rename("/mnt/d/f", "/f", 0), linux.EXDEV)
	e.Is(e.Link("/mnt/d/f", "/f"), linux.EXDEV)
	e.OK(e.Mknod("/mnt/null", linux.S_IFCHR|0o666, linux.Mkdev(1, 3)))
	_, err := e.Open("/mnt/null", linux.O_RDWR, 0)
	e.Is(err, linux.EACCES)

	infos := e.NS.Mounts()
	if len(infos) != 2 || infos[1].Point != "/mnt" || infos[1].ParentID != infos[0].ID ||
		infos[1].Options != "rw,nosuid,nodev" || infos[1].SuperOptions != "rw,size=1024k" || infos[1].Type != "tmpfs" {
		t.Errorf("%+v", infos)
	}
	f := e.MustOpen("/mnt/d/f", linux.O_RDONLY, 0)
	e.Is(e.NS.Unmount(e.Ctx, e.Must("/mnt"), 0), linux.EBUSY)
	e.OK(e.NS.Unmount(e.Ctx, e.Must("/mnt"), linux.MNT_DETACH))
	if got := e.ReadFile(f); got != "mounted" {
		t.Errorf("read %q", got)
	}
	if name, ok := vfs.PathName(e.Root, f.Path()); ok || name != "(unreachable)/d/f" {
		t.Errorf("name %q", name)
	}
	f.DecRef(e.Ctx)
	if got := e.List("/mnt"); got != "under" {
		t.Errorf("list %q", got)
	}
	e.Is(e.NS.Unmount(e.Ctx, e.Must("/mnt"), 0), linux.EINVAL)
	e.OK(e.Rmdir("/mnt/under"))
	e.OK(e.Rmdir("/mnt"))
}

func TestBindMount(t *testing.T) {
	e := newEnv(t)
	for _, d := range []string{"/a", "/a/sub", "/a/m", "/b", "/c"} {
		e.OK(e.Mkdir(d, 0o755))
	}
	e.Write("/a/sub/f", "x")
	e.OK(e.NS.Mount(e.Ctx, e.Must("/a/m"), tmpfs.New(tmpfs.Options{}), "inner", 0))
	e.Write("/a/m/inner", "i")
	e.OK(e.NS.BindMount(e.Ctx, e.Must("/a"), e.Must("/b"), true, vfs.MountReadOnly))
	e.OK(e.NS.BindMount(e.Ctx, e.Must("/a"), e.Must("/c"), false, 0))
	if e.Read("/b/sub/f") != "x" || e.Read("/b/m/inner") != "i" || e.List("/c/m") != "" {
		t.Errorf("%q %q %q", e.Read("/b/sub/f"), e.Read("/b/m/inner"), e.List("/c/m"))
	}
	_, err := e.Open("/b/sub/f", linux.O_RDWR, 0)
	e.Is(err, linux.EROFS)
	e.Write("/c/sub/f", "y")
	if got := e.Read("/a/sub/f"); got != "y" {
		t.Errorf("read %q", got)
	}
	if e.Must("/a/sub").Node() != e.Must("/b/sub").Node() {
		t.Error("a bind mount has other nodes")
	}
	e.Is(e.Rename("/a/sub/f", "/c/sub/g", 0), linux.EXDEV) // another mount, if of one file system
	for _, m := range e.NS.Mounts() {
		if m.Point == "/b" && m.Root != "/a" {
			t.Errorf("%+v", m)
		}
	}
}

// Bound onto itself again and again, a tree doubles; there is an end to that, also
// while somebody else takes mounts away.
func TestBindMount_endless(t *testing.T) {
	e := newEnv(t)
	e.OK(e.Mkdir("/a", 0o755))
	e.OK(e.Mkdir("/m", 0o755))
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 2000 {
			if e.NS.Mount(e.Ctx, e.Must("/m"), tmpfs.New(tmpfs.Options{}), "none", 0) == nil {
				e.NS.Unmount(e.Ctx, e.Must("/m"), linux.MNT_DETACH)
			}
		}
	}()
	var err error
	for i := 0; i < 30 && err == nil; i++ {
		err = e.NS.BindMount(e.Ctx, e.Must("/"), e.Must("/a"), true, 0)
	}
	e.Is(err, linux.ENOSPC)
	<-done
	if n := len(e.NS.Mounts()); n > 4096 {
		t.Errorf("%d mounts", n)
	}
}

func TestNamespaceCopy(t *testing.T) {
	e := newEnv(t)
	e.OK(e.Mkdir("/m", 0o755))
	e.OK(e.NS.Mount(e.Ctx, e.Must("/m"), tmpfs.New(tmpfs.Options{}), "none", 0))
	e.Write("/m/f", "x")
	ns, move := e.NS.Copy(nil, 0)
	defer ns.Release()
	c := *e
	c.NS, c.Root = ns, move(e.Root)
	if got := c.Read("/m/f"); got != "x" {
		t.Errorf("read %q", got)
	}
	e.OK(e.NS.Unmount(e.Ctx, e.Must("/m"), 0))
	if c.Read("/m/f") != "x" || e.List("/m") != "" {
		t.Error("namespaces are not apart")
	}
}

type released struct {
	*tmpfs.FileSystem
	times int
}

func (r *released) Release() { r.times++ }

func TestFileSystem_releasedOnce(t *testing.T) {
	e := newEnv(t)
	e.OK(e.Mkdir("/m", 0o755))
	e.OK(e.Mkdir("/n", 0o755))
	fs := &released{FileSystem: tmpfs.New(tmpfs.Options{})}
	e.OK(e.NS.Mount(e.Ctx, e.Must("/m"), fs, "none", 0))
	e.OK(e.NS.BindMount(e.Ctx, e.Must("/m"), e.Must("/n"), false, 0))
	e.Write("/m/f", "x")
	f := e.MustOpen("/n/f", linux.O_RDONLY, 0)
	e.OK(e.NS.Unmount(e.Ctx, e.Must("/m"), 0))
	e.OK(e.NS.Unmount(e.Ctx, e.Must("/n"), linux.MNT_DETACH))
	if fs.times != 0 {
		t.Error("released while a file is open")
	}
	f.DecRef(e.Ctx)
	if fs.times != 1 {
		t.Errorf("released %d times", fs.times)
	}
}

// told is a Foreseer that closes its file when it is to look.
type told struct {
	ctx vfs.Context
	f   *vfs.File
}

func (s *told) Unforesee() {
	vfs.Foresaw(s)
	s.f.DecRef(s.ctx)
}

// TestUnmount_closedAhead unmounts what the last program that used it has closed, which is not
// true yet.
func TestUnmount_closedAhead(t *testing.T) {
	e := newEnv(t)
	e.OK(e.Mkdir("/mnt", 0o755))
	e.OK(e.NS.Mount(e.Ctx, e.Must("/mnt"), tmpfs.New(tmpfs.Options{}), "none", 0))
	e.Write("/mnt/f", "x")
	f := e.MustOpen("/mnt/f", linux.O_RDONLY, 0)
	if !f.Foresee(&told{e.Ctx, f}) {
		t.Fatal("nothing is to be told of it")
	}
	e.OK(e.NS.Unmount(e.Ctx, e.Must("/mnt"), 0))
}
