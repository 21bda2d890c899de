// Package seccomp is the filters that a guest puts on its own system calls: programs
// of the classic BPF that seccomp(2) takes, checked and interpreted.
//
// It is a pure core: no clock, no host, no lock. A Filter does not change; the
// newest leads to those before it.
package seccomp

import (
	"encoding/binary"

	"bulkhead/proto/linux"
)

// Data is what a program sees of a call: struct seccomp_data.
type Data struct {
	Number int32
	Arch   uint32
	IP     uint64
	Args   [6]uint64
}

// sizeofData is its size in bytes.
const sizeofData = 64

// Put writes the struct.
func (d *Data) Put(b []byte) {
	for i, w := range d.words() {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
}

// words is the struct in 32-bit words, as programs load them.
func (d *Data) words() (w [sizeofData / 4]uint32) {
	w[0], w[1] = uint32(d.Number), d.Arch
	w[2], w[3] = uint32(d.IP), uint32(d.IP>>32)
	for i, a := range d.Args {
		w[4+2*i], w[5+2*i] = uint32(a), uint32(a>>32)
	}
	return w
}

// Instruction is a struct sock_filter.
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// SizeofInstruction is its size in bytes.
const SizeofInstruction = 8

// ReadInstructions takes whole instructions from b.
func ReadInstructions(b []byte) []Instruction {
	le := binary.LittleEndian
	out := make([]Instruction, len(b)/SizeofInstruction)
	for i := range out {
		p := b[i*SizeofInstruction:]
		out[i] = Instruction{le.Uint16(p), p[2], p[3], le.Uint32(p[4:])}
	}
	return out
}

// AppendInstructions is the opposite of ReadInstructions.
func AppendInstructions(b []byte, list []Instruction) []byte {
	le := binary.LittleEndian
	for _, i := range list {
		b = append(le.AppendUint16(b, i.Code), i.JT, i.JF)
		b = le.AppendUint32(b, i.K)
	}
	return b
}

// Codes of instructions: linux/bpf_common.h.
const (
	classLD   = 0
	classLDX  = 1
	classST   = 2
	classSTX  = 3
	classALU  = 4
	classJMP  = 5
	classRET  = 6
	classMISC = 7

	modeIMM = 0x00
	modeABS = 0x20
	modeMEM = 0x60
	modeLEN = 0x80

	opADD = 0x00
	opSUB = 0x10
	opMUL = 0x20
	opDIV = 0x30
	opOR  = 0x40
	opAND = 0x50
	opLSH = 0x60
	opRSH = 0x70
	opNEG = 0x80
	opXOR = 0xa0

	opJA   = 0x00
	opJEQ  = 0x10
	opJGT  = 0x20
	opJGE  = 0x30
	opJSET = 0x40

	sourceX = 0x08 // of arithmetic and jumps: X in place of K
	returnA = 0x10
	txa     = 0x80

	memories = 16

	// MaxInstructions is how long a program may be: BPF_MAXINSNS.
	MaxInstructions = 4096
)

// check says whether a program can be run: no load but of whole words of Data, no
// division by zero, jumps forward and within, a return at the end, and no word of
// scratch memory that may be read before it is written. EINVAL.
func check(p []Instruction) error {
	if len(p) == 0 || len(p) > MaxInstructions || p[len(p)-1].Code&7 != classRET {
		return linux.EINVAL
	}
	// Which words of memory are written on every way to an instruction; jumps go
	// forward, so that one pass knows.
	written := make([]uint16, len(p)+1)
	for i := range written {
		written[i] = 0xffff
	}
	written[0] = 0
	for i, in := range p {
		have := written[i]
		switch in.Code {
		case classLD | modeABS:
			if in.K%4 != 0 || in.K >= sizeofData {
				return linux.EINVAL
			}
		case classLD | modeIMM, classLDX | modeIMM, classLD | modeLEN, classLDX | modeLEN,
			classRET, classRET | returnA, classMISC, classMISC | txa,
			classALU | opADD, classALU | opADD | sourceX, classALU | opSUB, classALU | opSUB | sourceX,
			classALU | opMUL, classALU | opMUL | sourceX, classALU | opDIV | sourceX,
			classALU | opAND, classALU | opAND | sourceX, classALU | opOR, classALU | opOR | sourceX,
			classALU | opXOR, classALU | opXOR | sourceX, classALU | opLSH | sourceX, classALU | opRSH | sourceX, classALU | opNEG:
		case classALU | opDIV:
			if in.K == 0 {
				return linux.EINVAL
			}
		case classALU | opLSH, classALU | opRSH:
			if in.K >= 32 {
				return linux.EINVAL
			}
		case classST, classSTX:
			if in.K >= memories {
				return linux.EINVAL
			}
			have |= 1 << in.K
		case classLD | modeMEM, classLDX | modeMEM:
			if in.K >= memories || have>>in.K&1 == 0 {
				return linux.EINVAL
			}
		case classJMP | opJA:
			if in.K >= uint32(len(p)-i-1) {
				return linux.EINVAL
			}
			written[i+1+int(in.K)] &= have
			continue
		case classJMP | opJEQ, classJMP | opJEQ | sourceX, classJMP | opJGT, classJMP | opJGT | sourceX,
			classJMP | opJGE, classJMP | opJGE | sourceX, classJMP | opJSET, classJMP | opJSET | sourceX:
			if i+1+int(in.JT) >= len(p) || i+1+int(in.JF) >= len(p) {
				return linux.EINVAL
			}
			written[i+1+int(in.JT)] &= have
			written[i+1+int(in.JF)] &= have
			continue
		default:
			return linux.EINVAL
		}
		if in.Code&7 != classRET {
			written[i+1] &= have
		}
	}
	return nil
}

// run gives what a checked program returns for a call. It ends, since jumps go
// forward.
func run(p []Instruction, d *[sizeofData / 4]uint32) uint32 {
	var a, x uint32
	var m [memories]uint32
	for i := 0; i < len(p); i++ {
		in := &p[i]
		k := in.K
		switch in.Code & 7 {
		case classLD, classLDX:
			v := k
			switch in.Code & 0xe0 {
			case modeABS:
				v = d[k/4]
			case modeMEM:
				v = m[k]
			case modeLEN:
				v = sizeofData
			}
			if in.Code&7 == classLD {
				a = v
			} else {
				x = v
			}
		case classST:
			m[k] = a
		case classSTX:
			m[k] = x
		case classALU:
			if in.Code&sourceX != 0 {
				k = x
			}
			var ok bool
			if a, ok = arithmetic(in.Code&0xf0, a, k); !ok {
				return 0
			}
		case classJMP:
			if in.Code&sourceX != 0 {
				k = x
			}
			i += jump(in, a, k)
		case classRET:
			if in.Code&returnA != 0 {
				return a
			}
			return k
		case classMISC:
			if in.Code&txa != 0 {
				a = x
			} else {
				x = a
			}
		}
	}
	return 0
}

// arithmetic is a op k; false for a division by zero, which ends a program.
func arithmetic(op uint16, a, k uint32) (uint32, bool) {
	switch op {
	case opADD:
		a += k
	case opSUB:
		a -= k
	case opMUL:
		a *= k
	case opDIV:
		if k == 0 {
			return 0, false
		}
		a /= k
	case opAND:
		a &= k
	case opOR:
		a |= k
	case opXOR:
		a ^= k
	case opLSH:
		a <<= k & 31
	case opRSH:
		a >>= k & 31
	case opNEG:
		a = -a
	}
	return a, true
}

// jump is how many instructions are passed over.
func jump(in *Instruction, a, k uint32) int {
	var yes bool
	switch in.Code & 0xf0 {
	case opJA:
		return int(in.K)
	case opJEQ:
		yes = a == k
	case opJGT:
		yes = a > k
	case opJGE:
		yes = a >= k
	case opJSET:
		yes = a&k != 0
	}
	if yes {
		return int(in.JT)
	}
	return int(in.JF)
}
