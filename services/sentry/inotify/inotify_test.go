package inotify

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

// tree is a tmpfs to change.
type tree struct {
	t    *testing.T
	root vfs.Path
}

func newTree(t *testing.T) tree {
	return tree{t, vfs.NewNamespace(tmpfs.New(tmpfs.Options{}), 0).Root()}
}

func (tr tree) ok(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

func (tr tree) at(name string) vfs.Path {
	tr.t.Helper()
	p, err := vfs.Walk(kernel, tr.root, tr.root, name, 0)
	tr.ok(err)
	return p
}

func (tr tree) open(name string, flags linux.OpenFlags) *vfs.File {
	tr.t.Helper()
	f, err := vfs.Open(kernel, tr.root, tr.root, name, flags, 0o644, 0, 0)
	tr.ok(err)
	return f
}

func (tr tree) mkdir(name string) {
	tr.t.Helper()
	tr.ok(vfs.Mkdir(kernel, tr.root, name, 0o755))
}

// take reads all events as text: "wd mask name".
func take(t *testing.T, in *Inotify) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := in.ReadStream(kernel, b)
	if err != nil && err != linux.EAGAIN {
		t.Fatal(err)
	}
	var out []string
	for b = b[:n]; len(b) > 0; {
		le := binary.LittleEndian
		size := le.Uint32(b[12:])
		name := strings.TrimRight(string(b[16:16+size]), "\x00")
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %#x %s", int32(le.Uint32(b)), le.Uint32(b[4:]), name)))
		b = b[16+size:]
	}
	return strings.Join(out, ", ")
}

func expect(t *testing.T, in *Inotify, want ...string) {
	t.Helper()
	if got := take(t, in); got != strings.Join(want, ", ") {
		t.Errorf("got  %s\nwant %s", got, strings.Join(want, ", "))
	}
}

func TestDirectory(t *testing.T) {
	tr, in := newTree(t), NewImpl()
	defer in.Release()
	tr.mkdir("d")
	if wd, err := in.Add(kernel, tr.at("d"), linux.IN_ALL_EVENTS); wd != 1 || err != nil {
		t.Fatal(wd, err)
	}
	f := tr.open("d/a", linux.O_CREAT|linux.O_WRONLY)
	f.Write(kernel, []byte("x"))
	f.Write(kernel, []byte("y")) // the same as before: one event
	f.DecRef(kernel)
	if in.Poll() != wait.In {
		t.Error("not readable")
	}
	expect(t, in, "1 0x100 a", "1 0x20 a", "1 0x2 a", "1 0x8 a")
	tr.ok(vfs.Mkdir(kernel, tr.at("d"), "sub", 0o755))
	tr.ok(vfs.Rename(kernel, tr.at("d"), "a", tr.at("d/sub"), "b", 0))
	tr.ok(vfs.Rename(kernel, tr.at("d/sub"), "b", tr.at("d"), "c", 0))
	expect(t, in, "1 0x40000100 sub", "1 0x40 a", "1 0x80 c")
	tr.ok(vfs.SetStat(kernel, tr.at("d/c"), vfs.SetAttr{Mask: vfs.SetMode, Mode: 0o600}))
	tr.ok(vfs.Unlink(kernel, tr.at("d"), "c"))
	tr.ok(vfs.Rmdir(kernel, tr.at("d"), "sub"))
	expect(t, in, "1 0x4 c", "1 0x200 c", "1 0x40000200 sub")
	tr.ok(vfs.Rmdir(kernel, tr.root, "d"))
	expect(t, in, "1 0x400", "1 0x8000")
	if err := in.Remove(1); err != linux.EINVAL {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	tr, in := newTree(t), NewImpl()
	defer in.Release()
	f := tr.open("f", linux.O_CREAT|linux.O_RDWR)
	defer f.DecRef(kernel)
	in.Add(kernel, tr.at("f"), linux.IN_MODIFY|linux.IN_DELETE_SELF|linux.IN_MOVE_SELF)
	tr.ok(f.Truncate(kernel, 5))
	tr.ok(vfs.Link(kernel, tr.at("f"), tr.root, "g"))
	tr.ok(vfs.Unlink(kernel, tr.root, "f"))
	expect(t, in, "1 0x2")
	tr.ok(vfs.Unlink(kernel, tr.root, "g"))
	expect(t, in, "1 0x400", "1 0x8000")
}

func TestAdd(t *testing.T) {
	tr, in := newTree(t), NewImpl()
	defer in.Release()
	tr.mkdir("d")
	tr.open("f", linux.O_CREAT|linux.O_RDWR).DecRef(kernel)
	tr.ok(vfs.SetStat(kernel, tr.at("f"), vfs.SetAttr{Mask: vfs.SetMode, Mode: 0o600}))
	user := vfs.WithCreds(kernel, vfs.UserCreds(5, 5))
	for _, c := range []struct {
		ctx  vfs.Context
		path string
		mask uint32
		wd   int32
		err  error
	}{
		{kernel, "d", 0, 0, linux.EINVAL},
		{kernel, "d", linux.IN_ONLYDIR, 0, linux.EINVAL},
		{kernel, "d", linux.IN_OPEN | linux.IN_MASK_ADD | linux.IN_MASK_CREATE, 0, linux.EINVAL},
		{kernel, "f", linux.IN_OPEN | linux.IN_ONLYDIR, 0, linux.ENOTDIR},
		{user, "f", linux.IN_OPEN, 0, linux.EACCES},
		{kernel, "d", linux.IN_OPEN, 1, nil},
		{kernel, "d", linux.IN_OPEN | linux.IN_MASK_CREATE, 0, linux.EEXIST},
		{kernel, "d", linux.IN_CREATE | linux.IN_MASK_ADD, 1, nil},
		{kernel, "f", linux.IN_OPEN | linux.IN_MASK_CREATE, 2, nil},
	} {
		if wd, err := in.Add(c.ctx, tr.at(c.path), c.mask); wd != c.wd || err != c.err {
			t.Errorf("%s %#x: %d, %v; want %d, %v", c.path, c.mask, wd, err, c.wd, c.err)
		}
	}
	tr.ok(in.Remove(2))
	expect(t, in, "2 0x8000")
}

func TestOneshotAndShortRead(t *testing.T) {
	tr, in := newTree(t), NewImpl()
	tr.mkdir("d")
	in.Add(kernel, tr.at("d"), linux.IN_CREATE|linux.IN_ONESHOT)
	tr.open("d/a-name-of-sixteen", linux.O_CREAT|linux.O_RDWR).DecRef(kernel)
	tr.open("d/b", linux.O_CREAT|linux.O_RDWR).DecRef(kernel)
	if _, err := in.ReadStream(kernel, make([]byte, 47)); err != linux.EINVAL {
		t.Error(err)
	}
	if n, err := in.ReadStream(kernel, make([]byte, 50)); n != 48 || err != nil {
		t.Error(n, err)
	}
	expect(t, in, "1 0x8000")
	in.Release()
	if table.count != 0 || len(table.watch) != 0 {
		t.Errorf("left: %d, %v", table.count, table.watch)
	}
}

func TestOverflow(t *testing.T) {
	in := NewImpl()
	for i := range maxQueue + 3 {
		in.put(event{wd: int32(i), mask: linux.IN_OPEN})
	}
	if n := len(in.events); n != maxQueue+1 || in.events[n-1].mask != linux.IN_Q_OVERFLOW {
		t.Errorf("%d events", n)
	}
}
