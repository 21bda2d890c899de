package platform

import (
	"encoding/binary"
	"fmt"
)

// This file moves the processor's extended state (x87, SSE, AVX, …) between a
// stopped thread and guest memory. On the trap lane the host saved it, in the
// thread's private area, and the stub copies it; on the fast lane it is in the
// processor, and the stub does what the kernel does for a signal's frame, XSAVE and
// XRSTOR. It never comes to the sentry.

// SigReturnSize is how much of a signal's frame comes along with rt_sigreturn:
// ucontext, siginfo, and the legacy part of the extended state behind them, in
// the layout that package task gives a frame.
const SigReturnSize = SigReturnState + FPLegacySize

// SigReturnState is where in it the extended state begins.
const SigReturnState = 448

// The layout of the extended state as the host saves it: struct _fpstate of
// Linux on x86-64, with the words that the kernel adds.
const (
	// FPLegacySize is the part that FXSAVE writes.
	FPLegacySize = 512
	// FPReserved is where the kernel's description of the state begins: 48 bytes,
	// a magic number and the size of all first.
	FPReserved = 464
	// FPMagic1 is that magic number, and FPMagic2 the one at the end.
	FPMagic1 = 0x46505853
	FPMagic2 = 0x46505845

	// fpReservedSize is the length of the description; behind its first 8 bytes are
	// the components that the state has.
	fpReservedSize = 48
	// fpDescribed is how much of it is not 0: magic number, size of all, components,
	// size without the second magic number.
	fpDescribed = 24
	// fpHeader is the header that XSAVE writes, 64 bytes: the components that are not
	// as at the start of a program, and what must be 0.
	fpHeader     = FPLegacySize
	fpHeaderSize = 64

	// Components, and where the legacy part has what.
	fpX87   = 1 << 0
	fpSSE   = 1 << 1
	fpPKRU  = 1 << 9
	fpMXCSR = 24
	fpST0   = 32
	fpXMM0  = 160

	maxFPSize  = 16 << 10
	frameState = 224 // where a ucontext points to the extended state
)

// learnFPSize finds out how long the state is that the host saves of a thread.
// The processor and the host's kernel decide it, the same for every thread.
func (m *Machine) learnFPSize(th *Thread) error {
	frame, ok := th.Frame()
	if !ok {
		return fmt.Errorf("its signal frame is at %#x", th.frame)
	}
	var p [8]byte
	if err := th.ReadArea(frame+frameState, p[:]); err != nil {
		return fmt.Errorf("read its signal frame: %w", err)
	}
	var legacy [FPLegacySize]byte
	if err := th.ReadArea(binary.LittleEndian.Uint64(p[:]), legacy[:]); err != nil {
		return fmt.Errorf("read its extended state: %w", err)
	}
	le := binary.LittleEndian
	m.FPSize = FPLegacySize
	if le.Uint32(legacy[FPReserved:]) == FPMagic1 {
		m.FPSize = le.Uint32(legacy[FPReserved+4:])
		copy(m.fpReserved[:], legacy[FPReserved:])
	}
	if m.FPSize < FPLegacySize || m.FPSize > maxFPSize {
		return fmt.Errorf("its extended state has %d bytes", m.FPSize)
	}
	return nil
}

// fpComponents are those of the extended state that user code has; 0 where the
// processor has no XSAVE.
func (m *Machine) fpComponents() uint64 { return binary.LittleEndian.Uint64(m.fpReserved[8:]) }

// LiveFP says whether the extended state of a thread on the fast lane can be moved.
func (th *Thread) LiveFP() bool { return th.space.m.fpComponents() != 0 }

// KeepFlags orders that what only the processor knows of the flags of a thread on
// the fast lane be added to Regs, and to the word at offset off of the last Window.
func (th *Thread) KeepFlags(off int) bool {
	unknown := uint64(flagID | flagAC)
	if th.knowsFlags {
		unknown = flagID
	}
	return !th.fast || th.op(opFlags, 0, 0, uint64(slotOut+th.outLen+off), unknown)
}

// KnowFlags says that Regs has them all but EFLAGS.ID, which no signal's return
// changes.
func (th *Thread) KnowFlags() { th.knowsFlags = true }

// SaveFP orders that the extended state be copied to addr: Machine.FPSize bytes.
func (th *Thread) SaveFP(addr uint64) bool {
	m := th.space.m
	size := uint64(m.FPSize)
	if !th.fast {
		return th.op(opCopyState, 0, 0, addr, 0, size, 0)
	}
	var around [fpReservedSize + fpHeaderSize]byte
	copy(around[:], m.fpReserved[:])
	return th.CopyOut(addr+FPReserved, around[:]) &&
		th.op(opSaveLive, 0, 0, addr, m.fpComponents()) &&
		th.CopyOut(addr+size-4, binary.LittleEndian.AppendUint32(nil, FPMagic2))
}

// LoadFP orders that the extended state be taken from addr, where it lies as
// SaveFP left it and as its description says, which is reserved: only the legacy
// part of it if the description is none, and every other register is as at the start
// of a program then. False if no state can be there.
func (th *Thread) LoadFP(addr uint64, reserved []byte) bool {
	m := th.space.m
	size := uint64(m.FPSize)
	if addr >= GuestTop || size > GuestTop-addr {
		return false
	}
	le := binary.LittleEndian
	extent, components, n := le.Uint32(reserved[4:]), le.Uint64(reserved[8:]), le.Uint32(reserved[16:])
	extended := le.Uint32(reserved) == FPMagic1 && n >= fpHeader+fpHeaderSize && n <= m.FPSize-4 && n <= extent
	all := m.fpComponents()
	components &= all
	switch {
	case th.fast && extended:
		return th.op(opLoadLive, 0, 0, addr, components, all&^fpPKRU, uint64(n))
	case th.fast:
		return th.op(opLoadLive, 0, 0, addr, 0, all&^fpPKRU, 0)
	}
	var magic [4]byte
	if extended {
		if th.CopyIn(addr+uint64(n), magic[:]) != nil {
			return false
		}
		extended = le.Uint32(magic[:]) == FPMagic2
	}
	switch {
	case extended && components == all:
		// The description of the state stays the host's own, at both ends.
		return th.loadPart(addr, 0, FPReserved) && th.loadPart(addr, FPLegacySize, size-4)
	case extended:
		return th.loadComponents(addr, components)
	}
	return th.op(opResetFP, 0, 0, fpX87|fpSSE) && th.loadPart(addr, 0, FPReserved)
}

// loadComponents is LoadFP of some components, on the trap lane: the header that
// the host's kernel restores by names no other.
func (th *Thread) loadComponents(addr, components uint64) bool {
	var header [8]byte
	if th.CopyIn(addr+fpHeader, header[:]) != nil {
		return false
	}
	ok := th.op(opResetFP, 0, 0, binary.LittleEndian.Uint64(header[:])&components)
	if components&fpX87 != 0 {
		ok = ok && th.loadPart(addr, 0, fpMXCSR) && th.loadPart(addr, fpST0, fpXMM0)
	}
	if components&fpSSE != 0 {
		ok = ok && th.loadPart(addr, fpMXCSR, fpST0) && th.loadPart(addr, fpXMM0, FPReserved)
	}
	return ok && th.loadPart(addr, fpHeader+8, uint64(th.space.m.FPSize)-4)
}

// loadPart orders that bytes from to end of the state at addr be copied to where the
// host has saved it.
func (th *Thread) loadPart(addr, from, end uint64) bool {
	return th.op(opCopyState, 0, 0, addr+from, from, end-from, 1)
}

// ResetFP makes the extended state that of a new program. Protection keys' rights
// stay on the fast lane: a handler has those of a new thread, which are not what
// the processor takes for initial, and nobody here has keys.
func (th *Thread) ResetFP() bool {
	return th.op(opResetFP, 0, 0, 0, th.space.m.fpComponents()&^fpPKRU)
}

// Orders is how many host calls the answer holds, and OrdersLeft how many more
// it can hold.
func (th *Thread) Orders() int { return th.nops }

// OrdersLeft is how many more host calls the answer can hold.
func (th *Thread) OrdersLeft() int { return maxOps - th.nops }
