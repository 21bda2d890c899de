	// Sockets in the thread's pocket, a part of stub_amd64.s: pocket.go. It is entered on the
	// fast lane with the number of a call in AX, and whatever is not as simple as can be is the
	// sentry's to answer.
	//
	//	BX	the pocket
	//	DX	how many bytes are written
	//	R9	slotMail as it was
	//	R10	how much of the box is used, R8 how much will be
pocket:
	CMPL const_slotAlone(R13), $0
	JEQ  noPocket
	MOVL DI, BX
	ANDL $(const_pocketCount-1), BX
	IMUL3Q $const_pocketSize, BX, BX
	LEAQ const_slotPocketTable(R13)(BX*1), BX
	CMPQ AX, $SYS_read
	JEQ  pocketRead
	CMPQ AX, $SYS_write
	JEQ  pocketWrite
	CMPQ AX, $SYS_recvfrom
	JEQ  pocketReceive
	CMPQ AX, $SYS_sendto
	JEQ  pocketSend
	CMPQ AX, $SYS_writev
	JEQ  pocketGather
	JMP  noPocket

	// As many bytes as there are, up to DX, to SI.
pocketReceive:
	TESTL $~(MSG_DONTWAIT|MSG_NOSIGNAL), R10
	JNZ  trialAsk
	TESTQ R8, R8            // who sent them
	JNZ  trialAsk
pocketRead:
	MOVQ const_pocketIn(BX), AX
	TESTL DI, DI            // -1 stands for none
	JLT  trialAsk
	CMPL AX, DI
	JNE  trialAsk
	MOVQ $const_GuestTop, CX
	CMPQ DX, CX
	JA   trialAsk
	SUBQ DX, CX
	CMPQ SI, CX
	JA   trialAsk
	MOVQ AX, R9
	SHRQ $48, R9            // R9: how many
	CMPQ DX, R9
	JAE  pocketSome
	MOVQ DX, R9
pocketSome:
	TESTQ R9, R9
	JZ   trialAsk
	MOVQ AX, R10
	SHRQ $32, R10
	MOVWLZX R10, R10        // R10: where they are
	MOVQ SI, DI
	LEAQ const_slotPocketed(R13)(R10*1), SI
	MOVQ R9, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  trialAsk
	MOVL $1, const_slotTaken(R13)
	MOVQ R9, CX
	SHLQ $32, CX
	ADDQ AX, CX
	MOVQ R9, DX
	SHLQ $48, DX
	SUBQ DX, CX
	LOCK
	CMPXCHGQ CX, const_pocketIn(BX)
	JNE  trialAsk           // somebody has looked at it
	MOVQ R9, BX
	JMP  trialDone

	// DX bytes from SI, as a letter.
pocketSend:
	TESTL $~(MSG_DONTWAIT|MSG_NOSIGNAL), R10
	JNZ  trialAsk
	TESTQ R8, R8            // to whom
	JNZ  trialAsk
pocketWrite:
	CMPL const_slotSentrySleep(R13), $0
	JNE  trialAsk
	MOVQ const_slotMail(R13), R9 // before it is seen whether the pocket is the thread's still
	MOVQ const_pocketOut(BX), AX
	TESTL DI, DI
	JLT  trialAsk
	CMPL AX, DI
	JNE  trialAsk
	SHRQ $32, AX            // for how many there is room
	TESTQ DX, DX
	JZ   trialAsk
	CMPQ DX, AX
	JA   trialAsk
	MOVQ $const_GuestTop, CX
	SUBQ DX, CX
	CMPQ SI, CX
	JA   trialAsk
	MOVL R9, R10
	LEAQ 15(R10)(DX*1), R8  // with a head, and to the next word
	ANDQ $~7, R8
	CMPQ R8, $const_boxSize
	JA   trialAsk
	LEAQ (const_slotBox+const_letterHead)(R13)(R10*1), DI
	MOVQ DX, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  trialAsk
pocketPost:
	MOVL const_pocketTicket(BX), AX
	MOVL AX, const_slotBox(R13)(R10*1)
	MOVL DX, (const_slotBox+4)(R13)(R10*1)
	MOVQ R8, CX
	SUBQ R10, CX
	ADDQ R9, CX
	MOVQ R9, AX
	LOCK
	CMPXCHGQ CX, const_slotMail(R13)
	JNE  trialAsk
	SUBL DX, (const_pocketOut+4)(BX)
	MOVQ DX, BX             // BX: the result

	// As with a request, but that nobody waits.
	MOVL $0x7b, AX          // __CPUNODE_SEG
	BYTE $0x0f; BYTE $0x03; BYTE $0xc0 // LSL AX, AX
	MOVL AX, const_slotStubCore(R13)
	MOVL $1, AX
	LOCK
	XADDL AX, const_slotReq(R13)
	CMPL const_slotSentrySleep(R13), $0
	JEQ  trialDone
	CMPL const_slotSentrySleep(R13), $const_sentryDrowses
	JNE  pocketKnock
	LEAQ const_slotReq(R13), DI
	MOVL $1, SI             // FUTEX_WAKE, shared
	MOVL $1, DX
	MOVL $SYS_futex, AX
	SYSCALL
	JMP  trialDone
pocketKnock:
	MOVL $const_fdDoorbell, DI
	MOVQ $(const_table+const_tableOne), SI
	MOVL $8, DX
	MOVL $SYS_write, AX
	SYSCALL
	JMP  trialDone

	// The same of DX pieces, whose list is at SI. R8 is the end of the room, R11 where the
	// next piece stands, R15 where it goes.
pocketGather:
	CMPL const_slotSentrySleep(R13), $0
	JNE  trialAsk
	MOVQ const_slotMail(R13), R9
	MOVQ const_pocketOut(BX), AX
	TESTL DI, DI
	JLT  trialAsk
	CMPL AX, DI
	JNE  trialAsk
	SHRQ $32, AX
	TESTQ DX, DX
	JZ   trialAsk
	CMPQ DX, $const_mostPieces
	JA   trialAsk
	MOVQ $(const_GuestTop-16*const_mostPieces), CX
	CMPQ SI, CX
	JA   trialAsk
	MOVL R9, R10
	CMPQ R10, $(const_boxSize-const_letterHead)
	JAE  trialAsk
	LEAQ const_letterHead(R10)(AX*1), R8
	CMPQ R8, $const_boxSize
	JBE  pocketRoom
	MOVL $const_boxSize, R8
pocketRoom:
	LEAQ const_slotBox(R13)(R8*1), R8
	LEAQ (const_slotBox+const_letterHead)(R13)(R10*1), R15
pocketPiece:
	LEAQ const_slotScratch(R13), DI
	MOVL $16, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  pocketAsk
	MOVQ SI, R11
	MOVQ const_slotScratch(R13), SI
	MOVQ (const_slotScratch+8)(R13), CX
	MOVQ R15, DI
	MOVQ R8, AX
	SUBQ DI, AX
	CMPQ CX, AX
	JA   pocketAsk
	MOVQ $const_GuestTop, AX
	SUBQ CX, AX
	CMPQ SI, AX
	JA   pocketAsk
	REP; MOVSB
	TESTQ CX, CX
	JNZ  pocketAsk
	MOVQ DI, R15
	MOVQ R11, SI
	DECL DX
	JNZ  pocketPiece
	LEAQ (const_slotBox+const_letterHead)(R13)(R10*1), CX
	MOVQ R15, DX
	XORL R15, R15
	SUBQ CX, DX
	JZ   trialAsk
	LEAQ 15(R10)(DX*1), R8
	ANDQ $~7, R8
	JMP  pocketPost
pocketAsk:
	XORL R15, R15
	JMP  trialAsk
