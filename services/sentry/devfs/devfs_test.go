package devfs

import (
	"bytes"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/tmpfs"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

var register = func() bool { Register(nil, nil); return true }()

func newEnv(t *testing.T) *vfstest.Env {
	fs := tmpfs.New(tmpfs.Options{})
	if err := Populate(fs, true); err != nil {
		t.Fatal(err)
	}
	if err := Populate(fs, true); err != nil {
		t.Errorf("populating twice: %v", err)
	}
	return vfstest.NewEnv(t, vfstest.Root(), fs)
}

func TestNames(t *testing.T) {
	e := newEnv(t)
	if got := e.List("/"); got != "console fd full net null ptmx pts random shm stderr stdin stdout tty urandom zero" {
		t.Errorf("%q", got)
	}
	a, err := e.Stat("/null")
	if err != nil || a.Mode != linux.S_IFCHR|0o666 || a.Rdev != linux.Mkdev(1, 3) {
		t.Errorf("null: %o, %#x, %v", a.Mode, a.Rdev, err)
	}
	if a, err := e.Stat("/net/tun"); err != nil || a.Mode != linux.S_IFCHR|0o666 || a.Rdev != linux.Mkdev(10, 200) {
		t.Errorf("net/tun: %o, %#x, %v", a.Mode, a.Rdev, err)
	}
	if a, _ := e.Stat("/shm"); a.Mode != linux.S_IFDIR|0o1777 {
		t.Errorf("shm: %o", a.Mode)
	}
}

func TestDevices(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		name  string
		read  int // of 100
		write error
	}{
		{"null", 0, nil}, {"zero", 100, nil}, {"full", 100, linux.ENOSPC}, {"random", 100, nil}, {"urandom", 100, nil},
	} {
		f := e.MustOpen("/"+c.name, linux.O_RDWR, 0)
		b := bytes.Repeat([]byte{1}, 100)
		if n, err := f.Read(e.Ctx, b); n != c.read || err != nil {
			t.Errorf("%s: read %d, %v", c.name, n, err)
		}
		if (c.name == "zero" || c.name == "full") != bytes.Equal(b, make([]byte, 100)) {
			t.Errorf("%s: read % x", c.name, b)
		}
		if n, err := f.Write(e.Ctx, b); err != c.write || err == nil && n != 100 {
			t.Errorf("%s: wrote %d, %v", c.name, n, err)
		}
		if at, err := f.Seek(e.Ctx, 50, linux.SEEK_SET); at != 0 || err != nil {
			t.Errorf("%s: seek to %d, %v", c.name, at, err)
		}
		f.DecRef(e.Ctx)
	}
}

func TestRandomDiffers(t *testing.T) {
	e := newEnv(t)
	f := e.MustOpen("/urandom", linux.O_RDONLY, 0)
	defer f.DecRef(e.Ctx)
	a, b := make([]byte, 32), make([]byte, 32)
	f.Read(e.Ctx, a)
	f.Read(e.Ctx, b)
	if bytes.Equal(a, b) {
		t.Error("the same bytes twice")
	}
}

func TestZeroMapsAsAnonymous(t *testing.T) {
	e := newEnv(t)
	f := e.MustOpen("/zero", linux.O_RDWR, 0)
	defer f.DecRef(e.Ctx)
	if _, ok := f.Impl().(vfs.AnonymousMapper); !ok {
		t.Error("not an AnonymousMapper")
	}
}

func TestNoTerminal(t *testing.T) {
	e := newEnv(t)
	for _, name := range []string{"/tty", "/console"} {
		if _, err := e.Open(name, linux.O_RDWR, 0); err != linux.ENXIO {
			t.Errorf("%s: %v, want ENXIO", name, err)
		}
	}
}
