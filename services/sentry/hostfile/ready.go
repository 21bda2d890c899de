package hostfile

import (
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"bulkhead/services/sentry/wait"
)

// notifier is a host epoll instance for all streams. Each is in it with
// EPOLLONESHOT: armed when somebody found it not ready, disarmed by the event.
type notifier struct {
	fd   int
	conn syscall.RawConn
	// file keeps fd known to the Go runtime.
	file *os.File

	mu      sync.Mutex
	streams map[int32]*stream // by id
	lastID  int32
}

// shared is the one notifier, made by the first stream.
var shared = sync.OnceValues(newNotifier)

// Prepare makes what New needs and a sealed process may not make any more.
func Prepare() error {
	_, err := shared()
	return err
}

func newNotifier() (*notifier, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// Non-blocking, so that os.File waits for it by the runtime's own epoll.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	n := &notifier{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), streams: map[int32]*stream{}}
	if n.conn, err = n.file.SyscallConn(); err != nil {
		return nil, err
	}
	go n.run()
	return n, nil
}

// run tells streams of their events for as long as the process lives.
func (n *notifier) run() {
	var events [32]unix.EpollEvent
	_ = n.conn.Read(func(fd uintptr) bool {
		for {
			k := epollWait(int(fd), events[:])
			if k <= 0 {
				return false
			}
			for _, e := range events[:k] {
				n.mu.Lock()
				s := n.streams[e.Fd]
				n.mu.Unlock()
				if s != nil {
					s.fired(wait.Events(e.Events))
				}
			}
		}
	})
}

// epollWait is epoll_pwait(2) without sleeping.
func epollWait(fd int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

// add takes s in, disarmed. EPERM if its descriptor is always ready.
func (n *notifier) add(s *stream) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastID++
	s.id = n.lastID
	if err := unix.EpollCtl(n.fd, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: s.id}); err != nil {
		return err
	}
	// A new entry tells of hang-ups even with no event asked for; that is what
	// fired is ready for.
	n.streams[s.id] = s
	return nil
}

// arm lets s be told once of events.
func (n *notifier) arm(s *stream, events wait.Events) {
	_ = unix.EpollCtl(n.fd, unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: uint32(events) | unix.EPOLLONESHOT, Fd: s.id})
}

func (n *notifier) remove(s *stream) {
	n.mu.Lock()
	delete(n.streams, s.id)
	n.mu.Unlock()
	_ = unix.EpollCtl(n.fd, unix.EPOLL_CTL_DEL, s.fd, nil)
}
