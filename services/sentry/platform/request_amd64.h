	// A request, a part of stub_amd64.s: what its arguments point to is copied into the
	// slot (argtable.go), it is published, and the answer is waited for (slot.go).

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
	MOVL $const_slotIn, R10 // R10: where in the slot the next range goes, R11: its end
	MOVL $const_slotInEnd, R11
	CMPL const_slotPockets(R13), $0
	JEQ  nextSpec
	MOVL $const_slotPocketed, R11
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
	CMPQ CX, R11
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
	MOVL const_slotReq(R13), AX
	INCL AX
	MOVL AX, const_slotAsk(R13)
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
