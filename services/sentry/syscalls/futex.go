package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/clock"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
)

// Operations and flags of futex(2), as far as they come here.
const (
	futexLockPI        = 6
	futexUnlockPI      = 7
	futexTrylockPI     = 8
	futexWaitRequeuePI = 11
	futexCmpRequeuePI  = 12
	futexLockPI2       = 13

	futexPrivate       = 128
	futexClockRealtime = 256
)

// futex comes here only for the operations with priority inheritance, which the
// host cannot carry out for a guest: they compare thread ids, and the guest's are
// ours. futex(2).
func futex(t *task.Task, addr mm.Addr, op, val uint32, timeout uint64, addr2 mm.Addr, val3 uint32) (uint64, error) {
	cmd := op &^ (futexPrivate | futexClockRealtime)
	f := task.FutexWord{Addr: addr, Private: op&futexPrivate != 0}
	second := task.FutexWord{Addr: addr2, Private: f.Private}
	id := int32(unix.CLOCK_MONOTONIC)
	if op&futexClockRealtime != 0 {
		if cmd != futexLockPI2 && cmd != futexWaitRequeuePI {
			return 0, linux.ENOSYS
		}
		id = unix.CLOCK_REALTIME
	}
	if cmd == futexLockPI {
		id = unix.CLOCK_REALTIME
	}
	var deadline time.Time
	switch cmd {
	case futexLockPI, futexLockPI2, futexWaitRequeuePI:
		if timeout != 0 {
			ts, err := copyInTimespec(t, timeout)
			if err != nil {
				return 0, err
			}
			deadline = clock.ID(id).Deadline(clock.Of(ts))
		}
	}
	switch cmd {
	case futexLockPI, futexLockPI2:
		return 0, t.LockPI(f, deadline)
	case futexTrylockPI:
		return 0, t.TryLockPI(f)
	case futexUnlockPI:
		return 0, t.UnlockPI(f)
	case futexWaitRequeuePI:
		return 0, t.WaitRequeuePI(f, val, deadline, second)
	case futexCmpRequeuePI:
		n, err := t.CmpRequeuePI(f, int32(val), int32(timeout), second, val3)
		return uint64(n), err
	}
	return 0, linux.ENOSYS
}
