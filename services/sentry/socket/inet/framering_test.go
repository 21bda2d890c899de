package inet

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

func request(words ...uint32) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// A frame is the guest's from its status on, and one that it has not given back is
// not written over.
func TestFrameRing(t *testing.T) {
	var memory ringMemory
	defer memory.close()
	r, err := newFrameRing(&memory, request(4096, 2, 2048, 4), linux.TPACKET_V2, 4, false)
	if err != nil {
		t.Fatal(err)
	}
	data := func(n int) []byte { return []byte("0123456789abcdef")[:n] }
	for i := range 4 {
		if !r.free() || i > 0 != r.filled() {
			t.Fatalf("frame %d: free %v, filled %v", i, r.free(), r.filled())
		}
		if err := r.put(&frame{size: 16, length: 60, protocol: 0x800, index: 2}, data, time.Unix(5, 6)); err != nil {
			t.Fatal(err)
		}
	}
	if r.free() {
		t.Error("a full ring has room")
	}
	b := make([]byte, 2048)
	unix.Pread(r.fd, b, 2048)
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	mac, network := int(binary.LittleEndian.Uint16(b[12:])), int(binary.LittleEndian.Uint16(b[14:]))
	if word(0) != linux.TP_STATUS_USER || word(4) != 60 || word(8) != 16 || word(16) != 5 || word(20) != 6 || mac != 70 || network != 84 {
		t.Errorf("header %x, mac %d, network %d", b[:32], mac, network)
	}
	if got := string(b[mac : mac+16]); got != "0123456789abcdef" {
		t.Errorf("%q", got)
	}
	unix.Pwrite(r.fd, make([]byte, 4), 0)
	if !r.free() {
		t.Error("a frame that was given back is not free")
	}
}

// No request makes a ring whose frames reach beyond it.
func FuzzFrameRing(f *testing.F) {
	f.Add(request(4096, 2, 2048, 4), 4, false, 100)
	f.Add(request(1<<22, 16, 1<<16, 1024), 0, true, 1<<17)
	f.Add(request(4096, 1<<31, 16, 1<<31), 1<<16, false, 0)
	f.Fuzz(func(t *testing.T, v []byte, reserve int, cooked bool, size int) {
		if len(v) < 16 || reserve < 0 || reserve > maxReserve || size < 0 || size > 1<<17 {
			return
		}
		var memory ringMemory
		defer memory.close()
		r, err := newFrameRing(&memory, v, linux.TPACKET_V2, reserve, cooked)
		if err != nil {
			return
		}
		var st unix.Stat_t
		if err := unix.Fstat(r.fd, &st); err != nil || st.Size > maxRing {
			t.Fatal(err, st.Size)
		}
		if at := r.at(r.frames - 1); at+int64(r.frame) > st.Size {
			t.Fatalf("the last of %d frames is at %d of %d", r.frames, at, st.Size)
		}
		r.next = r.frames - 1
		if err := r.put(&frame{size: size, length: size}, func(n int) []byte { return make([]byte, n) }, time.Now()); err != nil {
			t.Fatal(err)
		}
		unix.Fstat(r.fd, &st)
		if want := int64(r.block) * int64(r.frames/r.perBlock); st.Size != want {
			t.Fatalf("%d bytes became %d", want, st.Size)
		}
	})
}

// A thread that maps the ring and one that takes it away do not get past each other:
// the descriptor that MapFD gave stays the ring's until the socket goes.
func TestRingMemory(t *testing.T) {
	p := &Packet{}
	defer p.memory.close()
	p.options.version = linux.TPACKET_V2
	if err := p.setRing(request(4096, 2, 2048, 4)); err != nil {
		t.Fatal(err)
	}
	fd, _, err := p.MapFD(nil, true, true)
	if err != nil {
		t.Fatal(err)
	}
	unix.Pwrite(fd, []byte("old"), 0)
	if err := p.setRing(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	other, err := unix.MemfdCreate("another's", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if other == fd {
		t.Error("what was just being mapped is another file now")
	}
	if _, _, err := p.MapFD(nil, true, true); err == nil {
		t.Error("mapped no ring")
	}
	if err := p.setRing(request(8192, 1, 2048, 4)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if n, err := unix.Pread(fd, b, 0); n != 3 || b[0] != 0 || err != nil {
		t.Errorf("the next ring has %q, %v", b, err)
	}
}
