package gofs_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/proto/linux"
	"bulkhead/services/sentry/gofs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// liar answers the first request with an attach point and each further one with
// what answers gives, a descriptor beside it.
func liar(t testing.TB, fd int, answers func() []byte) *channel.Client {
	t.Helper()
	near, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := channel.New(far)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer peer.Close()
		for first := true; ; first = false {
			f, err := peer.Recv()
			if err != nil {
				return
			}
			body := answers()
			if first {
				body, _ = proto.Marshal(&pb.Response{Handle: 1, Attr: &pb.Attr{Dev: 1, Ino: 1, Mode: linux.S_IFDIR | 0o755, Nlink: 2}})
			}
			if !first && fd >= 0 {
				peer.Send(f.ID, body, fd)
			} else {
				peer.Send(f.ID, body)
			}
			f.Release()
		}
	}()
	conn, err := channel.New(near)
	if err != nil {
		t.Fatal(err)
	}
	c := channel.NewClient(conn, nil)
	t.Cleanup(func() { c.Close() })
	return c
}

// everything calls what there is to call, once.
func everything(e *vfstest.Env) {
	e.Stat("/a")
	e.Stat("/a/b/c")
	for _, flags := range []linux.OpenFlags{linux.O_RDONLY, linux.O_RDWR, linux.O_CREAT | linux.O_WRONLY} {
		if f, err := e.Open("/a", flags, 0o644); err == nil {
			f.Pread(e.Ctx, make([]byte, 10), 0)
			f.Attr(e.Ctx)
			f.ReadDir(e.Ctx, func(vfs.DirEntry) bool { return true })
			f.DecRef(e.Ctx)
		}
	}
	if f, err := e.Open("/", linux.O_RDONLY, 0); err == nil {
		f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool { e.Stat("/" + d.Name); return true })
		f.DecRef(e.Ctx)
	}
	for _, path := range []string{"/a", "/b", "/a/a", "/a/b", "/b/a"} { // as who goes through a tree
		if f, err := e.Open(path, linux.O_RDONLY, 0); err == nil {
			f.ReadDir(e.Ctx, func(vfs.DirEntry) bool { return true })
			f.DecRef(e.Ctx)
		}
	}
	e.Mkdir("/d", 0o755)
	e.Mkdir("/d/e", 0o755)
	e.Symlink("x", "/l")
	e.Link("/a", "/b")
	e.Rename("/a", "/c", 0)
	e.Rename("/c", "/d", linux.RENAME_EXCHANGE)
	e.Chmod("/c", 0o600)
	if p, err := e.Walk("/c", vfs.NoFollow); err == nil {
		vfs.Xattr(e.Ctx, p, "user.x")
		vfs.SetXattr(e.Ctx, p, "user.x", []byte("v"), 0)
		vfs.Readlink(e.Ctx, p)
	}
	e.Unlink("/c")
	e.Rmdir("/d")
	vfs.Statfs(e.Ctx, e.Root)
}

// TestForeignDescriptors: what is not the file, or not opened as asked, is not
// taken.
func TestForeignDescriptors(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/f", []byte("x"), 0o644)
	os.WriteFile(dir+"/other", []byte("x"), 0o644)
	var st unix.Stat_t
	if err := unix.Stat(dir+"/f", &st); err != nil {
		t.Fatal(err)
	}
	answer, _ := proto.Marshal(&pb.Response{
		Attr:  &pb.Attr{Dev: st.Dev, Ino: st.Ino, Mode: linux.S_IFREG | 0o644, Nlink: 1},
		Steps: []*pb.Step{{Attr: &pb.Attr{Dev: st.Dev, Ino: st.Ino, Mode: linux.S_IFREG | 0o644, Nlink: 1}}},
	})
	for _, c := range []struct {
		path  string
		flags int
		ok    bool
	}{
		{dir + "/f", unix.O_RDONLY, true}, {dir + "/f", unix.O_RDWR, false}, {dir + "/f", unix.O_PATH, false},
		{dir + "/other", unix.O_RDONLY, false}, {dir, unix.O_RDONLY, false}, {"/dev/null", unix.O_RDONLY, false}, {"", 0, false},
	} {
		fd := -1
		if c.path != "" {
			var err error
			if fd, err = unix.Open(c.path, c.flags, 0); err != nil {
				t.Fatal(err)
			}
		}
		fs, err := gofs.New(liar(t, fd, func() []byte { return answer }), 0, gofs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e := vfstest.NewEnv(t, vfstest.Root(), fs)
		f, err := e.Open("/f", linux.O_RDONLY, 0)
		if c.ok != (err == nil) || !c.ok && err != linux.EIO {
			t.Errorf("%s %o: %v", c.path, c.flags, err)
		}
		if err == nil {
			f.DecRef(e.Ctx)
		}
		unix.Close(fd)
	}
}

// FuzzAnswers lets a hostile gofer answer anything.
func FuzzAnswers(f *testing.F) {
	attr := &pb.Attr{Dev: 1, Ino: 2, Mode: linux.S_IFREG | 0o644, Nlink: 1}
	sub := &pb.Attr{Dev: 1, Ino: 3, Mode: linux.S_IFDIR | 0o755, Nlink: 2}
	for _, r := range []*pb.Response{
		{Attr: attr, Handle: 2, Steps: []*pb.Step{{Attr: attr}}},
		{Attr: sub, Handle: 2, Steps: []*pb.Step{{Attr: sub, Handle: 7}, {Attr: sub}, {Attr: attr}, {Attr: attr}}, End: true},
		{Attr: sub, Entries: []*pb.Entry{{Name: []byte("a"), Next: 1, Attr: attr}, {Name: []byte("../b"), Next: -1}, {Name: []byte("a")}}},
		{Attr: sub, Entries: []*pb.Entry{{Name: []byte("a"), Next: 1, Attr: attr}}, End: true, Kept: 1, Names: [][]byte{{0}}, Statfs: &pb.Statfs{}},
		{Steps: []*pb.Step{{Attr: &pb.Attr{Mode: linux.S_IFLNK | 0o777, Ino: 4}, Symlink: []byte("a")}}},
		{Attr: sub, Entries: []*pb.Entry{{Name: []byte("a"), Next: 1, Ino: 3, Type: 4, Attr: sub}, {Name: []byte("b"), Next: 2, Ino: 1, Type: 4}}, End: true, Also: []*pb.Listing{{Entries: []*pb.Entry{{Name: []byte("a"), Ino: 3, Type: 4, Attr: sub}}}, {Index: 1}, {Index: 1}, {Index: 1 << 31}}},
		{Attr: attr, Opened: []*pb.Opened{{Attr: attr}, {Errno: -1}, {}, {Attr: sub}}, Steps: []*pb.Step{{Attr: attr, NoXattr: true}}},
		{Errno: -5}, {Errno: 512}, {Errno: int32(linux.ESTALE), Handle: 9}, {Errno: int32(linux.ENOENT)}, {},
	} {
		b, _ := proto.Marshal(r)
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		if len(one) > channel.MaxBody || len(two) > channel.MaxBody {
			return
		}
		n := 0
		fs, err := gofs.New(liar(t, 0, func() []byte {
			if n++; n > 100 { // it may not list for ever
				return nil
			}
			if n%2 == 0 {
				return one
			}
			return two
		}), 0, gofs.Options{Shared: len(one)%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		everything(vfstest.NewEnv(t, vfstest.Root(), fs))
		fs.Release()
	})
}
