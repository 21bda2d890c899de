package platform

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// fastCall is a trampoline as package rewrite makes it, with the call's number
// before it: mov eax, nr; lea r11, [rip+6]; jmp [rip+x]; syscall; the pointer is
// jumped over.
func fastCall(m *Machine, nr uint32) []byte {
	p := []byte{0xb8, byte(nr), byte(nr >> 8), 0, 0, 0x4c, 0x8d, 0x1d, 6, 0, 0, 0, 0xff, 0x25, 4, 0, 0, 0, 0x0f, 0x05, 0xeb, 8}
	return binary.LittleEndian.AppendUint64(p, m.FastEntry())
}

func fastMachine(t testing.TB) *Machine {
	m := machine(t)
	if m.FastEntry() == 0 {
		t.Fatal("no fast lane")
	}
	return m
}

// loadRegs sets every register that a call keeps to a value of its own:
// movabs; then cmp eax, imm and the direction the flags take.
var loadRegs = []byte{
	0x48, 0xbb, 1, 1, 1, 1, 1, 1, 1, 1, // rbx
	0x48, 0xbd, 2, 2, 2, 2, 2, 2, 2, 2, // rbp
	0x49, 0xbc, 3, 3, 3, 3, 3, 3, 3, 3, // r12
	0x49, 0xbd, 4, 4, 4, 4, 4, 4, 4, 4, // r13
	0x49, 0xbe, 5, 5, 5, 5, 5, 5, 5, 5, // r14
	0x49, 0xbf, 6, 6, 6, 6, 6, 6, 6, 6, // r15
	0x48, 0xbf, 7, 7, 7, 7, 7, 7, 7, 7, // rdi
	0x48, 0xbe, 8, 8, 8, 8, 8, 8, 8, 8, // rsi
	0x48, 0xba, 9, 9, 9, 9, 9, 9, 9, 9, // rdx
	0x49, 0xb8, 10, 10, 10, 10, 10, 10, 10, 10, // r8
	0x49, 0xb9, 11, 11, 11, 11, 11, 11, 11, 11, // r9
	0x49, 0xba, 12, 12, 12, 12, 12, 12, 12, 12, // r10
}

// overflow sets the overflow, sign, auxiliary and no carry flag: mov al, 0x7f;
// inc al.
var overflow = []byte{0xb0, 0x7f, 0xfe, 0xc0}

func keeps(t *testing.T, before, after Regs) {
	t.Helper()
	after.RAX, after.RCX, after.R11, after.RIP = before.RAX, before.RCX, before.R11, before.RIP
	after.Segments, after.Err, after.TrapNo, after.OldMask, after.CR2 = before.Segments, before.Err, before.TrapNo, before.OldMask, before.CR2
	before.EFlags, after.EFlags = before.EFlags|0x202, after.EFlags|0x202
	if before != after {
		t.Fatalf("the registers were %+v\nand are       %+v", before, after)
	}
}

func TestFastLane_keepsRegistersAndFlags(t *testing.T) {
	m := fastMachine(t)
	th := guest(t, m, join(loadRegs, overflow, call(1000), overflow, fastCall(m, unix.SYS_GETPGID), call(1001)))
	expect(t, th, Syscall)
	if th.Fast() {
		t.Fatal("a trap that claims to be fast")
	}
	before := th.Regs
	th.Return(0)
	expect(t, th, Syscall)
	if !th.Fast() || th.Regs.RAX != unix.SYS_GETPGID {
		t.Fatalf("call %d, fast %v", th.Regs.RAX, th.Fast())
	}
	keeps(t, before, th.Regs)
	th.Return(0x1234_5678_9abc)
	expect(t, th, Syscall)
	keeps(t, before, th.Regs)
	if th.Fast() || th.Regs.RAX != 1001 {
		t.Fatalf("call %d", th.Regs.RAX)
	}
	th.Exit(true)
}

func TestFastLane_upgradeKeepsEverything(t *testing.T) {
	m := fastMachine(t)
	th := guest(t, m, join(loadRegs, overflow, fastCall(m, unix.SYS_GETPGID), []byte{0x90}, call(1001)))
	expect(t, th, Syscall)
	before := th.Regs
	if ev, ok := th.Upgrade(); !ok {
		t.Fatalf("upgrade: %+v", ev)
	}
	keeps(t, before, th.Regs)
	if _, ok := th.Frame(); !ok || th.Fast() {
		t.Fatal("no frame after the upgrade")
	}
	th.Return(5)
	expect(t, th, Syscall)
	keeps(t, before, th.Regs)

	th = guest(t, m, join(loadRegs, fastCall(m, unix.SYS_GETPGID), []byte{0x90}, call(1001)))
	expect(t, th, Syscall)
	th.Regs.RBX, th.Regs.RAX = 77, 1002
	th.Regs.EFlags |= 1
	before = th.Regs
	th.Regs.RIP = codeAt + uint64(len(loadRegs)+len(fastCall(m, 0))) + 1 + 5 // the SYSCALL of the last call
	th.Resume()
	expect(t, th, Syscall)
	if th.Regs.RAX != 1002 {
		t.Fatalf("call %d", th.Regs.RAX)
	}
	keeps(t, before, th.Regs)
}

func TestFastLane_failedHostCallStopsAnUpgrade(t *testing.T) {
	m := fastMachine(t)
	th := guest(t, m, join(fastCall(m, unix.SYS_GETPGID), call(1001)))
	expect(t, th, Syscall)
	th.CopyOut(0x1000_0000, []byte("x"))
	if ev, ok := th.Upgrade(); ok || ev.Kind != CallFailed {
		t.Fatalf("%+v, %v", ev, ok)
	}
	if ev, ok := th.Upgrade(); !ok {
		t.Fatalf("%+v", ev)
	}
	th.Return(0)
	expect(t, th, Syscall)
}

func TestFastLane_selfWords(t *testing.T) {
	m := fastMachine(t)
	th := guest(t, m, join(call(1000), overflow, fastCall(m, unix.SYS_GETPID), []byte{0x89, 0xc7}, call(1001)))
	expect(t, th, Syscall)
	th.SetSelf(SelfPID, 4242)
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX != 1001 || th.Regs.RDI != 4242 {
		t.Fatalf("call %d with %d", th.Regs.RAX, th.Regs.RDI)
	}
	th.Exit(true)
}

func TestFastLane_trapCallsTrap(t *testing.T) {
	m := fastMachine(t)
	th := guest(t, m, join(overflow, fastCall(m, unix.SYS_ARCH_PRCTL), fastCall(m, 700), call(1001)))
	for _, nr := range []uint64{unix.SYS_ARCH_PRCTL, 700} {
		expect(t, th, Syscall)
		if th.Fast() || th.Regs.RAX != nr || th.Regs.EFlags&0x8d5 != 0x890 {
			t.Fatalf("call %d, fast %v, flags %#x", th.Regs.RAX, th.Fast(), th.Regs.EFlags)
		}
		th.Return(0) // the flags go on to the next
	}
}

// TestFastLane_exits ends a process from the fast lane, which has no ucontext.
func TestFastLane_exits(t *testing.T) {
	m := fastMachine(t)
	for _, nr := range []uint32{unix.SYS_EXIT, unix.SYS_EXIT_GROUP} {
		th := guest(t, m, join(fastCall(m, nr), call(1001)))
		expect(t, th, Syscall)
		if !th.Fast() || th.Regs.RAX != uint64(nr) {
			t.Fatalf("call %d, fast %v", th.Regs.RAX, th.Fast())
		}
		p := th.Process()
		th.Exit(nr == unix.SYS_EXIT_GROUP)
		select {
		case <-p.Dead():
		case <-time.After(30 * time.Second):
			t.Fatalf("call %d: the process goes on", nr)
		}
		if ws := p.Status(); !ws.Exited() {
			t.Fatalf("call %d: it ended with %#x", nr, ws)
		}
	}
}

// TestFastLane_foreignGSTraps has the guest's own GS base lead to memory of the
// guest's, and to none.
func TestFastLane_foreignGSTraps(t *testing.T) {
	m := fastMachine(t)
	for _, base := range []uint64{dataAt, 0x1234_5678_9000} {
		th := guest(t, m, join(call(1000), fastCall(m, unix.SYS_GETPGID), call(1001)))
		expect(t, th, Syscall)
		th.SetGS(base)
		th.Return(0)
		expect(t, th, Syscall)
		if th.Fast() || th.Regs.RAX != unix.SYS_GETPGID {
			t.Fatalf("GS base %#x: call %d, fast %v", base, th.Regs.RAX, th.Fast())
		}
		th.SetGS(0)
		th.Return(0)
		expect(t, th, Syscall)
		th.Exit(true)
	}
}

func TestFastLane_foreignGSByInstruction(t *testing.T) {
	m := fastMachine(t)
	if !m.gsBase {
		t.Skip("the host does not let user code write the GS base")
	}
	// mov eax, dataAt; wrgsbase rax
	th := guest(t, m, join([]byte{0xb8, 0, 0, 0x50, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8}, fastCall(m, unix.SYS_GETPGID), call(1001)))
	expect(t, th, Syscall)
	if th.Fast() || th.Regs.RAX != unix.SYS_GETPGID {
		t.Fatalf("call %d, fast %v", th.Regs.RAX, th.Fast())
	}
	th.Exit(true)
}

// TestFastLane_kicksAreNeverLost kicks a thread that does nothing but calls: each
// kick must come out as an event, or with a call.
func TestFastLane_kicksAreNeverLost(t *testing.T) {
	m := fastMachine(t)
	for _, nr := range []uint32{unix.SYS_GETPGID, unix.SYS_GETPID} {
		// loop: fast call; jmp loop
		body := fastCall(m, nr)
		th := guest(t, m, join(call(1000), body, []byte{0xeb, byte(-len(body) - 2)}))
		expect(t, th, Syscall)
		th.SetSelf(SelfPID, 1)
		th.Return(0)
		for range 2000 {
			th.Kick()
			for kicked := false; !kicked; {
				switch ev := th.Next(); ev.Kind {
				case Kicked:
					kicked = true
					th.Resume()
				case Syscall:
					// The self lane shows a kick as a trap.
					kicked = nr == unix.SYS_GETPID
					th.Return(1)
				default:
					t.Fatalf("%+v %+v", ev, th.Regs)
				}
			}
		}
	}
}

func BenchmarkFastLane(b *testing.B) {
	m := fastMachine(b)
	body := fastCall(m, unix.SYS_GETPGID)
	th := guest(b, m, join(body, []byte{0xeb, byte(-len(body) - 2)}))
	for range b.N {
		th.Next()
		th.Return(1)
	}
}

func BenchmarkTrapLane(b *testing.B) {
	m := fastMachine(b)
	body := call(unix.SYS_GETPGID)
	th := guest(b, m, join(body, []byte{0xeb, byte(-len(body) - 2)}))
	for range b.N {
		th.Next()
		th.Return(1)
	}
}

// TestFastLane_allocatesNothing: a call that is answered at once costs the
// garbage collector nothing.
func TestFastLane_allocatesNothing(t *testing.T) {
	m := fastMachine(t)
	body := fastCall(m, unix.SYS_GETPGID)
	th := guest(t, m, join(body, []byte{0xeb, byte(-len(body) - 2)}))
	if n := testing.AllocsPerRun(2000, func() { th.Next(); th.Return(1) }); n != 0 {
		t.Fatalf("%v allocations a call", n)
	}
}

// maskCall is rt_sigprocmask(how, dataAt, dataAt+8, 8) by the fast lane.
func maskCall(m *Machine, how byte) []byte {
	return join(
		[]byte{0xbf, how, 0, 0, 0},     // mov edi, how
		[]byte{0xbe, 0, 0, 0x50, 0},    // mov esi, dataAt
		[]byte{0xba, 8, 0, 0x50, 0},    // mov edx, dataAt+8
		[]byte{0x41, 0xba, 8, 0, 0, 0}, // mov r10d, 8
		fastCall(m, unix.SYS_RT_SIGPROCMASK))
}

// word reads 8 bytes of the guest's.
func word(t *testing.T, th *Thread, addr uint64) uint64 {
	t.Helper()
	var p [8]byte
	if err := th.proc.CopyIn(addr, p[:]); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(p[:])
}

func TestMaskLane(t *testing.T) {
	m := fastMachine(t)
	const block, unblock, set = 0, 1, 2
	const killStop = 1<<8 | 1<<18
	for _, c := range []struct {
		name               string
		how                byte
		mask, pending, arg uint64
		asks               bool
		unknown            bool
		wantMask           uint64
	}{
		{name: "block", how: block, mask: 1, arg: 6, wantMask: 7},
		{name: "block what is pending", how: block, mask: 1, pending: 7, arg: 6, wantMask: 7},
		{name: "unblock", how: unblock, mask: 7, arg: 2, wantMask: 5},
		{name: "unblock, another pending", how: unblock, mask: 7, pending: 4, arg: 2, wantMask: 5},
		{name: "unblock what is pending", how: unblock, mask: 7, pending: 2, arg: 2, asks: true, wantMask: 7},
		{name: "set", how: set, mask: 7, arg: 1 << 63, wantMask: 1 << 63},
		{name: "set, one comes free", how: set, mask: 7, pending: 1, arg: 6, asks: true, wantMask: 7},
		{name: "KILL and STOP stay open", how: set, arg: ^uint64(0), wantMask: ^uint64(killStop)},
		{name: "no such way", how: 3, mask: 7, arg: 2, asks: true, wantMask: 7},
		{name: "nothing known", how: block, mask: 7, arg: 8, unknown: true, asks: true, wantMask: 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := guest(t, m, join(call(1000), maskCall(m, c.how), call(1001)))
			expect(t, th, Syscall)
			th.ShareSignals(c.mask, c.pending)
			if c.unknown {
				th.slot.store(slotSigPending, sigUnknown)
			}
			arg := binary.LittleEndian.AppendUint64(nil, c.arg)
			th.CopyOut(dataAt, arg)
			th.Return(0)
			expect(t, th, Syscall)
			if asked := th.Regs.RAX == unix.SYS_RT_SIGPROCMASK; asked != c.asks {
				t.Fatalf("asked: %v, call %d", asked, th.Regs.RAX)
			}
			if mask, _ := th.SignalMask(); mask != c.wantMask {
				t.Fatalf("mask %#x, want %#x", mask, c.wantMask)
			}
			if !c.asks && word(t, th, dataAt+8) != c.mask {
				t.Fatalf("the old mask is told as %#x", word(t, th, dataAt+8))
			}
			if c.asks && string(th.Copied(dataAt, 8)) != string(arg) {
				t.Fatal("the set does not come along")
			}
			th.Exit(true)
		})
	}
}

// TestMaskLane_faultAsks: what cannot be read or written is the sentry's to say.
func TestMaskLane_faultAsks(t *testing.T) {
	m := fastMachine(t)
	for name, at := range map[string]int{"set": 6, "old": 11} {
		code := maskCall(m, 2)
		binary.LittleEndian.PutUint32(code[at:], 0x1000_0000)
		th := guest(t, m, join(call(1000), code, call(1001)))
		expect(t, th, Syscall)
		th.ShareSignals(5, 0)
		th.Return(0)
		expect(t, th, Syscall)
		if mask, _ := th.SignalMask(); th.Regs.RAX != unix.SYS_RT_SIGPROCMASK || mask != 5 {
			t.Fatalf("%s: call %d, mask %#x", name, th.Regs.RAX, mask)
		}
		th.Exit(true)
	}
}

// TestMaskLane_losesNoSignal sends signals to a thread that does nothing but
// block and unblock: who finds one unblocked kicks, and otherwise the thread says
// so itself.
func TestMaskLane_losesNoSignal(t *testing.T) {
	m := fastMachine(t)
	body := join(maskCall(m, 0), maskCall(m, 1))
	th := guest(t, m, join(call(1000), body, []byte{0xe9}, binary.LittleEndian.AppendUint32(nil, uint32(-len(body)-5))))
	expect(t, th, Syscall)
	th.CopyOut(dataAt, binary.LittleEndian.AppendUint64(nil, 2))
	th.ShareSignals(0, 0)
	th.Return(0)
	// answer does what the call says, which may have come for another reason than that
	// a signal becomes deliverable: a kick at the lane's begin sends it by the trap.
	answer := func(pending uint64) (unblocks bool) {
		if th.Regs.RAX != unix.SYS_RT_SIGPROCMASK || th.Regs.RDI > 1 {
			t.Fatalf("call %d(%d)", th.Regs.RAX, th.Regs.RDI)
		}
		if unblocks = th.Regs.RDI == 1; unblocks {
			th.ShareSignals(0, 0)
		} else {
			th.ShareSignals(2, pending)
		}
		th.Return(0)
		return unblocks
	}
	for i := range 3000 {
		th.MayBePending(2)
		if mask, _ := th.SignalMask(); mask&2 == 0 {
			th.Kick()
		}
		for delivered := false; !delivered; {
			switch ev := th.Next(); ev.Kind {
			case Kicked:
				delivered = true
				th.ShareSignals(th.slot.load(slotSigMask), 0)
				th.Resume()
			case Syscall:
				delivered = answer(2)
			default:
				t.Fatalf("round %d: %+v %+v", i, ev, th.Regs)
			}
		}
		// A kick that came too late stops it once more.
		for th.hasRequest() {
			if ev := th.Next(); ev.Kind == Kicked {
				th.Resume()
			} else {
				answer(0)
			}
		}
	}
	th.Exit(true)
}

// TestFastLane_directionFlag: the stub's copies run forward, whatever the guest
// has set.
func TestFastLane_directionFlag(t *testing.T) {
	m := fastMachine(t)
	std := []byte{0xfd}
	th := guest(t, m, join(call(1000), std, maskCall(m, 2), std, fastCall(m, unix.SYS_GETPGID), std, maskCall(m, 2), call(1001)))
	expect(t, th, Syscall)
	th.ShareSignals(5, 0)
	th.CopyOut(dataAt, binary.LittleEndian.AppendUint64(nil, 6))
	th.Return(0)
	expect(t, th, Syscall) // getpgid
	if old, mask := word(t, th, dataAt+8), th.slot.load(slotSigMask); old != 5 || mask != 6 {
		t.Fatalf("the mask was %#x and is %#x", old, mask)
	}
	th.ShareSignals(5, 2) // so that the set is copied in, to ask
	th.CopyOut(dataAt+0x100, []byte("forward"))
	th.CopyOut(dataAt, binary.LittleEndian.AppendUint64(nil, 5))
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX != unix.SYS_RT_SIGPROCMASK || len(th.Copied(dataAt, 8)) != 8 || th.Copied(dataAt, 8)[0] != 5 {
		t.Fatalf("call %d with %x", th.Regs.RAX, th.Copied(dataAt, 8))
	}
	var p [7]byte
	if th.proc.CopyIn(dataAt+0x100, p[:]) != nil || string(p[:]) != "forward" {
		t.Fatalf("%q", p)
	}
	th.Exit(true)
}

// TestLanes_keepVectors: neither lane touches a vector or a mask register.
func TestLanes_keepVectors(t *testing.T) {
	m := fastMachine(t)
	if !cpu.X86.HasAVX512BW || !cpu.X86.HasAVX512F {
		t.Skip("this processor has no AVX-512")
	}
	// Of each: the bytes of a load and of a store by an absolute address of 32 bits.
	moves := []struct {
		name        string
		load, store []byte
		size        int
	}{
		{"xmm3", []byte{0xf3, 0x0f, 0x6f, 0x1c, 0x25}, []byte{0xf3, 0x0f, 0x7f, 0x1c, 0x25}, 16},
		{"ymm0", []byte{0xc5, 0xfe, 0x6f, 0x04, 0x25}, []byte{0xc5, 0xfe, 0x7f, 0x04, 0x25}, 32},
		{"ymm15", []byte{0xc5, 0x7e, 0x6f, 0x3c, 0x25}, []byte{0xc5, 0x7e, 0x7f, 0x3c, 0x25}, 32},
		{"zmm1", []byte{0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x0c, 0x25}, []byte{0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x0c, 0x25}, 64},
		{"zmm17", []byte{0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x0c, 0x25}, []byte{0x62, 0xe1, 0xfe, 0x48, 0x7f, 0x0c, 0x25}, 64},
		{"k1", []byte{0xc4, 0xe1, 0xf8, 0x90, 0x0c, 0x25}, []byte{0xc4, 0xe1, 0xf8, 0x91, 0x0c, 0x25}, 8},
	}
	le := binary.LittleEndian
	var load, store, want []byte
	for i, mv := range moves {
		load = le.AppendUint32(append(load, mv.load...), uint32(dataAt+0x400+64*i))
		store = le.AppendUint32(append(store, mv.store...), uint32(dataAt+0x800+64*i))
	}
	for i := range 64 * len(moves) {
		want = append(want, byte(i*7+1))
	}
	th := guest(t, m, join(call(1000), load, fastCall(m, unix.SYS_GETPGID), maskCall(m, 0), call(1001),
		fastCall(m, unix.SYS_GETPGID), store, call(1002)))
	expect(t, th, Syscall)
	th.ShareSignals(0, 0)
	th.CopyOut(dataAt+0x400, want)
	th.Return(0)
	expect(t, th, Syscall) // by the fast lane
	th.Return(0)
	expect(t, th, Syscall) // by the trap lane
	th.Return(0)
	expect(t, th, Syscall) // by the fast lane, and upgraded
	if _, ok := th.Upgrade(); !ok {
		t.Fatal("no upgrade")
	}
	th.Return(0)
	expect(t, th, Syscall)
	got := make([]byte, len(want))
	if err := th.proc.CopyIn(dataAt+0x800, got); err != nil {
		t.Fatal(err)
	}
	for i, mv := range moves {
		if string(got[64*i:][:mv.size]) != string(want[64*i:][:mv.size]) {
			t.Errorf("%s is %x", mv.name, got[64*i:][:mv.size])
		}
	}
	th.Exit(true)
}

func BenchmarkMaskLane(b *testing.B) {
	m := fastMachine(b)
	body := join(maskCall(m, 0), maskCall(m, 1))
	count := []byte{0x41, 0xff, 0xcf, 0x0f, 0x85} // dec r15d; jnz
	th := guest(b, m, join(call(1000), body, count, binary.LittleEndian.AppendUint32(nil, uint32(-len(body)-9)), call(1001)))
	th.Next()
	th.ShareSignals(0, 0)
	th.Regs.R15, th.Regs.RAX = uint64(b.N), 0
	th.Resume()
	th.Next()
	th.Exit(true)
}
