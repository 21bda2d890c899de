package sysvipc

import (
	"sync"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// SEM_UNDO of a semaphore's operation has it taken back when the process ends.
const SEM_UNDO = 0x1000

// What semctl(2) does besides.
const (
	GETPID       = 11
	GETVAL       = 12
	GETALL       = 13
	GETNCNT      = 14
	GETZCNT      = 15
	SETVAL       = 16
	SETALL       = 17
	SEM_STAT     = 18
	SEM_INFO     = 19
	SEM_STAT_ANY = 20
)

// Limits: semaphores of a set, operations of a call, a value, sets; semTotal is the
// most semaphores of all sets.
const (
	SemMSL   = 32000
	SemOPM   = 500
	SemVMX   = 32767
	SemMNI   = 32000
	semTotal = 1 << 20
)

type semTable struct {
	mu sync.Mutex
	table[*semSet]
	total int // semaphores
}

// semaphore is one of a set.
type semaphore struct {
	value        int32
	pid          int32 // of the last operation
	rising, zero int32 // how many wait until it is more, and until it is 0
}

// semSet is what semget gives. Guarded by the table's lock, as are undos.
type semSet struct {
	mode         Perm
	sems         []semaphore
	otime, ctime int64
	removed      bool
	queue        wait.Queue
	undos        map[*Undo][]int32
}

func (s *semSet) perm() *Perm { return &s.mode }

// Undo is what is to be taken back when a process ends: SEM_UNDO. The zero value
// is nothing.
type Undo struct{ sets map[*semSet]bool }

// Semop is one operation on a semaphore: struct sembuf.
type Semop struct {
	Num   uint16
	Op    int16
	Flags int16
}

// Semget finds or makes a set and gives its id: semget(2).
func (n *Namespace) Semget(ctx vfs.Context, key, count, flags int32) (int32, error) {
	t := &n.sem
	if count < 0 || count > SemMSL {
		return 0, linux.EINVAL
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return get(&t.table, ctx.Creds(), key, flags, SemMNI, func(s *semSet) error {
		if int(count) > len(s.sems) {
			return linux.EINVAL
		}
		return nil
	}, func() (*semSet, error) {
		if count == 0 {
			return nil, linux.EINVAL
		}
		if t.total+int(count) > semTotal {
			return nil, linux.ENOSPC
		}
		t.total += int(count)
		return &semSet{mode: newPerm(ctx.Creds(), key, flags), sems: make([]semaphore, count), ctime: seconds()}, nil
	})
}

// Semop does all operations at once, waiting until they can be done: semtimedop(2).
// The zero deadline is none. EFBIG, EACCES, EAGAIN, EIDRM, EINTR, ERANGE.
func (n *Namespace) Semop(ctx vfs.Context, undo *Undo, id int32, ops []Semop, deadline time.Time) error {
	t := &n.sem
	t.mu.Lock()
	s, err := t.find(id)
	if err == nil {
		err = s.may(ctx, ops)
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	var waits *int32 // the counter that says that we wait
	settle := func(to *int32) {
		if waits != nil {
			*waits--
		}
		if waits = to; to != nil {
			*to++
		}
	}
	stirs := false
	err = wait.Until(ctx, &s.queue, wait.In, deadline, func() (bool, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if s.removed {
			waits = nil
			return true, linux.EIDRM
		}
		blocked, err := s.try(undo, ops, ctx.TGID())
		if err != nil || blocked == nil {
			settle(nil)
			stirs = err == nil && s.stirs(ops)
			return true, err
		}
		settle(blocked)
		return false, nil
	})
	t.mu.Lock()
	settle(nil)
	t.mu.Unlock()
	switch {
	case stirs:
		s.queue.Notify(wait.In)
	case err == linux.ERESTARTSYS:
		return linux.EINTR
	case err == linux.ETIMEDOUT:
		return linux.EAGAIN
	}
	return err
}

// stirs says whether operations that were done may let somebody go on who waits: those
// of other semaphores are not to be woken for nothing.
func (s *semSet) stirs(ops []Semop) bool {
	for _, op := range ops {
		sem := &s.sems[op.Num]
		if op.Op > 0 && sem.rising > 0 || op.Op < 0 && sem.value == 0 && sem.zero > 0 {
			return true
		}
	}
	return false
}

// may checks that all operations can ever be done.
func (s *semSet) may(ctx vfs.Context, ops []Semop) error {
	asked := int32(toRead)
	for _, op := range ops {
		if int(op.Num) >= len(s.sems) {
			return linux.EFBIG
		}
		if op.Op != 0 {
			asked = toWrite
		}
	}
	return s.mode.check(ctx.Creds(), asked)
}

// try does all operations or none. blocked is the count of those who wait for what
// it would have to wait for.
func (s *semSet) try(undo *Undo, ops []Semop, pid int32) (blocked *int32, err error) {
	adjust := s.undos[undo]
	done := 0
	for _, op := range ops {
		sem := &s.sems[op.Num]
		v := sem.value + int32(op.Op)
		switch {
		case op.Op == 0 && sem.value != 0:
			blocked = &sem.zero
		case v < 0:
			blocked = &sem.rising
		case v > SemVMX:
			err = linux.ERANGE
		case op.Flags&SEM_UNDO != 0 && adjust != nil && outOfRange(adjust[op.Num]-int32(op.Op)):
			err = linux.ERANGE
		}
		if blocked != nil && op.Flags&IPC_NOWAIT != 0 {
			err = linux.EAGAIN
		}
		if blocked != nil || err != nil {
			break
		}
		sem.value = v
		if op.Flags&SEM_UNDO != 0 && op.Op != 0 {
			if adjust == nil {
				adjust = s.undoFor(undo)
			}
			adjust[op.Num] -= int32(op.Op)
		}
		done++
	}
	if done < len(ops) {
		for _, op := range ops[:done] {
			s.sems[op.Num].value -= int32(op.Op)
			if op.Flags&SEM_UNDO != 0 && op.Op != 0 {
				adjust[op.Num] += int32(op.Op)
			}
		}
		return blocked, err
	}
	for _, op := range ops {
		s.sems[op.Num].pid = pid
	}
	s.otime = seconds()
	return nil, nil
}

func outOfRange(adjust int32) bool { return adjust < -SemVMX-1 || adjust > SemVMX }

// undoFor makes the list of what undo takes back in s.
func (s *semSet) undoFor(undo *Undo) []int32 {
	if undo.sets == nil {
		undo.sets = map[*semSet]bool{}
	}
	if s.undos == nil {
		s.undos = map[*Undo][]int32{}
	}
	undo.sets[s] = true
	s.undos[undo] = make([]int32, len(s.sems))
	return s.undos[undo]
}

// UndoAll takes back what the process that ends has done with SEM_UNDO.
func (n *Namespace) UndoAll(undo *Undo, pid int32) {
	t := &n.sem
	t.mu.Lock()
	sets := undo.sets
	undo.sets = nil
	for s := range sets {
		for i, adjust := range s.undos[undo] {
			if sem := &s.sems[i]; adjust != 0 {
				sem.value = min(max(sem.value+adjust, 0), SemVMX)
				sem.pid, s.otime = pid, seconds()
			}
		}
		delete(s.undos, undo)
	}
	t.mu.Unlock()
	for s := range sets {
		s.queue.Notify(wait.In)
	}
}

// set finds a set that the caller may use so: the table's lock is held.
func (t *semTable) set(ctx vfs.Context, id, asked int32) (*semSet, error) {
	s, err := t.find(id)
	if err != nil {
		return nil, err
	}
	return s, s.mode.check(ctx.Creds(), asked)
}

// SemValue is GETVAL, GETPID, GETNCNT and GETZCNT of semctl(2).
func (n *Namespace) SemValue(ctx vfs.Context, id, num, what int32) (int32, error) {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.set(ctx, id, toRead)
	if err != nil {
		return 0, err
	}
	if num < 0 || int(num) >= len(s.sems) {
		return 0, linux.EINVAL
	}
	switch sem := s.sems[num]; what {
	case GETPID:
		return sem.pid, nil
	case GETNCNT:
		return sem.rising, nil
	case GETZCNT:
		return sem.zero, nil
	default:
		return sem.value, nil
	}
}

// SemValues is GETALL.
func (n *Namespace) SemValues(ctx vfs.Context, id int32) ([]uint16, error) {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.set(ctx, id, toRead)
	if err != nil {
		return nil, err
	}
	values := make([]uint16, len(s.sems))
	for i := range values {
		values[i] = uint16(s.sems[i].value)
	}
	return values, nil
}

// SemCount is how many semaphores a set has, whoever asks.
func (n *Namespace) SemCount(id int32) (int, error) {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(id)
	if err != nil {
		return 0, err
	}
	return len(s.sems), nil
}

// SetSemValue is SETVAL: ERANGE.
func (n *Namespace) SetSemValue(ctx vfs.Context, id, num, value int32) error {
	if value < 0 || value > SemVMX {
		return linux.ERANGE
	}
	return n.setSems(ctx, id, func(s *semSet) error {
		if num < 0 || int(num) >= len(s.sems) {
			return linux.EINVAL
		}
		s.setTo(int(num), value, ctx.TGID())
		return nil
	})
}

// SetSemValues is SETALL: ERANGE.
func (n *Namespace) SetSemValues(ctx vfs.Context, id int32, values []uint16) error {
	return n.setSems(ctx, id, func(s *semSet) error {
		for _, v := range values {
			if v > SemVMX {
				return linux.ERANGE
			}
		}
		for i := range s.sems {
			if i < len(values) {
				s.setTo(i, int32(values[i]), ctx.TGID())
			}
		}
		return nil
	})
}

func (n *Namespace) setSems(ctx vfs.Context, id int32, change func(*semSet) error) error {
	t := &n.sem
	t.mu.Lock()
	s, err := t.set(ctx, id, toWrite)
	if err == nil {
		if err = change(s); err == nil {
			s.ctime = seconds()
		}
	}
	t.mu.Unlock()
	if err == nil {
		s.queue.Notify(wait.In)
	}
	return err
}

// setTo gives a semaphore a value, and nobody takes anything back of it any more.
func (s *semSet) setTo(i int, value, pid int32) {
	s.sems[i].value, s.sems[i].pid = value, pid
	for _, adjust := range s.undos {
		adjust[i] = 0
	}
}

// RemoveSem is IPC_RMID: who waits gets EIDRM.
func (n *Namespace) RemoveSem(ctx vfs.Context, id int32) error {
	t := &n.sem
	t.mu.Lock()
	s, err := t.find(id)
	if err == nil {
		err = s.mode.owned(ctx.Creds())
	}
	if err == nil {
		t.remove(s)
		t.total -= len(s.sems)
		s.removed = true
		for undo := range s.undos {
			delete(undo.sets, s)
		}
		s.undos = nil
	}
	t.mu.Unlock()
	if err == nil {
		s.queue.Notify(wait.In)
	}
	return err
}

// SetSem is IPC_SET.
func (n *Namespace) SetSem(ctx vfs.Context, id int32, to Perm) error {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(id)
	if err != nil {
		return err
	}
	if err := s.mode.owned(ctx.Creds()); err != nil {
		return err
	}
	s.mode.set(to)
	s.ctime = seconds()
	return nil
}

// SemStatus is what IPC_STAT tells of a set: struct semid_ds.
type SemStatus struct {
	ID           int32
	Perm         Perm
	Otime, Ctime int64 // seconds since 1970
	Count        int
}

// StatSem is IPC_STAT, SEM_STAT (byIndex) and SEM_STAT_ANY (and anybody).
func (n *Namespace) StatSem(ctx vfs.Context, id int32, byIndex, anybody bool) (SemStatus, error) {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	s, found, err := t.stat(ctx.Creds(), id, byIndex, anybody)
	if err != nil {
		return SemStatus{}, err
	}
	return SemStatus{found, s.mode, s.otime, s.ctime, len(s.sems)}, nil
}

// AllSem gives every set: /proc/sysvipc/sem.
func (n *Namespace) AllSem() []SemStatus {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []SemStatus
	for i, s := range t.slots {
		if t.used[i] {
			all = append(all, SemStatus{t.idOf(i), s.mode, s.otime, s.ctime, len(s.sems)})
		}
	}
	return all
}

// SemUse is how many sets and semaphores there are, and the highest index in use:
// SEM_INFO.
func (n *Namespace) SemUse() (highest, count, semaphores int) {
	t := &n.sem
	t.mu.Lock()
	defer t.mu.Unlock()
	highest, count = t.highest()
	return highest, count, t.total
}
