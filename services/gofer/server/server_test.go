package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/tree"
)

// fixture is a server of two attach points: a tree, and the same read-only.
// Beside the tree lies what must not be reached.
type fixture struct {
	t    testing.TB
	s    *server
	path string // of the tree
}

func newFixture(t testing.TB, limits tree.Limits) *fixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	unix.Umask(0)
	top := t.TempDir()
	path := filepath.Join(top, "tree")
	os.MkdirAll(path+"/d/e", 0o755)
	os.WriteFile(top+"/secret", []byte("secret"), 0o600)
	os.WriteFile(path+"/f", []byte("text"), 0o644)
	os.Symlink("/etc/passwd", path+"/abs")
	os.Symlink("../secret", path+"/up")
	os.Symlink("..", path+"/d/dotdot")
	unix.Mkfifo(path+"/fifo", 0o644)
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer([]Attach{{Dir: dir}, {Dir: dir, ReadOnly: true}}, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close(); dir.Close() })
	return &fixture{t, s, path}
}

// ask carries a request out, and gives the content of a donated file.
func (x *fixture) ask(q *pb.Request) (*pb.Response, int) {
	x.t.Helper()
	body, err := proto.Marshal(q)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.raw(body)
}

func (x *fixture) raw(body []byte) (*pb.Response, int) {
	a := x.s.answer(&channel.Frame{ID: 1, Body: body})
	out, err := proto.Marshal(a.Message)
	if err != nil || len(out) > channel.MaxBody || len(a.FDs) > channel.MaxFDs {
		x.t.Fatalf("answer of %d bytes, %d descriptors, %v", len(out), len(a.FDs), err)
	}
	fd := -1
	for i, d := range a.FDs {
		if i == 0 {
			fd, _ = unix.Dup(d)
		}
		buf := make([]byte, 6)
		if n, _ := unix.Pread(d, buf, 0); string(buf[:max(n, 0)]) == "secret" {
			x.t.Error("the secret is out")
		}
	}
	if a.Done != nil {
		a.Done()
	}
	resp := new(pb.Response)
	proto.Unmarshal(out, resp)
	return resp, fd
}

func (x *fixture) root(i uint32) uint64 {
	r, _ := x.ask(&pb.Request{Op: &pb.Request_Attach{Attach: &pb.AttachRequest{Index: i}}})
	if r.Errno != 0 {
		x.t.Fatal("attach:", unix.Errno(r.Errno))
	}
	return r.Handle
}

func at(handle uint64, name string) *pb.Target {
	return &pb.Target{Handle: handle, Name: []byte(name)}
}

func walk(t *pb.Target, names ...string) *pb.Request {
	q := &pb.WalkRequest{Dir: t}
	for _, n := range names {
		q.Names = append(q.Names, []byte(n))
	}
	return &pb.Request{Op: &pb.Request_Walk{Walk: q}}
}

func open(t *pb.Target, a pb.Access) *pb.Request {
	return &pb.Request{Op: &pb.Request_Open{Open: &pb.OpenRequest{Target: t, Access: a}}}
}

func TestWalk(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	root := x.root(0)
	for _, c := range []struct {
		names string
		steps int
		errno unix.Errno
	}{
		{"d", 1, 0}, {"d e", 2, 0}, {"f", 1, 0}, {"abs", 1, 0}, {"d dotdot", 2, 0},
		{"none", 0, unix.ENOENT}, {"d none x", 1, unix.ENOENT}, {"f x", 1, unix.ENOTDIR},
		{"abs x", 1, 0}, {"d dotdot secret", 2, 0}, // the link ends it
		{"..", 0, unix.EPROTO}, {"d ..", 0, unix.EPROTO}, {".", 0, unix.EPROTO}, {"d/e", 0, unix.EPROTO},
		{"/etc", 0, unix.EPROTO}, {strings.Repeat("x", 256), 0, unix.ENAMETOOLONG}, {"fifo", 1, 0},
	} {
		r, _ := x.ask(walk(at(root, ""), strings.Fields(c.names)...))
		if len(r.Steps) != c.steps || unix.Errno(r.Errno) != c.errno {
			t.Errorf("%s: %d steps, %v", c.names, len(r.Steps), unix.Errno(r.Errno))
		}
	}
	r, _ := x.ask(walk(at(root, ""), "abs"))
	if string(r.Steps[0].Symlink) != "/etc/passwd" {
		t.Errorf("link says %q", r.Steps[0].Symlink)
	}
}

func TestOpen(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	rw, ro := x.root(0), x.root(1)
	for _, c := range []struct {
		at     *pb.Target
		access pb.Access
		want   unix.Errno
	}{
		{at(rw, "f"), pb.Access_ACCESS_READ, 0}, {at(rw, "f"), pb.Access_ACCESS_WRITE, 0},
		{at(rw, "f"), pb.Access_ACCESS_READ_WRITE, 0}, {at(rw, "f"), 0, unix.EPROTO}, {at(rw, "f"), 7, unix.EPROTO},
		{at(ro, "f"), pb.Access_ACCESS_READ, 0}, {at(ro, "f"), pb.Access_ACCESS_WRITE, unix.EROFS},
		{at(ro, "f"), pb.Access_ACCESS_READ_WRITE, unix.EROFS},
		{at(rw, "fifo"), pb.Access_ACCESS_READ, unix.ENXIO}, {at(rw, "d"), pb.Access_ACCESS_READ, unix.EISDIR},
		{at(rw, "up"), pb.Access_ACCESS_READ, unix.ELOOP}, {at(rw, ""), pb.Access_ACCESS_READ, unix.EISDIR},
		{at(99, "f"), pb.Access_ACCESS_READ, unix.EBADF},
		{&pb.Target{Handle: rw, Name: []byte("f"), Ino: 1, Dev: 1}, pb.Access_ACCESS_READ, unix.ESTALE},
	} {
		r, fd := x.ask(open(c.at, c.access))
		if unix.Errno(r.Errno) != c.want || (fd >= 0) != (c.want == 0) {
			t.Errorf("%v %v: %v, descriptor %d", c.at, c.access, unix.Errno(r.Errno), fd)
		}
		if fd >= 0 {
			fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if fl&unix.O_ACCMODE != int(c.access)-1 || fl&unix.O_APPEND != 0 {
				t.Errorf("%v: flags %o", c.access, fl)
			}
			unix.Close(fd)
		}
	}
}

// TestReadOnlyRefusesEveryChange, whatever form it has.
func TestReadOnlyRefusesEveryChange(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	ro, rw := x.root(1), x.root(0)
	mode, size := uint32(0o600), int64(1)
	for i, q := range []*pb.Request{
		{Op: &pb.Request_Create{Create: &pb.CreateRequest{Dir: at(ro, ""), Name: []byte("n")}}},
		{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(ro, ""), Name: []byte("n"), Mode: unix.S_IFDIR}}},
		{Op: &pb.Request_Link{Link: &pb.LinkRequest{Target: at(ro, "f"), Dir: at(ro, ""), Name: []byte("n")}}},
		{Op: &pb.Request_Unlink{Unlink: &pb.UnlinkRequest{Dir: at(ro, ""), Name: []byte("f")}}},
		{Op: &pb.Request_Unlink{Unlink: &pb.UnlinkRequest{Dir: at(ro, "d"), Name: []byte("e"), Directory: true}}},
		{Op: &pb.Request_Rename{Rename: &pb.RenameRequest{Dir: at(ro, ""), Name: []byte("f"), NewDir: at(ro, ""), NewName: []byte("n")}}},
		{Op: &pb.Request_Rename{Rename: &pb.RenameRequest{Dir: at(rw, ""), Name: []byte("f"), NewDir: at(ro, ""), NewName: []byte("n")}}},
		{Op: &pb.Request_SetAttr{SetAttr: &pb.SetAttrRequest{Target: at(ro, "f"), Mode: &mode}}},
		{Op: &pb.Request_SetAttr{SetAttr: &pb.SetAttrRequest{Target: at(ro, "f"), Size: &size}}},
		{Op: &pb.Request_SetAttr{SetAttr: &pb.SetAttrRequest{Target: at(ro, ""), Mtime: &pb.Time{Now: true}}}},
		{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at(ro, "f"), Op: pb.XattrRequest_OP_SET, Name: []byte("user.x")}}},
		{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at(ro, "f"), Op: pb.XattrRequest_OP_REMOVE, Name: []byte("user.x")}}},
	} {
		if r, _ := x.ask(q); unix.Errno(r.Errno) != unix.EROFS {
			t.Errorf("%d: %v", i, unix.Errno(r.Errno))
		}
	}
	// Nor can two trees be joined.
	r, _ := x.ask(&pb.Request{Op: &pb.Request_Link{Link: &pb.LinkRequest{Target: at(ro, "f"), Dir: at(rw, ""), Name: []byte("n")}}})
	if unix.Errno(r.Errno) != unix.EXDEV {
		t.Error("link:", unix.Errno(r.Errno))
	}
}

func TestRefused(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	rw := x.root(0)
	for i, c := range []struct {
		q    *pb.Request
		want unix.Errno
	}{
		{&pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(rw, ""), Name: []byte("n"), Mode: unix.S_IFCHR}}}, unix.EPERM},
		{&pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(rw, ""), Name: []byte("n"), Mode: unix.S_IFBLK}}}, unix.EPERM},
		{&pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(rw, ""), Name: []byte("n"), Mode: 0o644}}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(rw, ""), Name: []byte("../n"), Mode: unix.S_IFDIR}}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(rw, "up"), Name: []byte("n"), Mode: unix.S_IFDIR}}}, unix.ENOTDIR},
		{&pb.Request{Op: &pb.Request_Rename{Rename: &pb.RenameRequest{Dir: at(rw, ""), Name: []byte("f"), NewDir: at(rw, ""), NewName: []byte("n"), Flags: unix.RENAME_WHITEOUT}}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at(rw, "f"), Op: pb.XattrRequest_OP_SET, Name: []byte("trusted.x")}}}, unix.EOPNOTSUPP},
		{&pb.Request{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at(rw, "f"), Op: 9, Name: []byte("user.x")}}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_List{List: &pb.ListRequest{Dir: at(rw, ""), Position: -1}}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_Stat{}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_Walk{}}, unix.EPROTO},
		{&pb.Request{Op: &pb.Request_Attach{Attach: &pb.AttachRequest{Index: 2}}}, unix.ENOENT},
		{&pb.Request{Op: &pb.Request_Attach{Attach: &pb.AttachRequest{Index: 1 << 31}}}, unix.ENOENT},
	} {
		if r, _ := x.ask(c.q); unix.Errno(r.Errno) != c.want {
			t.Errorf("%d: %v, want %v", i, unix.Errno(r.Errno), c.want)
		}
	}
	if r, _ := x.raw([]byte{0xff, 0xff}); unix.Errno(r.Errno) != unix.EPROTO {
		t.Error("garbage:", unix.Errno(r.Errno))
	}
	if _, err := newServer([]Attach{{Dir: os.Stdin, Name: "../x"}}, tree.DefaultLimits); !errors.Is(err, unix.EPROTO) {
		t.Error("attach point:", err)
	}
}

// TestListInPieces reads a directory that needs many answers.
func TestListInPieces(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	os.Mkdir(x.path+"/big", 0o755)
	for i := range 3000 {
		os.WriteFile(fmt.Sprintf("%s/big/%s%d", x.path, strings.Repeat("n", i%200), i), nil, 0o644)
	}
	for _, plus := range []bool{false, true} {
		seen := map[string]bool{}
		dir := at(x.root(0), "big")
		dir.Bind = true
		pos, answers := int64(0), 0
		for {
			r, _ := x.ask(&pb.Request{Op: &pb.Request_List{List: &pb.ListRequest{Dir: dir, Position: pos, Plus: plus}}})
			if r.Errno != 0 {
				t.Fatal(unix.Errno(r.Errno))
			}
			answers++
			if r.Handle != 0 {
				dir = at(r.Handle, "")
			}
			for _, e := range r.Entries {
				if seen[string(e.Name)] || plus && e.Attr == nil {
					t.Fatalf("%q twice, or without attributes", e.Name)
				}
				seen[string(e.Name)] = true
				pos = e.Next
			}
			if r.End {
				break
			}
		}
		if len(seen) != 3000 || answers < 3 {
			t.Errorf("%d names in %d answers", len(seen), answers)
		}
	}
}

// TestRenamesRacingWalks moves directories about under walks, from outside and
// by request: none may ever come out.
func TestRenamesRacingWalks(t *testing.T) {
	x := newFixture(t, tree.Limits{Nodes: 1 << 16, Open: 4, Kept: 16})
	os.MkdirAll(x.path+"/a/b/c", 0o755)
	os.MkdirAll(x.path+"/x", 0o755)
	outside := filepath.Dir(x.path)
	os.Mkdir(outside+"/outer", 0o755)
	os.WriteFile(outside+"/outer/secret", nil, 0o600)
	os.WriteFile(outside+"/outer/mark", nil, 0o600)
	root := x.root(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	spin := func(f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		})
	}
	spin(func(int) { // out of the tree and back, with a link in its place meanwhile
		unix.Rename(x.path+"/a/b", outside+"/b")
		os.Symlink("../../outer", x.path+"/a/b")
		os.Remove(x.path + "/a/b")
		unix.Rename(outside+"/b", x.path+"/a/b")
	})
	spin(func(i int) {
		from, to := "a", "x"
		if i%2 == 1 {
			from, to = to, from
		}
		x.ask(&pb.Request{Op: &pb.Request_Rename{Rename: &pb.RenameRequest{
			Dir: at(root, from), Name: []byte("m"), NewDir: at(root, to), NewName: []byte("m"),
		}}})
	})
	for range 2 {
		spin(func(int) {
			for _, names := range [][]string{{"a", "b", "c"}, {"a", "b", "secret"}, {"a", "b", "mark"}} {
				r, _ := x.ask(walk(at(root, ""), names...))
				for i, s := range r.Steps {
					if i > 1 && names[2] != "c" {
						t.Errorf("%v reached outside", names)
					}
					if s.Handle != 0 {
						x.ask(&pb.Request{Forget: []uint64{s.Handle}})
					}
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wg.Wait()
}

// TestFewDescriptors lets the process run into its limit.
func TestFewDescriptors(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	root := x.root(0)
	for i := range 300 {
		os.Mkdir(fmt.Sprintf("%s/%d", x.path, i), 0o755)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: old.Max})
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for i := range 300 {
		dir := at(root, fmt.Sprint(i))
		dir.Bind = true
		if r, _ := x.ask(&pb.Request{Op: &pb.Request_Stat{Stat: &pb.StatRequest{Target: dir}}}); r.Errno != 0 {
			t.Fatalf("%d: %v", i, unix.Errno(r.Errno))
		}
	}
}

// FuzzRequests lets a hostile sentry say anything. Nothing beside the tree may
// change, and no descriptor may leak.
func FuzzRequests(f *testing.F) {
	mode := uint32(0o644)
	for _, q := range []*pb.Request{
		walk(at(1, ""), "d", "e"), walk(at(1, "d"), "dotdot", "secret"), open(at(1, "f"), pb.Access_ACCESS_READ_WRITE),
		{Op: &pb.Request_Create{Create: &pb.CreateRequest{Dir: at(1, ""), Name: []byte("n"), Mode: 0o6755, Access: 2}}},
		{Op: &pb.Request_List{List: &pb.ListRequest{Dir: &pb.Target{Handle: 1, Name: []byte("d"), Bind: true}, Plus: true}}},
		listAlso(at(1, "d"), at(1, ""), "d", "up", "f", ".."),
		openFiles(at(1, ""), "f", "abs", "up", "fifo", "d", "f"),
		{Op: &pb.Request_Make{Make: &pb.MakeRequest{Dir: at(1, ""), Name: []byte("l"), Mode: unix.S_IFLNK, Symlink: []byte("../secret")}}},
		{Op: &pb.Request_Link{Link: &pb.LinkRequest{Target: at(1, "f"), Dir: at(1, "d"), Name: []byte("g")}}},
		{Op: &pb.Request_Unlink{Unlink: &pb.UnlinkRequest{Dir: at(1, ""), Name: []byte("f"), Keep: true}}},
		{Op: &pb.Request_Rename{Rename: &pb.RenameRequest{Dir: at(1, ""), Name: []byte("d"), NewDir: at(1, ""), NewName: []byte("x"), Child: 3}}},
		{Op: &pb.Request_SetAttr{SetAttr: &pb.SetAttrRequest{Target: at(1, "up"), Mode: &mode, Uid: &mode, Atime: &pb.Time{Now: true}}}},
		{Op: &pb.Request_Xattr{Xattr: &pb.XattrRequest{Target: at(1, "f"), Op: 2, Name: []byte("user.x"), Value: []byte("v")}}},
		{Op: &pb.Request_Statfs{Statfs: &pb.StatfsRequest{Target: at(1, "f")}}, Forget: []uint64{1, 2, 3, 1 << 63}},
		{Op: &pb.Request_Sync{Sync: &pb.SyncRequest{Target: at(1, "d")}}},
	} {
		b, _ := proto.Marshal(q)
		f.Add(b, b)
	}
	x := newFixture(f, tree.Limits{Nodes: 64, Open: 4, Kept: 8})
	top := filepath.Dir(x.path)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		for _, b := range [][]byte{one, two} {
			if len(b) > channel.MaxBody {
				return
			}
			r, fd := x.raw(b)
			if fd >= 0 {
				if r.Errno != 0 {
					t.Error("a descriptor beside an error")
				}
				unix.Close(fd)
			}
		}
		if b, err := os.ReadFile(top + "/secret"); err != nil || string(b) != "secret" {
			t.Fatalf("secret: %q, %v", b, err)
		}
		if d, _ := os.ReadDir(top); len(d) != 2 {
			t.Fatalf("%d entries beside the tree", len(d))
		}
		if d, _ := os.ReadDir("/proc/self/fd"); len(d) > 100 {
			t.Fatalf("%d descriptors", len(d))
		}
	})
}
