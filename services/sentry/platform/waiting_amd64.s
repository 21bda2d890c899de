#include "textflag.h"

// func core() uint32
TEXT ·core(SB), NOSPLIT, $0-4
	MOVL $0x7b, AX
	BYTE $0x0f; BYTE $0x03; BYTE $0xc0 // LSL AX, AX
	MOVL AX, ret+0(FP)
	RET

// func awaitChange(word *uint32, old, n uint32) bool
TEXT ·awaitChange(SB), NOSPLIT, $0-17
	MOVQ word+0(FP), DI
	MOVL old+8(FP), AX
	MOVL n+12(FP), CX
again:
	CMPL (DI), AX
	JNE  changed
	PAUSE
	DECL CX
	JNZ  again
	CMPL (DI), AX
changed:
	SETNE ret+16(FP)
	RET
