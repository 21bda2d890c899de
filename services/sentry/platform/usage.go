package platform

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is what the host can tell of what a stub uses.

// residentBatch is how many pages one call asks about.
const residentBatch = 1024

// Resident says which of the pages at addrs, of guest memory, are in RAM and the
// process's own mappings lead to; what was never touched is not. It moves none.
func (p *Process) Resident(addrs []uint64, in []bool) error {
	if p.PID() == 0 || p.gone.Load() {
		return errDead
	}
	err := p.byThread(func(tid int) error { return residentIn(tid, addrs, in) })
	if err == unix.ESRCH {
		return errDead
	}
	return err
}

func residentIn(pid int, addrs []uint64, in []bool) error {
	var status [residentBatch]int32
	for len(addrs) > 0 {
		n := min(len(addrs), residentBatch)
		_, _, e := unix.Syscall6(unix.SYS_MOVE_PAGES, uintptr(pid), uintptr(n), uintptr(unsafe.Pointer(&addrs[0])), 0,
			uintptr(unsafe.Pointer(&status[0])), 0)
		if e != 0 {
			return e
		}
		for i := range n {
			in[i] = status[i] >= 0
		}
		addrs, in = addrs[n:], in[n:]
	}
	return nil
}

// Usage is what the process used in all; false until the host has told, with its
// end.
func (p *Process) Usage() (unix.Rusage, bool) {
	if !p.gone.Load() {
		return unix.Rusage{}, false
	}
	return p.usage, true
}

// AwaitUsage is Usage after a while, if the process is about to end.
func (p *Process) AwaitUsage(patience time.Duration) (unix.Rusage, bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.dead:
	case <-timer.C:
	}
	return p.Usage()
}

// SiblingTime has the thread ask the host how much processor time another one of
// its process has used, which only the process itself is told. It serves the
// request on after that, as Do does; false if nothing was told.
func (th *Thread) SiblingTime(o *Thread) (time.Duration, bool) {
	tid := o.tid.Load()
	if tid == 0 && o.hold() {
		tid = int32(o.slot.load(slotTID))
		o.space.mu.Unlock()
	}
	if tid <= 0 || o.proc != th.proc {
		return 0, false
	}
	p, addr := th.Scratch(16)
	if p == nil || !th.HostCall(unix.SYS_CLOCK_GETTIME, threadClock(tid), addr) {
		return 0, false
	}
	wanted := th.nops
	if done, ok := th.Do(); !ok || done < wanted {
		return 0, false
	}
	ts := unix.Timespec{Sec: int64(binary.LittleEndian.Uint64(p)), Nsec: int64(binary.LittleEndian.Uint64(p[8:]))}
	if ts.Sec < 0 || ts.Sec > 1<<31 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return 0, false // a guest that forges its slot
	}
	return time.Duration(ts.Nano()), true
}

// threadClock is the clock of a host thread's processor time, as a register holds
// the negative clockid_t: pthread_getcpuclockid(3).
func threadClock(tid int32) uint64 { return uint64(int64(^tid)<<3 | 6) }
