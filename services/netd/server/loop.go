package server

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
)

// Loop is the one goroutine of netd that does anything while packets flow: it waits
// for the links, the sentry's bell and the sentry's requests all at once, and takes
// what comes to its end without another goroutine.
//
// It waits by ppoll(2) and not by Go's netpoller, in which each frame costs two
// more system calls. At first Go's scheduler is not told of the wait, for busyWait:
// else it would, whenever the wait is longer than some 20 µs, wake a thread to take
// the processor over.
type Loop struct {
	fds   []unix.PollFd
	ready []func() error
	bell  *channel.Bell
	rung  int // the bell's place in fds
	limit unix.Timespec

	linger linger
}

// busyWait is how long Go's scheduler is not told of a wait. Nothing else in the
// process needs to run within it but timers, which are looked at.
const busyWait = 5 * time.Millisecond

// NewLoop makes a loop, for devices to be made with: On.
func NewLoop() *Loop { return &Loop{} }

// On has the server run in a loop that devices know.
func On(l *Loop) Option { return func(s *server) { s.loop = l } }

// Await implements link.Waiter. It is called before the loop runs, or by it.
func (l *Loop) Await(fd int, ready func() error) {
	l.fds = append(l.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	l.ready = append(l.ready, ready)
}

// listen adds the bell.
func (l *Loop) listen(b *channel.Bell) {
	l.bell, l.rung = b, len(l.fds)
	l.Await(b.FD(), func() error { return nil })
}

// run serves until the sentry is gone.
func (l *Loop) run(s *server) {
	for s.ended == nil {
		l.turn(s)
		if s.ended == nil {
			s.hear()
		}
	}
}

// turn waits until there is something and does what the descriptors want.
func (l *Loop) turn(s *server) {
	runtime.Gosched() // timers, the control connection, whatever else there is
	if n := l.look(s); n != 0 {
		l.linger.end()
		l.take(n)
		return
	}
	patience, timed := s.stack.Alarm()
	doze := l.bell == nil || l.bell.Doze()
	if l.bell != nil {
		l.bell.Settle(true)
	}
	n := 0
	switch {
	case !doze:
		n = l.poll(0, true, false)
	case timed && patience < busyWait:
		n = l.poll(patience, true, false)
	default:
		if n = l.poll(busyWait, true, false); n == 0 {
			n = l.poll(patience-busyWait, timed, true)
		}
	}
	if l.bell != nil && doze {
		l.bell.Wake(n > 0 && l.fds[l.rung].Revents != 0)
	}
	l.linger.end()
	l.take(n)
}

// look looks for something before the loop sleeps: how many descriptors want
// something, -1 if it is the bell's memory.
func (l *Loop) look(s *server) int {
	if !l.linger.begin() || l.bell == nil {
		return 0
	}
	for {
		if l.bell.Waiting() {
			return -1
		}
		l.bell.Settle(false)
		if n := l.poll(0, true, false); n != 0 {
			if l.fds[l.rung].Revents != 0 { // as of the sleep before: the sentry was about to ring
				l.bell.Wake(true)
			}
			return n
		}
		if patience, timed := s.stack.Alarm(); timed && patience <= 0 || !l.linger.again() {
			return 0
		}
	}
}

// take does what n descriptors want.
func (l *Loop) take(n int) {
	for i := 0; n > 0 && i < len(l.fds); i++ {
		if l.fds[i].Revents == 0 {
			continue
		}
		n--
		if l.ready[i]() != nil {
			l.fds[i].Fd = -1 // ppoll passes it over
		}
	}
}

// poll is ppoll(2) for some time, or without an end; it tells Go's scheduler or not.
func (l *Loop) poll(patience time.Duration, timed, tell bool) int {
	var limit unsafe.Pointer
	if timed {
		l.limit = unix.NsecToTimespec(int64(max(patience, 0)))
		limit = unsafe.Pointer(&l.limit)
	}
	var n uintptr
	var errno unix.Errno
	if tell {
		n, _, errno = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.fds[0])), uintptr(len(l.fds)), uintptr(limit), 0, 0, 0)
	} else {
		n, _, errno = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.fds[0])), uintptr(len(l.fds)), uintptr(limit), 0, 0, 0)
	}
	if errno != 0 { // EINTR: Go's scheduler wants something
		for i := range l.fds {
			l.fds[i].Revents = 0
		}
		return 0
	}
	return int(n)
}
