package platform

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// Regs are a guest thread's general registers, in the order of the host's
// struct sigcontext.
type Regs struct {
	R8, R9, R10, R11, R12, R13, R14, R15 uint64
	RDI, RSI, RBP, RBX, RDX, RAX, RCX    uint64
	RSP, RIP, EFlags                     uint64
	Segments                             uint64 // cs, gs, fs, ss: 16 bits each
	Err, TrapNo, OldMask, CR2            uint64
}

// slot is the memory that a guest thread and the sentry share. The guest can
// write to any of it at any time: a field is loaded once, into a local, and the
// local is checked.
type slot struct {
	mem []byte
	in  *window // nil: it is mapped by itself
}

func mapSlot(memfd, index int) (slot, error) {
	mem, err := unix.Mmap(memfd, int64(index)<<areaShift, slotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return slot{mem: mem}, err
}

func (s slot) unmap() {
	if s.in != nil {
		s.in.drop()
		return
	}
	unix.Munmap(s.mem)
}

func (s slot) word(off int) *uint32 { return (*uint32)(unsafe.Pointer(&s.mem[off])) }
func (s slot) long(off int) *uint64 { return (*uint64)(unsafe.Pointer(&s.mem[off])) }

func (s slot) load(off int) uint64     { return atomic.LoadUint64(s.long(off)) }
func (s slot) store(off int, v uint64) { *s.long(off) = v }

// regs copies the registers of the last request.
func (s slot) regs(r *Regs) { *r = *(*Regs)(unsafe.Pointer(&s.mem[slotRegs])) }

func (s slot) setRegs(r *Regs) { *(*Regs)(unsafe.Pointer(&s.mem[slotRegs])) = *r }

// sigInfo copies the start of the host's siginfo.
func (s slot) sigInfo() FaultInfo {
	p := s.mem[slotSigInfo : slotSigInfo+32]
	le := binary.LittleEndian
	return FaultInfo{
		Signal: linux.Signal(le.Uint32(p)),
		Code:   int32(le.Uint32(p[8:])),
		Addr:   le.Uint64(p[16:]),
	}
}

// copied is one range that the stub has copied in.
type copied struct{ addr, size, off uint64 }

// ranges copies the list of them into r and gives how many are believable.
func (s slot) ranges(r *[maxRanges]copied) int {
	n := s.load(slotNRanges)
	if n > maxRanges {
		return 0
	}
	k := 0
	for i := range int(n) {
		at := slotRanges + 24*i
		c := copied{s.load(at), s.load(at + 8), s.load(at + 16)}
		if c.size <= inSize && c.off >= slotIn && c.off <= slotInEnd-c.size {
			r[k] = c
			k++
		}
	}
	return k
}
