package channel

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"

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
type Bell struct {
	rings *Rings
	in    *Consumer
	sleep *atomic.Uint32 // set by us before we sleep
	own   *os.File       // we sleep on it
	spinner

	out struct {
		sync.Mutex
		*Producer
		sleeps *atomic.Uint32 // set by the peer before it sleeps
		peer   *os.File       // wakes it
		posted bool
	}
}

// BellRing is the size of a bell's rings in bytes: four for each number.
const BellRing = 1 << 18

// NewBell makes an end. The client sleeps on toClient and wakes the service by
// toService. It takes over both files and the rings.
func NewBell(r *Rings, client bool, toClient, toService *os.File) *Bell {
	b := &Bell{rings: r, spinner: newSpinner()}
	if client {
		b.out.Producer, b.in = r.Client()
		b.sleep, b.out.sleeps = &r.Head.WantDown, &r.Head.WantUp
		b.own, b.out.peer = toClient, toService
	} else {
		b.out.Producer, b.in = r.Service()
		b.sleep, b.out.sleeps = &r.Head.WantUp, &r.Head.WantDown
		b.own, b.out.peer = toService, toClient
	}
	return b
}

// NewEventFile makes an eventfd that goroutines can sleep on.
func NewEventFile(name string) (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
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
	posted := b.out.posted
	b.out.posted = false
	b.out.Unlock()
	if posted && b.out.sleeps.Load() != 0 && b.out.sleeps.Swap(0) != 0 {
		one := [8]byte{1}
		b.out.peer.Write(one[:])
	}
}

// Wait sleeps until the peer has posted and appends what it posted to ids. It
// fails with os.ErrClosed after Close, and with ErrCorrupt.
func (b *Bell) Wait(ids []uint32) ([]uint32, error) {
	for {
		out, err := b.take(ids)
		if err == nil && len(out) == len(ids) {
			b.spin(func() bool {
				out, err = b.take(ids)
				return err != nil || len(out) > len(ids)
			})
		}
		if err != nil || len(out) > len(ids) {
			return out, err
		}
		b.sleep.Store(1)
		if out, err := b.take(ids); err != nil || len(out) > len(ids) {
			b.sleep.Store(0)
			return out, err
		}
		var buf [8]byte
		_, err = b.own.Read(buf[:])
		b.sleep.Store(0)
		if err != nil {
			return ids, err
		}
	}
}

func (b *Bell) take(ids []uint32) ([]uint32, error) {
	n, err := b.in.Len()
	if err != nil {
		return ids, err
	}
	n &^= 3
	for s := b.in.Slice(0, n); len(s) >= 4; s = s[4:] {
		ids = append(ids, binary.LittleEndian.Uint32(s))
	}
	if n > 0 {
		b.in.Consume(n)
	}
	return ids, nil
}

// Close ends Wait. The shared memory stays mapped: a Post may be under way.
func (b *Bell) Close() {
	b.own.Close()
	b.out.peer.Close()
}
