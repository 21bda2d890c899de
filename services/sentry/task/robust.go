package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/mm"
)

// SetRobustList is set_robust_list(2), of which the sentry hears only sometimes: the
// head is kept in the slot, where the stub puts it too.
func (t *Task) SetRobustList(head mm.Addr) { t.th.SetRobust(head) }

// RobustList is get_robust_list(2).
func (t *Task) RobustList() mm.Addr {
	if th := t.host.Load(); th != nil {
		return th.SeeRobust()
	}
	return t.th.Robust()
}

const (
	robustLimit      = 2048
	futexOwnerDied   = 0x4000_0000
	futexWaiters     = 0x8000_0000
	futexTIDMask     = 0x3fff_ffff
	robustHeadLength = 24
)

// runRobustList marks the robust futexes that the thread holds as its owner
// having died, and wakes a waiter of each: futex(2), "Robust futexes". The lock
// words hold the guest's thread ids, so that the host cannot do it.
func (t *Task) runRobustList() {
	list := t.th.Robust()
	if list == 0 || t.mm.Load() == nil {
		return
	}
	var head [robustHeadLength]byte
	if t.th.Process().CopyIn(list, head[:]) != nil {
		return
	}
	le := binary.LittleEndian
	next, offset, pending := le.Uint64(head[:]), le.Uint64(head[8:]), le.Uint64(head[16:])
	for range robustLimit {
		if next == list || next == 0 {
			break
		}
		entry := next &^ 1
		var link [8]byte
		if t.th.Process().CopyIn(entry, link[:]) != nil {
			break
		}
		if entry != pending&^1 {
			t.robustDeath(entry+offset, next&1 != 0)
		}
		next = le.Uint64(link[:])
	}
	if pending != 0 {
		t.robustDeath(pending&^1+offset, pending&1 != 0)
	}
}

// robustDeath handles one lock word. Who waits for one with priority inheritance
// gets it from leavePI.
func (t *Task) robustDeath(addr uint64, pi bool) {
	var word [4]byte
	p := t.th.Process()
	if addr%4 != 0 || p.CopyIn(addr, word[:]) != nil {
		return
	}
	v := binary.LittleEndian.Uint32(word[:])
	if v&futexTIDMask != uint32(t.Number()) {
		return
	}
	binary.LittleEndian.PutUint32(word[:], v&futexWaiters|futexOwnerDied)
	// Somebody may have begun to wait between the two.
	if p.CopyOut(addr, word[:]) == nil && !pi {
		t.th.TryHostCall(unix.SYS_FUTEX, addr, 1, 1) // FUTEX_WAKE one
	}
}
