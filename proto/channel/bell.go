package channel

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bell is one end of a pair of doorbells: a queue of numbers each way through
// shared memory (which sockets have news), and an eventfd each way that is
// written only when the peer has said that it sleeps.
//
// A number is posted at most once until the peer has taken it (the Told flags
// of a Head), so that a queue as long as there are sockets is long enough; with
// a full queue a post is dropped, which only a peer that does not take its
// numbers brings about.
//
// The client sleeps in Listen, on Go's netpoller. The service, which waits for
// other descriptors too, sleeps as it likes between Doze and Wake. Whoever waits
// for something else by polling can look at the bell meanwhile: Watch.
//
// Neither eventfd may be in a netpoller but the client's own in its own: there
// each write, and each read, would wake a thread that finds nothing to do.
type Bell struct {
	rings *Rings
	sleep *atomic.Uint32 // set by us before we sleep
	fd    int            // we sleep on it
	own   *os.File       // the same, of a client
	raw   syscall.RawConn

	watchers atomic.Int32

	in struct {
		sync.Mutex
		*Consumer
		ids []uint32
	}
	out struct {
		sync.Mutex
		*Producer
		sleeps *atomic.Uint32 // set by the peer before it sleeps
		peer   int            // wakes it; -1 after Close
		posted bool
	}
}

// BellRing is the size of a bell's rings in bytes: four for each number.
const BellRing = 1 << 18

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

// Post queues n for the peer. Ring makes sure that it sees it.
func (b *Bell) Post(n uint32) {
	b.out.Lock()
	defer b.out.Unlock()
	if free, err := b.out.Free(); err != nil || free < 4 {
		return
	}
	binary.LittleEndian.PutUint32(b.out.Slice(0, 4), n)
	b.out.Publish(4)
	b.out.posted = true
}

// Ring wakes the peer if something was posted and it sleeps.
func (b *Bell) Ring() {
	b.out.Lock()
	defer b.out.Unlock()
	if !b.out.posted {
		return
	}
	b.out.posted = false
	if b.out.sleeps.Load() != 0 && b.out.sleeps.Swap(0) != 0 && b.out.peer >= 0 {
		// It does not block, so Go's scheduler need not know of it: whom it wakes may
		// take the core, and a long call has the scheduler take the processor away.
		one := [8]byte{1}
		unix.RawSyscall(unix.SYS_WRITE, uintptr(b.out.peer), uintptr(unsafe.Pointer(&one)), 8)
	}
}

// Waiting says whether the peer has posted what nobody has taken: a hint, which a
// hostile peer can spoil.
func (b *Bell) Waiting() bool { return b.in.peer.Load() != b.in.own.Load() }

// Take calls each for everything that the peer has posted so far, one call at a
// time. each must not wait for another Take. ErrCorrupt.
func (b *Bell) Take(each func(n uint32)) error {
	b.in.Lock()
	defer b.in.Unlock()
	return b.takeLocked(each)
}

func (b *Bell) takeLocked(each func(n uint32)) error {
	n, err := b.in.Len()
	switch {
	case err != nil:
		return err
	case n%4 != 0:
		return ErrCorrupt
	case n == 0:
		return nil
	}
	b.in.ids = b.in.ids[:0]
	for s := b.in.Slice(0, n); len(s) >= 4; s = s[4:] {
		b.in.ids = append(b.in.ids, binary.LittleEndian.Uint32(s))
	}
	b.in.Consume(n)
	for _, id := range b.in.ids {
		each(id)
	}
	return nil
}

// Listen calls each for what the peer posts, as Take does, until Close
// (os.ErrClosed) or ErrCorrupt.
func (b *Bell) Listen(each func(n uint32)) error {
	var corrupt error
	ready := func(uintptr) bool {
		// The eventfd is not read: the netpoller tells of each write.
		if corrupt = b.Take(each); corrupt != nil {
			return true
		}
		if b.watchers.Load() == 0 {
			b.sleep.Store(1)
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
		b.sleep.Store(0)
	}
}

// Look is Take, unless somebody else is at it.
func (b *Bell) Look(each func(n uint32)) {
	if b.Waiting() && b.in.TryLock() {
		b.takeLocked(each) // Listen finds what is corrupt
		b.in.Unlock()
	}
}

// Unwatch ends what Watch began.
func (b *Bell) Unwatch(each func(n uint32)) {
	if b.watchers.Add(-1) == 0 {
		b.sleep.Store(1)
		if b.Waiting() {
			b.Take(each)
		}
	}
}

// FD is the descriptor that becomes readable when the peer rings.
func (b *Bell) FD() int { return b.fd }

// Doze asks the peer to ring from now on; false says that something is there
// already.
func (b *Bell) Doze() bool {
	b.sleep.Store(1)
	if b.Waiting() {
		b.sleep.Store(0)
		return false
	}
	return true
}

// Wake ends Doze; rung says that FD has become readable.
func (b *Bell) Wake(rung bool) {
	b.sleep.Store(0)
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
