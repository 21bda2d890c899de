// Package rewrite plans how a system-call site is made to jump into the stub
// instead of trapping: the pure part of the fast lane.
//
// A site is a SYSCALL instruction that has trapped, so that its place is known
// to be the start of an instruction. Five bytes beside it are overwritten with a
// jump to a trampoline, which does what they did and enters the stub. There are
// two shapes:
//
//   - Before: the five bytes lie in the one instruction before the SYSCALL, which
//     stays as it is, and traps for whoever jumps straight to it. One instruction
//     takes the place of one, so that no thread can be in between.
//   - Over: the five bytes are the SYSCALL and the start of what follows it. A
//     thread that waits in the call comes back to the trampoline (Site.Actual).
//
// What is not understood stays as it is, on the trap lane: an instruction whose
// meaning depends on where it stands, one that may be the target of a jump, bytes
// that decode differently from different starts.
package rewrite

import (
	"encoding/binary"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// JumpLen is the length in bytes of the jump that a site is overwritten with.
const JumpLen = 5

// Shape says which bytes of a site are overwritten.
type Shape int

// The shapes.
const (
	Before Shape = iota
	Over
)

// Plan is how one site is rewritten. Offsets are relative to its SYSCALL.
type Plan struct {
	Shape Shape
	// Start is where the overwritten window begins, Len how many bytes of whole
	// instructions it has; its first JumpLen bytes become the jump.
	Start, Len int
	// Moved are the window's instructions without the SYSCALL. The trampoline
	// executes them before the call (Before) or after it (Over).
	Moved []byte
}

// Reach is how many bytes before and after a site Make wants to see: a jump into
// the window is looked for there.
const Reach = 2048

// Make plans the rewriting of the SYSCALL at code[at], called with number nr.
// false says that it is better left alone.
func Make(code []byte, at int, nr uint64) (Plan, bool) {
	if at < 0 || at+2 > len(code) || code[at] != 0x0f || code[at+1] != 0x05 {
		return Plan{}, false
	}
	if p, ok := before(code, at, nr); ok {
		return p, true
	}
	return over(code, at)
}

// before looks for one instruction of JumpLen bytes or more that ends at the
// SYSCALL.
func before(code []byte, at int, nr uint64) (Plan, bool) {
	for _, n := range []int{5, 6, 7, 8} {
		start := at - n
		if start < 0 || !aligned(code, start, at) {
			continue
		}
		inst, ok := movable(code[start:at])
		if !ok || inst.Len != n {
			continue
		}
		// A number that the instruction sets must be the one that was seen.
		if inst.Op == x86asm.MOV && (inst.Args[0] == x86asm.EAX || inst.Args[0] == x86asm.RAX) {
			if imm, isImm := inst.Args[1].(x86asm.Imm); isImm && uint64(imm) != nr {
				continue
			}
		}
		return Plan{Shape: Before, Start: -n, Len: n, Moved: clone(code[start:at])}, true
	}
	return Plan{}, false
}

// aligned says whether code decodes from every start some way back in such a way
// that an instruction begins at start and the next at end: x86 code falls into
// step within a few instructions.
func aligned(code []byte, start, end int) bool {
	const far, near, agree = 64, 24, 8
	voices := 0
	for from := max(0, start-far); from <= start-near; from++ {
		at, begins := from, false
		for at < end {
			inst, err := x86asm.Decode(code[at:], 64)
			if err != nil {
				break
			}
			begins = at == start
			at += inst.Len
		}
		if at < end {
			continue // not code from here
		}
		if at != end || !begins {
			return false
		}
		voices++
	}
	return voices >= agree
}

// over takes the SYSCALL and what follows it, up to JumpLen bytes or more.
func over(code []byte, at int) (Plan, bool) {
	end := at + 2
	var starts []int
	for end < at+JumpLen {
		inst, ok := movable(code[end:])
		if !ok {
			return Plan{}, false
		}
		starts = append(starts, end)
		end += inst.Len
	}
	if targeted(code, starts) {
		return Plan{}, false
	}
	return Plan{Shape: Over, Start: 0, Len: end - at, Moved: clone(code[at+2 : end])}, true
}

// movable decodes the instruction at the start of code if it does the same
// wherever it stands: no jump, nothing relative to RIP, nothing that traps.
func movable(code []byte) (x86asm.Inst, bool) {
	inst, err := x86asm.Decode(code, 64)
	if err != nil {
		return inst, false
	}
	switch inst.Op {
	case x86asm.MOV, x86asm.CMP, x86asm.TEST, x86asm.XOR, x86asm.LEA, x86asm.ADD, x86asm.SUB, x86asm.AND,
		x86asm.OR, x86asm.NEG, x86asm.NOP, x86asm.MOVSXD, x86asm.MOVZX:
	default:
		return inst, false
	}
	for _, a := range inst.Args {
		switch a := a.(type) {
		case x86asm.Rel:
			return inst, false
		case x86asm.Mem:
			if a.Base == x86asm.RIP || a.Base == x86asm.EIP || a.Segment == x86asm.GS {
				return inst, false
			}
		}
	}
	return inst, true
}

// targeted says whether some jump in sight may go to one of the instructions that
// begin at starts: any bytes that could be a jump count, wherever they stand. To
// within an instruction none goes that has no prefix to be jumped over, and those are
// not moved.
func targeted(code []byte, starts []int) bool {
	in := func(at int64) bool { return slices.Contains(starts, int(at)) }
	for i := range code {
		b := code[i]
		if i+2 <= len(code) && (b == 0xeb || b&0xf0 == 0x70 || b&0xfc == 0xe0) && in(int64(i)+2+int64(int8(code[i+1]))) {
			return true
		}
		if i+5 > len(code) {
			continue
		}
		rel := int64(int32(binary.LittleEndian.Uint32(code[i+1:])))
		near := b == 0xe8 || b == 0xe9 || i > 0 && code[i-1] == 0x0f && b&0xf0 == 0x80
		if near && in(int64(i)+5+rel) {
			return true
		}
	}
	return false
}

func clone(p []byte) []byte { return append([]byte(nil), p...) }
