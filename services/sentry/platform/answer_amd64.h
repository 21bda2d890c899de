	// The answer's host calls and copies, a part of stub_amd64.s: answer.go.

answered:
	// R15 is the next, BX what is left.
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
