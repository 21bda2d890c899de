package strace

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"bulkhead/proto/linux"
)

// memory is a guest whose bytes begin at base.
type memory []byte

const base = 0x1000

func (m memory) CopyIn(addr uint64, p []byte) error {
	if addr < base || addr-base > uint64(len(m)) || uint64(len(p)) > uint64(len(m))-(addr-base) {
		return linux.EFAULT
	}
	copy(p, m[addr-base:])
	return nil
}

func guest(at map[int]string) memory {
	m := make(memory, 4096)
	for off, s := range at {
		copy(m[off:], s)
	}
	return m
}

func TestLines(t *testing.T) {
	minus100 := int64(-100)
	at := uint64(minus100)
	m := guest(map[int]string{0: "/etc/passwd\x00", 64: "root:x:0:0\n\"\x01", 128: "\x02\x00\x00\x50\x7f\x00\x00\x01"})
	binary.LittleEndian.PutUint64(m[256:], base+64)
	binary.LittleEndian.PutUint64(m[264:], 4)
	binary.LittleEndian.PutUint64(m[512:], 3)
	binary.LittleEndian.PutUint64(m[520:], 500)
	for _, c := range []struct {
		nr     uint64
		regs   [6]uint64
		result uint64
		err    error
		want   string
	}{
		{257, [6]uint64{at, base, 0x80000}, 3, nil, `openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3`},
		{257, [6]uint64{5, base, 0x241, 0o644}, 0, linux.ENOENT, `openat(5, "/etc/passwd", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 ENOENT (No such file or directory)`},
		{0, [6]uint64{3, base + 64, 100}, 13, nil, `read(3, "root:x:0:0\n\"\1", 100) = 13`},
		{0, [6]uint64{3, 1, 100}, 0, linux.EFAULT, `read(3, 0x1, 100) = -1 EFAULT (Bad address)`},
		{1, [6]uint64{1, base + 64, 4}, 4, nil, `write(1, "root", 4) = 4`},
		{20, [6]uint64{1, base + 256, 1}, 4, nil, `writev(1, [{iov_base="root", iov_len=4}], 1) = 4`},
		{42, [6]uint64{3, base + 128, 16}, 0, nil, `connect(3, {sa_family=AF_INET, 127.0.0.1:80}, 16) = 0`},
		{9, [6]uint64{0, 4096, 3, 0x22, ^uint64(0), 0}, 0x7f0000000000, nil, `mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0x0) = 0x7f0000000000`},
		{35, [6]uint64{base + 512, 0}, 0, linux.ERESTART_RESTARTBLOCK, `nanosleep({tv_sec=3, tv_nsec=500}, NULL) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)`},
		{7, [6]uint64{0, 0, 0xffffffff}, 0, nil, `poll(NULL, 0, -1) = 0`},
		{39, [6]uint64{}, 7, nil, `getpid() = 7`},
		{62, [6]uint64{7, 9}, 0, nil, `kill(7, SIGKILL) = 0`},
		{999, [6]uint64{1}, 0, linux.ENOSYS, `syscall_999(0x1, 0x0, 0x0, 0x0, 0x0, 0x0) = -1 ENOSYS (Function not implemented)`},
	} {
		got := Begin(m, 3, c.nr, c.regs).End(c.result, c.err, 12*time.Microsecond)
		if want := "[pid 3] " + c.want + " <0.000012>"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestUnfinished(t *testing.T) {
	got := Begin(memory{}, 4, 231, [6]uint64{2}).Unfinished()
	if got != "[pid 4] exit_group(2) = ?" {
		t.Error(got)
	}
}

func TestEveryRowDecodes(t *testing.T) {
	m := guest(nil)
	for nr := range uint64(len(rows)) {
		for _, v := range []uint64{0, base, base + 4090, ^uint64(0)} {
			line := Begin(m, 1, nr, [6]uint64{v, v, v, v, v, v}).End(v, nil, 0)
			if !strings.Contains(line, Name(nr)+"(") {
				t.Errorf("%d: %s", nr, line)
			}
		}
	}
}

// FuzzCall says that no registers and no memory can make a line panic or grow.
func FuzzCall(f *testing.F) {
	f.Add(uint64(47), uint64(base), uint64(base), uint64(4), uint64(8), []byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, nr, a, b, c, r uint64, mem []byte) {
		nr %= 470
		line := Begin(memory(mem), 1, nr, [6]uint64{a, b, c, r, a, b}).End(r, nil, 0)
		if len(line) > 64<<10 {
			t.Errorf("%s: line of %d bytes", Name(nr), len(line))
		}
	})
}
