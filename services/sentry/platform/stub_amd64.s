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
// How it is entered by a signal, and left, is here. Its other parts are included below,
// each for a job: a request and the wait for its answer; the answer's host calls, with
// those on the extended state and clone; the fast lane and the self lane, the lease,
// calls that it answers alone, faults; and how the first process begins.
//
// A fault in this text can only come from a string instruction on guest memory,
// which the handler steps over: CX or DI tells what is left. They are two bytes
// long; for the others that can fault see doSwap, XSAVE_SI and fast.

#include "host_amd64.h"

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

#include "request_amd64.h"
#include "answer_amd64.h"
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
#include "link_amd64.h"
#include "pocket_amd64.h"
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
