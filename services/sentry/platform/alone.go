package platform

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Some calls the stub answers alone on the trap lane, where a site that has not been
// called often enough to be rewritten asks: most calls of a short program are of such,
// and each that the sentry need not hear of saves handing over to it and back. They
// are those whose answer lies in the slot, as on the fast lane (lanes.go, sigmask.go);
// those that concern the host thread alone; and what the sentry needs to know of only
// when it looks: there the slot is where it is kept. The stub does it unless the thread
// is traced, filtered or logged, and asks whenever anything is out of the ordinary.
//
// What a guest writes to these words itself deceives nobody but itself.

// How a call is answered: a byte for each in tableAlone.
const (
	aloneMask       = 1 // rt_sigprocmask: sigmask.go
	aloneRobust     = 2 // set_robust_list: slotRobust keeps it
	aloneTIDAddress = 3 // set_tid_address: the host's, and SelfTID
	aloneSetFS      = 4 // arch_prctl(ARCH_SET_FS): the host's
	aloneRseq       = 5 // rseq: the host's, and slotRseqArea keeps it
	aloneLimit      = 6 // prlimit64 of the process itself that changes nothing: slotLimits
	aloneAction     = 7 // rt_sigaction that only asks: slotDefault
	aloneReturn     = 8 // rt_sigreturn: faults.go
	// Of a path: links.go. newfstatat is aloneStatAt.
	aloneReadlink = 9
	aloneOpenat   = 10
	// Of the file in slotAhead: ahead.go.
	aloneRead   = 11
	alonePread  = 12
	aloneStat   = 13
	aloneStatAt = 14
	aloneClose  = 15
	aloneSeek   = 16 // lseek(fd, 0, SEEK_CUR)
	aloneTTY    = 17 // ioctl(fd, TCGETS, ...): ENOTTY
	// aloneSelf and above: the word of that number.
	aloneSelf = 18

	// aloneSample is one in how many the sentry is asked all the same.
	aloneSample = 16

	archSetFS   = 0x1002
	auditArch   = unix.AUDIT_ARCH_X86_64
	robustSize  = 24 // struct robust_list_head
	atEmptyPath = unix.AT_EMPTY_PATH
	// Flags with which newfstatat and openat say ENOENT where there is nothing.
	statAbsent = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	openAbsent = unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_DIRECTORY | unix.O_NOFOLLOW | 0x8000 // O_LARGEFILE
)

var aloneCalls = map[uint32]byte{
	unix.SYS_RT_SIGPROCMASK: aloneMask, unix.SYS_SET_ROBUST_LIST: aloneRobust, unix.SYS_SET_TID_ADDRESS: aloneTIDAddress,
	unix.SYS_ARCH_PRCTL: aloneSetFS, unix.SYS_RSEQ: aloneRseq, unix.SYS_PRLIMIT64: aloneLimit, unix.SYS_RT_SIGACTION: aloneAction, unix.SYS_READLINK: aloneReadlink, unix.SYS_OPENAT: aloneOpenat,
	unix.SYS_READ: aloneRead, unix.SYS_PREAD64: alonePread, unix.SYS_FSTAT: aloneStat,
	unix.SYS_NEWFSTATAT: aloneStatAt, unix.SYS_CLOSE: aloneClose, unix.SYS_LSEEK: aloneSeek, unix.SYS_IOCTL: aloneTTY, unix.SYS_RT_SIGRETURN: aloneReturn,
}

// encodeAlone leaves out, in strict mode, what the host lets nobody do without an order.
func encodeAlone(p []byte, verified bool) {
	for nr, how := range aloneCalls {
		if !verified || !isVerified(nr) {
			p[nr] = how
		}
	}
	for nr, word := range selfCalls {
		p[nr] = aloneSelf + byte(word)
	}
}

// TrapsFor is how many traps at a site one call with this number that the sentry hears
// of stands for.
func TrapsFor(nr uint64) int {
	how := aloneCalls[uint32(nr)]
	if _, self := selfCalls[uint32(nr)]; nr < tableCalls && (self || how == aloneMask || how == aloneReturn) {
		return aloneSample
	}
	return 1
}

// AnswerAlone has the stub answer calls alone on the trap lane, or not any more. Any
// goroutine may call it.
func (th *Thread) AnswerAlone(on bool) {
	if !th.hold() {
		return
	}
	var v uint32
	if on {
		v = 1
	}
	atomic.StoreUint32(th.slot.word(slotAlone), v)
	th.space.mu.Unlock()
}

// beginAlone begins the words for a new thread in the slot.
func (s slot) beginAlone() {
	for _, off := range []int{slotAlone, slotAloneCount, slotLimitsSet, slotPockets} {
		atomic.StoreUint32(s.word(off), 0)
	}
	for _, off := range []int{slotRobust, slotRseqArea, slotRseqSize, slotAheadHave, slotLinks} {
		atomic.StoreUint64(s.long(off), 0)
	}
	atomic.StoreUint64(s.long(slotAhead), uint64(noFD))
	atomic.StoreUint64(s.long(slotTrial), noTrial)
}

// Robust is the head of the list of robust futexes: set_robust_list(2). For the
// thread's own goroutine.
func (th *Thread) Robust() uint64 { return th.slot.load(slotRobust) }

// SetRobust sets it.
func (th *Thread) SetRobust(head uint64) { atomic.StoreUint64(th.slot.long(slotRobust), head) }

// SeeRobust is Robust for any goroutine: 0 once the thread has let go of its slot.
func (th *Thread) SeeRobust() uint64 {
	if !th.hold() {
		return 0
	}
	defer th.space.mu.Unlock()
	return th.Robust()
}

// Rseq is what the host has registered for the thread: rseq(2). For the thread's own
// goroutine, as SetRseq, which does not change the host's.
func (th *Thread) Rseq() (area uint64, size, signature uint32) {
	s := th.slot
	return s.load(slotRseqArea), atomic.LoadUint32(s.word(slotRseqSize)), atomic.LoadUint32(s.word(slotRseqSign))
}

// SetRseq sets it. The thread does not run meanwhile.
func (th *Thread) SetRseq(area uint64, size, signature uint32) {
	s := th.slot
	atomic.StoreUint64(s.long(slotRseqArea), area)
	atomic.StoreUint32(s.word(slotRseqSize), size)
	atomic.StoreUint32(s.word(slotRseqSign), signature)
}

// NumLimits is how many resource limits a process has.
const NumLimits = 16

// SetLimits sets the process's limits, soft and hard, as prlimit64(2) gives them to the
// thread. Any goroutine may call it, one at a time; what the stub answers after it has
// returned is from these.
func (th *Thread) SetLimits(limits *[NumLimits][2]uint64) {
	if !th.hold() {
		return
	}
	defer th.space.mu.Unlock()
	set := th.slot.word(slotLimitsSet)
	n := (atomic.LoadUint32(set) + 1) | 1
	atomic.StoreUint32(set, n)
	for i, l := range limits {
		atomic.StoreUint64(th.slot.long(slotLimits+16*i), l[0])
		atomic.StoreUint64(th.slot.long(slotLimits+16*i+8), l[1])
	}
	atomic.StoreUint32(set, n+1)
}
