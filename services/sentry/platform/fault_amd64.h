	// Faults and the return from their handlers without the sentry, a part of
	// stub_amd64.s: faults.go.

// Of a handler's frame: its ucontext, in it the mask, and siginfo.
#define FRAME_UC 8
#define UC_MASK 296

	// A fault of the guest's. Its registers and siginfo are in the slot, and nothing
	// else is changed until nothing can go wrong any more.
	//
	//	BX	the signal
	//	R9, R11, BP	handler, restorer, and the mask that it runs with
	//	R10	flags of the action; then where the frame comes to lie
	//	DX	the stack pointer; then where the extended state does
	//	R8, R15	the alternate stack: start, and size if the frame must fit in there
faulted:
	CMPL const_slotAlone(R13), $0
	JEQ  faultAsk
	CMPL const_slotKicked(R13), $0
	JNE  faultAsk
	MOVL const_slotSigInfo(R13), BX
	CMPL BX, $31
	JA   faultAsk
	MOVL $const_faultSignals, AX
	BTL  BX, AX
	JCC  faultAsk
	CMPL (const_slotSigInfo+8)(R13), $0
	JLE  faultAsk           // somebody sent it
	MOVQ const_slotSigPending(R13), AX
	BTQ  $8, AX             // sigUnknown
	JCS  faultAsk

	MOVL const_slotActionsSet(R13), R8
	TESTL R8, R8
	JZ   faultAsk
	TESTL $1, R8
	JNZ  faultAsk
	LEAL -const_firstAction(BX), CX
	SHLL $5, CX
	MOVQ (const_slotActions+0)(R13)(CX*1), R9
	MOVQ (const_slotActions+8)(R13)(CX*1), R10
	MOVQ (const_slotActions+16)(R13)(CX*1), R11
	MOVQ (const_slotActions+24)(R13)(CX*1), BP
	CMPL R8, const_slotActionsSet(R13)
	JNE  faultAsk           // it is being changed
	CMPQ R9, $1             // SIG_DFL, SIG_IGN
	JBE  faultAsk
	BTL  $31, R10           // SA_RESETHAND
	JCS  faultAsk
	BTL  $26, R10           // SA_RESTORER
	JCC  faultAsk
	MOVQ const_slotSigMask(R13), DX
	LEAL -1(BX), CX
	BTQ  CX, DX
	JCS  faultAsk           // blocked
	ORQ  DX, BP
	BTL  $30, R10           // SA_NODEFER
	JCS  faultMasked
	BTSQ CX, BP
faultMasked:
	MOVQ REG_RIP(R12), AX
	SHRQ $12, AX
	ANDL $(const_patchedBits-1), AX
	BTL  AX, const_slotPatched(R13)
	JCS  faultAsk
	MOVQ REG_RCX(R12), AX   // as a call may have left it
	SHRQ $12, AX
	ANDL $(const_patchedBits-1), AX
	BTL  AX, const_slotPatched(R13)
	JCS  faultAsk

	// The frame, in the slot for now.
	CLD
	MOVQ R11, const_slotOut(R13)
	MOVQ $7, (const_slotOut+FRAME_UC)(R13) // as every frame has it
	MOVQ $0, (const_slotOut+FRAME_UC+8)(R13)
	LEAQ const_slotAltStack(R13), SI
	LEAQ (const_slotOut+FRAME_UC+UC_SS_SP)(R13), DI
	MOVL $3, CX
	REP; MOVSQ
	LEAQ UC_REGS(R12), SI
	MOVL $23, CX
	REP; MOVSQ
	MOVQ DX, (const_slotOut+FRAME_UC+REG_OLDMASK)(R13)
	MOVQ DX, (const_slotOut+FRAME_UC+UC_MASK)(R13)
	XORL AX, AX
	LEAQ (const_slotOut+FRAME_UC+UC_FPSTATE+8)(R13), DI
	MOVL $8, CX
	REP; STOSQ
	LEAQ (const_slotOut+const_frameSigInfo)(R13), DI
	MOVL $(const_frameWords-const_frameSigInfo/8), CX
	REP; STOSQ
	MOVL BX, (const_slotOut+const_frameSigInfo)(R13)
	MOVL (const_slotSigInfo+8)(R13), AX
	MOVL AX, (const_slotOut+const_frameSigInfo+8)(R13)
	MOVQ (const_slotSigInfo+16)(R13), AX
	MOVQ AX, (const_slotOut+const_frameSigInfo+16)(R13)

	// Where it goes.
	MOVQ REG_RSP(R12), DX
	MOVQ (const_slotAltStack+0)(R13), R8
	MOVQ (const_slotAltStack+16)(R13), R15
	CMPL (const_slotAltStack+8)(R13), $0
	JLT  faultAsk           // SS_AUTODISARM
	MOVQ DX, CX
	SUBQ R8, CX
	DECQ CX
	SUBQ $128, DX           // the red zone
	CMPQ CX, R15
	JB   faultPlace         // it runs there already
	TESTQ R15, R15
	JZ   faultPlace
	BTL  $27, R10           // SA_ONSTACK
	JCS  faultAlt
	XORL R15, R15
	JMP  faultPlace
faultAlt:
	LEAQ (R8)(R15*1), DX
faultPlace:
	MOVQ $const_GuestTop, AX
	CMPQ DX, AX
	JA   faultAsk
	CMPQ DX, $const_GuestBottom
	JB   faultAsk
	CMPL const_slotFPState(R13), $const_FPMagic1
	JNE  faultAsk
	MOVL (const_slotFPState+4)(R13), CX
	CMPL CX, $const_maxFPSize
	JA   faultAsk
	SUBQ CX, DX
	ANDQ $~63, DX
	LEAQ -(const_SigReturnState+FRAME_UC)(DX), R10
	TESTQ R15, R15
	JZ   faultFits
	MOVQ R10, AX
	SUBQ R8, AX
	DECQ AX
	CMPQ AX, R15
	JAE  faultAsk
faultFits:
	MOVQ DX, (const_slotOut+FRAME_UC+UC_FPSTATE)(R13)
	MOVQ UC_FPSTATE(R12), SI
	MOVQ DX, DI
	REP; MOVSB
	TESTQ CX, CX
	JNZ  faultAsk
	LEAQ const_slotOut(R13), SI
	MOVQ R10, DI
	MOVL $const_frameWords, CX
	REP; MOVSQ
	TESTQ CX, CX
	JNZ  faultAsk

	// It is delivered. What is left is an answer as the sentry gives it.
	LEAQ REG_ERR(R12), SI
	LEAQ const_slotLastFault(R13), DI
	MOVSQ
	MOVSQ
	MOVQ REG_CR2(R12), AX
	MOVQ AX, (const_slotLastFault+16)(R13)
	MOVQ BP, const_slotSigMask(R13)
	MOVQ BX, (const_slotRegs+8*8)(R13)
	LEAQ const_frameSigInfo(R10), AX
	MOVQ AX, (const_slotRegs+8*9)(R13)
	LEAQ FRAME_UC(R10), AX
	MOVQ AX, (const_slotRegs+8*12)(R13)
	MOVQ $0, (const_slotRegs+8*13)(R13)
	MOVQ R10, (const_slotRegs+8*15)(R13)
	MOVQ R9, (const_slotRegs+8*16)(R13)
	ANDQ $~0x10500, (const_slotRegs+8*17)(R13) // DF, TF, RF
	MOVQ $const_opResetFP, const_slotOps(R13)
	MOVQ $0, (const_slotOps+8)(R13)
	MOVQ $0, (const_slotOps+16)(R13)
	MOVQ $1, const_slotNOps(R13)
	MOVQ $const_ansRegs, const_slotFlags(R13)
	JMP  answered
faultAsk:
	XORL R15, R15
	JMP  publishRanges

	// rt_sigreturn, on both lanes. Nothing is changed until nothing can go wrong any
	// more but the copying of the extended state, which the sentry then orders again.
	//
	//	R8	the frame's ucontext, as copied into the slot
	//	R9	the components of the extended state, R11 where the frame has it
	//	R10	the mask
returned:
	CMPL const_slotAlone(R13), $0
	JEQ  maskAsk
	MOVQ (const_slotRegs+8*15)(R13), SI
	MOVQ $(const_GuestTop-0x10000), CX
	CMPQ SI, CX
	JAE  maskAsk
	LEAQ const_SigReturnState(SI), R11
	LEAQ const_slotIn(R13), R8
	MOVQ R8, DI
	MOVL $(const_SigReturnSize/8), CX
	REP; MOVSQ
	TESTQ CX, CX
	JNZ  maskAsk

	CMPQ UC_FPSTATE(R8), R11
	JNE  maskAsk
	LEAQ (const_SigReturnState+const_FPReserved)(R8), SI
	MOVQ const_slotFPState(R13), AX
	CMPQ AX, (SI)
	JNE  maskAsk
	MOVQ (const_slotFPState+8)(R13), R9
	CMPQ R9, 8(SI)
	JNE  maskAsk
	TESTQ R9, R9
	JZ   maskAsk            // no XSAVE
	MOVL (const_slotFPState+16)(R13), CX
	CMPL CX, 16(SI)
	JNE  maskAsk
	CMPL CX, $const_maxFPSize
	JA   maskAsk
	LEAQ (R11)(CX*1), SI
	LEAQ const_slotScratch(R13), DI
	MOVL $4, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  maskAsk
	CMPL const_slotScratch(R13), $const_FPMagic2
	JNE  maskAsk

	MOVQ UC_SS_SP(R8), AX
	CMPQ AX, (const_slotAltStack+0)(R13)
	JNE  maskAsk
	MOVL UC_SS_FLAGS(R8), AX
	CMPL AX, (const_slotAltStack+8)(R13)
	JNE  maskAsk
	MOVQ UC_SS_SIZE(R8), AX
	CMPQ AX, (const_slotAltStack+16)(R13)
	JNE  maskAsk
	MOVQ REG_RIP(R8), AX
	MOVQ $const_GuestTop, CX
	CMPQ AX, CX
	JAE  maskAsk
	SHRQ $12, AX
	ANDL $(const_patchedBits-1), AX
	BTL  AX, const_slotPatched(R13)
	JCS  maskAsk
	TESTQ $0x100, REG_EFL(R8) // TF
	JNZ  maskAsk
	MOVQ UC_MASK(R8), R10
	ANDQ $~const_sigUnblockable, R10
	MOVQ const_slotSigPending(R13), AX
	BTQ  $8, AX             // sigUnknown
	JCS  maskAsk
	MOVQ R10, CX
	NOTQ CX
	TESTQ AX, CX
	JNZ  maskAsk            // something becomes deliverable

	TESTQ R12, R12
	JZ   returnLive
	MOVQ UC_FPSTATE(R12), DX
	MOVQ R11, SI
	MOVQ DX, DI
	MOVL $const_FPReserved, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  maskAsk
	LEAQ const_FPLegacySize(R11), SI
	LEAQ const_FPLegacySize(DX), DI
	MOVL (const_slotFPState+4)(R13), CX
	CMPL CX, $const_maxFPSize
	JA   maskAsk
	SUBL $(const_FPLegacySize+4), CX
	JCS  maskAsk
	REP; MOVSB
	TESTQ CX, CX
	JNZ  maskAsk
	LEAQ UC_REGS(R8), SI
	LEAQ UC_REGS(R12), DI
	MOVL $17, CX
	REP; MOVSQ
	MOVQ (SI), AX
	ANDL $const_frameFlags, AX
	ANDQ $~const_frameFlags, (DI)
	ORQ  AX, (DI)
	JMP  returnMask
returnLive:
	MOVQ R9, AX
	MOVQ R9, DX
	SHRQ $32, DX
	MOVQ R11, SI
	LEAQ const_slotScratch(R13), DI
	MOVQ DI, CX
	XRSTOR_SI
	CMPQ DI, CX
	JNE  maskAsk
	LEAQ UC_REGS(R8), SI
	LEAQ const_slotRegs(R13), DI
	MOVL $17, CX
	REP; MOVSQ
	MOVQ (SI), AX
	ANDL $const_frameFlags, AX
	ORQ  $0x202, AX
	MOVQ AX, (DI)
	MOVQ $const_UserSegments, AX
	MOVQ AX, 8(DI)
returnMask:
	MOVQ $const_ansRegs, const_slotFlags(R13)
	MOVQ R10, AX
	XCHGQ AX, const_slotSigMask(R13)
	// A signal that was sent meanwhile is seen here, or has seen the mask.
	NOTQ R10
	ANDQ const_slotSigPending(R13), R10
	TESTQ R12, R12
	JZ   returnFast
	TESTQ R10, R10
	JZ   sigreturn
	LEAQ UC_REGS(R12), SI
	LEAQ const_slotRegs(R13), DI
	MOVL $23, CX
	REP; MOVSQ
	JMP  upgradedStop
returnFast:
	TESTQ R10, R10
	JZ   finalRegs
	MOVL $1, const_slotKicked(R13)
	JMP  finalRegs
