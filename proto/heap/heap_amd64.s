#include "funcdata.h"
#include "textflag.h"

// func madvise(start, length, advice uintptr) uintptr
TEXT ·madvise(SB), NOSPLIT, $0-32
	MOVQ	start+0(FP), DI
	MOVQ	length+8(FP), SI
	MOVQ	advice+16(FP), DX
	MOVL	$28, AX
	SYSCALL
	MOVQ	AX, ret+24(FP)
	RET

// func deep() uintptr
TEXT ·deep(SB), 0, $3145728-8
	NO_LOCAL_POINTERS
	LEAQ	ret+0(FP), AX
	MOVQ	AX, ret+0(FP)
	RET
