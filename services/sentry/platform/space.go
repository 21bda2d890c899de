package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/cores"
)

// Space is a guest address space: the slots that its threads share with the
// sentry, and the doorbell that they ring.
type Space struct {
	m     *Machine
	memfd int
	bell  *bell

	mu      sync.Mutex
	slots   map[int]slot
	threads []*Thread // by slot index, nil where free
	live    int       // threads that may still look into their slots
	// leaving is who had a slot last: its host thread may still be on its way
	// out, and reads its last answer there.
	leaving map[int]*Thread
	procs   int // host processes that use this space
	freezer freezer
	leased  atomic.Bool              // there is a lease
	patched [patchedBits / 64]uint64 // slotPatched of all threads
}

// Process is a host process. Several share a Space after vfork(2) and clone(2)
// with CLONE_VM alone.
type Process struct {
	m     *Machine
	space *Space
	pid   atomic.Int32

	overdue atomic.Pointer[time.Timer] // see endSoon
	lent    atomic.Pointer[loan]       // see lend.go
	found   atomic.Int32               // the slot of the thread that byThread has found

	// dead is closed once the host has reaped the process; status and usage are
	// valid then.
	dead   chan struct{}
	gone   atomic.Bool
	status unix.WaitStatus
	usage  unix.Rusage
}

// PID is the host's process id, in the sentry's PID namespace.
func (p *Process) PID() int { return int(p.pid.Load()) }

// Dead is closed once the process is gone.
func (p *Process) Dead() <-chan struct{} { return p.dead }

// Status is how the host process ended; valid once Dead is closed.
func (p *Process) Status() unix.WaitStatus { return p.status }

// Kill ends the process at once. The guest learns nothing of it here.
func (p *Process) Kill() {
	if !p.gone.Load() && p.PID() > 0 {
		unix.Kill(p.PID(), unix.SIGKILL)
	}
}

// exitPatience is how long a process may take to carry out the order to end.
const exitPatience = time.Second

// endSoon ends a process that does not do it itself: a guest that has written over
// its slot can seem to have asked for its end, or look for the answer elsewhere, and
// would go on with nobody left who serves it.
func (p *Process) endSoon() { p.overdue.Store(time.AfterFunc(exitPatience, p.Kill)) }

// newSpace makes the shared memory of an address space. ring must give it a
// doorbell.
func (m *Machine) newSpace() (*Space, error) {
	memfd, err := unix.MemfdCreate("slots", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make slots: %w", err)
	}
	if err := unix.Ftruncate(memfd, MaxThreads*slotSize); err != nil {
		unix.Close(memfd)
		return nil, fmt.Errorf("size slots: %w", err)
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(memfd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(memfd)
		return nil, fmt.Errorf("seal slots: %w", err)
	}
	s := &Space{m: m, memfd: memfd, slots: map[int]slot{}}
	if s.slots[0], err = m.windows.mapSlot(memfd); err != nil {
		unix.Close(memfd)
		return nil, fmt.Errorf("map slot: %w", err)
	}
	return s, nil
}

// sparesOfSpace is how many address spaces are made ahead of need; when half of
// them are gone, more are made in the background.
const sparesOfSpace = 4

// takeSpace gives a new space, one made ahead if there is one.
func (m *Machine) takeSpace() (*Space, error) {
	select {
	case s := <-m.spaces:
		if len(m.spaces) == sparesOfSpace/2 {
			go m.stockSpaces()
		}
		return s, nil
	default:
		go m.stockSpaces()
		return m.newSpace()
	}
}

func (m *Machine) stockSpaces() {
	for len(m.spaces) < sparesOfSpace {
		s, err := m.newSpace()
		if err != nil {
			return
		}
		select {
		case m.spaces <- s:
		default:
			s.free()
			return
		}
	}
}

// slotLocked maps slot index. A mapping stays for the next thread.
func (s *Space) slotLocked(index int) (slot, error) {
	if sl, ok := s.slots[index]; ok {
		return sl, nil
	}
	sl, err := mapSlot(s.memfd, index)
	if err == nil {
		s.slots[index] = sl
	}
	return sl, err
}

// free gives everything back.
func (s *Space) free() {
	s.mu.Lock()
	for _, sl := range s.slots {
		sl.unmap()
	}
	s.slots, s.threads, s.leaving = nil, nil, nil
	s.mu.Unlock()
	if s.bell != nil {
		s.bell.leave(s)
	}
	unix.Close(s.memfd)
}

// ring makes b the doorbell.
func (s *Space) ring(b *bell) {
	s.bell = b
	b.join(s)
}

// pokeAll has every thread look at its state.
func (s *Space) pokeAll() {
	s.mu.Lock()
	for _, th := range s.threads {
		if th == nil {
			continue
		}
		if th.asleep.Load() {
			futexWake(th.slot.word(slotReq))
		}
		th.rings()
	}
	s.mu.Unlock()
}

// pokeSleepers wakes the goroutines of threads that have a request.
func (s *Space) pokeSleepers() {
	s.mu.Lock()
	for _, th := range s.threads {
		if th == nil || !th.hasRequest() {
			continue
		}
		if th.asleep.Load() {
			th.poke()
		}
		th.rings()
	}
	s.mu.Unlock()
}

// thread makes the sentry's side of slot index, or of any free one if it is
// negative.
func (s *Space) thread(p *Process, index int) (*Thread, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index < 0 {
		for index = 0; index == leaseSlot || index < len(s.threads) && (s.threads[index] != nil || s.leavingLocked(index)); index++ {
		}
	}
	if index >= MaxThreads {
		return nil, unix.EAGAIN
	}
	for len(s.threads) <= index {
		s.threads = append(s.threads, nil)
	}
	sl, err := s.slotLocked(index)
	if err != nil {
		return nil, unix.ENOMEM
	}
	s.live++
	th := &Thread{proc: p, space: s, index: index, slot: sl, wake: make(chan struct{}, 1), verifier: s.m.verifier,
		parting: cores.Parting{After: partAfter, Worth: partWorth}}
	// The slot may have served another thread before.
	th.last = atomic.LoadUint32(sl.word(slotReq))
	atomic.StoreUint32(sl.word(slotAns), th.last)
	atomic.StoreUint32(sl.word(slotSentrySleep), 0)
	atomic.StoreUint32(sl.word(slotPatience), 0)
	for w := range int(selfWords) {
		atomic.StoreUint64(sl.long(slotSelf+8*w), 0)
	}
	atomic.StoreUint64(sl.long(slotSigPending), sigUnknown)
	sl.beginAlone()
	sl.beginFaults(s.m, &s.patched)
	atomic.StoreUint32(sl.word(slotBirthKick), 0)
	atomic.StoreUint64(sl.long(slotTID), 0)
	atomic.StoreUint32(sl.word(slotLease), boolWord(s.leased.Load()))
	atomic.StoreUint64(sl.long(slotAddr), slotOf(index))
	th.running.Store(true) // until it stops
	s.threads[index] = th
	return th, nil
}

// dropThread frees the thread's slot. Others look into it under the lock only.
func (s *Space) dropThread(th *Thread) {
	if s.m.verifier != nil {
		s.m.verifier.forget(th)
	}
	s.mu.Lock()
	s.live--
	last := s.live == 0 && s.procs == 0
	if s.leaving == nil {
		s.leaving = map[int]*Thread{}
	}
	s.leaving[th.index] = th
	if s.threads[th.index] == th {
		s.threads[th.index] = nil
	}
	s.mu.Unlock()
	if last {
		s.free()
	}
}

// leavingLocked says whether the host thread that had the slot is still there.
func (s *Space) leavingLocked(index int) bool {
	th := s.leaving[index]
	if th == nil {
		return false
	}
	pid, tid := th.proc.PID(), int(th.tid.Load())
	if !th.proc.gone.Load() && (tid == 0 || unix.Tgkill(pid, tid, 0) == nil) {
		return true
	}
	delete(s.leaving, index)
	return false
}

// newProcess counts a host process in.
func (s *Space) newProcess() *Process {
	s.mu.Lock()
	s.procs++
	s.mu.Unlock()
	return &Process{m: s.m, space: s, dead: make(chan struct{})}
}

// release is called when a host process of the space is gone for good.
func (s *Space) release() {
	s.mu.Lock()
	s.procs--
	last := s.live == 0 && s.procs == 0
	s.mu.Unlock()
	if last {
		s.free()
	}
}

// died is called by the reaper.
func (p *Process) died(status unix.WaitStatus, usage unix.Rusage) {
	p.status, p.usage = status, usage
	p.gone.Store(true)
	if t := p.overdue.Load(); t != nil {
		t.Stop()
	}
	close(p.dead)
	p.space.pokeAll()
	p.m.withdrawFrom(p)
	p.space.release()
}

var errDead = errors.New("platform: the guest's host process is gone")

// CopyIn copies guest memory at addr to buf; EFAULT if any of it is not there.
func (p *Process) CopyIn(addr uint64, buf []byte) error {
	n, err := p.transfer(unix.SYS_PROCESS_VM_READV, addr, buf)
	if err == nil && n < len(buf) {
		err = unix.EFAULT
	}
	return err
}

// CopyOut copies buf to guest memory at addr; EFAULT if any of it cannot be
// written, with the part before written.
func (p *Process) CopyOut(addr uint64, buf []byte) error {
	n, err := p.transfer(unix.SYS_PROCESS_VM_WRITEV, addr, buf)
	if err == nil && n < len(buf) {
		err = unix.EFAULT
	}
	return err
}

// CopyOutPartial copies as much as there is memory for and gives how much.
func (p *Process) CopyOutPartial(addr uint64, buf []byte) int {
	n, _ := p.transfer(unix.SYS_PROCESS_VM_WRITEV, addr, buf)
	return max(n, 0)
}

// CopyInPartial copies as much as there is and gives how much.
func (p *Process) CopyInPartial(addr uint64, buf []byte) int {
	n, _ := p.transfer(unix.SYS_PROCESS_VM_READV, addr, buf)
	return n
}

// transfer moves bytes between buf and guest memory, stopping short of what is
// not there. Addresses of the stub's own memory are refused; the vDSO, which lies
// above them, can be read, as debuggers do.
func (p *Process) transfer(call uintptr, addr uint64, buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	if p.gone.Load() { // its number may be another's
		return 0, unix.EFAULT
	}
	if call == unix.SYS_PROCESS_VM_READV && p.m != nil && addr >= p.m.VDSO && addr < p.m.VDSOEnd {
		return p.vm(call, addr, buf[:min(uint64(len(buf)), p.m.VDSOEnd-addr)])
	}
	if addr >= GuestTop || uint64(len(buf)) > GuestTop-addr {
		return 0, unix.EFAULT
	}
	return p.vm(call, addr, buf)
}

// vm is processVM by a thread that has the memory.
func (p *Process) vm(call uintptr, addr uint64, buf []byte) (n int, err error) {
	err = p.byThread(func(tid int) (err error) {
		n, err = processVM(call, tid, addr, buf)
		return err
	})
	if err == unix.ESRCH {
		return 0, unix.EFAULT // the process is on its way out
	}
	return n, err
}

// byThread calls f with the host's number of a thread, and of others as long as the host
// knows of no memory of it: ESRCH. The first has none any more once it has ended before
// others, as with pthread_exit(3) in main.
func (p *Process) byThread(f func(tid int) error) error {
	err := f(p.PID())
	if err != unix.ESRCH || p.space == nil {
		return err
	}
	// From where one was found last: of thousands of threads that end, each looks.
	from := int(p.found.Load())
	for i, n := 0, p.space.indices(); i < n; i++ {
		index := (from + i) % n
		tid := p.threadFrom(index)
		if tid == 0 {
			continue
		}
		if err = f(tid); err != unix.ESRCH {
			p.found.Store(int32(index))
			return err
		}
	}
	return unix.ESRCH
}

// threadFrom is the host's number of the thread with that slot, if the process has one but its
// first. A guest may have forged it in its slots: so it is one of which the host says so.
func (p *Process) threadFrom(index int) int {
	tid := p.space.tidOf(index, p)
	if tid > 0 && tid != p.PID() && unix.Tgkill(p.PID(), tid, 0) == nil {
		return tid
	}
	return 0
}

// indices is how many slots have ever been taken.
func (s *Space) indices() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.threads)
}

// tidOf is what the thread of p with that slot says that its number is; 0 if there is none.
func (s *Space) tidOf(index int, p *Process) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index >= len(s.threads) {
		return 0
	}
	th := s.threads[index]
	if th == nil || th.proc != p {
		return 0
	}
	if tid := th.tid.Load(); tid != 0 {
		return int(tid)
	}
	return int(int32(th.slot.load(slotTID)))
}

// token is what a new process or a thread that expects files shows to the
// sentry: unguessable, and good once.
type token uint64

func (m *Machine) newToken() token {
	var b [8]byte
	for {
		if _, err := unix.Getrandom(b[:], 0); err == nil {
			return token(binary.LittleEndian.Uint64(b[:]) | 1)
		}
	}
}

// Gone says whether the process has been reaped.
func (p *Process) Gone() bool { return p.gone.Load() }
