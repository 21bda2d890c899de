package channel

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bell is one end of a pair of doorbells: a queue each way through shared memory,
// of numbers (which sockets have news) and of letters (short messages that want no
// answer), and an eventfd each way that is written only when the peer has said
// that it sleeps.
//
// A number is posted at most once until the peer has taken it (the Told flags
// of a Head), so that half of a queue is long enough for all of them; with
// a full queue a post is dropped, which only a peer that does not take its
// numbers brings about. Letters get the other half, and go another way when that
// is full.
//
// The client sleeps in Listen, on Go's netpoller. The service, which waits for
// other descriptors too, sleeps as it likes between Doze and Wake. Whoever waits
// for something else by polling can look at the bell meanwhile: Watch.
//
// Neither eventfd may be in a netpoller but the client's own in its own: there
// each write, and each read, would wake a thread that finds nothing to do.
type Bell struct {
	rings *Rings
	sleep *atomic.Uint32 // awake, asleep or busy; ours
	fd    int            // we sleep on it
	own   *os.File       // the same, of a client
	raw   syscall.RawConn

	watchers atomic.Int32

	in struct {
		sync.Mutex
		*Consumer
		taken  []byte // a copy of what was in the ring
		spoilt error  // found before, perhaps by Look
	}
	out struct {
		sync.Mutex
		*Producer
		sleeps *atomic.Uint32 // the peer's
		peer   int            // wakes it; -1 after Close
		posted bool
		owed   time.Time // since when it was not rung for what was posted
	}
}

// Whether an end is to be rung for: it looks by itself, or sleeps, or will look by
// itself as soon as it has done what it is at, if that is short.
const (
	awake = iota
	asleep
	busy
)

// busyPatience is how long the service waits for a busy client to look: it takes about
// as long to wake one that sleeps.
const busyPatience = 40 * time.Microsecond

// BellRing is the size of a bell's rings in bytes: four for each number, and as
// many again for letters.
const BellRing = 1 << 19

// MaxLetter is the length of the longest letter in bytes.
const MaxLetter = 4096

// A letter is a 0, which is nobody's number, its length in bytes, four each, and
// itself, filled up to a multiple of four.
const letterHead = 8

// Hearer is told of what the peer posts, one call at a time.
type Hearer interface {
	Told(n uint32)
	// Letter may use p until it returns.
	Letter(p []byte)
}

// NewBell makes an end. The client sleeps on toClient and wakes the service by
// toService, both eventfds. It takes over both and the rings.
func NewBell(r *Rings, client bool, toClient, toService int) (*Bell, error) {
	b := &Bell{rings: r}
	if !client {
		b.out.Producer, b.in.Consumer = r.Service()
		b.sleep, b.out.sleeps = &r.Head.WantUp, &r.Head.WantDown
		b.fd, b.out.peer = toService, toClient
		return b, nil
	}
	b.out.Producer, b.in.Consumer = r.Client()
	b.sleep, b.out.sleeps = &r.Head.WantDown, &r.Head.WantUp
	b.fd, b.out.peer = toClient, toService
	if err := unix.SetNonblock(toClient, true); err != nil { // for the netpoller
		return nil, fmt.Errorf("make bell: %w", err)
	}
	b.own = os.NewFile(uintptr(toClient), "bell")
	var err error
	if b.raw, err = b.own.SyscallConn(); err != nil {
		return nil, fmt.Errorf("make bell: %w", err)
	}
	return b, nil
}

// NewEventFD makes an eventfd for a bell.
func NewEventFD() (int, error) {
	return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
}

// Post queues n, which is not 0, for the peer. Ring makes sure that it sees it.
func (b *Bell) Post(n uint32) {
	b.out.Lock()
	defer b.out.Unlock()
	if free, err := b.out.Free(); err != nil || free < 4 {
		return
	}
	b.out.Restart()
	binary.LittleEndian.PutUint32(b.out.Slice(0, 4), n)
	b.out.Publish(4)
	b.out.posted = true
}

// Send queues a letter for the peer, behind what was posted before. Ring makes sure
// that it sees it. False if it is too long, or there is no room now.
func (b *Bell) Send(p []byte) bool {
	b.out.Lock()
	defer b.out.Unlock()
	size := letterHead + (len(p)+3)&^3
	if free, err := b.out.Free(); err != nil || len(p) > MaxLetter || free-size < BellRing/2 {
		return false
	}
	b.out.Restart()
	s := b.out.Slice(0, size)
	binary.LittleEndian.PutUint32(s, 0)
	binary.LittleEndian.PutUint32(s[4:], uint32(len(p)))
	copy(s[letterHead:], p)
	b.out.Publish(size)
	b.out.posted = true
	return true
}

// Ring wakes the peer if something was posted and it sleeps. A service that is not
// between Doze and Wake leaves a busy client to Settle.
func (b *Bell) Ring() {
	b.out.Lock()
	defer b.out.Unlock()
	if !b.out.posted {
		return
	}
	b.out.posted = false
	if b.own == nil && b.out.sleeps.Load() == busy && b.sleep.Load() == awake {
		if b.out.owed.IsZero() {
			b.out.owed = time.Now()
		}
		return
	}
	b.ringLocked()
}

// Settle rings for a client that was busy and has not looked for busyPatience. With
// last it does not wait for that.
func (b *Bell) Settle(last bool) {
	b.out.Lock()
	defer b.out.Unlock()
	if b.out.owed.IsZero() {
		return
	}
	if used, err := b.out.Used(); err == nil && used > 0 {
		if !last && time.Since(b.out.owed) < busyPatience {
			return
		}
		b.ringLocked()
	}
	b.out.owed = time.Time{}
}

func (b *Bell) ringLocked() {
	if b.out.sleeps.Load() != awake && b.out.sleeps.Swap(awake) != awake && b.out.peer >= 0 {
		// It does not block, so Go's scheduler need not know of it: whom it wakes may
		// take the core, and a long call has the scheduler take the processor away.
		one := [8]byte{1}
		unix.RawSyscall(unix.SYS_WRITE, uintptr(b.out.peer), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// Waiting says whether the peer has posted what nobody has taken: a hint, which a
// hostile peer can spoil.
func (b *Bell) Waiting() bool { return b.in.peer.Load() != b.in.own.Load() }

// Take tells h of everything that the peer has posted so far. h must not wait for
// another Take. ErrCorrupt.
func (b *Bell) Take(h Hearer) error {
	b.in.Lock()
	defer b.in.Unlock()
	return b.takeLocked(h)
}

func (b *Bell) takeLocked(h Hearer) error {
	if b.in.spoilt != nil {
		return b.in.spoilt
	}
	n, err := b.in.Len()
	switch {
	case err != nil:
		b.in.spoilt = err
		return err
	case n == 0:
		return nil
	}
	b.in.taken = append(b.in.taken[:0], b.in.Slice(0, n)...)
	b.in.Consume(n)
	b.in.spoilt = hear(b.in.taken, h)
	return b.in.spoilt
}

// hear tells h of what is in p, which nobody changes. Nothing in it is cut off: each
// post is published at once.
func hear(p []byte, h Hearer) error {
	for len(p) >= 4 {
		id := binary.LittleEndian.Uint32(p)
		if id != 0 {
			h.Told(id)
			p = p[4:]
			continue
		}
		if len(p) < letterHead {
			return ErrCorrupt
		}
		size := binary.LittleEndian.Uint32(p[4:])
		p = p[letterHead:]
		if size > MaxLetter || int(size+3)&^3 > len(p) {
			return ErrCorrupt
		}
		h.Letter(p[:size:size])
		p = p[(size+3)&^3:]
	}
	if len(p) > 0 {
		return ErrCorrupt
	}
	return nil
}

// Listen tells h of what the peer posts, as Take does, until Close
// (os.ErrClosed) or ErrCorrupt.
func (b *Bell) Listen(h Hearer) error {
	var corrupt error
	ready := func(uintptr) bool {
		// The eventfd is not read: the netpoller tells of each write.
		if corrupt = b.Take(h); corrupt != nil {
			return true
		}
		if b.watchers.Load() == 0 {
			b.sleep.Store(asleep)
		}
		return b.Waiting()
	}
	for {
		if err := b.raw.Read(ready); err != nil || corrupt != nil {
			if corrupt != nil {
				return corrupt
			}
			return os.ErrClosed
		}
	}
}

// Watch says that the caller calls Look often until it calls Unwatch: meanwhile the
// peer need not ring.
func (b *Bell) Watch() {
	if b.watchers.Add(1) == 1 {
		b.sleep.Store(awake)
	}
}

// Look is Take, unless somebody else is at it.
func (b *Bell) Look(h Hearer) {
	if b.Waiting() && b.in.TryLock() {
		b.takeLocked(h) // what is corrupt is Listen's matter
		b.in.Unlock()
	}
}

// Unwatch ends what Watch began; again says that the caller will soon watch again.
func (b *Bell) Unwatch(h Hearer, again bool) {
	if b.watchers.Add(-1) == 0 {
		if again {
			b.sleep.Store(busy)
		} else {
			b.sleep.Store(asleep)
		}
		if b.Waiting() {
			b.Take(h)
		}
	}
}

// FD is the descriptor that becomes readable when the peer rings.
func (b *Bell) FD() int { return b.fd }

// Doze asks the peer to ring from now on; false says that something is there
// already.
func (b *Bell) Doze() bool {
	b.sleep.Store(asleep)
	if b.Waiting() {
		b.sleep.Store(awake)
		return false
	}
	return true
}

// Wake ends Doze; rung says that FD has become readable.
func (b *Bell) Wake(rung bool) {
	b.sleep.Store(awake)
	if rung {
		var count [8]byte
		unix.RawSyscall(unix.SYS_READ, uintptr(b.fd), uintptr(unsafe.Pointer(&count)), 8)
	}
}

// Close ends Listen. The shared memory stays mapped: a Post may be under way.
func (b *Bell) Close() {
	b.out.Lock()
	defer b.out.Unlock()
	if b.out.peer < 0 {
		return
	}
	unix.Close(b.out.peer)
	b.out.peer = -1
	if b.own != nil {
		b.own.Close()
	} else {
		unix.Close(b.fd)
	}
}
