package tree

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/services/gofer/hostfd"
)

func table(t *testing.T, limits Limits) (*Table, uint64, string) {
	t.Helper()
	path := t.TempDir()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	st, err := hostfd.StatFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	tab := New(limits)
	t.Cleanup(tab.Close)
	return tab, tab.Root(0, false, fd, &st, -1, ""), path
}

// bind makes a directory if need be and a handle of it.
func bind(t *testing.T, tab *Table, parent uint64, name string) uint64 {
	t.Helper()
	p, err := tab.Pin(parent)
	if err != nil {
		t.Fatal("pin:", err)
	}
	defer tab.Unpin(p)
	hostfd.Mkdir(p.FD(), name, 0o700)
	fd, err := hostfd.OpenPathDir(p.FD(), name)
	if err != nil {
		t.Fatal("open:", err)
	}
	st, err := hostfd.StatFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	n, id, err := tab.Bind(p, name, fd, &st)
	if err != nil {
		t.Fatal("bind:", err)
	}
	tab.Unpin(n)
	return id
}

// TestManyHandlesFewDescriptors goes deep and wide with room for four.
func TestManyHandlesFewDescriptors(t *testing.T) {
	tab, root, _ := table(t, Limits{Nodes: 1000, Open: 4, Kept: 4})
	var ids []uint64
	at := root
	for i := range 60 {
		at = bind(t, tab, at, fmt.Sprint("d", i))
		ids = append(ids, at, bind(t, tab, root, fmt.Sprint("w", i)))
	}
	for i, id := range ids {
		if i%3 == 0 {
			tab.Forget(id) // ancestors without a handle still lead on
		}
	}
	for i, id := range ids {
		n, err := tab.Pin(id)
		if (err != nil) != (i%3 == 0) {
			t.Fatalf("pin %d: %v", i, err)
		}
		if err == nil {
			if st, err := hostfd.StatFD(n.FD()); err != nil || st.Ino != n.ino {
				t.Errorf("another file: %v", err)
			}
			tab.Unpin(n)
		}
		if tab.open > 4 {
			t.Fatalf("%d open", tab.open)
		}
	}
}

func TestReplacedIsStale(t *testing.T) {
	tab, root, path := table(t, Limits{Nodes: 100, Open: 0, Kept: 4})
	a := bind(t, tab, root, "a")
	b := bind(t, tab, a, "b")
	os.Rename(filepath.Join(path, "a"), filepath.Join(path, "old"))
	if _, err := tab.Pin(b); err != unix.ESTALE {
		t.Error("gone:", err)
	}
	os.MkdirAll(filepath.Join(path, "a/b"), 0o700)
	if _, err := tab.Pin(b); err != unix.ESTALE {
		t.Error("another:", err)
	}
	os.RemoveAll(filepath.Join(path, "a"))
	os.Symlink("old", filepath.Join(path, "a"))
	if _, err := tab.Pin(b); err != unix.ESTALE {
		t.Error("link:", err)
	}
}

func TestMovedFollows(t *testing.T) {
	tab, root, path := table(t, Limits{Nodes: 100, Open: 0, Kept: 4})
	a := bind(t, tab, root, "a")
	b := bind(t, tab, a, "b")
	to := bind(t, tab, root, "to")
	r, _ := tab.Pin(root)
	d, _ := tab.Pin(to)
	os.Rename(filepath.Join(path, "a"), filepath.Join(path, "to/c"))
	tab.Moved(b, r, "a", d, "c") // not the one
	tab.Moved(a, r, "a", d, "c")
	tab.Unpin(r)
	tab.Unpin(d)
	if n, err := tab.Pin(b); err != nil {
		t.Error(err)
	} else {
		tab.Unpin(n)
	}
}

// A directory that was reached twice, by two handles of which one is dropped, takes
// what is below the dropped one along.
func TestMovedFollows_otherHandle(t *testing.T) {
	tab, root, path := table(t, Limits{Nodes: 100, Open: 0, Kept: 4})
	a := bind(t, tab, root, "a")
	again := bind(t, tab, root, "a")
	b := bind(t, tab, again, "b")
	tab.Forget(again)
	r, _ := tab.Pin(root)
	os.Rename(filepath.Join(path, "a"), filepath.Join(path, "c"))
	tab.Moved(a, r, "a", r, "c")
	tab.Unpin(r)
	n, err := tab.Pin(b)
	if err != nil {
		t.Fatal(err)
	}
	tab.Unpin(n)
	tab.Forget(a)
	tab.Forget(b)
	if len(tab.names) != 0 || len(tab.nodes) != 1 {
		t.Errorf("%d names and %d handles are left", len(tab.names), len(tab.nodes))
	}
}

// TestCircle is what a peer can make of two handles for one directory.
func TestCircle(t *testing.T) {
	tab, root, path := table(t, Limits{Nodes: 100, Open: 0, Kept: 4})
	a := bind(t, tab, root, "a")
	x := bind(t, tab, a, "x")
	os.Rename(filepath.Join(path, "a/x"), filepath.Join(path, "x"))
	os.Rename(filepath.Join(path, "a"), filepath.Join(path, "x/a"))
	tab.mu.Lock()
	tab.nodes[a].parent, tab.nodes[a].name = tab.nodes[x], "a"
	tab.mu.Unlock()
	if _, err := tab.Pin(a); err != unix.ESTALE {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	tab, root, _ := table(t, Limits{Nodes: 2, Open: 4, Kept: 0})
	bind(t, tab, root, "a")
	r, _ := tab.Pin(root)
	defer tab.Unpin(r)
	for _, f := range []func(fd int, st *unix.Statx_t) error{
		func(fd int, st *unix.Statx_t) error { _, _, err := tab.Bind(r, "a", fd, st); return err },
		func(fd int, st *unix.Statx_t) error { _, err := tab.Keep(r, fd, st); return err },
	} {
		fd, _ := hostfd.OpenPathDir(r.FD(), "a")
		st, _ := hostfd.StatFD(fd)
		if err := f(fd, &st); err != unix.ENFILE {
			t.Error(err)
		}
	}
}

func TestConcurrentPins(t *testing.T) {
	tab, root, _ := table(t, Limits{Nodes: 1000, Open: 3, Kept: 4})
	ids := []uint64{root}
	for i := range 40 {
		ids = append(ids, bind(t, tab, ids[rand.IntN(len(ids))], fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				n, err := tab.Pin(ids[rand.IntN(len(ids))])
				if err != nil {
					t.Error(err)
					return
				}
				if st, err := hostfd.StatFD(n.FD()); err != nil || st.Ino != n.ino {
					t.Error("another file", err)
				}
				tab.Unpin(n)
			}
		})
	}
	wg.Wait()
}

func TestRelieve(t *testing.T) {
	tab, root, _ := table(t, Limits{Nodes: 100, Open: 50, Kept: 4})
	var ids []uint64
	for i := range 20 {
		ids = append(ids, bind(t, tab, root, fmt.Sprint(i)))
	}
	if !tab.Relieve() || tab.open != 10 {
		t.Errorf("%d open", tab.open)
	}
	for _, id := range ids {
		n, err := tab.Pin(id)
		if err != nil {
			t.Fatal(err)
		}
		tab.Unpin(n)
	}
	if tab.open != 10 {
		t.Errorf("%d open later", tab.open)
	}
}
