package platform

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/cores"
	"bulkhead/proto/linux"
)

// How long each side waits before it sleeps: the stub for stubSpins PAUSEs, then
// yielding the core for stubYieldCycles of the time-stamp counter, or until stubCrowd
// yields took stubOtherRan each: then others have work for this core (Yielder.Crowded);
// the sentry for spinBursts bursts of PAUSEs, then yielding for yieldTime.
const (
	stubSpins       = 200
	stubYieldCycles = 600_000
	stubOtherRan    = 12_000
	stubCrowd       = 4
	burst           = 32
	spinBursts      = 8
	yieldTime       = 100 * time.Microsecond
)

// UserSegments are the selectors of 64-bit user code: cs 0x33, ss 0x2b.
const UserSegments = 0x2b<<48 | 0x33

// EventKind says why a guest thread stopped.
type EventKind int

// The kinds of Event.
const (
	// Syscall: a system call with number Regs.RAX.
	Syscall EventKind = iota
	// Fault: a host signal that guest code caused; see Event.Fault.
	Fault
	// Kicked: Kick was called while the thread ran guest code.
	Kicked
	// Ready: a new thread waits for its registers.
	Ready
	// CallFailed: a host call of the last answer failed, and what followed it
	// was not done. The thread waits for another answer to the same request.
	CallFailed
	// Died: the host process is gone.
	Died
)

// FaultInfo is the host's siginfo of a fault.
type FaultInfo struct {
	Signal linux.Signal
	Code   int32
	Addr   uint64
}

// Event is what Thread.Next gives.
type Event struct {
	Kind  EventKind
	Fault FaultInfo // Kind Fault
	// Op and Err say which host call failed and how: Kind CallFailed.
	Op  int
	Err linux.Errno
}

// Thread is the sentry's side of a guest thread. Its methods but Kick are
// called by one goroutine only, the guest thread's own.
type Thread struct {
	proc  *Process
	space *Space
	index int
	slot  slot
	tid   atomic.Int32 // on the host, in the sentry's PID namespace

	// Regs are the registers of the last request, copied. After a change,
	// Resume gives them to the guest.
	Regs Regs

	last  uint32 // number of the request being served; atomic, for the doorbell
	moved bool   // Regs.RIP is another than it was: Return must set the registers too
	// knowsFlags: KnowFlags has been called since the request.
	knowsFlags bool
	// birthRIP is where the child that the answer orders begins: where the call
	// was made, though a signal may have the thread itself go on elsewhere.
	birthRIP uint64
	fast     bool   // it came by the fast lane, and the thread has no ucontext
	frame    uint64 // the host's ucontext, in the thread's private area
	ranges   [maxRanges]copied
	nrange   int

	nops     int
	verifier *verifier // strict mode, or nil: verify.go
	orders   orders
	outLen   int
	gift     *donation

	running   atomic.Bool // in the guest, or on the way there or from there
	froze     atomic.Bool // a freeze has kicked it: see again
	seenMoves *map[uint64]uint64

	due bool // see awaitDue
	// slow: the answer's host calls take longer than it pays to look for what is next.
	slow    bool
	parting cores.Parting
	asleep  atomic.Bool
	wake    chan struct{}
	ring    atomic.Pointer[func()] // see OnRing
	long    func()                 // see OnLong
	dropped atomic.Bool
	birth   token // what a new process shows, see donate.go
	expects *donation
	direct  bool // it goes to the guest without being Ready first
	// ownGS: the guest has set a GS base of its own by a call, and so stays on the
	// trap lane. Where it can do that by an instruction, nobody knows.
	ownGS bool
	setGS bool // its first answer sets its GS base
	// stillborn: the host did not make it.
	stillborn atomic.Bool
	// releases: the lease's lock is held for the answer: Releases.
	releases bool
	links    [2]uint32 // the numbers of the records that are good: links.go
	// Of the box, how much was delivered; and whom to call for it: pocket.go.
	delivered uint32
	mail      func()
}

// Core is the core that the thread was on when it made the call that is served,
// as its stub says.
func (th *Thread) Core() uint32 { return atomic.LoadUint32(th.slot.word(slotStubCore)) & 0xfff }

// Process is the host process that the thread runs in.
func (th *Thread) Process() *Process { return th.proc }

// poke wakes the goroutine in Next.
func (th *Thread) poke() {
	select {
	case th.wake <- struct{}{}:
	default:
	}
}

func (th *Thread) hasRequest() bool {
	return atomic.LoadUint32(th.slot.word(slotReq)) != th.served()
}

// served is the number of the last request that was taken.
func (th *Thread) served() uint32 { return atomic.LoadUint32(&th.last) }

// spinning counts the goroutines that spin. With as many of them as cores, the
// guests that they wait for have no core to run on.
var spinning atomic.Int32

var maxSpinning = int32(max(1, runtime.NumCPU()-1))

// Linger looks for a request for as long as it may pay; true once there is one.
//
//go:noinline
func (th *Thread) Linger() bool {
	if apart := th.Meet(); BeginSpin() && apart {
		for range spinBursts {
			if th.Spin() {
				EndSpin()
				return true
			}
		}
	}
	EndSpin()
	y := Yielder{Idle: !th.due}
	defer func() { y.Done(th.hasRequest()) }()
	for began := time.Now(); time.Since(began) < yieldTime; {
		if th.hasRequest() {
			return true
		}
		if th.proc.gone.Load() || th.stillborn.Load() {
			return false
		}
		if y.Yield(); y.Crowded() {
			break
		}
	}
	return th.hasRequest()
}

// await returns once there is a request, or false once the process is dead.
func (th *Thread) await() bool {
	if d := th.expects; d != nil {
		th.expects = nil
		if !th.space.m.expect(d) && th.direct {
			// The parent's answer can have been written over, so that nobody was made.
			defer time.AfterFunc(birthPatience, func() { th.Unborn() }).Stop()
		}
	}
	if th.slow {
		th.slow = false
	} else if th.hasRequest() || th.Linger() {
		return true
	}
	th.asleep.Store(true)
	defer th.asleep.Store(false)
	defer atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryAwake)
	if th.drowse() {
		return true
	}
	var tick <-chan time.Time
	if th.due {
		if th.long != nil {
			th.long()
		}
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		tick = ticker.C
	}
	for seconds := 0; ; {
		atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryRing)
		if th.hasRequest() {
			return true
		}
		if th.stillborn.Load() {
			return false
		}
		select {
		case <-th.wake:
		case <-th.proc.dead:
			return false
		case <-tick: // of which a sandbox that stood still has seen but one
			if seconds++; seconds == callPatience {
				th.proc.Kill()
			}
		}
	}
}

// callPatience is how many seconds the stub may take for host calls whose
// outcome the sentry waits for, perhaps with locks held: a guest that writes over
// its slot can have it lose the order, or its answer.
const callPatience = 10

// awaitDue is await, where the guest's own code is no part of what is waited for. There are no
// letters then: what looks like some is as good an end as any that a guest makes up.
func (th *Thread) awaitDue() bool {
	th.due = true
	defer func() { th.due = false }()
	return th.await()
}

// NextDue is Next after an answer that ends with Sync. It gives Died if the host
// calls take longer than they ever should: the process is ended then.
func (th *Thread) NextDue() Event {
	return th.event(th.awaitDue())
}

// Next waits for the thread to stop and says why. The sentry must answer every
// event with exactly one of Return, Resume and Exit; after Died, only Exit has a
// meaning, and Next gives Died again.
func (th *Thread) Next() Event { return th.event(th.awaitCall()) }

// event takes the request that was waited for; asks is false if there will be none.
func (th *Thread) event(asks bool) Event {
	if !asks {
		th.running.Store(false)
		return Event{Kind: Died}
	}
	s := th.slot
	th.seeMoves()
	defer th.running.Store(false)
	atomic.StoreUint32(&th.last, atomic.LoadUint32(s.word(slotReq)))
	kind := s.load(slotKind)
	th.nops, th.outLen, th.nrange = 0, 0, 0
	v := th.verifier
	if v != nil {
		v.begin(th)
	}
	if kind != kindOpFailed {
		th.releases = false
		s.regs(&th.Regs)
		th.frame = s.load(slotFrame)
		th.fast, th.moved, th.knowsFlags = kind == kindFast, false, false
	}
	if th.tid.Load() == 0 {
		th.tid.Store(int32(s.load(slotTID))) // no less true than what Ready reports
	}
	switch kind {
	case kindFast:
		th.Regs.Segments = UserSegments
		th.Regs.EFlags = fastFlags(atomic.LoadUint32(s.word(slotFastFlags)))
		th.Regs.RCX, th.Regs.R11 = th.Regs.RIP, th.Regs.EFlags // as SYSCALL leaves them
		th.nrange = s.ranges(&th.ranges)
		return Event{Kind: Syscall}
	case kindSyscall:
		// Whatever kicks came on the fast lane before have been seen with this.
		atomic.StoreUint32(s.word(slotKicked), 0)
		th.nrange = s.ranges(&th.ranges)
		return Event{Kind: Syscall}
	case kindUpgraded:
		return Event{Kind: Kicked}
	case kindReady:
		tid := int32(s.load(slotTID))
		if v != nil {
			v.meet(th, tid)
		}
		th.tid.Store(tid)
		if th.direct {
			return Event{Kind: Kicked}
		}
		th.Regs = Regs{Segments: UserSegments, EFlags: 0x202}
		return Event{Kind: Ready}
	case kindOpFailed:
		return Event{Kind: CallFailed, Op: int(uint32(s.load(slotFailOp))), Err: linux.Errno(-int64(s.load(slotFailRes)) & 0xfff)}
	}
	info := s.sigInfo()
	if info.Signal == kickSignal {
		th.again()
		return Event{Kind: Kicked}
	}
	return Event{Kind: Fault, Fault: info}
}

// fastFlags is the flags register of a guest on the fast lane, as far as it is
// known: the arithmetic flags, and that interrupts are on.
func fastFlags(saved uint32) uint64 {
	return 0x202 | uint64(saved>>8)&0xd5 | uint64(saved&1)<<11
}

// Fast says whether the call being served came by the fast lane.
func (th *Thread) Fast() bool { return th.fast }

// Upgrade takes a thread that called by the fast lane to the trap lane, so that
// it has a ucontext: Frame, Resume. The host calls ordered so far are done first;
// if one fails, that event comes back, and nothing is upgraded. Otherwise Regs
// and the answer that is due are as before, with no host calls.
func (th *Thread) Upgrade() (failed Event, ok bool) {
	if !th.fast {
		return Event{}, true
	}
	th.publish(ansUpgrade)
	if !th.awaitDue() {
		return Event{Kind: Died}, false
	}
	regs := th.Regs
	ev := th.event(true)
	if ev.Kind != Kicked {
		return ev, false
	}
	regs.EFlags, regs.Segments = th.Regs.EFlags, th.Regs.Segments
	regs.Err, regs.TrapNo, regs.OldMask, regs.CR2 = th.Regs.Err, th.Regs.TrapNo, th.Regs.OldMask, th.Regs.CR2
	th.Regs = regs
	return Event{}, true
}

// Relocate makes the thread go on at another address than it stopped at.
func (th *Thread) Relocate(rip uint64) { th.Regs.RIP, th.moved = rip, true }

// Do has the thread make the host calls ordered so far, and waits for them. The
// request is served on after it, as if nothing had been. It gives the index of
// the first call that failed, or how many there were; false if the process died.
func (th *Thread) Do() (done int, ok bool) {
	ranges, nrange, n := th.ranges, th.nrange, th.nops
	if !th.Sync() {
		return 0, false
	}
	th.publish(0)
	if !th.awaitDue() {
		return 0, false
	}
	ev := th.event(true)
	th.ranges, th.nrange = ranges, nrange
	if ev.Kind != CallFailed {
		return 0, false // a guest that forges its slot
	}
	return min(ev.Op, n), true
}

// CompareAndSwap has the thread store the 4 bytes new at addr if there are old,
// in one step for all who share the memory, and waits for it. EAGAIN, with what is
// there instead; EFAULT. The request is served on after it.
func (th *Thread) CompareAndSwap(addr uint64, old, new uint32) (seen uint32, err error) {
	if addr > GuestTop-4 || addr%4 != 0 {
		return 0, linux.EFAULT
	}
	ranges, nrange, at := th.ranges, th.nrange, th.nops
	if !th.op(opSwap, 0, 0, addr, uint64(old), uint64(new)) || !th.Sync() {
		return 0, linux.EFAULT
	}
	th.publish(0)
	if !th.awaitDue() {
		return 0, linux.EFAULT
	}
	ev := th.event(true)
	th.ranges, th.nrange = ranges, nrange
	switch {
	case ev.Kind == CallFailed && ev.Op == at+1:
		return old, nil
	case ev.Kind == CallFailed && ev.Op == at && ev.Err == linux.EAGAIN:
		return uint32(th.slot.load(slotResult)), linux.EAGAIN
	}
	return 0, linux.EFAULT
}

// Arch says which architecture's call a Syscall event is: an AUDIT_ARCH value.
func (th *Thread) Arch() uint32 {
	if th.fast {
		return unix.AUDIT_ARCH_X86_64
	}
	return uint32(th.slot.load(slotSigInfo+24) >> 32)
}

// Patience tells the stub that the answer will take long, so that it sleeps.
func (th *Thread) Patience() {
	atomic.StoreUint32(th.slot.word(slotPatience), 1)
}

// publish hands the answer over.
func (th *Thread) publish(flags uint64) {
	s := th.slot
	th.enter()
	rax := th.Regs.RAX
	if th.move() {
		th.moved = true // for the last answer too: this one may come back for another
		if flags == 0 {
			th.Regs.RAX = s.load(slotResult)
			flags = ansRegs
		}
	}
	if flags == ansRegs {
		s.setRegs(&th.Regs)
		if th.fast && !th.jumpable() {
			flags |= ansUpgrade
		}
	}
	th.Regs.RAX = rax
	if th.nops > 0 {
		s.store(slotBirthRIP, th.birthRIP) // after all moves; only an opClone reads it
	}
	ordered := 0
	if v := th.verifier; v != nil {
		ordered = v.release(th)
	}
	if th.releases {
		flags |= ansRelease
	}
	// The guest looks at the line of all these, so that each atomic store would fetch it back.
	s.store(slotNOps, uint64(th.nops))
	s.store(slotFlags, flags)
	*s.word(slotPatience) = 0
	*s.word(slotSentryCore) = core()
	atomic.StoreUint32(s.word(slotAns), th.last)
	if atomic.LoadUint32(s.word(slotStubAsleep)) != 0 {
		futexWake(s.word(slotAns))
	}
	if th.gift != nil {
		th.space.m.expect(th.gift)
		th.gift = nil
	}
	for range ordered {
		th.space.m.expectNotification()
	}
}

// jumpable says whether the stub can go on with Regs by a jump. One to an address
// that is none would fault in the stub, and a step be one of the stub's.
func (th *Thread) jumpable() bool {
	return th.Regs.RIP < GuestTop && th.Regs.EFlags&flagTF == 0
}

// Bits of the flags register.
const (
	flagTF = 1 << 8
	flagAC = 1 << 18
	flagID = 1 << 21
)

// Return answers with a result, after the host calls that were added.
func (th *Thread) Return(result uint64) {
	if th.moved {
		th.Regs.RAX = result
		th.Resume()
		return
	}
	th.slot.store(slotResult, result)
	th.publish(0)
}

// Resume answers with all of Regs.
func (th *Thread) Resume() {
	th.publish(ansRegs)
}

// Exit ends the host thread, or with group its host process, and lets go of the
// slot, which may be unmapped then. Every thread must come to it, those that have
// died too, and its goroutine must not call it for anything afterwards.
func (th *Thread) Exit(group bool) {
	if th.proc.gone.Load() || th.stillborn.Load() {
		th.running.Store(false)
		th.drop()
		return
	}
	nr := uint32(unix.SYS_EXIT)
	if group {
		nr = unix.SYS_EXIT_GROUP
	}
	th.forgive()
	th.HostCall(nr)
	th.publish(0)
	if group {
		th.proc.endSoon()
	}
	th.running.Store(false)
	th.drop()
}

// forgive has the answer go on past what it holds so far, whatever of that fails: nobody
// would be there to hear of it.
func (th *Thread) forgive() {
	le := binary.LittleEndian
	for i := range th.nops {
		flags := th.slot.mem[slotOps+i*opSize+8:][:8]
		le.PutUint64(flags, le.Uint64(flags)|opIgnoreError)
	}
}

// hold keeps the slot where it is, for a goroutine that is not the thread's own,
// until space.mu is unlocked. False, and nothing is held, once it is let go of.
func (th *Thread) hold() bool {
	th.space.mu.Lock()
	if th.dropped.Load() {
		th.space.mu.Unlock()
		return false
	}
	return true
}

// drop lets go of the slot, and of whoever is to be told of its requests: the thread
// itself may be remembered for as long as its parent runs.
func (th *Thread) drop() {
	if th.dropped.CompareAndSwap(false, true) {
		th.ring.Store(nil)
		th.long = nil
		th.space.dropThread(th)
	}
}

// Kick makes a thread that runs guest code stop with a Kicked event. If it has a
// request under way, it stops again after the answer.
func (th *Thread) Kick() {
	tid := int(th.tid.Load())
	if tid == 0 && th.direct {
		tid = th.kickNewborn()
	}
	if pid := th.proc.PID(); pid > 0 && tid > 0 && !th.proc.gone.Load() {
		unix.Tgkill(pid, tid, kickSignal)
	}
}

// kickNewborn makes a thread that has not come to the guest yet stop before it
// does, and gives its number if it may have come there.
func (th *Thread) kickNewborn() int {
	if !th.hold() {
		return 0
	}
	defer th.space.mu.Unlock()
	atomic.StoreUint32(th.slot.word(slotBirthKick), 1)
	if tid := th.tid.Load(); tid != 0 {
		return int(tid)
	}
	return int(int32(th.slot.load(slotTID)))
}

// birthPatience is how long the host may take to make a new thread.
const birthPatience = 10 * time.Second

// WaitReady waits for a new thread's first event, as long as the host may take
// to make it; nothing that a guest does can delay it for longer.
func (th *Thread) WaitReady() error {
	end := th.proc.Kill
	if th.birth != 0 {
		// The parent's answer can have been written over, so that nobody was made.
		end = th.Stillborn
	}
	var once sync.Once
	timer := time.AfterFunc(birthPatience, func() { once.Do(end) })
	defer timer.Stop()
	switch ev := th.Next(); ev.Kind {
	case Ready:
		if th.setGS {
			th.SetGS(0)
		}
		return nil
	default:
		once.Do(end)
		return linux.EAGAIN
	}
}
