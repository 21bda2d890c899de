package tmpfs

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/vfs/vfstest"
)

// TestStore compares a store, which turns into a memfd at some time, with a
// slice of bytes.
func TestStore(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 6 // under the race detector, of which one goroutine has no need, each takes half a second
	}
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 3))
		fs := New(Options{})
		s := &store{fs: fs}
		var want []byte
		span := []int64{300, 20_000, 1 << 21}[round%3]
		for range 60 {
			off, n := rng.Int64N(span), rng.Int64N(span/4)+1
			switch rng.IntN(6) {
			case 0, 1:
				p := bytes.Repeat([]byte{byte(rng.IntN(255) + 1)}, int(n))
				if m, err := s.writeAt(p, off); m != len(p) || err != nil {
					t.Fatalf("write %d, %v", m, err)
				}
				if end := off + n; end > int64(len(want)) {
					want = append(want, make([]byte, end-int64(len(want)))...)
				}
				copy(want[off:], p)
			case 2:
				if err := s.truncate(off); err != nil {
					t.Fatal(err)
				}
				next := make([]byte, off)
				copy(next, want)
				want = next
			case 3:
				s.allocate(linux.FALLOC_FL_PUNCH_HOLE|linux.FALLOC_FL_KEEP_SIZE, off, n)
				if off < int64(len(want)) {
					clear(want[off:min(off+n, int64(len(want)))])
				}
			case 4:
				if err := s.allocate(0, off, n); err != nil {
					t.Fatal(err)
				}
				if end := off + n; end > int64(len(want)) {
					want = append(want, make([]byte, end-int64(len(want)))...)
				}
			case 5:
				if rng.IntN(20) == 0 {
					if err := s.toMemfd(); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := make([]byte, len(want)+10)
			n2, err := s.readAt(got, 0)
			if err != nil || !bytes.Equal(got[:n2], want) {
				t.Fatalf("round %d: %d bytes, want %d, %v", round, n2, len(want), err)
			}
		}
		if s.free(); fs.pages.Load() != 0 {
			t.Fatalf("round %d: %d pages left", round, fs.pages.Load())
		}
	}
}

// TestStore_withoutMemfds: large files are pages where there are no descriptors.
func TestStore_withoutMemfds(t *testing.T) {
	defer func(most int64) { memfdMost = most }(memfdMost)
	memfdMost = 0
	e := env(t, New(Options{}))
	f := e.MustOpen("/f", linux.O_CREAT|linux.O_RDWR, 0o600)
	defer f.DecRef(e.Ctx)
	for _, off := range []int64{3 << 20, 1 << 30} {
		n, err := f.Pwrite(e.Ctx, []byte("data"), off)
		if off < 1<<30 && (n != 4 || err != nil) || off == 1<<30 && err != linux.EFBIG {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	if got := e.Read("/f"); len(got) != 3<<20+4 || got[3<<20:] != "data" {
		t.Errorf("read %d bytes", len(got))
	}
	if _, _, err := f.Impl().(vfs.Mapper).MapFD(e.Ctx, true, true); err != nil {
		t.Error(err)
	}
	if got := e.Read("/f"); len(got) != 3<<20+4 || got[3<<20:] != "data" {
		t.Errorf("mapped, read %d bytes", len(got))
	}
}

func env(t testing.TB, fs *FileSystem) *vfstest.Env { return vfstest.NewEnv(t, vfstest.Root(), fs) }

func TestSizeLimit(t *testing.T) {
	for _, size := range []int64{64 << 10, 3 << 20} {
		fs := New(Options{Size: uint64(size), Inodes: 10})
		e := env(t, fs)
		f := e.MustOpen("/f", linux.O_CREAT|linux.O_RDWR, 0o600)
		total := 0
		for {
			n, err := f.Write(e.Ctx, make([]byte, 10_000))
			total += n
			if err != nil {
				e.Is(err, linux.ENOSPC)
				break
			}
			if total > 2*int(size) {
				t.Fatal("no limit")
			}
		}
		if int64(total) < size-20_000 || int64(total) > size {
			t.Errorf("wrote %d of %d", total, size)
		}
		s, _ := fs.Statfs(e.Ctx)
		if s.Bfree > 5 || int64(s.Blocks)*4096 != size {
			t.Errorf("%+v", s)
		}
		e.OK(e.Unlink("/f"))
		if fs.pages.Load() == 0 {
			t.Error("an open file has no pages")
		}
		f.DecRef(e.Ctx)
		if n := fs.pages.Load(); n != 0 {
			t.Errorf("%d pages after the last close", n)
		}
		for i := range 9 {
			e.Write("/"+string(rune('a'+i)), "")
		}
		e.Is(e.Mkdir("/z", 0o755), linux.ENOSPC)
		e.OK(e.Unlink("/a"))
		e.OK(e.Mkdir("/z", 0o755))
		e.OK(e.Rmdir("/z"))
	}
}

func TestMapFD_sharesContents(t *testing.T) {
	e := env(t, New(Options{}))
	e.Write("/f", "before")
	f := e.MustOpen("/f", linux.O_RDWR, 0)
	fd, off, err := f.Impl().(vfs.Mapper).MapFD(e.Ctx, true, true)
	e.OK(err)
	mem, err := unix.Mmap(fd, off, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	e.OK(err)
	if string(mem[:6]) != "before" {
		t.Errorf("%q", mem[:6])
	}
	f.Pwrite(e.Ctx, []byte("AFTER"), 0)
	copy(mem[5:], "!")
	if got := e.Read("/f"); got != "AFTER!" || string(mem[:6]) != "AFTER!" {
		t.Errorf("%q %q", got, mem[:6])
	}
	unix.Munmap(mem)
	e.OK(e.Unlink("/f"))
	f.DecRef(e.Ctx)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the memfd is still open: %v", err)
	}
}

func TestMemfd_seals(t *testing.T) {
	ctx := vfstest.Root()
	impl, err := NewMemfd(ctx, "x", linux.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := vfs.NewAnonFile(impl, MemfdName("x"), linux.O_RDWR)
	defer f.DecRef(ctx)
	if f.Name() != "/memfd:x (deleted)" {
		t.Errorf("name %q", f.Name())
	}
	f.Write(ctx, []byte("hello"))
	s := impl.(Sealer)
	is := func(err, want error) {
		t.Helper()
		if err != want {
			t.Errorf("%v, want %v", err, want)
		}
	}
	is(s.AddSeals(ctx, linux.F_SEAL_GROW), nil)
	_, err = f.Write(ctx, []byte("more"))
	is(err, linux.EPERM)
	is(f.Truncate(ctx, 10), linux.EPERM)
	is(f.Truncate(ctx, 4), nil)
	is(s.AddSeals(ctx, linux.F_SEAL_WRITE|linux.F_SEAL_SHRINK|linux.F_SEAL_SEAL), nil)
	_, err = f.Pwrite(ctx, []byte("x"), 0)
	is(err, linux.EPERM)
	is(f.Truncate(ctx, 3), linux.EPERM)
	is(s.AddSeals(ctx, linux.F_SEAL_EXEC), linux.EPERM)
	fd, _, err := impl.(vfs.Mapper).MapFD(ctx, true, true)
	is(err, nil)
	_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	is(err, linux.EPERM)
	g, err := vfs.OpenPath(ctx, f.Path(), linux.O_RDONLY) // /proc/self/fd/N
	is(err, nil)
	buf := make([]byte, 10)
	if n, _ := g.Read(ctx, buf); string(buf[:n]) != "hell" {
		t.Errorf("%q", buf[:n])
	}
	g.DecRef(ctx)
}

// All file systems share what there is, whatever size one has; what is given back is
// there for all.
func TestCommonMemory(t *testing.T) {
	before, most := budget.FilePages(), budget.FilesMost
	defer func() { budget.FilesMost = most }()
	const room = 1024 // pages
	budget.FilesMost = func() int64 { return before + room }
	a, b, sized := New(Options{}), New(Options{}), New(Options{Size: 8 << 20})
	fill := func(s *store, n int64) error {
		_, err := s.writeAt(make([]byte, n), s.size)
		return err
	}
	large, small := &store{fs: a}, &store{fs: b}
	if err := fill(large, 3<<20); err != nil || !large.isFD {
		t.Fatal(err)
	}
	if err := fill(large, 2<<20); err != linux.ENOSPC {
		t.Errorf("written past what there is: %v", err)
	}
	if err := large.allocate(0, 0, 5<<20); err != linux.ENOSPC {
		t.Errorf("allocated past what there is: %v", err)
	}
	if err := fill(small, 1<<20); err != nil || small.isFD {
		t.Errorf("written up to what there is: %v", err)
	}
	if err := (&store{fs: b}).allocate(0, 0, 1); err != linux.ENOSPC {
		t.Errorf("a page too many: %v", err)
	}
	other := &store{fs: sized}
	if err := fill(other, 1<<20); err != linux.ENOSPC {
		t.Errorf("with a size of its own: %v", err)
	}
	if n := budget.FilePages() - before; n != room {
		t.Errorf("%d pages in use, want %d", n, room)
	}
	large.punchAll(t)
	sparse := &store{fs: a}
	if _, err := sparse.writeAt([]byte("x"), 1<<40); err != nil {
		t.Errorf("a hole costs memory: %v", err)
	}
	for _, s := range []*store{large, small, sparse, other} {
		s.free()
	}
	if n := budget.FilePages() - before; n != 0 {
		t.Errorf("%d pages left", n)
	}
}

// punchAll gives back what the file has.
func (s *store) punchAll(t *testing.T) {
	if err := s.allocate(linux.FALLOC_FL_PUNCH_HOLE|linux.FALLOC_FL_KEEP_SIZE, 0, s.size); err != nil || s.taken != 0 {
		t.Errorf("punch: %v, %d pages", err, s.taken)
	}
}

func TestParseOptions(t *testing.T) {
	ram, err := ParseOptions("mode=700,size=nonsense,more", Options{RAM: true})
	if want := (Options{RAM: true, Mode: 0o700}); ram != want || err != nil {
		t.Errorf("ramfs: %+v, %v", ram, err)
	}
	for text, want := range map[string]Options{
		"":                                 {},
		"size=64m,mode=1777,nr_inodes=1k":  {Size: 64 << 20, Mode: 0o1777, Inodes: 1024},
		"size=65536k,uid=5,gid=6,mode=755": {Size: 64 << 20, UID: 5, GID: 6, Mode: 0o755},
		"nr_blocks=2":                      {Size: 8192},
	} {
		if got, err := ParseOptions(text, Options{}); got != want || err != nil {
			t.Errorf("%q: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"size=x", "nonsense", "mode=9", "size=", "size=99999999999999999999g"} {
		if _, err := ParseOptions(text, Options{}); err != linux.EINVAL {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func BenchmarkWriteRead64K(b *testing.B) {
	e := env(b, New(Options{}))
	f := e.MustOpen("/f", linux.O_CREAT|linux.O_RDWR, 0o600)
	defer f.DecRef(e.Ctx)
	buf := make([]byte, 64<<10)
	b.SetBytes(2 * int64(len(buf)))
	for b.Loop() {
		f.Pwrite(e.Ctx, buf, 0)
		f.Pread(e.Ctx, buf, 0)
	}
	runtime.KeepAlive(buf)
}
