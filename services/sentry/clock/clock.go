// Package clock tells the time as the guest sees it, and runs timers.
//
// A guest reads the host's vDSO without asking, so the sentry's clocks are the
// host's too: clock_gettime(2). The clocks of processes and threads
// (CLOCK_PROCESS_CPUTIME_ID and its like) are not here, they belong to tasks.
//
// Schedule is the pure core: a timer's arithmetic, with the time as an
// argument. Timer runs one by the host's clock.
package clock

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

// ID is a clock: CLOCK_REALTIME and so on.
type ID int32

// Time is a point on a clock, in nanoseconds after its zero.
type Time int64

// Never is later than any other Time.
const Never Time = math.MaxInt64

// Valid says that id is one of this package's clocks.
func (id ID) Valid() bool {
	switch id {
	case linux.CLOCK_REALTIME, linux.CLOCK_MONOTONIC, linux.CLOCK_MONOTONIC_RAW,
		linux.CLOCK_REALTIME_COARSE, linux.CLOCK_MONOTONIC_COARSE, linux.CLOCK_BOOTTIME,
		linux.CLOCK_REALTIME_ALARM, linux.CLOCK_BOOTTIME_ALARM, linux.CLOCK_TAI:
		return true
	}
	return false
}

// Timed says that timers and sleeps can run by id: timer_create(2),
// timerfd_create(2), clock_nanosleep(2).
func (id ID) Timed() bool {
	switch id {
	case linux.CLOCK_REALTIME, linux.CLOCK_MONOTONIC, linux.CLOCK_BOOTTIME,
		linux.CLOCK_REALTIME_ALARM, linux.CLOCK_BOOTTIME_ALARM, linux.CLOCK_TAI:
		return true
	}
	return false
}

// Alarm says that a timer of id needs CAP_WAKE_ALARM.
func (id ID) Alarm() bool {
	return id == linux.CLOCK_REALTIME_ALARM || id == linux.CLOCK_BOOTTIME_ALARM
}

// host is the host's clock for id.
func (id ID) host() int32 {
	switch id {
	case linux.CLOCK_REALTIME_ALARM:
		return linux.CLOCK_REALTIME
	case linux.CLOCK_BOOTTIME_ALARM:
		return linux.CLOCK_BOOTTIME
	}
	return int32(id)
}

// Now reads the clock; id is Valid.
func (id ID) Now() Time {
	var ts unix.Timespec
	// Raw: it does not block, and Go's scheduler need not hear of it.
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(id.host()), uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		return 0
	}
	return Time(ts.Nano())
}

// Timespec is t as the guest sees it.
func (t Time) Timespec() linux.Timespec {
	return linux.Timespec{Sec: int64(t / 1e9), Nsec: int64(t % 1e9)}
}

// Add is t+d, at most Never.
func (t Time) Add(d time.Duration) Time {
	if d > 0 && t > Never-Time(d) {
		return Never
	}
	return t + Time(d)
}

// Of is ts, which is Valid, as a point on a clock or a length; at most Never.
func Of(ts linux.Timespec) Time {
	if ts.Sec >= int64(Never/1e9) {
		return Never
	}
	return Time(ts.Sec*1e9 + ts.Nsec)
}

// Resolution is clock_getres(2): 1 ns, or a tick of the host's for a coarse clock.
func (id ID) Resolution() linux.Timespec {
	if id != linux.CLOCK_REALTIME_COARSE && id != linux.CLOCK_MONOTONIC_COARSE {
		return linux.Timespec{Nsec: 1}
	}
	return coarse
}

// coarse is a tick of the host's, asked for before the process is sealed: the
// filter has no clock_getres, and this is a guest's to ask.
var coarse = func() linux.Timespec {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil {
		return linux.Timespec{Nsec: 4e6}
	}
	return linux.Timespec{Sec: ts.Sec, Nsec: ts.Nsec}
}()

// Deadline turns a point on id into what wait.Until takes. The zero Time, which
// is no deadline there, never comes out. A step of the host's CLOCK_REALTIME
// after the call is not followed.
func (id ID) Deadline(t Time) time.Time {
	return time.Now().Add(time.Duration(t - min(t, id.Now())))
}
