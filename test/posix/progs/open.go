package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	program("open.flags", openFlags)
	program("open.paths", openPaths)
	program("open.append", openAppend)
	program("open.tmpfile", openTmpfile)
	program("open.opath", openPath)
	program("open.openat2", openAt2)
	program("open.umask", openUmask)
	program("fd.limits", fdLimits)
	program("fd.dup", fdDup)
	program("fd.cloexec", fdCloexec)
	program("fd.procself", fdProcSelf)
	child("fds", childFDs)
}

// tryOpen prints the error of one open and closes what it got.
func (t *T) tryOpen(name string, flags int, what string) {
	fd, err := unix.Open(name, flags, 0o644)
	t.Err(fmt.Sprintf("open %s %s", name, what), err)
	if err == nil {
		unix.Close(fd)
	}
}

func openFlags(t *T) {
	t.Write("file", "hello")
	t.Must("mkdir", unix.Mkdir("dir", 0o755))
	t.Must("symlink", unix.Symlink("file", "link"))
	t.Must("symlink", unix.Symlink("none", "dangling"))
	for _, f := range []struct {
		flags int
		name  string
	}{
		{unix.O_RDONLY, "RDONLY"}, {unix.O_WRONLY, "WRONLY"}, {unix.O_RDWR, "RDWR"}, {3, "ACCMODE3"},
		{unix.O_RDONLY | unix.O_CREAT, "RDONLY|CREAT"},
		{unix.O_RDONLY | unix.O_CREAT | unix.O_EXCL, "CREAT|EXCL"},
		{unix.O_RDONLY | unix.O_DIRECTORY, "DIRECTORY"},
		{unix.O_RDWR | unix.O_DIRECTORY, "RDWR|DIRECTORY"},
		{unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CREAT, "DIRECTORY|CREAT"},
		{unix.O_RDONLY | unix.O_NOFOLLOW, "NOFOLLOW"},
		{unix.O_PATH, "PATH"}, {unix.O_PATH | unix.O_NOFOLLOW, "PATH|NOFOLLOW"},
		{unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW, "PATH|DIRECTORY|NOFOLLOW"},
		{unix.O_RDONLY | unix.O_TRUNC, "RDONLY|TRUNC"},
		{unix.O_WRONLY | unix.O_TRUNC, "WRONLY|TRUNC"},
	} {
		for _, name := range []string{"file", "dir", "link", "file/", "dir/", "link/", "none/", "file/x"} {
			t.tryOpen(name, f.flags, f.name)
		}
	}
	t.Text("file")
	t.tryOpen("none", unix.O_RDONLY, "RDONLY")
	t.tryOpen("dangling", unix.O_RDONLY, "RDONLY")
	t.tryOpen("dangling", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, "CREAT|EXCL")
	t.tryOpen("dangling", unix.O_RDWR|unix.O_CREAT, "CREAT")
	_, err := os.Stat("none")
	t.Err("created through link", err)
}

func openPaths(t *T) {
	t.Write("file", "x")
	t.tryOpen("", unix.O_RDONLY, "empty")
	t.tryOpen(strings.Repeat("a", 255), unix.O_RDONLY, "255")
	t.tryOpen(strings.Repeat("a", 256), unix.O_RDONLY, "256")
	t.tryOpen(strings.Repeat("a/", 2047), unix.O_RDONLY, "4094")
	t.tryOpen(strings.Repeat("./", 2047)+"f", unix.O_RDONLY, "4095")
	t.tryOpen(strings.Repeat("./", 2048)+"f", unix.O_RDONLY, "4097")
	t.tryOpen("/../../../etc/passwd", unix.O_RDONLY, "above the root")
	up, err := unix.Open("./../"+t.dir[strings.LastIndex(t.dir, "/")+1:]+"/file", unix.O_RDONLY, 0)
	t.Err("dot dot", err)
	unix.Close(up)
	t.Must("symlink", unix.Symlink("b", "a"))
	t.Must("symlink", unix.Symlink("a", "b"))
	t.tryOpen("a", unix.O_RDONLY, "loop")
	t.tryOpen("a", unix.O_RDONLY|unix.O_NOFOLLOW, "loop NOFOLLOW")
	prev := "file"
	for i := range 42 {
		name := fmt.Sprintf("l%d", i)
		t.Must("symlink", unix.Symlink(prev, name))
		prev = name
	}
	t.tryOpen("l39", unix.O_RDONLY, "40 links")
	t.tryOpen("l40", unix.O_RDONLY, "41 links")
	dir := t.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	fd, err := unix.Openat(dir, "file", unix.O_RDONLY, 0)
	t.Err("openat", err)
	_, err = unix.Openat(fd, "file", unix.O_RDONLY, 0)
	t.Err("openat at a file", err)
	_, err = unix.Openat(99, "file", unix.O_RDONLY, 0)
	t.Err("openat bad fd", err)
	_, err = unix.Openat(99, "/etc/passwd", unix.O_RDONLY, 0)
	t.Err("openat bad fd absolute", err)
	_, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), 8, 0, 0, 0, 0)
	t.Err("openat bad address", errnoErr(e))
	t.Must("rmdir", unix.Mkdir("gone", 0o755))
	gone := t.Open("gone", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	t.Must("rmdir", unix.Rmdir("gone"))
	_, err = unix.Openat(gone, "x", unix.O_RDWR|unix.O_CREAT, 0o644)
	t.Err("create in removed directory", err)
	_, err = unix.Openat(gone, ".", unix.O_RDONLY, 0)
	t.Err("dot of removed directory", err)
	t.Must("fchdir", unix.Fchdir(gone))
	_, err = unix.Getcwd(make([]byte, 4096))
	t.Err("getcwd of removed directory", err)
}

func openAppend(t *T) {
	t.Write("file", "12345")
	fd := t.Open("file", unix.O_RDWR|unix.O_APPEND, 0)
	n, err := unix.Write(fd, []byte("67"))
	t.N("write", n, err)
	off, _ := unix.Seek(fd, 0, unix.SEEK_CUR)
	t.Say("offset %d", off)
	unix.Seek(fd, 0, unix.SEEK_SET)
	n, err = unix.Write(fd, []byte("89"))
	t.N("write after seek", n, err)
	n, err = unix.Pwrite(fd, []byte("AB"), 0)
	t.N("pwrite appends", n, err)
	t.Text("file")
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
	t.Err("clear append", err)
	n, err = unix.Pwrite(fd, []byte("ZZ"), 0)
	t.N("pwrite", n, err)
	t.Text("file")
	fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	t.Say("flags %#x %v", fl&^unix.O_LARGEFILE&^0x8000, err)
}

func openTmpfile(t *T) {
	fd, err := unix.Open(".", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	t.Err("tmpfile", err)
	if err != nil {
		return
	}
	unix.Write(fd, []byte("secret"))
	ents, _ := os.ReadDir(".")
	t.Say("%d entries", len(ents))
	var st unix.Stat_t
	t.Must("fstat", unix.Fstat(fd, &st))
	t.Say("links %d mode %o size %d", st.Nlink, st.Mode, st.Size)
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, "named", unix.AT_SYMLINK_FOLLOW)
	t.Err("link it", err)
	t.Text("named")
	fd, err = unix.Open(".", unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL, 0o600)
	t.Err("tmpfile EXCL", err)
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, "named2", unix.AT_SYMLINK_FOLLOW)
	t.Err("link EXCL", err)
	_, err = unix.Open(".", unix.O_TMPFILE|unix.O_RDONLY, 0o600)
	t.Err("tmpfile RDONLY", err)
	_, err = unix.Open("named", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	t.Err("tmpfile of file", err)
}

func openPath(t *T) {
	t.Write("file", "text")
	fd := t.Open("file", unix.O_PATH, 0)
	_, err := unix.Read(fd, make([]byte, 4))
	t.Err("read", err)
	_, err = unix.Write(fd, []byte("x"))
	t.Err("write", err)
	t.Err("fchmod", unix.Fchmod(fd, 0o600))
	t.Err("ftruncate", unix.Ftruncate(fd, 0))
	_, err = unix.Seek(fd, 0, unix.SEEK_SET)
	t.Err("lseek", err)
	var st unix.Stat_t
	t.Err("fstat", unix.Fstat(fd, &st))
	fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	t.Say("getfl %#x %s", fl&^0x8000, errName(err))
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK)
	t.Err("setfl", err)
	_, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
	t.Err("ioctl", err)
	re, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY, 0)
	t.Err("reopen", err)
	b := make([]byte, 9)
	n, err := unix.Read(re, b)
	t.Say("%q %s", b[:max(n, 0)], errName(err))
	_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE)
	t.Err("mmap", err)
	t.Must("symlink", unix.Symlink("file", "link"))
	l := t.Open("link", unix.O_PATH|unix.O_NOFOLLOW, 0)
	t.Must("fstat", unix.Fstat(l, &st))
	t.Say("link mode %o", st.Mode&unix.S_IFMT)
	n, err = unix.Readlinkat(l, "", b)
	t.Say("readlinkat empty %d %s", n, errName(err))
	t.Err("fstatat empty", unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH))
}

func openAt2(t *T) {
	t.Must("mkdir", unix.Mkdir("root", 0o755))
	t.Must("mkdir", unix.Mkdir("root/sub", 0o755))
	t.Write("root/sub/file", "in")
	t.Write("outside", "out")
	unix.Symlink("../outside", "root/up")
	unix.Symlink("/sub/file", "root/abs")
	unix.Symlink("sub/file", "root/rel")
	dir := t.Open("root", unix.O_PATH, 0)
	for _, r := range []struct {
		name string
		how  uint64
	}{{"none", 0}, {"BENEATH", unix.RESOLVE_BENEATH}, {"IN_ROOT", unix.RESOLVE_IN_ROOT},
		{"NO_SYMLINKS", unix.RESOLVE_NO_SYMLINKS}, {"NO_MAGICLINKS", unix.RESOLVE_NO_MAGICLINKS}, {"both", unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT}} {
		for _, p := range []string{"sub/file", "../outside", "sub/../sub/file", "up", "abs", "rel", "/sub/file", "sub/../../outside"} {
			fd, err := unix.Openat2(dir, p, &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: r.how})
			t.Err("openat2 "+r.name+" "+p, err)
			if err == nil {
				unix.Close(fd)
			}
		}
	}
	_, err := unix.Openat2(dir, "sub/file", &unix.OpenHow{Flags: 1 << 40})
	t.Err("unknown flag", err)
	_, err = unix.Openat2(dir, "sub/file", &unix.OpenHow{Mode: 0o644})
	t.Err("mode without create", err)
}

func openUmask(t *T) {
	for _, m := range []int{0, 0o022, 0o077, 0o777} {
		unix.Umask(m)
		name := fmt.Sprintf("f%o", m)
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR, 0o6777)
		t.Err("create", err)
		var st unix.Stat_t
		unix.Fstat(fd, &st)
		unix.Close(fd)
		t.Say("umask %o file %o", m, st.Mode)
		t.Err("mkdir", unix.Mkdir("d"+name, 0o1777))
		unix.Stat("d"+name, &st)
		t.Say("umask %o dir %o", m, st.Mode)
	}
	t.Say("umask returns %o", unix.Umask(0o1777))
	t.Say("umask keeps %o", unix.Umask(0))
}

func fdLimits(t *T) {
	var old unix.Rlimit
	t.Must("getrlimit", unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	t.Must("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 20, Max: old.Max}))
	var fds []int
	var err error
	for {
		var fd int
		if fd, err = unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			break
		}
		fds = append(fds, fd)
	}
	t.Err("full table", err)
	t.Say("highest %d", fds[len(fds)-1])
	_, err = unix.Dup(0)
	t.Err("dup", err)
	t.Err("dup2 beyond", unix.Dup2(0, 20))
	t.Err("dup3 onto open", unix.Dup3(0, fds[0], 0))
	var p [2]int
	t.Err("pipe", unix.Pipe(p[:]))
	_, err = unix.FcntlInt(0, unix.F_DUPFD, 20)
	t.Err("F_DUPFD beyond", err)
	unix.Close(fds[0])
	fd, err := unix.Dup(0)
	t.Say("lowest is reused: %v %s", fd == fds[0], errName(err))
	t.Err("close", unix.Close(fds[1]))
	t.Err("close twice", unix.Close(fds[1]))
	t.Err("close -1", unix.Close(-1))
}

func fdDup(t *T) {
	t.Write("file", "0123456789")
	a := t.Open("file", unix.O_RDONLY, 0)
	b, err := unix.Dup(a)
	t.Must("dup", err)
	c := t.Open("file", unix.O_RDONLY, 0)
	buf := make([]byte, 3)
	unix.Read(a, buf)
	unix.Read(b, buf)
	t.Say("shared offset: %q", buf)
	unix.Read(c, buf)
	t.Say("own offset: %q", buf)
	t.Err("dup2 same", unix.Dup2(a, a))
	t.Err("dup3 same", unix.Dup3(a, a, 0))
	t.Err("dup3 bad flag", unix.Dup3(a, 50, 1))
	t.Err("dup2 bad", unix.Dup2(77, 78))
	t.Err("dup2 negative", unix.Dup2(a, -1))
	fd, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD, 100)
	t.N("F_DUPFD", fd, err)
	fd, err = unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 100)
	t.N("F_DUPFD_CLOEXEC", fd, err)
	fl, _ := unix.FcntlInt(101, unix.F_GETFD, 0)
	t.Say("cloexec %d", fl)
	fl, _ = unix.FcntlInt(100, unix.F_GETFD, 0)
	t.Say("no cloexec %d", fl)
	_, err = unix.FcntlInt(uintptr(a), unix.F_DUPFD, -1)
	t.Err("F_DUPFD negative", err)
	_, err = unix.FcntlInt(uintptr(a), 9999, 0)
	t.Err("fcntl unknown", err)
	_, err = unix.FcntlInt(77, unix.F_GETFD, 0)
	t.Err("fcntl bad fd", err)
	t.Err("close_range", unix.CloseRange(100, 101, 0))
	t.Err("close 100", unix.Close(100))
	t.Err("close_range reversed", unix.CloseRange(9, 8, 0))
}

func fdCloexec(t *T) {
	t.Write("file", "x")
	unix.Dup3(t.Open("file", unix.O_RDONLY|unix.O_CLOEXEC, 0), 60, unix.O_CLOEXEC)
	unix.Dup2(t.Open("file", unix.O_RDONLY|unix.O_CLOEXEC, 0), 61)
	fd := 61
	unix.Dup2(fd, 62)
	unix.FcntlInt(62, unix.F_SETFD, unix.FD_CLOEXEC)
	code := t.runChild("+fds", "60", "61", "62")
	t.Say("exit %d", code)
}

// childFDs prints which of the named descriptors are open.
func childFDs(args []string) int {
	for _, a := range args {
		var fd int
		fmt.Sscan(a, &fd)
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		fmt.Printf("child %d: %s\n", fd, errName(err))
	}
	return 7
}

func fdProcSelf(t *T) {
	t.Write("file", "0123456789")
	fd := t.Open("file", unix.O_RDONLY, 0)
	b := make([]byte, 200)
	n, err := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), b)
	t.Say("%q %s", strings.Replace(string(b[:max(n, 0)]), t.dir, "DIR", 1), errName(err))
	unix.Read(fd, b[:4])
	re := t.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR, 0)
	n, err = unix.Read(re, b)
	t.Say("reopened reads %q %s", b[:n], errName(err))
	t.Must("unlink", unix.Unlink("file"))
	n, err = unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), b)
	t.Say("%q %s", strings.Replace(string(b[:max(n, 0)]), t.dir, "DIR", 1), errName(err))
	re, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY, 0)
	t.Err("reopen deleted", err)
	n, err = unix.Read(re, b)
	t.Say("reads %q %s", b[:max(n, 0)], errName(err))
	var p [2]int
	unix.Pipe(p[:])
	n, _ = unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", p[0]), b)
	t.Say("pipe link %v", strings.HasPrefix(string(b[:max(n, 0)]), "pipe:["))
	w, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", p[0]), unix.O_WRONLY, 0)
	t.Err("open the other end", err)
	unix.Write(w, []byte("via proc"))
	n, _ = unix.Read(p[0], b)
	t.Say("%q", b[:n])
	_, err = os.Readlink("/proc/self/fd/77")
	t.Err("no such fd", err)
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	t.Say("fdinfo %q %s", firstLine(info), errName(err))
	d, _ := os.Readlink("/proc/self")
	t.Say("self is pid %v", d == fmt.Sprint(os.Getpid()))
	t.Err("dev fd", unix.Access("/dev/fd/0", unix.F_OK))
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\n")
	return s
}
