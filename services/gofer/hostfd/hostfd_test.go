package hostfd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func tempDir(t *testing.T) (string, int) {
	t.Helper()
	path := t.TempDir()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return path, fd
}

func TestComponent(t *testing.T) {
	for name, want := range map[string]error{
		"a": nil, "...": nil, "..a": nil, ".a": nil, "a b\n\xff": nil, strings.Repeat("x", 255): nil,
		"": unix.ENOENT, ".": unix.EPROTO, "..": unix.EPROTO, "a/b": unix.EPROTO, "/": unix.EPROTO,
		"a\x00": unix.EPROTO, strings.Repeat("x", 256): unix.ENAMETOOLONG,
	} {
		if _, err := Component([]byte(name)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

// TestOnlyRegularFilesAreOpened also shows that nothing outside the directory
// can be, even where a caller forgot to check the component.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	path, dir := tempDir(t)
	os.WriteFile(filepath.Join(path, "file"), []byte("x"), 0o644)
	os.Mkdir(filepath.Join(path, "dir"), 0o755)
	os.Symlink("file", filepath.Join(path, "near"))
	os.Symlink("/etc/passwd", filepath.Join(path, "far"))
	unix.Mkfifo(filepath.Join(path, "fifo"), 0o644)
	unix.Mknod(filepath.Join(path, "sock"), unix.S_IFSOCK|0o644, 0)
	unix.Mknod(filepath.Join(path, "null"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3)))
	for name, want := range map[string]error{
		"file": nil, "dir": unix.EISDIR, "near": unix.ELOOP, "far": unix.ELOOP,
		"fifo": unix.ENXIO, "sock": unix.ENXIO, "null": unix.ENXIO, "none": unix.ENOENT,
	} {
		fd, _, err := OpenRegular(dir, name, unix.O_RDONLY)
		if !errors.Is(err, want) && !(name == "null" && err == unix.ENOENT) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		Close(fd)
	}
	for _, name := range []string{"..", "../x", "/etc/passwd", "dir/../..", "far", "near"} {
		if fd, err := open(dir, name, unix.O_RDONLY, 0); err == nil {
			t.Errorf("%s was opened", name)
			Close(fd)
		}
	}
	if fd, err := OpenPath(dir, "far"); err != nil {
		t.Error("a link itself:", err)
	} else {
		if b, err := Readlink(fd, ""); string(b) != "/etc/passwd" {
			t.Errorf("readlink: %q, %v", b, err)
		}
		Close(fd)
	}
}

// TestFallbacks runs what needs young kernels both ways.
func TestFallbacks(t *testing.T) {
	for _, old := range []bool{false, true} {
		noChmodAt.Store(old)
		noXattrAt.Store(old)
		path, dir := tempDir(t)
		os.WriteFile(filepath.Join(path, "f"), nil, 0o600)
		fd, err := OpenPath(dir, "f")
		if err != nil {
			t.Fatal(err)
		}
		if err := Chmod(fd, dir, "f", 0o4711); err != nil {
			t.Fatal("chmod:", err)
		}
		if st, _ := StatFD(fd); st.Mode != unix.S_IFREG|0o4711 {
			t.Errorf("mode %o", st.Mode)
		}
		x := Xattrs{FD: fd, Dir: dir, Name: "f"}
		if err := x.Set("user.k", []byte("value"), unix.XATTR_CREATE); err == unix.EOPNOTSUPP {
			t.Skip("no user attributes on this file system")
		} else if err != nil {
			t.Fatal("set:", err)
		}
		if v, err := x.Get("user.k"); string(v) != "value" || err != nil {
			t.Errorf("get %q, %v", v, err)
		}
		if l, err := x.List(); !bytes.Contains(l, []byte("user.k\x00")) {
			t.Errorf("list %q, %v", l, err)
		}
		long := bytes.Repeat([]byte("v"), 2000)
		if err := x.Set("user.k", long, unix.XATTR_REPLACE); err != nil {
			t.Error("set a long value:", err)
		} else if v, err := x.Get("user.k"); !bytes.Equal(v, long) {
			t.Errorf("get %d bytes, %v", len(v), err)
		}
		if HasNoXattr(dir, "f") {
			t.Error("it has one")
		}
		if err := x.Remove("user.k"); err != nil {
			t.Error("remove:", err)
		}
		if _, err := x.Get("user.k"); err != unix.ENODATA {
			t.Error("get of none:", err)
		}
		Close(fd)
	}
	noChmodAt.Store(false)
	noXattrAt.Store(false)
}

func TestReadDirGoesOn(t *testing.T) {
	path, dir := tempDir(t)
	want := map[string]bool{}
	for i := range 300 {
		name := strings.Repeat("n", 20) + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		os.WriteFile(filepath.Join(path, name), nil, 0o600)
		want[name] = true
	}
	fd, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	buf := make([]byte, 1024)
	var pos int64
	for more := true; more; {
		if err := SeekDir(fd, pos); err != nil {
			t.Fatal(err)
		}
		n := 0
		more, err = ReadDir(fd, buf, func(d Dirent) bool {
			if !want[string(d.Name)] {
				t.Errorf("%q twice or unknown", d.Name)
			}
			delete(want, string(d.Name))
			pos = d.Next
			n++
			return n < 5
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(want) != 0 {
		t.Errorf("%d names missing", len(want))
	}
}
