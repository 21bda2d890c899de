package platform

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Strict mode. By default a stub's own text may make the memory calls of
// stubCalls freely, so that a guest which jumps into the text can rearrange its
// own memory behind the sentry's back. In a verified machine each of those calls
// is a notification instead, and goes on only if it is the next one that the
// sentry ordered in the answer under way for that very thread. Anything else
// ends the process.
//
// What was ordered is noted in the sentry's own memory, when it is written to
// the slot: the slot itself is the guest's to change.

// verifiedCalls are the calls of stubCalls that change the caller's memory, its
// segment bases, or the number of processes.
var verifiedCalls = []uint32{
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MADVISE,
	unix.SYS_MSYNC, unix.SYS_MINCORE, unix.SYS_ARCH_PRCTL, unix.SYS_CLONE,
}

func isVerified(nr uint32) bool {
	for _, v := range verifiedCalls {
		if v == nr {
			return true
		}
	}
	return false
}

// hostCall is a system call as the host sees it.
type hostCall struct {
	nr   uint32
	args [6]uint64
}

func (c hostCall) String() string {
	return fmt.Sprintf("call %d(%#x, %#x, %#x, %#x, %#x, %#x)", c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
}

// orders are the verified calls of one answer, in order.
type orders struct {
	draft []hostCall // of the answer being written; the thread's goroutine only
	due   []hostCall // of the answer under way, those not made yet; verifier.mu
}

// verifier checks the calls of all stubs; nil where they are not verified.
type verifier struct {
	log func(format string, args ...any)

	// mu is held while a call is checked and let go, so that the next one of the
	// same thread is never checked before. Nothing waits under it.
	mu      sync.Mutex
	threads map[uint32]*Thread  // by host tid, in the sentry's PID namespace
	newborn map[uint32]hostCall // by pid: the call that maps a new process's slots
}

func newVerifier(log func(string, ...any)) *verifier {
	if log == nil {
		log = func(string, ...any) {}
	}
	return &verifier{log: log, threads: map[uint32]*Thread{}, newborn: map[uint32]hostCall{}}
}

// order notes an operation that is appended to the thread's answer.
func (v *verifier) order(th *Thread, kind, nr uint32, args []uint64) {
	var c hostCall
	switch kind {
	case opSyscall:
		c.nr = nr
		copy(c.args[:], args)
	case opClone:
		c = cloneCall(th, args)
	}
	if isVerified(c.nr) && (kind == opSyscall || kind == opClone) {
		th.orders.draft = append(th.orders.draft, c)
	}
}

// cloneCall is what the stub makes of opClone: its registers at the call. The
// stack pointer is compared by sameClone.
func cloneCall(th *Thread, args []uint64) hostCall {
	flags, index, tok, clearTID, tls := args[0], args[1], args[2], args[3], args[4]
	c := hostCall{unix.SYS_CLONE, [6]uint64{flags, 0, tok, clearTID, tls, 0}}
	if flags&unix.CLONE_VM != 0 {
		c.args[1] = areaOf(int(index))
		c.args[5] = areaOf(int(index)) - areaOf(th.index)
	}
	return c
}

// matches says whether got is the call that was ordered. The stack that a clone
// gives to the new thread is wherever the old one's frame lies in its area, which
// only the stub knows: here it must lie in the new thread's.
func (c hostCall) matches(got hostCall) bool {
	if c.nr == unix.SYS_CLONE && c.args[1] != 0 && got.args[1] >= c.args[1] && got.args[1] < c.args[1]+areaSize {
		got.args[1] = c.args[1]
	}
	return c == got
}

// begin forgets the last answer: the thread has made another request, and may
// make no call until that is answered.
func (v *verifier) begin(th *Thread) {
	th.orders.draft = th.orders.draft[:0]
	v.mu.Lock()
	th.orders.due = nil
	v.mu.Unlock()
}

// release makes the answer that has been written the one under way. It says how
// many notifications that will give.
func (v *verifier) release(th *Thread) int {
	n := len(th.orders.draft)
	if n > 0 {
		v.mu.Lock()
		th.orders.due = append([]hostCall(nil), th.orders.draft...)
		v.mu.Unlock()
		th.orders.draft = th.orders.draft[:0]
	}
	return n
}

// meet takes note of a thread that has just reported its host tid, as the slot
// says: any thread of the process can have written that, so it must be a thread
// of that process which no other has claimed, or the process is ended. Threads
// that swap their numbers share their memory: what one may do to it is the other's.
func (v *verifier) meet(th *Thread, tid int32) {
	if !v.claim(th, tid) {
		v.log("process %d: thread %d is none of it, or another one; it is ended", th.proc.PID(), tid)
		th.proc.Kill()
	}
}

func (v *verifier) claim(th *Thread, tid int32) bool {
	before := th.tid.Load()
	if before != 0 && before != tid || tid <= 0 || unix.Tgkill(th.proc.PID(), int(tid), 0) != nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if old := v.threads[uint32(tid)]; old != nil && old != th && !old.dropped.Load() && !old.stillborn.Load() && !old.proc.gone.Load() {
		return false
	}
	v.threads[uint32(tid)] = th
	return true
}

// forget is meet's undoing, for a thread that is about to end. The calls of its last
// answer it may still have to make: they come before its end.
func (v *verifier) forget(th *Thread) {
	v.mu.Lock()
	v.forgetSpentLocked(uint32(th.tid.Load()))
	v.mu.Unlock()
}

// forgetSpentLocked forgets host thread tid if it has been let go of and has nothing left
// to do.
func (v *verifier) forgetSpentLocked(tid uint32) {
	if th := v.threads[tid]; th != nil && th.dropped.Load() && len(th.orders.due) == 0 {
		delete(v.threads, tid)
	}
}

// born lets a process whose token was good map the slots of its own address
// space, once. That is before it reports, and so before any answer.
func (v *verifier) born(pid uint32) {
	v.mu.Lock()
	v.newborn[pid] = hostCall{unix.SYS_MMAP, [6]uint64{
		slots, MaxThreads * slotSize, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_FIXED, fdSlots, 0,
	}}
	v.mu.Unlock()
}

// buried forgets a process that the host has reaped.
func (v *verifier) buried(pid uint32) {
	v.mu.Lock()
	delete(v.newborn, pid)
	for tid, th := range v.threads {
		if th.proc.PID() == int(pid) { // with calls still to make
			delete(v.threads, tid)
		}
	}
	v.mu.Unlock()
}

// take says whether thread tid may make the call now, and uses up the order. If
// it does not come to the call after all, undo gives the order back. v.mu is held.
func (v *verifier) take(tid uint32, got hostCall) (undo func(), ok bool) {
	if c, young := v.newborn[tid]; young && c == got {
		delete(v.newborn, tid)
		return func() { v.newborn[tid] = c }, true
	}
	th := v.threads[tid]
	if th == nil || len(th.orders.due) == 0 || !th.orders.due[0].matches(got) {
		return nil, false
	}
	due := th.orders.due
	th.orders.due = due[1:]
	return func() { th.orders.due = due }, true
}

// notifContinue is SECCOMP_USER_NOTIF_FLAG_CONTINUE.
const notifContinue = 1

// verify answers the notification of a memory call.
//
// CONTINUE is safe here, though seccomp_unotify(2) warns of it: what is checked
// are the number and the arguments, which the host took from the thread's
// registers and which only that thread could change, while it is stopped. None
// is a pointer to something that is checked.
func (m *Machine) verify(n *notification) {
	v := m.verifier
	got := hostCall{uint32(n.nr), n.args}
	if v == nil {
		m.refuse(n, got)
		return
	}
	v.mu.Lock()
	undo, ok := v.take(n.pid, got)
	if ok {
		if m.send(&response{id: n.id, flags: notifContinue}) != 0 {
			undo() // a signal or a freezer was quicker: the call comes again
		}
		v.forgetSpentLocked(n.pid)
	}
	v.mu.Unlock()
	if !ok {
		m.refuse(n, got)
	}
}

// refuse ends the process of a thread that makes a call which nobody ordered.
func (m *Machine) refuse(n *notification, got hostCall) {
	if m.verifier != nil {
		m.verifier.log("host thread %d made a memory call that was not ordered: %v; its process is ended", n.pid, got)
	}
	unix.Kill(int(n.pid), unix.SIGKILL) // by any of its threads, kill(2) means the process
	m.respond(n, unix.EPERM)
}
