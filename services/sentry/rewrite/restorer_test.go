package rewrite

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"
)

// made is an image with a restorer, which tests put together: program headers, then
// at 0x1000 its code, at 0x2000 its tables.
type made struct {
	mem []byte
	n   int
}

const madeBase, madeRestorer = 0x40_0000, 0x40_1041

func newMade() *made {
	m := &made{mem: make([]byte, 0x3000)}
	copy(m.mem, elf.ELFMAG+"\x02")
	le := binary.LittleEndian
	le.PutUint64(m.mem[32:], 64)
	le.PutUint16(m.mem[54:], 56)
	m.prog(elf.PT_LOAD, elf.PF_R, 0, 0x1000)
	m.prog(elf.PT_LOAD, elf.PF_R|elf.PF_X, 0x1000, 0x1000)
	m.prog(elf.PT_LOAD, elf.PF_R, 0x2000, 0x1000)
	copy(m.mem[madeRestorer-madeBase:], restorer)
	return m
}

func (m *made) prog(t elf.ProgType, f elf.ProgFlag, at, size uint64) {
	p := m.mem[64+56*m.n:]
	le := binary.LittleEndian
	le.PutUint32(p, uint32(t))
	le.PutUint32(p[4:], uint32(f))
	le.PutUint64(p[8:], at)
	le.PutUint64(p[16:], madeBase+at)
	le.PutUint64(p[40:], size)
	m.n++
	le.PutUint16(m.mem[56:], uint16(m.n))
}

// entry writes a CIE at 0x2100 and an entry at 0x2120 for n bytes from the one
// before the restorer on.
func (m *made) entry(augmentation string, n uint32) {
	le := binary.LittleEndian
	copy(m.mem[0x2100:], "\x14\x00\x00\x00\x00\x00\x00\x00\x01"+augmentation+"\x00\x01\x78\x10\x01\x1b")
	at := uint32(0x2120)
	le.PutUint32(m.mem[at:], 0x14)
	le.PutUint32(m.mem[at+4:], at+4-0x2100)
	le.PutUint32(m.mem[at+8:], madeRestorer-1-(madeBase+at+8))
	le.PutUint32(m.mem[at+12:], n)
}

// index writes one at 0x2000, the restorer's entry among three.
func (m *made) index() {
	m.prog(elf.PT_GNU_EH_FRAME, elf.PF_R, 0x2000, 0x40)
	le := binary.LittleEndian
	copy(m.mem[0x2000:], "\x01\x1b\x03\x3b")
	le.PutUint32(m.mem[0x2008:], 3)
	for i, start := range []uint32{0x1000, madeRestorer - 1 - madeBase, 0x1100} {
		le.PutUint32(m.mem[0x200c+8*i:], start-0x2000)
		le.PutUint32(m.mem[0x2010+8*i:], 0x120)
	}
}

func (m *made) read(addr uint64, p []byte) bool {
	if addr < madeBase || addr-madeBase > uint64(len(m.mem)) || uint64(len(p)) > uint64(len(m.mem))-(addr-madeBase) {
		return false
	}
	copy(p, m.mem[addr-madeBase:])
	return true
}

func (m *made) unwinds() bool {
	return UnwindsRestorer(m.read, madeBase, madeRestorer+restorerLen)
}

func TestUnwindsRestorer(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*made)
		want bool
	}{
		{"nothing about it", func(m *made) {}, false},
		{"an index with its entry", func(m *made) { m.entry("zRS", 10); m.index() }, true},
		{"an index with another's entry", func(m *made) { m.entry("zR", 10); m.index() }, false},
		{"an entry that ends before it", func(m *made) { m.entry("zRS", 1); m.index() }, false},
		{"a static program's entry", func(m *made) { m.entry("zRS", 10) }, true},
		{"a library's entry, and no index", func(m *made) { m.entry("zRS", 10); m.prog(elf.PT_DYNAMIC, elf.PF_R, 0, 0) }, false},
		{"an index of too many", func(m *made) {
			m.entry("zRS", 10)
			m.index()
			binary.LittleEndian.PutUint32(m.mem[0x2008:], 1<<31)
		}, false},
		{"Go's linker", func(m *made) {
			m.prog(elf.PT_NOTE, elf.PF_R, 0x800, 100)
			copy(m.mem[0x800:], "\x04\x00\x00\x00\x53\x00\x00\x00\x04\x00\x00\x00Go\x00\x00")
		}, true},
		{"Go's code, linked by another", func(m *made) {
			m.prog(elf.PT_NOTE, elf.PF_R, 0x800, 100)
			copy(m.mem[0x800:], "\x04\x00\x00\x00\x53\x00\x00\x00\x04\x00\x00\x00Go\x00\x00")
			m.prog(elf.PT_TLS, elf.PF_R, 0, 8)
		}, false},
		{"no image", func(m *made) { m.entry("zRS", 10); m.mem[0] = 0 }, false},
		{"endless headers", func(m *made) { m.entry("zRS", 10); binary.LittleEndian.PutUint16(m.mem[56:], 0xffff) }, false},
	} {
		m := newMade()
		c.make(m)
		if got := m.unwinds(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestUnwindsRestorer_glibc finds the entry in the C library of this machine.
func TestUnwindsRestorer_glibc(t *testing.T) {
	const path = "/lib/x86_64-linux-gnu/libc.so.6"
	f, err := elf.Open(path)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	const base = 0x7f00_0000_0000
	var mem []byte
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			mem = append(mem, make([]byte, max(0, int(p.Vaddr+p.Filesz)-len(mem)))...)
			if _, err := p.ReadAt(mem[p.Vaddr:p.Vaddr+p.Filesz], 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(addr uint64, p []byte) bool {
		return addr >= base && addr-base+uint64(len(p)) <= uint64(len(mem)) && copy(p, mem[addr-base:]) == len(p)
	}
	at := bytes.Index(mem, restorer)
	if at < 0 {
		t.Skip("no restorer in ", path)
	}
	if !IsRestorer(mem, at+restorerLen) || IsRestorer(mem, at+restorerLen+2) {
		t.Error("not told by its bytes")
	}
	if !UnwindsRestorer(read, base, base+uint64(at)+restorerLen) {
		t.Error("no entry for the restorer")
	}
	if UnwindsRestorer(read, base, base+uint64(at)+restorerLen+0x40) {
		t.Error("an entry for what follows it")
	}
}

func FuzzUnwindsRestorer(f *testing.F) {
	for _, indexed := range []bool{false, true} {
		m := newMade()
		m.entry("zRS", 10)
		if indexed {
			m.index()
		}
		f.Add(m.mem)
	}
	if p, err := os.ReadFile("/bin/true"); err == nil && len(p) < 1<<16 {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, mem []byte) {
		reads := 0
		m := made{mem: mem}
		UnwindsRestorer(func(addr uint64, p []byte) bool {
			if reads++; reads > 1<<16 || len(p) > scanChunk {
				t.Fatalf("read %d of %d bytes", reads, len(p))
			}
			return m.read(addr, p)
		}, madeBase, madeRestorer+restorerLen)
	})
}
