package syscalls

import (
	"encoding/binary"
	"strings"
	"testing"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

func TestStat(t *testing.T) {
	g := newGuest(t)
	g.file("f", "12345")
	addr, b := g.room(linux.SizeofStat)
	g.must(stat(g.t, g.str("f"), addr))
	if st := linux.ReadStat(b); st.Mode != linux.S_IFREG|0o644 || st.Size != 5 || st.Nlink != 1 {
		t.Errorf("stat gave %+v", st)
	}
	path := g.open("f", linux.O_PATH)
	clear(b)
	g.must(fstat(g.t, path, addr))
	if st := linux.ReadStat(b); st.Size != 5 {
		t.Errorf("fstat gave %+v", st)
	}
	clear(b)
	g.must(newfstatat(g.t, path, g.str(""), addr, linux.AT_EMPTY_PATH))
	if st := linux.ReadStat(b); st.Size != 5 {
		t.Errorf("newfstatat gave %+v", st)
	}
	r, _ := g.pipe()
	g.must(newfstatat(g.t, r, 0, addr, linux.AT_EMPTY_PATH))
	if st := linux.ReadStat(b); st.Mode&linux.S_IFMT != linux.S_IFIFO {
		t.Errorf("newfstatat gave %+v", st)
	}
	g.fails2("empty", linux.ENOENT)(newfstatat(g.t, path, g.str(""), addr, 0))
	g.fails2("flags", linux.EINVAL)(newfstatat(g.t, path, bad, addr, 0x8000))
	g.fails2("bad fd", linux.EBADF)(fstat(g.t, 99, addr))
	g.fails2("bad address", linux.EFAULT)(stat(g.t, g.str("f"), bad))
	x, xb := g.room(linux.SizeofStatx)
	g.must(statx(g.t, linux.AtFDCWD, g.str("/"), 0, linux.STATX_BASIC_STATS, x))
	if mode := binary.LittleEndian.Uint16(xb[28:]); mode != linux.S_IFDIR|0o755 {
		t.Errorf("statx mode %#o", mode)
	}
	if attr := binary.LittleEndian.Uint64(xb[8:]); attr&linux.STATX_ATTR_MOUNT_ROOT == 0 {
		t.Error("the root is no mount's root")
	}
	g.fails2("reserved", linux.EINVAL)(statx(g.t, linux.AtFDCWD, bad, 0, linux.STATX__RESERVED, x))
	g.fails2("sync both ways", linux.EINVAL)(statx(g.t, linux.AtFDCWD, bad, linux.AT_STATX_SYNC_TYPE, 0, x))
}

func TestGetdents64(t *testing.T) {
	g := newGuest(t)
	for _, name := range []string{"one", "two", strings.Repeat("n", 200)} {
		g.file(name, "")
	}
	fd := g.open("/", linux.O_RDONLY|linux.O_DIRECTORY)
	addr, b := g.room(256)
	seen := map[string]uint8{}
	for {
		n := g.must(getdents64(g.t, fd, addr, 256))
		if n == 0 {
			break
		}
		for e := b[:n]; len(e) > 0; {
			size := binary.LittleEndian.Uint16(e[16:])
			name, _, _ := strings.Cut(string(e[19:size]), "\x00")
			seen[name] = e[18]
			e = e[size:]
		}
	}
	if len(seen) != 5 || seen["."] != linux.DT_DIR || seen["one"] != linux.DT_REG {
		t.Errorf("entries %v", seen)
	}
	g.must(lseek(g.t, fd, 0, linux.SEEK_SET))
	g.fails2("no room", linux.EINVAL)(getdents64(g.t, fd, addr, 10))
	g.fails2("a file", linux.ENOTDIR)(getdents64(g.t, g.open("one", 0), addr, 256))
	if n := g.must(getdents(g.t, fd, addr, 256)); n == 0 || b[binary.LittleEndian.Uint16(b[16:])-1] != linux.DT_DIR {
		t.Errorf("getdents gave %d %x", n, b[:n])
	}
}

func TestXattrs(t *testing.T) {
	g := newGuest(t)
	g.file("f", "")
	f, name := g.str("f"), g.str("user.a")
	g.must(setxattr(g.t, f, name, g.str("value"), 5, linux.XATTR_CREATE))
	g.fails2("exists", linux.EEXIST)(setxattr(g.t, f, name, g.str("v"), 1, linux.XATTR_CREATE))
	g.fails2("flags", linux.EINVAL)(setxattr(g.t, f, bad, bad, 1, 4))
	g.fails2("too large", linux.E2BIG)(setxattr(g.t, f, name, bad, linux.XATTR_SIZE_MAX+1, 0))
	g.fails2("no name", linux.ERANGE)(setxattr(g.t, f, g.str(""), bad, 1, 0))
	addr, b := g.room(16)
	if n := g.must(getxattr(g.t, f, name, 0, 0)); n != 5 {
		t.Errorf("length %d", n)
	}
	if n := g.must(getxattr(g.t, f, name, addr, 16)); string(b[:n]) != "value" {
		t.Errorf("value %q", b[:n])
	}
	g.fails2("no room", linux.ERANGE)(getxattr(g.t, f, name, addr, 2))
	g.fails2("missing", linux.ENODATA)(getxattr(g.t, f, g.str("user.b"), addr, 16))
	if n := g.must(listxattr(g.t, f, addr, 16)); string(b[:n]) != "user.a\x00" {
		t.Errorf("names %q", b[:n])
	}
	g.must(removexattr(g.t, f, name))
	g.fails2("removed", linux.ENODATA)(removexattr(g.t, f, name))
}

func TestChange(t *testing.T) {
	g := newGuest(t)
	g.file("f", "12345")
	f := g.str("f")
	g.must(chmod(g.t, f, 0o4711))
	g.must(chown(g.t, f, 7, ^uint32(0)))
	g.must(truncate(g.t, f, 2))
	g.must(utimensat(g.t, linux.AtFDCWD, f, g.words(1, 2, 3, linux.UTIME_OMIT), 0))
	addr, b := g.room(linux.SizeofStat)
	g.must(stat(g.t, f, addr))
	st := linux.ReadStat(b)
	if st.UID != 7 || st.GID != 0 || st.Size != 2 || st.Atime != (linux.Timespec{Sec: 1, Nsec: 2}) || st.Mtime.Sec == 3 {
		t.Errorf("stat gave %+v", st)
	}
	ro := g.open("f", linux.O_RDONLY)
	g.fails2("negative size", linux.EINVAL)(truncate(g.t, bad, -1))
	g.fails2("directory", linux.EISDIR)(truncate(g.t, g.str("/"), 0))
	g.fails2("read only", linux.EINVAL)(ftruncate(g.t, ro, 0))
	g.fails2("flags", linux.EINVAL)(fchmodat2(g.t, linux.AtFDCWD, bad, 0, 1))
	g.fails2("nanoseconds", linux.EINVAL)(utimensat(g.t, linux.AtFDCWD, f, g.words(0, 1e9, 0, 0), 0))
	g.fails2("omitted twice", nil)(utimensat(g.t, linux.AtFDCWD, bad, g.words(0, linux.UTIME_OMIT, 0, linux.UTIME_OMIT), 0))
	g.fails2("fallocate to read", linux.EBADF)(fallocate(g.t, ro, 0, 0, 1))
	g.t.SetCreds(vfs.UserCreds(1000, 1000))
	g.fails2("not the owner", linux.EPERM)(chmod(g.t, f, 0))
	g.fails2("not root", linux.EPERM)(sethostname(g.t, f, 1))
	g.fails2("not root", linux.EPERM)(umount2(g.t, g.str("/"), 0))
	g.fails2("not root", linux.EPERM)(chroot(g.t, g.str("/")))
}
