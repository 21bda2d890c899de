package vfstest

import (
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

// Calls are system calls on paths from "/" of some tree: an Env, or the host, so
// that Linux itself can be asked what is right.
type Calls interface {
	// Try makes one call and gives its error. n is its flags or mode.
	Try(call, path, path2 string, n uint32) error
}

// attempt is a call and the error that it must give.
type attempt struct {
	call, path, path2 string
	n                 uint32
	want              error
}

// tryAll prepares a tree of /f, /g (files), /d/sub, /e (directories), /l -> d,
// /loop -> loop, and makes each call.
func tryAll(t testing.TB, c Calls, list []attempt) {
	t.Helper()
	for _, a := range []attempt{
		{"open", "/f", "", uint32(linux.O_CREAT | linux.O_WRONLY), nil}, {"open", "/g", "", uint32(linux.O_CREAT | linux.O_WRONLY), nil},
		{"mkdir", "/d", "", 0o755, nil}, {"mkdir", "/d/sub", "", 0o755, nil}, {"mkdir", "/e", "", 0o755, nil},
		{"symlink", "d", "/l", 0, nil}, {"symlink", "loop", "/loop", 0, nil},
	} {
		if err := c.Try(a.call, a.path, a.path2, a.n); err != nil {
			t.Fatalf("%s %s: %v", a.call, a.path, err)
		}
	}
	for _, a := range list {
		if err := c.Try(a.call, a.path, a.path2, a.n); err != a.want {
			t.Errorf("%s %.30q %.30q %#o: %v, want %v", a.call, a.path, a.path2, a.n, err, a.want)
		}
	}
}

// TryErrors makes the calls of the suite's tables of errors on three fresh trees.
func TryErrors(t *testing.T, fresh func() Calls) {
	for _, list := range [][]attempt{openErrors, nameErrors, renameErrors} {
		tryAll(t, fresh(), list)
	}
}

// Try is Calls'.
func (e *Env) Try(call, path, path2 string, n uint32) error {
	switch call {
	case "open":
		f, err := e.Open(path, linux.OpenFlags(n), 0o644)
		if err == nil {
			f.DecRef(e.Ctx)
		}
		return err
	case "mkdir":
		return e.Mkdir(path, n)
	case "rmdir":
		return e.Rmdir(path)
	case "unlink":
		return e.Unlink(path)
	case "symlink":
		return e.Symlink(path, path2)
	case "link":
		return e.Link(path, path2)
	case "mknod":
		return e.Mknod(path, n, 0)
	case "rename":
		return e.Rename(path, path2, linux.RenameFlags(n))
	case "truncate":
		return e.SetStat(path, vfs.SetAttr{Mask: vfs.SetSize, Size: int64(n)})
	case "readlink":
		p, err := e.Walk(path, vfs.NoFollow)
		if err == nil {
			_, err = vfs.Readlink(e.Ctx, p)
		}
		return err
	}
	panic("no such call: " + call)
}

const (
	rdonly = uint32(linux.O_RDONLY)
	wronly = uint32(linux.O_WRONLY)
	rdwr   = uint32(linux.O_RDWR)
	creat  = uint32(linux.O_CREAT | linux.O_RDWR)
	excl   = uint32(linux.O_CREAT | linux.O_EXCL | linux.O_RDWR)
	trunc  = uint32(linux.O_TRUNC)
	dirOf  = uint32(linux.O_DIRECTORY)
	nofol  = uint32(linux.O_NOFOLLOW)
	opath  = uint32(linux.O_PATH)
	tmpf   = uint32(linux.O_TMPFILE)

	noreplace = uint32(linux.RENAME_NOREPLACE)
	exchange  = uint32(linux.RENAME_EXCHANGE)
)

var tooLong = "/" + strings.Repeat("n", 256)

var openErrors = []attempt{
	{"open", "/none", "", rdonly, linux.ENOENT},
	{"open", "/f/x", "", rdonly, linux.ENOTDIR},
	{"open", "/f/", "", rdonly, linux.ENOTDIR},
	{"open", "/f/.", "", rdonly, linux.ENOTDIR},
	{"open", "/f/..", "", rdonly, linux.ENOTDIR},
	{"open", "/d", "", wronly, linux.EISDIR},
	{"open", "/d", "", uint32(linux.O_CREAT), linux.EISDIR},
	{"open", "/d", "", trunc, linux.EISDIR},
	{"open", "/d/", "", creat, linux.EISDIR},
	{"open", "/l/", "", creat, linux.EISDIR},
	{"open", "/d/.", "", creat, linux.EISDIR},
	{"open", "/d", "", excl, linux.EEXIST},
	{"open", "/l", "", excl, linux.EEXIST},
	{"open", "/new/", "", creat, linux.EISDIR},
	{"open", "/d/.", "", excl, linux.EEXIST},
	{"open", "/d/..", "", excl, linux.EEXIST},
	{"open", "/d/./", "", excl, linux.EEXIST},
	{"open", "/d/", "", excl, linux.EISDIR},
	{"open", "/l/", "", excl, linux.EISDIR},
	{"open", "/f", "", dirOf, linux.ENOTDIR},
	{"open", "/d/..", "", creat, linux.EISDIR},
	{"open", "/l", "", nofol, linux.ELOOP},
	{"open", "/l", "", nofol | creat, linux.ELOOP},
	{"open", "/l/", "", nofol, nil},
	{"open", "/l", "", nofol | dirOf, linux.ENOTDIR},
	{"open", "/l", "", nofol | opath, nil},
	{"open", "/l", "", nofol | opath | dirOf, linux.ENOTDIR},
	{"open", "/f", "", opath | dirOf, linux.ENOTDIR},
	{"open", "/f", "", opath | creat | trunc, nil},
	{"open", "/loop", "", rdonly, linux.ELOOP},
	{"open", "/loop", "", creat, linux.ELOOP},
	{"open", "/loop/x", "", creat, linux.ELOOP},
	{"open", "/d", "", creat | dirOf, linux.EINVAL},
	{"open", tooLong, "", rdonly, linux.ENAMETOOLONG},
	{"open", tooLong, "", creat, linux.ENAMETOOLONG},
	{"open", tooLong + "/x", "", rdonly, linux.ENAMETOOLONG},
	{"open", "/f" + tooLong, "", rdonly, linux.ENOTDIR},
	{"open", strings.Repeat("/", 4096), "", rdonly, linux.ENAMETOOLONG},
	{"open", "/none/x", "", creat, linux.ENOENT},
	{"open", "/f/x", "", creat, linux.ENOTDIR},
	{"open", "/d", "", tmpf, linux.EINVAL},
	{"open", "/f", "", tmpf | rdwr, linux.ENOTDIR},
	{"open", "/none", "", tmpf | rdwr, linux.ENOENT},
	{"truncate", "/d", "", 0, linux.EISDIR},
	{"truncate", "/l", "", 0, linux.EISDIR},
	{"truncate", "/f/", "", 0, linux.ENOTDIR},
	{"readlink", "/f", "", 0, linux.EINVAL},
	{"readlink", "/d", "", 0, linux.EINVAL},
	{"readlink", "/l/", "", 0, linux.EINVAL},
	{"readlink", "/l", "", 0, nil},
}

var nameErrors = []attempt{
	{"mkdir", "/f", "", 0o755, linux.EEXIST},
	{"mkdir", "/f/", "", 0o755, linux.EEXIST},
	{"mkdir", "/l", "", 0o755, linux.EEXIST},
	{"mkdir", "/loop", "", 0o755, linux.EEXIST},
	{"mkdir", "/loop/", "", 0o755, linux.EEXIST},
	{"mkdir", "/", "", 0o755, linux.EEXIST},
	{"mkdir", "/d/.", "", 0o755, linux.EEXIST},
	{"mkdir", "/d/..", "", 0o755, linux.EEXIST},
	{"mkdir", "/none/.", "", 0o755, linux.ENOENT},
	{"mkdir", "/f/x", "", 0o755, linux.ENOTDIR},
	{"mkdir", "/none/x", "", 0o755, linux.ENOENT},
	{"mkdir", "/loop/x", "", 0o755, linux.ELOOP},
	{"mkdir", tooLong, "", 0o755, linux.ENAMETOOLONG},
	{"rmdir", "/f", "", 0, linux.ENOTDIR},
	{"rmdir", "/f/", "", 0, linux.ENOTDIR},
	{"rmdir", "/l", "", 0, linux.ENOTDIR},
	{"rmdir", "/l/", "", 0, linux.ENOTDIR},
	{"rmdir", "/d/.", "", 0, linux.EINVAL},
	{"rmdir", "/d/./", "", 0, linux.EINVAL},
	{"rmdir", "/d/sub/..", "", 0, linux.ENOTEMPTY},
	{"rmdir", "/d", "", 0, linux.ENOTEMPTY},
	{"rmdir", "/none", "", 0, linux.ENOENT},
	{"rmdir", "/none/", "", 0, linux.ENOENT},
	{"rmdir", tooLong, "", 0, linux.ENAMETOOLONG},
	{"unlink", "/d", "", 0, linux.EISDIR},
	{"unlink", "/d/", "", 0, linux.EISDIR},
	{"unlink", "/l/", "", 0, linux.ENOTDIR},
	{"unlink", "/f/", "", 0, linux.ENOTDIR},
	{"unlink", "/d/.", "", 0, linux.EISDIR},
	{"unlink", "/d/..", "", 0, linux.EISDIR},
	{"unlink", "/none", "", 0, linux.ENOENT},
	{"unlink", "/none/", "", 0, linux.ENOENT},
	{"unlink", "/f/x", "", 0, linux.ENOTDIR},
	{"symlink", "t", "/f", 0, linux.EEXIST},
	{"symlink", "t", "/l/", 0, linux.EEXIST},
	{"symlink", "t", "/new/", 0, linux.ENOENT},
	{"symlink", "t", "/d/.", 0, linux.EEXIST},
	{"symlink", "", "/new", 0, linux.ENOENT},
	{"link", "/d", "/d2", 0, linux.EPERM},
	{"link", "/d", "/f", 0, linux.EEXIST},
	{"link", "/f", "/l", 0, linux.EEXIST},
	{"link", "/none", "/x", 0, linux.ENOENT},
	{"link", "/f", "/x/", 0, linux.ENOENT},
	{"link", "/f", "/none/x", 0, linux.ENOENT},
	{"link", "/f", "/f/x", 0, linux.ENOTDIR},
	{"link", "/f/", "/x", 0, linux.ENOTDIR},
	{"mknod", "/x", "", linux.S_IFDIR | 0o755, linux.EPERM},
	{"mknod", "/x", "", 0o170000, linux.EINVAL},
	{"mknod", "/x", "", linux.S_IFLNK | 0o755, linux.EINVAL},
	{"mknod", "/f", "", linux.S_IFDIR | 0o755, linux.EPERM},
	{"mknod", "/f", "", linux.S_IFIFO | 0o644, linux.EEXIST},
	{"mknod", "/x/", "", linux.S_IFREG | 0o644, linux.ENOENT},
	{"mknod", "/f/", "", linux.S_IFREG | 0o644, linux.EEXIST},
}

var renameErrors = []attempt{
	{"rename", "/none", "/x", 0, linux.ENOENT},
	{"rename", "/none", "/none/x", 0, linux.ENOENT},
	{"rename", "/none/x", "/f/x", 0, linux.ENOENT},
	{"rename", "/f", "/d", 0, linux.EISDIR},
	{"rename", "/f", "/d/", 0, linux.ENOTDIR},
	{"rename", "/f", "/e", 0, linux.EISDIR},
	{"rename", "/d", "/f", 0, linux.ENOTDIR},
	{"rename", "/d", "/f/", 0, linux.ENOTDIR},
	{"rename", "/d", "/l", 0, linux.ENOTDIR},
	{"rename", "/d", "/l/", 0, linux.ENOTDIR},
	{"rename", "/e", "/d", 0, linux.ENOTEMPTY},
	{"rename", "/e", "/d/", 0, linux.ENOTEMPTY},
	{"rename", "/d", "/d/sub/x", 0, linux.EINVAL},
	{"rename", "/d", "/d/x", 0, linux.EINVAL},
	{"rename", "/d", "/d/sub", 0, linux.EINVAL},
	{"rename", "/d/sub", "/d", 0, linux.ENOTEMPTY},
	{"rename", "/d/sub", "/d", noreplace, linux.EEXIST},
	{"rename", "/f", "/g", noreplace, linux.EEXIST},
	{"rename", "/f", "/f", noreplace, linux.EEXIST},
	{"rename", "/f", "/none", exchange, linux.ENOENT},
	{"rename", "/f/", "/x", 0, linux.ENOTDIR},
	{"rename", "/f", "/x/", 0, linux.ENOTDIR},
	{"rename", "/l/", "/x", 0, linux.ENOTDIR},
	{"rename", "/d/.", "/x", 0, linux.EBUSY},
	{"rename", "/d", "/e/..", 0, linux.EBUSY},
	{"rename", "/d/sub/..", "/x", 0, linux.EBUSY},
	{"rename", "/f", "/d/.", noreplace, linux.EEXIST},
	{"rename", "/f", "/f/x", 0, linux.ENOTDIR},
	{"rename", "/f", tooLong, 0, linux.ENAMETOOLONG},
	{"rename", tooLong, "/x", 0, linux.ENAMETOOLONG},
	{"rename", "/f", "/f", 0, nil},
	{"rename", "/d", "/d", 0, nil},
	{"rename", "/d/", "/d/", 0, nil},
	{"rename", "/d", "/d/sub", exchange, linux.EINVAL},
	{"rename", "/d/sub", "/d", exchange, linux.EINVAL},
	{"rename", "/f", "/x", noreplace | exchange, linux.EINVAL},
	{"rename", "/f", "/x", 8, linux.EINVAL},
}
