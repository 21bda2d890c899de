package clock

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
)

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		name      string
		at        Time
		set       Setting
		now       Time
		remaining Setting
		take      uint64
		then      Setting
	}{
		{"disarmed", 100, Setting{}, 200, Setting{}, 0, Setting{}},
		{"interval alone arms nothing", 100, Setting{Interval: 5}, 200, Setting{}, 0, Setting{}},
		{"not yet", 100, Setting{Value: 50}, 149, Setting{Value: 1}, 0, Setting{Value: 1}},
		{"once", 100, Setting{Value: 50}, 150, Setting{}, 1, Setting{}},
		{"once, long ago", 100, Setting{Value: 50}, 1000, Setting{}, 1, Setting{}},
		{"absolute", 100, Setting{Value: 150, Absolute: true}, 149, Setting{Value: 1}, 0, Setting{Value: 1}},
		{"absolute in the past", 100, Setting{Value: 1, Absolute: true}, 100, Setting{}, 1, Setting{}},
		{"interval", 100, Setting{Value: 50, Interval: 10}, 150, Setting{Value: 10, Interval: 10}, 1, Setting{Value: 10, Interval: 10}},
		{"overrun", 100, Setting{Value: 50, Interval: 10}, 175, Setting{Value: 5, Interval: 10}, 3, Setting{Value: 5, Interval: 10}},
		{"1 ns", 100, Setting{Value: 1, Interval: 1}, 1e15 + 100, Setting{Value: 1, Interval: 1}, 1e15, Setting{Value: 1, Interval: 1}},
		{"never", 100, Setting{Value: Never, Interval: Never}, 1e18, Setting{Value: Never - 1e18, Interval: Never}, 0, Setting{Value: Never - 1e18, Interval: Never}},
	} {
		var s Schedule
		s.Set(c.at, c.set)
		if got := s.Remaining(c.now); got != c.remaining {
			t.Errorf("%s: remaining %+v, want %+v", c.name, got, c.remaining)
		}
		if got := s.Take(c.now); got != c.take {
			t.Errorf("%s: took %d, want %d", c.name, got, c.take)
		}
		if got := s.Remaining(c.now); got != c.then {
			t.Errorf("%s: then %+v, want %+v", c.name, got, c.then)
		}
	}
}

// TestSchedule_counts holds Take against counting one expiry after the other.
func TestSchedule_counts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var s Schedule
		value, interval := Time(1+rnd.IntN(50)), Time(1+rnd.IntN(20))
		s.Set(0, Setting{Value: value, Interval: interval, Absolute: true})
		next, now := value, Time(0)
		for range 50 {
			now += Time(rnd.IntN(60))
			want := uint64(0)
			for next <= now {
				next += interval
				want++
			}
			if got := s.Take(now); got != want || s.Next() != next {
				t.Fatalf("at %d: %d, next %d; want %d, %d", now, got, s.Next(), want, next)
			}
		}
	}
}

func TestParse(t *testing.T) {
	bad := []linux.Timespec{{Sec: -1}, {Nsec: -1}, {Nsec: 1e9}}
	for _, ts := range bad {
		if _, err := Parse(linux.Itimerspec{Value: ts}, false); err != linux.EINVAL {
			t.Errorf("%v: %v", ts, err)
		}
		if _, err := Parse(linux.Itimerspec{Interval: ts}, false); err != linux.EINVAL {
			t.Errorf("interval %v: %v", ts, err)
		}
	}
	if got := Of(linux.Timespec{Sec: 1 << 62}); got != Never {
		t.Errorf("far away is %d", got)
	}
}

func TestNow(t *testing.T) {
	for _, id := range []ID{linux.CLOCK_REALTIME, linux.CLOCK_MONOTONIC, linux.CLOCK_BOOTTIME, linux.CLOCK_TAI} {
		var before, after unix.Timespec
		unix.ClockGettime(int32(id), &before)
		now := id.Now()
		unix.ClockGettime(int32(id), &after)
		if now < Time(before.Nano()) || now > Time(after.Nano()) {
			t.Errorf("clock %d: %d not between %d and %d", id, now, before.Nano(), after.Nano())
		}
	}
}

func TestTimer_taken(t *testing.T) {
	fired := make(chan struct{}, 100)
	timer := NewTimer(ID(linux.CLOCK_MONOTONIC), func() bool { fired <- struct{}{}; return false })
	timer.Set(Setting{Value: 1e6, Interval: 1e6})
	<-fired
	time.Sleep(20 * time.Millisecond)
	if len(fired) != 0 {
		t.Error("fired again before Take")
	}
	if n := timer.Take(); n < 10 {
		t.Errorf("took %d", n)
	}
	<-fired
	timer.Stop()
	if timer.Due() || timer.Take() != 0 || timer.Remaining() != (Setting{}) {
		t.Error("not stopped")
	}
}

func TestTimer_again(t *testing.T) {
	var n atomic.Int32
	done := make(chan struct{})
	timer := NewTimer(ID(linux.CLOCK_REALTIME), func() bool {
		if n.Add(1) == 5 {
			close(done)
		}
		return true
	})
	old := timer.Set(Setting{Value: timerNow() + 1e6, Interval: 1, Absolute: true})
	if old != (Setting{}) {
		t.Errorf("old %+v", old)
	}
	<-done
	timer.Stop()
}

func timerNow() Time { return ID(linux.CLOCK_REALTIME).Now() }
