package seccomp

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/bpf"

	"bulkhead/proto/linux"
)

func ret(k uint32) Instruction { return Instruction{Code: classRET, K: k} }

// TestCheck: what could not be run is refused.
func TestCheck(t *testing.T) {
	load := Instruction{Code: classLD | modeABS}
	for _, c := range []struct {
		name string
		p    []Instruction
		err  error
	}{
		{"nothing", nil, linux.EINVAL},
		{"allow", []Instruction{ret(0x7fff0000)}, nil},
		{"no return", []Instruction{load}, linux.EINVAL},
		{"a load that is not aligned", []Instruction{{Code: classLD | modeABS, K: 2}, ret(0)}, linux.EINVAL},
		{"a load beyond", []Instruction{{Code: classLD | modeABS, K: 64}, ret(0)}, linux.EINVAL},
		{"a load of a byte", []Instruction{{Code: classLD | modeABS | 0x10}, ret(0)}, linux.EINVAL},
		{"division by zero", []Instruction{{Code: classALU | opDIV}, ret(0)}, linux.EINVAL},
		{"a long shift", []Instruction{{Code: classALU | opLSH, K: 32}, ret(0)}, linux.EINVAL},
		{"memory beyond", []Instruction{{Code: classST, K: 16}, ret(0)}, linux.EINVAL},
		{"memory not written", []Instruction{{Code: classLD | modeMEM, K: 1}, ret(0)}, linux.EINVAL},
		{"memory written", []Instruction{{Code: classST, K: 1}, {Code: classLD | modeMEM, K: 1}, ret(0)}, nil},
		{"memory written on one way", []Instruction{{Code: classJMP | opJEQ, JT: 1}, {Code: classST, K: 1}, {Code: classLD | modeMEM, K: 1}, ret(0)}, linux.EINVAL},
		{"a jump beyond", []Instruction{{Code: classJMP | opJEQ, JT: 1}, ret(0)}, linux.EINVAL},
		{"a long jump", []Instruction{{Code: classJMP | opJA, K: 0xffffffff}, ret(0)}, linux.EINVAL},
		{"too long", make([]Instruction, MaxInstructions+1), linux.EINVAL},
	} {
		if err := check(c.p); err != c.err {
			t.Errorf("%s: %v, not %v", c.name, err, c.err)
		}
	}
}

// TestDecide: the most severe action wins, and of two the same the newest.
func TestDecide(t *testing.T) {
	var f *Filter
	for _, c := range []struct {
		add, want uint32
	}{
		{0x7fff0000, 0x7fff0000}, {0x00050001, 0x00050001}, {0x00050002, 0x00050002}, {0x7fff0000, 0x00050002},
		{0x00030000, 0x00030000}, {0, 0}, {0x80000000, 0x80000000}, {0, 0x80000000},
	} {
		var err error
		if f, err = New(f, []Instruction{ret(c.add)}); err != nil {
			t.Fatal(err)
		}
		if a, data := f.Decide(&Data{}); uint32(a)|uint32(data) != c.want {
			t.Errorf("with %#x: %#x, not %#x", c.add, uint32(a)|uint32(data), c.want)
		}
	}
	if f.Count() != 8 {
		t.Errorf("%d filters", f.Count())
	}
}

// TestLength: all filters of a thread together are bounded.
func TestLength(t *testing.T) {
	long := make([]Instruction, MaxInstructions)
	for i := range long {
		long[i] = ret(0x7fff0000)
	}
	var f *Filter
	for n := 0; ; n++ {
		g, err := New(f, long)
		if err == linux.ENOMEM {
			if n != 7 {
				t.Errorf("%d of 4096 instructions", n)
			}
			return
		}
		f = g
	}
}

// FuzzProgram: a program that is accepted ends, without a panic, with what another
// interpreter makes of it, which takes words in the network's order.
func FuzzProgram(f *testing.F) {
	f.Add([]byte{0x20, 0, 0, 0, 4, 0, 0, 0, 0x15, 0, 0, 1, 0x3e, 0, 0, 0xc0, 6, 0, 0, 0, 0, 0, 0xff, 0x7f, 6, 0, 0, 0, 0, 0, 0, 0}, uint64(1), uint64(2))
	f.Add([]byte{2, 0, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 1, 0, 0, 0, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0}, uint64(3), uint64(4))
	f.Fuzz(func(t *testing.T, b []byte, a0, a1 uint64) {
		p := ReadInstructions(b)
		if check(p) != nil {
			return
		}
		d := Data{Number: 257, Arch: 0xc000003e, IP: 0x401000, Args: [6]uint64{a0, a1, a0 ^ a1, a0 + a1, 0, ^a0}}
		words := d.words()
		got := run(p, &words)
		if want, ok := oracle(p, &words); ok && got != want {
			t.Errorf("%v: %#x, the other says %#x", p, got, want)
		}
	})
}

func oracle(p []Instruction, words *[16]uint32) (uint32, bool) {
	var raw []bpf.RawInstruction
	var packet [64]byte
	for i, w := range words {
		binary.BigEndian.PutUint32(packet[4*i:], w)
	}
	for _, in := range p {
		switch {
		case in.Code == classALU|opNEG, in.Code&0xff0f == classALU|sourceX && (in.Code&0xf0 == opLSH || in.Code&0xf0 == opRSH):
			return 0, false // shifts by X beyond 31 are not Linux's there
		case in.Code&0xe7 == classLD|modeLEN, in.Code&0xe7 == classLDX|modeLEN:
			return 0, false
		}
		raw = append(raw, bpf.RawInstruction{Op: in.Code, Jt: in.JT, Jf: in.JF, K: in.K})
	}
	list, all := bpf.Disassemble(raw)
	if !all {
		return 0, false
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		return 0, false
	}
	n, err := vm.Run(packet[:])
	return uint32(n), err == nil
}

// Filters are numbered from the oldest on, and told as they were given.
func TestFilter_nth(t *testing.T) {
	var f *Filter
	var all [][]Instruction
	for i := range uint32(3) {
		program := []Instruction{ret(uint32(Allow) | i)}
		next, err := New(f, program)
		if err != nil {
			t.Fatal(err)
		}
		f, all = next, append(all, program)
	}
	for i, want := range all {
		got := f.Nth(uint64(i))
		if got == nil || !slices.Equal(ReadInstructions(AppendInstructions(nil, got.Program())), want) {
			t.Errorf("filter %d is %v, not %v", i, got, want)
		}
	}
	for _, past := range []uint64{3, 1 << 63} {
		if got := f.Nth(past); got != nil {
			t.Errorf("filter %d is %v", past, got)
		}
	}
	if (*Filter)(nil).Nth(0) != nil {
		t.Error("there is one where there is none")
	}
}
