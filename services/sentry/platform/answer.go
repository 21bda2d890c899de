package platform

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is what an answer can hold besides a result: host calls, which the
// guest's own thread makes in order before it returns to the guest.

// op appends one host call; false means that the answer is full.
func (th *Thread) op(kind, nr uint32, flags uint64, args ...uint64) bool {
	if th.nops >= maxOps || th.dropped.Load() {
		return false
	}
	p := th.slot.mem[slotOps+th.nops*opSize:][:opSize]
	le := binary.LittleEndian
	le.PutUint32(p, kind)
	le.PutUint32(p[4:], nr)
	le.PutUint64(p[8:], flags)
	for i := range 6 {
		var v uint64
		if i < len(args) {
			v = args[i]
		}
		le.PutUint64(p[16+8*i:], v)
	}
	th.nops++
	if v := th.verifier; v != nil {
		v.order(th, kind, nr, args)
	}
	return true
}

// HostCall orders a system call. If it fails, the rest of the answer is not
// done and Next gives CallFailed.
func (th *Thread) HostCall(nr uint32, args ...uint64) bool {
	return th.op(opSyscall, nr, 0, args...)
}

// Slow says that the answer's host calls change so much of the memory that the host
// makes them the faster the less its other cores do: who waits for them sleeps.
func (th *Thread) Slow() { th.slow = true }

// TryHostCall orders a system call whose failure does not matter.
func (th *Thread) TryHostCall(nr uint32, args ...uint64) bool {
	return th.op(opSyscall, nr, opIgnoreError, args...)
}

// ResultHostCall orders a system call whose result is the answer's, if the
// answer is given by Return.
func (th *Thread) ResultHostCall(nr uint32, args ...uint64) bool {
	return th.op(opSyscall, nr, opIsResult, args...)
}

// Zero orders n bytes of zeros at addr.
func (th *Thread) Zero(addr, n uint64) bool { return th.op(opZero, 0, 0, addr, 0, n) }

// Store orders that the 8 bytes v be stored at addr, at once for all threads.
func (th *Thread) Store(addr, v uint64) bool { return th.op(opStore, 0, 0, addr, v) }

// Window gives n bytes of staging memory that CopyWindow can copy to the guest,
// or nil if there is no room left. The guest can change what is in it.
func (th *Thread) Window(n int) []byte {
	if n > outSize-th.outLen || th.nops >= maxOps-8 || th.dropped.Load() {
		return nil
	}
	return th.slot.mem[slotOut+th.outLen:][:n:n]
}

// CopyWindow orders that the first n bytes of the last Window go to addr.
func (th *Thread) CopyWindow(addr uint64, n int) bool {
	if addr >= GuestTop || uint64(n) > GuestTop-addr {
		return false
	}
	ok := th.op(opCopyOut, 0, 0, addr, uint64(slotOut+th.outLen), uint64(n))
	if ok {
		th.outLen += (n + 15) &^ 15
	}
	return ok
}

// CopyOut orders that p be copied to addr, if it fits; CallFailed reports
// memory that is not there.
func (th *Thread) CopyOut(addr uint64, p []byte) bool {
	w := th.Window(len(p))
	if w == nil {
		return false
	}
	copy(w, p)
	return th.CopyWindow(addr, len(p))
}

// CopyIn copies guest memory to buf: from what the stub has copied in with the
// request if that covers it, and from the guest's process otherwise.
func (th *Thread) CopyIn(addr uint64, buf []byte) error {
	if p := th.Copied(addr, len(buf)); p != nil {
		copy(buf, p)
		return nil
	}
	return th.proc.CopyIn(addr, buf)
}

// Copied gives the n bytes at addr as the stub copied them in, or nil. They lie
// in shared memory: the guest can change them.
func (th *Thread) Copied(addr uint64, n int) []byte {
	for _, c := range th.ranges[:th.nrange] {
		if addr >= c.addr && addr-c.addr <= c.size && uint64(n) <= c.size-(addr-c.addr) {
			at := c.off + (addr - c.addr)
			return th.slot.mem[at : at+uint64(n)]
		}
	}
	return nil
}

// CopiedPrefix gives what the stub copied in from addr on, which may be nothing.
func (th *Thread) CopiedPrefix(addr uint64) []byte {
	for _, c := range th.ranges[:th.nrange] {
		if addr >= c.addr && addr-c.addr < c.size {
			return th.slot.mem[c.off+(addr-c.addr) : c.off+c.size]
		}
	}
	return nil
}

// Frame is the address of the host's ucontext of the thread, in its private
// area, if it is where it must be; the extended state of the processor is saved
// there.
func (th *Thread) Frame() (uint64, bool) {
	area := areaOf(th.index)
	ok := th.frame >= area+altStackOff && th.frame <= area+areaSize-1024
	return th.frame, ok
}

// ReadArea copies from the thread's private area, and WriteArea to it.
func (th *Thread) ReadArea(addr uint64, buf []byte) error {
	return th.area(unix.SYS_PROCESS_VM_READV, addr, buf)
}

// WriteArea copies buf to the thread's private area.
func (th *Thread) WriteArea(addr uint64, buf []byte) error {
	return th.area(unix.SYS_PROCESS_VM_WRITEV, addr, buf)
}

func (th *Thread) area(call uintptr, addr uint64, buf []byte) error {
	area := areaOf(th.index)
	if len(buf) == 0 || addr < area || addr > area+areaSize || uint64(len(buf)) > area+areaSize-addr {
		return unix.EFAULT
	}
	n, err := th.proc.vm(call, addr, buf)
	if err == nil && n < len(buf) {
		err = unix.EFAULT
	}
	return err
}

func futexWake(word *uint32) {
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
}

// Overlay changes p, guest memory at addr as it is now, to what the copies that
// the answer holds so far will make of it.
func (th *Thread) Overlay(addr uint64, p []byte) {
	le := binary.LittleEndian
	end := addr + uint64(len(p))
	for i := range th.nops {
		op := th.slot.mem[slotOps+i*opSize:][:opSize]
		if le.Uint32(op) != opCopyOut {
			continue
		}
		to, off, n := le.Uint64(op[16:]), le.Uint64(op[24:]), le.Uint64(op[32:])
		from, until := max(addr, to), min(end, to+n)
		if off > slotSize || n > slotSize-off || from >= until {
			continue
		}
		copy(p[from-addr:until-addr], th.slot.mem[off+(from-to):off+(until-to)])
	}
}
