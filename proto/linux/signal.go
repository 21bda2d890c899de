package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Signal is a signal's number: signal(7). Valid ones are 1 to 64.
type Signal int32

// The signals.
const (
	SIGHUP    Signal = Signal(unix.SIGHUP)
	SIGINT    Signal = Signal(unix.SIGINT)
	SIGQUIT   Signal = Signal(unix.SIGQUIT)
	SIGILL    Signal = Signal(unix.SIGILL)
	SIGTRAP   Signal = Signal(unix.SIGTRAP)
	SIGABRT   Signal = Signal(unix.SIGABRT)
	SIGBUS    Signal = Signal(unix.SIGBUS)
	SIGFPE    Signal = Signal(unix.SIGFPE)
	SIGKILL   Signal = Signal(unix.SIGKILL)
	SIGUSR1   Signal = Signal(unix.SIGUSR1)
	SIGSEGV   Signal = Signal(unix.SIGSEGV)
	SIGUSR2   Signal = Signal(unix.SIGUSR2)
	SIGPIPE   Signal = Signal(unix.SIGPIPE)
	SIGALRM   Signal = Signal(unix.SIGALRM)
	SIGTERM   Signal = Signal(unix.SIGTERM)
	SIGSTKFLT Signal = Signal(unix.SIGSTKFLT)
	SIGCHLD   Signal = Signal(unix.SIGCHLD)
	SIGCONT   Signal = Signal(unix.SIGCONT)
	SIGSTOP   Signal = Signal(unix.SIGSTOP)
	SIGTSTP   Signal = Signal(unix.SIGTSTP)
	SIGTTIN   Signal = Signal(unix.SIGTTIN)
	SIGTTOU   Signal = Signal(unix.SIGTTOU)
	SIGURG    Signal = Signal(unix.SIGURG)
	SIGXCPU   Signal = Signal(unix.SIGXCPU)
	SIGXFSZ   Signal = Signal(unix.SIGXFSZ)
	SIGVTALRM Signal = Signal(unix.SIGVTALRM)
	SIGPROF   Signal = Signal(unix.SIGPROF)
	SIGWINCH  Signal = Signal(unix.SIGWINCH)
	SIGIO     Signal = Signal(unix.SIGIO)
	SIGPWR    Signal = Signal(unix.SIGPWR)
	SIGSYS    Signal = Signal(unix.SIGSYS)
	SIGRTMIN  Signal = 32
	SIGRTMAX  Signal = 64

	// NSIG is the number of signals.
	NSIG = 64
)

// Valid says that s is a signal, 0 not being one.
func (s Signal) Valid() bool { return s > 0 && s <= NSIG }

// SigSet is the kernel's sigset_t: bit n-1 is signal n.
type SigSet uint64

// SizeofSigSet is its size in bytes, which the rt_ calls want to be told.
const SizeofSigSet = 8

// SigSetOf is the set of the given signals.
func SigSetOf(list ...Signal) SigSet {
	var s SigSet
	for _, n := range list {
		s |= 1 << (n - 1)
	}
	return s
}

// Has says that the valid signal n is in s.
func (s SigSet) Has(n Signal) bool { return s>>(n-1)&1 != 0 }

// Ways of rt_sigprocmask(2).
const (
	SIG_BLOCK   = 0
	SIG_UNBLOCK = 1
	SIG_SETMASK = 2
)

// Handlers of a SigAction that are not addresses.
const (
	SIG_DFL = 0
	SIG_IGN = 1
)

// Flags of a SigAction: sigaction(2).
const (
	SA_NOCLDSTOP      = 0x1
	SA_NOCLDWAIT      = 0x2
	SA_SIGINFO        = 0x4
	SA_UNSUPPORTED    = 0x400
	SA_EXPOSE_TAGBITS = 0x800
	SA_RESTORER       = 0x4000000
	SA_ONSTACK        = 0x8000000
	SA_RESTART        = 0x10000000
	SA_NODEFER        = 0x40000000
	SA_RESETHAND      = 0x80000000

	SA_KNOWN = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_EXPOSE_TAGBITS | SA_RESTORER | SA_ONSTACK | SA_RESTART |
		SA_NODEFER | SA_RESETHAND
)

// SigAction is struct sigaction as the kernel has it.
type SigAction struct {
	Handler  uint64
	Flags    uint64
	Restorer uint64
	Mask     SigSet
}

// SizeofSigAction is its size in bytes.
const SizeofSigAction = 32

// ReadSigAction reads one from b.
func ReadSigAction(b []byte) SigAction {
	le := binary.LittleEndian
	return SigAction{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), SigSet(le.Uint64(b[24:]))}
}

// Put writes a as the kernel does to b.
func (a SigAction) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint64(b, a.Handler)
	le.PutUint64(b[8:], a.Flags)
	le.PutUint64(b[16:], a.Restorer)
	le.PutUint64(b[24:], uint64(a.Mask))
}

// Codes of a SigInfo that depend on its signal: sigaction(2).
const (
	CLD_EXITED    = 1
	CLD_KILLED    = 2
	CLD_DUMPED    = 3
	CLD_TRAPPED   = 4
	CLD_STOPPED   = 5
	CLD_CONTINUED = 6

	POLL_IN  = 1
	POLL_OUT = 2
	POLL_MSG = 3
	POLL_ERR = 4
	POLL_PRI = 5
	POLL_HUP = 6

	SEGV_MAPERR = 1
	SEGV_ACCERR = 2
	BUS_ADRALN  = 1
	BUS_ADRERR  = 2
	ILL_ILLOPN  = 2
	FPE_INTDIV  = 1
	TRAP_BRKPT  = 1
	TRAP_TRACE  = 2
	SYS_SECCOMP = 1
)

// StackT is stack_t of sigaltstack(2).
type StackT struct {
	SP    uint64
	Flags int32
	_     int32
	Size  uint64
}

// SizeofStackT is its size in bytes.
const SizeofStackT = 24

// Flags of a StackT.
const (
	SS_ONSTACK    = 1
	SS_DISABLE    = 2
	SS_AUTODISARM = -1 << 31
)

// ReadStackT reads one from b.
func ReadStackT(b []byte) StackT {
	le := binary.LittleEndian
	return StackT{SP: le.Uint64(b), Flags: int32(le.Uint32(b[8:])), Size: le.Uint64(b[16:])}
}

// Put writes s as the kernel does to b.
func (s StackT) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint64(b, s.SP)
	le.PutUint32(b[8:], uint32(s.Flags))
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], s.Size)
}
