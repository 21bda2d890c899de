	// A part of stub_amd64.s, run once.

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
	MOVQ $const_textAt, BX
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
	// The stack that execve(2) made is nobody's, and its page table one more to copy.
	MOVQ $(const_firstStackEnd-const_firstStackMost), DI
	MOVL $const_firstStackMost, SI
	MOVL $SYS_munmap, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  die

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
	MOVL $0x28, SI          // SECCOMP_FILTER_FLAG_NEW_LISTENER, and _WAIT_KILLABLE_RECV: donate.go
	MOVQ $(const_table+const_tableFilter), DX
	MOVL $SYS_seccomp, AX
	SYSCALL
	CMPQ AX, $-22           // Linux before 5.19 has only the first
	JNE  installed
	MOVL $8, SI
	MOVL $SYS_seccomp, AX
	SYSCALL
installed:
	CMPQ AX, $-4095
	JCC  die
	// UD2 with the listener's number in AX: the sentry takes it from there.
	XORL BX, BX
	MOVQ $const_areasEnd, SP
	UD2
	JMP  die
