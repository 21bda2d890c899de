package syscalls

import (
	"bytes"
	"encoding/binary"
	"testing"

	"bulkhead/proto/linux"
)

func TestReadWrite(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", linux.O_CREAT|linux.O_RDWR)
	addr, b := g.room(64)
	copy(b, "hello world")
	if n := g.must(write(g.t, fd, addr, 11)); n != 11 {
		t.Errorf("wrote %d", n)
	}
	g.th.Carry(addr, 5)
	if n := g.must(pwrite64(g.t, fd, addr, 5, 20)); n != 5 {
		t.Errorf("wrote %d", n)
	}
	clear(b)
	if n := g.must(pread64(g.t, fd, addr, 64, 6)); n != 19 || string(b[:5]) != "world" || string(b[14:19]) != "hello" {
		t.Errorf("pread %d %q", n, b)
	}
	if at := g.must(lseek(g.t, fd, 0, linux.SEEK_CUR)); at != 11 {
		t.Errorf("position %d", at)
	}
	g.must(lseek(g.t, fd, 0, linux.SEEK_SET))
	if n := g.must(read(g.t, fd, addr, 5)); n != 5 || string(b[:5]) != "hello" {
		t.Errorf("read %d %q", n, b[:5])
	}
	g.must(lseek(g.t, fd, 0, linux.SEEK_END))
	if n := g.must(read(g.t, fd, addr, 5)); n != 0 {
		t.Errorf("read %d past the end", n)
	}
}

func TestReadWrite_errors(t *testing.T) {
	g := newGuest(t)
	g.file("f", "x")
	ro, wo, path := g.open("f", linux.O_RDONLY), g.open("f", linux.O_WRONLY), g.open("f", linux.O_PATH)
	dir := g.open("/", linux.O_RDONLY)
	addr, _ := g.room(16)
	r, w := g.pipe()
	g.fails2("bad fd", linux.EBADF)(read(g.t, 99, addr, 1))
	g.fails2("write only", linux.EBADF)(read(g.t, wo, addr, 1))
	g.fails2("read only", linux.EBADF)(write(g.t, ro, addr, 1))
	g.fails2("path", linux.EBADF)(read(g.t, path, addr, 1))
	g.fails2("directory", linux.EISDIR)(read(g.t, dir, addr, 1))
	g.fails2("bad address", linux.EFAULT)(read(g.t, ro, bad, 1))
	g.fails2("write bad address", linux.EFAULT)(write(g.t, wo, bad, 1))
	g.fails2("nothing to a bad address", nil)(write(g.t, wo, bad, 0))
	g.fails2("negative offset", linux.EINVAL)(pread64(g.t, 99, addr, 1, -1))
	g.fails2("pread a pipe", linux.ESPIPE)(pread64(g.t, r, addr, 1, 0))
	g.fails2("pwrite a pipe", linux.ESPIPE)(pwrite64(g.t, w, addr, 1, 0))
	g.fails2("seek a pipe", linux.ESPIPE)(lseek(g.t, r, 0, 0))
	g.fails2("whence", linux.EINVAL)(lseek(g.t, ro, 0, 9))
	g.fails2("before the start", linux.EINVAL)(lseek(g.t, ro, -1, linux.SEEK_SET))
	g.fails2("too many pieces", linux.EINVAL)(readv(g.t, ro, addr, linux.IOV_MAX+1))
	g.fails2("negative length", linux.EINVAL)(readv(g.t, ro, g.words(addr, 1<<63), 1))
	g.fails2("no pieces", nil)(readv(g.t, ro, bad, 0))
	g.fails2("bad vector", linux.EFAULT)(readv(g.t, ro, bad, 1))
	g.fails2("flags", linux.EOPNOTSUPP)(preadv2(g.t, ro, g.words(addr, 1), 1, 0, 0, 0x100))
	g.must(close_(g.t, r))
	g.fails2("no reader", linux.EPIPE)(write(g.t, w, addr, 1))
	if own, _ := g.t.PendingSignals(); !own.Has(linux.SIGPIPE) {
		t.Error("no SIGPIPE")
	}
}

// pipe makes one.
func (g *guest) pipe() (r, w linux.FD) {
	g.Helper()
	addr, b := g.room(8)
	g.must(pipe2(g.t, addr, linux.O_NONBLOCK))
	return linux.FD(binary.LittleEndian.Uint32(b)), linux.FD(binary.LittleEndian.Uint32(b[4:]))
}

func TestVectors(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", linux.O_CREAT|linux.O_RDWR)
	one, b1 := g.room(4)
	two, b2 := g.room(8)
	copy(b1, "abcd")
	copy(b2, "efghijkl")
	vec := g.words(one, 4, bad, 0, two, 8)
	if n := g.must(writev(g.t, fd, vec, 3)); n != 12 {
		t.Errorf("wrote %d", n)
	}
	if got := g.contents("f"); got != "abcdefghijkl" {
		t.Errorf("file holds %q", got)
	}
	clear(b1)
	clear(b2)
	if n := g.must(preadv(g.t, fd, vec, 3, 1, 0)); n != 11 || string(b1) != "bcde" || string(b2[:7]) != "fghijkl" {
		t.Errorf("read %d %q %q", n, b1, b2)
	}
	if n := g.must(pwritev2(g.t, fd, g.words(one, 2), 1, 0, 0, linux.RWF_APPEND)); n != 2 {
		t.Errorf("appended %d", n)
	}
	if got := g.contents("f"); got != "abcdefghijklbc" {
		t.Errorf("file holds %q", got)
	}
}

// TestLarge moves more than the window and a chunk hold.
func TestLarge(t *testing.T) {
	g := newGuest(t)
	fd := g.open("f", linux.O_CREAT|linux.O_RDWR)
	const n = chunkSize + 70<<10
	src, b := g.room(n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	dst, c := g.room(n)
	if got := g.must(write(g.t, fd, src, n)); got != n {
		t.Fatalf("wrote %d", got)
	}
	if got := g.must(pread64(g.t, fd, dst, n, 0)); got != n || !bytes.Equal(b, c) {
		t.Fatalf("read %d, equal %v", got, bytes.Equal(b, c))
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	g := newGuest(t)
	g.file("f", "some contents")
	fd := g.open("f", linux.O_RDWR)
	addr, _ := g.room(256)
	for _, c := range []struct {
		name string
		call func() (uint64, error)
	}{
		{"read", func() (uint64, error) { return read(g.t, fd, addr, 10) }},
		{"pread64", func() (uint64, error) { return pread64(g.t, fd, addr, 10, 0) }},
		{"write", func() (uint64, error) { return write(g.t, fd, addr, 10) }},
		{"lseek", func() (uint64, error) { return lseek(g.t, fd, 0, 0) }},
		{"fstat", func() (uint64, error) { return fstat(g.t, fd, addr) }},
	} {
		if n := testing.AllocsPerRun(100, func() {
			g.th.Carry(addr, 16)
			g.done(c.call())
		}); n > 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func TestSendfile(t *testing.T) {
	g := newGuest(t)
	g.file("in", "0123456789")
	in, out := g.open("in", linux.O_RDONLY), g.open("out", linux.O_CREAT|linux.O_RDWR)
	off := g.words(3)
	if n := g.must(sendfile(g.t, out, in, off, 4)); n != 4 {
		t.Errorf("sent %d", n)
	}
	if n := g.must(sendfile(g.t, out, in, 0, 100)); n != 10 {
		t.Errorf("sent %d", n)
	}
	if got := g.contents("out"); got != "34560123456789" {
		t.Errorf("out holds %q", got)
	}
	g.fails2("overlap", linux.EINVAL)(copy_file_range(g.t, out, g.words(0), out, g.words(2), 4, 0))
	g.fails2("flags", linux.EINVAL)(copy_file_range(g.t, in, 0, out, 0, 4, 1))
	g.fails2("append", linux.EINVAL)(sendfile(g.t, g.open("out", linux.O_WRONLY|linux.O_APPEND), in, 0, 1))
	r, w := g.pipe()
	g.fails2("no pipe", linux.EINVAL)(splice(g.t, in, 0, out, 0, 1, 0))
	g.fails2("offset of a pipe", linux.ESPIPE)(splice(g.t, in, 0, w, g.words(0), 1, 0))
	if n := g.must(splice(g.t, in, g.words(2), w, 0, 5, 0)); n != 5 {
		t.Errorf("spliced %d", n)
	}
	r2, w2 := g.pipe()
	if n := g.must(tee(g.t, r, w2, 100, 0)); n != 5 {
		t.Errorf("teed %d", n)
	}
	addr, b := g.room(16)
	for _, fd := range []linux.FD{r, r2} {
		if n := g.must(read(g.t, fd, addr, 16)); string(b[:n]) != "23456" {
			t.Errorf("pipe holds %q", b[:n])
		}
	}
	g.fails2("empty pipe", linux.EAGAIN)(splice(g.t, r, 0, out, 0, 5, linux.SPLICE_F_NONBLOCK))
}
