package link

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Config describes a descriptor that carries Ethernet frames.
type Config struct {
	// File is the descriptor. The device owns it.
	File *os.File
	MTU  int // bytes, without the Ethernet header
	MAC  [6]byte
	// Virtio says that each frame follows a virtio-net header.
	Virtio bool
	// UDPOffload says that with Virtio the kernel segments UDP.
	UDPOffload bool
	// Waiter waits for the descriptor; nil: a goroutine of the device's own does.
	Waiter Waiter
}

// Waiter waits for descriptors on behalf of others.
type Waiter interface {
	// Await has ready called each time that there is something to read, by one
	// goroutine for all, until it gives an error.
	Await(fd int, ready func() error)
}

// frameSize is the longest frame that is received, in bytes: the longest IP
// packet and an Ethernet header with some room for tags.
const frameSize = 65535 + 14 + 8

// wire is how a kind of descriptor moves frames. Its methods do not block: they
// give EAGAIN.
type wire interface {
	// receive fills in with at most cap(in) frames.
	receive(fd int, in []*Packet) ([]*Packet, error)
	// send sends some of batch, from the first on, and says how many it is done
	// with.
	send(fd int, batch []*Packet) (int, error)
}

// port is a Device over a descriptor.
type port struct {
	config Config
	wire   wire
	raw    syscall.RawConn
	start  sync.Once
	ended  chan struct{}
	in     []*Packet
	failed error
}

// receiveBatch is how many frames are received at once, sendBatch how many are
// sent.
const (
	receiveBatch = 32
	sendBatch    = 64
)

func newPort(c Config, w wire) (*port, error) {
	if c.MTU < 68 || c.MTU > 65535 {
		return nil, fmt.Errorf("MTU of %d bytes; 68 to 65535 are possible", c.MTU)
	}
	if err := unix.SetNonblock(int(c.File.Fd()), true); err != nil {
		return nil, fmt.Errorf("make link non-blocking: %w", err)
	}
	// Fd has made the file a blocking one for os; a new one knows better.
	fd, err := unix.FcntlInt(c.File.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("copy link descriptor: %w", err)
	}
	c.File.Close()
	// What is blocking when os gets it does not get to Go's netpoller, which would
	// wake a thread for each frame, too.
	if err := unix.SetNonblock(fd, c.Waiter == nil); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make link non-blocking: %w", err)
	}
	c.File = os.NewFile(uintptr(fd), "link")
	raw, err := c.File.SyscallConn()
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		c.File.Close()
		return nil, fmt.Errorf("poll link: %w", err)
	}
	return &port{config: c, wire: w, raw: raw, ended: make(chan struct{}), in: make([]*Packet, 0, receiveBatch)}, nil
}

func (p *port) MTU() int             { return p.config.MTU }
func (p *port) MAC() ([6]byte, bool) { return p.config.MAC, true }
func (p *port) Features() Features {
	return Features{SumOffload: p.config.Virtio, TCPOffload: p.config.Virtio, UDPOffload: p.config.Virtio && p.config.UDPOffload}
}

// Start begins to receive.
func (p *port) Start(sink Sink) error {
	err := errors.New("link was started before")
	p.start.Do(func() {
		err = nil
		if w := p.config.Waiter; w != nil {
			close(p.ended)
			p.await(w, sink)
			return
		}
		go p.receive(sink)
	})
	return err
}

// await has the waiter call for each batch.
func (p *port) await(w Waiter, sink Sink) {
	try := func(fd uintptr) { p.receiveOnce(fd) }
	p.raw.Control(func(fd uintptr) {
		w.Await(int(fd), func() error {
			if err := p.raw.Control(try); err != nil || p.failed != nil {
				return errors.Join(err, p.failed)
			}
			if len(p.in) > 0 {
				sink(p.in)
			}
			return nil
		})
	})
}

// receive runs until the descriptor is closed or broken.
func (p *port) receive(sink Sink) {
	defer close(p.ended)
	try := p.receiveOnce
	for {
		if err := p.raw.Read(try); err != nil || p.failed != nil {
			return
		}
		sink(p.in)
	}
}

// receiveOnce says whether there is something, or never will be.
func (p *port) receiveOnce(fd uintptr) bool {
	for {
		var err error
		p.in, err = p.wire.receive(int(fd), p.in[:0])
		switch {
		case err == nil && len(p.in) > 0:
			return true
		case err == nil, err == unix.EINTR, err == unix.ENETDOWN:
			// Nothing for us in it; or the interface went down, and may come back.
		case err == unix.EAGAIN:
			p.in = p.in[:0]
			return false
		default:
			p.failed = err
			return true
		}
	}
}

// Send sends what it can.
func (p *port) Send(batch []*Packet) {
	p.raw.Control(func(fd uintptr) {
		for len(batch) > 0 {
			n, err := p.wire.send(int(fd), batch[:min(len(batch), sendBatch)])
			switch err {
			case nil, unix.EINTR:
				batch = batch[n:]
			case unix.EAGAIN:
				return // full: lost, as on a wire
			default:
				batch = batch[n+1:] // this one cannot be sent
			}
		}
	})
}

// Close ends the device. It must not be called from its sink.
func (p *port) Close() error {
	err := p.config.File.Close()
	p.start.Do(func() { close(p.ended) })
	<-p.ended
	return err
}
