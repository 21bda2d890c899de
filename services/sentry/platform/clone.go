package platform

import (
	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

const forkFlags = unix.CLONE_PARENT | uint64(unix.SIGCHLD)

// CloneProcess orders a copy of the thread's process, as fork(2): a host process
// of its own with a copy of the memory, whose only thread is the one returned.
// tls and clearTID as for CloneThread.
// The answer must go on with Return or Resume; then call WaitReady on the child,
// or Abandon if the host call failed.
func (th *Thread) CloneProcess(tls, clearTID uint64) (*Thread, error) {
	space, err := th.space.m.newSpace()
	if err != nil {
		return nil, linux.ENOMEM
	}
	p := space.newProcess()
	// The child goes on with the same area, and so with the same slot number.
	child, err := space.thread(p, th.index)
	if err != nil {
		space.release()
		return nil, err
	}
	// The child's own descriptors replace those that it was forked with.
	tok := th.space.m.offer(&donation{
		fds: []int{space.bellFD, space.memfd}, at: []int{fdDoorbell, fdSlots}, process: p,
	})
	child.birth = tok
	return th.clone(child, forkFlags, tok, tls, clearTID)
}

// CloneShared orders a host process that shares the thread's memory, as
// vfork(2). tls and clearTID as for CloneThread.
func (th *Thread) CloneShared(tls, clearTID uint64) (*Thread, error) {
	p := th.space.newProcess()
	child, err := th.space.thread(p, -1)
	if err != nil {
		th.space.release()
		return nil, err
	}
	tok := th.space.m.offer(&donation{process: p})
	child.birth = tok
	flags := uint64(unix.CLONE_VM) | forkFlags
	return th.clone(child, flags, tok, tls, clearTID)
}

// CloneThread orders a further thread of the process. With tls not zero it is
// the new thread's FS base; clearTID, if not zero, is where the host writes 0
// and wakes a futex when the thread ends: CLONE_CHILD_CLEARTID of clone(2).
func (th *Thread) CloneThread(tls, clearTID uint64) (*Thread, error) {
	child, err := th.space.thread(th.proc, -1)
	if err != nil {
		return nil, err
	}
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND |
		unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	return th.clone(child, flags, 0, tls, clearTID)
}

func (th *Thread) clone(child *Thread, flags uint64, tok token, tls, clearTID uint64) (*Thread, error) {
	if tls != 0 {
		flags |= unix.CLONE_SETTLS
	}
	if clearTID != 0 {
		flags |= unix.CLONE_CHILD_CLEARTID
	}
	if !th.op(opClone, 0, 0, flags, uint64(child.index), uint64(tok), clearTID, tls) {
		child.Abandon()
		return nil, linux.EAGAIN
	}
	return child, nil
}

// Sync makes the thread stop with a CallFailed event when the host calls before
// it are done: the answer then goes on with another.
func (th *Thread) Sync() bool { return th.op(opSync, 0, 0) }

// Abandon lets go of a child that the host did not make.
func (th *Thread) Abandon() {
	if th.birth != 0 {
		th.stillborn()
	}
	th.drop()
}

// stillborn ends a new process that has not reported: one that has shown its
// token is killed, and for one that has not, Next gives Died.
func (th *Thread) stillborn() {
	if !th.space.m.withdraw(th.birth) {
		th.proc.Kill() // it has a pid, since that comes with taking the token
		return
	}
	th.proc.gone.Store(true)
	close(th.proc.dead)
	th.space.release()
}

// SharesMemory says whether other threads or processes use the thread's memory.
func (th *Thread) SharesMemory() bool {
	th.space.mu.Lock()
	defer th.space.mu.Unlock()
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
	th.space.mu.Lock()
	defer th.space.mu.Unlock()
	return th.dropped.Load() || th.proc.gone.Load() || int32(uint32(th.slot.load(slotDone))-uint32(ticket)) >= 0
}
