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
	CMPL CX, $const_aloneReadlink
	JAE  path
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
	CMPL CX, $const_aloneReturn
	JEQ  returned
	CMPL CX, $const_aloneAction
	JNE  ask

	// rt_sigaction(signal, NULL, old, 8), on both lanes: faults.go.
action:
	CMPL const_slotAlone(R13), $0
	JEQ  ask
	TESTQ SI, SI
	JNZ  ask
	CMPQ R10, $8
	JNE  ask
	LEAL -1(DI), CX
	CMPL CX, $63
	JA   ask
	MOVQ const_slotDefault(R13), AX
	BTQ  CX, AX
	JCC  ask
	XORL AX, AX
	TESTQ DX, DX
	JZ   aloneDone
	MOVQ $(const_GuestTop-32), CX
	CMPQ DX, CX
	JA   ask
	MOVQ DX, DI
	MOVL $32, CX
	REP; STOSB
	TESTQ CX, CX
	JNZ  ask
	JMP  aloneDone

aloneSelf:
	MOVQ (const_slotSelf-8*const_aloneSelf)(R13)(CX*8), AX
	BTQ  $63, AX            // not known?
	JCC  ask
	MOVL AX, AX
aloneDone:
	TESTQ R12, R12
	JZ   aloneFast
	MOVQ AX, REG_RAX(R12)
	JMP  sigreturn
aloneFast:
	MOVQ AX, BX
	JMP  trialDone

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

	// Of the file that was just opened: ahead.go. CX says what, and the fast lane comes here
	// too.
ahead:
	TESTL DI, DI            // -1 stands for none, and is a guest's error
	JLT  aheadNone
	CMPL DI, const_slotAhead(R13)
	JNE  aheadNone
	CMPL CX, $const_aloneClose
	JEQ  aheadClose
	CMPL CX, $const_alonePread
	JEQ  aheadPread
	CMPL CX, $const_aloneRead
	JEQ  aheadRead
	CMPL CX, $const_aloneStat
	JEQ  aheadStat
	CMPL CX, $const_aloneSeek
	JEQ  aheadSeek
	CMPL CX, $const_aloneTTY
	JEQ  aheadTTY
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
	JMP  aheadStat
aheadNone:
	CMPL CX, $const_aloneStatAt
	JEQ  path
	JMP  ask
aheadStat:
	MOVQ SI, DI
	LEAQ const_slotAheadStat(R13), SI
	MOVL $const_statSize, DX
	XORL R10, R10           // R10: the result
	XORL CX, CX
	JMP  aheadCopy
aheadSeek:
	TESTQ SI, SI
	JNZ  ask
	CMPL DX, $1             // SEEK_CUR
	JNE  ask
	MOVQ const_slotAhead(R13), AX
	CMPL AX, DI
	JNE  ask
	SHRQ $32, AX
	JMP  aloneDone
aheadTTY:
	CMPL SI, $0x5401        // TCGETS
	JNE  ask
	MOVQ $-25, AX           // ENOTTY
	JMP  aloneDone
aheadRead:
	MOVQ const_slotAhead(R13), AX // AX: the word as it was
	CMPL AX, DI
	JNE  ask
	MOVQ AX, R10
	SHRQ $32, R10
aheadPread:
	MOVQ const_slotAheadHave(R13), R9
	CMPQ R10, R9
	JA   ask
	SUBQ R10, R9
	TESTQ DX, DX
	JZ   ask
	CMPQ DX, R9
	JBE  aheadSome
	CMPL const_slotAheadAll(R13), $0
	JEQ  ask                // more than is there, which need not be all
	MOVQ $const_GuestTop, BX
	CMPQ DX, BX
	JA   ask
	SUBQ DX, BX
	CMPQ SI, BX
	JA   ask
	MOVQ R9, DX
aheadSome:
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
	MOVQ R10, DX
	SHLQ $32, DX
	ADDQ AX, DX
	LOCK
	CMPXCHGQ DX, const_slotAhead(R13)
	JNE  ask                // somebody has ended it
aheadDone:
	MOVQ R10, AX
	JMP  aloneDone
aheadClose:
	MOVQ const_slotAhead(R13), AX
	CMPL AX, DI
	JNE  ask
	MOVQ $const_aheadClosed, CX
	ORQ  AX, CX
	LOCK
	CMPXCHGQ CX, const_slotAhead(R13)
	JNE  ask
	XORL AX, AX
	JMP  aloneDone
