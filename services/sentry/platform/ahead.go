package platform

import "sync/atomic"

// The dynamic linker opens a file, reads its begin, asks what it is like, maps and closes
// it; a compiler asks how large a header is, reads and closes it; an interpreter wants to know
// besides whether it is a terminal, and where in it it stands. It is always the same, and each a
// request. What will be asked is known when the file is opened, and is put beside the
// answer; the stub answers from there on the trap lane (alone.go) and on the fast one, and
// counts what has been read, in one word with the descriptor: who ends the offer takes both by one
// exchange, and what the stub has not counted by then is asked about. The sentry hears of it with
// the thread's next request, which ends the offer, or when somebody else looks. What is in the file
// lies where the stub copies the next request's arguments.

const (
	statSize = 144 // struct stat
	// AheadSize is how many bytes of a file's begin can be offered, at most.
	AheadSize = slotInEnd - slotAheadData
	noFD      = ^uint32(0)
	// aheadClosed, in the word of the descriptor and the place, says that the file has been closed.
	aheadClosed = 1<<63 | uint64(noFD)
)

// AheadRoom is where a file's begin may be put for Ahead; it may be empty. For the thread's
// own goroutine, while a request is served whose arguments nobody looks at any more.
func (th *Thread) AheadRoom() []byte {
	if atomic.LoadUint32(th.slot.word(slotPockets)) != 0 {
		return nil
	}
	return th.slot.mem[slotAheadData:slotInEnd:slotInEnd]
}

// MayAnswerAlone says whether the stub does. For the thread's own goroutine.
func (th *Thread) MayAnswerAlone() bool {
	return th.space != nil && atomic.LoadUint32(th.slot.word(slotAlone)) != 0
}

// Ahead offers what the stub says of the file with descriptor fd, of which nothing has
// been read yet: struct stat, and begin, of AheadRoom, which is all that is in it or what it begins
// with. For the thread's own goroutine, before its answer.
func (th *Thread) Ahead(fd int32, stat *[statSize]byte, begin []byte, all bool) {
	s := th.slot
	copy(s.mem[slotAheadStat:][:statSize], stat[:])
	atomic.StoreUint64(s.long(slotAheadHave), uint64(len(begin)))
	atomic.StoreUint32(s.word(slotAheadAll), boolWord(all))
	atomic.StoreUint64(s.long(slotAhead), uint64(uint32(fd)))
}

// SeeAhead gives how many bytes the stub has read of the file, and whether it has closed
// it, which is given once. With end, or once it is closed, it offers nothing any more, and how much
// has been read is not given again. False once the thread has let go of its slot. Any goroutine may
// call it.
func (th *Thread) SeeAhead(end bool) (read uint64, closed, ok bool) {
	if !th.hold() {
		return 0, false, false
	}
	defer th.space.mu.Unlock()
	at := th.slot.long(slotAhead)
	word := atomic.LoadUint64(at)
	if end || word>>63 != 0 {
		word = atomic.SwapUint64(at, uint64(noFD))
	}
	return min(word>>32&^(1<<31), AheadSize), word>>63 != 0, true
}
