	// How a thread or a process is made and begins, a part of stub_amd64.s: clone.go.

// What a child finds below its ucontext, in private memory that no signal frame
// reaches: how it begins.
#define BIRTH_HOW    -64 // opDirect: it goes straight to the guest; opSetGS
#define BIRTH_SP     -56 // with this stack pointer, or 0 for its parent's
#define BIRTH_TIDPTR -48 // CLONE_CHILD_SETTID: where its guest id goes, or 0
#define BIRTH_TID    -40
#define BIRTH_RIP    -32

doClone:
	MOVQ $-22, AX
	TESTQ R12, R12
	JZ   opError            // the fast lane has no frame for a child
	// With CLONE_VM the child gets its own area: copy the frame there.
	MOVQ 16(R15), BP        // flags
	XORL DX, DX             // distance between the areas
	XORL SI, SI
	MOVQ R12, DI            // the child's ucontext
	TESTQ $0x100, BP        // CLONE_VM
	JZ   cloneBirth
	MOVQ 24(R15), DX
	ANDQ $(const_MaxThreads-1), DX
	SHLQ $const_areaShift, DX
	NEGQ DX
	MOVQ $(const_areasEnd-const_areaSize), AX
	ADDQ AX, DX
	SUBQ R14, DX
	MOVQ R12, SI
	LEAQ (R12)(DX*1), DI
	LEAQ const_areaSize(R14), CX
	SUBQ R12, CX
	SHRQ $3, CX
	REP; MOVSQ
	LEAQ (R12)(DX*1), SI    // the child's ucontext, and stack pointer
	LEAQ const_altStackOff(R14)(DX*1), AX
	MOVQ AX, UC_SS_SP(SI)
	MOVQ UC_FPSTATE(SI), AX
	MOVQ SI, DI
	TESTQ AX, AX
	JZ   cloneBirth
	ADDQ DX, AX
	MOVQ AX, UC_FPSTATE(SI)
cloneBirth:
	MOVQ 8(R15), AX
	MOVQ AX, BIRTH_HOW(DI)
	MOVQ 56(R15), AX
	MOVQ AX, BIRTH_SP(DI)
	MOVQ const_slotBirthTIDPtr(R13), AX
	MOVQ AX, BIRTH_TIDPTR(DI)
	MOVQ const_slotBirthTID(R13), AX
	MOVQ AX, BIRTH_TID(DI)
	MOVQ const_slotBirthRIP(R13), AX
	MOVQ AX, BIRTH_RIP(DI)
	MOVQ DX, R9
	MOVQ BP, DI
	MOVQ 40(R15), R10
	MOVQ 48(R15), R8
	// The child may look at no memory that the parent goes on to change: BP
	// holds its flags, R9 the distance, DX (the parent's tid, unused) the token;
	// the rest lies below its own ucontext.
	MOVQ 32(R15), DX
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  opResult

	// The child.
	ADDQ R9, R12
	SUBQ R9, R13
	ADDQ R9, R14
	TESTQ $0x10000, BP      // CLONE_THREAD
	JNZ  ready
	// Show the token; the sentry answers with this process's descriptors.
	MOVQ DX, DI
	MOVL $SYS_dup, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	TESTQ $0x100, BP
	JNZ  ready
	// A new address space: its own slots.
	MOVQ $const_slots, DI
	MOVQ $(const_MaxThreads*const_slotSize), SI
	MOVL $3, DX             // PROT_READ|PROT_WRITE
	MOVL $0x11, R10         // MAP_SHARED|MAP_FIXED
	MOVL $const_fdSlots, R8
	XORL R9, R9
	MOVL $SYS_mmap, AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  die
	MOVL $const_fdSlots, DI
	MOVL $SYS_close, AX
	SYSCALL
ready:
	// GS finds this thread's slot, if it found its parent's.
	MOVQ $(const_table+const_tableMarks), AX
	CMPQ const_markGSBase(AX), $0
	JEQ  readyAsk
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc8 // RDGSBASE AX
	TESTQ AX, AX
	JZ   readyGS
	SHRQ $32, AX
	CMPQ AX, $(const_base>>32)
	JNE  readyNow           // the guest's own, which its child has too
readyGS:
	BYTE $0xf3; BYTE $0x49; BYTE $0x0f; BYTE $0xae; BYTE $0xdd // WRGSBASE R13
	JMP  readyNow
readyAsk:
	TESTQ $const_opSetGS, BIRTH_HOW(R12)
	JZ   readyNow
	MOVL $const_archSetGS, DI
	MOVQ R13, SI
	MOVL $SYS_arch_prctl, AX
	SYSCALL
readyNow:
	MOVL $SYS_gettid, AX
	SYSCALL
	TESTQ $const_opDirect, BIRTH_HOW(R12)
	JZ   report
	// Straight to the guest. It can be kicked from now on, and was not before:
	// either the sentry sees the number, or this sees that it wanted to kick.
	XCHGQ AX, const_slotTID(R13)
	MOVQ $0, REG_RAX(R12)
	MOVQ BIRTH_RIP(R12), AX
	MOVQ AX, REG_RIP(R12)
	MOVQ BIRTH_SP(R12), AX
	TESTQ AX, AX
	JZ   birthTID
	MOVQ AX, REG_RSP(R12)
birthTID:
	CLD
	MOVQ BIRTH_TIDPTR(R12), DI
	TESTQ DI, DI
	JZ   birthKick
	LEAQ BIRTH_TID(R12), SI
	MOVL $4, CX
	REP; MOVSB              // a bad address is nobody's concern: clone(2)
birthKick:
	CMPL const_slotBirthKick(R13), $0
	JEQ  sigreturn
	MOVQ const_slotTID(R13), AX
report:
	MOVQ AX, const_slotTID(R13)
	MOVQ R12, const_slotFrame(R13)
	CLD
	LEAQ UC_REGS(R12), SI
	LEAQ const_slotRegs(R13), DI
	MOVQ $23, CX
	REP; MOVSQ
	MOVQ $const_kindReady, const_slotKind(R13)
	XORQ R15, R15
	JMP  publishRanges
