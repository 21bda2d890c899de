package server

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	pb "bulkhead/proto/gofer/v1"
	"bulkhead/services/gofer/tree"
)

func fileNames(names []string) (f []*pb.FileName) {
	for _, n := range names {
		f = append(f, &pb.FileName{Name: []byte(n)})
	}
	return f
}

func openFiles(dir *pb.Target, names ...string) *pb.Request {
	return &pb.Request{Op: &pb.Request_OpenFiles{OpenFiles: &pb.OpenFilesRequest{Dir: dir, Files: fileNames(names)}}}
}

func listAlso(dir, parent *pb.Target, names ...string) *pb.Request {
	return &pb.Request{Op: &pb.Request_List{List: &pb.ListRequest{Dir: dir, Plus: true, Parent: parent, Also: fileNames(names)}}}
}

// TestOpenFiles: each name has an answer of its own, and a descriptor if that is good.
func TestOpenFiles(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	root := x.root(0)
	r, fd := x.ask(openFiles(at(root, ""), "none", "f", "fifo", "up", "d", "f"))
	if r.Errno != 0 {
		t.Fatal(unix.Errno(r.Errno))
	}
	buf := make([]byte, 10)
	if n, _ := unix.Pread(fd, buf, 0); string(buf[:max(n, 0)]) != "text" {
		t.Errorf("the first descriptor reads %q", buf[:max(n, 0)])
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("flags %#x", flags)
	}
	unix.Close(fd)
	var got []unix.Errno
	for _, o := range r.Opened {
		got = append(got, unix.Errno(o.Errno))
		if (o.Errno == 0) != (o.Attr != nil) {
			t.Errorf("%v: attributes %v", unix.Errno(o.Errno), o.Attr)
		}
	}
	if want := []unix.Errno{unix.ENOENT, 0, unix.ENXIO, unix.ELOOP, unix.EISDIR, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	other := openFiles(at(root, ""), "f")
	other.GetOpenFiles().Files[0].Ino = 1
	if r, _ := x.ask(other); len(r.Opened) != 1 || unix.Errno(r.Opened[0].Errno) != unix.ESTALE {
		t.Errorf("another file: %v", r)
	}
	var many []string
	for range channel.MaxFDs + 1 {
		many = append(many, "f")
	}
	for _, q := range []*pb.Request{openFiles(at(root, "")), openFiles(at(root, ""), many...), openFiles(at(root, ""), "f", ".."), openFiles(at(root, ""), "d/e"), openFiles(nil, "f")} {
		if r, fd := x.ask(q); unix.Errno(r.Errno) != unix.EPROTO || fd >= 0 {
			t.Errorf("%v: %v, descriptor %d", q, r, fd)
		}
	}
}

// TestListAlso: what is no directory, or another, is left out; what does not fit ends it.
func TestListAlso(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	root := x.root(0)
	os.WriteFile(x.path+"/d/e/g", []byte("g"), 0o600)
	os.Mkdir(x.path+"/large", 0o755)
	for i := range 1000 {
		os.WriteFile(fmt.Sprintf("%s/large/%d", x.path, i), nil, 0o644)
	}
	os.Mkdir(x.path+"/empty", 0o755)
	var dup []string
	q := listAlso(at(root, "d"), at(root, ""), "none", "up", "f", "empty", "d", "large", "d")
	r, _ := x.ask(q)
	for _, l := range r.Also {
		dup = append(dup, fmt.Sprint(l.Index, len(l.Entries)))
	}
	if want := []string{"3 0", "4 2"}; r.Errno != 0 || !r.End || !slices.Equal(dup, want) {
		t.Errorf("errno %d, end %v, listings %q, want %q", r.Errno, r.End, dup, want)
	}
	for _, e := range r.Also[1].Entries {
		if e.Attr == nil || string(e.Name) == "dotdot" && string(e.Symlink) != ".." {
			t.Errorf("entry %v", e)
		}
	}
	if r, _ := x.ask(listAlso(at(root, "large"), at(root, ""), "d")); r.End || len(r.Also) != 0 || len(r.Entries) == 0 {
		t.Errorf("beside a large directory: end %v, %d listings", r.End, len(r.Also))
	}
	q = listAlso(at(root, "d"), at(root, ""), "empty")
	q.GetList().Also[0].Ino = 1
	if r, _ := x.ask(q); r.Errno != 0 || len(r.Also) != 0 {
		t.Errorf("another directory: %v", r)
	}
	bound := at(root, "d")
	bound.Bind = true
	for _, q := range []*pb.Request{listAlso(at(root, "d"), nil, "d"), listAlso(at(root, "d"), bound, "e"), listAlso(at(root, "d"), at(root, ""), ".."), listAlso(at(root, "d"), at(root, ""), make([]string, maxAlso+1)...)} {
		if r, _ := x.ask(q); unix.Errno(r.Errno) != unix.EPROTO && unix.Errno(r.Errno) != unix.ENOENT {
			t.Errorf("%v: errno %d", q, r.Errno)
		}
	}
}

// TestWalkTellsOfXattrs: only of the last name, and only when asked.
func TestWalkTellsOfXattrs(t *testing.T) {
	x := newFixture(t, tree.DefaultLimits)
	root := x.root(0)
	if err := unix.Setxattr(x.path+"/f", "user.k", []byte("v"), 0); err != nil {
		t.Skip("no extended attributes here: ", err)
	}
	for _, c := range []struct {
		names []string
		ask   bool
		want  bool
	}{{[]string{"f"}, true, false}, {[]string{"d"}, true, true}, {[]string{"d"}, false, false}, {[]string{"up"}, true, true}, {[]string{"d", "e"}, true, true}} {
		q := walk(at(root, ""), c.names...)
		q.GetWalk().Xattr = c.ask
		r, _ := x.ask(q)
		if got := r.Steps[len(c.names)-1].NoXattr; got != c.want && !(c.want && r.Errno == 0 && oldKernel(x)) {
			t.Errorf("%q, asked %v: no_xattr %v", c.names, c.ask, got)
		}
		if len(c.names) > 1 && r.Steps[0].NoXattr {
			t.Errorf("%q: told of the first", c.names)
		}
	}
}

// oldKernel says that the kernel cannot tell cheaply (before 6.13).
func oldKernel(x *fixture) bool {
	r, _ := x.ask(&pb.Request{Op: &pb.Request_List{List: &pb.ListRequest{Dir: at(x.root(0), "d"), Plus: true}}})
	for _, e := range r.Entries {
		if e.NoXattr {
			return false
		}
	}
	return true
}
