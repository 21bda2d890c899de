package syscalls

import (
	"encoding/binary"
	"math/rand/v2"
	"unsafe"

	"bulkhead/proto/linux"
	"bulkhead/services/sentry/epoll"
	"bulkhead/services/sentry/task"
	"bulkhead/services/sentry/vfs"
)

// What kcmp(2) compares.
const (
	kcmpFile = iota
	kcmpVM
	kcmpFiles
	kcmpFS
	kcmpSighand
	kcmpIO
	kcmpSysvsem
	kcmpEpollTFD
)

// kcmpCookie keeps the order that kcmp gives from telling where things are.
var kcmpCookie = [2]uint64{rand.Uint64(), rand.Uint64() | 1}

// kcmp says whether two processes share something, and an order if not: kcmp(2).
// Nobody has an I/O context or a list of semaphore undos here, which is to have
// the same.
func kcmp(t *task.Task, pid1, pid2, kind int32, a, b uint64) (uint64, error) {
	one, two := t.Named(pid1), t.Named(pid2)
	if one == nil || two == nil {
		return 0, linux.ESRCH
	}
	for _, o := range []*task.Task{one, two} {
		if err := t.MayInspect(o); err != nil {
			return 0, err
		}
	}
	switch kind {
	case kcmpFile:
		f, err := peekFile(t, one, a)
		if err != nil {
			return 0, err
		}
		g, err := peekFile(t, two, b)
		if err != nil {
			return 0, err
		}
		return order(unsafe.Pointer(f), unsafe.Pointer(g)), nil
	case kcmpVM:
		return order(unsafe.Pointer(one.MM()), unsafe.Pointer(two.MM())), nil
	case kcmpFiles:
		return order(unsafe.Pointer(one.FDs()), unsafe.Pointer(two.FDs())), nil
	case kcmpFS:
		return order(unsafe.Pointer(one.FS()), unsafe.Pointer(two.FS())), nil
	case kcmpSighand:
		return order(one.Group().Handlers(), two.Group().Handlers()), nil
	case kcmpIO, kcmpSysvsem:
		return 0, nil
	case kcmpEpollTFD:
		return kcmpTarget(t, one, two, a, b)
	}
	return 0, linux.EINVAL
}

// kcmpTarget compares a file of one's with what an epoll of two's watches: struct
// kcmp_epoll_slot at slot names the epoll, the descriptor as it was added, and which
// of those of the same number.
func kcmpTarget(t, one, two *task.Task, fd, slot uint64) (uint64, error) {
	var p [12]byte
	if err := t.CopyIn(slot, p[:]); err != nil {
		return 0, err
	}
	f, err := peekFile(t, one, fd)
	if err != nil {
		return 0, err
	}
	g, err := peekFile(t, two, uint64(binary.LittleEndian.Uint32(p[:])))
	if err != nil {
		return 0, err
	}
	ep, ok := g.Impl().(*epoll.Epoll)
	if !ok {
		return 0, linux.EINVAL
	}
	target := ep.Target(int32(binary.LittleEndian.Uint32(p[4:])), binary.LittleEndian.Uint32(p[8:]))
	if target == nil {
		return 0, linux.ENOENT
	}
	return order(unsafe.Pointer(f), unsafe.Pointer(target)), nil
}

// peekFile tells which file is behind another's descriptor, for comparing only.
func peekFile(t, o *task.Task, fd uint64) (*vfs.File, error) {
	table := o.FDs()
	if table == nil || fd > 1<<31-1 {
		return nil, linux.EBADF
	}
	f, err := table.Get(linux.FD(fd))
	if err == nil {
		f.DecRef(t)
	}
	return f, err
}

// order is 0 for the same, 1 for less and 2 for greater.
func order(a, b unsafe.Pointer) uint64 {
	hide := func(p unsafe.Pointer) uint64 { return (uint64(uintptr(p)) ^ kcmpCookie[0]) * kcmpCookie[1] }
	switch x, y := hide(a), hide(b); {
	case x == y:
		return 0
	case x < y:
		return 1
	}
	return 2
}
