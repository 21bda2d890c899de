package hostfile

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/vfs"
	"bulkhead/services/sentry/wait"
)

// stream is a pipe, a socket, a terminal or another device that may block.
type stream struct {
	host
	notifier *notifier
	id       int32
	queue    wait.Queue

	// polled: somebody asks for readiness rather than only reads, and may want
	// to hear of data that come after a read that did not take all.
	polled atomic.Bool
	// slow: the host has no RWF_NOWAIT for it. reading and writing are then held
	// from the poll to the end of the call that it allows.
	slow    atomic.Bool
	reading sync.Mutex
	writing sync.Mutex

	mu    sync.Mutex
	armed wait.Events
}

// writeChunk is the most that is written at once, in bytes, where only poll(2) says
// that a write will not block: what a pipe that is writable certainly takes.
const writeChunk = 4096

// newStream makes a stream of fd. EPERM if it is always ready.
func newStream(fd int) (*stream, error) {
	n, err := shared()
	if err != nil {
		return nil, err
	}
	s := &stream{host: host{fd}, notifier: n}
	if err := n.add(s); err != nil {
		return nil, err
	}
	return s, nil
}

// Release closes the descriptor.
func (s *stream) Release() {
	s.notifier.remove(s)
	unix.Close(s.fd)
}

// ReadStream reads without blocking.
func (s *stream) ReadStream(_ vfs.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.read(p)
	if err == linux.EAGAIN || err == nil && s.polled.Load() {
		s.arm(wait.In)
	}
	return n, err
}

func (s *stream) read(p []byte) (int, error) {
	if !s.slow.Load() {
		n, err := again(func() (int, error) { return nowait(unix.SYS_PREADV2, s.fd, p) })
		if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
			return n, err
		}
		s.slow.Store(true)
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if ready(s.fd, unix.POLLIN) == 0 {
		return 0, linux.EAGAIN
	}
	return again(func() (int, error) { return unix.Read(s.fd, p) })
}

// WriteStream writes what it can without blocking.
func (s *stream) WriteStream(_ vfs.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.write(p)
	if err == linux.EAGAIN || err == nil && n < len(p) {
		s.arm(wait.Out)
	}
	return n, err
}

func (s *stream) write(p []byte) (n int, err error) {
	if !s.slow.Load() {
		n, err := again(func() (int, error) { return nowait(unix.SYS_PWRITEV2, s.fd, p) })
		if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
			return n, err
		}
		s.slow.Store(true)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	for n < len(p) {
		if ready(s.fd, unix.POLLOUT) == 0 {
			if n == 0 {
				return 0, linux.EAGAIN
			}
			return n, nil
		}
		m, err := again(func() (int, error) { return unix.Write(s.fd, p[n:min(len(p), n+writeChunk)]) })
		n += m
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
	}
	return n, nil
}

// nowait is preadv2(2) or pwritev2(2) of one piece at the stream's own position.
func nowait(call uintptr, fd int, p []byte) (int, error) {
	iov := unix.Iovec{Base: &p[0], Len: uint64(len(p))}
	const here = ^uintptr(0) // offset -1, in two halves
	n, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, here, here, unix.RWF_NOWAIT)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// ready is poll(2) without sleeping.
func ready(fd int, events int16) int16 {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Ppoll(fds[:], &unix.Timespec{}, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return 0
		}
		return fds[0].Revents
	}
}

// Poll asks the host. What is not ready will be told of, but for a stream that has
// hung up: nothing more is to come.
func (s *stream) Poll() wait.Events {
	s.polled.Store(true)
	const all = unix.POLLIN | unix.POLLOUT | unix.POLLPRI | unix.POLLRDHUP
	ev := wait.Events(uint16(ready(s.fd, all))) & wait.All
	if ev&(wait.Hup|wait.Err) == 0 {
		if missing := (wait.In | wait.Out) &^ ev; missing != 0 {
			s.arm(missing)
		}
	}
	return ev
}

// Queue is where the notifier tells of readiness.
func (s *stream) Queue() *wait.Queue { return &s.queue }

// arm makes sure that s is told when one of events comes.
func (s *stream) arm(events wait.Events) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.armed&events == events {
		return
	}
	s.armed |= events
	s.notifier.arm(s, s.armed)
}

// fired is told by the notifier that events came and s was disarmed.
func (s *stream) fired(events wait.Events) {
	s.mu.Lock()
	if s.armed &^= events; events&(wait.Hup|wait.Err) != 0 {
		s.armed = 0
	}
	if s.armed != 0 {
		s.notifier.arm(s, s.armed)
	}
	s.mu.Unlock()
	s.queue.Notify(events)
}

// Ioctl answers FIONREAD.
func (s *stream) Ioctl(ctx vfs.Context, cmd uint32, arg uint64) (uint64, error) {
	if cmd != linux.FIONREAD && cmd != linux.TIOCOUTQ {
		return 0, linux.ENOTTY
	}
	n, err := unix.IoctlGetInt(s.fd, uint(cmd))
	if err != nil {
		return 0, err
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return 0, ctx.CopyOut(arg, b[:])
}

// Reopen is open(2) of /proc/PID/fd/N.
func (s *stream) Reopen(vfs.Context, linux.OpenFlags) (vfs.Impl, error) {
	return s.reopen(func(fd int) (vfs.Impl, error) { return newStream(fd) })
}
