package vfs_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/vfs/vfstest"
)

// host is a directory of the machine that the test runs on.
type host struct{ dir string }

func (h host) Try(call, path, path2 string, n uint32) error {
	at := func(p string) string {
		if !strings.HasPrefix(p, "/") || len(p) > 4000 {
			return p
		}
		return h.dir + p
	}
	switch call {
	case "open":
		fd, err := unix.Open(at(path), int(n), 0o644)
		if err == nil {
			unix.Close(fd)
		}
		return err
	case "mkdir":
		return unix.Mkdir(at(path), n)
	case "rmdir":
		return unix.Rmdir(at(path))
	case "unlink":
		return unix.Unlink(at(path))
	case "symlink":
		return unix.Symlink(path, at(path2))
	case "link":
		return unix.Link(at(path), at(path2))
	case "mknod":
		return unix.Mknod(at(path), n, 0)
	case "rename":
		return unix.Renameat2(unix.AT_FDCWD, at(path), unix.AT_FDCWD, at(path2), uint(n))
	case "truncate":
		return unix.Truncate(at(path), int64(n))
	case "readlink":
		_, err := unix.Readlink(at(path), make([]byte, 100))
		return err
	}
	panic(call)
}

// TestErrors_ofHost asks Linux for the errors that the suite wants.
func TestErrors_ofHost(t *testing.T) {
	vfstest.TryErrors(t, func() vfstest.Calls { return host{t.TempDir()} })
}
