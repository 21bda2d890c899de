package platform

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

const forkFlags = unix.CLONE_PARENT | uint64(unix.SIGCHLD)

// Birth says how a new thread begins: if the child's Reports says no, it goes
// straight to the guest, with its parent's registers but RAX 0 and the stack
// pointer Stack; otherwise it is Ready first, and waits for its registers.
type Birth struct {
	Report bool   // be Ready first
	Stack  uint64 // its stack pointer; 0 for its parent's
	// TLS, if not zero, is its FS base: CLONE_SETTLS of clone(2).
	TLS uint64
	// ClearTID, if not zero, is where the host writes 0 and wakes a futex when the
	// thread ends: CLONE_CHILD_CLEARTID.
	ClearTID uint64
	// SetTID, if not zero, is where TID goes, in the child's memory, before it
	// runs: CLONE_CHILD_SETTID. An address that is not there does not matter.
	SetTID uint64
	TID    int32
}

// Reports says whether a new thread is Ready first. In strict mode all are, so
// that the sentry knows whose calls it checks.
func (th *Thread) Reports() bool { return !th.direct }

// CloneProcess orders a copy of the thread's process, as fork(2): a host process
// of its own with a copy of the memory, whose only thread is the one returned.
// The answer must go on with Return or Resume; then a goroutine of the child's
// calls Next, or WaitReady first if it Reports. If the host call fails, Stillborn
// lets that goroutine's Next give Died.
func (th *Thread) CloneProcess(b Birth) (*Thread, error) {
	space, err := th.space.m.takeSpace()
	if err != nil {
		return nil, linux.ENOMEM
	}
	if b.Report { // a process of another program, with a doorbell of its own
		bell, err := th.space.m.takeBell()
		if err != nil {
			space.free()
			return nil, linux.ENOMEM
		}
		space.ring(bell)
	} else {
		space.ring(th.space.bell)
	}
	space.copyPatched(th.space)
	p := space.newProcess()
	// The child goes on with the same area, and so with the same slot number.
	child, err := space.thread(p, th.index)
	if err != nil {
		space.release()
		return nil, err
	}
	// The child's own descriptors replace those that it was forked with.
	d := &donation{fds: []int{space.memfd}, at: []int{fdSlots}, process: p, thread: child}
	if b.Report {
		d.fds, d.at = []int{space.bell.fd, space.memfd}, []int{fdDoorbell, fdSlots}
	}
	child.expects, child.birth = d, th.space.m.offer(d)
	th.slow, child.slow = true, true
	return th.clone(child, forkFlags, b)
}

// CloneShared orders a host process that shares the thread's memory, as
// vfork(2); otherwise it is as CloneProcess.
func (th *Thread) CloneShared(b Birth) (*Thread, error) {
	p := th.space.newProcess()
	child, err := th.space.thread(p, -1)
	if err != nil {
		th.space.release()
		return nil, err
	}
	d := &donation{process: p, thread: child}
	child.expects, child.birth = d, th.space.m.offer(d)
	return th.clone(child, uint64(unix.CLONE_VM)|forkFlags, b)
}

// CloneThread orders a further thread of the process; otherwise it is as
// CloneProcess.
func (th *Thread) CloneThread(b Birth) (*Thread, error) {
	child, err := th.space.thread(th.proc, -1)
	if err != nil {
		return nil, err
	}
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	return th.clone(child, flags, b)
}

func (th *Thread) clone(child *Thread, flags uint64, b Birth) (*Thread, error) {
	if b.TLS != 0 {
		flags |= unix.CLONE_SETTLS
	}
	if b.ClearTID != 0 {
		flags |= unix.CLONE_CHILD_CLEARTID
	}
	how := uint64(0)
	if child.direct = !b.Report && th.verifier == nil; child.direct {
		how = opDirect
	}
	child.ownGS = th.ownGS
	if flags&unix.CLONE_VM != 0 && th.asksForGS() {
		if child.setGS = !child.direct; child.direct {
			how |= opSetGS
		}
	}
	th.birthRIP = th.Regs.RIP
	th.slot.store(slotBirthTIDPtr, b.SetTID)
	th.slot.store(slotBirthTID, uint64(uint32(b.TID)))
	if !th.op(opClone, 0, how, flags, uint64(child.index), uint64(child.birth), b.ClearTID, b.TLS, b.Stack) {
		child.Abandon()
		return nil, linux.EAGAIN
	}
	return child, nil
}

// Sync makes the thread stop with a CallFailed event when the host calls before
// it are done: the answer then goes on with another.
func (th *Thread) Sync() bool { return th.op(opSync, 0, 0) }

// Abandon lets go of a child that the host did not make, and that no goroutine
// waits for.
func (th *Thread) Abandon() {
	th.Stillborn()
	th.drop()
}

// Stillborn says that the host did not make the child: Next, in whatever
// goroutine, gives Died.
func (th *Thread) Stillborn() {
	if th.birth != 0 {
		if !th.Unborn() {
			th.proc.Kill()
		}
	}
	th.stillborn.Store(true)
	th.poke()
	th.space.pokeAll()
}

// Unborn is Stillborn if the host's process has not come to the point where it
// is known, which it then never will: for a child whose parent has died while it
// was being made. It says whether that was so.
func (th *Thread) Unborn() bool {
	if th.birth == 0 || !th.space.m.withdraw(th.birth) {
		return false
	}
	th.stillborn.Store(true)
	th.proc.gone.Store(true)
	close(th.proc.dead)
	th.space.release()
	return true
}

// Never says whether the thread never came to be on the host.
func (th *Thread) Never() bool { return th.stillborn.Load() }

// SharesMemory says whether other threads or processes use the thread's memory.
// One that is on its way out does: the host may yet write to its area of rseq(2).
func (th *Thread) SharesMemory() bool {
	th.space.mu.Lock()
	defer th.space.mu.Unlock()
	for index := range th.space.leaving {
		if th.space.leavingLocked(index) {
			return true
		}
	}
	n := 0
	for _, o := range th.space.threads {
		if o != nil {
			n++
		}
	}
	return n > 1 || th.space.procs > 1
}

// Ticket names the answer that the thread is about to get.
func (th *Thread) Ticket() uint64 { return uint64(th.last) }

// Done says whether the host calls of the answer named by ticket have been made,
// or never will be. A guest that lies about it confuses only itself.
func (th *Thread) Done(ticket uint64) bool {
	if !th.hold() {
		return true
	}
	defer th.space.mu.Unlock()
	return th.proc.gone.Load() || int32(uint32(th.slot.load(slotDone))-uint32(ticket)) >= 0
}
