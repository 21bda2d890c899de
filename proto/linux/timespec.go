package linux

import (
	"encoding/binary"
	"time"
)

// Timespec is struct timespec: seconds, and nanoseconds below 10^9.
type Timespec struct {
	Sec, Nsec int64
}

// Timeval is struct timeval: seconds, and microseconds below 10^6.
type Timeval struct {
	Sec, Usec int64
}

// Itimerspec is struct itimerspec of timer_settime(2) and timerfd_settime(2).
type Itimerspec struct {
	Interval, Value Timespec
}

// Sizes in the guest's memory, in bytes.
const (
	SizeofTimespec   = 16
	SizeofTimeval    = 16
	SizeofItimerspec = 32
)

// The special nanoseconds of utimensat(2).
const (
	UTIME_NOW  = 1<<30 - 1
	UTIME_OMIT = 1<<30 - 2
)

// Clock numbers of clock_gettime(2).
const (
	CLOCK_REALTIME           = 0
	CLOCK_MONOTONIC          = 1
	CLOCK_PROCESS_CPUTIME_ID = 2
	CLOCK_THREAD_CPUTIME_ID  = 3
	CLOCK_MONOTONIC_RAW      = 4
	CLOCK_REALTIME_COARSE    = 5
	CLOCK_MONOTONIC_COARSE   = 6
	CLOCK_BOOTTIME           = 7
	CLOCK_REALTIME_ALARM     = 8
	CLOCK_BOOTTIME_ALARM     = 9
	CLOCK_TAI                = 11

	TIMER_ABSTIME = 1
)

// TimespecOf splits d, which may be negative: Nsec never is.
func TimespecOf(d time.Duration) Timespec {
	s, n := int64(d/time.Second), int64(d%time.Second)
	if n < 0 {
		s, n = s-1, n+1e9
	}
	return Timespec{s, n}
}

// TimespecAt is t since the epoch.
func TimespecAt(t time.Time) Timespec { return Timespec{t.Unix(), int64(t.Nanosecond())} }

// Time is ts since the epoch.
func (ts Timespec) Time() time.Time { return time.Unix(ts.Sec, ts.Nsec) }

// Valid says that ts can be a timeout or a time: EINVAL otherwise.
func (ts Timespec) Valid() bool { return ts.Sec >= 0 && ts.Nsec >= 0 && ts.Nsec < 1e9 }

// IsZero says that both fields are 0.
func (ts Timespec) IsZero() bool { return ts.Sec == 0 && ts.Nsec == 0 }

// Duration is ts as a length, at most what a Duration holds.
func (ts Timespec) Duration() time.Duration {
	const most = 1<<63 - 1
	if ts.Sec >= most/int64(time.Second) {
		return most
	}
	return time.Duration(ts.Sec)*time.Second + time.Duration(ts.Nsec)
}

// TimevalOf splits d, which is not negative.
func TimevalOf(d time.Duration) Timeval {
	return Timeval{int64(d / time.Second), int64(d % time.Second / time.Microsecond)}
}

// Valid says that tv can be a timeout: EINVAL otherwise.
func (tv Timeval) Valid() bool { return tv.Sec >= 0 && tv.Usec >= 0 && tv.Usec < 1e6 }

// Timespec is the same time in nanoseconds.
func (tv Timeval) Timespec() Timespec { return Timespec{tv.Sec, tv.Usec * 1000} }

// Duration is tv as a length, at most what a Duration holds.
func (tv Timeval) Duration() time.Duration { return tv.Timespec().Duration() }

// Put writes ts as the kernel does to b, of SizeofTimespec bytes at least.
func (ts Timespec) Put(b []byte) {
	binary.LittleEndian.PutUint64(b, uint64(ts.Sec))
	binary.LittleEndian.PutUint64(b[8:], uint64(ts.Nsec))
}

// ReadTimespec reads what Put writes.
func ReadTimespec(b []byte) Timespec {
	return Timespec{int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))}
}

// Put writes tv as the kernel does to b, of SizeofTimeval bytes at least.
func (tv Timeval) Put(b []byte) { Timespec{tv.Sec, tv.Usec}.Put(b) }

// ReadTimeval reads what Put writes.
func ReadTimeval(b []byte) Timeval {
	ts := ReadTimespec(b)
	return Timeval{ts.Sec, ts.Nsec}
}

// Put writes it as the kernel does to b, of SizeofItimerspec bytes at least.
func (it Itimerspec) Put(b []byte) {
	it.Interval.Put(b)
	it.Value.Put(b[16:])
}

// ReadItimerspec reads what Put writes.
func ReadItimerspec(b []byte) Itimerspec {
	return Itimerspec{ReadTimespec(b), ReadTimespec(b[16:])}
}
