package platform

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a goroutine needs that attends to several guest threads: package task has
// them. It looks for their requests, and calls Next where there is one.

// Asks says that Next has something to give at once.
func (th *Thread) Asks() bool {
	return th.hasRequest() || th.proc.gone.Load() || th.stillborn.Load()
}

// AwaitsHost says that what comes first is the host's doing, which Next itself is to
// wait for: a child in the making, or host calls that are long.
func (th *Thread) AwaitsHost() bool { return th.expects != nil || th.slow }

// OnRing has f called when the thread may have a request that nobody looks for, or
// has died. f may not block.
func (th *Thread) OnRing(f func()) { th.ring.Store(&f) }

// OnLong has f called, by whoever serves the thread, when host calls that a request
// waits for take longer than a moment.
func (th *Thread) OnLong(f func()) { th.long = f }

func (th *Thread) rings() {
	if f := th.ring.Load(); f != nil {
		(*f)()
	}
}

// Attended says that the request, or the next one, is as good as taken.
func (th *Thread) Attended() { atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryAwake) }

// Near says that somebody looks for the thread's request, but may be at something
// that takes long: it rings the doorbell before it sleeps.
func (th *Thread) Near() { atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryNear) }

// Unattended says that nobody looks for requests: the thread rings the doorbell. Who
// calls it looks once more afterwards.
func (th *Thread) Unattended() { atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryRing) }

// Spin looks for a request for a very short time.
func (th *Thread) Spin() bool { return awaitChange(th.slot.word(slotReq), th.served(), burst) }

// Apart says whether the thread made its last call on another core than the caller's.
func (th *Thread) Apart() bool {
	return core() != atomic.LoadUint32(th.slot.word(slotStubCore))
}

// Meet takes note of which cores the thread and the caller are on: one request, one
// call. It says whether they are two.
func (th *Thread) Meet() (apart bool) {
	// A guest that was last on this core cannot ask while this one spins.
	here, there := core(), atomic.LoadUint32(th.slot.word(slotStubCore))
	th.meet(here, there)
	return here != there
}

// SpinBursts is how many times Spin may pay.
const SpinBursts = spinBursts

// BeginSpin says whether one more goroutine may spin; EndSpin follows in either case.
func BeginSpin() bool { return spinning.Add(1) <= maxSpinning }

// EndSpin ends what BeginSpin began.
func EndSpin() { spinning.Add(-1) }

// mostDrowsing is how many threads Drowse looks after.
const mostDrowsing = 4

// Drowse sleeps on the caller's thread for a while, until one of the threads, at most
// four, asks. Each is to be Attended or Unattended afterwards.
func Drowse(threads []*Thread) {
	if len(threads) == 1 {
		th := threads[0]
		th.asleep.Store(true)
		th.drowse()
		th.asleep.Store(false)
		return
	}
	if len(threads) > mostDrowsing || !TakeHold() {
		return
	}
	defer GiveHold()
	var words [mostDrowsing]waitWord
	asks := false
	for i, th := range threads {
		th.asleep.Store(true)
		req := th.slot.word(slotReq)
		words[i] = waitWord{val: uint64(th.served()), addr: uint64(uintptr(unsafe.Pointer(req))), flags: futexSize32}
		atomic.StoreUint32(th.slot.word(slotSentrySleep), sentryDrowses)
		asks = asks || th.Asks()
	}
	if !asks {
		var until unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &until)
		until = unix.NsecToTimespec(until.Nano() + int64(drowseFor))
		// Where the host has no such call, nobody has slept.
		unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(&words)), uintptr(len(threads)), 0, uintptr(unsafe.Pointer(&until)), unix.CLOCK_MONOTONIC, 0)
	}
	for _, th := range threads {
		th.asleep.Store(false)
	}
}

// waitWord is struct futex_waitv, whose word others share.
type waitWord struct {
	val, addr uint64
	flags     uint32
	_         uint32
}

const futexSize32 = 2 // FUTEX2_SIZE_U32
