package platform

import (
	"bytes"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The lanes of a call whose site has been rewritten: a byte for each call.
const (
	// laneTrap: a signal after all, since the call needs a ucontext.
	laneTrap = 0
	// laneRing: by the slot, without a signal.
	laneRing = 1
	// laneSelf and above: the word of that number in the slot answers, if the
	// sentry has set it.
	laneSelf = 2
)

// Self is a word that the stub answers a call with, without asking.
type Self int

// The words. Each is the result of the call of that name.
const (
	SelfPID Self = iota
	SelfTID
	SelfPPID
	SelfUID
	SelfEUID
	SelfGID
	SelfEGID
	selfWords
)

var selfCalls = map[uint32]Self{
	unix.SYS_GETPID: SelfPID, unix.SYS_GETTID: SelfTID, unix.SYS_GETPPID: SelfPPID,
	unix.SYS_GETUID: SelfUID, unix.SYS_GETEUID: SelfEUID, unix.SYS_GETGID: SelfGID, unix.SYS_GETEGID: SelfEGID,
}

// trapCalls need the ucontext that only a signal leaves: they copy it for a new
// thread, or replace it. The calls about futexes and sched_yield are the host's.
var trapCalls = []uint32{
	unix.SYS_CLONE, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CLONE3, unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_ARCH_PRCTL,
	unix.SYS_FUTEX, unix.SYS_FUTEX_WAITV, unix.SYS_FUTEX_WAKE, unix.SYS_FUTEX_WAIT, unix.SYS_FUTEX_REQUEUE, unix.SYS_SCHED_YIELD, unix.SYS_RESTART_SYSCALL,
}

func encodeLanes(p []byte) {
	for nr := range tableCalls {
		p[nr] = laneRing
	}
	for _, nr := range trapCalls {
		p[nr] = laneTrap
	}
	for nr, word := range selfCalls {
		p[nr] = laneSelf + byte(word)
	}
}

// SetSelf sets what the stub answers itself for the thread: never stale, if the
// sentry sets it before it tells anybody of the change. Any goroutine may call it,
// at any time.
func (th *Thread) SetSelf(w Self, v uint32) {
	if !th.hold() {
		return
	}
	atomic.StoreUint64(th.slot.long(slotSelf+8*int(w)), 1<<63|uint64(v))
	th.space.mu.Unlock()
}

// AnswerNothing has the stub ask about every call, until SetSelf and ShareSignals say
// otherwise. Any goroutine may call it.
func (th *Thread) AnswerNothing() {
	if !th.hold() {
		return
	}
	for w := range selfWords {
		atomic.StoreUint64(th.slot.long(slotSelf+8*int(w)), 0)
	}
	atomic.StoreUint64(th.slot.long(slotSigPending), sigUnknown)
	atomic.StoreUint32(th.slot.word(slotAlone), 0)
	th.space.mu.Unlock()
}

// hwcapFSGSBase is HWCAP2_FSGSBASE: user code may read and write the GS base.
const hwcapFSGSBase = 1 << 1

// fastEntry finds the mark in a zygote's image.
func fastEntry(img []byte) uint64 {
	return textAt + uint64(bytes.Index(img[pageSize:], []byte(markTexts[markFast].text))+len(markTexts[markFast].text))
}

// FastEntry is where a trampoline goes: its address in every stub; 0 after
// KeepTrapping.
func (m *Machine) FastEntry() uint64 { return m.fastEntry }

// FastEntry is the machine's; 0 for a thread that nobody runs.
func (th *Thread) FastEntry() uint64 {
	if th.space == nil {
		return 0
	}
	return th.space.m.fastEntry
}

// KeepTrapping turns the fast lane off for all guests: no site is rewritten.
func (m *Machine) KeepTrapping() { m.fastEntry = 0 }

const archSetGS = 0x1001

// SetGS orders that the guest's GS base be this; 0 makes GS find the slot again.
func (th *Thread) SetGS(guest uint64) bool {
	if th.ownGS = guest != 0; !th.ownGS {
		guest = slotOf(th.index)
	}
	return th.TryHostCall(unix.SYS_ARCH_PRCTL, archSetGS, guest)
}

// asksForGS says whether a child of th that shares its memory must have the host
// set its GS base: it cannot itself, and th's was its slot.
func (th *Thread) asksForGS() bool { return !th.space.m.gsBase && !th.ownGS }
