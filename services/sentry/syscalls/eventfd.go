package syscalls

import (
	"encoding/binary"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/clock"
	"bulkhead/services/sentry/eventfd"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/signalfd"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/timerfd"
)

// fdFlags are what all calls that make a descriptor know.
const fdFlags = linux.O_CLOEXEC | linux.O_NONBLOCK

// eventfd makes a counter that can be waited for: eventfd(2).
func eventfd_(t *task.Task, initial uint32) (uint64, error) { return eventfd2(t, initial, 0) }

// eventfd2 is eventfd with flags.
func eventfd2(t *task.Task, initial uint32, flags linux.OpenFlags) (uint64, error) {
	if flags&^(linux.EFD_SEMAPHORE|fdFlags) != 0 {
		return 0, linux.EINVAL
	}
	return install(t, eventfd.New(initial, flags&linux.EFD_SEMAPHORE != 0, flags&fdFlags), flags)
}

// timerfd_create makes a timer that can be waited for: timerfd_create(2).
func timerfd_create(t *task.Task, id clock.ID, flags linux.OpenFlags) (uint64, error) {
	if flags&^fdFlags != 0 {
		return 0, linux.EINVAL
	}
	f, err := timerfd.New(t, id, flags)
	if err != nil {
		return 0, err
	}
	return install(t, f, flags)
}

// timerfd_settime arms or disarms a timer.
func timerfd_settime(t *task.Task, fd linux.FD, flags uint32, value, old mm.Addr) (uint64, error) {
	var b [linux.SizeofItimerspec]byte
	if err := t.CopyIn(value, b[:]); err != nil {
		return 0, err
	}
	tfd, err := timerOf(t, fd)
	if err != nil {
		return 0, err
	}
	before, err := tfd.SetTime(flags, linux.ReadItimerspec(b[:]))
	if err != nil || old == 0 {
		return 0, err
	}
	return 0, copyOutItimerspec(t, old, before)
}

// timerfd_gettime tells how long a timer has to go.
func timerfd_gettime(t *task.Task, fd linux.FD, value mm.Addr) (uint64, error) {
	tfd, err := timerOf(t, fd)
	if err != nil {
		return 0, err
	}
	return 0, copyOutItimerspec(t, value, tfd.GetTime())
}

// timerOf is the timer behind fd: EINVAL if that is something else.
func timerOf(t *task.Task, fd linux.FD) (*timerfd.Timerfd, error) {
	f, err := t.File(fd)
	if err != nil {
		return nil, err
	}
	defer f.DecRef(t)
	tfd, ok := f.Impl().(*timerfd.Timerfd)
	if !ok {
		return nil, linux.EINVAL
	}
	return tfd, nil
}

func copyOutItimerspec(t *task.Task, addr mm.Addr, it linux.Itimerspec) error {
	out := newAnswer(t, linux.SizeofItimerspec)
	it.Put(out.bytes)
	return out.copyOut(t, addr)
}

// signalfd makes pending signals readable: signalfd(2).
func signalfd_(t *task.Task, fd linux.FD, mask mm.Addr, size uint64) (uint64, error) {
	return signalfd4(t, fd, mask, size, 0)
}

// signalfd4 is signalfd with flags; with an fd it changes that one's mask.
func signalfd4(t *task.Task, fd linux.FD, mask mm.Addr, size uint64, flags linux.OpenFlags) (uint64, error) {
	if size != linux.SizeofSigSet {
		return 0, linux.EINVAL
	}
	var b [linux.SizeofSigSet]byte
	if err := t.CopyIn(mask, b[:]); err != nil {
		return 0, err
	}
	if flags&^fdFlags != 0 {
		return 0, linux.EINVAL
	}
	set := binary.LittleEndian.Uint64(b[:])
	if fd == -1 {
		return install(t, signalfd.New(t.SignalSource(), set, flags), flags)
	}
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	s, ok := f.Impl().(*signalfd.Signalfd)
	if !ok {
		return 0, linux.EINVAL
	}
	s.SetMask(set)
	return uint64(fd), nil
}
