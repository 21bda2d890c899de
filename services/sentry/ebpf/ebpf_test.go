package ebpf

import (
	"encoding/binary"
	"testing"

	"bulkhead/proto/linux"
)

func in(op, dst, src uint8, off int16, imm int32) []byte {
	b := []byte{op, dst | src<<4}
	b = binary.LittleEndian.AppendUint16(b, uint16(off))
	return binary.LittleEndian.AppendUint32(b, uint32(imm))
}

func text(ins ...[]byte) (all []byte) {
	for _, i := range ins {
		all = append(all, i...)
	}
	return all
}

var exit = in(0x95, 0, 0, 0, 0)

// onlyNull is such as run-times write: character device 1:3 may be read and written.
var onlyNull = text(
	in(0x61, 2, 1, 0, 0), in(0x54, 2, 0, 0, 0xffff), // w2 = kind
	in(0x61, 3, 1, 0, 0), in(0x74, 3, 0, 0, 16), // w3 = what is asked for
	in(0x61, 4, 1, 4, 0), in(0x61, 5, 1, 8, 0),
	in(0x55, 2, 0, 6, Char), // to the end
	in(0xbc, 1, 3, 0, 0), in(0x54, 1, 0, 0, 6), in(0x5d, 1, 3, 3, 0),
	in(0x55, 4, 0, 2, 1), in(0x55, 5, 0, 1, 3),
	in(0x05, 0, 0, 2, 0),
	in(0xb7, 0, 0, 0, 0), exit,
	in(0xb7, 0, 0, 0, 1), exit,
)

func TestRun(t *testing.T) {
	p, err := New(onlyNull, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(onlyNull, false); err != linux.EACCES {
		t.Errorf("of another type: %v", err)
	}
	for _, c := range []struct {
		a    Access
		want uint32
	}{
		{Access{Char | Read, 1, 3}, 1}, {Access{Char | Read | Write, 1, 3}, 1}, {Access{Char | Make, 1, 3}, 0},
		{Access{Block | Read, 1, 3}, 0}, {Access{Char | Read, 1, 5}, 0}, {Access{Char | Read, 5, 3}, 0},
	} {
		if got := p.Run(c.a); got != c.want {
			t.Errorf("%+v: %d", c.a, got)
		}
	}
}

func TestArithmetic(t *testing.T) {
	mov := func(v int32) []byte { return in(0xb7, 0, 0, 0, v) }
	for i, c := range []struct {
		text []byte
		want uint32
	}{
		{text(mov(-1), in(0x77, 0, 0, 0, 60), exit), 15},
		{text(mov(-1), in(0x74, 0, 0, 0, 28), exit), 15},
		{text(mov(-8), in(0xc4, 0, 0, 0, 1), exit), 0xfffffffc},
		{text(mov(7), in(0xb7, 2, 0, 0, 0), in(0x3f, 0, 2, 0, 0), exit), 0},
		{text(mov(7), in(0xb7, 2, 0, 0, 0), in(0x9f, 0, 2, 0, 0), exit), 7},
		{text(mov(7), in(0x97, 0, 0, 0, 4), exit), 3},
		{text(mov(7), in(0x87, 0, 0, 0, 0), exit), 0xfffffff9},
		{text(in(0x18, 0, 0, 0, 5), in(0, 0, 0, 0, 9), in(0x77, 0, 0, 0, 32), exit), 9},
		{text(mov(-1), in(0x65, 0, 0, 1, 0), mov(3), exit), 3},
		{text(mov(-1), in(0x25, 0, 0, 1, 0), mov(3), exit), 0xffffffff},
		{text(mov(1), in(0xb7, 2, 0, 0, 33), in(0x6c, 0, 2, 0, 0), exit), 2},
	} {
		p, err := New(c.text, true)
		if err != nil {
			t.Errorf("%d: %v", i, err)
		} else if got := p.Run(Access{}); got != c.want {
			t.Errorf("%d: %#x, want %#x", i, got, c.want)
		}
	}
}

// What is refused here the host's bpf(2) refuses too: test/posix compares them.
func TestNew_refuses(t *testing.T) {
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"nothing":            {nil, linux.EINVAL},
		"half":               {exit[:7], linux.EINVAL},
		"no end":             {in(0xb7, 0, 0, 0, 1), linux.EINVAL},
		"no answer":          {exit, linux.EACCES},
		"context as answer":  {text(in(0xbf, 0, 1, 0, 0), exit), linux.EINVAL},
		"a loop":             {text(in(0xb7, 0, 0, 0, 1), in(0x05, 0, 0, -2, 0), exit), linux.EINVAL},
		"far before":         {text(in(0xb7, 0, 0, 0, 1), in(0x05, 0, 0, -9, 0), exit), linux.EINVAL},
		"beyond the end":     {text(in(0xb7, 0, 0, 0, 1), in(0x15, 0, 0, 9, 0), exit), linux.EINVAL},
		"unreachable":        {text(in(0xb7, 0, 0, 0, 1), exit, exit), linux.EINVAL},
		"beyond the context": {text(in(0x61, 0, 1, 12, 0), exit), linux.EACCES},
		"before it":          {text(in(0x61, 0, 1, -4, 0), exit), linux.EACCES},
		"a store":            {text(in(0xb7, 0, 0, 0, 1), in(0x63, 1, 0, 0, 0), exit), linux.EACCES},
		"a call":             {text(in(0x85, 0, 0, 0, 1), exit), linux.EINVAL},
		"no such register":   {text(in(0xb7, 12, 0, 0, 1), exit), linux.EINVAL},
		"unset":              {text(in(0xbf, 0, 3, 0, 0), exit), linux.EACCES},
		"unset on one way":   {text(in(0x61, 2, 1, 0, 0), in(0x15, 2, 0, 1, 0), in(0xb7, 0, 0, 0, 1), exit), linux.EACCES},
		"into a wide load":   {text(in(0xb7, 0, 0, 0, 1), in(0x15, 0, 0, 1, 0), in(0x18, 0, 0, 0, 5), in(0, 0, 0, 0, 9), exit), linux.EINVAL},
		"divided by nothing": {text(in(0xb7, 0, 0, 0, 1), in(0x37, 0, 0, 0, 0), exit), linux.EINVAL},
		"too many":           {make([]byte, (mostInstructions+1)*instructionSize), linux.E2BIG},
	} {
		if _, err := New(c.text, true); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Nothing that New takes makes Run fail, or go on for ever.
func FuzzRun(f *testing.F) {
	f.Add(onlyNull)
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := New(text, true); err == nil {
			p.Run(Access{Char | Read, 1, 3})
		}
	})
}
