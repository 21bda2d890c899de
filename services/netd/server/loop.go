package server

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/channel"
	"bulkhead/proto/cores"
	"bulkhead/services/netd/stack"
	"bulkhead/services/netd/tcp"
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
	links []bool // which of them are links
	bell  *channel.Bell
	rung  int // the bell's place in fds
	limit unix.Timespec
	full  int // turns in a row of which none has seen the links empty

	linger  linger
	parting cores.Parting
}

// busyWait is how long Go's scheduler is not told of a wait. Nothing else in the
// process needs to run within it.
const busyWait = 5 * time.Millisecond

// maxFull is how many turns the stack's deadlines give way to frames: enough for what
// has gathered while the process was kept from the processor.
const maxFull = 8

// carried is how many frames between the guest's own interfaces go before others get a
// chance.
const carried = 256

// NewLoop makes a loop, for devices to be made with: On.
func NewLoop() *Loop {
	return &Loop{parting: cores.Parting{After: partAfter, Worth: partWorth}}
}

// On has the server run in a loop that devices know.
func On(l *Loop) Option { return func(s *server) { s.loop = l } }

// Await implements link.Waiter. It is called before the loop runs, or by it.
func (l *Loop) Await(fd int, ready func() error) { l.add(fd, ready, true) }

func (l *Loop) add(fd int, ready func() error, link bool) {
	l.fds = append(l.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	l.ready = append(l.ready, ready)
	l.links = append(l.links, link)
}

// listen adds the bell.
func (l *Loop) listen(b *channel.Bell) {
	l.bell, l.rung = b, len(l.fds)
	l.add(b.FD(), func() error { return nil }, false)
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

// alarm is when the first of the stacks is to expire.
func (s *server) alarm() tcp.Time {
	at := s.stack.Alarm()
	for _, sub := range s.spaces {
		at = min(at, sub.stack.Alarm())
	}
	return at
}

// expire has every stack do what is due: their clocks are one.
func (s *server) expire(heard tcp.Time) {
	s.stacks(func(t *stack.Stack) {
		if t.Alarm() <= heard {
			t.Expire(heard)
		}
	})
}

// turn waits until there is something, does what the descriptors want, and then what
// is due.
func (l *Loop) turn(s *server) {
	runtime.Gosched() // the control connection, whatever else there is
	heard := s.stack.Now()
	n := 0
	s.reap()
	if s.fabric.Carry(carried) {
		l.linger.begin()
		n = l.poll(0, true, false)
	} else if n = l.look(s); n == 0 {
		n, heard = l.sleep(s)
	}
	l.linger.end()
	if l.linger.looked && crowded(&l.parting, l.linger.others) {
		leaveCore()
	}
	if n < 0 && s.alarm() <= heard {
		n = l.poll(0, true, false)
	}
	if l.take(n) {
		l.full++
	} else {
		l.full = 0
	}
	if n >= 0 && l.full%maxFull == 0 && s.alarm() <= heard {
		s.expire(heard)
	}
}

// sleep waits for the descriptors, until the stack's alarm at most: as poll. What had
// arrived by heard is there then.
func (l *Loop) sleep(s *server) (n int, heard tcp.Time) {
	alarm := s.alarm()
	timed := alarm != tcp.Never
	doze := l.bell == nil || l.bell.Doze()
	if l.bell != nil {
		l.bell.Settle(true)
	}
	heard = s.stack.Now()
	patience := time.Duration(alarm - heard)
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
	if n == 0 && doze {
		heard = max(heard, alarm) // ppoll(2) looks once more when the time is up
	}
	return n, heard
}

// look looks for something before the loop sleeps: as poll, and -1 too if something is in
// the bell's memory.
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
		if s.alarm() <= s.stack.Now() || !l.linger.again() {
			return 0
		}
	}
}

// take does what n descriptors want, and says whether there are links among them, which
// may have more.
func (l *Loop) take(n int) (links bool) {
	for i := 0; n > 0 && i < len(l.fds); i++ {
		if l.fds[i].Revents == 0 {
			continue
		}
		n--
		links = links || l.links[i]
		if l.ready[i]() != nil {
			l.fds[i].Fd = -1 // ppoll passes it over
		}
	}
	return links
}

// poll is ppoll(2) for some time, or without an end; it tells Go's scheduler or not. It
// gives how many descriptors want something, and -1 if it was interrupted.
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
		return -1
	}
	return int(n)
}
