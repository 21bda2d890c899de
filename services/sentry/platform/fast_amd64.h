	// The fast lane and the self lane, a part of stub_amd64.s: lanes.go, sigmask.go.

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
	MOVQ $const_mirror, R14
	SUBQ R13, R14
	XORL R12, R12
	XORL R15, R15
	MOVQ $const_kindFast, const_slotKind(R13)
	CLD
	CMPL const_slotPockets(R13), $0
	JNE  pocket
noPocket:
	CMPL DI, const_slotAhead(R13)
	JEQ  aheadFast
noAhead:
	CMPQ const_slotLinks(R13), $0 // both numbers
	JNE  pathFast
noPath:
	CMPQ AX, $SYS_rt_sigreturn
	JEQ  returned
	CMPQ AX, $SYS_rt_sigprocmask
	JEQ  mask
	CMPQ AX, $SYS_fcntl
	JEQ  trialFlags
	CMPQ AX, $SYS_epoll_ctl
	JEQ  trialPoll
	CMPQ AX, $SYS_rt_sigaction
	JNE  copyArguments
	JMP  action

	// Of the file that was just opened, perhaps: ahead.go.
aheadFast:
	CMPL const_slotAlone(R13), $0
	JEQ  noAhead
	MOVQ $(const_table+const_tableAlone), CX
	MOVBLZX (CX)(AX*1), CX
	CMPL CX, $const_aloneRead
	JB   noAhead
	CMPL CX, $const_aloneTTY
	JBE  ahead
	JMP  noAhead

	// Of the file on trial: trial.go. fcntl(fd, F_GETFL), and fcntl(fd, F_SETFL, flags)
	// that changes no more than O_NONBLOCK.
trialFlags:
	CMPL const_slotAlone(R13), $0
	JEQ  trialAsk
	MOVQ const_slotTrial(R13), AX
	TESTL DI, DI            // -1 stands for none
	JLT  trialAsk
	CMPL AX, DI
	JNE  trialAsk
	MOVQ AX, BX
	SHRQ $32, BX            // BX: the result
	CMPL SI, $const_getFlags
	JEQ  trialDone
	CMPL SI, $const_setFlags
	JNE  trialAsk
	MOVL DX, CX
	XORL BX, CX
	TESTL $const_trialFixed, CX
	JNZ  trialAsk
	ANDL $const_nonBlock, CX
	SHLQ $32, CX
	XORQ AX, CX
	LOCK
	CMPXCHGQ CX, const_slotTrial(R13)
	JNE  trialAsk           // somebody has looked at it
	XORL BX, BX
	JMP  trialDone

	// epoll_ctl(poll, EPOLL_CTL_ADD, fd, event)
trialPoll:
	CMPL const_slotAlone(R13), $0
	JEQ  trialAsk
	CMPL SI, $1
	JNE  trialAsk
	MOVL DI, BX
	MOVQ $(const_GuestTop-16), CX
	CMPQ R10, CX
	JA   trialAsk
	MOVQ R10, SI
	LEAQ const_slotIn(R13), DI
	LEAQ 12(DI), CX
	MOVSQ                   // or nothing, if it faults
	MOVSL                   // one byte long: so is the NOP behind it
	BYTE $0x90
	CMPQ DI, CX
	JNE  trialAsk
	MOVQ const_slotTrial(R13), AX
	TESTL DX, DX
	JLT  trialAsk
	CMPL AX, DX
	JNE  trialAsk
	CMPL BX, const_slotTrialPoll(R13)
	JNE  trialAsk
	MOVQ $-1, BX            // EPERM
trialDone:
	MOVQ BX, const_slotResult(R13)
	MOVQ $0, const_slotFlags(R13)
	JMP  final
trialAsk:
	MOVQ (const_slotRegs+8*13)(R13), AX
	JMP  copyArguments

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
