package timerfd

import (
	"encoding/binary"
	"testing"
	"time"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/clock"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

var kernel = vfs.KernelContext()

func TestNew(t *testing.T) {
	user := vfs.WithCreds(kernel, vfs.UserCreds(1, 1))
	for _, c := range []struct {
		ctx vfs.Context
		id  clock.ID
		err error
	}{
		{user, linux.CLOCK_REALTIME, nil},
		{user, linux.CLOCK_MONOTONIC, nil},
		{user, linux.CLOCK_BOOTTIME, nil},
		{user, linux.CLOCK_BOOTTIME_ALARM, linux.EPERM},
		{kernel, linux.CLOCK_REALTIME_ALARM, nil},
		{user, linux.CLOCK_PROCESS_CPUTIME_ID, linux.EINVAL},
		{user, linux.CLOCK_TAI, linux.EINVAL},
		{user, -1, linux.EINVAL},
	} {
		if _, err := NewImpl(c.ctx, c.id); err != c.err && (c.err != nil || err != nil) {
			t.Errorf("clock %d: %v, want %v", c.id, err, c.err)
		}
	}
}

func TestTimerfd(t *testing.T) {
	f, err := NewImpl(kernel, linux.CLOCK_MONOTONIC)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	b := make([]byte, 8)
	if _, err := f.ReadStream(kernel, b); err != linux.EAGAIN || f.Poll() != 0 {
		t.Errorf("disarmed: %v", err)
	}
	if _, err := f.SetTime(4, linux.Itimerspec{}); err != linux.EINVAL {
		t.Errorf("unknown flag: %v", err)
	}
	spec := linux.Itimerspec{Value: linux.Timespec{Nsec: 2e6}, Interval: linux.Timespec{Nsec: 1e6}}
	if _, err := f.SetTime(0, spec); err != nil {
		t.Fatal(err)
	}
	err = wait.Until(kernel, f.Queue(), wait.In, time.Time{}, func() (bool, error) {
		return f.Poll() == wait.In, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadStream(kernel, b); n != 8 || err != nil || binary.LittleEndian.Uint64(b) < 1 {
		t.Errorf("read %d, %v, % x", n, err, b)
	}
	if got := f.GetTime(); got.Interval != spec.Interval || got.Value.IsZero() {
		t.Errorf("remaining %+v", got)
	}
	old, err := f.SetTime(0, linux.Itimerspec{})
	if err != nil || old.Interval != spec.Interval {
		t.Errorf("old %+v, %v", old, err)
	}
	if f.Poll() != 0 {
		t.Error("readable after disarming")
	}
}
