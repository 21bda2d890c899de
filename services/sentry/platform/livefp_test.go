package platform

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// fastLoop is a guest that calls by the fast lane again and again, and where its
// answers may send it: to an UD2, which shows all registers, and what is behind it.
func fastLoop(t testing.TB, m *Machine, behind ...byte) (th *Thread, ud2 uint64) {
	body := fastCall(m, unix.SYS_GETPGID)
	th = guest(t, m, join(body, []byte{0xeb, byte(-len(body) - 2)}, []byte{0x0f, 0x0b}, behind))
	return th, codeAt + uint64(len(body)) + 2
}

// others are registers of which each has a value of its own.
func others(n uint64) Regs {
	var r Regs
	for i, p := range []*uint64{&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15, &r.RDI, &r.RSI, &r.RBP, &r.RBX, &r.RDX, &r.RAX, &r.RCX, &r.RSP} {
		*p = n%0x4000<<32 | uint64(i+1)*0x0101
	}
	r.Segments, r.EFlags = UserSegments, 0x202
	return r
}

// TestFastLane_allRegisters: an answer with all registers goes by a jump, and no
// register nor flag is another than was asked for.
func TestFastLane_allRegisters(t *testing.T) {
	m := fastMachine(t)
	th, ud2 := fastLoop(t, m)
	flags := []uint64{0x202, 0x203, 0x206, 0x212, 0x242, 0x282, 0xa02, 0xed7, 0x602, 0x40202, 0x40ed7}
	for i, f := range flags {
		if expect(t, th, Syscall); !th.Fast() {
			t.Fatal("a trap")
		}
		want := others(uint64(i + 1))
		want.EFlags, want.RIP = f, ud2
		th.Regs = want
		th.Resume()
		if ev := expect(t, th, Fault); ev.Fault.Signal != linux.SIGILL {
			t.Fatalf("%+v", ev)
		}
		got := th.Regs
		got.EFlags &^= 0x10000 // RF: of the fault
		got.Err, got.TrapNo, got.OldMask, got.CR2 = 0, 0, 0, 0
		got.Segments |= want.Segments & (0xffff << 48)
		if got != want {
			t.Fatalf("flags %#x: the registers are %+v\nand were to be   %+v", f, got, want)
		}
		th.Regs.RIP, th.Regs.RSP, th.Regs.EFlags = codeAt, dataAt+0x4000, 0x202
		th.Resume()
	}
	th.Exit(true)
}

// TestFastLane_odd: what cannot be jumped to, or with, goes by the host's kernel.
func TestFastLane_odd(t *testing.T) {
	m := fastMachine(t)
	for _, c := range []struct {
		name        string
		rip, eflags uint64
		sig         linux.Signal
		stops       uint64
	}{
		{"no address", 1 << 63, 0x202, linux.SIGSEGV, 1 << 63},
		{"the stub", textAt, 0x302, linux.SIGTRAP, 0},
		{"a step", codeAt, 0x302, linux.SIGTRAP, codeAt + 5},
	} {
		th, _ := fastLoop(t, m)
		expect(t, th, Syscall)
		th.Regs.RIP, th.Regs.EFlags = c.rip, c.eflags
		th.Resume()
		ev := expect(t, th, Fault)
		if ev.Fault.Signal != c.sig || c.stops != 0 && th.Regs.RIP != c.stops {
			t.Errorf("%s: %+v at %#x", c.name, ev.Fault, th.Regs.RIP)
		}
		th.Exit(true)
	}
}

// TestFastLane_kickOnTheWayOut kicks a thread that an answer with all registers sends
// to a loop, where it would stay: wherever in the last instructions the kick lands, it
// comes out, with the registers as they were to be.
func TestFastLane_kickOnTheWayOut(t *testing.T) {
	m := fastMachine(t)
	th, ud2 := fastLoop(t, m, 0xeb, 0xfe)
	loop := ud2 + 2
	stuck := time.AfterFunc(20*time.Second, func() { th.proc.Kill() })
	defer stuck.Stop()
	for n := range uint64(1200) {
		expect(t, th, Syscall)
		want := others(n)
		want.RIP, want.EFlags = loop, 0x2d7
		th.Regs = want
		th.Resume()
		for range n % 400 {
			core()
		}
		th.Kick()
		expect(t, th, Kicked)
		got := th.Regs
		got.Err, got.TrapNo, got.OldMask, got.CR2, got.Segments = 0, 0, 0, 0, want.Segments
		if got != want {
			t.Fatalf("%d: the registers are %+v\nand were to be   %+v", n, got, want)
		}
		th.Regs = Regs{RIP: codeAt, RSP: dataAt + 0x4000, Segments: th.Regs.Segments, EFlags: 0x202}
		th.Resume()
	}
	th.Exit(true)
}

// TestStub_kickInTheLastInstructions has a kick arrive at each byte of the last
// instructions of the fast lane: it waits while the sentry serves the thread, which
// goes on there. They must start again, see it, and stop with the answer's registers.
func TestStub_kickInTheLastInstructions(t *testing.T) {
	m := fastMachine(t)
	text, err := stubText()
	if err != nil {
		t.Fatal(err)
	}
	var marks [0x100]byte
	if err := encodeMarks(marks[:], text); err != nil {
		t.Fatal(err)
	}
	mark := func(at int) uint64 { return binary.LittleEndian.Uint64(marks[at:]) }
	th := guest(t, m, call(1000))
	expect(t, th, Syscall)
	stuck := time.AfterFunc(20*time.Second, func() { th.proc.Kill() })
	defer stuck.Stop()
	for _, window := range [][2]int{{markFinal, markFinalEnd}, {markRegs, markRegsEnd}} {
		start, end := mark(window[0]), mark(window[1])
		if start >= end || end-start > 256 {
			t.Fatalf("from %#x to %#x", start, end)
		}
		for rip := start; rip < end; rip++ {
			want := others(rip - start)
			want.RIP = rip
			th.Kick()
			th.Regs = want
			th.Resume()
			expect(t, th, Kicked)
			th.Regs.Segments |= want.Segments
			if th.Regs != want {
				t.Fatalf("%#x: the registers are %+v\nand were to be   %+v", rip-start, th.Regs, want)
			}
		}
	}
	th.Exit(true)
}

// vectorCode loads zmm17 and k1 from dataAt, calls, and stores them at dataAt+0x100.
func vectorCode(m *Machine) []byte {
	le := binary.LittleEndian
	load := le.AppendUint32([]byte{0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x0c, 0x25}, dataAt)
	load = le.AppendUint32(append(load, 0xc4, 0xe1, 0xf8, 0x90, 0x0c, 0x25), dataAt+0x40)
	store := le.AppendUint32([]byte{0x62, 0xe1, 0xfe, 0x48, 0x7f, 0x0c, 0x25}, dataAt+0x100)
	store = le.AppendUint32(append(store, 0xc4, 0xe1, 0xf8, 0x91, 0x0c, 0x25), dataAt+0x140)
	body := join(load, fastCall(m, unix.SYS_GETPGID), store)
	return join(call(1000), body, []byte{0xeb, byte(-len(body) - 2)})
}

// TestFastLane_liveState moves the extended state out of the processor and back, as
// for a signal's frame and from it, and fails where nothing is mapped.
func TestFastLane_liveState(t *testing.T) {
	m := fastMachine(t)
	if m.fpComponents()&0xe0 != 0xe0 {
		t.Skip("this processor has no AVX-512")
	}
	const at, end = dataAt + 0x1000, dataAt + 0x4000
	th := guest(t, m, vectorCode(m))
	expect(t, th, Syscall)
	data := make([]byte, 72)
	for i := range data {
		data[i] = byte(i + 1)
	}
	th.CopyOut(dataAt, data)
	th.Return(0)
	size := uint64(m.FPSize)
	state := make([]byte, size)
	read := func() {
		t.Helper()
		if err := th.proc.CopyIn(at, state); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(want []byte) {
		t.Helper()
		th.Return(0)
		expect(t, th, Syscall)
		got := make([]byte, 72)
		if err := th.proc.CopyIn(dataAt+0x100, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v: the vectors are %x", err, got)
		}
	}
	expect(t, th, Syscall)
	zero := make([]byte, 72)
	if !th.SaveFP(at) || !th.ResetFP() {
		t.Fatal("no orders")
	}
	kept(zero)
	read()
	if le := binary.LittleEndian; le.Uint32(state[FPReserved:]) != FPMagic1 || le.Uint32(state[size-4:]) != FPMagic2 ||
		le.Uint64(state[fpHeader:])&0xa3 != 0xa3 || !bytes.Contains(state, data[:64]) {
		t.Fatalf("saved %x", state)
	}
	reserved := append([]byte(nil), state[FPReserved:FPLegacySize]...)
	th.LoadFP(at, reserved)
	kept(data)

	fails := func(what string, order func(), op int) {
		t.Helper()
		order()
		th.Return(0)
		if ev := th.Next(); ev.Kind != CallFailed || ev.Op != op || ev.Err != linux.EFAULT {
			t.Fatalf("%s: %+v", what, ev)
		}
	}
	fails("to where nothing is", func() { th.SaveFP(end + 0x1000) }, 0)
	fails("beyond the end", func() { th.SaveFP(end - 0x400) }, 1)
	fails("to the code", func() { th.SaveFP(codeAt) }, 0)
	fails("from where nothing is", func() { th.LoadFP(end+0x1000, reserved) }, 0)
	kept(zero) // as the last has left it, and with the stack pointer it had
	for name, spoil := range map[string]func(p []byte){
		"MXCSR":            func(p []byte) { p[27] = 0x80 },
		"compacted":        func(p []byte) { p[fpHeader+15] = 0x80 },
		"no component":     func(p []byte) { p[fpHeader+7] = 0x40 },
		"reserved":         func(p []byte) { p[fpHeader+20] = 1 },
		"MXCSR, by legacy": func(p []byte) { p[27], p[size-1] = 0x80, 0 },
	} {
		bad := append([]byte(nil), state...)
		spoil(bad)
		fails(name, func() { th.CopyOut(at, bad); th.LoadFP(at, reserved) }, 1)
		kept(zero)
	}
	th.CopyOut(at, state)
	th.LoadFP(at+8, reserved)
	th.Return(0)
	if ev := th.Next(); ev.Kind != CallFailed {
		t.Fatalf("a crooked state: %+v", ev)
	}
	th.Exit(true)
}
