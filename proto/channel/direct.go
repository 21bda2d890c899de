package channel

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A direct connection is in nobody's netpoller: whoever receives waits on its own
// thread, in the system call itself. By Go's netpoller a frame wakes the thread that
// polls for all, which makes the goroutine ready, for which often a third is woken.
// Like this the host switches from client to service and back, mostly on one core.
// Looking around before the sleep was tried on both sides. Without giving way to
// others it keeps the core from whom it waits for; with sched_yield(2) one request in
// fifty took 2 ms, since Linux lets who yields wait for as long as the others like.
//
// A client's sleep holds one of Go's processors until Go's monitor takes it away,
// which can take milliseconds; so a client asks by Hold before, sleeps for directFor at
// most, and goes to the netpoller after all then.

// Hold says who may sleep on a thread of its own.
type Hold struct {
	// Take asks for leave, which Give gives back. It may refuse.
	Take func() bool
	Give func()
}

// directFor is how long a client's thread sleeps at most: an answer that has not come
// by then waits for a disk.
const directFor = 2 * time.Millisecond

// NewDirect is New for an end that receives on its own thread. Without hold it sleeps
// there for good, and Close does not wake it: this is for a service that serves until
// its peer is gone.
func NewDirect(f *os.File, hold *Hold) (*Conn, error) {
	c, err := newConn(f, true)
	if err != nil {
		return nil, err
	}
	c.direct, c.hold = true, hold
	if hold != nil {
		// Not for the first descriptor, whose file is made already, but for the one
		// in the netpoller.
		if err := unix.SetNonblock(c.FD(), true); err != nil {
			c.Close()
			return nil, fmt.Errorf("channel: set non-blocking: %w", err)
		}
	}
	return c, nil
}

// recvDirect receives into the frame that was prepared, with the lock of recv held.
func (c *Conn) recvDirect() error {
	if c.hold == nil {
		c.got = false
		c.raw.Control(c.sleepUntil)
		return c.ended()
	}
	if c.hold.Take() {
		c.raw.Control(sleepOn)
		c.hold.Give()
		if c.tryDirect() {
			return c.ended()
		}
	}
	return c.sleepPolled()
}

// tryDirect receives if there is something. True as well if there is nothing to wait
// for: see ended.
func (c *Conn) tryDirect() bool {
	c.got = false
	err := c.raw.Control(c.try)
	return err != nil || c.got
}

// ended gives ErrClosed if nothing was received, for which there is no other cause.
func (c *Conn) ended() error {
	if !c.got {
		return ErrClosed
	}
	return nil
}

// sleepUntil receives, however long it takes, on a socket that blocks.
func (c *Conn) sleepUntil(fd uintptr) {
	c.got = c.receive(fd, 0, unix.Syscall)
}

// sleepOn sleeps until the socket can be read, but for directFor at most.
func sleepOn(fd uintptr) {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	ts := unix.NsecToTimespec(int64(directFor))
	unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// sleepPolled receives by way of the netpoller. It is rare enough for a descriptor of
// its own each time, so that nothing wakes the netpoller at other times.
func (c *Conn) sleepPolled() error {
	fd, err := -1, error(nil)
	if c.raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) }) != nil {
		return ErrClosed
	}
	if err != nil {
		return c.cause(err)
	}
	f := os.NewFile(uintptr(fd), "channel")
	defer f.Close()
	c.polled.Store(f)
	defer c.polled.Store(nil)
	raw, err := f.SyscallConn()
	if err != nil || c.closed.Load() {
		return ErrClosed
	}
	if raw.Read(func(fd uintptr) bool { return c.tryRecv(fd) }) != nil {
		return ErrClosed
	}
	return nil
}
