package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	program("names.rename", namesRename)
	program("names.renameat2", namesRenameat2)
	program("names.link", namesLink)
	program("names.unlink", namesUnlink)
	program("names.symlink", namesSymlink)
	program("names.mkdir", namesMkdir)
	program("names.readdir", namesReaddir)
	program("names.readdir-deleting", namesReaddirDeleting)
	program("names.cwd", namesCwd)
	program("names.permissions", namesPermissions)
	program("names.sticky", namesSticky)
	program("names.mknod", namesMknod)
	program("names.chroot", namesChroot)
}

// tree prints every name below the working directory with its kind.
func (t *T) tree() {
	var out []string
	var walk func(string)
	walk = func(d string) {
		ents, err := os.ReadDir(d)
		if err != nil {
			out = append(out, d+": "+errName(err))
		}
		for _, e := range ents {
			p := strings.TrimPrefix(d+"/"+e.Name(), "./")
			switch {
			case e.IsDir():
				out = append(out, p+"/")
				walk(p)
			case e.Type()&os.ModeSymlink != 0:
				l, _ := os.Readlink(p)
				out = append(out, p+"->"+l)
			default:
				out = append(out, p)
			}
		}
	}
	walk(".")
	sort.Strings(out)
	t.Say("tree: %s", strings.Join(out, " "))
}

func namesRename(t *T) {
	t.Write("a", "A")
	t.Write("b", "B")
	for _, d := range []string{"d", "e", "full", "d/sub"} {
		unix.Mkdir(d, 0o755)
	}
	t.Write("full/x", "x")
	unix.Symlink("a", "l")
	unix.Link("a", "a2")
	try := func(from, to string) { t.Err("rename "+from+" "+to, unix.Rename(from, to)) }
	try("a", "a")
	try("a", "a2")
	try("none", "x")
	try("a", "none/x")
	try("a", "d")
	try("d", "a")
	try("d", "full")
	try("d", "d/sub/x")
	try("d/sub", "d")
	try("d", "d")
	try("a/", "x")
	try("a", "x/")
	try("d/", "moved/")
	try("moved", "d")
	try(".", "x")
	try("d", ".")
	try("d/.", "x")
	try("d/..", "x")
	try("l", "l2")
	try("l2", "b")
	try("", "x")
	try("a", "")
	try("full", "e")
	try(strings.Repeat("n", 256), "x")
	t.tree()
	fd := t.Open("a", unix.O_RDONLY, 0)
	t.Write("c", "C")
	try("c", "a")
	b := make([]byte, 3)
	n, _ := unix.Read(fd, b)
	t.Say("open file keeps %q", b[:n])
	t.Text("a")
	dir := t.Open("e", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	try("e", "f")
	fd, err := unix.Openat(dir, "x", unix.O_RDONLY, 0)
	t.Err("openat in moved directory", err)
	unix.Close(fd)
	t.tree()
}

func namesRenameat2(t *T) {
	t.Write("a", "A")
	t.Write("b", "B")
	unix.Mkdir("d", 0o755)
	t.Write("d/x", "x")
	try := func(from, to string, fl uint) {
		t.Err(fmt.Sprintf("renameat2 %s %s %d", from, to, fl), unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, fl))
	}
	try("a", "b", unix.RENAME_NOREPLACE)
	try("a", "c", unix.RENAME_NOREPLACE)
	try("c", "b", unix.RENAME_EXCHANGE)
	t.Text("b")
	t.Text("c")
	try("c", "d", unix.RENAME_EXCHANGE)
	t.tree()
	try("c", "none", unix.RENAME_EXCHANGE)
	try("c", "c/x", unix.RENAME_EXCHANGE)
	try("a", "b", unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE)
	try("a", "b", 0x80)
}

func namesLink(t *T) {
	t.Write("a", "A")
	unix.Mkdir("d", 0o755)
	unix.Symlink("a", "l")
	try := func(from, to string) { t.Err("link "+from+" "+to, unix.Link(from, to)) }
	try("a", "b")
	try("a", "b")
	try("d", "e")
	try("none", "x")
	try("a", "none/x")
	try("l", "l2")
	try("a", "c/")
	try("a/", "c")
	var st unix.Stat_t
	unix.Lstat("l2", &st)
	t.Say("l2 is a link %v", st.Mode&unix.S_IFMT == unix.S_IFLNK)
	t.Err("linkat follow", unix.Linkat(unix.AT_FDCWD, "l", unix.AT_FDCWD, "followed", unix.AT_SYMLINK_FOLLOW))
	unix.Lstat("a", &st)
	t.Say("links %d", st.Nlink)
	t.Err("linkat bad flag", unix.Linkat(unix.AT_FDCWD, "a", unix.AT_FDCWD, "z", 0x8000))
	fd := t.Open("a", unix.O_RDONLY, 0)
	t.Err("linkat empty path", unix.Linkat(fd, "", unix.AT_FDCWD, "z", unix.AT_EMPTY_PATH))
	unix.Unlink("a")
	unix.Unlink("b")
	unix.Unlink("followed")
	unix.Unlink("z")
	unix.Fstat(fd, &st)
	t.Say("links %d", st.Nlink)
	t.Err("linkat deleted", unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, "y", unix.AT_SYMLINK_FOLLOW))
	t.Err("across mounts", unix.Link("/proc/self/status", "x"))
	t.tree()
}

func namesUnlink(t *T) {
	t.Write("a", "A")
	unix.Mkdir("d", 0o755)
	t.Write("d/x", "x")
	unix.Mkdir("e", 0o755)
	unix.Symlink("e", "l")
	rm := func(n string) { t.Err("unlink "+n, unix.Unlink(n)) }
	rmdir := func(n string) { t.Err("rmdir "+n, unix.Rmdir(n)) }
	rm("none")
	rm("d")
	rm("a/")
	rm("a/x")
	rm("")
	rm(".")
	rm("..")
	rm("/")
	rmdir("a")
	rmdir("d")
	rmdir(".")
	rmdir("..")
	rmdir("d/..")
	rmdir("e/.")
	rmdir("l")
	rmdir("l/")
	rmdir("/")
	rmdir("e/")
	rmdir("e")
	fd := t.Open("a", unix.O_RDWR, 0)
	rm("a")
	n, err := unix.Write(fd, []byte("still"))
	t.N("write to unlinked", n, err)
	t.Err("unlinkat bad flag", unix.Unlinkat(unix.AT_FDCWD, "d", 1))
	t.Err("unlinkat removedir of file", unix.Unlinkat(unix.AT_FDCWD, "d/x", unix.AT_REMOVEDIR))
	t.tree()
}

func namesSymlink(t *T) {
	t.Err("empty target", unix.Symlink("", "l"))
	t.Err("existing", unix.Symlink("x", "."))
	t.Err("symlink", unix.Symlink("target/../odd//name", "l"))
	t.Err("again", unix.Symlink("x", "l"))
	t.Err("in none", unix.Symlink("x", "none/l"))
	t.Err("slash", unix.Symlink("x", "m/"))
	t.Err("long", unix.Symlink(strings.Repeat("a/", 2047), "long"))
	t.Err("too long", unix.Symlink(strings.Repeat("a", 4096), "toolong"))
	b := make([]byte, 5000)
	n, err := unix.Readlink("l", b)
	t.Say("%q %s", b[:max(0, n)], errName(err))
	n, err = unix.Readlink("l", b[:3])
	t.Say("%q %s", b[:max(0, n)], errName(err))
	_, err = unix.Readlink(".", b)
	t.Err("readlink dir", err)
	_, err = unix.Readlink("none", b)
	t.Err("readlink none", err)
	_, _, e := unix.Syscall6(unix.SYS_READLINKAT, ^uintptr(99), uintptr(0), 0, 0, 0, 0)
	t.Err("readlinkat null", errnoErr(e))
	n, err = unix.Readlink("long", b)
	t.N("readlink long", n, err)
	unix.Mkdir("d", 0o755)
	unix.Symlink("d", "ld")
	t.Write("d/f", "in d")
	t.Text("ld/f")
	t.Err("mkdir on link", unix.Mkdir("ld", 0o755))
	t.Err("mkdir on dangling", unix.Mkdir("l", 0o755))
	t.Err("mkdir through link", unix.Mkdir("ld/sub", 0o755))
	t.tree()
}

func namesMkdir(t *T) {
	t.Write("f", "x")
	mk := func(n string) { t.Err("mkdir "+n, unix.Mkdir(n, 0o755)) }
	mk("d")
	mk("d")
	mk("d/")
	mk("e/")
	mk("f")
	mk("f/x")
	mk("none/x")
	mk("")
	mk("/")
	mk(".")
	mk("d/..")
	mk("d/a/../b")
	mk(strings.Repeat("n", 256))
	var st unix.Stat_t
	unix.Stat("d", &st)
	t.Say("mode %o", st.Mode)
	unix.Chmod("d", 0o2755)
	unix.Chown("d", -1, 1234)
	mk("d/inherits")
	unix.Stat("d/inherits", &st)
	t.Say("mode %o gid %d", st.Mode, st.Gid)
	t.Write("d/file", "")
	unix.Stat("d/file", &st)
	t.Say("mode %o gid %d", st.Mode, st.Gid)
}

func namesReaddir(t *T) {
	for i := range 300 {
		t.Write(fmt.Sprintf("file-with-a-fairly-long-name-%d", i), "")
	}
	fd := t.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	count := func() (n int) {
		b := make([]byte, 1000)
		for {
			m, err := unix.Getdents(fd, b)
			if err != nil {
				t.Err("getdents", err)
				return
			}
			if m == 0 {
				return n
			}
			n += entries(b[:m])
		}
	}
	t.Say("%d entries", count())
	unix.Seek(fd, 0, 0)
	t.Say("%d after rewind", count())
	t.Say("%d at the end", count())
	unix.Seek(fd, 0, 0)
	_, err := unix.Getdents(fd, make([]byte, 10))
	t.Err("tiny buffer", err)
	f := t.Open("file-with-a-fairly-long-name-1", unix.O_RDONLY, 0)
	_, err = unix.Getdents(f, make([]byte, 1000))
	t.Err("of a file", err)
	unix.Mkdir("empty", 0o755)
	e := t.Open("empty", unix.O_RDONLY, 0)
	b := make([]byte, 1000)
	n, err := unix.Getdents(e, b)
	t.Say("empty has %d %s", entries(b[:max(n, 0)]), errName(err))
	unix.Rmdir("empty")
	unix.Seek(e, 0, 0)
	n, err = unix.Getdents(e, b)
	t.Say("removed: %d %s", n, errName(err))
}

// entries counts the records of a getdents64 buffer.
func entries(b []byte) (n int) {
	for len(b) > 19 {
		l := int(b[16]) | int(b[17])<<8
		if l == 0 || l > len(b) {
			return -1
		}
		b = b[l:]
		n++
	}
	return n
}

func namesReaddirDeleting(t *T) {
	for i := range 500 {
		t.Write(fmt.Sprintf("f%d", i), "")
	}
	d, err := os.Open(".")
	t.Must("open", err)
	seen := map[string]int{}
	for {
		names, err := d.Readdirnames(7)
		for _, n := range names {
			seen[n]++
			t.Must("remove", os.Remove(n))
		}
		if err != nil {
			break
		}
	}
	twice := 0
	for _, c := range seen {
		if c > 1 {
			twice++
		}
	}
	t.Say("%d names, %d twice", len(seen), twice)
	t.tree()
}

func namesCwd(t *T) {
	unix.Mkdir("a", 0o755)
	unix.Mkdir("a/b", 0o755)
	t.Write("f", "")
	cwd := func() {
		wd, err := unix.Getwd()
		t.Say("cwd %s %s", strings.Replace(wd, t.dir, "DIR", 1), errName(err))
	}
	cwd()
	t.Err("chdir", unix.Chdir("a/b"))
	cwd()
	t.Must("rename", unix.Rename("../../a", "../../z"))
	cwd()
	t.Err("dot dot", unix.Chdir(".."))
	cwd()
	t.Err("to file", unix.Chdir("../f"))
	t.Err("to none", unix.Chdir("../none"))
	t.Err("root", unix.Chdir("/.."))
	cwd()
	_, _, e := unix.Syscall(unix.SYS_GETCWD, 8, 100, 0)
	t.Err("getcwd bad address", errnoErr(e))
	b := make([]byte, 1)
	_, err := unix.Getcwd(b)
	t.Err("getcwd short", err)
	l, _ := os.Readlink("/proc/self/cwd")
	t.Say("%s", l)
}

// as runs f in a thread with the given ids and no capabilities, and the thread
// ends with it: credentials are a thread's own for raw system calls.
func as(uid, gid int, groups []int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		setgroups(groups)
		unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
		unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		f()
	}()
	<-done
}

func namesPermissions(t *T) {
	os.Chmod(t.dir, 0o755)
	for _, m := range []uint32{0, 0o400, 0o200, 0o100, 0o700, 0o040, 0o020, 0o070, 0o004, 0o007, 0o077, 0o607} {
		n := fmt.Sprintf("f%04o", m)
		t.Write(n, "x")
		unix.Chown(n, 1000, 2000)
		unix.Chmod(n, m)
		d := fmt.Sprintf("d%04o", m)
		unix.Mkdir(d, 0o755)
		t.Write(d+"/in", "x")
		unix.Chown(d, 1000, 2000)
		unix.Chmod(d, m)
	}
	ents, _ := os.ReadDir(".")
	for _, who := range []struct {
		name     string
		uid, gid int
		groups   []int
	}{{"root", 0, 0, nil}, {"owner", 1000, 1, nil}, {"group", 1001, 2000, nil}, {"extra", 1001, 1, []int{5, 2000}}, {"other", 1001, 1, nil}} {
		as(who.uid, who.gid, who.groups, func() {
			for _, e := range ents {
				n := e.Name()
				if !e.IsDir() {
					r := tryAccess(n, unix.O_RDONLY)
					w := tryAccess(n, unix.O_WRONLY)
					t.Say("%s %s: r %s w %s x %s", who.name, n, r, w, errName(unix.Faccessat(unix.AT_FDCWD, n, unix.X_OK, 0)))
					continue
				}
				in := tryAccess(n+"/in", unix.O_RDONLY)
				list := tryAccess(n, unix.O_RDONLY|unix.O_DIRECTORY)
				fd, err := unix.Open(n+"/new-"+who.name, unix.O_CREAT|unix.O_WRONLY, 0o644)
				unix.Close(fd)
				t.Say("%s %s: search %s list %s create %s", who.name, n, in, list, errName(err))
			}
		})
	}
	as(1000, 1, nil, func() {
		t.Err("owner chmods", unix.Chmod("f0000", 0o600))
		t.Err("owner gives away", unix.Chown("f0000", 5, -1))
		t.Err("owner to foreign group", unix.Chown("f0000", -1, 77))
		t.Err("owner to own group", unix.Chown("f0000", -1, 1))
		t.Err("set times", unix.UtimesNanoAt(unix.AT_FDCWD, "f0000", []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
		t.Err("mknod", unix.Mknod("/tmp/dev-denied", unix.S_IFCHR|0o600, 0x103))
		t.Err("chroot", unix.Chroot("."))
	})
	as(1001, 1, nil, func() {
		t.Err("other chmods", unix.Chmod("f0000", 0o600))
		t.Err("other sets times", unix.UtimesNanoAt(unix.AT_FDCWD, "f0007", []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
		t.Err("other sets now", unix.UtimesNanoAt(unix.AT_FDCWD, "f0007", []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}, 0))
		t.Err("other unlinks", unix.Unlink("f0007"))
		t.Err("other renames", unix.Rename("f0007", "x"))
		t.Err("other makes", unix.Mkdir("y", 0o755))
	})
	t.Write("suid", "x")
	unix.Chown("suid", 1000, 1)
	unix.Chmod("suid", 0o6777)
	as(1001, 1, nil, func() {
		fd, _ := unix.Open("suid", unix.O_WRONLY, 0)
		unix.Write(fd, []byte("y"))
	})
	var st unix.Stat_t
	unix.Stat("suid", &st)
	t.Say("written suid %o", st.Mode)
}

func tryAccess(name string, flags int) string {
	fd, err := unix.Open(name, flags, 0)
	if err == nil {
		unix.Close(fd)
	}
	return errName(err)
}

func namesSticky(t *T) {
	os.Chmod(t.dir, 0o755)
	unix.Mkdir("s", 0o755)
	unix.Chmod("s", 0o1777)
	as(1000, 1000, nil, func() {
		fd, err := unix.Open("s/mine", unix.O_CREAT|unix.O_WRONLY, 0o666)
		t.Err("create", err)
		unix.Close(fd)
	})
	as(1001, 1001, nil, func() {
		t.Err("unlink another's", unix.Unlink("s/mine"))
		t.Err("rename another's", unix.Rename("s/mine", "s/x"))
		fd, err := unix.Open("s/own", unix.O_CREAT|unix.O_WRONLY, 0o666)
		t.Err("create own", err)
		unix.Close(fd)
		t.Err("replace another's", unix.Rename("s/own", "s/mine"))
		t.Err("unlink own", unix.Unlink("s/own"))
	})
	as(1000, 1000, nil, func() { t.Err("unlink mine", unix.Unlink("s/mine")) })
}

func namesMknod(t *T) {
	t.Err("fifo", unix.Mkfifo("p", 0o644))
	t.Err("fifo again", unix.Mkfifo("p", 0o644))
	t.Err("regular", unix.Mknod("r", unix.S_IFREG|0o600, 0))
	t.Err("socket", unix.Mknod("s", unix.S_IFSOCK|0o600, 0))
	t.Err("dir", unix.Mknod("d", unix.S_IFDIR|0o600, 0))
	t.Err("link", unix.Mknod("l", unix.S_IFLNK|0o600, 0))
	t.Err("no type", unix.Mknod("n", 0o600, 0))
	_, err := unix.Open("s", unix.O_RDONLY, 0)
	t.Err("open socket", err)
	for _, n := range []string{"p", "r", "s", "n"} {
		var st unix.Stat_t
		err := unix.Lstat(n, &st)
		t.Say("%s %o %s", n, st.Mode, errName(err))
	}
}

func namesChroot(t *T) { t.Say("exit %d", t.runChild("+chroot")) }

func init() {
	child("chroot", func([]string) int {
		t := &T{}
		unix.Mkdir("jail", 0o755)
		unix.Mkdir("jail/in", 0o755)
		os.WriteFile("jail/in/f", []byte("inside"), 0o644)
		unix.Symlink("/in/f", "jail/abs")
		unix.Symlink("../../../in/f", "jail/up")
		out := t.Open(".", unix.O_RDONLY, 0)
		t.Err("chroot", unix.Chroot("jail"))
		t.Err("chdir", unix.Chdir("/"))
		t.Text("abs")
		t.Text("up")
		t.Text("/../../in/f")
		wd, _ := unix.Getwd()
		t.Say("cwd %s", wd)
		t.Err("fchdir out", unix.Fchdir(out))
		b := make([]byte, 4096)
		n, err := unix.Getcwd(b)
		t.Say("getcwd unreachable %v %s", n > 0 && strings.HasPrefix(string(b), "(unreachable)"), errName(err))
		t.Err("jail is seen", unix.Access("jail/in/f", 0))
		return 0
	})
}
