#include "textflag.h"
#include "go_asm.h"

// The stub: the only code of ours in a guest's process. It is copied from here
// to const_textAt of every stub process, so that it refers to nothing but fixed
// addresses and itself. It is entered in two ways:
//
//   - by a signal, which the filter raises for a system call (the trap lane). It
//     then runs on the signal stack of the thread's private area, with the kick
//     signal blocked, and leaves by rt_sigreturn;
//   - by a jump from a rewritten call site (the fast lane, at fast below). It then
//     runs on the guest's stack, which it does not touch, with the kick signal
//     open, and leaves by a jump.
//
// Registers, from entry to return:
//	R12  ucontext of the interrupted guest code (struct ucontext, x86-64); 0 on
//	     the fast lane, where the guest's registers are in the slot only
//	R13  the thread's slot
//	R14  the thread's private area
//	BX   scratch that outlives a host call
//
// What not every call comes through stands in files of its own, included below:
// clone, the extended state, the lanes, faults, and how the first process begins.
//
// A fault in this text can only come from a string instruction on guest memory,
// which the handler steps over: CX or DI tells what is left. They are two bytes
// long; for the others that can fault see doSwap, XSAVE_SI and fast.

// struct ucontext
#define UC_SS_SP 16
#define UC_SS_FLAGS 24
#define UC_SS_SIZE 32
#define UC_REGS 40
#define UC_FPSTATE 224
#define REG_R11 (UC_REGS+3*8)
#define REG_RDI (UC_REGS+8*8)
#define REG_RSI (UC_REGS+9*8)
#define REG_RDX (UC_REGS+12*8)
#define REG_RAX (UC_REGS+13*8)
#define REG_RCX (UC_REGS+14*8)
#define REG_RSP (UC_REGS+15*8)
#define REG_RIP (UC_REGS+16*8)
#define REG_EFL (UC_REGS+17*8)
#define REG_ERR (UC_REGS+19*8)
#define REG_OLDMASK (UC_REGS+21*8)
#define REG_CR2 (UC_REGS+22*8)

// XSAVE64 (SI) and XRSTOR64 (SI). If one faults, the handler steps over its first
// two bytes, and the others are SCASB, which moves DI, and a prefix to the NOP.
#define XSAVE_SI  BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x26; BYTE $0x90
#define XRSTOR_SI BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x2e; BYTE $0x90
// FXRSTOR64 -112(SI), whose offset is the NOP.
#define FXRSTOR_SI112 BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x4e; BYTE $0x90

// EFLAGS.ID, which is the processor's throughout the fast lane, and AC is but for an
// answer with all registers.
#define FLAG_ID 0x200000

// What a child finds below its ucontext, in private memory that no signal frame
// reaches: how it begins.
#define BIRTH_HOW    -64 // opDirect: it goes straight to the guest; opSetGS
#define BIRTH_SP     -56 // with this stack pointer, or 0 for its parent's
#define BIRTH_TIDPTR -48 // CLONE_CHILD_SETTID: where its guest id goes, or 0
#define BIRTH_TID    -40
#define BIRTH_RIP    -32

#define SYS_mmap 9
#define SYS_mprotect 10
#define SYS_madvise 28
#define SYS_close 3
#define SYS_write 1
#define SYS_rt_sigaction 13
#define SYS_rt_sigprocmask 14
#define SYS_rt_sigreturn 15
#define SYS_sched_yield 24
#define SYS_dup 32
#define SYS_clone 56
#define SYS_exit_group 231
#define SYS_munmap 11
#define SYS_prctl 157
#define SYS_arch_prctl 158
#define SYS_gettid 186
#define SYS_futex 202
#define SYS_set_tid_address 218
#define SYS_sigaltstack 131
#define SYS_prlimit64 302
#define SYS_seccomp 317
#define SYS_rseq 334

#define SIGTRAP 5
#define SIGSEGV 11
#define SIGSYS 31
#define SIGBUS 7

// func stub()
TEXT ·stub(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	TESTQ DI, DI
	JZ    init

	// A signal: DI number, SI siginfo, DX ucontext.
	MOVQ DX, R12
	MOVQ SP, R14
	ANDQ $~(const_areaSize-1), R14
	MOVQ $const_mirror, R13
	SUBQ R14, R13

	// Raised in this text: a copy that faults is stepped over.
	MOVQ REG_RIP(R12), AX
	MOVQ $const_textAt, CX
	MOVQ AX, R8
	SUBQ CX, R8
	CMPQ R8, $const_textSize
	JAE  fromGuest
	MOVQ $(const_table+const_tableMarks), R9
	CMPQ AX, const_markFast(R9)
	JEQ  badGS
	CMPQ DI, $SIGSEGV
	JEQ  copyFault
	CMPQ DI, $SIGBUS
	JEQ  copyFault
	CMPQ DI, $const_kickSignal
	JEQ  kickedInside
	CMPQ DI, $SIGTRAP
	JNE  fromGuest
	CMPQ AX, const_markUpgrade(R9)
	JEQ  upgraded
	JMP  fromGuest
copyFault:
	ADDQ $2, AX
	MOVQ AX, REG_RIP(R12)
	JMP  sigreturn

	// The guest's GS leads nowhere: on by the trap lane. A kick comes this way too.
badGS:
	CMPQ DI, $SIGSEGV
	JEQ  trapLane
	CMPQ DI, $SIGBUS
	JEQ  trapLane
	CMPQ DI, $const_kickSignal
	JNE  fromGuest
	MOVL $1, const_slotKicked(R13)
trapLane:
	MOVQ REG_R11(R12), AX
	MOVQ AX, REG_RIP(R12)
	JMP  sigreturn

	// A kick on the fast lane: noted, and seen before the thread leaves. In the
	// last instructions it is too late for that, so they start again.
kickedInside:
	MOVL $1, const_slotKicked(R13)
	CMPQ AX, const_markFinal(R9)
	JB   notFinal
	CMPQ AX, const_markFinalEnd(R9)
	JAE  notFinal
	MOVQ const_markFinal(R9), AX
	MOVQ AX, REG_RIP(R12)
	JMP  sigreturn
notFinal:
	CMPQ AX, const_markRegs(R9)
	JB   notRegs
	CMPQ AX, const_markRegsEnd(R9)
	JAE  notRegs
	MOVQ const_markRegs(R9), AX
	MOVQ AX, REG_RIP(R12)
	JMP  sigreturn
notRegs:
	CMPQ AX, const_markSelf(R9)
	JB   sigreturn
	CMPQ AX, const_markSelfEnd(R9)
	JAE  sigreturn
	MOVQ const_markSelf(R9), AX
	MOVQ AX, REG_RIP(R12)
	JMP  sigreturn

	// The fast lane wants a ucontext: it becomes the trap lane. Either the answer
	// holds all registers, and the guest goes on with them or, if it has been kicked,
	// stops with them; or the sentry wants to see the frame of the call.
upgraded:
	XORL CX, CX
	XCHGL CX, const_slotKicked(R13)
	TESTQ $const_ansRegs, const_slotFlags(R13)
	JZ   upgradedCall
	MOVQ REG_EFL(R12), AX
	ANDL $FLAG_ID, AX
	ORQ  AX, (const_slotRegs+8*17)(R13)
	TESTL CX, CX
	JZ   setRegs
	CLD
	LEAQ const_slotRegs(R13), SI
	LEAQ UC_REGS(R12), DI
	MOVQ $23, CX
	REP; MOVSQ
	JMP  upgradedStop
upgradedCall:
	MOVQ const_slotResult(R13), AX
	MOVQ AX, (const_slotRegs+8*13)(R13)
	MOVQ REG_EFL(R12), AX
	ANDQ $~0x8d5, AX
	MOVBLZX (const_slotFastFlags+1)(R13), CX
	ANDL $0xd5, CX
	ORQ  CX, AX
	MOVBLZX const_slotFastFlags(R13), CX
	ANDL $1, CX
	SHLL $11, CX
	ORQ  CX, AX
	MOVQ AX, (const_slotRegs+8*17)(R13)
	CLD
	LEAQ const_slotRegs(R13), SI
	LEAQ UC_REGS(R12), DI
	MOVQ $18, CX
	REP; MOVSQ
	MOVQ $5, CX             // what is left of them is the host's
	XCHGQ SI, DI
	REP; MOVSQ
upgradedStop:
	MOVQ $const_kindUpgraded, const_slotKind(R13)
	MOVQ R12, const_slotFrame(R13)
	XORQ R15, R15
	JMP  publishRanges

fromGuest:
	MOVQ $const_kindFault, AX
	MOVQ $const_kindSyscall, BX
	CMPQ DI, $SIGSYS
	CMOVQEQ BX, AX
	MOVQ AX, const_slotKind(R13)
	MOVQ R12, const_slotFrame(R13)

	// The start of siginfo, then the registers.
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	MOVQ R8, (const_slotSigInfo+0)(R13)
	MOVQ R9, (const_slotSigInfo+8)(R13)
	MOVQ R10, (const_slotSigInfo+16)(R13)
	MOVQ R11, (const_slotSigInfo+24)(R13)
	CLD
	LEAQ UC_REGS(R12), SI
	LEAQ const_slotRegs(R13), DI
	MOVQ $23, CX
	REP; MOVSQ
	XORQ R15, R15           // ranges copied so far
	CMPQ AX, $const_kindSyscall
	JNE  faulted
	CMPL const_slotAlone(R13), $0
	JEQ  ask
	SHRQ $32, R11           // of which architecture the call is
	CMPL R11, $const_auditArch
	JNE  ask
	MOVQ (const_slotRegs+8*13)(R13), AX
	CMPQ AX, $const_tableCalls
	JAE  publishRanges
	MOVQ $(const_table+const_tableAlone), CX
	MOVBLZX (CX)(AX*1), CX
	TESTL CX, CX
	JNZ  alone
ask:

	// Copy in what the call's arguments point to, as the table says: three
	// words of kind<<24 | arg<<16 | param for each call.
	MOVQ (const_slotRegs+8*13)(R13), AX
copyArguments:
	MOVL $const_leaseCalls, CX
	CMPQ AX, $SYS_madvise   // the highest of them
	JA   leaseAsk
	BTL  AX, CX
	JCS  leaseCall
leaseAsk:
	CMPQ AX, $const_tableCalls
	JAE  publishRanges
	SHLQ $4, AX
	MOVQ $const_table, R8
	ADDQ AX, R8             // R8: the table's row
	LEAQ 12(R8), R9         // R9: its end
	MOVQ $const_slotIn, R10 // R10: where in the slot the next range goes
nextSpec:
	MOVL (R8), AX
	TESTL AX, AX
	JZ   publishRanges
	MOVL AX, BX
	SHRL $16, BX
	ANDL $0xff, BX          // BX: offset of the argument in gregs
	MOVQ const_slotRegs(R13)(BX*1), SI
	MOVL AX, DX
	ANDL $0xffff, DX        // DX: parameter
	SHRL $24, AX
	TESTQ SI, SI
	JZ   specDone
	CMPL AX, $const_argString
	JEQ  specString
	CMPL AX, $const_argFixed
	JEQ  specLen
	// Length in another argument, shifted.
	MOVL DX, BX
	ANDL $0xff, BX
	MOVL DX, CX
	SHRL $8, CX
	MOVQ const_slotRegs(R13)(BX*1), DX
	CMPQ DX, $const_maxCopyIn
	JA   specDone
	SHLQ CX, DX
	JMP  specLen
specString:
	MOVL SI, CX
	ANDL $0xfff, CX
	MOVL $0x1000, DX
	SUBL CX, DX
	CMPL DX, $const_stringChunk
	JLE  specLen
	MOVL $const_stringChunk, DX
specLen:
	TESTQ DX, DX
	JZ   specDone
	CMPQ DX, $const_maxCopyIn
	JA   specDone
	MOVQ R10, CX
	ADDQ DX, CX
	CMPQ CX, $const_slotInEnd
	JA   specDone           // no room left
	// Record the range, then copy.
	LEAQ (R15)(R15*2), BX
	LEAQ const_slotRanges(R13)(BX*8), BX
	MOVQ SI, 0(BX)
	MOVQ DX, 8(BX)
	MOVQ R10, 16(BX)
	LEAQ (R13)(R10*1), DI
	MOVQ DX, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  specDone           // a fault: the sentry finds out itself
	ADDQ $7, DX
	ANDQ $~7, DX
	ADDQ DX, R10
	INCQ R15
specDone:
	ADDQ $4, R8
	CMPQ R8, R9
	JB   nextSpec

publishRanges:
	MOVQ R15, const_slotNRanges(R13)
publish:
	MOVL $0x7b, AX          // __CPUNODE_SEG: its limit is the core's number
	BYTE $0x0f; BYTE $0x03; BYTE $0xc0 // LSL AX, AX
	MOVL AX, const_slotStubCore(R13)
	MOVL $1, AX
	LOCK
	XADDL AX, const_slotReq(R13)
	INCL AX
	MOVL AX, BX             // BX: the request's number
	CMPL const_slotSentrySleep(R13), $0
	JEQ  await
	CMPL const_slotSentrySleep(R13), $const_sentryNear
	JEQ  await
	CMPL const_slotSentrySleep(R13), $const_sentryDrowses
	JNE  knock
	// futex(slotReq, FUTEX_WAKE, 1)
	LEAQ const_slotReq(R13), DI
	MOVL $1, SI
	MOVL $1, DX
	MOVL $SYS_futex, AX
	SYSCALL
	JMP  await
knock:
	// write(doorbell, one, 8)
	MOVL $const_fdDoorbell, DI
	MOVQ $(const_table+const_tableOne), SI
	MOVL $8, DX
	MOVL $SYS_write, AX
	SYSCALL

await:
	// Spin, then yield the core, then sleep.
	CMPL const_slotPatience(R13), $0
	JNE  sleep
	// A sentry that was last on this core cannot answer while this one spins.
	MOVL const_slotStubCore(R13), AX
	CMPL AX, const_slotSentryCore(R13)
	JEQ  giveWay
	MOVL $const_stubSpins, CX
spin:
	CMPL const_slotAns(R13), BX
	JEQ  answered
	PAUSE
	DECL CX
	JNZ  spin
giveWay:
	// Yield for a bounded time: with others on this core, one yield can take
	// milliseconds, and a sleeper is woken sooner than that. R8 is when the last began,
	// R9 how many more may run another thread until the core is taken to be wanted.
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, R15
	MOVQ AX, R8
	MOVL $const_stubCrowd, R9
yield:
	MOVL $SYS_sched_yield, AX
	SYSCALL
	CMPL const_slotAns(R13), BX
	JEQ  answered
	CMPL const_slotPatience(R13), $0
	JNE  sleep
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, DX
	SUBQ R8, DX
	MOVQ AX, R8
	CMPQ DX, $const_stubOtherRan
	JB   unshared
	DECL R9
	JZ   sleep
unshared:
	SUBQ R15, AX
	CMPQ AX, $const_stubYieldCycles
	JB   yield
sleep:
	MOVL const_slotAns(R13), DX
	CMPL DX, BX
	JEQ  answered
	// Who looks for the request may be at another's, for long.
	CMPL const_slotSentrySleep(R13), $const_sentryNear
	JNE  slumber
	CMPL const_slotPatience(R13), $0
	JNE  slumber
	MOVL $const_fdDoorbell, DI
	MOVQ $(const_table+const_tableOne), SI
	MOVL $8, DX
	MOVL $SYS_write, AX
	SYSCALL
	MOVL const_slotAns(R13), DX
	CMPL DX, BX
	JEQ  answered
slumber:
	MOVL $1, AX
	XCHGL AX, const_slotStubAsleep(R13)
	LEAQ const_slotAns(R13), DI
	XORL SI, SI             // FUTEX_WAIT, shared
	XORL R10, R10
	MOVL $SYS_futex, AX
	SYSCALL
	MOVL $0, const_slotStubAsleep(R13)
	CMPL const_slotAns(R13), BX
	JNE  sleep
answered:

	// The answer's host calls. R15 is the next, BX what is left.
	LEAQ const_slotOps(R13), R15
	MOVQ const_slotNOps(R13), BX
	CMPQ BX, $const_maxOps
	JBE  nextOp
	MOVQ $const_maxOps, BX
nextOp:
	TESTQ BX, BX
	JZ   finish
	MOVL 0(R15), AX
	CMPL AX, $const_opSyscall
	JEQ  doSyscall
	CMPL AX, $const_opCopyOut
	JEQ  doCopyOut
	CMPL AX, $const_opZero
	JEQ  doZero
	CMPL AX, $const_opClone
	JEQ  doClone
	CMPL AX, $const_opResetFP
	JEQ  doResetFP
	CMPL AX, $const_opCopyState
	JEQ  doCopyState
	CMPL AX, $const_opStore
	JEQ  doStore
	CMPL AX, $const_opSwap
	JEQ  doSwap
	CMPL AX, $const_opFlags
	JEQ  doFlags
	CMPL AX, $const_opSaveLive
	JEQ  doSaveLive
	CMPL AX, $const_opLoadLive
	JEQ  doLoadLive
	MOVQ $-22, AX
	JMP  opFailed

doSyscall:
	MOVL 4(R15), AX
	MOVQ 16(R15), DI
	MOVQ 24(R15), SI
	MOVQ 32(R15), DX
	MOVQ 40(R15), R10
	MOVQ 48(R15), R8
	MOVQ 56(R15), R9
	SYSCALL
opResult:
	CMPQ AX, $-4095
	JCC  opError            // unsigned: -4095..-1 is an error
	TESTQ $const_opIsResult, 8(R15)
	JZ   opDone
	MOVQ AX, const_slotResult(R13)
opDone:
	ADDQ $const_opSize, R15
	DECQ BX
	JMP  nextOp
opError:
	TESTQ $const_opIgnoreError, 8(R15)
	JNZ  opDone
opFailed:
	MOVQ AX, const_slotFailRes(R13)
	MOVL const_slotAns(R13), AX
	MOVQ AX, const_slotDone(R13) // what comes after it is not done
	LEAQ const_slotOps(R13), CX
	SUBQ CX, R15
	SHRQ $6, R15
	MOVQ R15, const_slotFailOp(R13)
	MOVQ $const_kindOpFailed, const_slotKind(R13)
	XORQ R15, R15
	JMP  publishRanges

doCopyOut:
	MOVQ 16(R15), DI
	MOVQ 24(R15), SI
	ADDQ R13, SI
	MOVQ 32(R15), CX
	REP; MOVSB
	JMP  copied
doStore:
	// One store, whole for all threads. STOSQ, for the length that a fault skips.
	MOVQ 16(R15), DI
	MOVQ 24(R15), AX
	LEAQ 8(DI), CX
	STOSQ
	SUBQ DI, CX
	JMP  copied
doSwap:
	// A compare-and-swap. If it faults, the handler steps over its first two bytes,
	// and the others are MOVB $0x0f, CL: ZF stays clear and AX what it was.
	MOVQ 16(R15), DI
	MOVL 24(R15), AX
	MOVL 32(R15), CX
	MOVL AX, DX
	MOVL $1, R8
	TESTL R8, R8
	BYTE $0xf0; BYTE $0x0f; BYTE $0xb1; BYTE $0x0f // LOCK CMPXCHGL CX, (DI)
	JEQ  swapped
	CMPL AX, DX
	JEQ  swapFault
	MOVQ AX, const_slotResult(R13)
	MOVQ $-11, AX           // EAGAIN
	JMP  opFailed
swapFault:
	MOVQ $-14, AX           // EFAULT
	JMP  opFailed
swapped:
	XORL AX, AX
	JMP  opResult
doZero:
	MOVQ 16(R15), DI
	MOVQ 32(R15), CX
	XORL AX, AX
	REP; STOSB
copied:
	XORL AX, AX
	MOVQ $-14, DX           // EFAULT
	TESTQ CX, CX
	CMOVQNE DX, AX
	JMP  opResult

#include "fpstate_amd64.h"
#include "birth_amd64.h"

finish:
	TESTQ $const_ansRelease, const_slotFlags(R13)
	JNZ  leaseRelease
released:
	MOVL const_slotAns(R13), AX
	MOVQ AX, const_slotDone(R13)
	TESTQ R12, R12
	JZ   finishFast
	TESTQ $const_ansRegs, const_slotFlags(R13)
	JNZ  setRegs
	MOVQ const_slotResult(R13), AX
	MOVQ AX, REG_RAX(R12)
	JMP  sigreturn
setRegs:
	LEAQ const_slotRegs(R13), SI
	LEAQ UC_REGS(R12), DI
	MOVQ $23, CX
	REP; MOVSQ
sigreturn:
	MOVQ R12, SP
	MOVL $SYS_rt_sigreturn, AX
	SYSCALL
die:
	MOVL $127, DI
	MOVL $SYS_exit_group, AX
	SYSCALL
	INT $3

#include "fast_amd64.h"
#include "lease_amd64.h"
#include "alone_amd64.h"
#include "fault_amd64.h"
#include "init_amd64.h"

	// The end, found by the sentry: stubEnd.
	BYTE $0x42; BYTE $0x75; BYTE $0x6c; BYTE $0x6b
	BYTE $0x68; BYTE $0x65; BYTE $0x61; BYTE $0x64
	BYTE $0x90; BYTE $0x90; BYTE $0x90; BYTE $0x90
	BYTE $0x90; BYTE $0x90; BYTE $0x90; BYTE $0x90

// func stubAddress() unsafe.Pointer
TEXT ·stubAddress(SB), NOSPLIT, $0-8
	LEAQ ·stub(SB), AX
	MOVQ AX, ret+0(FP)
	RET
