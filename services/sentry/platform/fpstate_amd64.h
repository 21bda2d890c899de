	// The answer's operations on the extended state, a part of stub_amd64.s: fpstate.go.

// XSAVE64 (SI) and XRSTOR64 (SI). If one faults, the handler steps over its first
// two bytes, and the others are SCASB, which moves DI, and a prefix to the NOP.
#define XSAVE_SI  BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x26; BYTE $0x90
#define XRSTOR_SI BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x2e; BYTE $0x90
// FXRSTOR64 -112(SI), whose offset is the NOP.
#define FXRSTOR_SI112 BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x4e; BYTE $0x90

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
