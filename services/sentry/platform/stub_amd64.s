#include "textflag.h"
#include "go_asm.h"

// The stub: the only code of ours in a guest's process. It is copied from here
// to const_base of every stub process, so that it refers to nothing but fixed
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
#define REG_RSP (UC_REGS+15*8)
#define REG_RIP (UC_REGS+16*8)
#define REG_EFL (UC_REGS+17*8)

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
	MOVQ R14, R13
	ADDQ $(const_slots-const_areas), R13

	// Raised in this text: a copy that faults is stepped over.
	MOVQ REG_RIP(R12), AX
	MOVQ $const_base, CX
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
	JNE  publishRanges
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
	// milliseconds, and a sleeper is woken sooner than that.
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, R15
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

doCopyState:
	// Between guest memory at a0 and the processor's extended state that the host
	// saved, at its offset a1: a2 bytes, to the guest if a3 is 0.
	MOVQ $-22, AX
	TESTQ R12, R12
	JZ   opError            // the fast lane has none
	MOVQ UC_FPSTATE(R12), SI
	ADDQ 24(R15), SI
	MOVQ 32(R15), CX
	CMPQ CX, $const_areaSize
	JA   opError
	MOVQ SI, DX
	SUBQ R14, DX
	CMPQ DX, $const_areaSize
	JAE  opError
	ADDQ CX, DX
	CMPQ DX, $const_areaSize
	JA   opError            // not within the private area
	MOVQ 16(R15), DI
	CMPQ 40(R15), $0
	JEQ  copyState
	XCHGQ SI, DI
copyState:
	REP; MOVSB
	JMP  copied

doFlags:
	// Those flags of a1 that the processor has join the answer's registers, and the
	// word at a0 of the slot, which is to become the guest's frame's.
	MOVQ SP, CX
	LEAQ const_slotOps(R13), SP
	PUSHFQ
	POPQ AX
	MOVQ CX, SP
	ANDQ 24(R15), AX
	ORQ  AX, (const_slotRegs+8*17)(R13)
	MOVQ 16(R15), CX
	ANDL $0xfff8, CX
	ORQ  AX, (R13)(CX*1)
	JMP  opDone

doSaveLive:
	// On the fast lane the extended state is in the processor. Its components a1 go
	// to guest memory at a0, where the header is clear, as the kernel writes them to a
	// frame: x87 and SSE are always marked as there.
	MOVQ 16(R15), SI
	MOVQ 24(R15), AX
	MOVQ AX, DX
	SHRQ $32, DX
	LEAQ const_slotScratch(R13), DI
	MOVQ DI, R8
	XSAVE_SI
	CMPQ DI, R8
	JNE  liveFault
	ADDQ $512, SI
	MOVQ SI, R9
	MOVSQ                   // or nothing, if it faults
	CMPQ DI, R8
	JEQ  liveFault
	MOVQ (R8), AX
	ORQ  $3, AX
	MOVQ R9, DI
	LEAQ 8(DI), CX
	STOSQ
	SUBQ DI, CX
	JMP  copied

doLoadLive:
	// The processor's components a2 become what is at a0 of guest memory: those of a1
	// as they are there, the others as at the start of a program. But if the second
	// magic number is not at a3 behind a0, only x87 and SSE count.
	MOVQ 16(R15), R8
	MOVQ 24(R15), R9
	LEAQ const_slotScratch(R13), R10
	MOVQ 40(R15), R11
	TESTQ R11, R11
	JZ   loadLegacy
	LEAQ (R8)(R11*1), SI
	MOVQ R10, DI
	MOVL $4, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  loadFault
	CMPL (R10), $const_FPMagic2
	JEQ  loadInit
	XORL R11, R11           // R11: not just x87 and SSE
loadLegacy:
	XORL R9, R9
loadInit:
	MOVQ 32(R15), AX
	MOVQ R9, CX
	NOTQ CX
	TESTQ AX, CX
	JZ   loadThese
	MOVQ AX, DX
	SHRQ $32, DX
	MOVQ $(const_table+const_tableInit), SI
	XRSTOR_SI
loadThese:
	MOVQ R10, DI
	TESTQ R11, R11
	JNZ  loadXSAVE
	LEAQ 112(R8), SI
	FXRSTOR_SI112
	JMP  loaded
loadXSAVE:
	MOVQ R9, AX
	MOVQ AX, DX
	SHRQ $32, DX
	MOVQ R8, SI
	XRSTOR_SI
	TESTQ $2, R9
	JNZ  loaded
	MOVQ $(const_table+const_tableInit), SI
	LDMXCSR 24(SI)          // which AVX's state has brought, and SSE's is initial
loaded:
	XORL AX, AX
	CMPQ DI, R10
	JEQ  opResult
loadFault:
	MOVQ 32(R15), AX        // as Linux leaves it then
	MOVQ AX, DX
	SHRQ $32, DX
	MOVQ $(const_table+const_tableInit), SI
	XRSTOR_SI
liveFault:
	MOVQ $-14, AX           // EFAULT
	JMP  opFailed

resetLive:
	MOVQ 24(R15), AX
	MOVQ AX, DX
	SHRQ $32, DX
	MOVQ $(const_table+const_tableInit), SI
	XRSTOR_SI
	JMP  opDone

doResetFP:
	TESTQ R12, R12
	JZ   resetLive
	// What fninit and the kernel's start-up state set; the extended header's
	// mask, a0, makes every register initial that it does not name.
	MOVQ UC_FPSTATE(R12), DI
	TESTQ DI, DI
	JZ   opDone
	MOVQ $0x37f, 0(DI)
	MOVQ $0, 8(DI)
	MOVQ $0, 16(DI)
	MOVL $0x1f80, 24(DI)
	MOVQ 16(R15), AX
	MOVQ AX, 512(DI)
	// Without the extended state's mark, the legacy registers count: clear them.
	MOVQ DI, DX
	ADDQ $32, DI
	XORL AX, AX
	MOVQ $48, CX
	REP; STOSQ
	MOVQ DX, DI
	JMP  opDone

doClone:
	MOVQ $-22, AX
	TESTQ R12, R12
	JZ   opError            // the fast lane has no frame for a child
	// With CLONE_VM the child gets its own area: copy the frame there.
	MOVQ 16(R15), BP        // flags
	XORL DX, DX             // distance between the areas
	XORL SI, SI
	MOVQ R12, DI            // the child's ucontext
	TESTQ $0x100, BP        // CLONE_VM
	JZ   cloneBirth
	MOVQ 24(R15), DX
	ANDQ $(const_MaxThreads-1), DX
	SHLQ $const_areaShift, DX
	MOVQ $const_areas, AX
	ADDQ AX, DX
	SUBQ R14, DX
	MOVQ R12, SI
	LEAQ (R12)(DX*1), DI
	LEAQ const_areaSize(R14), CX
	SUBQ R12, CX
	SHRQ $3, CX
	REP; MOVSQ
	LEAQ (R12)(DX*1), SI    // the child's ucontext, and stack pointer
	LEAQ const_altStackOff(R14)(DX*1), AX
	MOVQ AX, UC_SS_SP(SI)
	MOVQ UC_FPSTATE(SI), AX
	MOVQ SI, DI
	TESTQ AX, AX
	JZ   cloneBirth
	ADDQ DX, AX
	MOVQ AX, UC_FPSTATE(SI)
cloneBirth:
	MOVQ 8(R15), AX
	MOVQ AX, BIRTH_HOW(DI)
	MOVQ 56(R15), AX
	MOVQ AX, BIRTH_SP(DI)
	MOVQ const_slotBirthTIDPtr(R13), AX
	MOVQ AX, BIRTH_TIDPTR(DI)
	MOVQ const_slotBirthTID(R13), AX
	MOVQ AX, BIRTH_TID(DI)
	MOVQ const_slotBirthRIP(R13), AX
	MOVQ AX, BIRTH_RIP(DI)
	MOVQ DX, R9
	MOVQ BP, DI
	MOVQ 40(R15), R10
	MOVQ 48(R15), R8
	// The child may look at no memory that the parent goes on to change: BP
	// holds its flags, R9 the distance, DX (the parent's tid, unused) the token;
	// the rest lies below its own ucontext.
	MOVQ 32(R15), DX
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  opResult

	// The child.
	ADDQ R9, R12
	ADDQ R9, R13
	ADDQ R9, R14
	TESTQ $0x10000, BP      // CLONE_THREAD
	JNZ  ready
	// Show the token; the sentry answers with this process's descriptors.
	MOVQ DX, DI
	MOVL $SYS_dup, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	TESTQ $0x100, BP
	JNZ  ready
	// A new address space: its own slots.
	MOVQ $const_slots, DI
	MOVQ $(const_MaxThreads*const_slotSize), SI
	MOVL $3, DX             // PROT_READ|PROT_WRITE
	MOVL $0x11, R10         // MAP_SHARED|MAP_FIXED
	MOVL $const_fdSlots, R8
	XORL R9, R9
	MOVL $SYS_mmap, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	MOVL $const_fdSlots, DI
	MOVL $SYS_close, AX
	SYSCALL
ready:
	// GS finds this thread's slot, if it found its parent's.
	MOVQ $(const_table+const_tableMarks), AX
	CMPQ const_markGSBase(AX), $0
	JEQ  readyAsk
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc8 // RDGSBASE AX
	TESTQ AX, AX
	JZ   readyGS
	SHRQ $32, AX
	CMPQ AX, $(const_base>>32)
	JNE  readyNow           // the guest's own, which its child has too
readyGS:
	BYTE $0xf3; BYTE $0x49; BYTE $0x0f; BYTE $0xae; BYTE $0xdd // WRGSBASE R13
	JMP  readyNow
readyAsk:
	TESTQ $const_opSetGS, BIRTH_HOW(R12)
	JZ   readyNow
	MOVL $const_archSetGS, DI
	MOVQ R13, SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
readyNow:
	MOVL $SYS_gettid, AX
	SYSCALL
	TESTQ $const_opDirect, BIRTH_HOW(R12)
	JZ   report
	// Straight to the guest. It can be kicked from now on, and was not before:
	// either the sentry sees the number, or this sees that it wanted to kick.
	XCHGQ AX, const_slotTID(R13)
	MOVQ $0, REG_RAX(R12)
	MOVQ BIRTH_RIP(R12), AX
	MOVQ AX, REG_RIP(R12)
	MOVQ BIRTH_SP(R12), AX
	TESTQ AX, AX
	JZ   birthTID
	MOVQ AX, REG_RSP(R12)
birthTID:
	CLD
	MOVQ BIRTH_TIDPTR(R12), DI
	TESTQ DI, DI
	JZ   birthKick
	LEAQ BIRTH_TID(R12), SI
	MOVL $4, CX
	REP; MOVSB              // a bad address is nobody's concern: clone(2)
birthKick:
	CMPL const_slotBirthKick(R13), $0
	JEQ  sigreturn
	MOVQ const_slotTID(R13), AX
report:
	MOVQ AX, const_slotTID(R13)
	MOVQ R12, const_slotFrame(R13)
	CLD
	LEAQ UC_REGS(R12), SI
	LEAQ const_slotRegs(R13), DI
	MOVQ $23, CX
	REP; MOVSQ
	MOVQ $const_kindReady, const_slotKind(R13)
	XORQ R15, R15
	JMP  publishRanges

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

	// The fast lane. A rewritten call site comes here by way of its trampoline
	// (package rewrite), with R11 the address of a SYSCALL instruction there that
	// does the same by the trap lane, and is followed by the way back. CX is free,
	// as it is around any system call; nothing else is, not even the flags.
	//
	// GS finds the slot, which says where it lies, if the guest has not set GS to
	// something of its own: then what is read there is no address in the stub's
	// 4 GiB, or cannot be read (badGS). The check uses no flag: the high half of
	// the address, bytes reversed, plus what makes it 0.
	BYTE $0x46; BYTE $0x61; BYTE $0x73; BYTE $0x74 // "FastLane": markFast
	BYTE $0x4c; BYTE $0x61; BYTE $0x6e; BYTE $0x65
fast:
	MOVQ const_slotAddr(GS), CX
	BSWAPQ CX
	LEAL 0x01810000(CX), CX
	JCXZQ fastIn
	JMP  R11
fastIn:
	MOVQ AX, (const_slotRegs+8*13)(GS)
	BYTE $0x9f              // LAHF
	SETOS AL
	MOVW AX, const_slotFastFlags(GS)
	MOVQ (const_slotRegs+8*13)(GS), AX
	CMPQ AX, $const_tableCalls
	JAE  slow
	MOVQ R15, (const_slotRegs+8*7)(GS)
	MOVQ $(const_table+const_tableLanes), CX
	MOVBLZX (CX)(AX*1), CX
	TESTL CX, CX
	JZ   slow
	CMPL CX, $const_laneSelf
	JAE  self
ring:
	MOVQ R8, (const_slotRegs+8*0)(GS)
	MOVQ R9, (const_slotRegs+8*1)(GS)
	MOVQ R10, (const_slotRegs+8*2)(GS)
	MOVQ R12, (const_slotRegs+8*4)(GS)
	MOVQ R13, (const_slotRegs+8*5)(GS)
	MOVQ R14, (const_slotRegs+8*6)(GS)
	MOVQ DI, (const_slotRegs+8*8)(GS)
	MOVQ SI, (const_slotRegs+8*9)(GS)
	MOVQ BP, (const_slotRegs+8*10)(GS)
	MOVQ BX, (const_slotRegs+8*11)(GS)
	MOVQ DX, (const_slotRegs+8*12)(GS)
	MOVQ SP, (const_slotRegs+8*15)(GS)
	ADDQ $2, R11            // past the SYSCALL: the way back
	MOVQ R11, (const_slotRegs+8*16)(GS)
	MOVQ const_slotAddr(GS), R13
	MOVQ R13, R14
	SUBQ $(const_slots-const_areas), R14
	XORL R12, R12
	XORL R15, R15
	MOVQ $const_kindFast, const_slotKind(R13)
	CLD
	CMPQ AX, $SYS_rt_sigprocmask
	JNE  copyArguments

	// rt_sigprocmask(how, set, old, size): sigmask.go. Everything that can fail
	// comes before the mask changes, and is the sentry's to answer.
mask:
	CMPQ R10, $8
	JNE  maskAsk
	MOVQ const_slotSigPending(R13), R10
	BTQ  $8, R10            // sigUnknown
	JCS  maskAsk
	MOVQ const_slotSigMask(R13), BX // BX: the mask as it was
	MOVQ BX, R8             // R8: as it will be
	TESTQ SI, SI
	JZ   maskOld
	MOVL DI, R9
	LEAQ const_slotIn(R13), DI
	LEAQ 8(DI), CX
	MOVSQ                   // or nothing, if it faults
	CMPQ DI, CX
	JNE  maskAsk
	MOVQ const_slotIn(R13), AX
	CMPL R9, $1
	JB   maskBlock
	JEQ  maskUnblock
	CMPL R9, $2
	JNE  maskAsk
	MOVQ AX, R8
	JMP  maskCheck
maskBlock:
	ORQ  AX, R8
	JMP  maskCheck
maskUnblock:
	NOTQ AX
	ANDQ AX, R8
maskCheck:
	ANDQ $~const_sigUnblockable, R8
	MOVQ R8, AX
	NOTQ AX
	ANDQ R10, AX
	JNZ  maskAsk            // something becomes deliverable
maskOld:
	TESTQ DX, DX
	JZ   maskSet
	MOVQ $(const_GuestTop-8), CX
	CMPQ DX, CX
	JA   maskAsk
	MOVQ DX, DI
	LEAQ 8(DI), CX
	MOVQ BX, AX
	STOSQ                   // or nothing, if it faults
	CMPQ DI, CX
	JNE  maskAsk
maskSet:
	MOVQ $0, const_slotFlags(R13)
	MOVQ $0, const_slotResult(R13)
	TESTQ SI, SI
	JZ   maskDone
	MOVQ R8, AX
	XCHGQ AX, const_slotSigMask(R13)
	// A signal that was sent meanwhile is seen here, or has seen the mask.
	NOTQ R8
	ANDQ const_slotSigPending(R13), R8
	JZ   maskDone
	TESTQ R12, R12
	JNZ  maskStop
	MOVL $1, const_slotKicked(R13)
maskDone:
	TESTQ R12, R12
	JZ   final
	XORL AX, AX
	JMP  aloneDone
maskStop:
	// On the trap lane nobody looks for kicks any more: it stops here, after the call.
	MOVQ $0, REG_RAX(R12)
	MOVQ $0, (const_slotRegs+8*13)(R13)
	JMP  upgradedStop
maskAsk:
	MOVQ (const_slotRegs+8*13)(R13), AX
	JMP  copyArguments

#include "lease_amd64.h"
	// What the stub answers alone on the trap lane: alone.go. CX says how. The registers
	// are in the slot, and whatever does not go well is the sentry's to answer. Now and
	// then it is asked in any case, to learn which sites are worth rewriting.
alone:
	CMPL const_slotKicked(R13), $0
	JNE  ask
	INCL const_slotAloneCount(R13)
	TESTL $(const_aloneSample-1), const_slotAloneCount(R13)
	JZ   ask
	MOVQ (const_slotRegs+8*8)(R13), DI
	MOVQ (const_slotRegs+8*9)(R13), SI
	MOVQ (const_slotRegs+8*12)(R13), DX
	MOVQ (const_slotRegs+8*2)(R13), R10
	CMPL CX, $const_aloneSelf
	JAE  aloneSelf
	CMPL CX, $const_aloneRead
	JAE  ahead
	CMPL CX, $const_aloneMask
	JEQ  mask
	CMPL CX, $const_aloneRobust
	JEQ  aloneRobust
	CMPL CX, $const_aloneTIDAddress
	JEQ  aloneTIDAddress
	CMPL CX, $const_aloneSetFS
	JEQ  aloneSetFS
	CMPL CX, $const_aloneRseq
	JEQ  aloneRseq
	CMPL CX, $const_aloneLimit
	JEQ  aloneLimit
	JMP  ask
aloneSelf:
	MOVQ (const_slotSelf-8*const_aloneSelf)(R13)(CX*8), AX
	BTQ  $63, AX            // not known?
	JCC  ask
	MOVL AX, AX
aloneDone:
	MOVQ AX, REG_RAX(R12)
	JMP  sigreturn

aloneRobust:
	CMPQ SI, $const_robustSize
	JNE  ask
	MOVQ DI, const_slotRobust(R13)
	XORL AX, AX
	JMP  aloneDone

aloneTIDAddress:
	MOVQ $const_GuestTop, CX
	CMPQ DI, CX
	JAE  ask
	MOVQ (const_slotSelf+8*const_SelfTID)(R13), BX
	BTQ  $63, BX
	JCC  ask
	MOVL $SYS_set_tid_address, AX
	SYSCALL
	MOVL BX, AX
	JMP  aloneDone

aloneSetFS:
	CMPQ DI, $const_archSetFS
	JNE  ask
	MOVQ $const_GuestTop, CX
	CMPQ SI, CX
	JAE  ask
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	JMP  aloneDone

aloneRseq:
	TESTL DX, DX            // flags
	JNZ  ask
	MOVL SI, SI
	MOVQ $const_GuestTop, CX
	CMPQ DI, CX
	JAE  ask
	SUBQ DI, CX
	CMPQ SI, CX
	JA   ask
	MOVL $SYS_rseq, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  aloneDone
	MOVQ DI, const_slotRseqArea(R13)
	MOVL SI, const_slotRseqSize(R13)
	MOVL R10, const_slotRseqSign(R13)
	JMP  aloneDone

	// prlimit64(0, resource, NULL, old). The limit is good if its number is the same
	// before and after, and even.
aloneLimit:
	TESTL DI, DI
	JNZ  ask
	TESTQ DX, DX
	JNZ  ask
	CMPL SI, $const_NumLimits
	JAE  ask
	MOVL const_slotLimitsSet(R13), BX
	TESTL BX, BX
	JZ   ask
	TESTL $1, BX
	JNZ  ask
	SHLL $4, SI             // clears its high half
	MOVQ (const_slotLimits+0)(R13)(SI*1), R8
	MOVQ (const_slotLimits+8)(R13)(SI*1), R9
	CMPL BX, const_slotLimitsSet(R13)
	JNE  ask
	TESTQ R10, R10
	JZ   ask
	MOVQ $(const_GuestTop-16), CX
	CMPQ R10, CX
	JA   ask
	MOVQ R10, DI
	LEAQ 8(DI), CX
	MOVQ R8, AX
	STOSQ                   // or nothing, if it faults
	CMPQ DI, CX
	JNE  ask
	LEAQ 8(DI), CX
	MOVQ R9, AX
	STOSQ
	CMPQ DI, CX
	JNE  ask
	XORL AX, AX
	JMP  aloneDone

	// What the file is like that the linker has just opened: ahead.go.
ahead:
	CMPL DI, const_slotAheadFD(R13)
	JNE  ask
	CMPL CX, $const_aloneClose
	JEQ  aheadClose
	CMPL CX, $const_alonePread
	JEQ  aheadPread
	CMPL CX, $const_aloneRead
	JEQ  aheadRead
	CMPL CX, $const_aloneStat
	JEQ  aheadStat
	// newfstatat(fd, "", buf, AT_EMPTY_PATH)
	CMPL R10, $const_atEmptyPath
	JNE  ask
	LEAQ const_slotScratch(R13), DI
	LEAQ 1(DI), CX
	MOVSB                   // or nothing, if it faults
	CMPQ DI, CX
	JNE  ask
	CMPB const_slotScratch(R13), $0
	JNE  ask
	MOVQ DX, SI
aheadStat:
	MOVQ SI, DI
	LEAQ const_slotAheadStat(R13), SI
	MOVL $const_statSize, DX
	XORL R10, R10           // R10: the result
	XORL CX, CX
	JMP  aheadCopy
aheadRead:
	MOVQ const_slotAheadPos(R13), R10
aheadPread:
	MOVQ const_slotAheadHave(R13), R9
	CMPQ R10, R9
	JA   ask
	SUBQ R10, R9
	CMPQ DX, R9
	JA   ask                // more than is there, which need not be all
	TESTQ DX, DX
	JZ   ask
	MOVQ SI, DI
	LEAQ const_slotAheadData(R13)(R10*1), SI
	MOVQ DX, R10
aheadCopy:
	MOVL CX, BX
	MOVQ $const_GuestTop, CX
	CMPQ DI, CX
	JAE  ask
	SUBQ DI, CX
	CMPQ DX, CX
	JA   ask
	MOVQ DX, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  ask
	CMPL BX, $const_aloneRead
	JNE  aheadDone
	ADDQ R10, const_slotAheadPos(R13)
aheadDone:
	MOVQ R10, AX
	JMP  aloneDone
aheadClose:
	MOVL $-1, const_slotAheadFD(R13)
	MOVL $1, const_slotAheadClosed(R13)
	XORL AX, AX
	JMP  aloneDone

	// What the slot itself can answer: words that the sentry keeps up to date. A
	// kick in these instructions starts them again, and then goes by the trap.
	BYTE $0x53; BYTE $0x65; BYTE $0x6c; BYTE $0x66 // "SelfCall": markSelf
	BYTE $0x43; BYTE $0x61; BYTE $0x6c; BYTE $0x6c
self:
	CMPL const_slotKicked(GS), $0
	JNE  slow
	MOVQ (const_slotRegs+8*13)(GS), AX
	MOVQ $(const_table+const_tableLanes), CX
	MOVBLZX (CX)(AX*1), CX
	// MOVQ GS:(slotSelf-8*laneSelf)(CX*8), CX
	BYTE $0x65; BYTE $0x48; BYTE $0x8b; BYTE $0x0c; BYTE $0xcd
	LONG $(const_slotSelf-8*const_laneSelf)
	BTQ  $63, CX            // not known?
	JCC  ring
	MOVWLZX const_slotFastFlags(GS), AX
	ADDB $0x7f, AL
	BYTE $0x9e              // SAHF
	MOVL CX, AX
	LEAQ 2(R11), CX
	JMP  CX
	BYTE $0x53; BYTE $0x65; BYTE $0x6c; BYTE $0x66 // "SelfDone": markSelfEnd before it
	BYTE $0x44; BYTE $0x6f; BYTE $0x6e; BYTE $0x65

slow:
	MOVWLZX const_slotFastFlags(GS), AX
	ADDB $0x7f, AL          // overflow, if AL is 1
	BYTE $0x9e              // SAHF
	MOVQ (const_slotRegs+8*13)(GS), AX
	JMP  R11

finishFast:
	TESTQ $(const_ansRegs|const_ansUpgrade), const_slotFlags(R13)
	JEQ  final
	TESTQ $const_ansUpgrade, const_slotFlags(R13)
	JEQ  finalRegs
upgrade:
	INT  $3
	BYTE $0x55; BYTE $0x70; BYTE $0x67; BYTE $0x72 // "Upgrade!": markUpgrade before it
	BYTE $0x61; BYTE $0x64; BYTE $0x65; BYTE $0x21
	BYTE $0x46; BYTE $0x69; BYTE $0x6e; BYTE $0x61 // "FinalRun": markFinal
	BYTE $0x6c; BYTE $0x52; BYTE $0x75; BYTE $0x6e
final:
	CMPL const_slotKicked(GS), $0
	JNE  upgrade
	MOVQ (const_slotRegs+8*0)(GS), R8
	MOVQ (const_slotRegs+8*1)(GS), R9
	MOVQ (const_slotRegs+8*2)(GS), R10
	MOVQ (const_slotRegs+8*4)(GS), R12
	MOVQ (const_slotRegs+8*5)(GS), R13
	MOVQ (const_slotRegs+8*6)(GS), R14
	MOVQ (const_slotRegs+8*7)(GS), R15
	MOVQ (const_slotRegs+8*8)(GS), DI
	MOVQ (const_slotRegs+8*9)(GS), SI
	MOVQ (const_slotRegs+8*10)(GS), BP
	MOVQ (const_slotRegs+8*11)(GS), BX
	MOVQ (const_slotRegs+8*12)(GS), DX
	MOVWLZX const_slotFastFlags(GS), AX
	ADDB $0x7f, AL
	BYTE $0x9e              // SAHF
	MOVQ const_slotResult(GS), AX
	MOVQ (const_slotRegs+8*16)(GS), R11
	JMP  R11
	BYTE $0x46; BYTE $0x69; BYTE $0x6e; BYTE $0x61 // "FinalEnd": markFinalEnd before it
	BYTE $0x6c; BYTE $0x45; BYTE $0x6e; BYTE $0x64

	// The same with all registers: to a signal's handler, and back from it. The
	// stack is a few words of the slot for a moment, for the flags.
	BYTE $0x46; BYTE $0x69; BYTE $0x6e; BYTE $0x61 // "FinalAll": markRegs
	BYTE $0x6c; BYTE $0x41; BYTE $0x6c; BYTE $0x6c
finalRegs:
	CMPL const_slotKicked(GS), $0
	JNE  upgrade
	MOVQ const_slotAddr(GS), SP
	ADDQ $const_slotOps, SP
	PUSHFQ
	ANDQ $FLAG_ID, (SP)
	MOVQ (const_slotRegs+8*17)(GS), AX
	ORQ  AX, (SP)
	POPFQ
	MOVQ (const_slotRegs+8*0)(GS), R8
	MOVQ (const_slotRegs+8*1)(GS), R9
	MOVQ (const_slotRegs+8*2)(GS), R10
	MOVQ (const_slotRegs+8*3)(GS), R11
	MOVQ (const_slotRegs+8*4)(GS), R12
	MOVQ (const_slotRegs+8*5)(GS), R13
	MOVQ (const_slotRegs+8*6)(GS), R14
	MOVQ (const_slotRegs+8*7)(GS), R15
	MOVQ (const_slotRegs+8*8)(GS), DI
	MOVQ (const_slotRegs+8*9)(GS), SI
	MOVQ (const_slotRegs+8*10)(GS), BP
	MOVQ (const_slotRegs+8*11)(GS), BX
	MOVQ (const_slotRegs+8*12)(GS), DX
	MOVQ (const_slotRegs+8*13)(GS), AX
	MOVQ (const_slotRegs+8*14)(GS), CX
	MOVQ (const_slotRegs+8*15)(GS), SP
	// JMP *GS:(slotRegs+8*16)
	BYTE $0x65; BYTE $0xff; BYTE $0x24; BYTE $0x25
	LONG $(const_slotRegs+8*16)
	BYTE $0x41; BYTE $0x6c; BYTE $0x6c; BYTE $0x52 // "AllRegsE": markRegsEnd before it
	BYTE $0x65; BYTE $0x67; BYTE $0x73; BYTE $0x45

	// The first process, straight from execve: map the areas and the slots, set
	// the handlers and the limits, install the filter, and stop with a frame like
	// any other thread's.
init:
	MOVQ $const_areas, DI
	MOVQ $(const_MaxThreads*const_areaSize), SI
	MOVL $3, DX
	MOVL $0x4032, R10       // MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE
	MOVQ $-1, R8
	XORL R9, R9
	MOVL $SYS_mmap, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	MOVQ $const_slots, DI
	MOVQ $(const_MaxThreads*const_slotSize), SI
	MOVL $3, DX
	MOVL $0x11, R10
	MOVL $const_fdSlots, R8
	XORL R9, R9
	MOVL $SYS_mmap, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	MOVL $const_fdSlots, DI
	MOVL $SYS_close, AX
	SYSCALL

	MOVL $const_archSetGS, DI
	MOVQ $const_slots, SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die

	MOVQ $(const_table+const_tableStack), DI
	XORL SI, SI
	MOVL $SYS_sigaltstack, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die

	MOVQ $(const_table+const_tableSignals), BX
nextSignal:
	MOVQ 0(BX), DI          // signal, 0 ends the list
	TESTQ DI, DI
	JZ   limits
	MOVQ 8(BX), SI          // its struct sigaction
	XORL DX, DX
	MOVL $8, R10
	MOVL $SYS_rt_sigaction, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die
	ADDQ $16, BX
	JMP  nextSignal

limits:
	MOVQ $(const_table+const_tableLimits), BX
nextLimit:
	MOVQ 0(BX), SI          // resource, -1 ends the list
	CMPQ SI, $-1
	JEQ  own
	XORL DI, DI
	LEAQ 8(BX), DX
	XORL R10, R10
	MOVL $SYS_prlimit64, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die
	ADDQ $24, BX
	JMP  nextLimit

	// fork(2) copies the page table of a private mapping of a file only if a page of it
	// has been written to; what it does not copy, each child faults in again. A host
	// that forbids the writing has it so.
own:
	MOVQ $const_base, BX
	MOVL $const_textSize, R15
	MOVL $5, BP             // PROT_READ|PROT_EXEC
ownNext:
	MOVQ BX, DI
	MOVQ R15, SI
	MOVL BP, DX
	ORL  $2, DX
	MOVL $SYS_mprotect, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  ownDone
	MOVB (BX), AL
	MOVB AL, (BX)
	MOVQ BX, DI
	MOVQ R15, SI
	MOVL BP, DX
	MOVL $SYS_mprotect, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die
ownDone:
	MOVQ $const_table, AX
	CMPQ BX, AX
	JEQ  install
	MOVQ AX, BX
	MOVL $const_tableSize, R15
	MOVL $1, BP             // PROT_READ
	JMP  ownNext

install:
	MOVL $38, DI            // PR_SET_NO_NEW_PRIVS
	MOVL $1, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_prctl, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die
	MOVL $1, DI             // SECCOMP_SET_MODE_FILTER
	MOVL $8, SI             // SECCOMP_FILTER_FLAG_NEW_LISTENER
	MOVQ $(const_table+const_tableFilter), DX
	MOVL $SYS_seccomp, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	// UD2 with the listener's number in AX: the sentry takes it from there.
	XORL BX, BX
	MOVQ $const_areas, SP
	ADDQ $const_areaSize, SP
	UD2
	JMP  die

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

// func core() uint32
TEXT ·core(SB), NOSPLIT, $0-4
	MOVL $0x7b, AX
	BYTE $0x0f; BYTE $0x03; BYTE $0xc0 // LSL AX, AX
	MOVL AX, ret+0(FP)
	RET

// func awaitChange(word *uint32, old, n uint32) bool
TEXT ·awaitChange(SB), NOSPLIT, $0-17
	MOVQ word+0(FP), DI
	MOVL old+8(FP), AX
	MOVL n+12(FP), CX
again:
	CMPL (DI), AX
	JNE  changed
	PAUSE
	DECL CX
	JNZ  again
	CMPL (DI), AX
changed:
	SETNE ret+16(FP)
	RET
