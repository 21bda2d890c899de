package vfs_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// memory remembers one name.
type memory struct{ knows [2]atomic.Bool }

func (m *memory) ForgetNames(kind vfs.Remembered) { m.knows[kind].Store(false) }

func (m *memory) remember(ctx vfs.Context, root vfs.Path, name string, kind vfs.Remembered) bool {
	vfs.Remember(ctx, func() vfs.Path { return root }, name, kind, m, func() { m.knows[kind].Store(true) })
	return m.knows[kind].Load()
}

func TestRemember_whatIsStraight(t *testing.T) {
	e := deepEnv(t)
	e.OK(e.Symlink("lib", "/usr/link"))
	e.OK(e.Symlink("/usr", "/short"))
	e.OK(e.Mkdir("/mnt", 0o755))
	e.OK(e.NS.Mount(e.Ctx, e.Must("/mnt"), tmpfs.New(tmpfs.Options{}), "none", 0))
	e.OK(e.Mkdir("/mnt/d", 0o755))
	e.MustStat("/usr/link/libc.so")
	for name, want := range map[string]bool{
		"/usr": true, "/usr/lib": true, "/usr/lib/libc.so": true, "/mnt": true, "/mnt/d": true,
		"/usr/link": false, "/short": false, "/short/lib": false, "/usr/link/libc.so": false, "/nothing": false,
		"/usr/lib/libc.so/x": false, "/": false, "": false, "usr": false, "//usr": false, "/usr/": false, "/usr/../usr": false, "/usr/./lib": false,
	} {
		if got := new(memory).remember(e.Ctx, e.Root, name, vfs.NoSymlink); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if new(memory).remember(vfstest.User(1000), e.Root, "/usr", vfs.NoSymlink) {
		t.Error("who cannot search any directory remembers")
	}
}

func TestRemember_untilItChanges(t *testing.T) {
	for name, change := range map[string]func(e *vfstest.Env){
		"unlink":  func(e *vfstest.Env) { e.OK(e.Unlink("/usr/lib/libc.so")) },
		"rename":  func(e *vfstest.Env) { e.OK(e.Rename("/usr", "/other", 0)) },
		"over":    func(e *vfstest.Env) { e.OK(e.Symlink("x", "/l")); e.OK(e.Rename("/l", "/usr/lib/libc.so", 0)) },
		"mount":   func(e *vfstest.Env) { e.OK(e.NS.Mount(e.Ctx, e.Must("/usr"), tmpfs.New(tmpfs.Options{}), "none", 0)) },
		"remount": func(e *vfstest.Env) { e.OK(e.NS.Remount(e.Ctx, e.Root, vfs.MountNoSymfollow, false)) },
		"exchange": func(e *vfstest.Env) {
			e.OK(e.Symlink("x", "/l"))
			e.OK(e.Rename("/l", "/usr/lib/libc.so", linux.RENAME_EXCHANGE))
		},
		"root": func(*vfstest.Env) { vfs.Unnaming(func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			e := deepEnv(t)
			var m memory
			if !m.remember(e.Ctx, e.Root, "/usr/lib/libc.so", vfs.NoSymlink) {
				t.Fatal("it is not remembered")
			}
			e.OK(e.Mkdir("/new", 0o755))
			if !m.knows[vfs.NoSymlink].Load() {
				t.Error("it is forgotten for a name that is new")
			}
			change(e)
			if m.knows[vfs.NoSymlink].Load() {
				t.Error("it is remembered")
			}
		})
	}
}

// TestRemember_racing: nobody remembers what has changed while they looked, and who has
// seen a change is not told what was before it.
func TestRemember_racing(t *testing.T) {
	e := deepEnv(t)
	var m memory
	var wg sync.WaitGroup
	var stop atomic.Bool
	wg.Go(func() {
		for !stop.Load() {
			m.remember(e.Ctx, e.Root, "/usr/lib/libc.so", vfs.NoSymlink)
		}
	})
	for range 3000 {
		e.OK(e.Unlink("/usr/lib/libc.so"))
		for range 3 {
			if m.knows[vfs.NoSymlink].Load() {
				t.Fatal("it remembers what is gone")
			}
		}
		e.Write("/usr/lib/libc.so", "")
	}
	stop.Store(true)
	wg.Wait()
	vfs.Forget(&m)
	if m.knows[vfs.NoSymlink].Load() {
		t.Error("it has not forgotten")
	}
}

func TestRemember_absent(t *testing.T) {
	e := deepEnv(t)
	e.OK(e.Symlink("lib", "/usr/link"))
	for _, name := range []string{"/none", "/usr/none", "/usr/link/none"} {
		e.Stat(name)
	}
	for name, want := range map[string]bool{
		"/none": true, "/usr/none": true, "/usr/none/below": true, "/usr/lib": false, "/usr/link/none": false,
		"/never/asked": false, "/usr/lib/libc.so/x": false, "/usr/none/": true, "/usr/./none": false,
	} {
		if got := new(memory).remember(e.Ctx, e.Root, name, vfs.Absent); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for name, change := range map[string]func(e *vfstest.Env){
		"create":  func(e *vfstest.Env) { e.Write("/usr/none", "") },
		"mkdir":   func(e *vfstest.Env) { e.OK(e.Mkdir("/usr/none", 0o755)) },
		"mknod":   func(e *vfstest.Env) { e.OK(e.Mknod("/usr/none", linux.S_IFIFO|0o644, 0)) },
		"symlink": func(e *vfstest.Env) { e.OK(e.Symlink("x", "/usr/none")) },
		"link":    func(e *vfstest.Env) { e.OK(e.Link("/usr/lib/libc.so", "/usr/none")) },
		"rename":  func(e *vfstest.Env) { e.OK(e.Rename("/usr/lib", "/usr/none", 0)) },
		"mount":   func(e *vfstest.Env) { e.OK(e.NS.Mount(e.Ctx, e.Must("/usr"), tmpfs.New(tmpfs.Options{}), "none", 0)) },
		"unlink":  func(e *vfstest.Env) { e.OK(e.Unlink("/usr/lib/libc.so")) },
	} {
		t.Run(name, func(t *testing.T) {
			e := deepEnv(t)
			e.Stat("/usr/none")
			var m memory
			if !m.remember(e.Ctx, e.Root, "/usr/none", vfs.Absent) {
				t.Fatal("it is not remembered")
			}
			change(e)
			if m.knows[vfs.Absent].Load() {
				t.Error("it is remembered")
			}
		})
	}
}
