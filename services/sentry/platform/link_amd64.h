	// What is no symbolic link, or is not there, a part of stub_amd64.s: links.go. It is entered
	// on both lanes with readlink(DI path, SI buffer, DX size), openat(DI, SI path, DX flags) or
	// newfstatat(DI, SI path, DX, R10 flags), and which of them in CX; whatever is not known for
	// sure is the sentry's to answer.
	//
	//	R8	the path's hash
	//	R9	how many bytes of it were copied
	//	R11	1: only that nothing is there is good enough
pathFast:
	MOVQ $(const_table+const_tableAlone), CX
	MOVBLZX (CX)(AX*1), CX
	CMPL CX, $const_aloneStatAt
	JEQ  path
	CMPL CX, $const_aloneReadlink
	JB   noPath
	CMPL CX, $const_aloneOpenat
	JA   noPath
path:
	CMPL const_slotAlone(R13), $0
	JEQ  trialAsk
	CMPQ const_slotLinks(R13), $0
	JEQ  trialAsk
	CMPL CX, $const_aloneReadlink
	JEQ  pathLink
	MOVL $1, R11
	MOVQ SI, DI
	CMPL CX, $const_aloneOpenat
	JEQ  pathOpen
	TESTL $~const_statAbsent, R10
	JNZ  trialAsk
	JMP  pathName
pathOpen:
	TESTL $~const_openAbsent, DX
	JNZ  trialAsk
	JMP  pathName
pathLink:
	XORL R11, R11
	TESTL DX, DX
	JLE  trialAsk
pathName:
	MOVQ $(const_GuestTop-4096), CX
	CMPQ DI, CX
	JAE  trialAsk

	// As much as fits into a record and lies on one page, and zeros behind it.
	MOVQ DI, SI
	MOVL SI, CX
	ANDL $0xfff, CX
	MOVL $0x1000, R9
	SUBL CX, R9
	CMPL R9, $const_LinkName
	JLE  linkCopy
	MOVL $const_LinkName, R9
linkCopy:
	LEAQ const_slotIn(R13), DI
	MOVL R9, CX
	REP; MOVSB
	TESTQ CX, CX
	JNZ  trialAsk
	MOVQ $0, (DI)

	// Eight bytes at a time, up to the NUL.
	LEAQ const_slotIn(R13), SI
	MOVQ $const_linkSeed, R8
linkWord:
	MOVQ (SI), AX
	MOVQ $0x0101010101010101, R10
	MOVQ AX, CX
	SUBQ R10, CX
	MOVQ AX, DI
	NOTQ DI
	ANDQ DI, CX
	MOVQ $0x8080808080808080, R10
	ANDQ R10, CX            // CX: the high bit of the first byte that is 0, and perhaps others above
	JNZ  linkLast
	XORQ AX, R8
	MOVQ $const_linkFactor, R10
	IMULQ R10, R8
	MOVQ R8, R10
	SHRQ $32, R10
	XORQ R10, R8
	ADDQ $8, SI
	LEAQ (const_slotIn+const_LinkName)(R13), R10
	CMPQ SI, R10
	JB   linkWord
	JMP  trialAsk           // too long
linkLast:
	BSFQ CX, CX
	SUBL $7, CX             // where in the word the NUL is, in bits
	MOVL CX, R10
	SHRL $3, R10
	ADDQ SI, R10
	LEAQ const_slotIn(R13), DI
	SUBQ DI, R10
	CMPQ R10, R9
	JAE  trialAsk           // behind what was copied
	MOVL $1, R10
	SHLQ CX, R10
	DECQ R10
	ANDQ R10, AX
	MOVQ AX, (SI)
	XORQ AX, R8
	MOVQ $const_linkFactor, R10
	IMULQ R10, R8
	MOVQ R8, R10
	SHRQ $32, R10
	XORQ R10, R8

	// A record, the first or its neighbour, is the path's if the whole of it is.
	MOVL R8, AX
	ANDL $(const_linkRecords-1), AX
	IMUL3Q $const_linkRecord, AX, CX
	LEAQ const_slotLinkTable(R13)(CX*1), CX
	CMPQ const_linkHash(CX), R8
	JEQ  linkFound
	XORL $1, AX
	IMUL3Q $const_linkRecord, AX, CX
	LEAQ const_slotLinkTable(R13)(CX*1), CX
	CMPQ const_linkHash(CX), R8
	JNE  trialAsk
linkFound:
	MOVL const_linkKind(CX), BX // BX: what it says, R9: its number, R10: which is good
	CMPL BX, $1
	JA   trialAsk
	CMPL BX, R11
	JB   trialAsk
	LEAQ const_slotLinks(R13)(BX*4), R10
	MOVL const_linkNumber(CX), R9
	TESTL R9, R9
	JZ   trialAsk
linkSame:
	MOVQ (DI), AX
	CMPQ AX, const_linkPath(CX)
	JNE  trialAsk
	ADDQ $8, DI
	ADDQ $8, CX
	CMPQ DI, SI
	JLS  linkSame
	CMPL R9, (R10)          // the answer is of this moment
	JNE  trialAsk
	MOVQ $-22, AX           // EINVAL
	TESTL BX, BX
	JZ   linkDone
	MOVQ $-2, AX            // ENOENT
linkDone:
	JMP  aloneDone
