package platform

import (
	"sync/atomic"

	"bulkhead/proto/linux"
)

// A run-time that waits by epoll(7), as Go's, tries that with each file which it opens:
// it asks for its flags, sets O_NONBLOCK, offers it to the epoll instance, is told EPERM
// where there is nothing to wait for, as of regular files, and takes the flag back. Such a
// file is on trial from the answer of open(2) until the thread's next request, or until
// somebody else looks at the descriptor (task/trial.go): meanwhile the stub answers these
// five calls on the fast lane (fast_amd64.h). The flags lie in one word with the
// descriptor, so that what the stub changes and what the sentry takes back come one after
// the other.
//
// A guest that writes to these words changes O_NONBLOCK of its own file, or is told what
// it has made up.

const (
	noTrial = uint64(noFD)

	getFlags   = linux.F_GETFL
	setFlags   = linux.F_SETFL
	nonBlock   = linux.O_NONBLOCK
	trialFixed = linux.OpenSettable &^ linux.O_NONBLOCK
)

// Try puts the file with descriptor fd and these flags on trial; poll is the epoll
// instance that would refuse it. For the thread's own goroutine, before its answer.
func (th *Thread) Try(fd, poll linux.FD, flags linux.OpenFlags) {
	atomic.StoreUint32(th.slot.word(slotTrialPoll), uint32(poll))
	atomic.StoreUint64(th.slot.long(slotTrial), uint64(flags)<<32|uint64(uint32(fd)))
}

// EndTrial ends the trial, and says whether the file is non-blocking now; false once the
// thread has let go of its slot. Any goroutine may call it.
func (th *Thread) EndTrial() (nonblock, ok bool) {
	if !th.hold() {
		return false, false
	}
	defer th.space.mu.Unlock()
	word := atomic.SwapUint64(th.slot.long(slotTrial), noTrial)
	return linux.OpenFlags(word>>32)&linux.O_NONBLOCK != 0, uint32(word) != noFD
}
