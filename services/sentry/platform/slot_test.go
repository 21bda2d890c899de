package platform

import (
	"sync/atomic"
	"testing"
)

// FuzzSlot gives the sentry a slot in which a hostile guest has written whatever
// it likes, and serves it as task does.
func FuzzSlot(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0}, uint16(slotKind))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint16(slotNRanges))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		sl := slot{mem: make([]byte, slotSize)}
		copy(sl.mem[at:], data)
		th := &Thread{proc: &Process{dead: make(chan struct{})}, slot: sl, space: &Space{}, wake: make(chan struct{}, 1)}
		th.last = atomic.LoadUint32(sl.word(slotReq)) - 1
		atomic.StoreUint32(sl.word(slotAsk), th.last+1) // Next waits for more than letters
		th.Next()
		for _, addr := range []uint64{0, th.Regs.RDI, th.Regs.RSI, ^uint64(0)} {
			for _, n := range []int{0, 1, 4096, inSize} {
				if p := th.Copied(addr, n); p != nil && len(p) != n {
					t.Fatalf("Copied(%#x, %d) gave %d bytes", addr, n, len(p))
				}
			}
			th.CopiedPrefix(addr)
		}
		th.Frame()
		th.Arch()
		if w := th.Window(100); w != nil {
			copy(sl.mem[at:], data) // the guest changes the answer as it is made
			th.CopyWindow(th.Regs.RDI, 100)
		}
		th.Return(0)
		th.Letters(func(_ uint32, p []byte) {
			if len(p) > boxSize {
				t.Fatalf("a letter of %d bytes", len(p))
			}
		})
		if left := th.TakeOut(int(at) % pocketCount); left < 0 {
			t.Fatalf("%d bytes are left", left)
		}
	})
}
