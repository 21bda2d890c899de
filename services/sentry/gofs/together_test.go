package gofs_test

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"bulkhead/proto/channel"
	"bulkhead/proto/linux"
	"bulkhead/services/gofer/server"
	"bulkhead/services/sentry/gofs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// counted mounts a host directory and counts the requests that it takes.
func counted(t *testing.T, path string, opts gofs.Options) (*vfstest.Env, *atomic.Int32) {
	t.Helper()
	near, mid, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	midFar, far, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(far, []server.Attach{{Dir: openDir(t, path)}})
	a, err1 := channel.New(mid)
	b, err2 := channel.New(midFar)
	conn, err3 := channel.New(near)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	n := new(atomic.Int32)
	pass := func(from, to *channel.Conn, count int32) {
		defer from.Close()
		defer to.Close()
		for {
			f, err := from.Recv()
			if err != nil {
				return
			}
			n.Add(count)
			err = to.Send(f.ID, f.Body, f.FDs...)
			f.Release()
			if err != nil {
				return
			}
		}
	}
	go pass(a, b, 1)
	go pass(b, a, 0)
	client := channel.NewClient(conn, nil)
	t.Cleanup(func() { client.Close() })
	fs, err := gofs.New(client, 0, opts)
	if err != nil {
		t.Fatal(err)
	}
	return vfstest.NewEnv(t, vfstest.Root(), fs), n
}

func names(e *vfstest.Env, path string) (list []string) {
	f := e.MustOpen(path, linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	f.ReadDir(e.Ctx, func(d vfs.DirEntry) bool {
		if d.Name != "." && d.Name != ".." {
			list = append(list, d.Name)
		}
		return true
	})
	return list
}

// TestFilesAreOpenedTogether reads all files of a directory, in its order and in
// another; each is its own, and one that is removed and made anew meanwhile is the new.
func TestFilesAreOpenedTogether(t *testing.T) {
	const files = 80
	dir := hostDir(t)
	for i := range files {
		os.WriteFile(fmt.Sprintf("%s/f%d", dir, i), fmt.Appendf(nil, "text of f%d", i), 0o644)
	}
	for _, sorted := range []bool{false, true} {
		e, n := counted(t, dir, gofs.Options{})
		list := names(e, "/")
		if sorted {
			slices.Sort(list)
		}
		before := n.Load()
		for i, name := range list {
			if i == files/2 {
				e.OK(e.Unlink("/" + list[i+1]))
				e.Write("/"+list[i+1], "text of "+list[i+1])
			}
			if got := e.Read("/" + name); got != "text of "+name {
				t.Fatalf("%s reads %q", name, got)
			}
		}
		most := int32(files / 3)
		if sorted { // what was opened early is used late
			most *= 2
		}
		if took := n.Load() - before; took > most {
			t.Errorf("sorted %v: %d requests for %d files", sorted, took, files)
		}
	}
	e, n := counted(t, dir, gofs.Options{Shared: true})
	before := n.Load()
	for _, name := range names(e, "/") {
		e.Read("/" + name)
	}
	if took := n.Load() - before; took < files {
		t.Errorf("shared: %d requests for %d files", took, files)
	}
}

// TestDirectoriesAreListedTogether lists a tree, and changes what is still to be listed.
func TestDirectoriesAreListedTogether(t *testing.T) {
	const dirs, files = 60, 3
	dir := hostDir(t)
	for i := range dirs {
		os.MkdirAll(fmt.Sprintf("%s/d%d/sub", dir, i), 0o755)
		for j := range files {
			os.WriteFile(fmt.Sprintf("%s/d%d/f%d", dir, i, j), nil, 0o644)
		}
	}
	for _, stat := range []bool{true, false} {
		e, n := counted(t, dir, gofs.Options{})
		before := n.Load()
		list := names(e, "/")
		if stat {
			for _, d := range list {
				e.MustStat("/" + d)
			}
		}
		for i, d := range list {
			want := []string{"f0", "f1", "f2", "sub"}
			switch i {
			case dirs / 2: // made before it is listed by the guest, perhaps after by the gofer
				e.Write("/"+d+"/new", "x")
				want = append(want, "new")
			case dirs/2 + 1:
				e.OK(e.Unlink("/" + d + "/f1"))
				want = []string{"f0", "f2", "sub"}
			case dirs/2 + 2:
				e.OK(e.Rename("/"+d, "/moved", 0))
				d = "moved"
			}
			got := names(e, "/"+d)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%s lists %q, want %q", d, got, want)
			}
			if _, err := e.Stat("/" + d + "/none"); err != linux.ENOENT {
				t.Fatalf("no such name: %v", err)
			}
			for _, f := range got {
				e.MustStat("/" + d + "/" + f)
			}
		}
		if took := n.Load() - before; took > dirs/2 {
			t.Errorf("stat %v: %d requests for %d directories", stat, took, dirs)
		}
		os.Remove(dir + "/moved/new") // as it was
		for i := range dirs {
			os.MkdirAll(fmt.Sprintf("%s/d%d/sub", dir, i), 0o755)
			os.Remove(fmt.Sprintf("%s/d%d/new", dir, i))
			for j := range files {
				os.WriteFile(fmt.Sprintf("%s/d%d/f%d", dir, i, j), nil, 0o644)
			}
		}
		os.RemoveAll(dir + "/moved")
	}
}

// TestManyNamesOfOneDirectory looks names up that nobody has listed.
func TestManyNamesOfOneDirectory(t *testing.T) {
	dir := hostDir(t)
	for i := range 40 {
		os.WriteFile(fmt.Sprintf("%s/f%d", dir, i), nil, 0o600)
	}
	e, n := counted(t, dir, gofs.Options{})
	before := n.Load()
	for i := range 60 {
		a, err := e.Stat(fmt.Sprintf("/f%d", i))
		if i < 40 && (err != nil || a.Mode != linux.S_IFREG|0o600) || i >= 40 && err != linux.ENOENT {
			t.Fatalf("f%d: mode %o, %v", i, a.Mode, err)
		}
	}
	if took := n.Load() - before; took > 8 {
		t.Errorf("%d requests", took)
	}
}
