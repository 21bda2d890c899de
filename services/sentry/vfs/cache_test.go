package vfs

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bulkhead/proto/linux"
)

// flatFS is a directory in which every name of the form "nN" is.
type flatFS struct{ root *flatDir }

func (f flatFS) Type() string                         { return "flat" }
func (f flatFS) Root() Node                           { return f.root }
func (f flatFS) Statfs(Context) (linux.Statfs, error) { return linux.Statfs{}, nil }

type flatDir struct{ lookups atomic.Int64 }

func (*flatDir) Attr(Context) (Attr, error)     { return Attr{Mode: linux.S_IFDIR | 0o755}, nil }
func (*flatDir) SetAttr(Context, SetAttr) error { return linux.EROFS }
func (d *flatDir) Lookup(_ Context, name string) (Node, error) {
	d.lookups.Add(1)
	if name[0] != 'n' {
		return nil, linux.ENOENT
	}
	return &flatFile{}, nil
}

type flatFile struct{ _ [64]byte }

func (*flatFile) Attr(Context) (Attr, error)     { return Attr{Mode: linux.S_IFREG | 0o644}, nil }
func (*flatFile) SetAttr(Context, SetAttr) error { return linux.EROFS }

// TestShrinkCaches: what nobody holds is forgotten, also that a name is absent, and can be
// found again; what somebody holds stays.
func TestShrinkCaches(t *testing.T) {
	root := &flatDir{}
	ns := NewNamespace(flatFS{root}, 0)
	defer ns.Release()
	ctx := KernelContext()
	super := ns.root.super
	look := func(name string) Path {
		p, _ := Walk(ctx, ns.Root(), ns.Root(), name, 0)
		return p
	}
	held := look("nheld")
	for i := range 1000 {
		look(fmt.Sprintf("n%d", i))
		look(fmt.Sprintf("absent%d", i))
	}
	names := func() int {
		super.root.dir.mu.Lock()
		defer super.root.dir.mu.Unlock()
		return len(super.root.dir.children)
	}
	if n := names(); n != 2001 {
		t.Fatal(n, "names")
	}
	ShrinkCaches()
	for end := time.Now().Add(20 * time.Second); names() > 1 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		runtime.GC()
	}
	if n := names(); n != 1 {
		t.Error(n, "names are left")
	}
	before := root.lookups.Load()
	if again := look("nheld"); again != held || root.lookups.Load() != before {
		t.Error("a held name was forgotten")
	}
	for range 2 {
		look("n1")
	}
	if n := root.lookups.Load() - before; n != 1 {
		t.Errorf("%d lookups of a forgotten name", n)
	}
}

// TestCache_bounded: the cache forgets what is not used, but never what somebody
// holds: that stays the one Dentry of its name.
func TestCache_bounded(t *testing.T) {
	root := &flatDir{}
	ns := NewNamespace(flatFS{root}, 0)
	defer ns.Release()
	ctx := KernelContext()
	super := ns.root.super
	super.cache.size = 16
	walk := func(name string) Path {
		p, err := Walk(ctx, ns.Root(), ns.Root(), name, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	held := walk("nheld")
	for i := range 1000 {
		walk(fmt.Sprintf("n%d", i))
		Walk(ctx, ns.Root(), ns.Root(), fmt.Sprintf("absent%d", i), 0)
	}
	if n := len(super.cache.ring); n > 16 {
		t.Errorf("ring of %d", n)
	}
	before := root.lookups.Load()
	if again := walk("nheld"); again != held {
		t.Error("a held name has a second Dentry")
	}
	if root.lookups.Load() != before {
		t.Error("a held name was looked up anew")
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); { // cleanups run after a collection
		runtime.GC()
		time.Sleep(time.Millisecond)
		super.root.dir.mu.Lock()
		n := len(super.root.dir.children)
		super.root.dir.mu.Unlock()
		if n <= 20 {
			runtime.KeepAlive(held)
			return
		}
	}
	t.Errorf("%d names remembered", len(super.root.dir.children))
}

func TestCache_usedStays(t *testing.T) {
	root := &flatDir{}
	ns := NewNamespace(flatFS{root}, 0)
	defer ns.Release()
	ns.root.super.cache.size = 16
	ctx := KernelContext()
	for i := range 200 {
		Walk(ctx, ns.Root(), ns.Root(), "nhot", 0)
		Walk(ctx, ns.Root(), ns.Root(), fmt.Sprintf("n%d", i), 0)
	}
	if n := root.lookups.Load(); n != 201 {
		t.Errorf("%d lookups", n)
	}
}

// TestLookup_oneDentry: however many look a name up at once, it has one Dentry.
func TestLookup_oneDentry(t *testing.T) {
	ns := NewNamespace(flatFS{&flatDir{}}, 0)
	defer ns.Release()
	for i := range 300 {
		name := fmt.Sprintf("n%d", i)
		var found [4]Path
		var wg sync.WaitGroup
		for j := range found {
			wg.Go(func() { found[j], _ = Walk(KernelContext(), ns.Root(), ns.Root(), name, 0) })
		}
		wg.Wait()
		for _, p := range found[1:] {
			if p != found[0] {
				t.Fatalf("%s has two", name)
			}
		}
	}
}
