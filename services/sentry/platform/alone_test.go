package platform

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// withArgs is a call by a site that traps, with these arguments: mov rdi, rsi, rdx, r10.
func withArgs(nr uint32, args ...uint64) []byte {
	var p []byte
	for i, v := range args {
		p = append(p, [][]byte{{0x48, 0xbf}, {0x48, 0xbe}, {0x48, 0xba}, {0x49, 0xba}}[i]...)
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	return append(p, call(nr)...)
}

// asksNext lets the guest go on, and the call that it asks the sentry about next is nr.
func asksNext(t *testing.T, th *Thread, nr uint64) {
	t.Helper()
	th.Return(0)
	expect(t, th, Syscall)
	if th.Regs.RAX != nr {
		t.Fatalf("asked about call %d, want %d: %+v", th.Regs.RAX, nr, th.Regs)
	}
}

// keepResult saves a result in RBX: mov rbx, rax.
var keepResult = []byte{0x48, 0x89, 0xc3}

// runAlone runs code between two calls of 1000 and 1001, with set before it and the stub
// to answer alone, and gives the thread as it stops at 1001.
func runAlone(t *testing.T, code []byte, set func(*Thread)) *Thread {
	t.Helper()
	th := guest(t, machine(t), join(call(1000), code, keepResult, call(1001)))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	if set != nil {
		set(th)
	}
	asksNext(t, th, 1001)
	return th
}

func TestAlone_whoItIs(t *testing.T) {
	th := runAlone(t, join(loadRegs, overflow, call(unix.SYS_GETPID)), func(th *Thread) { th.SetSelf(SelfPID, 4242) })
	if th.Regs.RBX != 4242 || th.Regs.R12 != 0x0303030303030303 || th.Regs.R15 != 0x0606060606060606 {
		t.Fatalf("%+v", th.Regs)
	}
	th.Exit(true)
}

// TestAlone_asks has the stub ask about everything once it may not answer, or does not
// know, or is asked for something else.
func TestAlone_asks(t *testing.T) {
	all := func(th *Thread) {
		th.SetSelf(SelfPID, 1)
		th.SetSelf(SelfTID, 1)
		th.ShareSignals(0, 0)
		th.SetLimits(new([NumLimits][2]uint64))
		offer(th, new([statSize]byte), make([]byte, 100), false)
	}
	off := func(th *Thread) { all(th); th.AnswerAlone(false) }
	nothing := func(th *Thread) { all(th); th.AnswerNothing() }
	for _, c := range []struct {
		name string
		set  func(*Thread)
		nr   uint32
		args []uint64
	}{
		{"off", off, unix.SYS_GETPID, nil},
		{"action, off", func(th *Thread) { th.SetDefaults(^linux.SigSet(0)); off(th) }, unix.SYS_RT_SIGACTION, []uint64{2, 0, dataAt, 8}},
		{"action not known", all, unix.SYS_RT_SIGACTION, []uint64{2, 0, dataAt, 8}},
		{"action of another", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSetOf(2)) }, unix.SYS_RT_SIGACTION, []uint64{2, 0, dataAt, 8}},
		{"action is set", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSet(0)) }, unix.SYS_RT_SIGACTION, []uint64{2, dataAt, dataAt, 8}},
		{"action of no signal", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSet(0)) }, unix.SYS_RT_SIGACTION, []uint64{65, 0, dataAt, 8}},
		{"action of signal 0", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSet(0)) }, unix.SYS_RT_SIGACTION, []uint64{0, 0, dataAt, 8}},
		{"action of another size", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSet(0)) }, unix.SYS_RT_SIGACTION, []uint64{2, 0, dataAt, 4}},
		{"action to nowhere", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSet(0)) }, unix.SYS_RT_SIGACTION, []uint64{2, 0, 0x10_0000, 8}},
		{"action to the stub", func(th *Thread) { all(th); th.SetDefaults(^linux.SigSet(0)) }, unix.SYS_RT_SIGACTION, []uint64{2, 0, areas, 8}},
		{"nothing", nothing, unix.SYS_GETPID, nil},
		{"no descriptor", func(th *Thread) { all(th); th.SeeAhead(true) }, unix.SYS_CLOSE, []uint64{math.MaxUint64}},
		{"nothing, mask", nothing, unix.SYS_RT_SIGPROCMASK, []uint64{0, 0, 0, 8}},
		{"nothing, limit", nothing, unix.SYS_PRLIMIT64, []uint64{0, 3, 0, dataAt}},
		{"nothing, close", nothing, unix.SYS_CLOSE, []uint64{3}},
		{"not known", nil, unix.SYS_GETUID, nil},
		{"mask not known", nil, unix.SYS_RT_SIGPROCMASK, []uint64{0, 0, 0, 8}},
		{"tid not known", nil, unix.SYS_SET_TID_ADDRESS, []uint64{dataAt}},
		{"limits not known", nil, unix.SYS_PRLIMIT64, []uint64{0, 3, 0, dataAt}},
		{"another's limit", all, unix.SYS_PRLIMIT64, []uint64{5, 3, 0, dataAt}},
		{"limit to be set", all, unix.SYS_PRLIMIT64, []uint64{0, 3, dataAt, dataAt}},
		{"no such limit", all, unix.SYS_PRLIMIT64, []uint64{0, NumLimits, 0, dataAt}},
		{"limit to nowhere", all, unix.SYS_PRLIMIT64, []uint64{0, 3, 0, 0x10_0000}},
		{"limit to half of nowhere", all, unix.SYS_PRLIMIT64, []uint64{0, 3, 0, dataAt + 0x4000 - 8}},
		{"limit to the stub", all, unix.SYS_PRLIMIT64, []uint64{0, 3, 0, slots + slotLimits}},
		{"robust list of another size", nil, unix.SYS_SET_ROBUST_LIST, []uint64{dataAt, 16}},
		{"set_tid_address of the stub", all, unix.SYS_SET_TID_ADDRESS, []uint64{slots}},
		{"ARCH_GET_FS", all, unix.SYS_ARCH_PRCTL, []uint64{0x1003, dataAt}},
		{"FS in the stub", all, unix.SYS_ARCH_PRCTL, []uint64{archSetFS, base}},
		{"end of rseq", all, unix.SYS_RSEQ, []uint64{dataAt, 32, 1, 7}},
		{"rseq in the stub", all, unix.SYS_RSEQ, []uint64{slots, 32, 0, 7}},
		{"rseq up to the stub", all, unix.SYS_RSEQ, []uint64{GuestTop - 16, 32, 0, 7}},
		{"another file", all, unix.SYS_READ, []uint64{4, dataAt, 10}},
		{"more than there is", all, unix.SYS_READ, []uint64{3, dataAt, 101}},
		{"nothing of a file", all, unix.SYS_READ, []uint64{3, dataAt, 0}},
		{"read to nowhere", all, unix.SYS_READ, []uint64{3, 0x10_0000, 10}},
		{"read to the stub", all, unix.SYS_READ, []uint64{3, areas, 10}},
		{"behind what there is", all, unix.SYS_PREAD64, []uint64{3, dataAt, 1, 100}},
		{"before the begin", all, unix.SYS_PREAD64, []uint64{3, dataAt, 1, ^uint64(0)}},
		{"stat to nowhere", all, unix.SYS_FSTAT, []uint64{3, 0x10_0000}},
		{"stat of a name", all, unix.SYS_NEWFSTATAT, []uint64{3, codeAt, dataAt, unix.AT_EMPTY_PATH}},
		{"stat of a bad name", all, unix.SYS_NEWFSTATAT, []uint64{3, 0x10_0000, dataAt, unix.AT_EMPTY_PATH}},
		{"stat of no name", all, unix.SYS_NEWFSTATAT, []uint64{3, dataAt, dataAt, 0}},
		{"close of another", all, unix.SYS_CLOSE, []uint64{4}},
		{"x32", all, 1<<30 | unix.SYS_GETPID, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			th := guest(t, machine(t), join(call(1000), withArgs(c.nr, c.args...), call(1001)))
			expect(t, th, Syscall)
			th.AnswerAlone(true)
			if c.set != nil {
				c.set(th)
			}
			asksNext(t, th, uint64(c.nr))
			asksNext(t, th, 1001)
			th.Exit(true)
		})
	}
}

// TestAlone_int80 has the sentry refuse what is a number of another architecture.
func TestAlone_int80(t *testing.T) {
	th := guest(t, machine(t), join(call(1000), []byte{0xb8, 39, 0, 0, 0, 0xcd, 0x80}, call(1001)))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	th.SetSelf(SelfPID, 1)
	th.Return(0)
	switch ev := th.Next(); {
	case ev.Kind == Fault:
		t.Log("the host has no int 0x80")
	case ev.Kind != Syscall || th.Regs.RAX != 39 || th.Arch() != unix.AUDIT_ARCH_I386:
		t.Fatalf("%+v, call %d of %#x", ev, th.Regs.RAX, th.Arch())
	}
	th.Exit(true)
}

// TestAlone_keeps is what the sentry finds where it is kept.
func TestAlone_keeps(t *testing.T) {
	th := runAlone(t, withArgs(unix.SYS_SET_ROBUST_LIST, dataAt+0x100, robustSize), nil)
	if th.Regs.RBX != 0 || th.Robust() != dataAt+0x100 || th.SeeRobust() != dataAt+0x100 {
		t.Fatalf("%d, %#x", th.Regs.RBX, th.Robust())
	}
	th.Exit(true)

	th = runAlone(t, withArgs(unix.SYS_RSEQ, dataAt+0x100, 32, 0, 0x5305_3053), nil)
	area, size, signature := th.Rseq()
	if th.Regs.RBX != 0 || area != dataAt+0x100 || size != 32 || signature != 0x5305_3053 {
		t.Fatalf("%d, %#x %d %#x", th.Regs.RBX, area, size, signature)
	}
	th.Exit(true)

	// What the host refuses is kept nowhere: an area out of alignment.
	th = runAlone(t, withArgs(unix.SYS_RSEQ, dataAt+0x101, 32, 0, 7), nil)
	if area, _, _ := th.Rseq(); int64(th.Regs.RBX) != -int64(unix.EINVAL) || area != 0 {
		t.Fatalf("%d, %#x", int64(th.Regs.RBX), area)
	}
	th.Exit(true)

	th = runAlone(t, withArgs(unix.SYS_SET_TID_ADDRESS, dataAt), func(th *Thread) { th.SetSelf(SelfTID, 77) })
	if th.Regs.RBX != 77 {
		t.Fatalf("set_tid_address gives %d", th.Regs.RBX)
	}
	th.Exit(true)

	if verifiedRun() {
		return // the sentry orders it
	}
	// mov rbp, fs:[0] is what lies there.
	th = runAlone(t, join(withArgs(unix.SYS_ARCH_PRCTL, archSetFS, codeAt), []byte{0x64, 0x48, 0x8b, 0x2c, 0x25, 0, 0, 0, 0}), nil)
	if want := word(t, th, codeAt); th.Regs.RBX != 0 || th.Regs.RBP != want {
		t.Fatalf("%d, %#x, want %#x", th.Regs.RBX, th.Regs.RBP, want)
	}
	th.Exit(true)
}

func TestAlone_limits(t *testing.T) {
	th := runAlone(t, withArgs(unix.SYS_PRLIMIT64, 0, 3, 0, dataAt), func(th *Thread) {
		var l [NumLimits][2]uint64
		l[3] = [2]uint64{11, 22}
		th.SetLimits(&l)
		l[3] = [2]uint64{33, 44}
		th.SetLimits(&l)
	})
	if th.Regs.RBX != 0 || word(t, th, dataAt) != 33 || word(t, th, dataAt+8) != 44 {
		t.Fatalf("%d: %d %d", th.Regs.RBX, word(t, th, dataAt), word(t, th, dataAt+8))
	}
	th.Exit(true)
}

// TestAlone_ahead reads a file, and asks about and closes it, without the sentry.
func TestAlone_ahead(t *testing.T) {
	stat, begin := new([statSize]byte), make([]byte, 200)
	for i := range begin {
		begin[i] = byte(i + 1)
	}
	stat[0], stat[statSize-1] = 5, 6
	th := runAlone(t, join(
		withArgs(unix.SYS_READ, 3, dataAt, 60),
		withArgs(unix.SYS_READ, 3, dataAt+60, 40),
		withArgs(unix.SYS_PREAD64, 3, dataAt+0x100, 30, 10),
		withArgs(unix.SYS_FSTAT, 3, dataAt+0x200),
		withArgs(unix.SYS_NEWFSTATAT, 3, dataAt+0x3000, dataAt+0x400, unix.AT_EMPTY_PATH),
	), func(th *Thread) { offer(th, stat, begin, false) })
	if th.Regs.RBX != 0 {
		t.Fatalf("the last call gave %d", th.Regs.RBX)
	}
	if read, closed, ok := th.SeeAhead(false); read != 100 || closed || !ok {
		t.Fatalf("read %d, closed %v, %v", read, closed, ok)
	}
	for _, c := range []struct {
		at   uint64
		want []byte
	}{{dataAt, begin[:100]}, {dataAt + 0x100, begin[10:40]}, {dataAt + 0x200, stat[:]}, {dataAt + 0x400, stat[:]}} {
		got := make([]byte, len(c.want)+1)
		if err := th.proc.CopyIn(c.at, got); err != nil || !bytes.Equal(got[:len(c.want)], c.want) || got[len(c.want)] != 0 {
			t.Fatalf("at %#x: %v %v", c.at, got, err)
		}
	}
	th.Exit(true)

	th = runAlone(t, withArgs(unix.SYS_CLOSE, 3), func(th *Thread) { offer(th, stat, begin, false) })
	if _, closed, _ := th.SeeAhead(false); !closed || th.Regs.RBX != 0 {
		t.Fatalf("closed %v, %d", closed, th.Regs.RBX)
	}
	if _, closed, _ := th.SeeAhead(false); closed {
		t.Fatal("closed twice")
	}
	th.Exit(true)

	// Once closed it is another's number, and once it has ended nobody's.
	for name, end := range map[string]func(th *Thread){
		"ended": func(th *Thread) { th.SeeAhead(true) },
		"no":    func(th *Thread) { th.SeeAhead(false) },
	} {
		th = guest(t, machine(t), join(call(1000), withArgs(unix.SYS_CLOSE, 3), withArgs(unix.SYS_READ, 3, dataAt, 1), call(1001)))
		expect(t, th, Syscall)
		th.AnswerAlone(true)
		offer(th, stat, begin, false)
		end(th)
		if name == "ended" {
			asksNext(t, th, unix.SYS_CLOSE)
		}
		asksNext(t, th, unix.SYS_READ)
		th.Exit(true)
	}
}

// TestAlone_forgedWords has the stub copy from wherever it is told: no further than the
// guest's own memory, and without an end of anything but the guest.
func TestAlone_forgedWords(t *testing.T) {
	for _, forge := range []func(s slot){
		func(s slot) { s.store(slotAheadHave, ^uint64(0)) },
		func(s slot) { s.store(slotAheadHave, ^uint64(0)); s.store(slotAhead, 0xffff_fffa<<32|3) },
		func(s slot) { s.store(slotAheadHave, 1<<62); s.store(slotAhead, 0x7fff_ffff<<32|3) },
	} {
		th := guest(t, machine(t), join(call(1000), withArgs(unix.SYS_READ, 3, dataAt, 0x3000), call(1001)))
		expect(t, th, Syscall)
		th.AnswerAlone(true)
		offer(th, new([statSize]byte), make([]byte, 100), false)
		forge(th.slot)
		th.Return(0)
		expect(t, th, Syscall)
		if read, _, _ := th.SeeAhead(false); read > AheadSize {
			t.Fatalf("read %d", read)
		}
		th.Exit(true)
	}
}

// TestAlone_mask changes the mask on the trap lane, and stops when that makes a signal
// deliverable.
func TestAlone_mask(t *testing.T) {
	code := withArgs(unix.SYS_RT_SIGPROCMASK, 2, dataAt, dataAt+8, 8) // SIG_SETMASK
	start := func() *Thread {
		th := guest(t, machine(t), join(call(1000), code, keepResult, call(1001)))
		expect(t, th, Syscall)
		th.AnswerAlone(true)
		if err := th.proc.CopyOut(dataAt, []byte{4, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		return th
	}
	th := start()
	th.ShareSignals(3, 0)
	asksNext(t, th, 1001)
	if mask, _ := th.SignalMask(); th.Regs.RBX != 0 || mask != 4 || word(t, th, dataAt+8) != 3 {
		t.Fatalf("%d: mask %d, was %d", th.Regs.RBX, mask, word(t, th, dataAt+8))
	}
	th.Exit(true)

	th = start()
	th.ShareSignals(3, 2)
	asksNext(t, th, unix.SYS_RT_SIGPROCMASK)
	th.Exit(true)
}

// TestAlone_losesNoSignal is TestMaskLane_losesNoSignal on the trap lane.
func TestAlone_losesNoSignal(t *testing.T) {
	// again: SIG_SETMASK to 0; SIG_SETMASK to ~0; jmp again.
	loop := join(withArgs(unix.SYS_RT_SIGPROCMASK, 2, dataAt, 0, 8), withArgs(unix.SYS_RT_SIGPROCMASK, 2, dataAt+8, 0, 8))
	loop = append(loop, 0xe9)
	loop = binary.LittleEndian.AppendUint32(loop, uint32(-int32(len(loop)+4)))
	th := guest(t, machine(t), join(call(1000), loop))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	if err := th.proc.CopyOut(dataAt+8, bytes.Repeat([]byte{0xff}, 8)); err != nil {
		t.Fatal(err)
	}
	th.ShareSignals(0, 0)
	th.Return(0)
	for i := range 500 {
		th.MayBePending(2)
		mask, _ := th.SignalMask()
		kicked := mask&2 == 0
		if kicked {
			th.Kick()
		}
		for done := false; !done || th.hasRequest(); {
			ev := th.Next()
			mask, pending := th.slot.load(slotSigMask), th.slot.load(slotSigPending)&2
			switch ev.Kind {
			case Kicked: // which can come too late for the round before
				if mask&2 == 0 {
					done, pending = true, 0
				}
				th.ShareSignals(mask, pending)
				th.Resume()
			case Syscall: // every so often it asks of itself
				blocks := th.Regs.RSI != dataAt
				if blocks && mask&2 == 0 && pending != 0 && !kicked {
					t.Fatalf("round %d: nobody has seen the signal", i)
				}
				if mask &^= 2; blocks {
					mask |= 2
				}
				if mask&2 == 0 && pending != 0 {
					done, pending = true, 0
				}
				th.ShareSignals(mask, pending)
				th.Return(0)
			default:
				t.Fatalf("round %d: %+v", i, ev)
			}
		}
	}
	th.Exit(true)
}

// TestAlone_sampled has the sentry hear of one call in aloneSample.
func TestAlone_sampled(t *testing.T) {
	loop := call(unix.SYS_GETPID)
	loop = append(loop, 0xeb, byte(-int8(len(loop)+2)))
	th := guest(t, machine(t), join(call(1000), loop))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	th.SetSelf(SelfPID, 9)
	for range 3 {
		asksNext(t, th, unix.SYS_GETPID)
		if n := *th.slot.word(slotAloneCount); n%aloneSample != 0 {
			t.Fatalf("asked after %d", n)
		}
	}
	if TrapsFor(unix.SYS_GETPID) != aloneSample || TrapsFor(unix.SYS_OPENAT) != 1 || TrapsFor(1<<40|unix.SYS_GETPID) != 1 {
		t.Fatal("TrapsFor")
	}
	th.Exit(true)
}

// offer offers file 3.
func offer(th *Thread, stat *[statSize]byte, begin []byte, all bool) {
	th.Ahead(3, stat, th.AheadRoom()[:copy(th.AheadRoom(), begin)], all)
}

// TestAhead_whole reads a file of which all is there, on both lanes: it ends, and is no
// terminal.
func TestAhead_whole(t *testing.T) {
	m := fastMachine(t)
	begin := []byte("a file's contents")
	for _, lane := range []struct {
		name string
		call func(nr uint32, args ...uint64) []byte
	}{
		{"trap", withArgs},
		{"fast", func(nr uint32, args ...uint64) []byte { return fastArgs(m, nr, args...) }},
	} {
		for _, c := range []struct {
			name string
			code []byte
			want int64
			asks uint64
		}{
			{"a part", lane.call(unix.SYS_READ, 3, dataAt, 6), 6, 1001},
			{"more than all", lane.call(unix.SYS_READ, 3, dataAt, 100), 17, 1001},
			{"the end", join(lane.call(unix.SYS_READ, 3, dataAt, 100), lane.call(unix.SYS_READ, 3, dataAt, 1)), 0, 1001},
			{"pread", lane.call(unix.SYS_PREAD64, 3, dataAt, 100, 2), 15, 1001},
			{"where it stands", join(lane.call(unix.SYS_READ, 3, dataAt, 5), lane.call(unix.SYS_LSEEK, 3, 0, 1)), 5, 1001},
			{"no terminal", lane.call(unix.SYS_IOCTL, 3, 0x5401, dataAt), -int64(unix.ENOTTY), 1001},
			{"closed", lane.call(unix.SYS_CLOSE, 3), 0, 1001},
			{"pread behind the end", lane.call(unix.SYS_PREAD64, 3, dataAt, 1, 18), 0, unix.SYS_PREAD64},
			{"read to nowhere", lane.call(unix.SYS_READ, 3, 0x1000, 5), 0, unix.SYS_READ},
			{"read across the end", lane.call(unix.SYS_READ, 3, dataAt, GuestTop), 0, unix.SYS_READ},
			{"negative", lane.call(unix.SYS_READ, 3, dataAt, ^uint64(0)), 0, unix.SYS_READ},
			{"seek elsewhere", lane.call(unix.SYS_LSEEK, 3, 1, 1), 0, unix.SYS_LSEEK},
			{"seek from the end", lane.call(unix.SYS_LSEEK, 3, 0, 2), 0, unix.SYS_LSEEK},
			{"another control", lane.call(unix.SYS_IOCTL, 3, 0x5402, dataAt), 0, unix.SYS_IOCTL},
			{"another's", lane.call(unix.SYS_READ, 4, dataAt, 6), 0, unix.SYS_READ},
			{"none's", lane.call(unix.SYS_READ, 0xffff_ffff, dataAt, 6), 0, unix.SYS_READ},
		} {
			t.Run(lane.name+"/"+c.name, func(t *testing.T) {
				th := guest(t, m, join(call(1000), c.code, keepResult, call(1001)))
				expect(t, th, Syscall)
				th.AnswerAlone(true)
				offer(th, new([statSize]byte), begin, true)
				asksNext(t, th, c.asks)
				if c.asks == 1001 && int64(th.Regs.RBX) != c.want {
					t.Errorf("%d, want %d", int64(th.Regs.RBX), c.want)
				}
				got := make([]byte, len(begin)+1)
				if err := th.proc.CopyIn(dataAt, got); c.name == "more than all" && (err != nil || string(got) != string(begin)+"\x00") {
					t.Errorf("%q, %v", got, err)
				}
				th.Exit(true)
			})
		}
	}
}

// TestAction_default tells of an action that is all zeros, on both lanes.
func TestAction_default(t *testing.T) {
	m := fastMachine(t)
	for name, code := range map[string][]byte{
		"trap": withArgs(unix.SYS_RT_SIGACTION, 64, 0, dataAt, 8), "fast": fastArgs(m, unix.SYS_RT_SIGACTION, 64, 0, dataAt, 8),
	} {
		th := guest(t, m, join(call(1000), code, keepResult, call(1001)))
		expect(t, th, Syscall)
		th.AnswerAlone(true)
		th.SetDefaults(linux.SigSetOf(64))
		if err := th.proc.CopyOut(dataAt, bytes.Repeat([]byte{7}, 40)); err != nil {
			t.Fatal(err)
		}
		asksNext(t, th, 1001)
		got := make([]byte, 40)
		want := append(make([]byte, 32), 7, 7, 7, 7, 7, 7, 7, 7)
		if err := th.proc.CopyIn(dataAt, got); err != nil || th.Regs.RBX != 0 || !bytes.Equal(got, want) {
			t.Errorf("%s: %d, %v %v", name, int64(th.Regs.RBX), got, err)
		}
		th.Exit(true)
	}
}

// TestAhead_endsBetween ends the offer while the stub reads, a byte at a time: each byte is counted
// or asked about, and so is the close.
func TestAhead_endsBetween(t *testing.T) {
	m := fastMachine(t)
	begin := make([]byte, AheadSize)
	// again: read(3, dataAt, 1); add rbx, rax; jmp again.
	loop := join(fastArgs(m, unix.SYS_READ, 3, dataAt, 1), []byte{0x48, 0x01, 0xc3}, []byte{0xe9})
	loop = binary.LittleEndian.AppendUint32(loop, uint32(-int32(len(loop)+4)))
	th := guest(t, m, join(call(1000), loop))
	expect(t, th, Syscall)
	th.AnswerAlone(true)
	for i := range 2000 {
		offer(th, new([statSize]byte), begin, false)
		before := th.Regs.RBX
		th.Return(0)
		for began := time.Now(); time.Since(began) < time.Duration(20+i%50)*time.Microsecond; {
		}
		read, _, _ := th.SeeAhead(true)
		expect(t, th, Syscall)
		if got := th.Regs.RBX - before; got != read {
			t.Fatalf("round %d: the guest has read %d bytes, of which %d were counted", i, got, read)
		}
	}
	th.Exit(true)
}
