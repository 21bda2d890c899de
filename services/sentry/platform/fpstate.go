package platform

import (
	"encoding/binary"
	"fmt"
)

// This file moves the processor's extended state (x87, SSE, AVX, …) between
// where the host saved it, in the private area of a stopped thread, and guest
// memory. The stub copies it, so that it never comes to the sentry.

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
	}
	if m.FPSize < FPLegacySize || m.FPSize > maxFPSize {
		return fmt.Errorf("its extended state has %d bytes", m.FPSize)
	}
	return nil
}

// SaveFP orders that the extended state be copied to addr: Machine.FPSize bytes.
func (th *Thread) SaveFP(addr uint64) bool {
	return th.op(opCopyState, 0, 0, addr, 0, uint64(th.space.m.FPSize), 0)
}

// LoadFP orders that the extended state be taken from addr, where it lies as
// SaveFP left it: only the legacy part of it if extended is false, and every
// other register is as at the start of a program then.
func (th *Thread) LoadFP(addr uint64, extended bool) bool {
	all := uint64(th.space.m.FPSize)
	if extended && all > FPLegacySize {
		// The description of the state stays the host's own, at both ends.
		return th.op(opCopyState, 0, 0, addr, 0, FPReserved, 1) &&
			th.op(opCopyState, 0, 0, addr+FPLegacySize, FPLegacySize, all-FPLegacySize-4, 1)
	}
	const x87AndSSE = 3
	return th.op(opResetFP, 0, 0, x87AndSSE) && th.op(opCopyState, 0, 0, addr, 0, FPReserved, 1)
}

// Orders is how many host calls the answer holds, and OrdersLeft how many more
// it can hold.
func (th *Thread) Orders() int { return th.nops }

// OrdersLeft is how many more host calls the answer can hold.
func (th *Thread) OrdersLeft() int { return maxOps - th.nops }
