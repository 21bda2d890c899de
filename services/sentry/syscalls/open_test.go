package syscalls

import (
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

func TestOpenat_errors(t *testing.T) {
	g := newGuest(t)
	g.file("file", "x")
	g.must(mkdirat(g.t, linux.AtFDCWD, g.str("dir"), 0o755))
	g.must(symlinkat(g.t, g.str("file"), linux.AtFDCWD, g.str("link")))
	g.must(symlinkat(g.t, g.str("loop"), linux.AtFDCWD, g.str("loop")))
	fd := g.open("file", linux.O_RDONLY)
	long := strings.Repeat("a", linux.PATH_MAX)
	for _, c := range []struct {
		name  string
		dirfd linux.FD
		path  string
		flags linux.OpenFlags
		want  error
	}{
		{"exists", linux.AtFDCWD, "file", linux.O_RDWR, nil},
		{"absolute does not look at dirfd", 99, "/file", 0, nil},
		{"empty", linux.AtFDCWD, "", 0, linux.ENOENT},
		{"missing", linux.AtFDCWD, "no", 0, linux.ENOENT},
		{"no such dirfd", 99, "file", 0, linux.EBADF},
		{"dirfd is a file", fd, "file", 0, linux.ENOTDIR},
		{"below a file", linux.AtFDCWD, "file/x", 0, linux.ENOTDIR},
		{"exclusive", linux.AtFDCWD, "file", linux.O_CREAT | linux.O_EXCL, linux.EEXIST},
		{"exclusive link", linux.AtFDCWD, "link", linux.O_CREAT | linux.O_EXCL, linux.EEXIST},
		{"link not followed", linux.AtFDCWD, "link", linux.O_NOFOLLOW, linux.ELOOP},
		{"loop", linux.AtFDCWD, "loop", 0, linux.ELOOP},
		{"write a directory", linux.AtFDCWD, "dir", linux.O_WRONLY, linux.EISDIR},
		{"create over a directory", linux.AtFDCWD, "dir", linux.O_CREAT, linux.EISDIR},
		{"file as directory", linux.AtFDCWD, "file", linux.O_DIRECTORY, linux.ENOTDIR},
		{"create and directory", linux.AtFDCWD, "new", linux.O_CREAT | linux.O_DIRECTORY, linux.EINVAL},
		{"tmpfile to read", linux.AtFDCWD, ".", linux.O_TMPFILE | linux.O_RDONLY, linux.EINVAL},
		{"tmpfile", linux.AtFDCWD, ".", linux.O_TMPFILE | linux.O_RDWR, nil},
		{"unknown flags are ignored", linux.AtFDCWD, "file", 1 << 30, nil},
		{"too long", linux.AtFDCWD, long, 0, linux.ENAMETOOLONG},
		{"name too long", linux.AtFDCWD, long[:256], 0, linux.ENAMETOOLONG},
	} {
		n, err := openat(g.t, c.dirfd, g.str(c.path), c.flags, 0o600)
		g.fails(c.name, c.want, n, err)
	}
	n, err := openat(g.t, linux.AtFDCWD, bad, 0, 0)
	g.fails("bad address", linux.EFAULT, n, err)
}

func TestOpenat2_errors(t *testing.T) {
	g := newGuest(t)
	g.file("file", "x")
	for _, c := range []struct {
		name                 string
		flags, mode, resolve uint64
		extra                []uint64
		want                 error
	}{
		{"plain", 0, 0, 0, nil, nil},
		{"unknown flag", 1 << 30, 0, 0, nil, linux.EINVAL},
		{"mode without create", 0, 0o600, 0, nil, linux.EINVAL},
		{"mode", uint64(linux.O_CREAT), 0o600, 0, nil, nil},
		{"mode with type", uint64(linux.O_CREAT), 0o100600, 0, nil, linux.EINVAL},
		{"unknown resolve", 0, 0, 0x1000, nil, linux.EINVAL},
		{"both scopes", 0, 0, linux.RESOLVE_BENEATH | linux.RESOLVE_IN_ROOT, nil, linux.EINVAL},
		{"longer, zero", 0, 0, 0, []uint64{0, 0}, nil},
		{"longer, not zero", 0, 0, 0, []uint64{0, 1}, linux.E2BIG},
	} {
		how := append([]uint64{c.flags, c.mode, c.resolve}, c.extra...)
		n, err := openat2(g.t, linux.AtFDCWD, g.str("file"), g.words(how...), uint64(8*len(how)))
		g.fails(c.name, c.want, n, err)
	}
	n, err := openat2(g.t, linux.AtFDCWD, g.str("/file"), g.words(0, 0, linux.RESOLVE_BENEATH), 24)
	g.fails("absolute beneath", linux.EXDEV, n, err)
	n, err = openat2(g.t, linux.AtFDCWD, g.str("file"), g.words(0, 0, 0), 8)
	g.fails("short", linux.EINVAL, n, err)
}

func TestRenameat2_errors(t *testing.T) {
	g := newGuest(t)
	g.file("a", "1")
	g.file("b", "2")
	g.must(mkdir(g.t, g.str("d"), 0o755))
	for _, c := range []struct {
		name     string
		from, to string
		flags    linux.RenameFlags
		want     error
	}{
		{"unknown flag", "a", "b", 8, linux.EINVAL},
		{"exchange and noreplace", "a", "b", linux.RENAME_EXCHANGE | linux.RENAME_NOREPLACE, linux.EINVAL},
		{"flags come first", "", "", 8, linux.EINVAL},
		{"noreplace", "a", "b", linux.RENAME_NOREPLACE, linux.EEXIST},
		{"missing", "no", "b", 0, linux.ENOENT},
		{"exchange with nothing", "a", "no", linux.RENAME_EXCHANGE, linux.ENOENT},
		{"file over directory", "a", "d", 0, linux.EISDIR},
		{"directory over file", "d", "a", 0, linux.ENOTDIR},
		{"into itself", "d", "d/x", 0, linux.EINVAL},
		{"dot", "d/.", "e", 0, linux.EBUSY},
		{"same", "a", "a", 0, nil},
		{"exchange", "a", "b", linux.RENAME_EXCHANGE, nil},
		{"replace", "a", "b", 0, nil},
	} {
		n, err := renameat2(g.t, linux.AtFDCWD, g.str(c.from), linux.AtFDCWD, g.str(c.to), c.flags)
		g.fails(c.name, c.want, n, err)
	}
	if got := g.contents("b"); got != "2" {
		t.Errorf("b holds %q", got)
	}
}

func TestNames(t *testing.T) {
	g := newGuest(t)
	g.file("f", "data")
	g.must(mkdir(g.t, g.str("d"), 0o777))
	st := func(path string) linux.Stat {
		t.Helper()
		addr, b := g.room(linux.SizeofStat)
		g.must(lstat(g.t, g.str(path), addr))
		return linux.ReadStat(b)
	}
	if m := st("d").Mode; m != linux.S_IFDIR|0o755 {
		t.Errorf("mkdir under umask 022 gave %#o", m)
	}
	g.must(link(g.t, g.str("f"), g.str("d/g")))
	if n := st("f").Nlink; n != 2 {
		t.Errorf("%d links", n)
	}
	g.fails2("unlink a directory", linux.EISDIR)(unlink(g.t, g.str("d")))
	g.fails2("rmdir a file", linux.ENOTDIR)(rmdir(g.t, g.str("f")))
	g.fails2("rmdir not empty", linux.ENOTEMPTY)(rmdir(g.t, g.str("d")))
	g.fails2("unlinkat flags", linux.EINVAL)(unlinkat(g.t, linux.AtFDCWD, g.str("f"), 1))
	g.fails2("mkdir exists", linux.EEXIST)(mkdir(g.t, g.str("d"), 0o755))
	g.fails2("mkdir below nothing", linux.ENOENT)(mkdir(g.t, g.str("x/y"), 0o755))
	g.fails2("mknod directory", linux.EPERM)(mknod(g.t, g.str("n"), linux.S_IFDIR, 0))
	g.fails2("mknod link", linux.EINVAL)(mknod(g.t, g.str("n"), linux.S_IFLNK, 0))
	g.fails2("symlink empty", linux.ENOENT)(symlink(g.t, g.str(""), g.str("s")))
	g.must(symlink(g.t, g.str("f"), g.str("s")))
	addr, b := g.room(16)
	if n := g.must(readlink(g.t, g.str("s"), addr, 16)); string(b[:n]) != "f" {
		t.Errorf("readlink gave %q", b[:n])
	}
	g.fails2("readlink of a file", linux.EINVAL)(readlink(g.t, g.str("f"), addr, 16))
	g.fails2("readlink into nothing", linux.EINVAL)(readlink(g.t, g.str("s"), addr, 0))
	g.must(unlink(g.t, g.str("d/g")))
	g.must(rmdir(g.t, g.str("d")))
	g.fails2("gone", linux.ENOENT)(stat(g.t, g.str("d"), addr))
}

// fails2 is fails for a call as argument.
func (g *guest) fails2(what string, want error) func(uint64, error) {
	g.Helper()
	return func(n uint64, err error) {
		g.Helper()
		g.fails(what, want, n, err)
	}
}

func TestGetcwd(t *testing.T) {
	g := newGuest(t)
	g.must(mkdir(g.t, g.str("/a"), 0o755))
	g.must(mkdir(g.t, g.str("/a/b"), 0o755))
	g.must(chdir(g.t, g.str("a/b")))
	addr, b := g.room(16)
	if n := g.must(getcwd(g.t, addr, 16)); string(b[:n]) != "/a/b\x00" {
		t.Errorf("getcwd gave %q", b[:n])
	}
	g.fails2("no room", linux.ERANGE)(getcwd(g.t, addr, 4))
	g.fails2("bad address", linux.EFAULT)(getcwd(g.t, bad, 16))
	fd := g.open("..", linux.O_PATH)
	g.must(fchdir(g.t, fd))
	if n := g.must(getcwd(g.t, addr, 16)); string(b[:n]) != "/a\x00" {
		t.Errorf("getcwd gave %q", b[:n])
	}
	g.must(chdir(g.t, g.str("b")))
	g.must(rmdir(g.t, g.str("/a/b")))
	g.fails2("removed", linux.ENOENT)(getcwd(g.t, addr, 16))
	g.file("/f", "")
	g.fails2("chdir to a file", linux.ENOTDIR)(chdir(g.t, g.str("/f")))
}

func TestAccess(t *testing.T) {
	g := newGuest(t)
	g.file("f", "")
	g.must(chmod(g.t, g.str("f"), 0o600))
	g.fails2("mode", linux.EINVAL)(access(g.t, g.str("f"), 8))
	g.fails2("root reads", nil)(access(g.t, g.str("f"), linux.R_OK|linux.W_OK))
	g.fails2("root cannot execute", linux.EACCES)(access(g.t, g.str("f"), linux.X_OK))
	c := vfs.RootCreds()
	c.UID = 1000 // set-user-id root: access looks at the real user
	g.t.SetCreds(c)
	g.fails2("real user", linux.EACCES)(access(g.t, g.str("f"), linux.R_OK))
	g.fails2("effective user", nil)(faccessat2(g.t, linux.AtFDCWD, g.str("f"), linux.R_OK, linux.AT_EACCESS))
	g.fails2("flags", linux.EINVAL)(faccessat2(g.t, linux.AtFDCWD, g.str("f"), 0, 1))
}

func TestOpenat2_inRoot(t *testing.T) {
	g := newGuest(t)
	g.must(mkdir(g.t, g.str("d"), 0o755))
	g.file("d/f", "x")
	d := g.open("d", linux.O_PATH)
	g.fails2("absolute in root", nil)(openat2(g.t, d, g.str("/f"), g.words(0, 0, linux.RESOLVE_IN_ROOT), 24))
	g.fails2("no such root", linux.EBADF)(openat2(g.t, 99, g.str("/f"), g.words(0, 0, linux.RESOLVE_IN_ROOT), 24))
}
