package syscalls

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/budget"
	"bulkhead/services/sentry/epoll"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/wait"
)

// pollSet is what poll and select work on. Sets are kept for reuse.
type pollSet struct {
	items []epoll.Item
	raw   []byte // struct pollfd, or the bits of select
	fds   []linux.FD
	held  int64 // what is borrowed for it
}

var pollSets = sync.Pool{New: func() any { return new(pollSet) }}

// add puts fd's file into the set; bad says that there is none.
func (s *pollSet) add(t *task.Task, fd linux.FD, events wait.Events, exact bool) (bad bool) {
	it := epoll.Item{Events: events, Exact: exact}
	if fd >= 0 {
		f, err := t.File(fd)
		if bad = err != nil; bad {
			it.Ready = wait.Nval
		} else {
			it.File = f
		}
	}
	s.items = append(s.items, it)
	s.fds = append(s.fds, fd)
	return bad
}

// free gives the files and the set back.
func (s *pollSet) free(t *task.Task) {
	for i := range s.items {
		if f := s.items[i].File; f != nil {
			f.DecRef(t)
		}
	}
	clear(s.items)
	budget.Return(s.held)
	if cap(s.items) > mostKept || cap(s.raw) > mostKept*linux.SizeofPollFD {
		return
	}
	s.items, s.fds = s.items[:0], s.fds[:0]
	pollSets.Put(s)
}

// fewFiles is how many a call may wait for however much there is already, mostKept how
// many a set may have had to be kept for reuse, and perFile what it takes to wait for one,
// in bytes.
const fewFiles, mostKept, perFile = 1024, 4096, 160

// newPollSet is an empty set for n files: ENOMEM.
func newPollSet(n int) (*pollSet, error) {
	held := int64(0)
	if n > fewFiles {
		held = int64(n) * perFile
		if err := budget.Borrow(held); err != nil {
			return nil, err
		}
	}
	s := pollSets.Get().(*pollSet)
	s.held = held
	return s, nil
}

// room makes raw n bytes long.
func (s *pollSet) room(n int) {
	if cap(s.raw) < n {
		s.raw = make([]byte, n)
	}
	s.raw = s.raw[:n]
}

// deadlineAfter is when d has passed; a zero d has already.
func deadlineAfter(d time.Duration) time.Time { return time.Now().Add(d) }

// patience is how long a call may wait. Most calls find something ready, and
// then the time is not looked at.
type patience struct {
	at     time.Time     // if atMost is negative: the deadline, zero for none
	atMost time.Duration // from now on
}

// until is patience to a deadline; the zero Time is none.
func until(deadline time.Time) patience { return patience{deadline, -1} }

// patienceMS is a timeout in milliseconds; a negative one never ends.
func patienceMS(ms int32) patience {
	if ms < 0 {
		return until(time.Time{})
	}
	return patience{atMost: time.Duration(ms) * time.Millisecond}
}

// none says that there is nothing to wait for.
func (p patience) none() bool { return p.atMost == 0 }

func (p patience) deadline() time.Time {
	if p.atMost < 0 {
		return p.at
	}
	return deadlineAfter(p.atMost)
}

// poll waits until one of n files is ready: poll(2).
func poll(t *task.Task, fds mm.Addr, n uint32, timeout int32) (uint64, error) {
	return pollOn(t, fds, n, patienceMS(timeout))
}

// pollOn polls; when a stop ends it, restart_syscall goes on to the same point in time.
func pollOn(t *task.Task, fds mm.Addr, n uint32, p patience) (uint64, error) {
	ready, err := pollFDs(t, fds, n, &p)
	if err == linux.ERESTARTNOHAND {
		left := p
		t.SetRestart(func() (uint64, error) { return pollOn(t, fds, n, left) })
		err = linux.ERESTART_RESTARTBLOCK
	}
	return ready, err
}

// ppoll is poll with a finer timeout, which is updated, and a signal mask.
func ppoll(t *task.Task, fds mm.Addr, n uint32, timeout, mask mm.Addr, size uint64) (uint64, error) {
	deadline, err := copyInDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	restore, err := maskSignals(t, mask, size)
	if err != nil {
		return 0, err
	}
	p := until(deadline)
	ready, err := pollFDs(t, fds, n, &p)
	restore(err)
	copyOutRemaining(t, timeout, deadline)
	return ready, err
}

// pollFDs turns p into a point in time if it waits.
func pollFDs(t *task.Task, addr mm.Addr, n uint32, p *patience) (uint64, error) {
	if uint64(n) > t.Group().Limit(unix.RLIMIT_NOFILE).Cur {
		return 0, linux.EINVAL
	}
	s, err := newPollSet(int(n))
	if err != nil {
		return 0, err
	}
	defer s.free(t)
	s.room(int(n) * linux.SizeofPollFD)
	if err := t.CopyIn(addr, s.raw); err != nil {
		return 0, err
	}
	for i := range int(n) {
		fd := linux.ReadPollFD(s.raw[i*linux.SizeofPollFD:])
		s.add(t, fd.FD, wait.Events(uint16(fd.Events)), false)
	}
	ready := epoll.Ready(s.items)
	if ready == 0 && !p.none() {
		*p = until(p.deadline())
		if ready, err = epoll.Poll(t, s.items, p.at); err != nil {
			return 0, err
		}
	}
	for i := range s.items {
		at := s.raw[i*linux.SizeofPollFD:]
		binary.LittleEndian.PutUint16(at[6:], uint16(s.items[i].Ready))
	}
	return uint64(ready), copyOut(t, addr, s.raw)
}

// copyInDeadline reads a struct timespec and says when it will have passed;
// without one there is no deadline.
func copyInDeadline(t *task.Task, addr mm.Addr) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	var b [linux.SizeofTimespec]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return time.Time{}, err
	}
	ts := linux.ReadTimespec(b[:])
	if !ts.Valid() {
		return time.Time{}, linux.EINVAL
	}
	return deadlineAfter(ts.Duration()), nil
}

// copyOutRemaining writes what is left until deadline where copyInDeadline read.
// A guest that has made that memory read-only does not hear of it: select(2).
func copyOutRemaining(t *task.Task, addr mm.Addr, deadline time.Time) {
	if addr == 0 {
		return
	}
	var b [linux.SizeofTimespec]byte
	linux.TimespecOf(max(time.Until(deadline), 0)).Put(b[:])
	t.CopyOut(addr, b[:])
}

// maskSignals replaces the signal mask for the length of a call, if there is a
// set at addr. restore takes the call's error: if a signal ended it, the old
// mask comes back only after the handler has run.
func maskSignals(t *task.Task, addr mm.Addr, size uint64) (restore func(error), err error) {
	if addr == 0 {
		return func(error) {}, nil
	}
	if size != linux.SizeofSigSet {
		return nil, linux.EINVAL
	}
	var b [linux.SizeofSigSet]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return nil, err
	}
	old := t.Mask()
	t.SetTempMask(linux.SigSet(binary.LittleEndian.Uint64(b[:])))
	return func(err error) {
		if err != linux.ERESTARTNOHAND && err != linux.EINTR {
			t.SetMask(old)
		}
	}, nil
}

// select waits until one of the files in three sets is ready: select(2).
func select_(t *task.Task, n int32, in, out, except, timeout mm.Addr) (uint64, error) {
	deadline, err := copyInTimevalDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	ready, err := selectFDs(t, n, in, out, except, deadline)
	if timeout != 0 {
		var b [linux.SizeofTimeval]byte
		linux.TimevalOf(max(time.Until(deadline), 0)).Put(b[:])
		t.CopyOut(timeout, b[:])
	}
	return ready, err
}

// copyInTimevalDeadline is copyInDeadline of a struct timeval, whose
// microseconds may be more than a second: select(2).
func copyInTimevalDeadline(t *task.Task, addr mm.Addr) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	var b [linux.SizeofTimeval]byte
	if err := t.CopyIn(addr, b[:]); err != nil {
		return time.Time{}, err
	}
	tv := linux.ReadTimeval(b[:])
	if tv.Sec < 0 || tv.Usec < 0 {
		return time.Time{}, linux.EINVAL
	}
	tv.Sec, tv.Usec = tv.Sec+tv.Usec/1e6, tv.Usec%1e6
	return deadlineAfter(tv.Duration()), nil
}

// pselect6 is select with a finer timeout and a signal mask, which is behind a
// pointer to its address and size.
func pselect6(t *task.Task, n int32, in, out, except, timeout, mask mm.Addr) (uint64, error) {
	var sig [16]byte
	if mask != 0 {
		if err := t.CopyIn(mask, sig[:]); err != nil {
			return 0, err
		}
	}
	deadline, err := copyInDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	restore, err := maskSignals(t, binary.LittleEndian.Uint64(sig[:]), binary.LittleEndian.Uint64(sig[8:]))
	if err != nil {
		return 0, err
	}
	ready, err := selectFDs(t, n, in, out, except, deadline)
	restore(err)
	copyOutRemaining(t, timeout, deadline)
	return ready, err
}

// selectSets says what the three sets of select wait for.
var selectSets = [3]wait.Events{epoll.SelectRead, epoll.SelectWrite, epoll.SelectExcept}

func selectFDs(t *task.Task, n int32, in, out, except mm.Addr, deadline time.Time) (uint64, error) {
	if n < 0 {
		return 0, linux.EINVAL
	}
	n = min(n, int32(min(t.Group().Limit(unix.RLIMIT_NOFILE).Max, 1<<20)))
	s, err := newPollSet(int(n))
	if err != nil {
		return 0, err
	}
	defer s.free(t)
	size := (int(n) + 63) / 64 * 8
	s.room(3 * size)
	clear(s.raw)
	addrs := [3]mm.Addr{in, out, except}
	for i, addr := range addrs {
		if addr != 0 {
			if err := t.CopyIn(addr, s.raw[i*size:][:size]); err != nil {
				return 0, err
			}
		}
	}
	if err := s.addBits(t, int(n), size); err != nil {
		return 0, err
	}
	if _, err := epoll.Poll(t, s.items, deadline); err != nil {
		return 0, err
	}
	ready := s.readyBits(size)
	for i, addr := range addrs {
		if addr != 0 {
			if err := copyOut(t, addr, s.raw[i*size:][:size]); err != nil {
				return 0, err
			}
		}
	}
	return ready, nil
}

// addBits adds the descriptors below n that are in one of the three sets; EBADF
// for one that is not open.
func (s *pollSet) addBits(t *task.Task, n, size int) error {
	word := func(set, at int) uint64 { return binary.LittleEndian.Uint64(s.raw[set*size+at:]) }
	for at := 0; at < size; at += 8 {
		all := word(0, at) | word(1, at) | word(2, at)
		for ; all != 0; all &= all - 1 {
			bit := bits.TrailingZeros64(all)
			fd := at*8 + bit
			if fd >= n {
				break
			}
			var events wait.Events
			for set, e := range selectSets {
				if word(set, at)>>bit&1 != 0 {
					events |= e
				}
			}
			if s.add(t, linux.FD(fd), events, true) {
				return linux.EBADF
			}
		}
	}
	return nil
}

// readyBits leaves those bits in the sets that are ready, and counts them.
func (s *pollSet) readyBits(size int) (count uint64) {
	for i, fd := range s.fds {
		at, bit := int(fd)/64*8, uint64(1)<<(fd%64)
		for set, e := range selectSets {
			w := s.raw[set*size+at:]
			v := binary.LittleEndian.Uint64(w)
			switch {
			case v&bit == 0:
			case s.items[i].Ready&e != 0:
				count++
			default:
				binary.LittleEndian.PutUint64(w, v&^bit)
			}
		}
	}
	return count
}

// passed says that there is a deadline and that it is over.
func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
