package server

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Unused rings keep their memory for the next socket, but not more than keptLimit in all.
func TestPoolKeepsMemoryWithinLimit(t *testing.T) {
	p := pool{announce: func(_ uint32, f *os.File) { f.Close() }}
	var all []*entry
	for range keptLimit/(2*RingSize) + 8 {
		e, err := p.take(RingSize)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		down, _ := e.rings.Service()
		up, _ := e.rings.Client()
		clear(down.Slice(0, RingSize))
		clear(up.Slice(0, RingSize))
	}
	for _, e := range all {
		if !p.give(e, 2*RingSize) {
			t.Fatal("a ring was not kept")
		}
	}
	var held int64 // bytes
	for _, e := range all {
		var st unix.Stat_t
		if err := unix.Fstat(int(e.file.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		held += st.Blocks * 512
		defer e.file.Close()
		defer e.rings.Unmap()
	}
	if held != keptLimit {
		t.Errorf("%d unused rings hold %d bytes, want %d", len(all), held, keptLimit)
	}
	for range all {
		p.take(RingSize)
	}
	if p.kept != 0 {
		t.Errorf("%d bytes are kept of nothing", p.kept)
	}
}

// Unused rings serve those who need their size only.
func TestPoolKeepsSizesApart(t *testing.T) {
	p := pool{announce: func(_ uint32, f *os.File) { f.Close() }}
	for _, size := range []int{RingSize, FarRingSize, RingSize, FarRingSize} {
		e, err := p.take(size)
		if err != nil {
			t.Fatal(err)
		}
		if m, f := e.message(); int(m.Size) != size || e.rings.Size() != size {
			t.Errorf("%d bytes, said to be %d, want %d", e.rings.Size(), m.Size, size)
		} else if f != nil {
			f.Close()
		}
		defer e.rings.Unmap()
		if !p.give(e, 0) {
			t.Error("a ring was not kept")
		}
	}
	if p.last != 2 {
		t.Errorf("%d rings were made for two sizes", p.last)
	}
}
