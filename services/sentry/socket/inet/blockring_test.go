package inet

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// A block is the guest's when the next frame does not fit, and one that it has not given
// back is not written over.
func TestBlockRing(t *testing.T) {
	p := &Packet{}
	var memory ringMemory
	defer memory.close()
	r, err := newBlockRing(&memory, request(4096, 2, 2048, 4, 60000, 16, 0), 0, false, p)
	if err != nil {
		t.Fatal(err)
	}
	p.ring = r
	defer r.close()
	data := func(n int) []byte { return make([]byte, n) }
	add := func(n int) {
		t.Helper()
		if err := r.put(&frame{size: n, length: n + 1, protocol: 0x800, index: 2}, data, time.Unix(5, 6)); err != nil {
			t.Fatal(err)
		}
	}
	add(1000)
	add(2000)
	if r.filled() || !r.free() {
		t.Fatal("a block that has room is given away")
	}
	add(2000)
	b := make([]byte, 4096)
	unix.Pread(r.fd, b, 0)
	word := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	if word(8) != linux.TP_STATUS_USER || word(12) != 2 || word(16) != 64 || word(24) != 1 || word(32) != 5 || word(44) != 6 {
		t.Errorf("block %x", b[:48])
	}
	second := 64 + word(64)
	if word(64+12) != 1000 || word(64+16) != 1001 || word(second) != 0 || word(second+12) != 2000 || word(20) != second+2088 {
		t.Errorf("frames at 64 and %d: %x, %x; %d bytes used", second, b[64:96], b[second:second+32], word(20))
	}
	p.outwaited(r, 1) // which is full already
	if r.at != 1 || !r.open {
		t.Error("a block's time is another's")
	}
	p.outwaited(r, 2)
	unix.Pread(r.fd, b, 4096)
	if word(8) != linux.TP_STATUS_USER|blockTimedOut || word(12) != 1 || r.free() {
		t.Errorf("block that has waited %x, free %t", b[:16], r.free())
	}
	unix.Pwrite(r.fd, make([]byte, 4), 8)
	if !r.free() {
		t.Error("a block that was given back is not free")
	}
}

// No request makes a ring whose frames reach beyond it.
func FuzzBlockRing(f *testing.F) {
	f.Add(request(4096, 2, 2048, 4, 10, 16, 0), 4, false, 100)
	f.Add(request(1<<18, 4, 1<<16, 16, 10, 0, 0), 0, true, 1<<17)
	f.Fuzz(func(t *testing.T, v []byte, reserve int, cooked bool, size int) {
		if len(v) < 28 || reserve < 0 || reserve > maxReserve || size < 0 || size > maxFrame {
			return
		}
		if n := binary.LittleEndian.Uint32(v[4:]); n > 4 || binary.LittleEndian.Uint32(v) > 1<<20 {
			return // no gain in large ones
		}
		binary.LittleEndian.PutUint32(v[16:], 60000)
		p := &Packet{}
		var memory ringMemory
		defer memory.close()
		r, err := newBlockRing(&memory, v, reserve, cooked, p)
		if err != nil {
			return
		}
		defer r.close()
		p.ring = r
		for range 8 {
			if !r.free() {
				break
			}
			if err := r.put(&frame{size: size}, func(n int) []byte { return make([]byte, n) }, time.Unix(1, 2)); err != nil {
				t.Fatal(err)
			}
			if r.used > r.block {
				t.Fatalf("%d bytes used of %d", r.used, r.block)
			}
		}
		var s unix.Stat_t
		if unix.Fstat(r.fd, &s); s.Size != int64(r.block)*int64(r.blocks) {
			t.Fatalf("the ring has grown to %d bytes", s.Size)
		}
	})
}
