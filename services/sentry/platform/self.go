package platform

import (
	"encoding/binary"
	"os"
	"sync/atomic"
)

// NewSelf gives a thread that nobody runs and whose guest memory is that of the
// calling process: for tests of what serves system calls. Below GuestTop, that
// is; the memory must not be Go's own.
func NewSelf() *Thread {
	p := &Process{dead: make(chan struct{})}
	p.pid.Store(int32(os.Getpid()))
	return &Thread{proc: p, slot: slot{mem: make([]byte, slotSize)}, wake: make(chan struct{}, 1)}
}

// Perform does the copies that the answer of a NewSelf thread holds, as the stub
// would, and begins another. Host calls are not made.
func (th *Thread) Perform() error {
	defer func() { th.nops, th.outLen, th.nrange = 0, 0, 0 }()
	le := binary.LittleEndian
	for i := range th.nops {
		op := th.slot.mem[slotOps+i*opSize:][:opSize]
		if le.Uint32(op) != opCopyOut {
			continue
		}
		addr, off, n := le.Uint64(op[16:]), le.Uint64(op[24:]), le.Uint64(op[32:])
		if err := th.proc.CopyOut(addr, th.slot.mem[off:off+n]); err != nil {
			return err
		}
	}
	return nil
}

// Carry is what the stub does before a call: it copies n bytes at addr into the
// slot of a NewSelf thread, behind what has been carried before.
func (th *Thread) Carry(addr uint64, n int) {
	off := uint64(slotIn)
	if th.nrange > 0 {
		last := th.ranges[th.nrange-1]
		off = (last.off + last.size + 15) &^ 15
	}
	if th.nrange == maxRanges || off+uint64(n) > slotIn+maxCopyIn || th.proc.CopyIn(addr, th.slot.mem[off:off+uint64(n)]) != nil {
		return
	}
	th.ranges[th.nrange] = copied{addr, uint64(n), off}
	th.nrange++
	atomic.StoreUint32(th.slot.word(slotPatience), 0)
}

// Forget begins another answer of a NewSelf thread and keeps what was carried:
// for measuring what serves a call, without what the stub does about it.
func (th *Thread) Forget() { th.nops, th.outLen = 0, 0 }
