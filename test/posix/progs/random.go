package main

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func init() {
	program("file.random", func(t *T) {
		for seed := range 2 {
			t.runChild("+random", strconv.Itoa(seed))
		}
	})
	program("file.random.user", func(t *T) {
		t.Must("chmod", unix.Chmod(".", 0o777))
		for seed := range 2 {
			t.runChildAs(65534, "+random", strconv.Itoa(100+seed))
		}
	})
	child("random", randomFiles)
}

// randomizer does random things to the files below the working directory, with
// names that lead to each other, and prints what came of each.
type randomizer struct {
	*rand.Rand
	root unix.Stat_t
	fds  []int
}

func randomFiles(args []string) int {
	seed, _ := strconv.Atoi(args[0])
	// So deep that no path leads to what others have made outside.
	root := "tree" + args[0] + strings.Repeat("/deep", 12)
	if err := os.MkdirAll(root, 0o777); err != nil {
		fmt.Println("mkdir:", err)
		return 1
	}
	os.Chdir(root)
	r := &randomizer{Rand: rand.New(rand.NewPCG(uint64(seed), 7))}
	if err := unix.Stat(".", &r.root); err != nil {
		fmt.Println("stat:", err)
		return 1
	}
	for range 2000 {
		if r.IntN(3) > 0 {
			r.name()
		} else if len(r.fds) > 0 {
			r.descriptor()
		}
	}
	return 0
}

func (r *randomizer) path() string {
	parts := []string{"."}
	for range 1 + r.IntN(4) {
		if r.IntN(7) > 0 {
			parts = append(parts, []string{"a", "b", "c", "..", ".", "dd"}[r.IntN(6)])
		} else {
			parts = append(parts, []string{"a/", "b//", strings.Repeat("n", 256), "l1", "l2"}[r.IntN(5)])
		}
	}
	return strings.Join(parts, "/")
}

// inside says whether a name is below the root, or nowhere, and the directory that it
// is in too. The root itself is not.
func (r *randomizer) inside(path string) bool {
	dir := path[:strings.LastIndexByte(strings.TrimRight(path, "/"), '/')]
	return r.beneath(dir, true) && r.beneath(path, false)
}

// beneath has the kernel walk, in one call: where each component is a question to
// another process, a walk of our own would take most of the test's time.
func (r *randomizer) beneath(path string, root bool) bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
	if err != nil {
		return err != unix.EXDEV
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	unix.Fstat(fd, &st)
	return root || st.Ino != r.root.Ino || st.Dev != r.root.Dev
}

func pick[E any](r *randomizer, list ...E) E { return list[r.IntN(len(list))] }

func (r *randomizer) say(err error, format string, args ...any) {
	fmt.Printf("%.120s: %s\n", fmt.Sprintf(format, args...), errName(err))
}

// name does something to a path.
func (r *randomizer) name() {
	p, q, n := r.path(), r.path(), r.IntN(9000)
	op := r.IntN(15)
	if !r.inside(p) || !r.inside(q) {
		return
	}
	switch op {
	case 0, 1, 2:
		r.open(p)
	case 3:
		r.say(unix.Mkdir(p, 0o777), "mkdir %s", p)
	case 4:
		r.say(unix.Rmdir(p), "rmdir %s", p)
	case 5:
		r.say(unix.Unlink(p), "unlink %s", p)
	case 6, 7:
		flags := pick(r, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE)
		r.say(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, uint(flags)), "rename %s %s %d", p, q, flags)
	case 8:
		r.say(unix.Link(p, q), "link %s %s", p, q)
	case 9:
		target, name := pick(r, "a", "b/c", "../a", ".", "l2", "l1", "a/"), pick(r, "./l1", "./l2", p)
		r.say(unix.Symlink(target, name), "symlink %s %s", target, name)
	case 10:
		var st unix.Stat_t
		err := unix.Fstatat(unix.AT_FDCWD, p, &st, pick(r, 0, unix.AT_SYMLINK_NOFOLLOW))
		r.say(err, "stat %s %s", p, shown(&st))
	case 11:
		r.say(unix.Truncate(p, int64(n)), "truncate %s %d", p, n)
	case 12:
		mode := pick[uint32](r, 0o644, 0o600, 0o4755, 0o2755, 0o1777, 0o555, 0o333, 0o111, 0, 0o777, 0o6777)
		r.say(unix.Chmod(p, mode), "chmod %s %o", p, mode)
	case 13:
		uid, gid := pick(r, -1, -1, 65534, 0), pick(r, 65534, 5, -1)
		r.say(unix.Lchown(p, uid, gid), "chown %s %d %d", p, uid, gid)
	case 14:
		mode := uint32(r.IntN(8))
		r.say(unix.Access(p, mode), "access %s %d", p, mode)
	}
}

// shown is what of a stat every file system agrees on.
func shown(st *unix.Stat_t) string {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Sprintf("%o %d %d", st.Mode, st.Uid, st.Gid)
	}
	return fmt.Sprintf("%o %d %d size %d nlink %d", st.Mode, st.Uid, st.Gid, st.Size, st.Nlink)
}

func (r *randomizer) open(p string) {
	flags := pick(r, unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY) |
		pick(r, 0, unix.O_CREAT, unix.O_CREAT|unix.O_EXCL, unix.O_TRUNC, unix.O_APPEND|unix.O_CREAT,
			unix.O_DIRECTORY, unix.O_NOFOLLOW, unix.O_NOFOLLOW|unix.O_CREAT, unix.O_PATH)
	fd, err := unix.Open(p, flags, 0o666)
	r.say(err, "open %s %#x", p, flags)
	if err != nil {
		return
	}
	if r.fds = append(r.fds, fd); len(r.fds) > 8 {
		unix.Close(r.fds[0])
		r.fds = r.fds[1:]
	}
}

// descriptor does something to an open file.
func (r *randomizer) descriptor() {
	i := r.IntN(len(r.fds))
	fd, n, off := r.fds[i], r.IntN(5000), int64(r.IntN(9000)-10)
	switch r.IntN(8) {
	case 0:
		m, err := unix.Write(fd, []byte(strings.Repeat(string(rune('a'+r.IntN(26))), n)))
		r.say(err, "write %d = %d", n, m)
	case 1:
		b := make([]byte, n)
		m, err := unix.Read(fd, b)
		r.say(err, "read %d = %d %08x", n, m, crc32.ChecksumIEEE(b[:max(m, 0)]))
	case 2:
		var st unix.Stat_t
		if unix.Fstat(fd, &st); st.Mode&unix.S_IFMT == unix.S_IFREG {
			whence := r.IntN(3)
			at, err := unix.Seek(fd, off, whence)
			r.say(err, "seek %d %d = %d", off, whence, at)
		}
	case 3:
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		r.say(err, "fstat %s", shown(&st))
	case 4:
		b := make([]byte, n)
		m, err := unix.Pread(fd, b, off)
		r.say(err, "pread %d at %d = %d %08x", n, off, m, crc32.ChecksumIEEE(b[:max(m, 0)]))
	case 5:
		m, err := unix.Pwrite(fd, []byte(strings.Repeat("z", n)), off)
		r.say(err, "pwrite %d at %d = %d", n, off, m)
	case 6:
		r.say(unix.Ftruncate(fd, off), "ftruncate %d", off)
	case 7:
		r.fds = append(r.fds[:i], r.fds[i+1:]...)
		r.say(unix.Close(fd), "close")
	}
}
