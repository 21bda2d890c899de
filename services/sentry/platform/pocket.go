package platform

import (
	"encoding/binary"
	"sync/atomic"

	"bulkhead/proto/linux"
)

// A server that waits for many connections is told which have something for it, and then
// reads of each and writes to each: two calls a request, for every one of which guest and
// sentry take turns. What has arrived is known when it is told, and that there is room for
// an answer too. So a socket can be in the pocket of a thread: what it has received lies in the
// slot, and the stub gives it to read(2) and recvfrom(2); what is written to it by
// write(2), sendto(2) and writev(2) goes into a box in the slot, as a letter, which the sentry
// delivers when it sees it, or with the thread's next request at the latest
// (pocket_amd64.h, task/pocket.go). A letter is posted as a request is published, but
// nobody waits for an answer.
//
// A thread has up to pocketCount pockets, a socket in the one of its descriptor's number. Of
// two words of a pocket, one has the descriptor and what is left to be read, and the stub
// takes from it by one exchange. So it is exact what was taken when somebody
// takes the socket out again. A letter is in the box once the stub has exchanged slotMail,
// which it has looked at before it looks at the pocket; who takes a socket out changes the number in
// there, so that a letter that is being written then is not posted.
//
// A guest can write to all of this. It is told what it has made up, and what it sends is
// its own, in letters whose ticket and size are checked.

const (
	pocketCount  = 64 // a power of two
	pocketSize   = 24 // bytes of each
	pocketIn     = 0  // u64, both: its descriptor, then 16 bits each: where the bytes are from slotPocketed on, how many
	pocketOut    = 8  // u64, both: its descriptor, and how many bytes may be written
	pocketTicket = 16 // u32, sentry: what letters are marked with

	pocketedSize = slotBox - slotPocketed
	boxSize      = slotInEnd - slotBox
	letterHead   = 8 // a ticket and a size
	// mostPieces is of how many pieces writev may have a letter made.
	mostPieces = 8

	noSocket = uint64(noFD)
)

// Pockets is how many sockets a thread may have in pockets, PocketFor in which one goes.
const Pockets = pocketCount

// PocketFor is the pocket for a descriptor.
func PocketFor(fd linux.FD) int { return int(uint32(fd) % pocketCount) }

// MostPocketed is how many bytes can lie ready for a thread, in all its pockets.
const MostPocketed = pocketedSize

// MostWritten is how many bytes can be in letters, with their heads.
const MostWritten = boxSize

func pocketAt(i int) int { return slotPocketTable + i*pocketSize }

// Pocketed is room for what has arrived, from byte at on. For the thread's own goroutine,
// while a request is served.
func (th *Thread) Pocketed(at int) []byte {
	return th.slot.mem[slotPocketed+at : slotPocketed+pocketedSize : slotPocketed+pocketedSize]
}

// Pocket puts a socket into pocket i: in bytes of Pocketed from at on can be read,
// out written, in letters with this ticket. For the thread's own goroutine, while a request is
// served.
func (th *Thread) Pocket(i int, fd linux.FD, at, in, out int, ticket uint32) {
	s, p := th.slot, pocketAt(i)
	if atomic.LoadUint32(s.word(slotPockets)) == 0 { // the slot may have been another thread's
		for i := range pocketCount {
			atomic.StoreUint64(s.long(pocketAt(i)+pocketIn), noSocket)
			atomic.StoreUint64(s.long(pocketAt(i)+pocketOut), noSocket)
		}
		atomic.StoreUint64(s.long(slotMail), 0)
		th.delivered = 0
	}
	atomic.StoreUint32(s.word(p+pocketTicket), ticket)
	atomic.StoreUint64(s.long(p+pocketOut), socketWord(fd, out)|uint64(out)<<32)
	atomic.StoreUint64(s.long(p+pocketIn), socketWord(fd, in)|uint64(at)<<32|uint64(in)<<48)
	atomic.StoreUint32(s.word(slotPockets), 1)
}

// socketWord is the descriptor, if there is anything to be had.
func socketWord(fd linux.FD, n int) uint64 {
	if n == 0 {
		return noSocket
	}
	return uint64(uint32(fd))
}

// Left is how many bytes are left in pocket i to be read.
func (th *Thread) Left(i int) int {
	word := atomic.LoadUint64(th.slot.long(pocketAt(i) + pocketIn))
	return int(word >> 48)
}

// TakeOut takes the socket out of pocket i, and gives how many bytes were left. Letters that
// have been written are still to be delivered.
func (th *Thread) TakeOut(i int) int {
	s, p := th.slot, pocketAt(i)
	word := atomic.SwapUint64(s.long(p+pocketIn), noSocket)
	atomic.StoreUint64(s.long(p+pocketOut), noSocket)
	atomic.AddUint64(s.long(slotMail), 1<<32)
	return int(word >> 48)
}

// Hold keeps the thread's slot where it is, for Left, TakeOut and Letters on another
// goroutine than the thread's own, until Unhold. False, and nothing is held, once it is gone.
func (th *Thread) Hold() bool { return th.hold() }

// Unhold ends Hold.
func (th *Thread) Unhold() { th.space.mu.Unlock() }

// Touched says whether anything has been read from pockets since it was asked last.
func (th *Thread) Touched() bool {
	taken := th.slot.word(slotTaken)
	return atomic.LoadUint32(taken) != 0 && atomic.SwapUint32(taken, 0) != 0
}

// Letters has f called for each letter that has not been delivered, in order; the bytes are the
// guest's to change. One goroutine at a time may call it.
func (th *Thread) Letters(f func(ticket uint32, p []byte)) {
	le := binary.LittleEndian
	end := min(uint32(atomic.LoadUint64(th.slot.long(slotMail))), boxSize)
	for th.delivered+letterHead <= end {
		head := th.slot.mem[slotBox+th.delivered:][:letterHead]
		ticket, n := le.Uint32(head), le.Uint32(head[4:])
		from := th.delivered + letterHead
		if n > end-from {
			th.delivered = end
			return
		}
		th.delivered = min(from+(n+7)&^7, end)
		f(ticket, th.slot.mem[slotBox+from:][:n:n])
	}
}

// EmptyBox makes room for new letters, when all were delivered. For the thread's own goroutine,
// while a request is served.
func (th *Thread) EmptyBox() {
	if th.delivered != 0 {
		word := th.slot.load(slotMail)
		atomic.StoreUint64(th.slot.long(slotMail), (word>>32+1)<<32)
		th.delivered = 0
	}
}

// OnMail has f called, by whoever serves the thread, when there are letters and no
// request.
func (th *Thread) OnMail(f func()) { th.mail = f }

// Mail says whether the thread has posted letters and asked for nothing, and takes note
// of them. For the thread's own goroutine.
func (th *Thread) Mail() bool {
	n := atomic.LoadUint32(th.slot.word(slotReq))
	if n == th.served() || atomic.LoadUint32(th.slot.word(slotAsk)) == n {
		return false
	}
	atomic.StoreUint32(&th.last, n)
	return true
}

// awaitCall is await for something else than letters.
func (th *Thread) awaitCall() bool {
	for th.await() {
		if !th.Mail() {
			return true
		}
		if th.mail != nil {
			th.mail()
		}
	}
	return false
}
