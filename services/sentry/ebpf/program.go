// Package ebpf checks and interprets the eBPF programs that say which devices a control
// group may use, BPF_PROG_TYPE_CGROUP_DEVICE of bpf(2): what container run-times write.
// It is pure.
//
// Of eBPF's instructions (RFC 9669) it has those that such programs are made of:
// arithmetic, jumps forwards, and loads from what is asked. Programs with a stack, maps,
// calls of helpers or loops are refused.
package ebpf

import (
	"encoding/binary"
	"math"

	"bulkhead/proto/linux"
)

// instructionSize is that of one instruction, in bytes, and mostInstructions how many
// there may be.
const (
	instructionSize  = 8
	mostInstructions = 4096
)

// Access is what is asked for: struct bpf_cgroup_dev_ctx.
type Access struct {
	Kind         uint32 // a Block or Char, and on top of 16 bits what of Make, Read and Write
	Major, Minor uint32
}

// The parts of an Access's Kind.
const (
	Block = 1
	Char  = 2
	Make  = 1 << 16
	Read  = 2 << 16
	Write = 4 << 16
)

const contextSize = 12

// Program is a checked program.
type Program struct {
	code   []instruction
	asking bool // it may look at what is asked
}

type instruction struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
	wide     uint64 // of a load of 64 bits, with the second half's
}

// The parts of an operation code.
const (
	classMask = 0x07
	classLD   = 0x00
	classLDX  = 0x01
	classALU  = 0x04
	classJMP  = 0x05
	classJ32  = 0x06
	classA64  = 0x07

	sourceReg = 0x08
	opMask    = 0xf0

	loadImm64 = 0x18

	aluNeg = 0x80
	aluMov = 0xb0
	aluEnd = 0xd0

	jumpAlways = 0x00
	jumpCall   = 0x80
	jumpExit   = 0x90
)

// registers are those that can be used: r10 is for a stack.
const registers = 10

// New checks a program: EINVAL for what is none, EACCES for what does what it may not,
// E2BIG. One that is not asking, as it is of another type, may not look at an Access.
func New(text []byte, asking bool) (*Program, error) {
	if len(text) == 0 || len(text)%instructionSize != 0 {
		return nil, linux.EINVAL
	}
	n := len(text) / instructionSize
	if n > mostInstructions {
		return nil, linux.E2BIG
	}
	p := &Program{code: make([]instruction, n), asking: asking}
	for i := range p.code {
		b := text[i*instructionSize:]
		p.code[i] = instruction{op: b[0], dst: b[1] & 15, src: b[1] >> 4,
			off: int16(binary.LittleEndian.Uint16(b[2:])), imm: int32(binary.LittleEndian.Uint32(b[4:]))}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// Len is how many instructions it has.
func (p *Program) Len() int { return len(p.code) }

// value is what is known of a register.
type value uint8

const (
	unset value = iota
	scalar
	context
)

// state is what is known of all of them before an instruction; nil: nothing leads there.
type state [registers]value

// join is what is known where two ways meet.
func join(a *state, b state) *state {
	if a == nil {
		return &b
	}
	for i := range a {
		if a[i] != b[i] {
			a[i] = unset
		}
	}
	return a
}

// nowhere is where what is no jump leads, or only on.
const nowhere = math.MinInt

// check follows all ways through the program: they only lead forwards.
func (p *Program) check() error {
	states := make([]*state, len(p.code)+1)
	states[0] = &state{1: context}
	for i := 0; i < len(p.code); i++ {
		in, s := &p.code[i], states[i]
		if s == nil || in.dst >= registers || in.src >= registers {
			return linux.EINVAL
		}
		after, to, falls := *s, nowhere, true
		var err error
		switch in.op & classMask {
		case classLD:
			if in.op != loadImm64 || in.src != 0 || i+1 >= len(p.code) || p.code[i+1].op != 0 {
				return linux.EINVAL
			}
			in.wide = uint64(uint32(in.imm)) | uint64(uint32(p.code[i+1].imm))<<32
			after[in.dst] = scalar
			if states[i+1] != nil {
				return linux.EINVAL // a jump into the middle
			}
			states[i+2] = join(states[i+2], after)
			i++
			continue
		case classLDX:
			if err = in.checkLoad(&after); !p.asking {
				err = linux.EACCES
			}
		case classALU, classA64:
			err = in.checkALU(&after)
		case classJMP, classJ32:
			to, falls, err = in.checkJump(i, s)
		default:
			err = linux.EACCES // stores: there is nothing to write to
		}
		if err != nil {
			return err
		}
		if to != nowhere {
			if to <= i || to >= len(p.code) {
				return linux.EINVAL
			}
			states[to] = join(states[to], after)
		}
		if falls {
			states[i+1] = join(states[i+1], after)
		}
	}
	if states[len(p.code)] != nil {
		return linux.EINVAL // it has no end
	}
	return nil
}

// size is how many bytes a load is of.
func (in *instruction) size() int { return [...]int{4, 2, 1, 8}[in.op>>3&3] }

func (in *instruction) checkLoad(s *state) error {
	const memory = 0x60
	size := in.size()
	switch {
	case in.op&0xe0 != memory:
		return linux.EINVAL
	case s[in.src] != context:
		return linux.EACCES
	case size == 8, in.off < 0, int(in.off)+size > contextSize, int(in.off)%size != 0, size < 4 && in.off >= 4:
		return linux.EACCES
	}
	s[in.dst] = scalar
	return nil
}

func (in *instruction) checkALU(s *state) error {
	op, wide := in.op&opMask, in.op&classMask == classA64
	fromReg := in.op&sourceReg != 0
	switch {
	case op >= aluEnd, in.off != 0:
		return linux.EINVAL
	case op == aluNeg:
		if fromReg {
			return linux.EINVAL
		}
	case fromReg && s[in.src] == unset, op != aluMov && s[in.dst] == unset:
		return linux.EACCES
	case op == aluMov && fromReg && wide:
		s[in.dst] = s[in.src]
		return nil
	case !fromReg && in.imm == 0 && (op == 0x30 || op == 0x90): // divided by nothing
		return linux.EINVAL
	}
	if fromReg && op != aluNeg && s[in.src] != scalar || op != aluMov && s[in.dst] != scalar {
		return linux.EACCES
	}
	s[in.dst] = scalar
	return nil
}

func (in *instruction) checkJump(at int, s *state) (to int, falls bool, err error) {
	to = at + 1 + int(in.off)
	wide := in.op&classMask == classJMP
	switch op := in.op & opMask; {
	case op == jumpAlways && wide && in.op&sourceReg == 0:
		return to, false, nil
	case op == jumpExit && wide && in.op&sourceReg == 0:
		switch s[0] {
		case unset:
			return nowhere, false, linux.EACCES
		case context:
			return nowhere, false, linux.EINVAL
		}
		return nowhere, false, nil
	case op == jumpAlways, op == jumpCall, op == jumpExit, op > 0xd0:
		return nowhere, false, linux.EINVAL
	}
	if s[in.dst] != scalar || in.op&sourceReg != 0 && s[in.src] != scalar {
		return nowhere, false, linux.EACCES
	}
	return to, true, nil
}
