package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Conn is one end of a connection. Any number of goroutines may send; receivers
// take turns.
type Conn struct {
	file *os.File
	raw  syscall.RawConn

	// recv is held while one packet is received.
	recv struct {
		sync.Mutex
		spinner
		polled bool // the spin of this receive is over
		frame  *Frame
		n      int
		oobn   int
		flags  int
		errno  unix.Errno
		msg    unix.Msghdr
		iov    unix.Iovec
		oob    [oobSize]byte
	}
	poll func(fd uintptr) bool // c.pollRecv, bound once

	// unpolled: the netpoller does not know the socket; its owner waits for it.
	unpolled bool
	try      func(fd uintptr) // tryRecv, bound once
	got      bool             // what it said

	// direct: see direct.go. closed and polled are for Close.
	direct bool
	hold   *Hold
	closed atomic.Bool
	polled atomic.Pointer[os.File]
}

// oobSize has room for one control message of MaxFDs descriptors. The kernel
// cuts off what does not fit and says so.
const oobSize = unix.SizeofCmsghdr + 4*MaxFDs

// Pair makes a connected pair of sockets, close-on-exec, to hand to two
// processes.
func Pair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("channel: socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel"), nil
}

// New makes a connection of one end of a pair. It takes f over, also when it
// fails.
func New(f *os.File) (*Conn, error) { return newConn(f, false) }

// NewUnpolled is New for an owner who waits for FD to become readable by other means
// than Recv, which such a connection has not: TryRecv.
func NewUnpolled(f *os.File) (*Conn, error) { return newConn(f, true) }

func newConn(f *os.File, unpolled bool) (*Conn, error) {
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("channel: %w", err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(s uintptr) {
		// A duplicate, so that the file is made anew as non-blocking and so
		// reaches the netpoller, whatever mode f was made in.
		fd, dupErr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3)
	}); err != nil {
		return nil, fmt.Errorf("channel: %w", err)
	}
	if dupErr != nil {
		return nil, fmt.Errorf("channel: duplicate descriptor: %w", dupErr)
	}
	return fromFD(fd, unpolled)
}

// fromFD takes fd over. A blocking one does not get to the netpoller; no call on it
// blocks nonetheless, since each has MSG_DONTWAIT.
func fromFD(fd int, unpolled bool) (*Conn, error) {
	if err := unix.SetNonblock(fd, !unpolled); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("channel: set non-blocking: %w", err)
	}
	c := &Conn{file: os.NewFile(uintptr(fd), "channel"), unpolled: unpolled}
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.file.Close()
		return nil, fmt.Errorf("channel: %w", err)
	}
	c.raw = raw
	c.recv.spinner = newSpinner()
	c.poll = c.pollRecv
	c.try = func(fd uintptr) { c.got = c.tryRecv(fd) }
	return c, nil
}

// FD is the descriptor to wait for, valid until Close.
func (c *Conn) FD() (fd int) {
	c.raw.Control(func(s uintptr) { fd = int(s) })
	return fd
}

// Close ends the connection. Whoever sends or receives gets ErrClosed.
func (c *Conn) Close() error {
	c.closed.Store(true)
	if f := c.polled.Load(); f != nil {
		f.Close()
	}
	return c.file.Close()
}

// Send sends one frame, and waits while the peer's queue is full. The
// descriptors stay the caller's.
func (c *Conn) Send(id uint64, body []byte, fds ...int) error {
	if len(body) > MaxBody || len(fds) > MaxFDs {
		return ErrTooLarge
	}
	var head [headerSize]byte
	binary.LittleEndian.PutUint64(head[:], id)
	return c.send(&head, body, fds)
}

// bodies recycles the buffers of outgoing messages.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// SendMessage is Send of an encoded m.
func (c *Conn) SendMessage(id uint64, m proto.Message, fds ...int) error {
	b := bodies.Get().(*[]byte)
	defer bodies.Put(b)
	body, err := proto.MarshalOptions{}.MarshalAppend((*b)[:0], m)
	if err != nil {
		return fmt.Errorf("channel: encode: %w", err)
	}
	*b = body
	return c.Send(id, body, fds...)
}

func (c *Conn) send(head *[headerSize]byte, body []byte, fds []int) error {
	var iov [2]unix.Iovec
	iov[0].Base = &head[0]
	iov[0].SetLen(headerSize)
	msg := unix.Msghdr{Iov: &iov[0], Iovlen: 1}
	if len(body) > 0 {
		iov[1].Base = &body[0]
		iov[1].SetLen(len(body))
		msg.Iovlen = 2
	}
	if len(fds) > 0 {
		oob := unix.UnixRights(fds...)
		msg.Control = &oob[0]
		msg.SetControllen(len(oob))
	}
	var errno unix.Errno
	err := c.raw.Write(func(fd uintptr) bool {
		for {
			_, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			switch {
			case errno == unix.EINTR:
			case errno == unix.EAGAIN && c.unpolled:
				unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, nil, nil)
			default:
				return errno != unix.EAGAIN
			}
		}
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return c.cause(err)
}

// Recv receives one frame. Any error is final: the caller closes c.
func (c *Conn) Recv() (*Frame, error) {
	r := &c.recv
	r.Lock()
	defer r.Unlock()
	f := c.prepare()
	var err error
	if c.direct {
		err = c.recvDirect()
	} else {
		err = c.cause(c.raw.Read(c.poll))
	}
	if err != nil {
		f.Release()
		return nil, err
	}
	return c.received(f)
}

// TryRecv is Recv that gives nil if there is no frame.
func (c *Conn) TryRecv() (*Frame, error) {
	r := &c.recv
	r.Lock()
	defer r.Unlock()
	f := c.prepare()
	if err := c.raw.Control(c.try); err != nil || !c.got {
		f.Release()
		return nil, c.cause(err)
	}
	return c.received(f)
}

// prepare takes a frame to receive into, with the lock of recv held.
func (c *Conn) prepare() *Frame {
	r := &c.recv
	f := frames.Get().(*Frame)
	r.frame, r.polled = f, false
	r.iov.Base = &f.buf[0]
	r.iov.SetLen(len(f.buf))
	return f
}

// received checks what has been received into f.
func (c *Conn) received(f *Frame) (*Frame, error) {
	r := &c.recv
	r.frame = nil
	if r.errno != 0 {
		f.Release()
		return nil, c.cause(r.errno)
	}
	if r.n == 0 && r.oobn == 0 {
		f.Release()
		return nil, ErrPeerGone
	}
	if err := f.parse(r.n, r.oob[:r.oobn], r.flags); err != nil {
		f.Release()
		return nil, err
	}
	return f, nil
}

// pollRecv tries to receive: at first over and over for as long as the spinner
// says, later, when the netpoller has seen something, once.
func (c *Conn) pollRecv(fd uintptr) bool {
	if c.tryRecv(fd) {
		return true
	}
	if c.recv.polled {
		return false
	}
	c.recv.polled = true
	return c.recv.spin(func() bool { return c.tryRecv(fd) })
}

// tryRecv receives if there is something, and says whether there was.
func (c *Conn) tryRecv(fd uintptr) bool {
	// It cannot block, so the scheduler need not know of it.
	return c.receive(fd, unix.MSG_DONTWAIT, unix.RawSyscall)
}

// receive is recvmsg(2). False for EAGAIN.
func (c *Conn) receive(fd uintptr, flags uintptr, call func(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, errno unix.Errno)) bool {
	r := &c.recv
	r.msg = unix.Msghdr{Iov: &r.iov, Iovlen: 1, Control: &r.oob[0]}
	r.msg.SetControllen(len(r.oob))
	for {
		n, _, errno := call(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.msg)), flags|unix.MSG_CMSG_CLOEXEC)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		r.n, r.errno = int(n), errno
		r.oobn, r.flags = int(r.msg.Controllen), int(r.msg.Flags)
		if errno != 0 {
			r.n, r.oobn, r.flags = 0, 0, 0
		}
		return true
	}
}

// cause names what ended the connection. That it was closed here is not in the error
// of the raw connection, which package os does not translate to os.ErrClosed.
func (c *Conn) cause(err error) error {
	switch {
	case err == nil:
		return nil
	case c.closed.Load():
		return ErrClosed
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return ErrPeerGone
	}
	return fmt.Errorf("channel: %w", err)
}
