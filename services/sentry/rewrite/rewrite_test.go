package rewrite

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

func code(t *testing.T, text string) []byte {
	p, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// filler is code that decodes the same from everywhere.
var filler = strings.Repeat("90", 80)

func TestMake_shapes(t *testing.T) {
	for _, c := range []struct {
		name, before, after string
		nr                  uint64
		shape               Shape
		start, length       int
		ok                  bool
	}{
		{"glibc, number before", "b827000000", "c3", 39, Before, -5, 5, true},
		{"signal restorer, wide number", "48c7c00f000000", "0f1f80", 15, Before, -7, 7, true},
		{"glibc read: comparison after", "31c0", "483d00f0ffff 7756", 0, Over, 0, 8, true},
		{"glibc read of many threads: a displacement like a jump to within the comparison",
			"4883ec28488954241848897424 10897c2408e849d5f8ff488b542418488b7424104189c08b7c240831c0", "483d00f0ffff 7734", 0, Over, 0, 8, true},
		{"Go's Syscall6", "4889ce4889df", "483d01f0ffff 7624", 3, Over, 0, 8, true},
		{"glibc syscall(3): a stack argument before", "4c8b4c2408", "483d01f0ffff", 9, Before, -5, 5, true},
		{"another number than was seen", "b827000000", "483d00f0ffff", 40, Over, 0, 8, true},
		{"musl: test and more", "4889d6", "4885c0 4889c3", 1, Over, 0, 5, true},
		{"return at once", "4889d6", "c3", 1, 0, 0, 0, false},
		{"relative to RIP before and a jump after", "488b0500000000", "7e10 4889c3", 1, 0, 0, 0, false},
		{"a prefix may belong to the number", "41b827000000", "c3", 39, Before, -6, 6, true},
	} {
		head := code(t, filler+c.before)
		got, ok := Make(append(append(head, 0x0f, 0x05), code(t, c.after+filler)...), len(head), c.nr)
		if ok != c.ok || ok && (got.Shape != c.shape || got.Start != c.start || got.Len != c.length) {
			t.Errorf("%s: %+v, %v", c.name, got, ok)
		}
	}
}

func TestMake_jumpIntoTheWindow(t *testing.T) {
	// jmp to the comparison behind the call: eb 02, then the call.
	head := code(t, filler+"31c0eb02")
	if p, ok := Make(append(append(head, 0x0f, 0x05), code(t, "483d00f0ffff"+filler)...), len(head), 0); ok {
		t.Fatalf("planned %+v", p)
	}
}

// TestSite_addresses walks through a trampoline and expects each instruction of
// it to stand for one of the original.
func TestSite_addresses(t *testing.T) {
	page := uint64(0x7f00_0000_0000)
	for _, p := range []Plan{
		{Before, -5, 5, []byte{0xb8, 39, 0, 0, 0}},
		{Over, 0, 8, []byte{0x48, 0x3d, 0, 0xf0, 0xff, 0xff}},
		{Over, 0, 8, []byte{0x48, 0x85, 0xc0, 0x48, 0x89, 0xc3}},
	} {
		s := Site{Plan: p, Syscall: page + 0x7fff_0000, Trampoline: TrampolineAt(page, 3)}
		b := s.Bytes(page)
		if len(b) > TrampolineSize {
			t.Fatalf("%d bytes", len(b))
		}
		var ops []string
		for at := 0; at < len(b); {
			inst, err := x86asm.Decode(b[at:], 64)
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, inst.Op.String())
			rip := s.Trampoline + uint64(at)
			seen, ok := s.Visible(rip)
			if !ok {
				t.Errorf("%v at +%d stands for nothing", inst, at)
			}
			if back, ok := s.Actual(seen); ok && back != rip {
				t.Errorf("%v at +%d: visible %#x, actual %#x", inst, at, seen, back)
			}
			at += inst.Len
			if inst.Op == x86asm.JMP && at == len(b) {
				rel := inst.Args[0].(x86asm.Rel)
				if got := s.Trampoline + uint64(at) + uint64(int64(rel)); got != s.back() {
					t.Errorf("goes back to %#x, want %#x", got, s.back())
				}
			}
		}
		j := s.Jump()
		inst, _ := x86asm.Decode(j[:], 64)
		if rel, ok := inst.Args[0].(x86asm.Rel); !ok || s.Window()+5+uint64(int64(rel)) != s.Trampoline {
			t.Errorf("jumps to %v", inst)
		}
		if strings.Count(strings.Join(ops, " "), "SYSCALL") != 1 {
			t.Errorf("%v", ops)
		}
	}
}

// TestMake_programs plans all sites of the machine's C library and of this
// program, as coverage of what compilers make: four of five must have a plan.
func TestMake_programs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/lib/x86_64-linux-gnu/libc.so.6", self} {
		f, err := elf.Open(name)
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		text, err := f.Section(".text").Data()
		if err != nil {
			t.Fatal(err)
		}
		all, planned := 0, [2]int{}
		for at := 0; at < len(text); {
			i := bytes.Index(text[at:], []byte{0x0f, 0x05})
			if i < 0 {
				break
			}
			at += i
			from, to := max(0, at-Reach), min(len(text), at+Reach)
			nr := uint64(0)
			if at >= 5 && text[at-5] == 0xb8 {
				nr = uint64(text[at-4]) | uint64(text[at-3])<<8
			}
			all++
			if p, ok := Make(text[from:to], at-from, nr); ok {
				planned[p.Shape]++
			}
			at += 2
		}
		t.Logf("%s: %d sites, %d before, %d over", name, all, planned[Before], planned[Over])
		if strings.Contains(name, "libc.so") && (planned[0]+planned[1])*10 < all*8 {
			t.Errorf("%s: only %v of %d sites have a plan", name, planned, all)
		}
	}
}

func FuzzMake(f *testing.F) {
	f.Add([]byte{0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff}, 5, uint64(39))
	f.Fuzz(func(t *testing.T, p []byte, at int, nr uint64) {
		plan, ok := Make(p, at, nr)
		if !ok {
			return
		}
		if plan.Len < JumpLen || at+plan.Start < 0 || at+plan.Start+plan.Len > len(p) {
			t.Fatalf("%+v", plan)
		}
		s := Site{Plan: plan, Syscall: 0x40_0000, Trampoline: TrampolineAt(0x1000_0000, 0)}
		if n := len(s.Bytes(0x1000_0000)); n > TrampolineSize {
			t.Fatalf("%d bytes: %+v", n, plan)
		}
	})
}
