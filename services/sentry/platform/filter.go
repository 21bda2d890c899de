package platform

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The stub's filter, in the order in which it decides:
//
//  1. Another architecture, or an x32 number: trap, the sentry answers.
//  2. Calls that touch nothing but the caller's own memory and the scheduler:
//     allowed from anywhere (nativeCalls).
//  3. Anything else from outside the stub's text: trap.
//  4. From the stub's text: what an answer may order (stubCalls), with
//     addresses below the stub; the rest kills the process.
//
// A guest can jump into the stub's text and so make the calls of 4 itself. It
// then rearranges its own memory, which the sentry does not depend on. In a
// verified machine those that do so ask the sentry first: verify.go.

const (
	retTrap   = unix.SECCOMP_RET_TRAP
	retAllow  = unix.SECCOMP_RET_ALLOW
	retKill   = unix.SECCOMP_RET_KILL_PROCESS
	retNotify = unix.SECCOMP_RET_USER_NOTIF

	offNR     = 0
	offArch   = 4
	offIP     = 8
	baseHigh  = base >> 32
	cloneMask = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_THREAD | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS | unix.CLONE_CHILD_CLEARTID |
		unix.CLONE_PARENT | 0x11 // SIGCHLD
	mmapFlags = unix.MAP_SHARED | unix.MAP_PRIVATE | unix.MAP_FIXED | unix.MAP_ANONYMOUS |
		unix.MAP_NORESERVE | unix.MAP_GROWSDOWN | unix.MAP_STACK | unix.MAP_POPULATE | mapDroppable |
		unix.MAP_FIXED_NOREPLACE // less than MAP_FIXED: the stub's own mappings at a hint (lease_amd64.h)
	// mapDroppable is MAP_DROPPABLE: glibc's getrandom in the vDSO asks for it.
	mapDroppable = 0x08
)

// check is a condition on a call's arguments; a call is let through when all of
// its checks hold.
type check struct {
	kind    checkKind
	arg     int
	value   uint32
	another int
}

type checkKind int

const (
	argEquals    checkKind = iota // low word of arg == value
	argMask                       // arg &^ value == 0
	argAtLeast                    // low word of arg >= value
	argSelects                    // first check: the rule is only for calls whose arg has high word value
	argBits                       // low word of arg & another == value
	argBelowBase                  // arg + another lies below the stub (another < 0: arg alone)
	argIfShared                   // low word of arg < value, if another are the flags of a shared mapping of a file
)

// rule lets one call of the stub's through.
type rule struct {
	nr     uint32
	name   string
	why    string
	action uint32
	checks []check
}

// below is a range of guest memory: address and length arguments.
func below(addr, length int) check { return check{argBelowBase, addr, 0, length} }

// stubCalls are the calls that the stub's own text may make.
var stubCalls = []rule{
	{unix.SYS_RT_SIGRETURN, "rt_sigreturn", "return to the guest", retAllow, nil},
	{unix.SYS_WRITE, "write", "ring the doorbell", retAllow, []check{{argEquals, 0, fdDoorbell, 0}, {argEquals, 2, 8, 0}}},
	{unix.SYS_GETTID, "gettid", "a new thread tells its host id, for kicks", retAllow, nil},
	{unix.SYS_CLOSE, "close", "a donated descriptor, once mapped", retAllow, []check{{argAtLeast, 0, fdSlots, 0}}},
	{unix.SYS_DUP, "dup", "shows a token; the sentry donates descriptors", retNotify, nil},
	{unix.SYS_MMAP, "mmap", "a new address space maps its own slots", retAllow, []check{{argSelects, 0, slots >> 32, 0},
		{argEquals, 0, slots & 0xffff_ffff, 0}, {argEquals, 1, MaxThreads * slotSize, 0}, {argEquals, 3, unix.MAP_SHARED | unix.MAP_FIXED, 0}, {argEquals, 4, fdSlots, 0}}},
	{unix.SYS_MMAP, "mmap", "guest mmap, brk, exec; below the stub", retAllow, []check{below(0, 1), {argMask, 2, 7, 0}, {argMask, 3, mmapFlags, 0}, {argIfShared, 4, FirstPrivateFD, 3}}},
	{unix.SYS_MUNMAP, "munmap", "guest munmap", retAllow, []check{below(0, 1)}},
	{unix.SYS_MPROTECT, "mprotect", "guest mprotect", retAllow, []check{below(0, 1)}},
	{unix.SYS_MREMAP, "mremap", "guest mremap", retAllow, []check{below(0, 1), below(0, 2), below(4, 2)}},
	{unix.SYS_MADVISE, "madvise", "guest madvise", retAllow, []check{below(0, 1)}},
	{unix.SYS_MSYNC, "msync", "guest msync of a shared file mapping", retAllow, []check{below(0, 1)}},
	{unix.SYS_MINCORE, "mincore", "guest mincore", retAllow, []check{below(0, 1), below(2, -1)}},
	{unix.SYS_MEMBARRIER, "membarrier", "guest membarrier: barriers change nothing, and anybody may ask for the global ones, which processes of one sandbox that share memory need", retAllow, []check{{argMask, 0, MembarrierCommands, 0}, {argMask, 1, MembarrierFlags, 0}}},
	{unix.SYS_CLOCK_GETTIME, "clock_gettime", "processor time of a thread of its own process (the host refuses others), which the sentry may not ask for", retAllow,
		[]check{{argSelects, 0, 0xffff_ffff, 0}, {argBits, 0, 6, 7}}},
	{unix.SYS_CLOCK_GETTIME, "clock_gettime", "CLOCK_THREAD_CPUTIME_ID: only the thread itself may ask the host", retAllow, []check{{argEquals, 0, unix.CLOCK_THREAD_CPUTIME_ID, 0}, below(1, -1)}},
	{unix.SYS_GETRUSAGE, "getrusage", "RUSAGE_THREAD, for the same reason", retAllow, []check{{argEquals, 0, unix.RUSAGE_THREAD, 0}, below(1, -1)}},
	{unix.SYS_ARCH_PRCTL, "arch_prctl", "thread-local storage: ARCH_SET_GS to ARCH_GET_GS", retAllow, []check{{argAtLeast, 0, 0x1001, 0}, {argMask, 0, 0x1007, 0}}},
	{unix.SYS_SET_TID_ADDRESS, "set_tid_address", "the host wakes pthread_join", retAllow, nil},
	{unix.SYS_RSEQ, "rseq", "the host keeps the core's number in guest memory: restartable sequences", retAllow, []check{below(0, 1)}},
	{unix.SYS_CLONE, "clone", "fork and threads, with these flags only", retAllow, []check{{argMask, 0, cloneMask, 0}}},
	{unix.SYS_EXIT, "exit", "a thread ends", retAllow, nil},
	{unix.SYS_EXIT_GROUP, "exit_group", "the process ends", retAllow, nil},
}

// MembarrierCommands and MembarrierFlags are the bits that membarrier(2) may have:
// MEMBARRIER_CMD_GLOBAL to MEMBARRIER_CMD_GET_REGISTRATIONS, MEMBARRIER_CMD_FLAG_CPU.
const (
	MembarrierCommands = 0x3ff
	MembarrierFlags    = 1
)

// futexOps are the futex operations without priority inheritance: those compare
// host thread ids, which a guest does not know. futex(2): FUTEX_WAIT, WAKE,
// REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET.
var futexOps = []uint32{0, 1, 3, 4, 5, 9, 10}

// futexFlags may accompany each: FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME.
const futexFlags = 128 | 256

func argLow(i int) uint32  { return uint32(16 + 8*i) }
func argHigh(i int) uint32 { return uint32(20 + 8*i) }

func load(off uint32) bpf.Instruction   { return bpf.LoadAbsolute{Off: off, Size: 4} }
func ret(action uint32) bpf.Instruction { return bpf.RetConstant{Val: action} }

// unless returns from the filter with action unless cond holds for A.
func unless(cond bpf.JumpTest, val, action uint32) []bpf.Instruction {
	return []bpf.Instruction{bpf.JumpIf{Cond: cond, Val: val, SkipTrue: 1}, ret(action)}
}

// filterProgram gives the stub's filter.
func filterProgram(verified bool) []bpf.Instruction {
	p := []bpf.Instruction{load(offArch)}
	p = append(p, unless(bpf.JumpEqual, unix.AUDIT_ARCH_X86_64, retTrap)...)
	p = append(p, load(offNR))
	p = append(p, unless(bpf.JumpLessThan, 0x4000_0000, retTrap)...)

	p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_SCHED_YIELD, SkipTrue: 1}, ret(retAllow))
	// futex_waitv(2) waits as FUTEX_WAIT does, for several words.
	p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_FUTEX_WAITV, SkipTrue: 1}, ret(retAllow))
	// futex_wake, futex_wait and futex_requeue do what FUTEX_WAKE_BITSET, FUTEX_WAIT_BITSET
	// and FUTEX_CMP_REQUEUE do; a host older than Linux 6.7 has none of them.
	p = append(p, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: unix.SYS_FUTEX_WAKE, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.SYS_FUTEX_REQUEUE, SkipTrue: 1}, ret(retAllow))
	futex := []bpf.Instruction{load(argLow(1)), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(futexFlags)}}
	for _, op := range futexOps {
		futex = append(futex, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: op, SkipTrue: 1}, ret(retAllow))
	}
	futex = append(futex, ret(retTrap))
	p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_FUTEX, SkipTrue: uint8(len(futex))})
	p = append(p, futex...)

	p = append(p, load(offIP+4))
	p = append(p, unless(bpf.JumpEqual, baseHigh, retTrap)...)
	p = append(p, load(offIP), bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: textAt & 0xffff_ffff})
	p = append(p, unless(bpf.JumpLessThan, textSize, retTrap)...)
	for _, r := range stubCalls {
		body := r.body(r.decision(verified))
		if len(r.checks) > 0 && r.checks[0].kind == argSelects {
			c := r.checks[0]
			body = append([]bpf.Instruction{load(argHigh(c.arg)),
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.value, SkipTrue: uint8(len(body))}}, body...)
		}
		p = append(p, load(offNR), bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: r.nr, SkipTrue: uint8(len(body))})
		p = append(p, body...)
	}
	return append(p, ret(retKill))
}

// decision is what becomes of a call that passes r's checks.
func (r rule) decision(verified bool) uint32 {
	if verified && isVerified(r.nr) {
		return retNotify
	}
	return r.action
}

// body is what is run for a call of r's number.
func (r rule) body(action uint32) []bpf.Instruction {
	var p []bpf.Instruction
	for _, c := range r.checks {
		switch c.kind {
		case argEquals:
			p = append(p, load(argLow(c.arg)))
			p = append(p, unless(bpf.JumpEqual, c.value, retKill)...)
		case argAtLeast:
			p = append(p, load(argLow(c.arg)))
			p = append(p, unless(bpf.JumpGreaterOrEqual, c.value, retKill)...)
		case argBits:
			p = append(p, load(argLow(c.arg)), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(c.another)})
			p = append(p, unless(bpf.JumpEqual, c.value, retKill)...)
		case argMask:
			p = append(p, load(argHigh(c.arg)))
			p = append(p, unless(bpf.JumpEqual, 0, retKill)...)
			p = append(p, load(argLow(c.arg)), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^c.value})
			p = append(p, unless(bpf.JumpEqual, 0, retKill)...)
		case argBelowBase:
			p = append(p, belowBase(c.arg, c.another)...)
		case argIfShared:
			than := append([]bpf.Instruction{load(argLow(c.arg))}, unless(bpf.JumpLessThan, c.value, retKill)...)
			p = append(p, load(argLow(c.another)), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: unix.MAP_SHARED | unix.MAP_ANONYMOUS},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.MAP_SHARED, SkipTrue: uint8(len(than))})
			p = append(p, than...)
		}
	}
	return append(p, ret(action))
}

// belowBase passes when arg + length is below the stub, judged by the high
// words: their sum and the carry of the low ones.
func belowBase(arg, length int) []bpf.Instruction {
	p := []bpf.Instruction{load(argHigh(arg))}
	p = append(p, unless(bpf.JumpLessThan, baseHigh-1, retKill)...)
	if length < 0 {
		return p
	}
	p = append(p, bpf.TAX{}, load(argHigh(length)))
	p = append(p, unless(bpf.JumpLessThan, baseHigh-1, retKill)...)
	p = append(p, bpf.ALUOpX{Op: bpf.ALUOpAdd})
	return append(p, unless(bpf.JumpLessThan, baseHigh-1, retKill)...)
}
