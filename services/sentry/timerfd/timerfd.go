// Package timerfd provides timers that are read as files: timerfd_create(2).
//
// TFD_TIMER_CANCEL_ON_SET is taken and has no effect: the sentry is not told of
// a step of the host's clock.
package timerfd

import (
	"encoding/binary"
	"sync/atomic"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/clock"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// Timerfd is one timer. It implements vfs.Impl.
type Timerfd struct {
	queue wait.Queue
	timer *clock.Timer
	ticks atomic.Uint64 // what the next read is to give: TFD_IOC_SET_TICKS
}

// New makes a disarmed timer: timerfd_create(2). flags may hold O_NONBLOCK.
// EINVAL for a clock without timers, EPERM for an alarm without CAP_WAKE_ALARM.
func New(ctx vfs.Context, id clock.ID, flags linux.OpenFlags) (*vfs.File, error) {
	t, err := NewImpl(ctx, id)
	if err != nil {
		return nil, err
	}
	return vfs.NewAnonFile(t, "anon_inode:[timerfd]", linux.O_RDWR|flags&linux.O_NONBLOCK), nil
}

// NewImpl makes a timer without the open file description around it.
func NewImpl(ctx vfs.Context, id clock.ID) (*Timerfd, error) {
	if !id.Timed() || id == linux.CLOCK_TAI {
		return nil, linux.EINVAL
	}
	if id.Alarm() && !ctx.Creds().Has(linux.CAP_WAKE_ALARM) {
		return nil, linux.EPERM
	}
	t := &Timerfd{}
	t.timer = clock.NewTimer(id, func() bool {
		t.queue.Notify(wait.In)
		return false
	})
	return t, nil
}

// SetTime is timerfd_settime(2): it arms or disarms, forgets expiries that were
// not read, and gives the old setting. EINVAL for unknown flags or no time.
func (t *Timerfd) SetTime(flags uint32, spec linux.Itimerspec) (linux.Itimerspec, error) {
	if flags&^(linux.TFD_TIMER_ABSTIME|linux.TFD_TIMER_CANCEL_ON_SET) != 0 {
		return linux.Itimerspec{}, linux.EINVAL
	}
	to, err := clock.Parse(spec, flags&linux.TFD_TIMER_ABSTIME != 0)
	if err != nil {
		return linux.Itimerspec{}, err
	}
	return t.timer.Set(to).Itimerspec(), nil
}

// GetTime is timerfd_gettime(2).
func (t *Timerfd) GetTime() linux.Itimerspec { return t.timer.Remaining().Itimerspec() }

// ReadStream gives the number of expiries since the last read, in 8 bytes:
// EAGAIN while there is none, EINVAL if p is shorter.
func (t *Timerfd) ReadStream(_ vfs.Context, p []byte) (int, error) {
	if len(p) < 8 {
		return 0, linux.EINVAL
	}
	n := t.timer.Take()
	if forced := t.ticks.Swap(0); forced != 0 {
		n = forced
	}
	if n == 0 {
		return 0, linux.EAGAIN
	}
	binary.LittleEndian.PutUint64(p, n)
	return 8, nil
}

// setTicks is TFD_IOC_SET_TICKS, _IOW('T', 0, __u64).
const setTicks = 0x40085400

// Ioctl says how many expiries the next read gives: EINVAL for none.
func (t *Timerfd) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	if cmd != setTicks {
		return 0, linux.ENOTTY
	}
	var b [8]byte
	if err := ctx.CopyIn(arg, b[:]); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n == 0 {
		return 0, linux.EINVAL
	}
	t.ticks.Store(n)
	t.queue.Notify(wait.In)
	return 0, nil
}

// Poll says In once the timer has expired.
func (t *Timerfd) Poll() wait.Events {
	if t.timer.Due() || t.ticks.Load() != 0 {
		return wait.In
	}
	return 0
}

// Queue is where expiries are told.
func (t *Timerfd) Queue() *wait.Queue { return &t.queue }

// Seek does nothing, and succeeds: there is no position, and Linux's noop_llseek
// says no more of it.
func (t *Timerfd) Seek(_ vfs.Context, at, _ int64, _ int) (int64, error) { return at, nil }

// Release stops the timer.
func (t *Timerfd) Release() { t.timer.Stop() }
