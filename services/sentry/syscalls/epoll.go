package syscalls

import (
	"sync"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/epoll"
	"bulkhead/services/sentry/mm"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// epollUsual is how many events an epoll_wait gives without asking for memory.
const epollUsual = 256

// epollBatch is room for what an epoll_wait gives.
type epollBatch struct {
	events []linux.EpollEvent
	raw    []byte
}

func newEpollBatch(n int) *epollBatch {
	return &epollBatch{make([]linux.EpollEvent, n), make([]byte, n*linux.SizeofEpollEvent)}
}

var epollBatches = sync.Pool{New: func() any { return newEpollBatch(epollUsual) }}

// epollRoom gives room for as many events as ep can give, but at most so many; to be
// put back.
func epollRoom(ep *epoll.Epoll, most int) *epollBatch {
	if most > epollUsual {
		if n := min(most, ep.Len()); n > epollUsual {
			return newEpollBatch(n)
		}
	}
	return epollBatches.Get().(*epollBatch)
}

func (b *epollBatch) put() {
	if len(b.events) == epollUsual {
		epollBatches.Put(b)
	}
}

// epoll_create makes an epoll instance; size only has to be positive:
// epoll_create(2).
func epoll_create(t *task.Task, size int32) (uint64, error) {
	if size <= 0 {
		return 0, linux.EINVAL
	}
	return epoll_create1(t, 0)
}

// epoll_create1 is epoll_create with flags.
func epoll_create1(t *task.Task, flags linux.OpenFlags) (uint64, error) {
	if flags&^linux.O_CLOEXEC != 0 {
		return 0, linux.EINVAL
	}
	return install(t, epoll.New(), flags)
}

// epollOf is the epoll instance behind f, or EINVAL.
func epollOf(f *vfs.File) (*epoll.Epoll, error) {
	if ep, ok := f.Impl().(*epoll.Epoll); ok {
		return ep, nil
	}
	return nil, linux.EINVAL
}

// epoll_ctl changes the interest list: epoll_ctl(2).
func epoll_ctl(t *task.Task, epfd linux.FD, op int32, fd linux.FD, event mm.Addr) (uint64, error) {
	var ev linux.EpollEvent
	if op != linux.EPOLL_CTL_DEL {
		var b [linux.SizeofEpollEvent]byte
		if err := t.CopyIn(event, b[:]); err != nil {
			return 0, err
		}
		ev = linux.ReadEpollEvent(b[:])
	}
	list, err := t.File(epfd)
	if err != nil {
		return 0, err
	}
	defer list.DecRef(t)
	f, err := t.File(fd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	if f.Queue() == nil {
		t.FDs().Refused(epfd)
		return 0, linux.EPERM
	}
	ep, err := epollOf(list)
	if err != nil {
		return 0, err
	}
	return 0, ep.Ctl(int(op), fd, f, ev)
}

// epoll_wait waits for events of the interest list: epoll_wait(2).
func epoll_wait(t *task.Task, epfd linux.FD, events mm.Addr, most int32, timeout int32) (uint64, error) {
	return epollWait(t, epfd, events, most, patienceMS(timeout))
}

// epoll_pwait is epoll_wait with a signal mask.
func epoll_pwait(t *task.Task, epfd linux.FD, events mm.Addr, most int32, timeout int32, mask mm.Addr, size uint64) (uint64, error) {
	return epollWaitMasked(t, epfd, events, most, patienceMS(timeout), mask, size)
}

// epoll_pwait2 is epoll_pwait with a finer timeout.
func epoll_pwait2(t *task.Task, epfd linux.FD, events mm.Addr, most int32, timeout, mask mm.Addr, size uint64) (uint64, error) {
	deadline, err := copyInDeadline(t, timeout)
	if err != nil {
		return 0, err
	}
	return epollWaitMasked(t, epfd, events, most, until(deadline), mask, size)
}

func epollWaitMasked(t *task.Task, epfd linux.FD, events mm.Addr, most int32, p patience, mask mm.Addr, size uint64) (uint64, error) {
	restore, err := maskSignals(t, mask, size)
	if err != nil {
		return 0, err
	}
	n, err := epollWait(t, epfd, events, most, p)
	restore(err)
	return n, err
}

func epollWait(t *task.Task, epfd linux.FD, events mm.Addr, most int32, p patience) (uint64, error) {
	if most <= 0 || most > linux.EP_MAX_EVENTS {
		return 0, linux.EINVAL
	}
	f, err := t.File(epfd)
	if err != nil {
		return 0, err
	}
	defer f.DecRef(t)
	ep, err := epollOf(f)
	if err != nil {
		return 0, err
	}
	batch := epollRoom(ep, int(most))
	defer batch.put()
	list := batch.events[:min(int(most), len(batch.events))]
	n := ep.Ready(t, list)
	if n == 0 && !p.none() {
		n, err = ep.Wait(t, list, p.deadline())
	}
	if err != nil || n == 0 {
		return 0, err
	}
	for i, ev := range batch.events[:n] {
		ev.Put(batch.raw[i*linux.SizeofEpollEvent:])
	}
	return uint64(n), copyOut(t, events, batch.raw[:n*linux.SizeofEpollEvent])
}
