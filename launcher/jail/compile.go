package jail

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data: seccomp(2).
const (
	dataCall = 0
	dataArch = 4
	dataArgs = 16
)

// x32Bit marks the calls of the x32 ABI, which share x86-64's audit number.
const x32Bit = 0x40000000

// Actions of a filter: seccomp(2).
const (
	actKill  = unix.SECCOMP_RET_KILL_PROCESS
	actTrap  = unix.SECCOMP_RET_TRAP
	actErrno = unix.SECCOMP_RET_ERRNO
	actAllow = unix.SECCOMP_RET_ALLOW
)

// Program is the filter as the kernel takes it. A foreign ABI kills at once;
// any other call that no rule lets through raises SIGSYS, by which Go's runtime
// ends the process and tells the call's number (see Forbidden).
func (f Filter) Program() ([]bpf.RawInstruction, error) {
	code, err := f.assemble()
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(code)
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	if len(raw) > 4096 {
		return nil, fmt.Errorf("assemble filter: %d instructions, the kernel takes 4096", len(raw))
	}
	return raw, nil
}

func (f Filter) assemble() ([]bpf.Instruction, error) {
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AUDIT_ARCH_X86_64, SkipTrue: 1},
		bpf.RetConstant{Val: actKill},
		bpf.LoadAbsolute{Off: dataCall, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipFalse: 1},
		bpf.RetConstant{Val: actKill},
	}
	seen := map[uint32]bool{}
	for _, r := range f {
		if seen[r.call] {
			continue
		}
		seen[r.call] = true
		block, err := f.block(r.call)
		if err != nil {
			return nil, fmt.Errorf("rules of %s: %w", CallName(r.call), err)
		}
		if len(block) > 255 {
			return nil, fmt.Errorf("rules of %s: %d instructions, a jump reaches 255", CallName(r.call), len(block))
		}
		code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.call, SkipFalse: uint8(len(block))})
		code = append(code, block...)
	}
	return append(code, bpf.RetConstant{Val: actTrap}), nil
}

// block decides about one call: each of its rules in order, then the trap.
func (f Filter) block(call uint32) ([]bpf.Instruction, error) {
	var code []bpf.Instruction
	for _, r := range f {
		if r.call != call {
			continue
		}
		rule, err := r.code()
		if err != nil {
			return nil, err
		}
		code = append(code, rule...)
		if len(r.checks) == 0 {
			return code, nil // what follows would never be reached
		}
	}
	return append(code, bpf.RetConstant{Val: actTrap}), nil
}

// code ends in the rule's action, or falls out at its end if a check fails.
func (r Rule) code() ([]bpf.Instruction, error) {
	action := uint32(actAllow)
	if r.errno != 0 {
		action = actErrno | uint32(r.errno)
	}
	code := []bpf.Instruction{bpf.RetConstant{Val: action}}
	for i := len(r.checks) - 1; i >= 0; i-- {
		c := r.checks[i]
		if c.arg < 0 || c.arg > 5 || len(c.values) == 0 {
			return nil, fmt.Errorf("check of argument %d with %d values", c.arg, len(c.values))
		}
		code = append(c.code(len(code)), code...)
		if len(code) > 255 {
			return nil, fmt.Errorf("%d instructions, a jump reaches 255", len(code))
		}
	}
	return code, nil
}

// code runs on into the next instruction if the check holds, and skips rest
// instructions more if it does not.
func (c Check) code(rest int) []bpf.Instruction {
	low, high := uint32(dataArgs+8*c.arg), uint32(dataArgs+8*c.arg+4)
	var code []bpf.Instruction
	if !c.wide {
		code = append(code, bpf.LoadAbsolute{Off: low, Size: 4})
		for i, v := range c.values {
			left := len(c.values) - 1 - i
			// On the last value a miss fails; a hit skips what is left and the way out.
			code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v), SkipTrue: uint8(left + 1)})
		}
		return append(code, bpf.Jump{Skip: uint32(rest)})
	}
	const each = 6
	for i, v := range c.values {
		left := (len(c.values) - 1 - i) * each
		code = append(code,
			bpf.LoadAbsolute{Off: high, Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.mask >> 32)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v >> 32), SkipFalse: 3},
			bpf.LoadAbsolute{Off: low, Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.mask)},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(v), SkipTrue: uint8(left + 1)},
		)
	}
	return append(code, bpf.Jump{Skip: uint32(rest)})
}
