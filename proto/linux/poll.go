package linux

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// PollFD is struct pollfd of poll(2).
type PollFD struct {
	FD              int32
	Events, Revents int16
}

// SizeofPollFD is its size in bytes.
const SizeofPollFD = 8

// ReadPollFD reads one from b.
func ReadPollFD(b []byte) PollFD {
	le := binary.LittleEndian
	return PollFD{int32(le.Uint32(b)), int16(le.Uint16(b[4:])), int16(le.Uint16(b[6:]))}
}

// Put writes p as the kernel does to b.
func (p PollFD) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(p.FD))
	le.PutUint16(b[4:], uint16(p.Events))
	le.PutUint16(b[6:], uint16(p.Revents))
}

// Events of poll(2).
const (
	POLLIN     = unix.POLLIN
	POLLPRI    = unix.POLLPRI
	POLLOUT    = unix.POLLOUT
	POLLERR    = unix.POLLERR
	POLLHUP    = unix.POLLHUP
	POLLNVAL   = unix.POLLNVAL
	POLLRDNORM = 0x40
	POLLRDBAND = 0x80
	POLLWRNORM = 0x100
	POLLWRBAND = 0x200
	POLLMSG    = 0x400
	POLLRDHUP  = 0x2000
)

// FD_SETSIZE is the number of descriptors in an fd_set of the C library; the
// kernel itself takes any number.
const FD_SETSIZE = 1024

// EpollEvent is struct epoll_event of epoll_ctl(2), which is packed on x86-64.
type EpollEvent struct {
	Events uint32
	Data   uint64
}

// SizeofEpollEvent is its size in bytes.
const SizeofEpollEvent = 12

// ReadEpollEvent reads one from b.
func ReadEpollEvent(b []byte) EpollEvent {
	return EpollEvent{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:])}
}

// Put writes e as the kernel does to b.
func (e EpollEvent) Put(b []byte) {
	binary.LittleEndian.PutUint32(b, e.Events)
	binary.LittleEndian.PutUint64(b[4:], e.Data)
}

// Constants of epoll(7).
const (
	EPOLL_CTL_ADD  = unix.EPOLL_CTL_ADD
	EPOLL_CTL_DEL  = unix.EPOLL_CTL_DEL
	EPOLL_CTL_MOD  = unix.EPOLL_CTL_MOD
	EPOLL_CLOEXEC  = unix.EPOLL_CLOEXEC
	EPOLLIN        = unix.EPOLLIN
	EPOLLPRI       = unix.EPOLLPRI
	EPOLLOUT       = unix.EPOLLOUT
	EPOLLERR       = unix.EPOLLERR
	EPOLLHUP       = unix.EPOLLHUP
	EPOLLRDHUP     = unix.EPOLLRDHUP
	EPOLLRDNORM    = unix.EPOLLRDNORM
	EPOLLRDBAND    = unix.EPOLLRDBAND
	EPOLLWRNORM    = unix.EPOLLWRNORM
	EPOLLWRBAND    = unix.EPOLLWRBAND
	EPOLLMSG       = unix.EPOLLMSG
	EPOLLEXCLUSIVE = unix.EPOLLEXCLUSIVE
	EPOLLWAKEUP    = unix.EPOLLWAKEUP
	EPOLLONESHOT   = unix.EPOLLONESHOT
	EPOLLET        = 0x80000000

	// EP_MAX_EVENTS is the most that epoll_wait(2) may be asked for.
	EP_MAX_EVENTS = 0x7fffffff / SizeofEpollEvent
)

// Flags of eventfd(2), timerfd_create(2), signalfd(2), inotify_init1(2),
// memfd_create(2), pipe2(2) beyond O_CLOEXEC and O_NONBLOCK.
const (
	EFD_SEMAPHORE           = unix.EFD_SEMAPHORE
	TFD_TIMER_ABSTIME       = unix.TFD_TIMER_ABSTIME
	TFD_TIMER_CANCEL_ON_SET = unix.TFD_TIMER_CANCEL_ON_SET
	MFD_CLOEXEC             = unix.MFD_CLOEXEC
	MFD_ALLOW_SEALING       = unix.MFD_ALLOW_SEALING
	MFD_HUGETLB             = unix.MFD_HUGETLB
	MFD_NOEXEC_SEAL         = unix.MFD_NOEXEC_SEAL
	MFD_EXEC                = unix.MFD_EXEC
	SPLICE_F_MOVE           = unix.SPLICE_F_MOVE
	SPLICE_F_NONBLOCK       = unix.SPLICE_F_NONBLOCK
	SPLICE_F_MORE           = unix.SPLICE_F_MORE
	SPLICE_F_GIFT           = unix.SPLICE_F_GIFT
	GRND_NONBLOCK           = unix.GRND_NONBLOCK
	GRND_RANDOM             = unix.GRND_RANDOM
	GRND_INSECURE           = unix.GRND_INSECURE
	CLOSE_RANGE_UNSHARE     = unix.CLOSE_RANGE_UNSHARE
	CLOSE_RANGE_CLOEXEC     = unix.CLOSE_RANGE_CLOEXEC
	SYNC_FILE_RANGE_VALID   = 7
	POSIX_FADV_NORMAL       = 0
	POSIX_FADV_NOREUSE      = 5
	RWF_HIPRI               = unix.RWF_HIPRI
	RWF_DSYNC               = unix.RWF_DSYNC
	RWF_SYNC                = unix.RWF_SYNC
	RWF_NOWAIT              = unix.RWF_NOWAIT
	RWF_APPEND              = unix.RWF_APPEND
)
