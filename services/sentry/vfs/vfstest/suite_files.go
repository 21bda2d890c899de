package vfstest

import (
	"bytes"
	"strings"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
)

var fileTests = []test{
	{"create_write_read", nil, func(e *Env) {
		e.Write("/a", "hello")
		if got := e.Read("/a"); got != "hello" {
			e.T.Errorf("read %q", got)
		}
		a := e.MustStat("/a")
		if a.Size != 5 || a.Mode&linux.S_IFMT != linux.S_IFREG || a.Nlink != 1 {
			e.T.Errorf("attr %+v", a)
		}
		f := e.MustOpen("/a", linux.O_RDWR, 0)
		defer f.DecRef(e.Ctx)
		if fa, err := f.Attr(e.Ctx); err != nil || fa.Ino != a.Ino || fa.Dev != a.Dev || fa.Size != 5 {
			e.T.Errorf("fstat %+v, %v; stat %+v", fa, err, a)
		}
	}},
	{"create_mode_umask", nil, func(e *Env) {
		f, err := vfs.Open(e.Ctx, e.Root, e.Root, "/m", linux.O_CREAT|linux.O_WRONLY, 0o777, 0o027, 0)
		e.OK(err)
		f.DecRef(e.Ctx)
		if m := e.MustStat("/m").Mode & 0o7777; m != 0o750 {
			e.T.Errorf("mode %o", m)
		}
	}},
	{"create_unreadable_mode", nil, func(e *Env) {
		f := e.MustOpen("/w", linux.O_CREAT|linux.O_RDWR, 0)
		defer f.DecRef(e.Ctx)
		if n, err := f.Write(e.Ctx, []byte("x")); n != 1 || err != nil {
			e.T.Errorf("write to a new file of mode 0: %d, %v", n, err)
		}
	}},
	{"open_exclusive", nil, func(e *Env) {
		e.Write("/a", "x")
		e.OK(e.Symlink("nowhere", "/l"))
		for _, p := range []string{"/a", "/l"} {
			_, err := e.Open(p, linux.O_CREAT|linux.O_EXCL|linux.O_WRONLY, 0o644)
			e.Is(err, linux.EEXIST)
		}
	}},
	{"open_errors", nil, func(e *Env) {
		tryAll(e.T, e, openErrors)
		n := strings.Repeat("n", 255)
		e.Write("/"+n, "long")
		if got := e.List("/"); !strings.Contains(got, n) {
			e.T.Error("name of 255 bytes lost")
		}
	}},
	{"open_create_through_symlinks", nil, func(e *Env) {
		e.OK(e.Mkdir("/d", 0o755))
		e.OK(e.Symlink("/d/new", "/l1"))
		e.OK(e.Symlink("d/../l1", "/l2"))
		e.Write("/l2", "through")
		if got := e.Read("/d/new"); got != "through" {
			e.T.Errorf("read %q", got)
		}
	}},
	{"open_path_only", nil, func(e *Env) {
		e.Write("/f", "x")
		f := e.MustOpen("/f", linux.O_PATH|linux.O_RDWR, 0)
		defer f.DecRef(e.Ctx)
		_, err := f.Read(e.Ctx, make([]byte, 1))
		e.Is(err, linux.EBADF)
		_, err = f.Write(e.Ctx, make([]byte, 1))
		e.Is(err, linux.EBADF)
		_, err = f.Seek(e.Ctx, 0, linux.SEEK_SET)
		e.Is(err, linux.EBADF)
		e.Is(f.SetStat(e.Ctx, vfs.SetAttr{Mask: vfs.SetMode}), linux.EBADF)
		if a, err := f.Attr(e.Ctx); err != nil || a.Size != 1 {
			e.T.Errorf("fstat %+v %v", a, err)
		}
	}},
	{"access_mode_enforced", nil, func(e *Env) {
		e.Write("/f", "x")
		r := e.MustOpen("/f", linux.O_RDONLY, 0)
		defer r.DecRef(e.Ctx)
		w := e.MustOpen("/f", linux.O_WRONLY, 0)
		defer w.DecRef(e.Ctx)
		_, err := r.Write(e.Ctx, []byte("y"))
		e.Is(err, linux.EBADF)
		_, err = w.Read(e.Ctx, make([]byte, 1))
		e.Is(err, linux.EBADF)
		e.Is(r.Truncate(e.Ctx, 0), linux.EINVAL)
		_, err = r.Pwrite(e.Ctx, []byte("y"), 0)
		e.Is(err, linux.EBADF)
		_, err = r.Pread(e.Ctx, []byte("y"), -1)
		e.Is(err, linux.EINVAL)
	}},
	{"append", nil, func(e *Env) {
		e.Write("/f", "one")
		f := e.MustOpen("/f", linux.O_RDWR|linux.O_APPEND, 0)
		defer f.DecRef(e.Ctx)
		g := e.MustOpen("/f", linux.O_RDWR|linux.O_APPEND, 0)
		defer g.DecRef(e.Ctx)
		f.Write(e.Ctx, []byte("two"))
		g.Write(e.Ctx, []byte("three"))
		f.Write(e.Ctx, []byte("four"))
		if at, err := f.Seek(e.Ctx, 0, linux.SEEK_CUR); at != 15 || err != nil {
			e.T.Errorf("position %d, %v", at, err)
		}
		if n, err := f.Pwrite(e.Ctx, []byte("!"), 0); n != 1 || err != nil {
			e.T.Errorf("pwrite %d %v", n, err)
		}
		if got := e.Read("/f"); got != "onetwothreefour!" {
			e.T.Errorf("read %q", got)
		}
	}},
	{"seek", nil, func(e *Env) {
		e.Write("/f", "0123456789")
		f := e.MustOpen("/f", linux.O_RDONLY, 0)
		defer f.DecRef(e.Ctx)
		for _, c := range []struct {
			off    int64
			whence int
			want   int64
			err    error
		}{
			{3, linux.SEEK_SET, 3, nil}, {2, linux.SEEK_CUR, 5, nil}, {-1, linux.SEEK_END, 9, nil},
			{-20, linux.SEEK_CUR, 0, linux.EINVAL}, {100, linux.SEEK_END, 110, nil},
			{0, linux.SEEK_DATA, 0, nil}, {0, linux.SEEK_HOLE, 10, nil},
			{10, linux.SEEK_DATA, 0, linux.ENXIO}, {0, 9, 0, linux.EINVAL},
			{1<<63 - 1, linux.SEEK_END, 0, linux.EOVERFLOW},
		} {
			at, err := f.Seek(e.Ctx, c.off, c.whence)
			if err != c.err || err == nil && at != c.want {
				e.T.Errorf("seek %d %d: %d, %v; want %d, %v", c.off, c.whence, at, err, c.want, c.err)
			}
		}
	}},
	{"sparse", nil, func(e *Env) {
		f := e.MustOpen("/s", linux.O_CREAT|linux.O_RDWR, 0o600)
		defer f.DecRef(e.Ctx)
		for _, off := range []int64{100_000, 5_000_000, 10} {
			if n, err := f.Pwrite(e.Ctx, []byte("data"), off); n != 4 || err != nil {
				e.T.Fatalf("pwrite at %d: %d, %v", off, n, err)
			}
		}
		want := make([]byte, 5_000_004)
		for _, off := range []int{100_000, 5_000_000, 10} {
			copy(want[off:], "data")
		}
		if got := e.Read("/s"); got != string(want) {
			e.T.Error("sparse contents differ")
		}
	}},
	{"sparse_seek", func(o Options) bool { return o.NoHoles }, func(e *Env) {
		f := e.MustOpen("/s", linux.O_CREAT|linux.O_RDWR, 0o600)
		defer f.DecRef(e.Ctx)
		e.OK(f.Truncate(e.Ctx, 400<<10))
		f.Pwrite(e.Ctx, []byte("data"), 128<<10)
		if at, err := f.Seek(e.Ctx, 0, linux.SEEK_DATA); at != 128<<10 || err != nil {
			e.T.Errorf("data at %d, %v", at, err)
		}
		if at, err := f.Seek(e.Ctx, 128<<10, linux.SEEK_HOLE); at != 132<<10 || err != nil {
			e.T.Errorf("hole at %d, %v", at, err)
		}
		_, err := f.Seek(e.Ctx, 200<<10, linux.SEEK_DATA)
		e.Is(err, linux.ENXIO)
	}},
	{"truncate", nil, func(e *Env) {
		f := e.MustOpen("/t", linux.O_CREAT|linux.O_RDWR, 0o600)
		defer f.DecRef(e.Ctx)
		for _, size := range []int64{10_000, 3 << 20} {
			data := bytes.Repeat([]byte("x"), int(size))
			f.Pwrite(e.Ctx, data, 0)
			for _, to := range []int64{size / 2, size/2 + 5000, size / 3, 0, 7} {
				e.OK(f.Truncate(e.Ctx, to))
				clear(data[min(to, int64(len(data))):])
				if got := e.Read("/t"); got != string(data[:to]) {
					e.T.Fatalf("truncate to %d: contents differ, length %d", to, len(got))
				}
			}
		}
		e.OK(e.SetStat("/t", vfs.SetAttr{Mask: vfs.SetSize, Size: 3}))
		if a := e.MustStat("/t"); a.Size != 3 {
			e.T.Errorf("size %d", a.Size)
		}
		e.Is(f.Truncate(e.Ctx, -1), linux.EINVAL)
		e.OK(e.Mkdir("/d", 0o755))
		e.Is(e.SetStat("/d", vfs.SetAttr{Mask: vfs.SetSize}), linux.EISDIR)
		e.MustOpen("/t", linux.O_WRONLY|linux.O_TRUNC, 0).DecRef(e.Ctx)
		if a := e.MustStat("/t"); a.Size != 0 {
			e.T.Errorf("O_TRUNC left %d", a.Size)
		}
	}},
	{"punch_hole", func(o Options) bool { return o.NoPunch }, func(e *Env) {
		for _, size := range []int64{40_000, 2 << 20} {
			f := e.MustOpen("/p", linux.O_CREAT|linux.O_TRUNC|linux.O_RDWR, 0o600)
			data := bytes.Repeat([]byte("x"), int(size))
			f.Pwrite(e.Ctx, data, 0)
			e.OK(f.Allocate(e.Ctx, linux.FALLOC_FL_PUNCH_HOLE|linux.FALLOC_FL_KEEP_SIZE, 5000, 20_000))
			clear(data[5000:25_000])
			if got := e.Read("/p"); got != string(data) {
				e.T.Error("contents differ after the punch")
			}
			e.OK(f.Allocate(e.Ctx, linux.FALLOC_FL_KEEP_SIZE, size, 5000))
			if a := e.MustStat("/p"); a.Size != size {
				e.T.Errorf("KEEP_SIZE made it %d", a.Size)
			}
			e.OK(f.Allocate(e.Ctx, 0, size, 5000))
			if a := e.MustStat("/p"); a.Size != size+5000 {
				e.T.Errorf("fallocate made it %d", a.Size)
			}
			e.Is(f.Allocate(e.Ctx, 0, 0, 0), linux.EINVAL)
			f.DecRef(e.Ctx)
		}
	}},
	{"size_limit", nil, func(e *Env) {
		f := e.MustOpen("/f", linux.O_CREAT|linux.O_RDWR, 0o600)
		defer f.DecRef(e.Ctx)
		c := Root()
		c.Limit = 100
		if n, err := f.Pwrite(c, make([]byte, 50), 80); n != 20 || err != nil {
			e.T.Errorf("write across the limit: %d, %v", n, err)
		}
		_, err := f.Pwrite(c, make([]byte, 1), 100)
		e.Is(err, linux.EFBIG)
		e.Is(f.Truncate(c, 101), linux.EFBIG)
	}},
	{"unlinked_file_lives", nil, func(e *Env) {
		e.Write("/f", "still here")
		f := e.MustOpen("/f", linux.O_RDWR, 0)
		defer f.DecRef(e.Ctx)
		e.OK(e.Unlink("/f"))
		if got := e.ReadFile(f); got != "still here" {
			e.T.Errorf("read %q", got)
		}
		if a, err := f.Attr(e.Ctx); err != nil || a.Nlink != 0 {
			e.T.Errorf("nlink %d, %v", a.Nlink, err)
		}
		if f.Name() != "/f (deleted)" {
			e.T.Errorf("name %q", f.Name())
		}
		e.Write("/f", "other")
		if a, b := e.MustStat("/f"), must(f.Attr(e.Ctx)); a.Ino == b.Ino {
			e.T.Error("inode number used twice at once")
		}
		if n, err := f.Write(e.Ctx, []byte("!")); n != 1 || err != nil {
			e.T.Errorf("write %d %v", n, err)
		}
	}},
	{"tmpfile", func(o Options) bool { return o.NoTmpfile }, func(e *Env) {
		f := e.MustOpen("/", linux.O_TMPFILE|linux.O_RDWR, 0o600)
		defer f.DecRef(e.Ctx)
		f.Write(e.Ctx, []byte("nameless"))
		if got := e.List("/"); got != "" {
			e.T.Errorf("list %q", got)
		}
		e.OK(vfs.Link(e.Ctx, f.Path(), e.Root, "named"))
		if got := e.Read("/named"); got != "nameless" {
			e.T.Errorf("read %q", got)
		}
		x := e.MustOpen("/", linux.O_TMPFILE|linux.O_RDWR|linux.O_EXCL, 0o600)
		defer x.DecRef(e.Ctx)
		e.Is(vfs.Link(e.Ctx, x.Path(), e.Root, "never"), linux.ENOENT)
	}},
	{"times", nil, func(e *Env) {
		e.Write("/f", "x")
		at, mt := linux.Timespec{Sec: 1000, Nsec: 5}, linux.Timespec{Sec: 2000, Nsec: 6}
		e.OK(e.SetStat("/f", vfs.SetAttr{Mask: vfs.SetAtime | vfs.SetMtime, Atime: at, Mtime: mt}))
		a := e.MustStat("/f")
		if a.Atime != at || a.Mtime != mt {
			e.T.Errorf("times %v %v", a.Atime, a.Mtime)
		}
		if a.Ctime.Sec < 1_000_000 {
			e.T.Errorf("ctime %v", a.Ctime)
		}
		f := e.MustOpen("/f", linux.O_WRONLY, 0)
		f.Write(e.Ctx, []byte("y"))
		f.DecRef(e.Ctx)
		if b := e.MustStat("/f"); b.Mtime == mt {
			e.T.Error("a write leaves mtime")
		}
		d := e.MustStat("/")
		e.OK(e.SetStat("/", vfs.SetAttr{Mask: vfs.SetMtime, Mtime: mt}))
		e.Write("/g", "")
		if b := e.MustStat("/"); b.Mtime == mt {
			e.T.Errorf("a new name leaves the directory's mtime, %v before", d.Mtime)
		}
	}},
	{"xattr", func(o Options) bool { return o.NoXattr }, func(e *Env) {
		e.Write("/f", "x")
		p := e.Must("/f")
		_, err := vfs.Xattr(e.Ctx, p, "user.a")
		e.Is(err, linux.ENODATA)
		e.OK(vfs.SetXattr(e.Ctx, p, "user.a", []byte("one"), linux.XATTR_CREATE))
		e.Is(vfs.SetXattr(e.Ctx, p, "user.a", nil, linux.XATTR_CREATE), linux.EEXIST)
		e.Is(vfs.SetXattr(e.Ctx, p, "user.b", nil, linux.XATTR_REPLACE), linux.ENODATA)
		e.OK(vfs.SetXattr(e.Ctx, p, "user.a", []byte{}, 0))
		if v, err := vfs.Xattr(e.Ctx, p, "user.a"); len(v) != 0 || err != nil {
			e.T.Errorf("empty value: %q %v", v, err)
		}
		names, err := vfs.ListXattr(e.Ctx, p)
		if e.OK(err); len(names) != 1 || names[0] != "user.a" {
			e.T.Errorf("names %q", names)
		}
		e.OK(vfs.RemoveXattr(e.Ctx, p, "user.a"))
		e.Is(vfs.RemoveXattr(e.Ctx, p, "user.a"), linux.ENODATA)
		e.Is(vfs.SetXattr(e.Ctx, p, "nonsense", nil, 0), linux.EOPNOTSUPP)
		e.Is(vfs.SetXattr(e.Ctx, p, "user."+strings.Repeat("x", 256), nil, 0), linux.ERANGE)
		e.Is(vfs.SetXattr(e.Ctx, p, "user.x", make([]byte, 65537), 0), linux.E2BIG)
		u := User(1234)
		e.Is(vfs.SetXattr(u, p, "trusted.x", nil, 0), linux.EPERM)
	}},
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
