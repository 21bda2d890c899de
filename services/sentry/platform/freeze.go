package platform

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Freezing an address space stops all of its threads but one in the sentry, so
// that the one can change code that they might be in the middle of. Who is there
// already, because its call is being served, just cannot go on; who runs guest
// code is kicked.

// freezeTime is how long freezing may take, before it is given up: others' host
// calls and host scheduling are waited for.
const freezeTime = 2 * time.Millisecond

// freezer is a Space's part in this.
type freezer struct {
	mu   sync.Mutex
	by   atomic.Pointer[Thread] // nil: not frozen
	thaw chan struct{}          // closed at the end

	// moves says where threads go on that stopped at an address which code has
	// been put over since. The map is replaced, never changed.
	moves atomic.Pointer[map[uint64]uint64]
}

// enter lets the thread go back to the guest, once that is allowed.
func (th *Thread) enter() {
	if th.space == nil {
		return
	}
	for f := &th.space.freezer; ; {
		th.running.Store(true)
		by := f.by.Load()
		if by == nil || by == th {
			return
		}
		th.running.Store(false)
		f.mu.Lock()
		thaw := f.thaw
		f.mu.Unlock()
		if f.by.Load() != nil {
			<-thaw
		}
	}
}

// Freeze stops the other threads of th's address space, whose call is being
// served. False if that takes too long, or another is at it; otherwise Thaw must
// follow.
func (th *Thread) Freeze() bool {
	s, f := th.space, &th.space.freezer
	f.mu.Lock()
	if f.by.Load() != nil {
		f.mu.Unlock()
		return false
	}
	f.thaw = make(chan struct{})
	f.by.Store(th)
	f.mu.Unlock()
	s.mu.Lock()
	others := make([]*Thread, 0, len(s.threads))
	for _, o := range s.threads {
		if o != nil && o != th {
			others = append(others, o)
		}
	}
	s.mu.Unlock()
	for _, o := range others {
		if o.running.Load() {
			o.froze.Store(true)
			o.Kick()
		}
	}
	var y Yielder
	began := time.Now()
	for _, o := range others {
		for o.running.Load() && !o.dropped.Load() && !o.proc.gone.Load() {
			if time.Since(began) > freezeTime {
				th.Thaw()
				return false
			}
			y.Yield()
		}
	}
	return true
}

// Thaw lets the others go on.
func (th *Thread) Thaw() {
	f := &th.space.freezer
	f.mu.Lock()
	f.by.Store(nil)
	close(f.thaw)
	f.mu.Unlock()
}

// SetMoves says where threads of the address space that stop at a key of moves
// go on. The map must not be changed any more.
func (th *Thread) SetMoves(moves map[uint64]uint64) { th.space.freezer.moves.Store(&moves) }

// seeMoves remembers which moves the thread's registers are after. It comes
// before the thread counts as stopped.
func (th *Thread) seeMoves() {
	if th.space != nil {
		th.seenMoves = th.space.freezer.moves.Load()
	}
}

// move applies the moves made since the thread stopped, and says whether that
// changed its registers. A child that the answer orders begins after them too.
func (th *Thread) move() bool {
	if th.space == nil {
		return false
	}
	moves := th.space.freezer.moves.Load()
	if moves == th.seenMoves || moves == nil {
		return false
	}
	if to, ok := (*moves)[th.birthRIP]; ok {
		th.birthRIP = to
	}
	to, ok := (*moves)[th.Regs.RIP]
	if ok {
		th.Regs.RIP = to
	}
	return ok
}

// again is for a native futex wait that a freeze interrupted: the guest must not
// see that. A timeout is waited for again, and a relative one whole: nobody knows how
// much of it is left, and late is better than an EINTR without a signal. The host
// restarts a wait without one itself.
func (th *Thread) again() {
	const wait, waitBitset, opMask = 0, 9, 127
	regs := &th.Regs
	op := regs.RSI & opMask
	if !th.froze.Swap(false) || int64(regs.RAX) != -int64(unix.EINTR) || regs.RCX != regs.RIP || op != waitBitset && op != wait {
		return
	}
	var code [2]byte
	if th.proc.CopyIn(regs.RIP-2, code[:]) == nil && code == [2]byte{0x0f, 0x05} {
		regs.RIP -= 2
		regs.RAX = unix.SYS_FUTEX
	}
}
