package platform

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bell is a doorbell: an eventfd that the stubs of some address spaces ring when
// the sentry sleeps. A fork leaves the child its parent's, which costs no
// descriptor; a process from the zygote has one of its own. Who rings it without
// need, or spoils its count, has the sentry look once more and no more than that.
type bell struct {
	file *os.File
	fd   int

	mu     sync.Mutex
	spaces map[*Space]struct{} // once the last is gone, others may have the bell
}

// sparesOfBell is how many bells are kept for processes to come. To make one wakes the
// netpoller's thread for nothing.
const sparesOfBell = 4

// takeBell gives one that nobody has, and whose former users, should any be left, can
// do no more with it than their like.
func (m *Machine) takeBell() (*bell, error) {
	select {
	case b := <-m.bells:
		return b, nil
	default:
		return newBell()
	}
}

func newBell() (*bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make doorbell: %w", err)
	}
	b := &bell{file: os.NewFile(uintptr(fd), "doorbell"), fd: fd, spaces: map[*Space]struct{}{}}
	go b.answer()
	return b, nil
}

// answer wakes the threads' goroutines that asked to be woken.
//
// The read does not block, and Go's scheduler is not told of it: that would have
// woken its monitor, which then looks every 20 µs for some milliseconds whether a
// call blocks.
func (b *bell) answer() {
	raw, err := b.file.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(func(fd uintptr) bool { // until it is closed
		var count [8]byte
		if n, _, _ := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&count)), 8); n == 8 {
			b.wake()
		}
		return false
	})
}

func (b *bell) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.spaces {
		s.pokeSleepers()
	}
}

func (b *bell) join(s *Space) {
	b.mu.Lock()
	b.spaces[s] = struct{}{}
	b.mu.Unlock()
}

func (b *bell) leave(s *Space) {
	b.mu.Lock()
	delete(b.spaces, s)
	last := len(b.spaces) == 0
	b.mu.Unlock()
	if last {
		select {
		case s.m.bells <- b:
		default:
			b.file.Close()
		}
	}
}
