	// The stub's half of lease.go, a part of stub_amd64.s. It is entered from
	// copyArguments, on both lanes, with AX the number of one of leaseCalls, and goes
	// back to leaseAsk with AX as it was if the call is the sentry's after all: whatever
	// can be wrong with it is, so that no error is found here but the host's.
	//
	//	R8	the lease
	//	BP	the call's number
	//	DI, SI, DX	the call's; SI is rounded up to whole pages
	//
	// All registers are in the slot or the ucontext, and the host's kernel keeps all but
	// AX, CX and R11. Nothing in here can fault, since the lease is mapped as long as
	// the stub is, and every index is checked against its end though a guest may have
	// forged the words that it comes from. A kick in here is noted on the fast lane
	// and goes on where it came (kickedInside), or waits for rt_sigreturn on the trap
	// lane; none of the calls can be interrupted but by the process's death. So
	// a thread that holds the lock comes to release it, unless it dies with all of its
	// process; only one that shared its memory by vfork(2) then leaves anybody behind
	// (Lease.Lost).
leaseCall:
	CMPL const_slotLease(R13), $0
	JEQ  leaseAsk
	CMPL const_slotKicked(R13), $0
	JNE  leaseAsk           // only the sentry, or the end of the fast lane, sees it
	MOVQ $const_leaseAt, R8
	TESTQ R12, R12
	JZ   leaseOurs
	CMPL (const_slotSigInfo+28)(R13), $const_archX86_64
	JNE  leaseAsk
	// Sites that trap are rewritten by the sentry: it sees one call in eight.
	MOVL const_leaseTrapMask(R8), CX
	TESTL CX, CX
	JZ   leaseOurs
	MOVL const_leaseTraps(R8), DX
	INCL DX
	MOVL DX, const_leaseTraps(R8)
	ANDL CX, DX
	JZ   leaseAsk
leaseOurs:
	MOVQ AX, BP
	MOVQ (const_slotRegs+8*8)(R13), DI
	MOVQ (const_slotRegs+8*9)(R13), SI
	MOVQ (const_slotRegs+8*12)(R13), DX
	LEAQ -1(SI), CX
	CMPQ CX, $const_LeaseLongest
	JAE  leaseAsk           // 0, too
	ADDQ $0xfff, SI
	ANDQ $~0xfff, SI
	CMPQ const_leaseTop(R8), $0
	JEQ  leaseAsk
	XORL AX, AX
	MOVQ R13, CX
	SHRQ $const_areaShift, CX
	LOCK
	CMPXCHGL CX, const_leaseLock(R8)
	JNE  leaseTheirs
	MOVQ const_leaseTop(R8), R10
	MOVQ const_leaseCursor(R8), R9
	TESTQ R10, R10
	JZ   leaseUnlock        // it has ended meanwhile
	CMPQ BP, $SYS_mmap
	JEQ  leaseMap

	// munmap, mprotect, madvise: BX are the bits of a page's byte that must be as in
	// R11, eight pages at a time.
	MOVQ $0x8888888888888888, BX // mapped, and not foreign
	MOVQ $0x0808080808080808, R11
	CMPQ BP, $SYS_mprotect
	JEQ  leaseProt
	CMPQ BP, $SYS_madvise
	JEQ  leaseAdvice
	MOVQ $0x8080808080808080, BX // not foreign
	XORL R11, R11
	JMP  leaseRange
leaseAdvice:
	CMPQ DX, $31
	JA   leaseUnlock
	MOVL $const_leaseAdvice, CX
	BTL  DX, CX
	JCC  leaseUnlock
	JMP  leaseRange
leaseProt:
	CMPQ DX, $7
	JA   leaseUnlock
leaseRange:
	TESTQ $0xfff, DI
	JNZ  leaseUnlock
	CMPQ DI, R9
	JB   leaseOutside
	CMPQ DI, R10
	JAE  leaseOutside
	SUBQ DI, R10
	CMPQ R10, $const_LeaseSpan
	JA   leaseUnlock
	SUBQ SI, R10            // from the range's end to the top
	JCS  leaseUnlock
	SHRQ $12, R10
	LEAQ const_leasePages(R8)(R10*1), R9 // R9: the range's bytes
	MOVQ R9, R10
	MOVQ SI, CX
	SHRQ $12, CX
leaseByte:
	TESTQ $7, CX
	JZ   leaseWord
	MOVBLZX (R10), AX
	ANDL BX, AX
	CMPB AX, R11
	JNE  leaseUnlock
	INCQ R10
	DECQ CX
	JMP  leaseByte
leaseWord:
	TESTQ CX, CX
	JZ   leaseDo
	MOVQ (R10), AX
	ANDQ BX, AX
	CMPQ AX, R11
	JNE  leaseUnlock
	ADDQ $8, R10
	SUBQ $8, CX
	JMP  leaseWord
leaseDo:
	CMPQ BP, $SYS_madvise
	JNE  leaseChange
leaseAdvise:
	MOVL $0, const_leaseLock(R8) // advice changes nothing that is noted
	MOVQ BP, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  leaseTheirs
	JMP  leaseAnswer
leaseChange:
	CMPQ BP, $SYS_mmap
	JEQ  leaseOver
	MOVQ BP, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  leaseDone          // the host's error; as the sentry does, without a look at what was done
	MOVQ DI, BX
	MOVQ R9, DI
	MOVQ SI, CX
	SHRQ $12, CX
	CMPQ BP, $SYS_munmap
	JEQ  leaseGone
	LEAL const_LeaseMapped(DX), AX
	REP; STOSB
	XORL AX, AX
	JMP  leaseDone
leaseGone:
	REP; STOSB              // AX is 0
	CMPQ BX, const_leaseCursor(R8)
	JNE  leaseDone
	// The lowest piece is gone: what is free above it is now below the cursor.
	LEAQ const_leasePages(R8), R10
leaseUp8:
	LEAQ -8(R9), CX
	CMPQ CX, R10
	JB   leaseUp
	CMPQ (CX), $0
	JNE  leaseUp
	MOVQ CX, R9
	JMP  leaseUp8
leaseUp:
	CMPQ R9, R10
	JEQ  leaseCursorSet
	CMPB -1(R9), $0
	JNE  leaseCursorSet
	DECQ R9
	JMP  leaseUp
leaseCursorSet:
	SUBQ R10, R9
	SHLQ $12, R9
	MOVQ const_leaseTop(R8), CX
	SUBQ R9, CX
	MOVQ CX, const_leaseCursor(R8)
	JMP  leaseDone

	// mmap with MAP_FIXED, over what is leased and mapped already, or was.
leaseOver:
	MOVQ R9, BX
	MOVQ (const_slotRegs+8*2)(R13), R10
	MOVQ $-1, R8
	XORL R9, R9
	MOVQ BP, AX
	SYSCALL
	MOVQ $const_leaseAt, R8
	CMPQ AX, DI
	JEQ  leaseMapped
	JMP  leaseUnlock        // the sentry finds out what is left there

	// mmap, of the place below the cursor, or of one that is given.
leaseMap:
	CMPQ DX, $7
	JA   leaseUnlock
	CMPQ (const_slotRegs+8*1)(R13), $0 // the offset
	JNE  leaseUnlock
	MOVQ (const_slotRegs+8*2)(R13), AX // the flags
	MOVQ AX, CX
	ANDQ $~const_leaseFlags, CX
	TESTQ DI, DI
	JZ   leaseAnywhere
	MOVQ $0x8080808080808080, BX // not foreign
	XORL R11, R11
	CMPQ CX, $(const_leasePlain|const_mapFixed)
	JEQ  leaseRange
	CMPQ CX, $const_leasePlain
	JNE  leaseUnlock
	TESTQ $0xfff, DI
	JZ   leaseOutside       // where nothing is mapped
	JMP  leaseUnlock
leaseAnywhere:
	CMPQ CX, $const_leasePlain
	JNE  leaseUnlock
	MOVQ R9, DI
	SUBQ SI, DI
	JCS  leaseUnlock
	CMPQ DI, const_leaseLow(R8)
	JB   leaseUnlock        // full
	SUBQ R9, R10            // from the range's end to the top
	LEAQ (R10)(SI*1), CX
	CMPQ CX, $const_LeaseSpan
	JA   leaseUnlock
	CMPQ R10, CX
	JA   leaseUnlock
	SHRQ $12, R10
	LEAQ const_leasePages(R8)(R10*1), BX // BX: the range's bytes
	MOVQ AX, R10
	ORQ  $0x10, R10         // MAP_FIXED
	MOVQ $-1, R8
	XORL R9, R9
	MOVL $SYS_mmap, AX
	SYSCALL
	MOVQ $const_leaseAt, R8
	CMPQ AX, DI
	JNE  leaseDone          // an error
	MOVQ DI, const_leaseCursor(R8)
leaseMapped:
	MOVQ DI, R10
	MOVQ BX, DI
	MOVQ SI, CX
	SHRQ $12, CX
	LEAL const_LeaseMapped(DX), AX
	REP; STOSB
	MOVQ R10, AX
	JMP  leaseDone

	// Outside of the stretch: nothing of it, nor of the foreign spans, may be touched.
	// What the host has done is logged, and what it refuses is the sentry's to answer.
leaseOutside:
	LEAQ (DI)(SI*1), CX     // CX: the end
	MOVQ $const_GuestTop, AX
	CMPQ DI, AX
	JAE  leaseUnlock
	CMPQ CX, AX
	JA   leaseUnlock
	CMPQ DI, $const_GuestBottom
	JB   leaseUnlock
	CMPQ DI, R10
	JAE  leaseAside
	CMPQ CX, const_leaseLow(R8)
	JA   leaseUnlock
leaseAside:
	LEAQ const_leaseForeign(R8), AX
	LEAQ (16*const_LeaseForeigns)(AX), R11
leaseSpan:
	CMPQ CX, 0(AX)
	JLS  leaseNext
	CMPQ DI, 8(AX)
	JB   leaseUnlock
leaseNext:
	ADDQ $16, AX
	CMPQ AX, R11
	JB   leaseSpan
	CMPQ BP, $SYS_madvise
	JEQ  leaseAdvise
	CMPL const_leaseLogged(R8), $const_LeaseLogSize
	JAE  leaseUnlock
	MOVQ CX, BX
	MOVQ (const_slotRegs+8*2)(R13), R10 // of mmap; others take no notice of it
	TESTL $const_mapFixed, R10
	JNZ  leaseLogCall
	ORL  $const_mapNoReplace, R10 // a hint is taken where nothing is
leaseLogCall:
	MOVQ $-1, R8
	XORL R9, R9
	MOVQ BP, AX
	SYSCALL
	MOVQ $const_leaseAt, R8
	XORL CX, CX
	CMPQ BP, $SYS_mmap
	CMOVQEQ DI, CX
	CMPQ AX, CX
	JNE  leaseUnlock
	MOVL BP, R9             // R9: address, protection, call, in one word
	CMPQ BP, $SYS_munmap
	JEQ  leaseLogNext
	MOVL DX, R10
	SHLL $4, R10
	ORL  R10, R9
leaseLogNext:
	ADDQ DI, R9
	MOVL const_leaseLogged(R8), CX
	ANDL $(const_LeaseLogSize-1), CX // whatever it was forged to
	MOVL CX, R10
	SHLL $4, R10
	ADDQ R8, R10
	MOVQ R9, (const_leaseLog+0)(R10)
	MOVQ BX, (const_leaseLog+8)(R10)
	INCL CX
	MOVL CX, const_leaseLogged(R8)

	// The stores before this one come before it for all who take the lock, those of
	// a string instruction too.
leaseDone:
	MOVL $0, const_leaseLock(R8)
leaseAnswer:
	TESTQ R12, R12
	JZ   leaseFast
	MOVQ AX, REG_RAX(R12)
	JMP  sigreturn
leaseFast:
	MOVQ AX, const_slotResult(R13)
	MOVQ $0, const_slotFlags(R13)
	JMP  final

leaseUnlock:
	MOVL $0, const_leaseLock(R8)
leaseTheirs:
	MOVQ BP, AX
	JMP  leaseAsk

	// The host calls of an answer are made that the sentry held the lock for. Only its
	// own: another thread's change may have come meanwhile.
leaseRelease:
	MOVQ $const_leaseAt, DX
	MOVQ R13, AX
	SHRQ $const_areaShift, AX
	ORL  $const_leaseSentry, AX
	XORL CX, CX
	LOCK
	CMPXCHGL CX, const_leaseLock(DX)
	JMP  released
