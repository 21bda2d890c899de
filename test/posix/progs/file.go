package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	program("file.rw", fileRW)
	program("file.vectors", fileVectors)
	program("file.truncate", fileTruncate)
	program("file.sparse", fileSparse)
	program("file.copy", fileCopy)
	program("file.allocate", fileAllocate)
	program("file.fsize", fileFsize)
	program("file.statx", fileStatx)
	program("file.utimens", fileUtimens)
	program("file.xattr", fileXattr)
	program("file.chmod", fileChmod)
	program("file.devices", fileDevices)
	program("file.statfs", fileStatfs)
}

func fileRW(t *T) {
	fd := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	n, err := unix.Write(fd, []byte("hello world"))
	t.N("write", n, err)
	n, err = unix.Write(fd, nil)
	t.N("write nothing", n, err)
	b := make([]byte, 64)
	n, err = unix.Read(fd, b)
	t.N("read at end", n, err)
	n, err = unix.Pread(fd, b, 6)
	t.Say("pread %q %s", b[:n], errName(err))
	_, err = unix.Pread(fd, b, -1)
	t.Err("pread negative", err)
	_, err = unix.Pwrite(fd, b, -1)
	t.Err("pwrite negative", err)
	for _, s := range []struct {
		off    int64
		whence int
	}{{0, 0}, {-1, 0}, {5, 0}, {-3, 1}, {-100, 1}, {-3, 2}, {100, 2}, {-100, 2}, {0, 3}, {0, 4}, {11, 3}, {11, 4}, {0, 9}} {
		off, err := unix.Seek(fd, s.off, s.whence)
		t.Say("seek %d %d: %d %s", s.off, s.whence, off, errName(err))
	}
	unix.Seek(fd, 0, 0)
	_, _, e := unix.Syscall(unix.SYS_READ, uintptr(fd), 8, 10)
	t.Err("read to bad address", errnoErr(e))
	_, _, e = unix.Syscall(unix.SYS_WRITE, uintptr(fd), 8, 10)
	t.Err("write from bad address", errnoErr(e))
	_, _, e = unix.Syscall(unix.SYS_READ, uintptr(fd), 8, 0)
	t.Err("read nothing to bad address", errnoErr(e))
	ro := t.Open("f", unix.O_RDONLY, 0)
	_, err = unix.Write(ro, b)
	t.Err("write to RDONLY", err)
	wo := t.Open("f", unix.O_WRONLY, 0)
	_, err = unix.Read(wo, b)
	t.Err("read from WRONLY", err)
	d := t.Open(".", unix.O_RDONLY, 0)
	_, err = unix.Read(d, b)
	t.Err("read of directory", err)
	_, err = unix.Write(d, b)
	t.Err("write of directory", err)
	_, err = unix.Read(77, b)
	t.Err("read bad fd", err)
	t.Err("fsync", unix.Fsync(fd))
	t.Err("fdatasync", unix.Fdatasync(fd))
	t.Err("fsync bad", unix.Fsync(77))
	big := []byte(strings.Repeat("0123456789abcdef", 1<<16))
	n, err = unix.Pwrite(fd, big, 3)
	t.N("pwrite 1 MiB", n, err)
	back := make([]byte, len(big))
	n, err = unix.Pread(fd, back, 3)
	t.Say("pread %d %v %s", n, string(back) == string(big), errName(err))
	t.Err("fadvise", unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL))
	t.Err("fadvise bad", unix.Fadvise(fd, 0, 0, 99))
}

func fileVectors(t *T) {
	fd := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	n, err := unix.Writev(fd, [][]byte{[]byte("one"), nil, []byte("two"), []byte("three")})
	t.N("writev", n, err)
	a, b := make([]byte, 4), make([]byte, 40)
	n, err = unix.Preadv(fd, [][]byte{a, b}, 1)
	t.Say("preadv %d %q %q %s", n, a, b[:max(n-4, 0)], errName(err))
	n, err = unix.Pwritev(fd, [][]byte{[]byte("XX"), []byte("YY")}, 2)
	t.N("pwritev", n, err)
	t.Text("f")
	n, err = unix.Pwritev2(fd, [][]byte{[]byte("end")}, -1, unix.RWF_APPEND)
	t.N("pwritev2 append", n, err)
	t.Text("f")
	_, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), 8, 2)
	t.Err("writev bad vector", errnoErr(e))
	_, _, e = unix.Syscall(unix.SYS_WRITEV, uintptr(fd), 8, 1025)
	t.Err("writev 1025", errnoErr(e))
	_, _, e = unix.Syscall(unix.SYS_WRITEV, uintptr(fd), 8, 0)
	t.Err("writev 0", errnoErr(e))
}

func fileTruncate(t *T) {
	t.Write("f", "0123456789")
	t.Err("truncate", unix.Truncate("f", 4))
	t.Text("f")
	t.Err("truncate up", unix.Truncate("f", 8))
	t.Text("f")
	t.Err("truncate -1", unix.Truncate("f", -1))
	t.Err("truncate dir", unix.Truncate(".", 0))
	t.Err("truncate none", unix.Truncate("none", 0))
	ro := t.Open("f", unix.O_RDONLY, 0)
	t.Err("ftruncate RDONLY", unix.Ftruncate(ro, 0))
	rw := t.Open("f", unix.O_RDWR, 0)
	unix.Seek(rw, 6, 0)
	t.Err("ftruncate", unix.Ftruncate(rw, 2))
	n, err := unix.Write(rw, []byte("end"))
	t.N("write past", n, err)
	t.Text("f")
	var p [2]int
	unix.Pipe(p[:])
	t.Err("ftruncate pipe", unix.Ftruncate(p[1], 0))
	t.Err("creat truncates", func() error { _, err := unix.Creat("f", 0o600); return err }())
	t.Text("f")
}

func fileSparse(t *T) {
	fd := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	n, err := unix.Pwrite(fd, []byte("tail"), 1<<30)
	t.N("pwrite at 1 GiB", n, err)
	var st unix.Stat_t
	t.Must("fstat", unix.Fstat(fd, &st))
	t.Say("size %d sparse %v", st.Size, st.Blocks*512 < 1<<20)
	b := make([]byte, 8)
	n, err = unix.Pread(fd, b, 1<<29)
	t.Say("hole %d %v %s", n, b, errName(err))
	off, err := unix.Seek(fd, 0, unix.SEEK_DATA)
	t.Say("SEEK_DATA %d %s", off, errName(err))
	off, err = unix.Seek(fd, 0, unix.SEEK_HOLE)
	t.Say("SEEK_HOLE %d %s", off, errName(err))
	off, err = unix.Seek(fd, 1<<30, unix.SEEK_HOLE)
	t.Say("SEEK_HOLE in data %d %s", off, errName(err))
	_, err = unix.Seek(fd, 1<<31, unix.SEEK_DATA)
	t.Err("SEEK_DATA past end", err)
}

func fileCopy(t *T) {
	t.Write("a", strings.Repeat("abcdefgh", 5000))
	a := t.Open("a", unix.O_RDONLY, 0)
	b := t.Open("b", unix.O_CREAT|unix.O_RDWR, 0o644)
	n, err := unix.Sendfile(b, a, nil, 20000)
	t.N("sendfile", n, err)
	off := int64(8)
	n, err = unix.Sendfile(b, a, &off, 16)
	t.N("sendfile at 8", n, err)
	t.Say("offset %d", off)
	n, err = unix.CopyFileRange(a, nil, b, nil, 1<<20, 0)
	t.N("copy_file_range", n, err)
	var p [2]int
	unix.Pipe(p[:])
	so := int64(0)
	m, err := unix.Splice(a, &so, p[1], nil, 100, 0)
	t.N("splice in", int(m), err)
	tee := [2]int{}
	unix.Pipe(tee[:])
	m, err = unix.Tee(p[0], tee[1], 50, 0)
	t.N("tee", int(m), err)
	m, err = unix.Splice(p[0], nil, b, nil, 100, 0)
	t.N("splice out", int(m), err)
	_, err = unix.Splice(a, nil, b, nil, 10, 0)
	t.Err("splice without pipe", err)
	data, _ := os.ReadFile("b")
	t.Say("size %d sum %d", len(data), sum(data))
}

func sum(b []byte) (s uint32) {
	for _, c := range b {
		s = s*31 + uint32(c)
	}
	return s
}

func fileAllocate(t *T) {
	fd := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
	t.Err("fallocate", unix.Fallocate(fd, 0, 0, 10000))
	t.size(fd)
	t.Err("fallocate keep size", unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 100000))
	t.size(fd)
	unix.Pwrite(fd, []byte(strings.Repeat("x", 10000)), 0)
	t.Err("punch", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 100, 5000))
	b, _ := os.ReadFile("f")
	t.Say("sum %d", sum(b))
	t.Err("zero length", unix.Fallocate(fd, 0, 0, 0))
	t.Err("negative", unix.Fallocate(fd, 0, -1, 10))
	t.Err("punch without keep", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE, 0, 10))
}

func (t *T) size(fd int) {
	var st unix.Stat_t
	t.Must("fstat", unix.Fstat(fd, &st))
	t.Say("size %d", st.Size)
}

func fileFsize(t *T) {
	t.Say("exit %d", t.runChild("+fsize"))
}

func init() {
	child("fsize", func([]string) int {
		unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 10, Max: 10})
		t := &T{}
		ignore(unix.SIGXFSZ)
		fd := t.Open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		n, err := unix.Write(fd, []byte("12345678901234"))
		t.N("write over the limit", n, err)
		n, err = unix.Write(fd, []byte("1"))
		t.N("write at the limit", n, err)
		t.Err("truncate", unix.Ftruncate(fd, 100))
		return 0
	})
}

func fileStatx(t *T) {
	t.Write("f", "12345")
	unix.Mkdir("d", 0o750)
	unix.Mkdir("d/e", 0o750)
	unix.Symlink("f", "l")
	unix.Link("f", "f2")
	unix.Mkfifo("p", 0o640)
	for _, n := range []string{"f", "f2", "l", "p", "none", "f/x"} {
		var sx unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, n, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &sx)
		t.Say("statx %s: %s mode %o links %d size %d uid %d gid %d mask %#x", n, errName(err), sx.Mode, sx.Nlink, sx.Size, sx.Uid, sx.Gid, sx.Mask&unix.STATX_BASIC_STATS)
	}
	var st unix.Stat_t
	t.Must("stat", unix.Stat("d", &st))
	t.Say("dir mode %o", st.Mode)
	t.Must("lstat", unix.Lstat("l", &st))
	t.Say("link mode %o size %d", st.Mode, st.Size)
	var a, b unix.Stat_t
	unix.Stat("f", &a)
	unix.Stat("f2", &b)
	t.Say("same inode %v dev %v", a.Ino == b.Ino, a.Dev == b.Dev)
	t.Err("statx bad mask", unix.Statx(unix.AT_FDCWD, "f", 0, 1<<31, new(unix.Statx_t)))
	t.Err("statx bad flag", unix.Statx(unix.AT_FDCWD, "f", 0x10, unix.STATX_BASIC_STATS, new(unix.Statx_t)))
	t.Err("statx no path", unix.Statx(unix.AT_FDCWD, "", 0, unix.STATX_BASIC_STATS, new(unix.Statx_t)))
	t.Err("fstatat bad flag", unix.Fstatat(unix.AT_FDCWD, "f", &st, 0x8000))
	_, _, e := unix.Syscall6(unix.SYS_NEWFSTATAT, ^uintptr(99), 8, 0, 0, 0, 0)
	t.Err("fstatat bad address", errnoErr(e))
}

func fileUtimens(t *T) {
	t.Write("f", "x")
	unix.Symlink("f", "l")
	set := func(what, name string, a, m unix.Timespec, flags int) {
		err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{a, m}, flags)
		var st unix.Stat_t
		unix.Lstat(name, &st)
		if err != nil {
			t.Err(what, err)
			return
		}
		t.Say("%s: atime %d.%09d mtime %d.%09d", what, st.Atim.Sec, st.Atim.Nsec, st.Mtim.Sec, st.Mtim.Nsec)
	}
	set("both", "f", unix.Timespec{Sec: 1000, Nsec: 123456789}, unix.Timespec{Sec: 2000, Nsec: 5}, 0)
	set("omit", "f", unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Sec: 3000}, 0)
	set("omit both", "f", unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_OMIT}, 0)
	set("of link", "l", unix.Timespec{Sec: 7}, unix.Timespec{Sec: 8}, unix.AT_SYMLINK_NOFOLLOW)
	set("before 1970", "f", unix.Timespec{Sec: -5}, unix.Timespec{Sec: -6}, 0)
	set("bad nsec", "f", unix.Timespec{Nsec: 1000000000}, unix.Timespec{}, 0)
	set("none", "none", unix.Timespec{}, unix.Timespec{}, 0)
	err := unix.UtimesNanoAt(unix.AT_FDCWD, "f", []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}, 0)
	var st unix.Stat_t
	unix.Stat("f", &st)
	t.Say("now %s recent %v", errName(err), st.Mtim.Sec > 1600000000)
	before := st
	fd := t.Open("f", unix.O_RDWR, 0)
	unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil)
	unix.Write(fd, []byte("abc"))
	unix.Fstat(fd, &st)
	t.Say("write moves mtime %v ctime %v", st.Mtim != before.Mtim, st.Ctim != before.Ctim)
	before = st
	unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil)
	unix.Fchmod(fd, 0o600)
	unix.Fstat(fd, &st)
	t.Say("chmod moves mtime %v ctime %v", st.Mtim != before.Mtim, st.Ctim != before.Ctim)
}

func fileXattr(t *T) {
	t.Write("f", "x")
	unix.Symlink("f", "l")
	unix.Mkdir("d", 0o755)
	b := make([]byte, 200)
	_, err := unix.Getxattr("f", "user.none", b)
	t.Err("get none", err)
	err = unix.Setxattr("f", "user.a", []byte("value"), 0)
	if err == unix.EOPNOTSUPP {
		t.Say("no user xattrs here")
		return
	}
	t.Err("set", err)
	n, err := unix.Getxattr("f", "user.a", b)
	t.Say("get %q %s", b[:max(n, 0)], errName(err))
	n, err = unix.Getxattr("f", "user.a", nil)
	t.N("get size", n, err)
	_, err = unix.Getxattr("f", "user.a", b[:2])
	t.Err("get short", err)
	t.Err("create existing", unix.Setxattr("f", "user.a", []byte("v"), unix.XATTR_CREATE))
	t.Err("replace missing", unix.Setxattr("f", "user.b", []byte("v"), unix.XATTR_REPLACE))
	t.Err("empty value", unix.Setxattr("f", "user.e", nil, 0))
	t.Err("through link", unix.Setxattr("l", "user.c", []byte("3"), 0))
	t.Err("on link", unix.Lsetxattr("l", "user.c", []byte("3"), 0))
	t.Err("on directory", unix.Setxattr("d", "user.c", []byte("3"), 0))
	t.Err("no namespace", unix.Setxattr("f", "plain", []byte("3"), 0))
	t.Err("unknown namespace", unix.Setxattr("f", "odd.name", []byte("3"), 0))
	t.Err("long name", unix.Setxattr("f", "user."+strings.Repeat("n", 251), []byte("3"), 0))
	t.Err("empty name", unix.Setxattr("f", "", []byte("3"), 0))
	n, err = unix.Listxattr("f", b)
	names := strings.Split(strings.Trim(string(b[:max(n, 0)]), "\x00"), "\x00")
	sort.Strings(names)
	t.Say("list %q %s", names, errName(err))
	t.Err("remove", unix.Removexattr("f", "user.a"))
	t.Err("remove twice", unix.Removexattr("f", "user.a"))
	fd := t.Open("f", unix.O_RDONLY, 0)
	t.Err("fset", unix.Fsetxattr(fd, "user.f", []byte("fd"), 0))
	n, err = unix.Fgetxattr(fd, "user.f", b)
	t.Say("fget %q %s", b[:max(n, 0)], errName(err))
}

func fileChmod(t *T) {
	t.Write("f", "x")
	unix.Symlink("f", "l")
	for _, m := range []uint32{0, 0o777, 0o4755, 0o2755, 0o1644, 0o17777} {
		t.Err("chmod", unix.Chmod("f", m))
		var st unix.Stat_t
		unix.Stat("f", &st)
		t.Say("mode %o", st.Mode)
	}
	t.Err("fchmodat nofollow of link", unix.Fchmodat(unix.AT_FDCWD, "l", 0o600, unix.AT_SYMLINK_NOFOLLOW))
	t.Err("chown", unix.Chown("f", 1000, 1001))
	var st unix.Stat_t
	unix.Stat("f", &st)
	t.Say("%d:%d %o", st.Uid, st.Gid, st.Mode)
	t.Err("chmod", unix.Chmod("f", 0o6755))
	t.Err("chown -1", unix.Chown("f", -1, 77))
	unix.Stat("f", &st)
	t.Say("%d:%d %o", st.Uid, st.Gid, st.Mode)
	t.Err("lchown", unix.Lchown("l", 5, 6))
	unix.Lstat("l", &st)
	t.Say("link %d:%d", st.Uid, st.Gid)
	unix.Stat("f", &st)
	t.Say("target %d:%d", st.Uid, st.Gid)
	t.Err("chown none", unix.Chown("none", 1, 1))
	t.Err("access X of file", unix.Access("f", unix.X_OK))
	unix.Chmod("f", 0o644)
	t.Err("access X without x", unix.Access("f", unix.X_OK))
	t.Err("access bad mode", unix.Access("f", 8))
	t.Err("faccessat2 bad flag", unix.Faccessat2(unix.AT_FDCWD, "f", 0, 0x4000))
}

func fileDevices(t *T) {
	b := make([]byte, 64)
	null := t.Open("/dev/null", unix.O_RDWR, 0)
	n, err := unix.Read(null, b)
	t.N("null read", n, err)
	n, err = unix.Write(null, b)
	t.N("null write", n, err)
	zero := t.Open("/dev/zero", unix.O_RDWR, 0)
	b[3] = 9
	n, err = unix.Read(zero, b)
	t.Say("zero read %d %d %s", n, sum(b), errName(err))
	full := t.Open("/dev/full", unix.O_RDWR, 0)
	_, err = unix.Write(full, b)
	t.Err("full write", err)
	n, err = unix.Read(full, b)
	t.N("full read", n, err)
	for _, name := range []string{"/dev/random", "/dev/urandom"} {
		r := t.Open(name, unix.O_RDONLY, 0)
		n, err = unix.Read(r, b)
		t.Say("%s %d %v %s", name, n, sum(b) != 0, errName(err))
	}
	for _, name := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"} {
		var st unix.Stat_t
		err := unix.Stat(name, &st)
		t.Say("%s %s type %o dev %d:%d", name, errName(err), st.Mode&unix.S_IFMT, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	_, err = unix.Seek(null, 10, 0)
	t.Err("seek null", err)
	_, err = unix.IoctlGetTermios(null, unix.TCGETS)
	t.Err("TCGETS of null", err)
	_, err = unix.Mmap(zero, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	t.Err("mmap zero", err)
	for _, l := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd"} {
		to, err := os.Readlink(l)
		t.Say("%s -> %s %s", l, to, errName(err))
	}
	var st unix.Stat_t
	t.Err("pts", unix.Stat("/dev/pts", &st))
	t.Err("shm", unix.Stat("/dev/shm", &st))
	t.Say("shm mode %o", st.Mode)
}

func fileStatfs(t *T) {
	var s unix.Statfs_t
	t.Err("statfs", unix.Statfs(".", &s))
	t.Say("namelen %d bsize %d plausible %v", s.Namelen, s.Bsize, s.Blocks >= s.Bfree && s.Bfree >= s.Bavail)
	t.Err("proc", unix.Statfs("/proc", &s))
	t.Say("type %#x", s.Type)
	t.Err("none", unix.Statfs("none", &s))
	t.Err("bad", unix.Fstatfs(77, &s))
	fmt.Print()
}
