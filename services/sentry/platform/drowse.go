package platform

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A goroutine that sleeps is woken by the doorbell: an eventfd, the netpoller's
// thread, and often a further thread that takes the goroutine. Who expects its
// request soon does better to keep its thread and to sleep on the very word that the
// stub changes, which then wakes it by one futex(2). A thread that sleeps like this
// holds one of Go's processors, so one is always left for everybody else.

// What slotSentrySleep says.
const (
	sentryAwake   = 0
	sentryRing    = 1 // ring the doorbell
	sentryDrowses = 2 // wake the futex slotReq
	sentryNear    = 3 // ring the doorbell before going to sleep
)

// drowseFor is how long a thread sleeps like that at most, before it gives its
// processor away: a request that has not come by then can be an hour away.
const drowseFor = 2 * time.Millisecond

// drowsing counts those who do.
var drowsing atomic.Int32

// drowse sleeps on the slot's word for a while; true once there is a request.
func (th *Thread) drowse() bool {
	if drowsing.Add(1) >= maxProcs {
		drowsing.Add(-1)
		return false
	}
	defer drowsing.Add(-1)
	req, sleep := th.slot.word(slotReq), th.slot.word(slotSentrySleep)
	for began := time.Now(); ; {
		atomic.StoreUint32(sleep, sentryDrowses)
		if th.hasRequest() {
			return true
		}
		left := drowseFor - time.Since(began)
		if left <= 0 || th.proc.gone.Load() || th.stillborn.Load() || len(th.wake) > 0 {
			return false
		}
		futexWait(req, th.last, left)
	}
}

// TakeHold lets the caller sleep on its thread, and with one of Go's processors, for a
// short time, until GiveHold. False: nobody may now, since too many do.
func TakeHold() bool {
	if drowsing.Add(1) >= maxProcs {
		drowsing.Add(-1)
		return false
	}
	return true
}

// GiveHold ends it.
func GiveHold() { drowsing.Add(-1) }

// Nap sleeps on this thread while the word is val, for so long at most. It can end
// early. False: nobody may now, since too many do.
func Nap(word *atomic.Uint32, val uint32, d time.Duration) bool {
	if drowsing.Add(1) >= maxProcs {
		drowsing.Add(-1)
		return false
	}
	runtime.LockOSThread() // whose slack it is
	slack, _, _ := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(napSlack), 0)
	futexWait((*uint32)(unsafe.Pointer(word)), val, d)
	unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, slack, 0)
	runtime.UnlockOSThread()
	drowsing.Add(-1)
	return true
}

// napSlack is Linux's default, which a guest's sleep would have natively.
const napSlack = 50 * time.Microsecond

// Rouse ends a Nap whose word has changed.
func Rouse(word *atomic.Uint32) { futexWake((*uint32)(unsafe.Pointer(word))) }

// futexWait sleeps while the word, which others share, is val, and for so long.
func futexWait(word *uint32, val uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0, uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, 0)
}
