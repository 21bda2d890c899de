package ebpf

import "encoding/binary"

// Run gives what the program answers, in r0.
func (p *Program) Run(a Access) uint32 {
	var ctx [contextSize]byte
	binary.LittleEndian.PutUint32(ctx[0:], a.Kind)
	binary.LittleEndian.PutUint32(ctx[4:], a.Major)
	binary.LittleEndian.PutUint32(ctx[8:], a.Minor)
	var r [registers]uint64
	for at := 0; at < len(p.code); at++ { // it was checked: it only leads forwards
		in := &p.code[at]
		operand := uint64(int64(in.imm))
		if in.op&sourceReg != 0 {
			operand = r[in.src]
		}
		switch in.op & classMask {
		case classLD:
			r[in.dst] = in.wide
			at++
		case classLDX:
			r[in.dst] = load(ctx[in.off:], in.size())
		case classALU:
			r[in.dst] = uint64(alu32(in.op&opMask, uint32(r[in.dst]), uint32(operand)))
		case classA64:
			r[in.dst] = alu64(in.op&opMask, r[in.dst], operand)
		case classJMP:
			if in.op&opMask == jumpExit {
				return uint32(r[0])
			}
			if jumps(in.op&opMask, r[in.dst], operand, int64(r[in.dst]), int64(operand)) {
				at += int(in.off)
			}
		case classJ32:
			a, b := uint32(r[in.dst]), uint32(operand)
			if jumps(in.op&opMask, uint64(a), uint64(b), int64(int32(a)), int64(int32(b))) {
				at += int(in.off)
			}
		}
	}
	return 0
}

func load(b []byte, size int) uint64 {
	switch size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	}
	return uint64(binary.LittleEndian.Uint32(b))
}

// alu64 is one operation of arithmetic: RFC 9669, section 4.1.
func alu64(op uint8, a, b uint64) uint64 {
	switch op {
	case 0x00:
		return a + b
	case 0x10:
		return a - b
	case 0x20:
		return a * b
	case 0x30:
		if b == 0 {
			return 0
		}
		return a / b
	case 0x40:
		return a | b
	case 0x50:
		return a & b
	case 0x60:
		return a << (b & 63)
	case 0x70:
		return a >> (b & 63)
	case aluNeg:
		return -a
	case 0x90:
		if b == 0 {
			return a
		}
		return a % b
	case 0xa0:
		return a ^ b
	case aluMov:
		return b
	case 0xc0:
		return uint64(int64(a) >> (b & 63))
	}
	return 0
}

// alu32 is the same of 32 bits, where shifts are other ones.
func alu32(op uint8, a, b uint32) uint32 {
	switch op {
	case 0x60:
		return a << (b & 31)
	case 0x70:
		return a >> (b & 31)
	case 0xc0:
		return uint32(int32(a) >> (b & 31))
	}
	return uint32(alu64(op, uint64(a), uint64(b)))
}

// jumps says whether a jump is made: section 4.3. The numbers come with a sign, too.
func jumps(op uint8, a, b uint64, sa, sb int64) bool {
	switch op {
	case jumpAlways:
		return true
	case 0x10:
		return a == b
	case 0x20:
		return a > b
	case 0x30:
		return a >= b
	case 0x40:
		return a&b != 0
	case 0x50:
		return a != b
	case 0x60:
		return sa > sb
	case 0x70:
		return sa >= sb
	case 0xa0:
		return a < b
	case 0xb0:
		return a <= b
	case 0xc0:
		return sa < sb
	case 0xd0:
		return sa <= sb
	}
	return false
}
